//! Mappings: what turns HL7 v2 messages, device payloads and foreign FHIR into R4 resources, as data.
//!
//! HL7 Version 2 to FHIR (<https://hl7.org/fhir/uv/v2mappings/>) is where the shipped HL7 v2 mappings start from.
//! The language is described in `mappings/README.md`.
//!
//! Left out on purpose: protocols, storage, and any knowledge of what the store already holds.

mod code;
mod decimal;
mod error;
mod identity;
mod json;
mod language;
mod output;
mod path;
mod scope;
mod script;
pub mod source;
mod time;
mod unit;
mod yaml;

pub use error::{LoadError, LoadErrors, MapError};
pub use identity::{Identity, derive_id};
pub use output::{Code, Ledger, LineageEntry, MapIssue, Output, Produced, Severity, Write};
pub use source::{At, Hl7Builder, Hl7Tree, Leaf, Position, SegmentId, SourceTree};
