//! Searches: run for a client, or to resolve the criteria of a conditional interaction.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>

pub mod condition;
