//! Resources, their versions and their index in SQLite or PostgreSQL.
//!
//! The only crate that knows a database. Everything is asked through [`Store`].

mod api;
mod audit;
mod body;
mod catalog;
mod custom;
mod db;
mod deadline;
mod device;
mod dialect;
mod ehr;
mod error;
mod feed;
mod feed_log;
mod feed_state;
mod hash;
mod index;
mod live;
mod log;
mod message;
mod open;
mod options;
mod read;
mod sample;
mod search;
mod shared;
mod sql;
mod store;
mod store_ehr;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod threads;
mod write;

pub use api::*;
pub use audit::{AuditPage, AuditQuery, AuditRecord, AuditRow};
pub use custom::CustomParam;
pub use device::DeviceToken;
pub use ehr::{
    EhrCounts, EhrKey, EhrMember, EhrPage, EhrRecord, EhrReview, EhrRun, EhrTenant, EhrWalk,
};
pub use error::{CommitError, StoreError};
pub use feed::FeedRow;
pub use feed_state::{
    Alias, AliasKind, Bookkeeping, Incident, IncidentStep, KnownIdentities, KnownRevision, LossRow,
    MessagePlace, NewReview, Owner, Review, ReviewState, UnmappedCode, UnmappedRow,
};
pub use index::PreparedIndex;
pub use live::{LiveAlert, LiveEvent, LiveOp, LivePage, LiveStep, LiveSub};
pub use message::{Message, MessageFilter, MessageReceipt, MessageRecord, MessageState};
pub use options::{Clock, StoreOptions, UnitConversion};
pub use sample::{NarrowSample, SampleFate, SeriesRange, SeriesSamples};
pub use store::Store;
pub use text::TextWords;
