//! Whether a resource is what FHIR says it is, before it is stored.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>. Here: structure, cardinality, value formats and required codes. Invariants
//! are in [`invariants`], profiles in [`crate::profile`]. Left out: bindings of R4 that are not required.

pub mod invariants;
pub mod narrative;
pub(crate) mod place;
mod primitive;
mod reference;
mod seen;
pub mod shape;
pub mod structure;

#[cfg(test)]
mod tests;
