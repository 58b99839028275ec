//! The audit trail: who did what, written in the transaction of the change it tells of.
//!
//! Spec: <https://hl7.org/fhir/R4/auditevent.html>

use fhir_core::ids::{Instant, ResourceKey, VersionId};

/// One row to write. Never holds patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Who.
    pub agent: String,
    /// Over what: `rest`, a feed's name, `import`.
    pub channel: String,
    /// `AuditEvent.action`: C R U D E.
    pub action: char,
    /// The interaction, such as `update`.
    pub interaction: &'static str,
    /// On what. A version of `None` on a changed resource is filled in with the one the commit made.
    pub entity: Option<(ResourceKey, Option<VersionId>)>,
    /// Such as the names of a search's parameters, without values.
    pub detail: Option<String>,
    /// `AuditEvent.outcome`: 0, 4, 8, 12.
    pub outcome: u8,
}

/// One row as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Number; grows with time.
    pub seq: i64,
    /// When.
    pub at: Instant,
    /// Who.
    pub agent: String,
    /// Over what.
    pub channel: String,
    /// `AuditEvent.action`.
    pub action: char,
    /// The interaction.
    pub interaction: String,
    /// On what.
    pub entity: Option<(ResourceKey, Option<VersionId>)>,
    /// Detail.
    pub detail: Option<String>,
    /// `AuditEvent.outcome`.
    pub outcome: u8,
}

/// Which rows to read, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only rows with a smaller number (paging).
    pub before: Option<i64>,
    /// Only rows about this resource.
    pub entity: Option<ResourceKey>,
    /// Only rows of this agent.
    pub agent: Option<String>,
    /// Rows wanted.
    pub limit: usize,
}

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The rows, newest first.
    pub rows: Vec<AuditRow>,
    /// `before` of the next page.
    pub next: Option<i64>,
}
