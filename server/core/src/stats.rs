//! Statistics over decimals, exact where they can be.
//!
//! Spec: <https://hl7.org/fhir/R4/valueset-observation-statistics.html>. Left out: skew, kurtosis and regression, whose
//! formulas the code system does not fix.

use crate::datatype::decimal::Decimal;

/// The code system of the statistics.
pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";

/// Values one computation takes at most.
pub const VALUES_MAX: usize = 100_000;

/// A statistic by its code.
#[derive(Debug, Clone, Copy)]
pub struct Statistic {
    /// The code.
    pub code: &'static str,
    /// Its display.
    pub display: &'static str,
    compute: fn(&[Decimal]) -> Option<Decimal>,
    /// Whether the result is a number of values, without the values' unit.
    pub is_count: bool,
}

macro_rules! statistic {
    ($code:literal, $display:literal, $compute:expr) => {
        Statistic {
            code: $code,
            display: $display,
            compute: $compute,
            is_count: false,
        }
    };
}

/// Every statistic that is computed.
pub const ALL: &[Statistic] = &[
    statistic!("average", "Average", average),
    statistic!("maximum", "Maximum", |v| v.last().cloned()),
    statistic!("minimum", "Minimum", |v| v.first().cloned()),
    Statistic {
        code: "count",
        display: "Count",
        compute: count,
        is_count: true,
    },
    Statistic {
        code: "total-count",
        display: "Total Count",
        compute: count,
        is_count: true,
    },
    statistic!("median", "Median", |v| percentile(v, 50)),
    statistic!("std-dev", "Standard Deviation", |v| variance(v)?.sqrt()),
    statistic!("sum", "Sum", sum),
    statistic!("variance", "Variance", variance),
    statistic!("20-percent", "20th Percentile", |v| percentile(v, 20)),
    statistic!("80-percent", "80th Percentile", |v| percentile(v, 80)),
    statistic!("4-lower", "Lower Quartile", |v| percentile(v, 25)),
    statistic!("4-upper", "Upper Quartile", |v| percentile(v, 75)),
    statistic!("4-dev", "Quartile Deviation", |v| {
        let width = percentile(v, 75)?.checked_sub(&percentile(v, 25)?)?;
        width.checked_div(&Decimal::from(2))
    }),
    statistic!("5-1", "1st Quintile", |v| percentile(v, 20)),
    statistic!("5-2", "2nd Quintile", |v| percentile(v, 40)),
    statistic!("5-3", "3rd Quintile", |v| percentile(v, 60)),
    statistic!("5-4", "4th Quintile", |v| percentile(v, 80)),
];

/// The statistic with this code.
pub fn named(code: &str) -> Option<&'static Statistic> {
    ALL.iter().find(|statistic| statistic.code == code)
}

impl Statistic {
    /// The result over values in ascending order; `None` where there are too few values for it to mean something.
    pub fn of(&self, ascending: &[Decimal]) -> Option<Decimal> {
        (self.compute)(ascending)
    }
}

fn count(values: &[Decimal]) -> Option<Decimal> {
    i64::try_from(values.len()).ok().map(Decimal::from)
}

fn sum(values: &[Decimal]) -> Option<Decimal> {
    let (first, rest) = values.split_first()?;
    rest.iter()
        .try_fold(first.clone(), |sum, value| sum.checked_add(value))
}

fn average(values: &[Decimal]) -> Option<Decimal> {
    sum(values)?.checked_div(&count(values)?)
}

/// The variance of a sample: the squared distances over one less than their number.
fn variance(values: &[Decimal]) -> Option<Decimal> {
    let fewer = count(values)?.checked_sub(&Decimal::from(1))?;
    if values.len() < 2 {
        return None;
    }
    // n·Σx² − (Σx)² over n·(n−1): exact up to the last division.
    let squares: Option<Vec<Decimal>> = values.iter().map(|v| v.checked_mul(v)).collect();
    let total = sum(values)?;
    let above = sum(&squares?)?
        .checked_mul(&count(values)?)?
        .checked_sub(&total.checked_mul(&total)?)?;
    above.checked_div(&count(values)?.checked_mul(&fewer)?)
}

/// Between the two values next to it, in proportion: the rank of `percent` in `0 ..= n−1`.
fn percentile(values: &[Decimal], percent: usize) -> Option<Decimal> {
    let rank = values.len().checked_sub(1)?.checked_mul(percent)?;
    let (whole, rest) = (rank / 100, rank % 100);
    let low = values.get(whole)?;
    if rest == 0 {
        return Some(low.clone());
    }
    let high = values.get(whole + 1)?;
    let part = Decimal::from(i64::try_from(rest).ok()?).checked_div(&Decimal::from(100))?;
    low.checked_add(&high.checked_sub(low)?.checked_mul(&part)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-187, RC-184
    #[test]
    fn statistics_are_exact() {
        let mut values: Vec<Decimal> = ["0.1", "0.2", "0.3", "0.4", "10"]
            .map(|t| Decimal::parse(t).unwrap())
            .to_vec();
        values.sort();
        for (code, expected) in [
            ("count", "5"),
            ("sum", "11"),
            ("average", "2.2"),
            ("minimum", "0.1"),
            ("maximum", "10"),
            ("median", "0.3"),
            ("4-lower", "0.2"),
            ("4-upper", "0.4"),
            ("4-dev", "0.1"),
            ("20-percent", "0.18"),
            ("80-percent", "2.32"),
            ("variance", "19.025"),
            ("std-dev", "4.3617656975128776"),
        ] {
            let found = named(code).unwrap().of(&values).unwrap().to_string();
            assert!(found.starts_with(expected), "{code}: {found}");
        }
        let one = [Decimal::from(1)];
        assert!(named("variance").unwrap().of(&one).is_none());
        assert!(named("average").unwrap().of(&[]).is_none());
        assert!(named("skew").is_none());
    }
}
