//! The interactions the server offers, by the names FHIR gives them; one list for routes, metrics and audit.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html>, <https://hl7.org/fhir/R4/valueset-type-restful-interaction.html>

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interaction {
    /// `GET [base]/metadata`
    Capabilities,
    /// `GET [base]/[type]/[id]`
    Read,
    /// `GET [base]/[type]/[id]/_history/[vid]`
    Vread,
    /// `PUT [base]/[type]/[id]`
    Update,
    /// `PATCH [base]/[type]/[id]`
    Patch,
    /// `DELETE [base]/[type]/[id]`
    Delete,
    /// `POST [base]/[type]`
    Create,
    /// `GET [base]/[type]/[id]/_history`
    HistoryInstance,
    /// `GET [base]/[type]/_history`
    HistoryType,
    /// `GET [base]/_history`
    HistorySystem,
    /// `GET [base]/[type]?…` or `POST [base]/[type]/_search`
    SearchType,
    /// `GET [base]?…` or `POST [base]/_search`
    SearchSystem,
    /// `POST [base]` with a batch
    Batch,
    /// `POST [base]` with a transaction
    Transaction,
    /// An operation, by whatever name.
    Operation,
    /// `GET [base]/AuditEvent/$trail`
    AuditTrail,
    /// Whatever is not FHIR: health, metrics, documentation.
    Administration,
    /// A URL or method the server does not have.
    Unknown,
}

impl Interaction {
    /// All of them, in the order of their numbers.
    pub const ALL: [Interaction; 18] = [
        Self::Capabilities,
        Self::Read,
        Self::Vread,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::Create,
        Self::HistoryInstance,
        Self::HistoryType,
        Self::HistorySystem,
        Self::SearchType,
        Self::SearchSystem,
        Self::Batch,
        Self::Transaction,
        Self::Operation,
        Self::AuditTrail,
        Self::Administration,
        Self::Unknown,
    ];

    /// The code of the specification, for metrics and the audit trail.
    pub fn code(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Read => "read",
            Self::Vread => "vread",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::HistorySystem => "history-system",
            Self::SearchType => "search-type",
            Self::SearchSystem => "search-system",
            Self::Batch => "batch",
            Self::Transaction => "transaction",
            Self::Operation => "operation",
            Self::AuditTrail => "audit-trail",
            Self::Administration => "administration",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interaction_stands_at_its_number() {
        for (number, interaction) in Interaction::ALL.into_iter().enumerate() {
            assert_eq!(interaction as usize, number);
        }
    }
}
