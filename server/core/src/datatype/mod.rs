//! FHIR data types as search and validation need them.

pub mod decimal;
