//! A resource changes by a patch.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#patch>: JSON Patch (RFC 6902) and FHIRPath Patch, also conditional and inside
//! Bundles. Left out: XML Patch.

use std::sync::Arc;

use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conformance::ResourceTypeId;
use fhir_core::access::{Access, Act};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value, ValueRef};
use fhir_core::patch::{fhirpath_patch, json_patch};
use fhir_core::versioning::{Tags, check_if_match, parse_if_match};
use fhir_store::Expectation;

use super::{Answer, deleted, not_found};
use crate::app::Server;
use crate::http::call::{Call, PatchBody};
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::search::condition;
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// `PATCH [base]/[type]/[id]`
///
/// # Errors
/// `not-found`, `deleted`, `version-conflict`, `bad-value` for an operation that cannot be carried out, those of the
/// write path for a result that is no valid resource
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Update, key.resource_type)?;
    call.only(&[])?;
    let if_match = if_match(&call)?;
    let patch = call.patch().await?;
    let return_ = call.prefer().return_.unwrap_or_default();
    let target = Target::Key(key);
    perform(
        &call.server,
        &call.access,
        &target,
        &patch,
        if_match.as_ref(),
        return_,
    )
    .await
}

/// `PATCH [base]/[type]?[criteria]`
///
/// # Errors
/// As [`handle`]; `multiple-matches`, `not-found` when nothing meets the criteria
pub async fn handle_conditional(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Update, resource_type)?;
    let target = Target::Criteria(resource_type, call.query()?);
    let if_match = if_match(&call)?;
    let patch = call.patch().await?;
    let return_ = call.prefer().return_.unwrap_or_default();
    perform(
        &call.server,
        &call.access,
        &target,
        &patch,
        if_match.as_ref(),
        return_,
    )
    .await
}

fn if_match(call: &Call) -> Result<Option<Tags>, Problem> {
    call.header(header::IF_MATCH)
        .map(parse_if_match)
        .transpose()
}

/// What is patched.
#[derive(Debug, Clone)]
pub enum Target {
    /// This resource.
    Key(ResourceKey),
    /// The one resource that meets the criteria: type and decoded parameters.
    Criteria(ResourceTypeId, Vec<(String, String)>),
}

/// Patches one resource.
///
/// # Errors
/// As [`handle`] and [`handle_conditional`]
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    target: &Target,
    patch: &PatchBody,
    if_match: Option<&Tags>,
    return_: Return,
) -> Result<Answer, Problem> {
    let mut attempts = Attempts::new(server);
    loop {
        let (key, expects) = find(server, access, target).await?;
        let (document, version) = apply(server, &key, patch, if_match).await?;
        let draft = Draft {
            key,
            step: Step::Put(Arc::new(document)),
            need: Need::Snapshot(version),
            interaction: Interaction::Patch,
        };
        let plan = Plan {
            drafts: vec![draft],
            expects,
            ..Plan::default()
        };
        if let Some(written) = attempts.submit(access, plan).await? {
            return Ok(Answer::of_first(server, &written, return_));
        }
    }
}

/// Which resource is meant, and what must still be so at commit time.
async fn find(
    server: &Server,
    access: &Access,
    target: &Target,
) -> Result<(ResourceKey, Vec<Expectation>), Problem> {
    match target {
        Target::Key(key) => Ok((key.clone(), Vec::new())),
        Target::Criteria(resource_type, criteria) => {
            let found = condition::resolve(server, access, *resource_type, criteria).await?;
            let key = found.one()?.ok_or_else(no_match)?;
            Ok((key, vec![found.expectation()]))
        }
    }
}

/// "No matches: The server returns a 404 Not Found".
pub fn no_match() -> Problem {
    let text = "no resource meets the criteria, so there is nothing to patch";
    Problem::new(ErrorKind::NOT_FOUND, text)
}

/// The current version of a resource after a patch, and which version that was made from.
///
/// # Errors
/// As [`handle`]
pub async fn apply(
    server: &Server,
    key: &ResourceKey,
    patch: &PatchBody,
    if_match: Option<&Tags>,
) -> Result<(Document, VersionId), Problem> {
    let current = server.current(key).await?.ok_or_else(|| not_found(key))?;
    if current.deleted {
        return Err(deleted(key));
    }
    if let Some(tags) = if_match {
        check_if_match(tags, Some(current.version))?;
    }
    Ok((patched(&current.json, patch)?, current.version))
}

/// The patch that an entry of a Bundle carries: JSON Patch inside a Binary, or FHIRPath Patch as Parameters.
///
/// # Errors
/// `bad-entry`
pub fn of_entry(index: usize, resource: ValueRef<'_>) -> Result<PatchBody, Problem> {
    let refuse = |text: &str| {
        let problem = Problem::new(ErrorKind::BAD_ENTRY, format!("entry {index}: {text}"));
        problem.at(format!("Bundle.entry[{index}].resource"))
    };
    let text = |name: &str| resource.get(name).and_then(ValueRef::as_str);
    if text("resourceType").as_deref() == Some("Parameters") {
        return Ok(PatchBody::FhirPath(resource.to_value()));
    }
    let content_type = text("contentType").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json-patch+json") {
        return Err(refuse(
            "a Binary with a patch has the `contentType` `application/json-patch+json`",
        ));
    }
    let mut data = text("data").unwrap_or_default().into_owned();
    data.retain(|c| !c.is_ascii_whitespace());
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| refuse("`Binary.data` is not base64"))?;
    let patch = Value::parse(&bytes)
        .map_err(|error| refuse(&format!("the patch in `Binary.data` is not JSON: {error}")))?;
    Ok(PatchBody::Json(patch))
}

/// The resource after the patch; its identity must be the same.
fn patched(json: &[u8], patch: &PatchBody) -> Result<Document, Problem> {
    let unreadable = || Problem::new(ErrorKind::INTERNAL, "the stored resource cannot be read");
    let before = Value::parse(json).map_err(|_| unreadable())?;
    let after = match patch {
        PatchBody::Json(patch) => json_patch::apply(&before, patch)?,
        PatchBody::FhirPath(patch) => fhirpath_patch::apply(&before, patch)?,
    };
    for name in ["resourceType", "id"] {
        if after.get(name) != before.get(name) {
            let text = format!("a patch cannot change `{name}`");
            return Err(Problem::new(ErrorKind::ID_MISMATCH, text).at(name));
        }
    }
    Document::parse(&after.to_bytes()).map_err(|_| unreadable())
}
