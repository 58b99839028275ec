//! Mappings: what turns HL7 v2 messages, device payloads and foreign FHIR into R4 resources, as data.
//!
//! HL7 Version 2 to FHIR (<https://hl7.org/fhir/uv/v2mappings/>) is where the shipped HL7 v2 mappings start from.
//! The language is described in `mappings/README.md`.
//!
//! Left out on purpose: protocols, storage, and any knowledge of what the store already holds.

pub mod source;

pub use source::{At, Hl7Builder, Hl7Tree, Leaf, Position, SegmentId, SourceTree};
