//! One version of a resource, current or not.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#vread>

use fhir_core::access::{Access, Act};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};

use super::{Answer, deleted};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::search;

/// `GET [base]/[type]/[id]/_history/[vid]`
///
/// # Errors
/// `not-found`, `deleted`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.only(&["_summary", "_elements"])?;
    let subset = search::subset_of(&call, key.resource_type)?;
    let mut answer = perform(&call.server, &call.access, &key, call.version()).await?;
    if let Some(subset) = subset {
        answer.body = search::cut(&answer.body, &subset);
    }
    Ok(answer)
}

/// Reads a version; `None` is one that cannot exist.
///
/// # Errors
/// `not-found`, `deleted` when this version is the deletion
pub async fn perform(
    server: &Server,
    access: &Access,
    key: &ResourceKey,
    version: Option<VersionId>,
) -> Result<Answer, Problem> {
    access.permit(Act::Read, key.resource_type)?;
    let stored = match version {
        Some(version) => server
            .store
            .vread(key, version)
            .await
            .map_err(|e| store_problem(&e))?,
        None => None,
    };
    let stored = stored.ok_or_else(|| {
        let text = format!(
            "there is no such version of this `{}`",
            key.resource_type.name()
        );
        Problem::new(ErrorKind::NOT_FOUND, text)
    })?;
    server.reads.push(audit::record(
        access,
        Interaction::Vread,
        'R',
        Some((key.clone(), Some(stored.version))),
    ));
    if stored.deleted {
        Err(deleted(key))
    } else {
        Ok(Answer::resource(stored))
    }
}
