//! String parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#string>: "By default, a field matches a string query if the value of the
//! field equals or starts with the supplied parameter value, after both have been normalized by case and accent".

use super::{Modifier, Reading};
use crate::datatype::string::normalise;
use crate::issue::Problem;
use crate::search::predicate::{StringTest, ValueTest};
use crate::search::text::unescape;

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let text = unescape(text);
    if reading.modifier == Modifier::Exact {
        return Ok(vec![ValueTest::String(StringTest::Exact(
            text.into_owned(),
        ))]);
    }
    let normal = normalise(&text).into_owned();
    if normal.is_empty() {
        return Err(reading.bad_value("it is blank"));
    }
    let test = match reading.modifier {
        Modifier::Contains => StringTest::Contains(normal),
        Modifier::Equals => StringTest::Equals(normal),
        Modifier::EndsWith => StringTest::EndsWith(normal),
        _ => StringTest::StartsWith(normal),
    };
    Ok(vec![ValueTest::String(test)])
}
