//! Changing a resource by a patch instead of sending it whole.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#patch>

pub mod fhirpath_patch;
pub mod json_patch;
mod pointer;
