//! The versions of a resource, newest first.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#history>. Left out: history of a type and of the whole system, `_at`, `_list`.

use fhir_core::access::{Access, Act};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::response::{self, HistoryEntry, Link};
use fhir_store::{Cursor, HistoryQuery, HistoryScope, TotalMode};

use super::{Answer, not_found};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::Call;
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

/// What a history request asks for.
struct Asked {
    count: usize,
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
    access.permit(Act::Read, key.resource_type)?;
    let asked = read_parameters(server, parameters)?;
    let search = format!("{key}/_history");
    let after = asked.cursor.as_deref().map(|token| server.signer.open(&search, token)).transpose()?.map(Cursor);
    let query = HistoryQuery {
        scope: HistoryScope::Instance(key.clone()),
        since: None,
        until: None,
        limit: asked.count,
        after,
        total: TotalMode::Accurate,
    };
    let page = server.store.history(query).await.map_err(|e| store_problem(&e))?;
    if page.versions.is_empty() && asked.cursor.is_none() {
        return Err(not_found(key));
    }
    server.reads.push(audit::record(access, Interaction::HistoryInstance, 'R', Some((key.clone(), None))));
    let url = format!("{}/{search}", server.base_url);
    let mut links = vec![Link { relation: "self", url: url.clone() }];
    if let Some(next) = &page.next {
        let token = server.signer.sign(&search, &next.0);
        links.push(Link { relation: "next", url: format!("{url}?_count={}&{CURSOR_PARAMETER}={token}", asked.count) });
    }
    let entries = page.versions.iter().map(|stored| HistoryEntry {
        key: &stored.key,
        version: stored.version,
        updated: stored.updated,
        is_deleted: stored.deleted,
        json: &stored.json,
    });
    let entries: Vec<_> = entries.collect();
    Ok(Answer::ok(response::history(&server.base_url, page.total, &links, &entries)))
}

fn read_parameters(server: &Server, parameters: &[(String, String)]) -> Result<Asked, Problem> {
    let mut asked = Asked { count: server.config.page_entries, cursor: None };
    for (name, value) in parameters {
        match name.as_str() {
            "_count" => {
                let count: usize = value.parse().map_err(|_| {
                    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "`_count` must be a whole number").at("_count")
                })?;
                asked.count = count.clamp(1, server.config.page_entries_max);
            }
            CURSOR_PARAMETER => asked.cursor = Some(value.clone()),
            "_format" | "_pretty" => {}
            other => {
                let text = "history takes `_count` here; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
    }
    Ok(asked)
}
