//! Resources, their versions and their index in SQLite or PostgreSQL.
//!
//! The only crate that knows a database. Everything is asked through [`Store`].

mod api;
mod audit;
mod body;
mod catalog;
mod custom;
mod db;
mod error;
mod hash;
mod index;
mod log;
mod message;
mod open;
mod options;
mod read;
mod search;
mod shared;
mod sql;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod threads;
mod write;

pub use api::*;
pub use audit::{AuditPage, AuditQuery, AuditRecord, AuditRow};
pub use custom::CustomParam;
pub use error::{CommitError, StoreError};
pub use index::PreparedIndex;
pub use message::{Message, MessageFilter, MessageReceipt, MessageRecord, MessageState};
pub use options::{Clock, StoreOptions, UnitConversion};
pub use store::Store;
pub use text::TextWords;
