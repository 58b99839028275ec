//! The versions of a resource, newest first.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#history>. Left out: history of a type and of the whole system, `_at`, `_list`.

use fhir_core::access::{Access, Act};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::response::{self, BundleLink, HistoryEntry};
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
    let after = asked
        .cursor
        .as_deref()
        .map(|token| server.signer.open(&search, token))
        .transpose()?
        .map(Cursor);
    let query = HistoryQuery {
        scope: HistoryScope::Instance(key.clone()),
        since: None,
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
    if page.versions.is_empty() && asked.cursor.is_none() {
        return Err(not_found(key));
    }
    server.reads.push(audit::record(
        access,
        Interaction::HistoryInstance,
        'R',
        Some((key.clone(), None)),
    ));
    let url = format!("{}/{search}", server.base_url);
    let next = page.next.as_ref().map(|next| {
        format!(
            "{url}?_count={}&{CURSOR_PARAMETER}={}",
            asked.count,
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
    let full_url = format!("{}/{key}", server.base_url);
    let request_url = key.to_string();
    let entries = page.versions.iter().map(|stored| {
        // How a version came about is not kept; version 1 is the first, whatever the request was.
        let (method, status) = match (stored.deleted, stored.version) {
            (true, _) => ("DELETE", 204),
            (false, VersionId(1)) => ("PUT", 201),
            (false, _) => ("PUT", 200),
        };
        HistoryEntry {
            full_url: &full_url,
            resource: (!stored.deleted).then_some(&stored.json),
            method,
            url: &request_url,
            status,
            version: stored.version,
            updated: stored.updated,
        }
    });
    let mut out = Vec::new();
    response::history(&links, page.total, entries, &mut out);
    Ok(Answer::ok(out))
}

fn read_parameters(server: &Server, parameters: &[(String, String)]) -> Result<Asked, Problem> {
    let mut asked = Asked {
        count: server.config.page_entries,
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
