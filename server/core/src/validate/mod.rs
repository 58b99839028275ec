//! Whether a resource is what FHIR says it is, before it is stored.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>. Here: structure, cardinality, value formats and required codes. Left
//! out: profiles, invariants, slicing and other bindings.

pub mod narrative;
mod place;
mod primitive;
mod reference;
mod seen;
pub mod shape;
pub mod structure;

#[cfg(test)]
mod tests;
