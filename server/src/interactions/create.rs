//! A new resource with an id of the server's choice.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#create>, conditional create <https://hl7.org/fhir/R4/http.html#ccreate>.
//! Any number of clients may create under the same condition at the same time: exactly one resource results.

use std::sync::Arc;

use conformance::ResourceTypeId;
use fhir_core::access::{Access, Act};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;
use fhir_core::json::Document;

use super::{Answer, binary};
use crate::app::Server;
use crate::http::call::{Call, parse_query};
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::search::condition;
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// `POST [base]/[type]`
///
/// # Errors
/// Those of the write path; `multiple-matches`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Create, resource_type)?;
    // A condition belongs into `If-None-Exist`; here it would be taken for one and do nothing.
    call.only(&[])?;
    let document = if binary::is_raw(&call, resource_type) {
        binary::document(&mut call, None).await?
    } else {
        call.json().await?
    };
    let criteria = call
        .fhir_header("if-none-exist")
        .map(|text| parse_query(text.strip_prefix('?').unwrap_or(text)))
        .transpose()?;
    let return_ = call.prefer().return_.unwrap_or_default();
    perform(
        &call.server,
        &call.access,
        resource_type,
        document,
        criteria.as_deref(),
        return_,
    )
    .await
}

/// Creates a resource, unless one meets the criteria.
///
/// # Errors
/// Those of the write path; `multiple-matches`
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    resource_type: ResourceTypeId,
    document: Document,
    criteria: Option<&[(String, String)]>,
    return_: Return,
) -> Result<Answer, Problem> {
    let document = Arc::new(document);
    let mut attempts = Attempts::new(server);
    loop {
        let mut expects = Vec::new();
        if let Some(criteria) = criteria {
            let found = condition::resolve(server, access, resource_type, criteria).await?;
            if let Some(key) = found.one()? {
                return existing_answer(server, &key, return_).await;
            }
            expects.push(found.expectation());
        }
        let key = ResourceKey {
            resource_type,
            id: (server.ids)(),
        };
        let step = Step::Put(Arc::clone(&document));
        let drafts = vec![Draft {
            key,
            step,
            need: Need::NewId,
            interaction: Interaction::Create,
        }];
        if let Some(written) = attempts
            .submit(
                access,
                Plan {
                    drafts,
                    expects,
                    ..Plan::default()
                },
            )
            .await?
        {
            return Ok(Answer::of_first(server, &written, return_));
        }
    }
}

/// One resource met the criteria: the create is done already (200).
async fn existing_answer(
    server: &Server,
    key: &ResourceKey,
    return_: Return,
) -> Result<Answer, Problem> {
    let stored = server
        .current(key)
        .await?
        .ok_or_else(|| super::not_found(key))?;
    let location = Some(super::location(server, key, stored.version));
    let mut answer = Answer {
        location,
        ..Answer::resource(stored)
    };
    if return_ != Return::Representation {
        answer.body = bytes::Bytes::new();
    }
    Ok(answer)
}
