//! Number parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#number>

use super::{Reading, prefix};
use crate::datatype::decimal::{Decimal, SortKey};
use crate::issue::Problem;
use crate::search::predicate::{Comparison, RangeTest, ValueTest};

const FORM: &str = "a number such as `100`, `-5.4` or `1e-3` is expected, after an optional prefix";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let (comparison, number) = prefix::split(reading, text)?;
    let number = Decimal::parse(number).map_err(|_| reading.bad_value(FORM))?;
    Ok(vec![ValueTest::Number(range_test(comparison, &number))])
}

/// The range a number stands for under a comparison.
///
/// "When a comparison prefix in the set gt, lt, ge, le, sa & eb is provided, the implicit precision of the number is
/// ignored, and they are treated as if they have arbitrarily high precision".
pub fn range_test(comparison: Comparison, number: &Decimal) -> RangeTest {
    let (low, high) = match comparison {
        Comparison::Equal | Comparison::NotEqual => number.implicit_range(),
        Comparison::Approximate => number.approximate_range(),
        _ => (number.clone(), number.clone()),
    };
    RangeTest {
        comparison,
        low: SortKey::from_decimal(&low),
        high: SortKey::from_decimal(&high),
    }
}
