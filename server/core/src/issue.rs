//! The error table: every failure a client can see, with its stable id, FHIR issue type and HTTP status.
//!
//! Spec: <https://hl7.org/fhir/R4/operationoutcome.html>, <https://hl7.org/fhir/R4/http.html#Status-Codes>

use std::fmt;

use crate::json::{Map, Value};

/// A row of the error table. Ids are stable and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind {
    /// Stable id, in `OperationOutcome.issue.details.coding.code`.
    pub id: &'static str,
    /// `OperationOutcome.issue.code` (<https://hl7.org/fhir/R4/valueset-issue-type.html>).
    pub issue_type: &'static str,
    /// HTTP status.
    pub status: u16,
}

macro_rules! error_table {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $issue_type:literal, $status:literal;)*) => {
        impl ErrorKind {
            $($(#[$doc])* pub const $name: ErrorKind = ErrorKind { id: $id, issue_type: $issue_type, status: $status };)*
            /// The whole table, for documentation and tests.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name),*];
        }
    };
}

error_table! {
    /// The body is not JSON that can be read.
    BAD_JSON = "bad-json", "structure", 400;
    /// The body is not FHIR XML.
    BAD_XML = "bad-xml", "structure", 400;
    /// The body is readable but not a valid resource of this type.
    INVALID_RESOURCE = "invalid-resource", "invalid", 422;
    /// A required element is missing.
    REQUIRED_ELEMENT = "required-element", "required", 422;
    /// An element the type does not have.
    UNKNOWN_ELEMENT = "unknown-element", "structure", 422;
    /// A value that its type does not allow.
    BAD_VALUE = "bad-value", "value", 422;
    /// A code outside a required value set.
    BAD_CODE = "bad-code", "code-invalid", 422;
    /// An invariant of the definitions or of a profile does not hold.
    INVARIANT = "invariant", "invariant", 422;
    /// A rule of a profile is broken.
    PROFILE = "profile", "invariant", 422;
    /// A profile, value set, code system or concept map that is not loaded.
    NOT_LOADED = "not-loaded", "not-found", 404;
    /// A value set that cannot be expanded with what is loaded.
    NOT_EXPANDABLE = "not-expandable", "not-supported", 422;
    /// A resource type FHIR R4 does not have.
    UNKNOWN_TYPE = "unknown-type", "not-supported", 404;
    /// A logical id that is none.
    BAD_ID = "bad-id", "value", 400;
    /// The id in the URL and in the body differ.
    ID_MISMATCH = "id-mismatch", "invalid", 400;
    /// The type in the URL and in the body differ.
    TYPE_MISMATCH = "type-mismatch", "invalid", 400;
    /// No such resource, or no such version.
    NOT_FOUND = "not-found", "not-found", 404;
    /// The resource was deleted.
    DELETED = "deleted", "deleted", 410;
    /// A URL this server does not have.
    NO_ROUTE = "no-route", "not-found", 404;
    /// The interaction is not offered here.
    METHOD_NOT_ALLOWED = "method-not-allowed", "not-supported", 405;
    /// `If-Match` names another version than the current one.
    VERSION_CONFLICT = "version-conflict", "conflict", 412;
    /// A precondition needs `If-Match` or another header.
    PRECONDITION_REQUIRED = "precondition-required", "conflict", 428;
    /// A condition matched several resources where one at most is allowed.
    MULTIPLE_MATCHES = "multiple-matches", "multiple-matches", 412;
    /// Two writers met on one resource and retries ran out.
    WRITE_CONFLICT = "write-conflict", "transient", 409;
    /// A reference leads to no resource of this server, which is set to have none of those.
    REFERENCE_MISSING = "reference-missing", "not-found", 422;
    /// Other resources refer to what would be deleted.
    RESOURCE_IN_USE = "resource-in-use", "conflict", 409;
    /// Two entries of one transaction name the same resource.
    DUPLICATE_ENTRY = "duplicate-entry", "duplicate", 400;
    /// A search parameter the type does not have.
    UNKNOWN_PARAMETER = "unknown-parameter", "not-supported", 400;
    /// A modifier the parameter does not have.
    UNKNOWN_MODIFIER = "unknown-modifier", "not-supported", 400;
    /// A prefix the parameter does not take.
    UNKNOWN_PREFIX = "unknown-prefix", "not-supported", 400;
    /// A parameter value that cannot be read.
    BAD_PARAMETER_VALUE = "bad-parameter-value", "value", 400;
    /// A sort parameter the type does not have.
    UNKNOWN_SORT = "unknown-sort", "not-supported", 400;
    /// A paging link that is damaged, forged or of another search.
    BAD_CURSOR = "bad-cursor", "invalid", 400;
    /// A value set or code system that a search needs is not loaded.
    UNKNOWN_CODES = "unknown-codes", "not-found", 400;
    /// Something a request needs is being made ready; try again soon.
    NOT_READY = "not-ready", "transient", 503;
    /// A limit by name is exceeded by the request body.
    TOO_LARGE = "too-large", "too-long", 413;
    /// A limit by name is exceeded by what is asked for.
    TOO_COSTLY = "too-costly", "too-costly", 400;
    /// A Bundle entry that cannot be carried out.
    BAD_ENTRY = "bad-entry", "invalid", 400;
    /// The media type of the body is not read here.
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", "not-supported", 415;
    /// No acceptable media type can be produced.
    NOT_ACCEPTABLE = "not-acceptable", "not-supported", 406;
    /// Not allowed for this access.
    FORBIDDEN = "forbidden", "forbidden", 403;
    /// No or bad credentials.
    UNAUTHENTICATED = "unauthenticated", "login", 401;
    /// The write queue is full; try again later.
    OVERLOADED = "overloaded", "throttled", 503;
    /// The disk is full or the database does not answer.
    UNAVAILABLE = "unavailable", "no-store", 503;
    /// An inbound message repeated or clashes.
    MESSAGE_CONFLICT = "message-conflict", "duplicate", 409;
    /// Something the server did not expect; the log has the source.
    INTERNAL = "internal", "exception", 500;
}

/// `OperationOutcome.issue.severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For information.
    Information,
    /// Carried out, but look at this.
    Warning,
    /// Not carried out.
    Error,
    /// Not carried out, and more could not be looked at.
    Fatal,
}

