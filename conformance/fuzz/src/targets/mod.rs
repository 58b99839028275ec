//! The targets by name.

mod fhirpath;
mod hl7v2;
mod json;
mod patch;
mod search;
mod xml;

/// Takes any bytes; panics when a promise is broken.
pub type Target = fn(&[u8]);

/// The names of all targets.
pub const NAMES: [&str; 6] = ["search", "fhirpath", "json", "xml", "patch", "hl7v2"];

/// The target of a name.
pub fn named(name: &str) -> Option<Target> {
    Some(match name {
        "search" => search::run,
        "fhirpath" => fhirpath::run,
        "json" => json::run,
        "xml" => xml::run,
        "patch" => patch::run,
        "hl7v2" => hl7v2::run,
        _ => return None,
    })
}

/// First line and rest of a text; an input of two parts is written so.
fn two_parts(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (first, rest) = data.split_at(end);
    Some((std::str::from_utf8(first).ok()?, rest.get(1..)?))
}
