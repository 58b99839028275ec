//! One file for each operation.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html>

pub mod everything;
pub mod validate;
