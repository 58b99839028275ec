//! Whether a resource could be stored, without storing it.
//!
//! Spec: <https://hl7.org/fhir/R4/resource-operation-validate.html>. Left out: `profile` and `mode`, which are refused;
//! checks are those of a write: structure, cardinality, formats, required codes.

use conformance::ResourceTypeId;
use fhir_core::access::Act;
use fhir_core::body::resource_type_name;
use fhir_core::issue::{ErrorKind, Issue, Problem, Severity, operation_outcome};
use fhir_core::json::{Document, ValueRef};
use fhir_core::validate::structure;

use crate::http::call::Call;
use crate::interactions::{Answer, deleted, not_found};

/// `POST [base]/[type]/$validate` with a resource, or with Parameters that hold one under `resource`.
///
/// # Errors
/// `bad-json`; `unknown-parameter`; `bad-parameter-value` for Parameters without a resource
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    refuse_parameters(&call)?;
    let document = call.json().await?;
    let resource = subject(resource_type, document.root())?;
    Ok(answer(resource_type, resource))
}

/// `GET [base]/[type]/[id]/$validate`: the resource as stored.
///
/// # Errors
/// `not-found`, `deleted`
pub async fn handle_stored(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Read, key.resource_type)?;
    refuse_parameters(&call)?;
    let stored = call.server.current(&key).await?;
    let stored = stored.ok_or_else(|| not_found(&key))?;
    if stored.deleted {
        return Err(deleted(&key));
    }
    let document = Document::parse(&stored.json).map_err(|_| {
        Problem::new(
            ErrorKind::INTERNAL,
            "the stored resource cannot be read; the server's log has more",
        )
    })?;
    Ok(answer(key.resource_type, document.root()))
}

/// Parameters that change what is checked are refused, not ignored: the answer would claim too much.
fn refuse_parameters(call: &Call) -> Result<(), Problem> {
    let unknown = call
        .query()?
        .into_iter()
        .find(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty"));
    unknown.map_or(Ok(()), |(name, _)| Err(unsupported(&name)))
}

fn unsupported(name: &str) -> Problem {
    let text = "`$validate` takes `resource` only: profiles and modes are not supported yet";
    Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name)
}

/// The resource to look at.
fn subject<'a>(resource_type: ResourceTypeId, root: ValueRef<'a>) -> Result<ValueRef<'a>, Problem> {
    let is_wrapped = resource_type.name() != "Parameters"
        && resource_type_name(root).as_deref() == Some("Parameters");
    if !is_wrapped {
        return Ok(root);
    }
    let mut found = None;
    for parameter in root.get("parameter").into_iter().flat_map(ValueRef::items) {
        let name = parameter.get("name").and_then(ValueRef::as_str);
        match name.as_deref() {
            Some("resource") => found = parameter.get("resource"),
            other => return Err(unsupported(other.unwrap_or("parameter"))),
        }
    }
    found.ok_or_else(|| {
        let text = "the Parameters hold no `resource`";
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("Parameters.parameter")
    })
}

/// What was found, always with status 200: the operation itself succeeded.
fn answer(resource_type: ResourceTypeId, resource: ValueRef<'_>) -> Answer {
    let mut issues = structure::check(resource_type, resource);
    if issues.is_empty() {
        issues.push(Issue {
            severity: Severity::Information,
            kind: ErrorKind {
                id: "valid",
                issue_type: "informational",
                status: 200,
            },
            diagnostics: "no fault was found in structure, cardinality, formats and required codes"
                .to_owned(),
            expression: None,
        });
    }
    Answer::ok(operation_outcome(&issues).to_bytes())
}
