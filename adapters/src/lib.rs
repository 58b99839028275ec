//! Other systems' protocols: each adapter turns what it receives into resources and hands them to one narrow port.
//!
//! The rules every adapter keeps are numbered in `adapters/README.md`. HL7 v2:
//! <https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>.
//!
//! Left out on purpose: storage, HTTP and validation. They lie behind [`Gateway`], which the server implements.

pub mod acknowledge;
mod answer_file;
pub mod batch_file;
mod connection;
pub mod counters;
pub mod exchange;
pub mod feed;
mod file_run;
pub mod folder;
pub mod hl7v2;
pub mod http_client;
mod issue;
mod lane;
pub mod listener;
pub mod mllp;
pub mod network;
pub mod pipeline;
mod port;
pub mod send;
mod shared;
mod stop;
pub mod tls;

#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use issue::{Issue, Severity};
pub use port::{
    AckCode, Adapter, Commit, DedupeKey, Disposition, Gateway, Intake, IntakeError, Outcome,
    Receipt, Running,
};
pub use stop::{Stop, StopHandle};
