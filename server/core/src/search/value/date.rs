//! Date parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#date>. A value without a zone is taken in the zone of the context.

use super::{Modifier, Reading, prefix};
use crate::datatype::date::parse_search;
use crate::issue::Problem;
use crate::search::predicate::{Comparison, DateTest, ValueTest};

const FORM: &str = "a date such as `2013`, `2013-01`, `2013-01-14` or `2013-01-14T10:00:00Z` is expected, after an optional \
                    prefix; a `+` in a URL is written `%2B`";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    date_test(reading, text).map(|test| vec![ValueTest::Date(test)])
}

/// Reads a date with its prefix.
pub fn date_test(reading: &Reading<'_>, text: &str) -> Result<DateTest, Problem> {
    let (comparison, date) = prefix::split(reading, text)?;
    let date = parse_search(date).ok_or_else(|| reading.bad_value(FORM))?;
    let range = date.range(reading.context.zone);
    if reading.modifier == Modifier::Overlaps {
        return Ok(DateTest {
            comparison: Comparison::Approximate,
            start: range.start,
            end: range.end,
        });
    }
    let range = if comparison == Comparison::Approximate {
        range.approximate(reading.context.now)
    } else {
        range
    };
    Ok(DateTest {
        comparison,
        start: range.start,
        end: range.end,
    })
}
