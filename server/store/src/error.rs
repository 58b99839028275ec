//! Why the store could not do what it was asked.

use fhir_core::ids::VersionId;

use crate::message::MessageReceipt;

/// A read or administrative call failed. Texts name tables and files, never the values of resources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The search ran into its limit of time or size; narrow it.
    #[error("the search is too costly: {0}")]
    TooCostly(String),
    /// More calls wait than the store keeps; try again later.
    #[error("the store is overloaded, try again later")]
    Overloaded,
    /// The database cannot be reached or written (network, full disk, rights).
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database was written by a newer release; it is left untouched.
    #[error(
        "the database has schema `{found}`, newer than this release knows; use the newer release"
    )]
    NewerSchema {
        /// Name of the unknown migration.
        found: String,
    },
    /// The options or a cursor do not make sense.
    #[error("{0}")]
    Invalid(String),
    /// The database holds something it should not, or a defect of ours.
    #[error("internal error of the store: {0}")]
    Internal(String),
}

/// A commit was not carried out; nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A change expected another version than the current one.
    #[error("change {index} expected another version")]
    VersionMoved {
        /// Position in `Commit::changes`.
        index: usize,
        /// What is current: version and whether it is deleted. `None` when the resource never existed.
        current: Option<(VersionId, bool)>,
    },
    /// A search found other resources than expected.
    #[error("expectation {index} failed")]
    ExpectationFailed {
        /// Position in `Commit::expects`.
        index: usize,
    },
    /// The same sender sent the same message before; this is what became of it.
    #[error("the message was received before")]
    RepeatedMessage(MessageReceipt),
    /// Another run moved the walk that the page belongs to.
    #[error("another run of the tenant moved the cursor")]
    WalkMoved,
    /// The internal key of a new resource is taken by another one; create it with another id.
    #[error("change {index} needs another id")]
    IdTaken {
        /// Position in `Commit::changes`.
        index: usize,
    },
    /// The queue of commits is full; try again later.
    #[error("the store is overloaded, try again later")]
    Overloaded,
    /// The database cannot be written (network, full disk, rights).
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refused this commit, or a defect of ours.
    #[error("internal error of the store: {0}")]
    Internal(String),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable(text) => Self::Unavailable(text),
            other => Self::Internal(other.to_string()),
        }
    }
}
