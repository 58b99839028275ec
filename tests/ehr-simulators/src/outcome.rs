//! OperationOutcomes in each vendor's shape.
//!
//! Spec: <https://hl7.org/fhir/R4/operationoutcome.html>. Leaves out texts in full: adapters go by code.

use fhir_core::json::Value;

use crate::object;

const EPIC_CODES: &str = "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369";

/// One Epic issue.
pub(crate) fn epic_issue(severity: &str, kind: &str, code: &str, diagnostics: &str) -> Value {
    let coding = object([
        ("system", EPIC_CODES.into()),
        ("code", code.into()),
        ("display", "Simulated.".into()),
    ]);
    let mut issue = object([
        ("severity", severity.into()),
        ("code", kind.into()),
        (
            "details",
            object([
                ("coding", Value::Array(vec![coding])),
                ("text", "Simulated.".into()),
            ]),
        ),
    ]);
    if let (false, Some(members)) = (diagnostics.is_empty(), issue.as_object_mut()) {
        members.insert("diagnostics", diagnostics.into());
    }
    issue
}

/// Oracle's bare issue.
pub(crate) fn oracle_issue(kind: &str, text: &str) -> Value {
    object([
        ("severity", "error".into()),
        ("code", kind.into()),
        ("details", object([("text", text.into())])),
    ])
}

/// The resource around issues.
pub(crate) fn outcome(issues: Vec<Value>) -> Value {
    object([
        ("resourceType", "OperationOutcome".into()),
        ("issue", Value::Array(issues)),
    ])
}
