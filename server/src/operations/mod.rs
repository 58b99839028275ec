//! One file for each operation.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html>

pub mod convert;
pub mod everything;
pub mod lineage;
pub mod validate;
