//! TEMPORARY
#![allow(missing_docs, unused)]
pub mod structure { use fhir_core::{issue::*, json::*}; pub fn check(_: conformance::ResourceTypeId, _: ValueRef<'_>) -> Vec<Issue> { vec![] } }

