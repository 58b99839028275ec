//! Resources, their versions and their index in SQLite or PostgreSQL.
//!
//! The only crate that knows a database. Everything is asked through [`Store`].

mod api;
mod audit;
mod error;
mod index;
mod message;
mod options;
mod store;

pub use api::*;
pub use audit::{AuditPage, AuditQuery, AuditRecord, AuditRow};
pub use error::{CommitError, StoreError};
pub use index::PreparedIndex;
pub use message::{Message, MessageFilter, MessageReceipt, MessageRecord, MessageState};
pub use options::{Clock, StoreOptions, UnitConversion};
pub use store::Store;
