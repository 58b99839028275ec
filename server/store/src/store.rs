//! The store: one value for both databases.

use std::sync::Arc;

use bytes::Bytes;
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::index::IndexEntry;

use crate::api::{
    Commit, Committed, HistoryPage, HistoryQuery, ReindexRow, Rid, SearchPage, SearchQuery, StoreCounts, StoreMetrics,
    Stored,
};
use crate::audit::{AuditPage, AuditQuery, AuditRecord};
use crate::error::{CommitError, StoreError};
use crate::index::PreparedIndex;
use crate::message::{Message, MessageFilter};
use crate::options::StoreOptions;

/// A database of resources. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub enum Store {
    /// A file of this process.
    Sqlite(Arc<Inner>),
    /// A PostgreSQL server.
    Postgres(Arc<Inner>),
}

/// What both engines share.
pub struct Inner {}

fn not_yet<T>() -> Result<T, StoreError> {
    Err(StoreError::Internal("not available yet".into()))
}

impl Store {
    /// Opens a database, creates or updates its tables, and starts its threads.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer release wrote it; [`StoreError::Unavailable`] when it cannot be opened.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let _ = options;
        not_yet()
    }

    /// The current version; a deleted resource is `Some` with `deleted`.
    pub async fn read(&self, key: &ResourceKey) -> Result<Option<Stored>, StoreError> {
        let _ = key;
        not_yet()
    }

    /// One version, current or not.
    pub async fn vread(&self, key: &ResourceKey, version: VersionId) -> Result<Option<Stored>, StoreError> {
        let _ = (key, version);
        not_yet()
    }

    /// The live ones of these resources, in the order of the keys.
    pub async fn read_many(&self, keys: &[ResourceKey]) -> Result<Vec<Stored>, StoreError> {
        let _ = keys;
        not_yet()
    }

    /// Versions, newest first.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, StoreError> {
        let _ = query;
        not_yet()
    }

    /// Finds resources.
    ///
    /// # Errors
    /// [`StoreError::TooCostly`] after the time limit, [`StoreError::Overloaded`] when too many searches wait.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchPage, StoreError> {
        let _ = query;
        not_yet()
    }

    /// How a search would be run, for people.
    pub async fn explain(&self, query: SearchQuery) -> Result<String, StoreError> {
        let _ = query;
        not_yet()
    }

    /// Turns index entries into rows. `remove` are the current version's entries, `add` the next one's; what both have
    /// stays as it is.
    pub fn prepare(&self, key: &ResourceKey, remove: &[IndexEntry<'_>], add: &[IndexEntry<'_>]) -> PreparedIndex {
        let _ = (key, remove, add);
        PreparedIndex::default()
    }

    /// Carries out changes; answers after they are durable.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing was written then.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let _ = commit;
        Err(not_yet::<()>().map_or_else(CommitError::from, |()| CommitError::Overloaded))
    }

    /// Like [`Self::commit`] for threads outside of an async runtime (import, adapters); waits for room in the queue.
    pub fn commit_blocking(&self, commit: Commit) -> Result<Committed, CommitError> {
        let _ = commit;
        Err(CommitError::Overloaded)
    }

    /// One message of the log.
    pub async fn message_by_id(&self, id: i64) -> Result<Option<Message>, StoreError> {
        let _ = id;
        not_yet()
    }

    /// Messages of the log, newest first.
    pub async fn messages(&self, filter: MessageFilter, limit: usize) -> Result<Vec<Message>, StoreError> {
        let _ = (filter, limit);
        not_yet()
    }

    /// A message's raw bytes by the SHA-256 of them.
    pub async fn message_raw(&self, hash: [u8; 32]) -> Result<Option<Bytes>, StoreError> {
        let _ = hash;
        not_yet()
    }

    /// Rows of the audit trail, newest first.
    pub async fn audit_page(&self, query: AuditQuery) -> Result<AuditPage, StoreError> {
        let _ = query;
        not_yet()
    }

    /// Writes audit rows that belong to no change (reads, refusals); answers when they are durable.
    pub async fn record_reads(&self, records: Vec<AuditRecord>) -> Result<(), CommitError> {
        self.commit(Commit { audit: records, ..Commit::default() }).await.map(|_| ())
    }

    /// Live resources in the order of their numbers, for the reindex command.
    pub async fn reindex_page(&self, after: Option<Rid>, limit: usize) -> Result<Vec<ReindexRow>, StoreError> {
        let _ = (after, limit);
        not_yet()
    }

    /// Replaces the whole index of a resource if `version` is still current; answers whether it was.
    pub async fn replace_index(&self, rid: Rid, version: VersionId, index: PreparedIndex) -> Result<bool, StoreError> {
        let _ = (rid, version, index);
        not_yet()
    }

    /// Sizes. Walks indexes; not for every request.
    pub async fn counts(&self) -> Result<StoreCounts, StoreError> {
        not_yet()
    }

    /// Counters.
    pub fn metrics(&self) -> StoreMetrics {
        StoreMetrics::default()
    }

    /// A random secret of this database, for signing cursors: the same after a restart.
    pub fn secret(&self) -> [u8; 32] {
        [0; 32]
    }

    /// Checks the database file and that every index row belongs to a live resource.
    pub async fn integrity_check(&self) -> Result<(), StoreError> {
        not_yet()
    }

    /// Whether the database answers; for readiness probes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        not_yet()
    }

    /// Stops taking commits, writes those that wait, folds the log away.
    pub async fn close(&self) {}
}
