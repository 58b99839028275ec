//! A resource becomes what the client sends; one that does not exist is created under the client's id.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#update>, <https://hl7.org/fhir/R4/http.html#upsert>, conditional update
//! <https://hl7.org/fhir/R4/http.html#cond-update>. Deviation: an update that changes nothing makes no new version, which
//! the specification leaves open.

use std::sync::Arc;

use actix_web::http::header;
use conformance::ResourceTypeId;
use fhir_core::access::{Access, Act};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::versioning::parse_if_match;

use super::{Answer, binary};
use crate::app::Server;
use crate::http::call::Call;
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::search::condition;
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// `PUT [base]/[type]/[id]`
///
/// # Errors
/// Those of the write path; `id-mismatch`, `version-conflict`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Update, key.resource_type)?;
    call.only(&[])?;
    let need = need(call.header(header::IF_MATCH))?;
    let document = if binary::is_raw(&call, key.resource_type) {
        binary::document(&mut call, Some(key.id.as_str())).await?
    } else {
        call.json().await?
    };
    let return_ = call.prefer().return_.unwrap_or_default();
    perform(&call.server, &call.access, key, document, need, return_).await
}

/// `PUT [base]/[type]?[criteria]`
///
/// # Errors
/// Those of the write path; `multiple-matches`
pub async fn handle_conditional(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Update, resource_type)?;
    let criteria = call.query()?;
    let need = need(call.header(header::IF_MATCH))?;
    let document = call.json().await?;
    let return_ = call.prefer().return_.unwrap_or_default();
    perform_conditional(
        &call.server,
        &call.access,
        resource_type,
        &criteria,
        document,
        need,
        return_,
    )
    .await
}

/// What `If-Match` demands.
///
/// # Errors
/// `bad-parameter-value` for a header that cannot be read
pub fn need(if_match: Option<&str>) -> Result<Need, Problem> {
    if_match.map_or(Ok(Need::Nothing), |header| {
        parse_if_match(header).map(Need::Match)
    })
}

/// Updates or creates a resource under a known id.
///
/// # Errors
/// Those of the write path; `id-mismatch`, `version-conflict`
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    key: ResourceKey,
    document: Document,
    need: Need,
    return_: Return,
) -> Result<Answer, Problem> {
    check_id(&document, &key)?;
    let document = Arc::new(document);
    let mut attempts = Attempts::new(server);
    loop {
        let step = Step::Put(Arc::clone(&document));
        let drafts = vec![Draft {
            key: key.clone(),
            step,
            need: need.clone(),
            interaction: Interaction::Update,
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

/// Updates the one resource that meets the criteria, or creates one.
///
/// # Errors
/// Those of the write path; `multiple-matches`, `id-mismatch`
pub async fn perform_conditional(
    server: &Arc<Server>,
    access: &Access,
    resource_type: ResourceTypeId,
    criteria: &[(String, String)],
    document: Document,
    need: Need,
    return_: Return,
) -> Result<Answer, Problem> {
    let document = Arc::new(document);
    let mut attempts = Attempts::new(server);
    loop {
        let found = condition::resolve(server, access, resource_type, criteria).await?;
        let (key, need) =
            conditional_target(server, resource_type, &document, found.one()?, need.clone())?;
        let step = Step::Put(Arc::clone(&document));
        let drafts = vec![Draft {
            key,
            step,
            need,
            interaction: Interaction::Update,
        }];
        let plan = Plan {
            drafts,
            expects: vec![found.expectation()],
            ..Plan::default()
        };
        if let Some(written) = attempts.submit(access, plan).await? {
            return Ok(Answer::of_first(server, &written, return_));
        }
    }
}

/// Which resource a conditional update writes: the one found, else the one the body names, else a new one.
///
/// # Errors
/// `id-mismatch` when the body names another one than was found
pub fn conditional_target(
    server: &Server,
    resource_type: ResourceTypeId,
    document: &Document,
    found: Option<ResourceKey>,
    need: Need,
) -> Result<(ResourceKey, Need), Problem> {
    let named = document
        .root()
        .get("id")
        .and_then(|id| id.as_str())
        .map(|id| {
            ResourceId::parse(&id).ok_or_else(|| {
                Problem::new(
                    ErrorKind::BAD_ID,
                    "`id` has 1 to 64 characters of A-Z a-z 0-9 - .",
                )
                .at("id")
            })
        });
    let named = named.transpose()?;
    match (found, named) {
        (Some(key), None) => Ok((key, need)),
        (Some(key), Some(id)) if key.id == id => Ok((key, need)),
        (Some(_), Some(_)) => {
            let text =
                "the resource that meets the criteria has another id than the body; leave `id` out";
            Err(Problem::new(ErrorKind::ID_MISMATCH, text).at("id"))
        }
        (None, Some(id)) => Ok((ResourceKey { resource_type, id }, need)),
        (None, None) => {
            let key = ResourceKey {
                resource_type,
                id: (server.ids)(),
            };
            Ok((
                key,
                if need == Need::Nothing {
                    Need::NewId
                } else {
                    need
                },
            ))
        }
    }
}

/// Whether the body's id is the URL's.
///
/// # Errors
/// `id-mismatch`
pub fn check_id(document: &Document, key: &ResourceKey) -> Result<(), Problem> {
    let id = document.root().get("id").and_then(|id| id.as_str());
    match id {
        Some(id) if id == key.id.as_str() => Ok(()),
        Some(_) => Err(Problem::new(
            ErrorKind::ID_MISMATCH,
            "`id` of the body and of the URL differ",
        )
        .at("id")),
        None => {
            let text = "the body has no `id`; an update names the id in URL and body alike";
            Err(Problem::new(ErrorKind::ID_MISMATCH, text).at("id"))
        }
    }
}
