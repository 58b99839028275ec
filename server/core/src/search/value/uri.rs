//! Uri parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#uri>: "Matches are precise, case, accent, and escape sensitive".

use super::{Modifier, Reading};
use crate::issue::Problem;
use crate::search::predicate::{UriTest, ValueTest};
use crate::search::text::unescape;

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let uri = unescape(text).into_owned();
    Ok(vec![ValueTest::Uri(match reading.modifier {
        Modifier::Above => UriTest::Above(uri),
        Modifier::Below => UriTest::Below(uri),
        _ => UriTest::Exact(uri),
    })])
}
