//! FHIR as pure functions: no IO, no clock, no randomness, no `f64`, no panic on input.
//!
//! Everything here takes values and returns values; the database lives in `fhir-store`, HTTP in `stoker`.

pub mod access;
pub mod body;
pub mod bundle;
pub mod datatype;
pub mod fhirpath;
pub mod ids;
pub mod index;
pub mod issue;
pub mod json;
pub mod patch;
pub mod profile;
pub mod response;
pub mod sample;
pub mod search;
pub mod stats;
pub mod summary;
pub mod terminology;
pub mod validate;
pub mod versioning;
pub mod xml;
