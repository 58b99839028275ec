//! Completeness as a readable resource: "complete to T, except X", written in the commit that makes it true.
//!
//! Spec: <https://hl7.org/fhir/R4/basic.html>; R4 has no resource for this.
//! Leaves out walks that never ended: no evidence is the evidence.

use fhir_core::json::Value;

use crate::identity::local_id;
use crate::port::{WalkKey, WalkState};

/// Address of the extension that holds the statement.
pub const COMPLETENESS: &str = "urn:stoker:ehr-completeness";

/// The statement about one search of one patient. It names types, categories and reasons, no values.
pub fn of_walk(key: &WalkKey, state: &WalkState) -> Value {
    let category = key.category.clone().unwrap_or_default();
    let parts = [
        key.persona.as_str(),
        &key.subject,
        &key.resource_type,
        &category,
    ];
    let id = local_id(&key.tenant, "Basic", &parts.join("|"));
    let patient = local_id(&key.tenant, "Patient", &key.subject);
    let part = |name: &str, kind: &str, text: String| {
        Value::object([("url", Value::from(name)), (kind, text.into())])
    };
    let mut parts = vec![
        part("tenant", "valueString", key.tenant.clone()),
        part("persona", "valueCode", key.persona.as_str().to_owned()),
        part("type", "valueCode", key.resource_type.clone()),
    ];
    if let Some(category) = &key.category {
        parts.push(part("category", "valueCode", category.clone()));
    }
    if let Some(instant) = state.complete_to {
        parts.push(part("completeTo", "valueInstant", instant.to_fhir()));
    }
    if let Some(instant) = state.swept_at {
        parts.push(part("sweptAt", "valueInstant", instant.to_fhir()));
    }
    let gaps = state.gaps.iter();
    parts.extend(gaps.map(|gap| part("except", "valueString", gap.clone())));
    if let Some(failure) = &state.failure {
        parts.push(part("failure", "valueString", failure.clone()));
    }
    let coding = Value::object([
        ("system", Value::from("urn:stoker:basic-kind")),
        ("code", "ehr-completeness".into()),
    ]);
    Value::object([
        ("resourceType", Value::from("Basic")),
        ("id", id.into()),
        (
            "extension",
            Value::Array(vec![Value::object([
                ("extension", Value::Array(parts)),
                ("url", COMPLETENESS.into()),
            ])]),
        ),
        (
            "code",
            Value::object([("coding", Value::Array(vec![coding]))]),
        ),
        (
            "subject",
            Value::object([("reference", Value::from(format!("Patient/{patient}")))]),
        ),
    ])
}
