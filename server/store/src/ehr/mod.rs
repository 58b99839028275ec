//! What the store keeps of EHR tenants beside resources: cursors, crosswalk, raw pages, accounting, reviews.
//!
//! Leaves out their meaning: keys, states and reports are made and read by the server. A page is written in the commit
//! of its resources ([`crate::Store::commit_page`]), all or nothing.

mod read;
mod write;

use bytes::Bytes;
use fhir_core::ids::Instant;

pub(crate) use read::{
    known, members, note, notes, outdated, page_totals, patients_of, raw_of, reviews, runs,
    source_of, tenants, walk, walks,
};
pub(crate) use write::{
    PreparedPage, add_run, apply, check, delete_review, delete_tenant, put_note, put_tenant,
};

/// Names a walk or a record: 16 bytes of a hash over everything that makes it itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EhrKey(pub [u8; 16]);

impl std::fmt::Debug for EhrKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a repeated search stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrWalk {
    /// Its key.
    pub key: EhrKey,
    /// Tenant.
    pub tenant: String,
    /// Whose view.
    pub persona: String,
    /// Source id of the patient, or the group.
    pub subject: String,
    /// Resource type.
    pub resource_type: String,
    /// Category.
    pub category: Option<String>,
    /// Counts commits; one is refused unless it is the stored one plus one.
    pub revision: i64,
    /// The rest of the state, as the server writes it.
    pub state: String,
}

/// A record at its source and our copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrRecord {
    /// Its key.
    pub key: EhrKey,
    /// Tenant.
    pub tenant: String,
    /// Whose view.
    pub persona: String,
    /// Resource type.
    pub resource_type: String,
    /// The source's id.
    pub source: String,
    /// Our id.
    pub local: String,
    /// Hash of the source's content.
    pub hash: String,
    /// `meta.lastUpdated` of the source.
    pub updated: Option<Instant>,
    /// `meta.versionId` of the source.
    pub version: Option<String>,
    /// Version of the rules applied.
    pub rules: String,
    /// The copy is masked.
    pub masked: bool,
    /// Deleted here.
    pub deleted: bool,
    /// The record under the id that the source gave it since.
    pub replaced_by: Option<EhrKey>,
    /// Bytes of the raw page that hold it.
    pub raw_at: std::ops::Range<usize>,
}

/// A member of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrMember {
    /// Tenant.
    pub tenant: String,
    /// Whose view.
    pub persona: String,
    /// Resource type.
    pub resource_type: String,
    /// The source's id.
    pub source: String,
    /// Our id.
    pub local: String,
    /// The last sweep that saw it.
    pub seen_in: i64,
    /// Sweeps in a row that missed it.
    pub missed: i64,
}

/// The accounting of pages; `received` is the sum of the next six.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EhrCounts {
    /// Resources on the pages.
    pub received: i64,
    /// Seen for the first time.
    pub new: i64,
    /// Content or rules changed.
    pub changed: i64,
    /// As before.
    pub unchanged: i64,
    /// Older than what is here.
    pub stale: i64,
    /// Masked, and a fuller copy is here.
    pub masked: i64,
    /// Not usable.
    pub rejected: i64,
    /// Missing from a sweep.
    pub vanished: i64,
    /// Deleted here.
    pub tombstoned: i64,
    /// Kinds of data kept back.
    pub withheld: i64,
    /// Filed long after they were true.
    pub late_filed: i64,
}

impl EhrCounts {
    /// The numbers in the order of the table's columns.
    pub(crate) fn columns(&self) -> [i64; 11] {
        [
            self.received,
            self.new,
            self.changed,
            self.unchanged,
            self.stale,
            self.masked,
            self.rejected,
            self.vanished,
            self.tombstoned,
            self.withheld,
            self.late_filed,
        ]
    }
}

/// Something that a person has to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrReview {
    /// Its key: the same question is kept once.
    pub key: EhrKey,
    /// Tenant.
    pub tenant: String,
    /// What kind of question.
    pub kind: String,
    /// About which resource of ours, `Type/id`.
    pub resource: String,
    /// What was found; names systems, places and ids of ours, no values.
    pub detail: String,
    /// When it came up last; set by the store.
    pub at: Instant,
}

/// One page of a walk: everything in it is written with the commit's resources, or nothing is.
#[derive(Debug, Clone)]
pub struct EhrPage {
    /// The walk after this page.
    pub walk: EhrWalk,
    /// The answer exactly as received; empty when it is not kept.
    pub raw: Bytes,
    /// New and changed rows of the crosswalk, in order.
    pub records: Vec<EhrRecord>,
    /// Rows whose record goes on under another id: old, new.
    pub replaced: Vec<(EhrKey, EhrKey)>,
    /// Rows that leave all walks.
    pub gone: Vec<EhrKey>,
    /// Members seen on this page.
    pub seen: Vec<EhrKey>,
    /// The sweep they were seen in.
    pub sweep: i64,
    /// Members the sweep missed.
    pub missed: Vec<EhrKey>,
    /// The accounting of this page.
    pub counts: EhrCounts,
    /// Questions that came up.
    pub reviews: Vec<EhrReview>,
}

/// A tenant registered while running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrTenant {
    /// Its name.
    pub name: String,
    /// Its file.
    pub toml: String,
    /// When it was registered; set by the store.
    pub at: Instant,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EhrRun {
    /// Tenant.
    pub tenant: String,
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// `complete`, `partial` or `failed`.
    pub outcome: String,
    /// Its report as JSON.
    pub report: String,
}
