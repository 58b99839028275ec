//! What messages leave behind beside resources: source times, identities, decisions that wait, losses, and their own state.
//!
//! All of it is written in the message's own commit, so that it can never disagree with the resources.

use fhir_core::ids::{Instant, ResourceKey};

/// What a message changes beside resources.
#[derive(Debug, Clone, Default)]
pub struct Bookkeeping {
    /// Which row of the log the message is.
    pub place: MessagePlace,
    /// The mapping that read it and its version.
    pub mapping: Option<String>,
    /// The source's own time of resources the message gave, as text.
    pub revisions: Vec<(ResourceKey, String)>,
    /// The source's own time of what holds between two resources: the first, a name for the pair, the time.
    pub pair_revisions: Vec<(ResourceKey, String, String)>,
    /// Identities that lead to another record from now on.
    pub aliases: Vec<Alias>,
    /// Whose something is from now on.
    pub owners: Vec<Owner>,
    /// Decisions a person must make.
    pub reviews: Vec<NewReview>,
    /// Whose later messages wait until this one is dealt with; `*` is everybody's of the feed.
    pub holds: Vec<String>,
    /// Places that no rule reads, without occurrences: `PID-10.1`, sorted.
    pub lost: Vec<String>,
    /// Codes in no concept map.
    pub unmapped: Vec<UnmappedCode>,
}

/// Which row of the log a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MessagePlace {
    /// One of its own.
    #[default]
    New,
    /// The row it has since it came first; it was read again.
    Again(i64),
    /// One of its own, as the corrected copy of another.
    CopyOf(i64),
}

/// Why an identity leads to another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AliasKind {
    /// It was merged into the other, which lives on.
    Merged,
    /// It is another identifier of the same record.
    Identifier,
    /// It was renamed to the other.
    Renamed,
}

/// An identity that leads to another record of the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The identity.
    pub from: ResourceKey,
    /// Where it leads.
    pub into: ResourceKey,
    /// Why.
    pub kind: AliasKind,
    /// The source's own time of it.
    pub revision: Option<String>,
    /// Whether resources may still refer to `from`.
    pub pending: bool,
}

/// Whose a visit or account is since it was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What was moved.
    pub what: ResourceKey,
    /// Whose it is.
    pub owner: ResourceKey,
    /// The source's own time of it.
    pub revision: Option<String>,
}

/// A decision a person must make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReview {
    /// What it is about: `identity-conflict`.
    pub kind: &'static str,
    /// The resources it is about.
    pub subjects: Vec<ResourceKey>,
    /// One sentence for people, without patient data.
    pub text: String,
}

/// A code in no concept map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnmappedCode {
    /// Where it stood, without occurrences: `OBX-6.1`.
    pub place: String,
    /// The code.
    pub code: String,
}

/// A review as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its number.
    pub id: i64,
    /// The feed of the message.
    pub feed: String,
    /// The message.
    pub message: i64,
    /// What it is about.
    pub kind: String,
    /// The resources it is about.
    pub subjects: Vec<ResourceKey>,
    /// One sentence for people.
    pub text: String,
    /// Whether it is decided.
    pub state: ReviewState,
    /// When it came up.
    pub opened_at: Instant,
    /// When and by whom it was decided, and how.
    pub closed: Option<(Instant, String, String)>,
}

/// Whether a review is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewState {
    /// It waits.
    Open,
    /// A person decided.
    Resolved,
    /// A person found that nothing is to be done.
    Dismissed,
}

/// What the store knows about the identities of a message.
#[derive(Debug, Clone, Default)]
pub struct KnownIdentities {
    /// Identities that lead elsewhere; at most one for each key asked for.
    pub aliases: Vec<Alias>,
    /// Whose things are that were moved.
    pub owners: Vec<Owner>,
    /// Subjects whose messages wait, with the message they wait for.
    pub holds: Vec<(String, i64)>,
}

/// The source's own time of a resource, as one feed gave it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRevision {
    /// The resource.
    pub key: ResourceKey,
    /// The time.
    pub revision: String,
    /// The message that gave it.
    pub message: i64,
}

/// Places that no rule reads, and how many messages had something there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossRow {
    /// The feed.
    pub feed: String,
    /// Type of the messages.
    pub message_type: String,
    /// Places read by no rule.
    pub places: Vec<String>,
    /// How many messages.
    pub count: u64,
    /// When the first came.
    pub first_at: Instant,
    /// When the last came.
    pub last_at: Instant,
    /// The last message.
    pub last_message: i64,
}

/// A code in no concept map, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedRow {
    /// The feed.
    pub feed: String,
    /// Where it stood and what it was.
    pub what: UnmappedCode,
    /// How many messages.
    pub count: u64,
    /// When it came first.
    pub first_at: Instant,
    /// When it came last.
    pub last_at: Instant,
    /// The last message.
    pub last_message: i64,
}

/// An error handled step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// What it is about, without patient data.
    pub title: String,
    /// Where it stands.
    pub state: String,
    /// When it was opened.
    pub opened_at: Instant,
    /// When it was changed last.
    pub changed_at: Instant,
    /// Messages it is about.
    pub messages: Vec<i64>,
    /// Every step, in order.
    pub steps: Vec<IncidentStep>,
}

/// A step of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentStep {
    /// When.
    pub at: Instant,
    /// By whom.
    pub agent: String,
    /// The state it led to.
    pub state: String,
    /// What was found or done.
    pub text: String,
}
