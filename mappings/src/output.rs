//! What a run gives: resources, what was odd, and which parts of the source went where.
//!
//! Left out on purpose: patient data in issues. They name places, never values.

use std::fmt;
use std::ops::Range;

use fhir_core::json::Value;

use crate::identity::Identity;
use crate::revision::Revision;
use crate::source::{Hl7Tree, Position, SourceTree};

/// All that one source gave.
#[derive(Debug, Clone)]
pub struct Output {
    /// Resources in rule order.
    pub resources: Vec<Produced>,
    /// What the message says about identities, in message order: merges, moves, links. To be done after `resources`.
    pub actions: Vec<Action>,
    /// What was odd, in the order found.
    pub issues: Vec<MapIssue>,
    /// Which leaves arrived in a resource or are deliberately ignored.
    pub used: Ledger,
}

/// One resource and its origin.
#[derive(Debug, Clone)]
pub struct Produced {
    /// The resource, with its `id`.
    pub value: Value,
    /// What the id was derived from.
    pub identity: Identity,
    /// What the store should do when the resource exists already.
    pub write: Write,
    /// The rule that made it.
    pub rule: Box<str>,
    /// Every element that came from the source.
    pub lineage: Vec<LineageEntry>,
    /// Elements the sender asked to delete by HL7 null, `""`, or that the event takes back, such as the end of a visit by
    /// A13; FHIR paths without indices, `Patient.telecom`.
    pub cleared: Vec<Box<str>>,
    /// Elements of `value` that only say something while the resource is new: the state of a visit of which a message
    /// does not speak, but which R4 requires. A [`Write::Merge`] over a stored resource leaves them out.
    pub initial: Vec<Box<str>>,
    /// True for an entry of a directory that messages about many patients name: a practitioner, a place, an organization.
    /// Such an entry is only created, so messages that share one need not wait for one another.
    pub shared: bool,
    /// Lists of which a [`Write::Merge`] keeps stored items the message is silent about.
    pub lists: Vec<ListMerge>,
    /// The source's own time for it; `None` when the source has none.
    pub revision: Option<Revision>,
    /// What else the message names the same thing by: the id each of its other identifiers would have given. When one of
    /// them is stored under another record, the message contradicts the store. `identity` is not among them.
    pub aliases: Vec<Identity>,
}

/// How a list is merged: an item given goes over the stored item of the same key, member by member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListMerge {
    /// The list, `location`.
    pub element: Box<str>,
    /// What makes two items the same, a path of members inside them: `location.reference`.
    pub key: Box<str>,
    /// What becomes of stored items that the message does not name.
    pub others: Others,
}

/// What becomes of stored items of a list that a message does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// They stay as they are.
    Stay,
    /// They stay with this member set: a place that was left is `completed`.
    Set(Box<str>, Value),
    /// They stay, but for those whose member has this value: a transfer taken back.
    Drop(Box<str>, Value),
}

/// What a message says about the identity of two things, beside the resources it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What is to be done.
    pub kind: ActionKind,
    /// What is moved, for [`ActionKind::Move`]; an Encounter, an Account.
    pub what: Option<Identity>,
    /// The loser, the earlier owner, the earlier identity, or the first of two. It is among the resources only where the
    /// message states a record of its own; `None` when a move does not say whose it was.
    pub from: Option<Identity>,
    /// The survivor, the new owner, the new identity, or the second of two.
    pub into: Identity,
    /// Other ids the message gives for `from`; see [`Produced::aliases`].
    pub from_aliases: Vec<Identity>,
    /// FHIR Identifiers of the earlier identity, as the message states them: what the new record takes over or gives up.
    pub from_identifiers: Vec<Value>,
    /// The source's own time of the action.
    pub revision: Option<Revision>,
    /// The rule that made it.
    pub rule: Box<str>,
    /// The segment that says so.
    pub source: Option<Position>,
}

/// Kinds of [`Action`]; the trigger events are HL7 v2 chapter 3's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// `from` is the same as `into` and lives on as `into`: A18, A34, A36, A40 persons, A41 accounts, A42 visits.
    Merge,
    /// `what` belongs to `into` instead of `from`: A43, A44, A45.
    Move,
    /// `from` is from now on called `into`; there is one record: A46, A47.
    ChangeId,
    /// Two records are about one person and stay apart: A24.
    Link,
    /// Two linked records are not about one person: A37.
    Unlink,
}

impl ActionKind {
    /// The word mapping files use.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionKind::Merge => "merge",
            ActionKind::Move => "move",
            ActionKind::ChangeId => "change-id",
            ActionKind::Link => "link",
            ActionKind::Unlink => "unlink",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        [
            Self::Merge,
            Self::Move,
            Self::ChangeId,
            Self::Link,
            Self::Unlink,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// What to do when the resource exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Elements given replace the stored ones, elements in `cleared` are deleted, all others stay: the message is
    /// silent about them (HL7 v2 chapter 2, "not present" against "null").
    Merge,
    /// Only create; what is stored knows better.
    Create,
    /// The message carries the whole resource.
    Replace,
}

/// One element that came from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageEntry {
    /// Where in the resource: `Patient.name[0].family`.
    pub target: Box<str>,
    /// Leaves of the source, by index.
    pub leaves: Range<u32>,
}

impl LineageEntry {
    /// The names of the places the element came from.
    pub fn sources(&self, source: &SourceTree) -> Vec<Position> {
        self.leaves
            .clone()
            .filter_map(|leaf| position_of(source, leaf))
            .collect()
    }
}

/// Which leaves of a source were used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One flag for each leaf of the tree.
    pub(crate) used: Vec<bool>,
}

