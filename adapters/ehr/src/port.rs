//! What the adapter needs from the server: state of walks, what is known of a source record, and one atomic commit
//! per page.
//!
//! Spec: none; the contract is numbered in `adapters/ehr/README.md`.
//! Leaves out how things are stored. The server implements [`Port`] on its one write path; [`crate::memory`] is the
//! implementation for tests and dry runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use fhir_core::ids::Instant;
use fhir_core::json::Value;

use crate::clock::Later;
use crate::tenant::{IdentifierKey, Persona};

/// A record at its source. The persona is part of it: a patient's view may be masked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// Tenant name.
    pub tenant: String,
    /// Whose view.
    pub persona: Persona,
    /// Resource type.
    pub resource_type: String,
    /// The source's id. Opaque and of any length: Epic's pass 64 characters at some sites.
    pub id: String,
}

/// One search that is repeated over time, and has a cursor of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalkKey {
    /// Tenant name.
    pub tenant: String,
    /// Whose view.
    pub persona: Persona,
    /// Source id of the patient.
    pub subject: String,
    /// Resource type.
    pub resource_type: String,
    /// Category asked for, if the search is split by it.
    pub category: Option<String>,
}

/// Where a walk stands. Moves only in the commit that stores what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalkState {
    /// Counts commits; a commit names the one it was prepared on.
    pub revision: u64,
    /// Everything filed before this moment of the *source's* clock is here, except `gaps`.
    pub complete_to: Option<Instant>,
    /// Start of the last sweep that ended, by the source's clock.
    pub swept_at: Option<Instant>,
    /// Sweeps begun.
    pub sweep: u64,
    /// What the source kept back at the last walk that ended, sorted.
    pub gaps: Vec<String>,
    /// The sweep in which something new was kept back. Members last seen before it may be what is kept back: they are
    /// not missed as long as `gaps` are there.
    pub kept_back_since: Option<u64>,
    /// The last walk that did not complete, in words.
    pub failure: Option<String>,
    /// The walk under way.
    pub under_way: Option<UnderWay>,
}

/// A walk that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// Full or changes only.
    pub kind: WalkKind,
    /// Start of the window; `None` asks for everything.
    pub from: Option<Instant>,
    /// The source's time before the first page was asked for.
    pub started: Instant,
    /// The link to the next page; `None` starts the window (again).
    pub next: Option<String>,
    /// Pages committed.
    pub pages: u32,
    /// How often the page session died.
    pub restarts: u32,
    /// What was found so far.
    pub counts: Counts,
    /// What was kept back so far, sorted.
    pub gaps: Vec<String>,
    /// False when the answer was not what was asked for, so nothing may be concluded from absence.
    pub whole: bool,
}

/// What a walk asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkKind {
    /// Everything; only this one can tell what vanished.
    Sweep,
    /// What was filed or changed since the last time.
    Changes,
}

/// The accounting: `received` is the sum of the next six.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources on the pages.
    pub received: u64,
    /// Seen for the first time.
    pub new: u64,
    /// Content or rules changed.
    pub changed: u64,
    /// Same content as before.
    pub unchanged: u64,
    /// Older than what is here; not stored.
    pub stale: u64,
    /// Masked, and a fuller copy is here; not stored over it.
    pub masked: u64,
    /// Not usable: wrong patient, no id, wrong type. Kept in the raw page only.
    pub rejected: u64,
    /// Missing from a sweep for the first time.
    pub vanished: u64,
    /// Missing from two sweeps: deleted here.
    pub tombstoned: u64,
    /// Kinds of data the source kept back.
    pub withheld: u64,
    /// Filed a year or more after they were true.
    pub late_filed: u64,
}

impl WalkKey {
    /// Begin of the `subject` of work that asks the source for nothing.
    pub const OWN_WORK: &str = "own:";

    /// True for a search at the source; work of our own has states too, and says nothing of completeness.
    pub fn is_search(&self) -> bool {
        !self.subject.starts_with(Self::OWN_WORK)
    }
}

impl Counts {
    /// True when every resource received has exactly one fate.
    pub fn add_up(&self) -> bool {
        self.received
            == self.new + self.changed + self.unchanged + self.stale + self.masked + self.rejected
    }

    /// Adds another walk's counts.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.masked += other.masked;
        self.rejected += other.rejected;
        self.vanished += other.vanished;
        self.tombstoned += other.tombstoned;
        self.withheld += other.withheld;
        self.late_filed += other.late_filed;
    }
}

/// What is known of a source record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Our id.
    pub local_id: String,
    /// Hash of the source's content.
    pub hash: String,
    /// `meta.lastUpdated` of the source.
    pub last_updated: Option<Instant>,
    /// Version of the rules that made our copy.
    pub rules: String,
    /// Our copy is a masked one.
    pub masked: bool,
    /// Deleted here.
    pub deleted: bool,
    /// Another persona's row of the same record is here, not masked and not deleted.
    pub fuller_elsewhere: bool,
    /// The record is new to this persona; what is said here is another persona's row.
    pub other_persona: bool,
    /// The source gave the record another id since; the row under that id is the current one.
    pub replaced: bool,
}

