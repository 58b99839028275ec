//! A robust score of how unlike its past a value is: distance from the median in median absolute deviations.
//!
//! The factor 1.4826 makes the deviation comparable with a standard deviation of a normal distribution. Reported only;
//! nothing is done because of it.
//!
//! Left out on purpose: seasons. The caller chooses which past values to compare with, such as those of the same hour.

use crate::decimal::Decimal;
use crate::stats;

/// Fewest past values a score is given for; fewer say nothing about spread.
pub const PAST_MIN: usize = 8;
/// Decimals of a score.
const SCORE_DIGITS: u32 = 2;

/// The score, rounded half to even to two decimals. `None` with fewer than [`PAST_MIN`] values, or when half of them
/// are equal and any other value would score without limit.
pub fn score(past: &[Decimal], value: Decimal) -> Option<Decimal> {
    if past.len() < PAST_MIN {
        return None;
    }
    let median = stats::percentile(&stats::sorted(past.iter().copied()), 50)?;
    let distances: Option<Vec<Decimal>> = past
        .iter()
        .map(|v| v.minus(median).map(Decimal::absolute))
        .collect();
    let deviation = stats::percentile(&stats::sorted(distances?.into_iter()), 50)?;
    if deviation.is_zero() {
        return None;
    }
    let unit = deviation.times(Decimal::new(14_826, 4))?;
    value.minus(median)?.absolute().divided(unit, SCORE_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let past: Vec<Decimal> = [60, 61, 62, 63, 64, 65, 66, 67, 68]
            .map(|n| Decimal::new(n, 0))
            .to_vec();
        // Median 64, deviations 0 1 1 2 2 3 3 4 4, their median 2: one unit is 2.9652.
        for (value, expected) in [(64, "0.00"), (67, "1.01"), (94, "10.12"), (34, "10.12")] {
            assert_eq!(
                score(&past, Decimal::new(value, 0))
                    .map(|d| d.to_string())
                    .as_deref(),
                Some(expected),
                "{value}"
            );
        }
        assert_eq!(score(&past[..7], Decimal::new(1, 0)), None);
        assert_eq!(score(&[Decimal::new(5, 0); 9], Decimal::new(6, 0)), None);
    }
}
