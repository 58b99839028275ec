//! The versions of a resource, of a type or of all, newest first.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#history>. Left out: `_list`. `_sort` takes
//! `_lastUpdated` and `-_lastUpdated`, as later releases of FHIR define it.

use fhir_core::access::{Access, Act, Grants};
use fhir_core::datatype::date::{self, Zone};
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::response::{self, BundleLink, HistoryEntry};
use fhir_store::{Cursor, HistoryOrder, HistoryQuery, HistoryScope, TotalMode};

use super::{Answer, not_found};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::{Call, encode_query};
use crate::http::paging::{self, CURSOR_PARAMETER, Trail};
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
    since: Option<Instant>,
    /// `_at`: from the first moment to the one after the last.
    at: Option<(Instant, Instant)>,
    order: HistoryOrder,
    cursor: Option<String>,
    /// The parameters obeyed, but `_count` and the cursor.
    used: Vec<(String, String)>,
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
///
/// # Errors
/// `not-found`, `unknown-parameter`, `bad-cursor`
pub async fn page(
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
    if !asked.used.is_empty() {
        search.push('&');
        search.push_str(&encode_query(&asked.used));
    }
    let trail = match &asked.cursor {
        Some(token) => Trail::parse(&server.signer.open(&search, token)?)?,
        None => Trail::default(),
    };
    let after = trail.current().map(|cursor| Cursor(cursor.to_vec()));
    let query = HistoryQuery {
        scope: scope.clone(),
        since: asked.since,
        until: None,
        at: asked.at,
        order: asked.order,
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
        && asked.at.is_none()
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
    let next = page.next.as_ref().map(|next| next.0.as_slice());
    let links = paging::links(&server.signer, &url, &search, &trail, next);
    let links: Vec<BundleLink<'_>> = links
        .iter()
        .map(|(relation, url)| BundleLink { relation, url })
        .collect();
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

fn bad(name: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`{name}` {text}")).at(name)
}

/// `_since`: an instant; a date counts from its first moment in UTC.
fn since(text: &str) -> Result<Instant, Problem> {
    let moment = date::parse_search(text).map(|moment| moment.start(Zone::UTC));
    moment.ok_or_else(|| bad("_since", "must be an instant such as 2026-01-01T00:00:00Z"))
}

/// `_at`: a moment, or all of a day, month or year.
fn at(text: &str) -> Result<(Instant, Instant), Problem> {
    let moment = date::parse_search(text).map(|moment| moment.range(Zone::UTC));
    let range = moment.ok_or_else(|| {
        bad(
            "_at",
            "must be a time or date such as 2026-01-01T00:00:00Z or 2026-01",
        )
    })?;
    Ok((Instant(range.start), Instant(range.end)))
}

fn read_parameters(server: &Server, parameters: &[(String, String)]) -> Result<Asked, Problem> {
    let mut asked = Asked {
        count: server.config.page_entries,
        since: None,
        at: None,
        order: HistoryOrder::NewestFirst,
        cursor: None,
        used: Vec::new(),
    };
    for (name, value) in parameters {
        match name.as_str() {
            "_count" => {
                let count = value.parse::<usize>();
                let count = count.map_err(|_| bad("_count", "must be a whole number"))?;
                asked.count = count.clamp(1, server.config.page_entries_max);
                continue;
            }
            "_since" => asked.since = Some(since(value)?),
            "_at" => asked.at = Some(at(value)?),
            "_sort" => {
                asked.order = match value.as_str() {
                    "-_lastUpdated" => HistoryOrder::NewestFirst,
                    "_lastUpdated" => HistoryOrder::OldestFirst,
                    _ => return Err(bad("_sort", "is `_lastUpdated` or `-_lastUpdated` here")),
                };
            }
            CURSOR_PARAMETER => {
                asked.cursor = Some(value.clone());
                continue;
            }
            "_format" | "_pretty" => continue,
            other => {
                let text =
                    "history takes `_count`, `_since`, `_at` and `_sort`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
        asked.used.push((name.clone(), value.clone()));
    }
    Ok(asked)
}
