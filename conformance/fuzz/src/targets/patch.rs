//! A patch on a resource: the first line is the resource, the rest the patch; an array is a JSON Patch.
//!
//! Spec: RFC 6902, <https://hl7.org/fhir/R4/fhirpatch.html>. Promises: a patch applies or is refused; what comes out is JSON,
//! and the same each time.

use fhir_core::json::{Document, Value};
use fhir_core::patch::{fhirpath_patch, json_patch};

pub fn run(data: &[u8]) {
    let Some((resource, patch)) = super::two_parts(data) else {
        return;
    };
    let (Ok(resource), Ok(patch)) = (Value::parse(resource.as_bytes()), Value::parse(patch)) else {
        return;
    };
    let apply = match patch {
        Value::Array(_) => json_patch::apply,
        _ => fhirpath_patch::apply,
    };
    let Ok(patched) = apply(&resource, &patch) else {
        return;
    };
    let text = patched.to_bytes();
    // Copies inside of copies may nest deeper than what is accepted; the write path refuses these.
    let _ = Document::parse(&text);
    let again = apply(&resource, &patch).expect("applied once, refused once");
    assert_eq!(again.to_bytes(), text, "two results of one patch");
}
