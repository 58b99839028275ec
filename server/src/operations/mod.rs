//! One file for each operation.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html>

pub mod definitions;
pub mod everything;
pub mod input;
pub mod stats;
pub mod terminology;
pub mod translate;
pub mod validate;
pub mod value_set;
