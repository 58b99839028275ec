//! The current version of a resource.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#read>, conditional read <https://hl7.org/fhir/R4/http.html#cread>

use actix_web::http::header;
use fhir_core::access::{Access, Act};
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::issue::Problem;
use fhir_core::versioning::{Tags, is_not_modified, parse_http_date, parse_if_none_match};

use super::{Answer, binary, deleted, not_found};
use crate::app::Server;
use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::operations::definitions;
use crate::search;

/// `GET` and `HEAD [base]/[type]/[id]`
///
/// # Errors
/// `not-found`, `deleted`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.only(&["_summary", "_elements"])?;
    let condition = ReadCondition::parse(
        call.header(header::IF_NONE_MATCH),
        call.header(header::IF_MODIFIED_SINCE),
    )?;
    let subset = search::subset_of(&call, key.resource_type)?;
    let mut answer = perform(&call.server, &call.access, &key, &condition).await?;
    if binary::wants_content(&call) {
        return binary::content(&call, answer);
    }
    if let Some(subset) = subset
        && !answer.body.is_empty()
    {
        answer.body = search::cut(&answer.body, &subset);
    }
    Ok(answer)
}

/// What a client has already.
#[derive(Debug, Default)]
pub struct ReadCondition {
    if_none_match: Option<Tags>,
    if_modified_since: Option<Instant>,
}

impl ReadCondition {
    /// From values already read.
    pub fn new(if_none_match: Option<Tags>, if_modified_since: Option<Instant>) -> Self {
        Self {
            if_none_match,
            if_modified_since,
        }
    }

    /// Reads the two headers.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn parse(
        if_none_match: Option<&str>,
        if_modified_since: Option<&str>,
    ) -> Result<Self, Problem> {
        Ok(Self {
            if_none_match: if_none_match.map(parse_if_none_match).transpose()?,
            if_modified_since: if_modified_since.and_then(parse_http_date),
        })
    }
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
    let Some(stored) = server.current(key).await? else {
        // What the server itself defines can be read though nobody has stored it.
        return match definitions::built_in(key) {
            Some(definition) => Ok(Answer::ok(definition.to_bytes())),
            None => Err(not_found(key)),
        };
    };
    server.reads.push(audit::record(
        access,
        Interaction::Read,
        'R',
        Some((key.clone(), Some(stored.version))),
    ));
    if stored.deleted {
        return Err(deleted(key));
    }
    if is_not_modified(
        condition.if_none_match.as_ref(),
        condition.if_modified_since,
        stored.version,
        stored.updated,
    ) {
        return Ok(Answer {
            status: 304,
            version: Some((stored.version, stored.updated)),
            ..Answer::default()
        });
    }
    Ok(Answer::resource(stored))
}
