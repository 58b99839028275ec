//! What the store is asked and what it answers, free of any database.

use bytes::Bytes;
use conformance::ResourceTypeId;
use fhir_core::body::Body;
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::search::predicate::{Predicate, SortKeySpec};

use crate::audit::AuditRecord;
use crate::index::PreparedIndex;
use crate::message::{MessageReceipt, MessageRecord};
use crate::sample::{SampleFate, SeriesSamples};

/// The store's own number of a resource: never reused, never shown to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rid(pub i64);

/// A version of a resource as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its type and id.
    pub key: ResourceKey,
    /// The version.
    pub version: VersionId,
    /// When the version was made.
    pub updated: Instant,
    /// Whether the version says that the resource is deleted.
    pub deleted: bool,
    /// The complete resource, version and time filled in; empty when deleted.
    pub json: Bytes,
}

/// A search in one resource type.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// The type searched.
    pub resource_type: ResourceTypeId,
    /// What matches.
    pub predicate: Predicate,
    /// Order, at most [`SearchQuery::SORT_KEYS_MAX`] keys; then the order of creation decides.
    pub sort: Vec<SortKeySpec>,
    /// Matches wanted on this page.
    pub limit: usize,
    /// Where the previous page ended.
    pub after: Option<Cursor>,
    /// Whether to count all matches.
    pub total: TotalMode,
    /// Whether bodies are wanted.
    pub only: Only,
}

impl SearchQuery {
    /// Sort keys the store can keep a cursor for.
    pub const SORT_KEYS_MAX: usize = 8;
}

/// Whether all matches are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalMode {
    /// No.
    None,
    /// When it is cheap, or roughly.
    Estimate,
    /// Exactly.
    Accurate,
}

/// What of the matches is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The resources.
    Bodies,
    /// Their number only.
    CountOnly,
}

/// Where a page ended: the sort values and the number of its last match. Opaque; sign it before showing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// Some matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// The matches in order.
    pub matches: Vec<Stored>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
    /// All matches, when asked for.
    pub total: Option<u64>,
}

/// Whose history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryScope {
    /// One resource's.
    Instance(ResourceKey),
    /// One type's.
    Type(ResourceTypeId),
    /// All.
    System,
}

/// The order of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryOrder {
    /// "sorted with oldest versions last", the default.
    #[default]
    NewestFirst,
    /// The other way round.
    OldestFirst,
}

/// A page of history.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// Whose.
    pub scope: HistoryScope,
    /// Only versions made at or after this (`_since`).
    pub since: Option<Instant>,
    /// Only versions made at or before this (the newest time of the first page).
    pub until: Option<Instant>,
    /// Only versions that were current at some moment from the first of these to before the second (`_at`).
    pub at: Option<(Instant, Instant)>,
    /// In which order.
    pub order: HistoryOrder,
    /// Versions wanted.
    pub limit: usize,
    /// Where the previous page ended.
    pub after: Option<Cursor>,
    /// Whether to count all versions.
    pub total: TotalMode,
}

/// Some versions in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The versions.
    pub versions: Vec<Stored>,
    /// Where to go on.
    pub next: Option<Cursor>,
    /// All versions, when asked for.
    pub total: Option<u64>,
}

/// Changes that happen all together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What must be true at commit time.
    pub expects: Vec<Expectation>,
    /// The changes. A resource occurs at most once.
    pub changes: Vec<Change>,
    /// What the audit trail says about it.
    pub audit: Vec<AuditRecord>,
    /// The message that caused it.
    pub message: Option<MessageRecord>,
    /// Samples of dense series to keep beside the resources.
    pub samples: Vec<SeriesSamples>,
}

/// Something that must be true at commit time, without any gap before the commit.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// The search finds exactly these live resources, in any order.
    Matches {
        /// The type searched.
        resource_type: ResourceTypeId,
        /// What matches.
        predicate: Predicate,
        /// What it must find.
        keys: Vec<ResourceKey>,
    },
}

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Of which resource.
    pub key: ResourceKey,
    /// Its current version, as far as the caller knows.
    pub expect: ExpectVersion,
    /// What to do.
    pub action: Action,
}

/// The version a change builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectVersion {
    /// The resource never existed.
    Absent,
    /// This one is current; it may be a deleted one.
    Version(VersionId),
}

/// What to do with a resource.
#[derive(Debug, Clone)]
pub enum Action {
    /// Store this as the next version.
    Put {
        /// The resource.
        body: Body,
        /// Index entries that go and come.
        index: PreparedIndex,
    },
    /// Make the next version say that it is deleted.
    Delete {
        /// Index entries that go.
        index: PreparedIndex,
    },
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Version and time of each change, in order.
    pub results: Vec<(VersionId, Instant)>,
    /// The message's number and whether its control id was used before.
    pub message: Option<MessageReceipt>,
    /// What became of the samples, by series.
    pub samples: Vec<Vec<SampleFate>>,
}

/// A resource whose index is to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReindexRow {
    /// Its number.
    pub rid: Rid,
    /// The resource.
    pub stored: Stored,
}

/// Sizes for people who run the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Live resources of each type that has any.
    pub live: Vec<(ResourceTypeId, u64)>,
    /// Bytes the database takes.
    pub database_bytes: u64,
    /// Bytes by table and index, where the database can tell.
    pub tables: Vec<(String, u64)>,
}

/// Counters since the store was opened; cheap to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreMetrics {
    /// Commits that wait for the writer.
    pub queue_commits: u64,
    /// Commits done.
    pub commits: u64,
    /// Transactions of the database they shared.
    pub groups: u64,
    /// Commits refused because the queue was full.
    pub overloads: u64,
    /// Searches run.
    pub searches: u64,
    /// Searches stopped because they took too long.
    pub searches_stopped: u64,
}