/// Membership of a record in a walk, for finding what vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The record.
    pub source: SourceKey,
    /// Our id.
    pub local_id: String,
    /// The last sweep that saw it.
    pub seen_in: u64,
    /// Sweeps that missed it, in a row.
    pub missed: u32,
}

/// One page, to be stored as a whole or not at all.
#[derive(Debug, Clone)]
pub struct PageCommit {
    /// The walk.
    pub walk: WalkKey,
    /// State after this page; its `revision` is the one before plus one, and the port refuses any other.
    pub state: WalkState,
    /// The answer exactly as received; empty when there was none (a 403).
    pub raw: Bytes,
    /// Resources to write, in order.
    pub writes: Vec<Write>,
    /// Records seen on this page, stored or not: they are members of this walk now, with `state.sweep`, and no
    /// longer members of walks of another subject.
    pub seen: Vec<SourceKey>,
    /// Members this sweep missed for the first time.
    pub missed: Vec<SourceKey>,
    /// Who did what to which resources by which rules.
    pub provenance: Option<Value>,
    /// What may be believed about this search now; written when a walk ends.
    pub evidence: Option<Value>,
    /// The accounting of this page alone.
    pub counts: Counts,
    /// Questions that a person has to answer.
    pub reviews: Vec<Review>,
}

/// A question for a person. It names systems, places and our ids; no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// `identifier-fits-several`, `may-be-same-person` or `rejected`.
    pub kind: &'static str,
    /// About which resource of ours, `Type/id`; our id even when nothing was stored.
    pub resource: String,
    /// What was found.
    pub detail: String,
}

/// One resource to write.
#[derive(Debug, Clone)]
pub struct Write {
    /// Where it comes from.
    pub source: SourceKey,
    /// Our id.
    pub local_id: String,
    /// What to do.
    pub action: Action,
    /// Hash of the source's content.
    pub hash: String,
    /// `meta.versionId` of the source, if any; not an integer everywhere.
    pub version: Option<String>,
    /// `meta.lastUpdated` of the source, if any.
    pub last_updated: Option<Instant>,
    /// Version of the rules applied.
    pub rules: String,
    /// The copy is masked.
    pub masked: bool,
    /// The source's earlier key of the same record, whose row is now replaced by this one.
    pub replaces: Option<SourceKey>,
    /// Bytes of `raw` that hold the source's resource, for normalising again without asking again.
    pub raw_at: std::ops::Range<usize>,
}

/// What to do with a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create or update.
    Put(Value),
    /// Delete; the history stays.
    Delete,
    /// Leave our copy as it is; only what is known of the record changes.
    Keep,
}

/// A copy that other rules made, with the source's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The record.
    pub source: SourceKey,
    /// Hash of the content the copy was made from.
    pub hash: String,
    /// The resource as the source sent it; `None` when its page is not kept.
    pub raw: Option<Bytes>,
}

/// Why a commit was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another run moved the walk.
    #[error("another run of this tenant moved the cursor")]
    Moved,
    /// The store is full or down.
    #[error("{0}")]
    Unavailable(String),
    /// The server refuses a resource.
    #[error("refused: {0}")]
    Invalid(String),
}

/// The server, as the adapter sees it.
pub trait Port: Send + Sync {
    /// Where a walk stands; the default when it never ran.
    fn walk(&self, key: &WalkKey) -> Later<'_, Result<WalkState, PortError>>;
    /// What is known of each record: this persona's row, or else another persona's, marked as such.
    fn known(&self, keys: &[SourceKey]) -> Later<'_, Result<Vec<Option<Known>>, PortError>>;
    /// All members of a walk.
    fn members(&self, key: &WalkKey) -> Later<'_, Result<Vec<Member>, PortError>>;
    /// Our current copy.
    fn body(
        &self,
        resource_type: &str,
        local_id: &str,
    ) -> Later<'_, Result<Option<Value>, PortError>>;
    /// Local Patients that carry the identifier, without those of `except_tenant`.
    fn patients_with(
        &self,
        identifier: &IdentifierKey,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<String>, PortError>>;
    /// Local Patients born on this day (`YYYY-MM-DD`), without those of `except_tenant`: some, when there are many.
    fn patients_born(
        &self,
        day: &str,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<(String, Value)>, PortError>>;
    /// Some of the live copies of a tenant and persona that were not made by `rules`, in an order that stays while
    /// they are made again; those after `after`, or the first ones. Empty when there are no more.
    fn outdated(
        &self,
        tenant: &str,
        persona: Persona,
        rules: &str,
        after: Option<&SourceKey>,
    ) -> Later<'_, Result<Vec<Outdated>, PortError>>;
    /// Observations of ours that were written to the tenant: the source's id and ours.
    fn written(&self, tenant: &str) -> Later<'_, Result<BTreeMap<String, String>, PortError>>;
    /// Whether the server would store this resource; else why not, naming places and no values.
    fn accepts(&self, resource: &Value) -> Result<(), String>;
    /// Stores a page and moves its cursor, both or neither; resolves when durable.
    fn commit(&self, page: PageCommit) -> Later<'_, Result<(), PortError>>;
    /// All walks of a tenant, for evidence and reports.
    fn walks(&self, tenant: &str) -> Later<'_, Result<Vec<(WalkKey, WalkState)>, PortError>>;
}
