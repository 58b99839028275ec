//! Whether a resource is valid, without storing it.
//!
//! Spec: <https://hl7.org/fhir/R4/resource-operation-validate.html>. The answer is an OperationOutcome with status 200
//! whatever was found: the operation itself succeeded. Left out: whether a delete would break references.

use actix_web::http::Method;
use conformance::ResourceTypeId;
use fhir_core::issue::{ErrorKind, Issue, Problem, Severity, operation_outcome};
use fhir_core::json::{Document, ValueRef};
use fhir_core::profile::check_claims;
use fhir_core::terminology::Catalogue;
use fhir_core::validate::{invariants, structure};

use super::input::Input;
use super::terminology::{catalogue, instance};
use crate::http::call::Call;
use crate::interactions::Answer;

/// What is to be done with the resource, if it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Create,
    Update,
    Delete,
    Profile,
}

/// `[base]/[type]/$validate`, `[base]/[type]/[id]/$validate`
///
/// # Errors
/// `bad-json`; `unknown-parameter`; `bad-parameter-value`; `not-found`, `deleted`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    let has_id = call.request().match_info().get("id").is_some();
    let is_get = *call.request().method() == Method::GET;
    let input = Input::read(&mut call).await?;
    input.only(&["resource", "mode", "profile"])?;
    let mode = mode(&input)?;
    let profiles = input.texts("profile");
    if mode == Mode::Profile && profiles.is_empty() {
        let text = "the mode `profile` needs the parameter `profile`";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("profile"));
    }
    if matches!(mode, Mode::Update | Mode::Delete) && !has_id {
        let text =
            "the modes `update` and `delete` need the id of a resource: `[type]/[id]/$validate`";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("mode"));
    }
    let known = catalogue(&call).await?;
    // "update" also of a resource that does not exist yet: it would be created.
    let stored = match mode {
        Mode::Update => None,
        _ => instance(&call).await?,
    };
    if mode == Mode::Delete {
        return Ok(answer(Vec::new()));
    }
    let given = if resource_type.name() == "Parameters" && !is_get {
        input.whole()
    } else {
        input.resource("resource")
    };
    let Some(resource) = given.or_else(|| stored.as_ref().map(Document::root)) else {
        let text = "send a resource, or Parameters that hold one under `resource`";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("resource"));
    };
    let mut issues = issues(&call, &known, resource_type, resource, &profiles);
    if mode == Mode::Update {
        issues.extend(other_id(&call, resource));
    }
    Ok(answer(issues))
}

fn mode(input: &Input) -> Result<Mode, Problem> {
    Ok(match input.text("mode")?.as_deref() {
        None => Mode::None,
        Some("create") => Mode::Create,
        Some("update") => Mode::Update,
        Some("delete") => Mode::Delete,
        Some("profile") => Mode::Profile,
        Some(_) => {
            let text = "`mode` is one of create, update, delete, profile";
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("mode"));
        }
    })
}

/// Everything found, the worst first.
fn issues(
    call: &Call,
    known: &Catalogue,
    resource_type: ResourceTypeId,
    resource: ValueRef<'_>,
    profiles: &[String],
) -> Vec<Issue> {
    let mut issues = structure::check(resource_type, resource);
    // Rules about content mean little where the structure is wrong already.
    if issues.is_empty() {
        let now = Some((call.server.clock)());
        issues = invariants::check(resource, Some(known), now);
        let found = check_claims(known, resource, profiles, now);
        issues.extend(found.into_iter().map(|found| found.issue));
        for issue in &mut issues {
            let is_asked = profiles
                .iter()
                .any(|url| issue.diagnostics.contains(url.as_str()));
            if issue.kind == ErrorKind::NOT_LOADED && is_asked {
                issue.severity = Severity::Error;
            }
        }
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.severity));
    }
    issues
}

/// "the id in the resource must be the one of the URL".
fn other_id(call: &Call, resource: ValueRef<'_>) -> Option<Issue> {
    let own = resource.get("id").and_then(ValueRef::as_str);
    let key = call.key().ok()?;
    (own.as_deref() != Some(key.id.as_str())).then(|| Issue {
        severity: Severity::Error,
        kind: ErrorKind::ID_MISMATCH,
        diagnostics: "the resource's id must be the one in the URL".to_owned(),
        expression: Some(format!("{}.id", key.resource_type.name())),
    })
}

fn answer(mut issues: Vec<Issue>) -> Answer {
    if issues.is_empty() {
        issues.push(Issue {
            severity: Severity::Information,
            kind: ErrorKind {
                id: "valid",
                issue_type: "informational",
                status: 200,
            },
            diagnostics: "no fault was found in structure, required codes, invariants and the profiles claimed or asked for"
                .to_owned(),
            expression: None,
        });
    }
    Answer::ok(operation_outcome(&issues).to_bytes())
}
