//! Codes of FHIR as Rust enums where no clinical number flows; the only code that names `fhir_sdk`.
//!
//! The models are those of R4B (4.3.0); the code sets used here are the same in R4. They hold decimals as `f64`, so no
//! resource ever passes through them. Functions take and return plain text, so that the code generated for the models
//! stays inside this crate and is compiled once.

use fhir_sdk::r4b::codes::{
    AuditEventAction, AuditEventOutcome, BundleType, CapabilityStatementKind,
    ConditionalDeleteStatus, ConditionalReadStatus, HTTPVerb, IssueSeverity, IssueType,
    PublicationStatus, ReferenceHandlingPolicy, ResourceVersionPolicy, RestfulCapabilityMode,
    SearchEntryMode, SearchParamType,
};

macro_rules! code_constants {
    ($($(#[$doc:meta])* $name:ident = $variant:expr;)*) => {
        $($(#[$doc])* pub fn $name() -> String { $variant.to_string() })*
    };
}

/// Codes of a CapabilityStatement (<https://hl7.org/fhir/R4/capabilitystatement.html>).
pub mod capability {
    use super::*;

    code_constants! {
        /// `CapabilityStatement.status`: in use.
        status_active = PublicationStatus::Active;
        /// `CapabilityStatement.kind`: this very server.
        kind_instance = CapabilityStatementKind::Instance;
        /// `CapabilityStatement.rest.mode`: a server.
        mode_server = RestfulCapabilityMode::Server;
        /// `…resource.versioning`: versions are kept and `If-Match` is honoured.
        versioning_update = ResourceVersionPolicy::VersionedUpdate;
        /// `…resource.conditionalRead`: both `If-Modified-Since` and `If-None-Match`.
        conditional_read_full = ConditionalReadStatus::FullSupport;
        /// `…resource.conditionalDelete`: one match at most.
        conditional_delete_single = ConditionalDeleteStatus::Single;
        /// `…resource.referencePolicy`: literal references.
        reference_literal = ReferenceHandlingPolicy::Literal;
        /// `…resource.referencePolicy`: logical references.
        reference_logical = ReferenceHandlingPolicy::Logical;
    }

    /// Whether this is a code of `SearchParameter.type`.
    pub fn is_search_param_type(code: &str) -> bool {
        code.parse::<SearchParamType>().is_ok()
    }
}

/// Codes of Bundles (<https://hl7.org/fhir/R4/bundle.html>).
pub mod bundle {
    use super::*;

    /// Whether this is a code of `Bundle.type`.
    pub fn is_type(code: &str) -> bool {
        code.parse::<BundleType>().is_ok()
    }

    /// Whether this is a code of `Bundle.entry.search.mode`.
    pub fn is_search_mode(code: &str) -> bool {
        code.parse::<SearchEntryMode>().is_ok()
    }

    /// Whether this is a code of `Bundle.entry.request.method`.
    pub fn is_verb(code: &str) -> bool {
        code.parse::<HTTPVerb>().is_ok()
    }
}

/// Codes of an OperationOutcome (<https://hl7.org/fhir/R4/operationoutcome.html>).
pub mod outcome {
    use super::*;

    /// Whether this is a code of `OperationOutcome.issue.code`.
    pub fn is_issue_type(code: &str) -> bool {
        code.parse::<IssueType>().is_ok()
    }

    /// Whether this is a code of `OperationOutcome.issue.severity`.
    pub fn is_severity(code: &str) -> bool {
        code.parse::<IssueSeverity>().is_ok()
    }
}

/// Codes of an AuditEvent (<https://hl7.org/fhir/R4/auditevent.html>).
pub mod audit {
    use super::*;

    /// `AuditEvent.action` if this is one of its codes.
    pub fn action(code: char) -> Option<String> {
        code.to_string()
            .parse::<AuditEventAction>()
            .ok()
            .map(|action| action.to_string())
    }

    /// `AuditEvent.outcome` if this is one of its codes.
    pub fn outcome(code: u8) -> Option<String> {
        code.to_string()
            .parse::<AuditEventOutcome>()
            .ok()
            .map(|outcome| outcome.as_ref().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelt_as_the_specification_spells_them() {
        assert_eq!(capability::status_active(), "active");
        assert_eq!(capability::kind_instance(), "instance");
        assert_eq!(capability::mode_server(), "server");
        assert_eq!(capability::versioning_update(), "versioned-update");
        assert_eq!(capability::conditional_read_full(), "full-support");
        assert_eq!(capability::conditional_delete_single(), "single");
        assert_eq!(capability::reference_literal(), "literal");
        assert_eq!(audit::action('C').as_deref(), Some("C"));
        assert_eq!(audit::action('X'), None);
        assert_eq!(audit::outcome(8).as_deref(), Some("8"));
        assert_eq!(audit::outcome(7), None);
    }

    #[test]
    fn only_codes_of_the_set_belong_to_it() {
        assert!(bundle::is_type("transaction-response") && !bundle::is_type("parcel"));
        assert!(bundle::is_search_mode("include") && bundle::is_verb("PATCH"));
        assert!(outcome::is_issue_type("too-costly") && outcome::is_severity("fatal"));
        assert!(
            capability::is_search_param_type("composite")
                && !capability::is_search_param_type("blob")
        );
    }
}
