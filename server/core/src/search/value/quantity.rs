//! Quantity parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#quantity>. Conversion between units is the store's part: it starts from
//! the digits as asked.

use super::number::range_test;
use super::{Reading, prefix};
use crate::datatype::decimal::Decimal;
use crate::issue::Problem;
use crate::search::predicate::{QuantityTest, UnitTest, ValueTest};
use crate::search::text::{split, unescape};

const FORM: &str =
    "`number`, `number|system|code` or `number||code` is expected, after an optional prefix";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let parts = split(text, '|');
    let (first, unit) = match parts.as_slice() {
        [number] => (*number, UnitTest::Any),
        [number, "", ""] => (*number, UnitTest::Any),
        [number, "", code] => (*number, UnitTest::CodeOrUnit(unescape(code).into_owned())),
        [number, system, ""] => (*number, UnitTest::System(unescape(system).into_owned())),
        [number, system, code] => (
            *number,
            UnitTest::SystemCode(unescape(system).into_owned(), unescape(code).into_owned()),
        ),
        _ => return Err(reading.bad_value(FORM)),
    };
    let (comparison, number) = prefix::split(reading, first)?;
    let value = Decimal::parse(number).map_err(|_| reading.bad_value(FORM))?;
    let range = range_test(comparison, &value);
    Ok(vec![ValueTest::Quantity(QuantityTest {
        number: number.to_owned(),
        range,
        unit,
    })])
}
