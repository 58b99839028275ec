//! Search: from the URL to a tree that a storage back-end can answer.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>

pub mod predicate;
