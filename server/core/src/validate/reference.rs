//! Whether a text can be a reference at all. Without copies: this is on the way of every write.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#literal>. Left out: whether it leads anywhere, and contained resources.

use conformance::Definitions;

use crate::ids::ResourceId;

/// True for `Type/id`, `Type/id/_history/version`, an absolute url and `urn:`.
pub fn is_reference(text: &str) -> bool {
    if text.starts_with("urn:") || text.contains("://") {
        return !text.contains(char::is_whitespace);
    }
    let mut segments = text.split('/');
    let is_type = segments
        .next()
        .is_some_and(|name| Definitions::r4().resource_type(name).is_some());
    let is_id = |segment: Option<&str>| segment.is_some_and(ResourceId::is_valid);
    is_type
        && is_id(segments.next())
        && match segments.next() {
            None => true,
            Some("_history") => is_id(segments.next()) && segments.next().is_none(),
            Some(_) => false,
        }
}
