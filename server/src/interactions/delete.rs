//! A resource is no longer to be found; its history stays.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#delete>, conditional delete <https://hl7.org/fhir/R4/http.html#3.1.0.7.1>. How many
//! matches one request may delete is a setting; beyond that it is refused and nothing is deleted.

use std::sync::Arc;

use actix_web::http::header;
use conformance::ResourceTypeId;
use fhir_core::access::Access;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;

use super::{Answer, update};
use crate::app::Server;
use crate::http::call::Call;
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::search::condition;
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// `DELETE [base]/[type]/[id]`: 204, also when there is nothing to delete.
///
/// # Errors
/// Those of the write path; `version-conflict`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    call.only(&[])?;
    let need = update::need(call.header(header::IF_MATCH))?;
    perform(
        &call.server,
        &call.access,
        &call.key()?,
        need,
        delete_return(&call),
    )
    .await
}

/// `DELETE [base]/[type]?[criteria]`
///
/// # Errors
/// Those of the write path; `multiple-matches`
pub async fn handle_conditional(call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    perform_conditional(
        &call.server,
        &call.access,
        resource_type,
        &call.query()?,
        delete_return(&call),
    )
    .await
}

/// A deletion has nothing to represent, so only an OperationOutcome makes a body.
fn delete_return(call: &Call) -> Return {
    call.prefer().return_.unwrap_or_default()
}

/// Deletes a resource.
///
/// # Errors
/// Those of the write path; `version-conflict`
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    key: &ResourceKey,
    need: Need,
    return_: Return,
) -> Result<Answer, Problem> {
    let mut attempts = Attempts::new(server);
    loop {
        let step = Step::Delete;
        let drafts = vec![Draft {
            key: key.clone(),
            step,
            need: need.clone(),
            interaction: Interaction::Delete,
        }];
        if let Some(written) = attempts
            .submit(
                access,
                Plan {
                    drafts,
                    ..Plan::default()
                },
            )
            .await?
        {
            return Ok(Answer::of_first(server, &written, return_));
        }
    }
}

/// Deletes what meets the criteria: one resource, or as many as the settings allow, all or none.
///
/// # Errors
/// Those of the write path; `multiple-matches` for more than allowed
pub async fn perform_conditional(
    server: &Arc<Server>,
    access: &Access,
    resource_type: ResourceTypeId,
    criteria: &[(String, String)],
    return_: Return,
) -> Result<Answer, Problem> {
    let count_max = server.config.conditional_delete_max;
    let mut attempts = Attempts::new(server);
    loop {
        let found =
            condition::resolve_some(server, access, resource_type, criteria, count_max + 1).await?;
        let keys = found.at_most(count_max)?;
        if keys.is_empty() {
            return Ok(Answer {
                status: 204,
                ..Answer::default()
            });
        }
        let draft = |key: &ResourceKey| Draft {
            key: key.clone(),
            step: Step::Delete,
            need: Need::Nothing,
            interaction: Interaction::Delete,
        };
        let plan = Plan {
            drafts: keys.iter().map(draft).collect(),
            expects: vec![found.expectation()],
            ..Plan::default()
        };
        if let Some(written) = attempts.submit(access, plan).await? {
            return Ok(Answer::of_first(server, &written, return_));
        }
    }
}
