//! FHIR data types as search and validation need them.

pub mod date;
pub mod decimal;
pub mod quantity;
pub mod reference;
pub mod string;
pub mod ucum;
