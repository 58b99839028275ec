//! Dense series kept narrow: what a sample is, how samples meet, and how an hour of them becomes SampledData.
//!
//! R4 SampledData: <https://hl7.org/fhir/R4/datatypes.html#SampledData>. A bucket is always rebuilt from its samples,
//! never merged as text, and only when every sample falls exactly on its grid: nothing is moved in time.
//!
//! A store keeps two tables for this: `series(id, patient, device, measure, unit)`, unique without the id, and
//! `sample(series, at_us, value, offset_minutes)` with primary key `(series, at_us)` and `value` as decimal text.
//! Left out on purpose: those tables. The store adds them.

use std::fmt::Write;

use fhir_core::json::{Map, Number, Value};

use crate::decimal::Decimal;
use crate::time::Stamp;

/// Width of a bucket, in microseconds: an hour of UTC.
pub const BUCKET_US: i64 = 3_600_000_000;
/// Most values in one SampledData: two a second for an hour. Denser or irregular hours are served sample by sample.
pub const SLOTS_MAX: i64 = 7_200;

/// Which series a sample belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// `Patient/…`.
    pub patient: String,
    /// System and identifier of the device, joined by `|`.
    pub device: String,
    /// Name in the table of measures.
    pub measure: String,
    /// UCUM code.
    pub unit: String,
}

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// The value with the sender's digits.
    pub value: Decimal,
    /// The offset its time was told with.
    pub offset_minutes: i16,
}

/// What a new sample is beside the stored one of its instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// Nothing was there.
    New,
    /// The same value: nothing to do, the first offset stays.
    Repeat,
    /// Another value and no revision says which is right: the new one waits in quarantine.
    Contradiction,
}

/// Decides between a stored sample and a new one of the same series and instant.
pub fn meet(stored: Option<&Sample>, new: &Sample) -> Meeting {
    match stored {
        None => Meeting::New,
        Some(stored) if stored.value.compare(new.value).is_eq() => Meeting::Repeat,
        Some(_) => Meeting::Contradiction,
    }
}

/// Start of the bucket an instant lies in.
pub fn bucket_start(at_us: i64) -> i64 {
    at_us.div_euclid(BUCKET_US) * BUCKET_US
}

/// A bucket as SampledData and the instants of its first and last value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// For `Observation.effectivePeriod.start`.
    pub start: Stamp,
    /// For `Observation.effectivePeriod.end`.
    pub end: Stamp,
    /// For `Observation.valueSampledData`.
    pub data: Value,
}

/// Rebuilds a bucket from its samples, which are in order of time and of one bucket.
///
/// `None` when they have no common grid of at most [`SLOTS_MAX`] values, or are fewer than two: then they are served
/// one by one.
pub fn bucket(samples: &[Sample], unit: &str) -> Option<Bucket> {
    let (first, last) = (samples.first()?, samples.last()?);
    let gaps = samples.windows(2).map(|pair| match pair {
        [a, b] => b.at_us.checked_sub(a.at_us).filter(|gap| *gap > 0),
        _ => None,
    });
    let period_us = gaps.clone().try_fold(0, |divisor, gap| {
        gap.map(|gap| greatest_divisor(divisor, gap))
    })?;
    if period_us == 0 || (last.at_us - first.at_us) / period_us >= SLOTS_MAX {
        return None;
    }
    let mut data = first.value.to_string();
    for (sample, gap) in samples.iter().skip(1).zip(gaps) {
        (1..gap? / period_us).for_each(|_| data.push_str(" E"));
        write!(data, " {}", sample.value).ok()?;
    }
    let offset = i32::from(first.offset_minutes);
    Some(Bucket {
        start: Stamp::of_micros(first.at_us)?.seen_at_offset(offset)?,
        end: Stamp::of_micros(last.at_us)?.seen_at_offset(offset)?,
        data: sampled_data(&data, period_us, unit)?,
    })
}

fn sampled_data(data: &str, period_us: i64, unit: &str) -> Option<Value> {
    let number = |text: &str| Number::parse(text).map(Value::Number);
    let origin = Value::object([
        ("value", number("0")?),
        ("unit", Value::from(unit)),
        ("system", Value::from("http://unitsofmeasure.org")),
        ("code", Value::from(unit)),
    ]);
    let period = Decimal::new(i128::from(period_us), 3);
    let period = period
        .whole()
        .map_or_else(|| period.to_string(), |whole| whole.to_string());
    let mut map = Map::new();
    map.insert("origin", origin);
    map.insert("period", number(&period)?);
    map.insert("dimensions", number("1")?);
    map.insert("data", Value::from(data));
    Some(Value::Object(map))
}

fn greatest_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_772_355_600_000_000;

    fn samples(values: &[(i64, &str)]) -> Vec<Sample> {
        let sample = |(ms, text): &(i64, &str)| Sample {
            at_us: START + ms * 1_000,
            value: Decimal::parse(text).expect("number"),
            offset_minutes: 60,
        };
        values.iter().map(sample).collect()
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn a_bucket_keeps_digits_instants_and_gaps() {
        let bucket = bucket(
            &samples(&[(0, "61"), (1_000, "61.50"), (4_000, "62.0")]),
            "/min",
        )
        .expect("grid");
        assert_eq!(
            bucket.data.get("data").and_then(Value::as_str),
            Some("61 61.50 E E 62.0")
        );
        assert_eq!(
            bucket.data.get("period").and_then(Value::number_text),
            Some("1000")
        );
        assert_eq!(bucket.start.to_string(), "2026-03-01T10:00:00+01:00");
        assert_eq!(bucket.end.to_string(), "2026-03-01T10:00:04+01:00");
    }

    #[test]
    fn what_has_no_grid_is_served_one_by_one() {
        assert_eq!(bucket(&samples(&[(0, "61")]), "/min"), None);
        assert_eq!(bucket(&samples(&[]), "/min"), None);
        assert_eq!(
            bucket(&samples(&[(0, "61"), (1, "62"), (3_599_999, "63")]), "/min"),
            None
        );
        assert_eq!(bucket(&samples(&[(0, "61"), (0, "62")]), "/min"), None);
    }

    #[test]
    fn order_of_arrival_does_not_matter() {
        let all = samples(&[(0, "1"), (1_000, "2"), (2_000, "3")]);
        let mut late = vec![all[2], all[0], all[1]];
        late.sort_by_key(|s| s.at_us);
        assert_eq!(bucket(&all, "/min"), bucket(&late, "/min"));
        assert_eq!(meet(None, &all[0]), Meeting::New);
        assert_eq!(
            meet(
                Some(&all[0]),
                &Sample {
                    offset_minutes: 0,
                    ..all[0]
                }
            ),
            Meeting::Repeat
        );
        assert_eq!(meet(Some(&all[0]), &all[1]), Meeting::Contradiction);
        assert_eq!(bucket_start(START + 5), START);
        assert_eq!(bucket_start(-1), -BUCKET_US);
    }
}