impl Severity {
    /// The code of the value set.
    pub fn code(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

/// One issue of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad.
    pub severity: Severity,
    /// Which row of the error table.
    pub kind: ErrorKind,
    /// What is wrong and what to do, without patient data.
    pub diagnostics: String,
    /// FHIRPath of the element, such as `Observation.valueQuantity.value`, or the parameter's name.
    pub expression: Option<String>,
}

/// A failed request: at least one issue. The first decides the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The issues, never empty.
    pub issues: Vec<Issue>,
}

impl Problem {
    /// A problem with one issue.
    pub fn new(kind: ErrorKind, diagnostics: impl Into<String>) -> Self {
        let issue = Issue {
            severity: Severity::Error,
            kind,
            diagnostics: diagnostics.into(),
            expression: None,
        };
        Self {
            issues: vec![issue],
        }
    }

    /// Names the element or parameter on the latest issue.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        if let Some(issue) = self.issues.last_mut() {
            issue.expression = Some(expression.into());
        }
        self
    }

    /// HTTP status of the first issue.
    pub fn status(&self) -> u16 {
        self.issues.first().map_or(500, |issue| issue.kind.status)
    }

    /// The error table row of the first issue.
    pub fn kind(&self) -> ErrorKind {
        self.issues
            .first()
            .map_or(ErrorKind::INTERNAL, |issue| issue.kind)
    }

    /// The OperationOutcome to answer with.
    pub fn to_operation_outcome(&self) -> Value {
        operation_outcome(&self.issues)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self
            .issues
            .iter()
            .map(|issue| issue.diagnostics.as_str())
            .collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for Problem {}

/// The code system of the ids in [`ErrorKind`].
pub const ERROR_SYSTEM: &str = "urn:stoker:error";

/// An OperationOutcome of these issues.
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let rows = issues.iter().map(|issue| {
        let coding = Value::object([
            ("system", Value::from(ERROR_SYSTEM)),
            ("code", Value::from(issue.kind.id)),
        ]);
        let mut row: Map = [
            ("severity".to_owned(), Value::from(issue.severity.code())),
            ("code".to_owned(), Value::from(issue.kind.issue_type)),
            (
                "details".to_owned(),
                Value::object([("coding", Value::Array(vec![coding]))]),
            ),
            (
                "diagnostics".to_owned(),
                Value::from(issue.diagnostics.as_str()),
            ),
        ]
        .into_iter()
        .collect();
        if let Some(expression) = &issue.expression {
            row.insert(
                "expression",
                Value::Array(vec![Value::from(expression.as_str())]),
            );
        }
        Value::Object(row)
    });
    Value::object([
        ("resourceType", Value::from("OperationOutcome")),
        ("issue", rows.collect::<Vec<_>>().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        for (i, row) in ErrorKind::ALL.iter().enumerate() {
            assert!(
                ErrorKind::ALL[..i].iter().all(|other| other.id != row.id),
                "{}",
                row.id
            );
            assert!((400..600).contains(&row.status), "{}", row.id);
        }
    }

    #[test]
    fn an_outcome_names_element_and_fix() {
        let problem =
            Problem::new(ErrorKind::BAD_CODE, "`status` must be one of …").at("Observation.status");
        assert_eq!(problem.status(), 422);
        let outcome = problem.to_operation_outcome();
        let issue = &outcome.get("issue").and_then(Value::as_array).unwrap()[0];
        assert_eq!(
            issue.get("code").and_then(Value::as_str),
            Some("code-invalid")
        );
        assert_eq!(
            issue.get("expression").unwrap().as_array().unwrap()[0].as_str(),
            Some("Observation.status")
        );
    }
}
