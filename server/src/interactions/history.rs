//! The versions of a resource, of a type or of all, newest first.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#history>. Left out: `_at`, `_list`, `_sort`.

use fhir_core::access::{Access, Act, Grants};
use fhir_core::datatype::date::{self, Zone};
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::response::{self, BundleLink, HistoryEntry};
use fhir_store::{Cursor, HistoryQuery, HistoryScope, TotalMode};

use super::{Answer, not_found};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::{Call, encode};
use crate::http::paging::CURSOR_PARAMETER;
use crate::interaction::Interaction;

/// `GET [base]/[type]/[id]/_history`
///
/// # Errors
/// `not-found`, `unknown-parameter`, `bad-cursor`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    perform(&call.server, &call.access, &call.key()?, &parameters).await
}

/// `GET [base]/[type]/_history`
///
/// # Errors
/// `unknown-type`, `unknown-parameter`, `bad-cursor`
pub async fn handle_type(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let scope = HistoryScope::Type(call.resource_type()?);
    page(&call.server, &call.access, scope, &parameters).await
}

/// `GET [base]/_history`
///
/// # Errors
/// `unknown-parameter`, `bad-cursor`
pub async fn handle_system(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    page(
        &call.server,
        &call.access,
        HistoryScope::System,
        &parameters,
    )
    .await
}

/// What a history request asks for.
struct Asked {
    count: usize,
    since: Option<(Instant, String)>,
    cursor: Option<String>,
}

/// The history of one resource; also of a deleted one.
///
/// # Errors
/// `not-found`, `unknown-parameter`, `bad-cursor`
pub async fn perform(
    server: &Server,
    access: &Access,
    key: &ResourceKey,
    parameters: &[(String, String)],
) -> Result<Answer, Problem> {
    page(
        server,
        access,
        HistoryScope::Instance(key.clone()),
        parameters,
    )
    .await
}

/// A page of history.
async fn page(
    server: &Server,
    access: &Access,
    scope: HistoryScope,
    parameters: &[(String, String)],
) -> Result<Answer, Problem> {
    let (path, interaction) = match &scope {
        HistoryScope::Instance(key) => {
            access.permit(Act::Read, key.resource_type)?;
            (format!("{key}/_history"), Interaction::HistoryInstance)
        }
        HistoryScope::Type(resource_type) => {
            access.permit(Act::Read, *resource_type)?;
            (
                format!("{}/_history", resource_type.name()),
                Interaction::HistoryType,
            )
        }
        HistoryScope::System => ("_history".to_owned(), Interaction::HistorySystem),
    };
    if scope_key(&scope).is_none() && matches!(access.grants, Grants::Compartment(_)) {
        let text = "this access sees one compartment only; ask for the history of a resource in it";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    let asked = read_parameters(server, parameters)?;
    let mut search = format!("{path}?_count={}", asked.count);
    if let Some((_, since)) = &asked.since {
        search.push_str("&_since=");
        encode(since, &mut search);
    }
    let after = asked
        .cursor
        .as_deref()
        .map(|token| server.signer.open(&search, token))
        .transpose()?
        .map(Cursor);
    let query = HistoryQuery {
        scope: scope.clone(),
        since: asked.since.as_ref().map(|(since, _)| *since),
        until: None,
        limit: asked.count,
        after,
        total: TotalMode::Accurate,
    };
    let page = server
        .store
        .history(query)
        .await
        .map_err(|e| store_problem(&e))?;
    if let HistoryScope::Instance(key) = &scope
        && page.versions.is_empty()
        && asked.cursor.is_none()
        && asked.since.is_none()
    {
        return Err(not_found(key));
    }
    server.reads.push(audit::record(
        access,
        interaction,
        'R',
        scope_key(&scope).map(|key| (key, None)),
    ));
    let url = format!("{}/{search}", server.base_url);
    let next = page.next.as_ref().map(|next| {
        format!(
            "{url}&{CURSOR_PARAMETER}={}",
            server.signer.sign(&search, &next.0)
        )
    });
    let mut links = vec![BundleLink {
        relation: "self",
        url: &url,
    }];
    links.extend(next.as_ref().map(|url| BundleLink {
        relation: "next",
        url,
    }));
    let urls: Vec<(String, String)> = page
        .versions
        .iter()
        .map(|stored| {
            (
                format!("{}/{}", server.base_url, stored.key),
                stored.key.to_string(),
            )
        })
        .collect();
    let entries = page
        .versions
        .iter()
        .zip(&urls)
        .map(|(stored, (full_url, request_url))| {
            // How a version came about is not kept; version 1 is the first, whatever the request was.
            let (method, status) = match (stored.deleted, stored.version) {
                (true, _) => ("DELETE", 204),
                (false, VersionId(1)) => ("PUT", 201),
                (false, _) => ("PUT", 200),
            };
            HistoryEntry {
                full_url,
                resource: (!stored.deleted).then_some(&stored.json),
                method,
                url: request_url,
                status,
                version: stored.version,
                updated: stored.updated,
            }
        });
    let mut out = Vec::new();
    response::history(&links, page.total, entries, &mut out);
    Ok(Answer::ok(out))
}

/// The resource a history is about, if it is one.
fn scope_key(scope: &HistoryScope) -> Option<ResourceKey> {
    match scope {
        HistoryScope::Instance(key) => Some(key.clone()),
        HistoryScope::Type(_) | HistoryScope::System => None,
    }
}

/// `_since`: an instant; a date counts from its first moment in UTC.
fn since(text: &str) -> Result<Instant, Problem> {
    let moment = date::parse_search(text).map(|moment| moment.start(Zone::UTC));
    moment.ok_or_else(|| {
        let text = "`_since` must be an instant such as 2026-01-01T00:00:00Z";
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("_since")
    })
}

fn read_parameters(server: &Server, parameters: &[(String, String)]) -> Result<Asked, Problem> {
    let mut asked = Asked {
        count: server.config.page_entries,
        since: None,
        cursor: None,
    };
    for (name, value) in parameters {
        match name.as_str() {
            "_count" => {
                let count: usize = value.parse().map_err(|_| {
                    Problem::new(
                        ErrorKind::BAD_PARAMETER_VALUE,
                        "`_count` must be a whole number",
                    )
                    .at("_count")
                })?;
                asked.count = count.clamp(1, server.config.page_entries_max);
            }
            "_since" => asked.since = Some((since(value)?, value.clone())),
            CURSOR_PARAMETER => asked.cursor = Some(value.clone()),
            "_format" | "_pretty" => {}
            other => {
                let text = "history takes `_count` and `_since`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
    }
    Ok(asked)
}
