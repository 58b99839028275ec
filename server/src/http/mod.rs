//! Header and parameter rules of the FHIR REST API; no FHIR content.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html>

pub mod call;
pub mod cors;
pub mod negotiate;
pub mod paging;
pub mod prefer;
pub mod reply;
