//! A resource changes by a patch.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#patch>: JSON Patch (RFC 6902) and FHIRPath Patch. Left out: conditional patch,
//! XML Patch, patches inside Bundles.

use std::sync::Arc;

use actix_web::http::header;
use fhir_core::access::Act;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_core::patch::{fhirpath_patch, json_patch};
use fhir_core::versioning::{check_if_match, parse_if_match};

use super::{Answer, deleted, not_found};
use crate::http::call::{Call, PatchBody};
use crate::interaction::Interaction;
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// `PATCH [base]/[type]/[id]`
///
/// # Errors
/// `not-found`, `deleted`, `version-conflict`, `bad-value` for an operation that cannot be carried out, those of the
/// write path for a result that is no valid resource
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Update, key.resource_type)?;
    let if_match = call
        .header(header::IF_MATCH)
        .map(parse_if_match)
        .transpose()?;
    let patch = call.patch().await?;
    let return_ = call.prefer().return_.unwrap_or_default();
    let mut attempts = Attempts::new(&call.server);
    loop {
        let current = call.server.current(&key).await?;
        let current = current.ok_or_else(|| not_found(&key))?;
        if current.deleted {
            return Err(deleted(&key));
        }
        if let Some(tags) = &if_match {
            check_if_match(tags, Some(current.version))?;
        }
        let document = patched(&current.json, &patch)?;
        let draft = Draft {
            key: key.clone(),
            step: Step::Put(Arc::new(document)),
            need: Need::Snapshot(current.version),
            interaction: Interaction::Patch,
        };
        let plan = Plan {
            drafts: vec![draft],
            ..Plan::default()
        };
        if let Some(written) = attempts.submit(&call.access, plan).await? {
            return Ok(Answer::of_first(&call.server, &written, return_));
        }
    }
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
