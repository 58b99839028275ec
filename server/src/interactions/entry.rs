//! One entry of a batch or transaction, reached by the same functions as a request of its own.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#transaction>

use std::sync::Arc;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::Access;
use fhir_core::bundle::{Action, Plan};
use fhir_core::ids::{ResourceId, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::response::OutcomeEntry;

use super::read::ReadCondition;
use super::{
    Answer, capabilities, create, delete, history, patch, read, search_system, search_type, update,
    vread,
};
use fhir_store::HistoryScope;

use crate::app::Server;
use crate::http::call::{only, parse_query};
use crate::http::prefer::{Handling, Return};
use crate::search::Target;
use crate::write::Need;

/// Carries out one entry of a batch.
///
/// # Errors
/// Those of the interaction
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    plan: &Plan<'_>,
    index: usize,
    return_: Return,
) -> Result<Answer, Problem> {
    let Some(entry) = plan.entries.get(index) else {
        return Err(no_resource(index));
    };
    let need = |tags: &Option<_>| tags.clone().map_or(Need::Nothing, Need::Match);
    match &entry.action {
        Action::Create { key, if_none_exist } => {
            let document = content(plan, index)?;
            create::perform(
                server,
                access,
                key.resource_type,
                document,
                if_none_exist.as_deref(),
                return_,
            )
            .await
        }
        Action::Update { key, if_match } => {
            update::perform(
                server,
                access,
                key.clone(),
                content(plan, index)?,
                need(if_match),
                return_,
            )
            .await
        }
        Action::ConditionalUpdate {
            key,
            condition,
            if_match,
        } => {
            let document = content(plan, index)?;
            let need = need(if_match);
            update::perform_conditional(
                server,
                access,
                key.resource_type,
                condition,
                document,
                need,
                return_,
            )
            .await
        }
        Action::Delete { key, if_match } => {
            delete::perform(server, access, key, need(if_match), return_).await
        }
        Action::ConditionalDelete {
            resource_type,
            condition,
        } => delete::perform_conditional(server, access, *resource_type, condition, return_).await,
        Action::Get {
            url,
            is_head,
            if_none_match,
            if_modified_since,
        } => {
            let condition = ReadCondition::new(if_none_match.clone(), *if_modified_since);
            let mut answer = get(server, access, url, &condition).await?;
            if *is_head {
                answer.body = bytes::Bytes::new();
            }
            Ok(answer)
        }
        Action::Patch { key, if_match } => {
            let patch = patch::of_entry(index, content(plan, index)?.root())?;
            let target = patch::Target::Key(key.clone());
            patch::perform(server, access, &target, &patch, if_match.as_ref(), return_).await
        }
        Action::ConditionalPatch {
            resource_type,
            condition,
            if_match,
        } => {
            let patch = patch::of_entry(index, content(plan, index)?.root())?;
            let target = patch::Target::Criteria(*resource_type, condition.clone());
            patch::perform(server, access, &target, &patch, if_match.as_ref(), return_).await
        }
        Action::Refused(problem) => Err(problem.clone()),
    }
}

/// Carries out a GET by its URL below the base.
///
/// # Errors
/// `no-route` and those of the interaction
pub async fn get(
    server: &Arc<Server>,
    access: &Access,
    url: &str,
    condition: &ReadCondition,
) -> Result<Answer, Problem> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    match segments.as_slice() {
        [] | ["_search"] => {
            search_system::perform(server, access, None, parse_query(query)?, Handling::Strict)
                .await
        }
        ["_history"] => {
            history::page(server, access, HistoryScope::System, &parse_query(query)?).await
        }
        ["metadata"] => Ok(capabilities::answer(server)),
        [type_name, "_history"] => {
            let scope = HistoryScope::Type(resource_type(type_name)?);
            history::page(server, access, scope, &parse_query(query)?).await
        }
        [owner, id, member] if resource_type(member).is_ok() => {
            let target = Target {
                resource_type: resource_type(member)?,
                owner: Some(key(owner, id)?),
            };
            search_type::run(
                server,
                access,
                &target,
                parse_query(query)?,
                Handling::Strict,
            )
            .await
        }
        [type_name] | [type_name, "_search"] => {
            let resource_type = resource_type(type_name)?;
            search_type::perform(
                server,
                access,
                resource_type,
                parse_query(query)?,
                Handling::Strict,
            )
            .await
        }
        [type_name, id] => {
            only(&parse_query(query)?, &[])?;
            read::perform(server, access, &key(type_name, id)?, condition).await
        }
        [type_name, id, "_history"] => {
            history::perform(server, access, &key(type_name, id)?, &parse_query(query)?).await
        }
        [type_name, id, "_history", version] => {
            only(&parse_query(query)?, &[])?;
            vread::perform(
                server,
                access,
                &key(type_name, id)?,
                VersionId::parse(version),
            )
            .await
        }
        _ => Err(Problem::new(
            ErrorKind::NO_ROUTE,
            "this server has no such URL below its base",
        )),
    }
}

fn resource_type(name: &str) -> Result<ResourceTypeId, Problem> {
    let found = Definitions::r4().resource_type(name);
    found.ok_or_else(|| {
        Problem::new(
            ErrorKind::UNKNOWN_TYPE,
            "the URL names no resource type of FHIR R4",
        )
    })
}

fn key(type_name: &str, id: &str) -> Result<ResourceKey, Problem> {
    let resource_type = resource_type(type_name)?;
    let id = ResourceId::parse(id).ok_or_else(|| {
        Problem::new(
            ErrorKind::BAD_ID,
            "a logical id has 1 to 64 characters of A-Z a-z 0-9 - .",
        )
    })?;
    Ok(ResourceKey { resource_type, id })
}

/// The resource of an entry, references rewritten.
///
/// # Errors
/// `bad-entry` when there is none
pub fn content(plan: &Plan<'_>, index: usize) -> Result<Document, Problem> {
    let bytes = plan.content(index).ok_or_else(|| no_resource(index))?;
    Document::parse(&bytes).map_err(|error| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("entry {index} cannot be read: {error}"),
        )
    })
}

fn no_resource(index: usize) -> Problem {
    let problem = Problem::new(
        ErrorKind::BAD_ENTRY,
        format!("entry {index} has no resource"),
    );
    problem.at(format!("Bundle.entry[{index}].resource"))
}

/// An answer as an entry of the response.
pub fn to_outcome(answer: &Answer) -> OutcomeEntry<'_> {
    let is_outcome = answer
        .body
        .starts_with(b"{\"resourceType\":\"OperationOutcome\"");
    let body = (!answer.body.is_empty()).then_some(answer.body.as_ref());
    OutcomeEntry {
        status: answer.status,
        location: answer.location.as_deref(),
        version: answer.version,
        full_url: None,
        resource: if is_outcome { None } else { body },
        outcome: if is_outcome { body } else { None },
    }
}
