//! JSON that keeps every digit: a read-only flat document for the hot path and an owned tree for building.
//!
//! FHIR requires that the precision of a decimal survives (<https://hl7.org/fhir/R4/datatypes.html#decimal>):
//! `2.50` must not become `2.5`. So a number is its text here, and nothing in this module knows `f64`.
//!
//! * [`Document`] parses once into a flat list of nodes that point into the source text. Reading and copying out
//!   never re-formats anything.
//! * [`Value`] is an owned tree for what is built or changed: mapping output, patches, OperationOutcomes.
//!
//! Left out on purpose: comments, `NaN`, duplicate members and lone surrogates, all of which are refused.

mod document;
mod error;
mod pretty;
mod value;

pub use document::{Document, Items, Kind, Members, ValueRef};
pub use error::{JsonError, JsonErrorKind};
pub use pretty::pretty;
pub use value::{Map, Number, Value, write_string};

/// Deepest nesting of objects and arrays accepted, in levels. FHIR data stays under 40; a bound keeps hostile
/// input from exhausting memory in recursive writers.
pub const JSON_DEPTH_MAX: usize = 200;

#[cfg(test)]
mod tests;
