//! Statistics that stay exact: sums are whole numbers, and each result is rounded once, by a stated rule.
//!
//! Rounding: half to even, to [`EXTRA_DIGITS`] decimals more than the most precise value has. Percentiles lie between
//! neighbours in proportion (definition 7 of Hyndman and Fan, 1996); the slope is that of least squares.
//!
//! Left out on purpose: floating point, and statistics over values of different units.

use crate::decimal::{Decimal, divide_half_even};

/// Decimals a rounded result has beyond those of the values.
pub const EXTRA_DIGITS: u32 = 2;
/// Microseconds of a millisecond: times are reduced to this so that sums of squares of a year fit 128 bits.
const MILLISECOND_US: i64 = 1_000;
/// Milliseconds of an hour.
const HOUR_MS: i128 = 3_600_000;

/// Statistics of some values. `None` where too few values leave it undefined, or the numbers are too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// Smallest.
    pub min: Decimal,
    /// Largest.
    pub max: Decimal,
    /// Arithmetic mean.
    pub mean: Option<Decimal>,
    /// Middle value.
    pub median: Option<Decimal>,
    /// Change an hour, by least squares.
    pub slope_per_hour: Option<Decimal>,
}

/// Summarises values with their instants in microseconds; `None` without values.
pub fn summary(values: &[(i64, Decimal)]) -> Option<Summary> {
    let sorted = sorted(values.iter().map(|(_, value)| *value));
    Some(Summary {
        count: values.len(),
        min: *sorted.first()?,
        max: *sorted.last()?,
        mean: mean(&sorted),
        median: percentile(&sorted, 50),
        slope_per_hour: slope(values),
    })
}

/// Values by size.
pub fn sorted(values: impl Iterator<Item = Decimal>) -> Vec<Decimal> {
    let mut sorted: Vec<Decimal> = values.collect();
    sorted.sort_by(|a, b| a.compare(*b));
    sorted
}

/// The arithmetic mean.
pub fn mean(values: &[Decimal]) -> Option<Decimal> {
    let sum = values
        .iter()
        .try_fold(Decimal::ZERO, |sum, value| sum.plus(*value))?;
    let count = Decimal::new(i128::try_from(values.len()).ok()?, 0);
    sum.divided(count, scale(values) + EXTRA_DIGITS)
}

/// The percentile, 0 to 100, of values by size.
pub fn percentile(sorted: &[Decimal], percent: u32) -> Option<Decimal> {
    let steps = sorted
        .len()
        .checked_sub(1)?
        .checked_mul(usize::try_from(percent.min(100)).ok()?)?;
    let (below, rest) = (steps / 100, steps % 100);
    let low = *sorted.get(below)?;
    if rest == 0 {
        return Some(low);
    }
    let part = sorted
        .get(below + 1)?
        .minus(low)?
        .times(Decimal::new(i128::try_from(rest).ok()?, 2))?;
    low.plus(part)?.rounded(scale(sorted) + EXTRA_DIGITS)
}

/// Least squares: (nΣtv − ΣtΣv) / (nΣt² − (Σt)²), with t in milliseconds from the first value.
fn slope(values: &[(i64, Decimal)]) -> Option<Decimal> {
    let first = values.iter().map(|(at, _)| *at).min()?;
    let places = values.iter().map(|(_, v)| v.scale()).max()?;
    let (mut st, mut sv, mut stt, mut stv) = (0_i128, 0_i128, 0_i128, 0_i128);
    for (at, value) in values {
        let t = i128::from(at.checked_sub(first)? / MILLISECOND_US);
        let v = value.at_scale(places)?;
        st = st.checked_add(t)?;
        sv = sv.checked_add(v)?;
        stt = stt.checked_add(t.checked_mul(t)?)?;
        stv = stv.checked_add(t.checked_mul(v)?)?;
    }
    let n = i128::try_from(values.len()).ok()?;
    let top = n.checked_mul(stv)?.checked_sub(st.checked_mul(sv)?)?;
    let bottom = n.checked_mul(stt)?.checked_sub(st.checked_mul(st)?)?;
    if bottom == 0 {
        return None;
    }
    let unit = HOUR_MS.checked_mul(10_i128.checked_pow(EXTRA_DIGITS)?)?;
    let mantissa = divide_half_even(top.checked_mul(unit)?, bottom)?;
    Some(Decimal::new(mantissa, places + EXTRA_DIGITS))
}

fn scale(values: &[Decimal]) -> u32 {
    values.iter().map(|v| v.scale()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: [&str; 5]) {
        let hour = 3_600_000_000;
        let parse = |(i, text): (i64, &&str)| (i * hour, Decimal::parse(text).expect("number"));
        let summary = summary(&(0..).zip(values).map(parse).collect::<Vec<_>>()).expect("values");
        let text = |d: Option<Decimal>| d.map_or("-".to_owned(), |d| d.to_string());
        let got = [
            Some(summary.min),
            Some(summary.max),
            summary.mean,
            summary.median,
            summary.slope_per_hour,
        ]
        .map(text);
        assert_eq!(got, expected, "{values:?}");
    }

    /// Expected values by hand.
    #[test]
    fn results_are_exact_and_rounded_once() {
        check(&["1", "2", "4"], ["1", "4", "2.33", "2", "1.50"]);
        check(&["0.1", "0.2"], ["0.1", "0.2", "0.150", "0.150", "0.100"]);
        check(&["70.00"], ["70.00", "70.00", "70.0000", "70.00", "-"]);
        check(&["5", "5", "5", "5"], ["5", "5", "5.00", "5.00", "0.00"]);
        check(&["-1", "1"], ["-1", "1", "0.00", "0.00", "2.00"]);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let values: Vec<Decimal> = (1..=5).map(|n| Decimal::new(n * 10, 0)).collect();
        for (percent, expected) in [
            (0, "10"),
            (25, "20"),
            (50, "30"),
            (90, "46.00"),
            (95, "48.00"),
            (100, "50"),
        ] {
            assert_eq!(
                percentile(&values, percent)
                    .map(|d| d.to_string())
                    .as_deref(),
                Some(expected),
                "{percent}"
            );
        }
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(summary(&[]), None);
    }

    /// Ten million values of a year stay within 128 bits.
    #[test]
    fn a_long_series_has_a_slope() {
        let values: Vec<(i64, Decimal)> = (0..100_000)
            .map(|i| (i * 315_360_000, Decimal::new(i128::from(i % 2), 2)))
            .collect();
        assert!(summary(&values).expect("values").slope_per_hour.is_some());
    }
}