impl Ledger {
    pub(crate) fn mark(&mut self, leaves: Range<u32>) {
        for flag in self
            .used
            .get_mut(leaves.start as usize..leaves.end as usize)
            .unwrap_or_default()
        {
            *flag = true;
        }
    }

    /// True when the leaf arrived somewhere or is ignored on purpose.
    pub fn is_used(&self, leaf: u32) -> bool {
        self.used.get(leaf as usize).copied().unwrap_or(false)
    }

    /// The loss report: every filled place no rule has used and no mapping ignores on purpose.
    pub fn unread(&self, source: &SourceTree) -> Vec<Position> {
        let count = u32::try_from(self.used.len()).unwrap_or(u32::MAX);
        (0..count)
            .filter(|leaf| !self.is_used(*leaf))
            .filter_map(|leaf| position_of(source, leaf))
            .collect()
    }
}

fn position_of(source: &SourceTree, leaf: u32) -> Option<Position> {
    match source {
        SourceTree::Hl7v2(tree) => hl7_position(tree, leaf),
        SourceTree::Json(document) => crate::json::pointer(document, leaf).map(Position::Json),
    }
}

fn hl7_position(tree: &Hl7Tree, leaf: u32) -> Option<Position> {
    let (at, _) = tree.leaf(leaf)?;
    tree.position(tree.segment_of(leaf)?, at)
}

/// Something odd that stopped nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapIssue {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub code: Code,
    /// The place in the source.
    pub source: Option<Position>,
    /// The place in the resource, `Observation.valueQuantity.value`.
    pub target: Box<str>,
    /// The rule that found it.
    pub rule: Box<str>,
}

impl fmt::Display for MapIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.id(), self.code.text())?;
        if let Some(source) = &self.source {
            write!(f, " at {source}")?;
        }
        write!(f, ", for {}", self.target)
    }
}

/// How much an issue matters, as in OperationOutcome.issue.severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A decision was made by a documented rule; nothing was lost.
    Information,
    /// Content could not be placed as structured data.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $severity:ident $id:literal $text:literal;)*) => {
        /// What an issue is. Ids are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* #[doc = $text] $name,)* }

        impl Code {
            /// The stable id.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id,)* }
            }

            /// One sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            /// The code of an id, for `$issue` in mapping files.
            pub fn from_id(id: &str) -> Option<Self> {
                match id { $($id => Some(Code::$name),)* _ => None }
            }
        }
    };
}

codes! {
    NotADate Warning "not-a-date" "not a date in HL7 v2 or FHIR notation";
    NotATime Warning "not-a-time" "not a time of day";
    NotAnInstant Warning "not-an-instant" "too vague for an instant";
    HourWithoutMinutes Warning "hour-without-minutes" "FHIR has no hour without minutes; the day was kept";
    NoTimeZone Warning "no-time-zone" "no offset in value, message or feed; the day was kept";
    TimeShownTwice Information "time-shown-twice" "clocks show this time twice; the earlier was taken";
    TimeSkipped Information "time-skipped" "clocks skip this time; the offset before the jump was taken";
    NotANumber Warning "not-a-number" "not a number";
    NotAnInteger Warning "not-an-integer" "not a whole number in range";
    NotABoolean Warning "not-a-boolean" "neither Y nor N";
    NotACode Warning "not-a-code" "not a FHIR code";
    NotBase64 Warning "not-base64" "neither base64 nor hexadecimal data";
    NotAUri Warning "not-a-uri" "not a URI";
    UnmappedCode Warning "unmapped-code" "the code is in no concept map row";
    UnknownCodeSystem Information "unknown-code-system" "the coding system has no known URI; its name was kept as a local one";
    NoCodeSystem Information "no-code-system" "the sender names no coding system";
    UnitNotUcum Information "unit-not-ucum" "the unit is no unambiguous UCUM unit; it was kept as text";
    AuthorityIsLocal Information "authority-is-local" "the assigning authority is a local name of this feed";
    AuthorityMissing Information "authority-missing" "no assigning authority; the feed's default was taken";
    NumberAsText Warning "number-as-text" "a numeric result that is no number was kept as text";
    ValueTypeUnmapped Warning "value-type-unmapped" "no mapping for this value type; it is kept as text or left out";
    ValueInExtension Information "value-in-extension" "R4 has no place for a document as a value; it stands in R5's extension";
    ValueTypeMissing Warning "value-type-missing" "no value type; the value was kept as text";
    ValueRepeats Information "value-repeats" "several values; each became a component";
    StatusMissing Warning "status-missing" "no usable status; `unknown` was set";
    CodeMissing Warning "code-missing" "nothing says what this is about; the code is marked as absent";
    IdentityByPosition Warning "identity-by-position" "no order number; the id follows message and position";
    IdentityByOtherType Warning "identity-by-other-type" "no medical record number; another kind of identifier names the patient";
    VisitByAccount Information "visit-by-account" "no visit number; the account number names the visit";
    VisitByTime Warning "visit-by-time" "no number names the visit; it is the patient's visit of that admission time";
    IdentityRepeated Warning "identity-repeated" "same identifiers twice in one message; the second got a number";
    SamePersonTwice Warning "same-person-twice" "one person twice with other data; the first was kept";
    IdentityMissing Warning "identity-missing" "nothing names this record; it was passed over";
    ElementMissing Warning "element-missing" "R4 requires an element that nothing here gives; the record was passed over";
    SameIdentity Warning "same-identity" "both sides of a merge or move are the same record; nothing is to be done";
    RepeatsLost Warning "repeats-lost" "the element holds one value and more were sent; the first was taken";
    ScriptFailed Warning "script-failed" "an expression failed; the element was left out";
    ScriptInexact Warning "script-inexact" "an expression gave an inexact number; the element was left out";
}
