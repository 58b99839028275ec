//! The current version of a resource.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#read>, conditional read <https://hl7.org/fhir/R4/http.html#cread>

use actix_web::http::header;
use fhir_core::access::{Access, Act};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;
use fhir_core::versioning::ReadCondition;

use super::{Answer, deleted, not_found};
use crate::app::Server;
use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;

/// `GET` and `HEAD [base]/[type]/[id]`
///
/// # Errors
/// `not-found`, `deleted`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    let condition =
        ReadCondition::parse(call.header(header::IF_NONE_MATCH), call.header(header::IF_MODIFIED_SINCE));
    perform(&call.server, &call.access, &key, &condition).await
}

/// Reads a resource; 304 without a body when the client has it already.
///
/// # Errors
/// `not-found`, `deleted`
pub async fn perform(
    server: &Server,
    access: &Access,
    key: &ResourceKey,
    condition: &ReadCondition,
) -> Result<Answer, Problem> {
    access.permit(Act::Read, key.resource_type)?;
    let stored = server.current(key).await?.ok_or_else(|| not_found(key))?;
    server.reads.push(audit::record(access, Interaction::Read, 'R', Some((key.clone(), Some(stored.version)))));
    if stored.deleted {
        return Err(deleted(key));
    }
    if condition.has(stored.version, stored.updated) {
        return Ok(Answer { status: 304, version: Some((stored.version, stored.updated)), ..Answer::default() });
    }
    Ok(Answer::resource(stored))
}
