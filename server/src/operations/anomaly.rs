//! How unusual the latest of some values is, as an extension of the answer of `$stats`. Reported only: nothing acts on it.
//!
//! The score is of [`device::anomaly`]: the distance from the median in median absolute deviations, compared with values of the
//! same hour of the day (UTC) where there are enough of them, else with all. Left out: seasons of weeks and years.

use device::anomaly::{PAST_MIN, score};
use fhir_core::datatype::date::{Zone, range_of};
use fhir_core::datatype::decimal::Decimal;
use fhir_core::json::{Number, Value, ValueRef};

/// The extension's url.
const URL: &str = "urn:stoker:StructureDefinition/anomaly-score";
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// A value and when it was measured.
pub struct Timed {
    /// Microseconds since 1970; `None` when it does not say.
    pub at: Option<i64>,
    /// The value.
    pub value: Decimal,
}

/// When an observation was made.
pub fn time_of(observation: ValueRef<'_>) -> Option<i64> {
    let names = ["effectiveDateTime", "effectiveInstant", "effectivePeriod"];
    let given = names.into_iter().find_map(|name| observation.get(name))?;
    range_of(given, Zone::UTC).map(|range| range.start)
}

/// The score of the latest value; `None` with too few others, or when half of them are equal.
pub fn extension(values: &[Timed]) -> Option<Value> {
    let (index, latest) = values
        .iter()
        .enumerate()
        .filter(|(_, timed)| timed.at.is_some())
        .max_by_key(|(_, timed)| timed.at)?;
    let read = |timed: &Timed| device::decimal::Decimal::parse(&timed.value.to_string());
    let hour = |timed: &Timed| {
        timed
            .at
            .map(|at| at.div_euclid(MICROS_PER_HOUR).rem_euclid(24))
    };
    let others = || {
        let all = values.iter().enumerate();
        all.filter(move |(other, _)| *other != index)
            .map(|(_, timed)| timed)
    };
    let same_hour: Vec<_> = others()
        .filter(|timed| hour(timed) == hour(latest))
        .filter_map(read)
        .collect();
    let (past, basis) = if same_hour.len() >= PAST_MIN {
        (same_hour, "same-hour")
    } else {
        (others().filter_map(read).collect(), "all")
    };
    let number = Number::parse(&score(&past, read(latest)?)?.to_string())?;
    let count = i64::try_from(past.len()).ok()?;
    let part = |url: &str, name: &'static str, value: Value| {
        Value::object([("url", Value::from(url)), (name, value)])
    };
    Some(Value::object([
        ("url", Value::from(URL)),
        (
            "extension",
            Value::Array(vec![
                part("score", "valueDecimal", Value::Number(number)),
                part("comparedWith", "valueCode", Value::from(basis)),
                part("count", "valueInteger", Value::from(count)),
            ]),
        ),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(hour: i64, value: i64) -> Timed {
        Timed {
            at: Some(hour * MICROS_PER_HOUR),
            value: Decimal::from(value),
        }
    }

    /// Verifies: SRS-349
    #[test]
    fn the_latest_is_compared_with_its_hour_of_the_day() {
        // Nine nights around 64, days around 100: 94 is unusual at night, though not among all.
        let nights = (0..9).map(|day| timed(day * 24 + 3, 60 + day));
        let days = (0..9).map(|day| timed(day * 24 + 15, 96 + day));
        let mut all: Vec<Timed> = nights.chain(days).collect();
        all.push(timed(9 * 24 + 3, 94));
        let text = extension(&all).unwrap().to_string();
        assert!(text.contains(r#""valueDecimal":10.12"#), "{text}");
        assert!(text.contains(r#""valueCode":"same-hour""#), "{text}");
        assert!(extension(&all[..5]).is_none());
    }
}
