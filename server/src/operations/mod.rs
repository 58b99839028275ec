//! One file for each operation.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html>

mod anomaly;
pub mod bulk_import;
pub mod convert;
pub mod definitions;
pub mod everything;
pub mod explain;
pub mod export;
pub mod hourly;
pub mod input;
pub mod lastn;
pub mod lineage;
pub mod match_;
pub mod meta;
pub mod parameters;
pub mod stats;
pub mod status;
pub mod terminology;
pub mod translate;
pub mod validate;
pub mod value_set;
