//! Mappings: what turns HL7 v2 messages, device payloads and foreign FHIR into R4 resources, as data.
//!
//! HL7 Version 2 to FHIR (<https://hl7.org/fhir/uv/v2mappings/>) is where the shipped HL7 v2 mappings start from.
//! The language is described in `mappings/README.md`.
//!
//! Left out on purpose: protocols, storage, and any knowledge of what the store already holds.

mod code;
mod compile;
mod context;
mod convert;
mod decimal;
mod embedded;
mod engine;
mod error;
mod expression;
mod identity;
mod json;
mod language;
mod library;
mod load;
mod load_rule;
mod output;
mod path;
mod revision;
pub mod sample;
mod scope;
mod script;
mod self_test;
pub mod source;
mod time;
mod unit;
mod uri;
pub mod yaml;

pub use code::{ConceptMap, Target};
pub use context::Context;
pub use engine::{ISSUES_MAX, RESOURCES_MAX};
pub use error::{LoadError, LoadErrors, MapError};
pub use identity::{Identity, derive_id};
pub use library::{Library, Mapping, Select};
pub use output::{
    Action, ActionKind, Code, Ledger, LineageEntry, ListMerge, MapIssue, Others, Output, Produced,
    Severity, Write,
};
pub use revision::{Revision, Span};
pub use source::{At, Hl7Builder, Hl7Tree, Leaf, Position, SegmentId, SourceTree};

#[cfg(test)]
mod tests;
