//! The server's own audit trail as FHIR AuditEvents, newest first.
//!
//! Spec: <https://hl7.org/fhir/R4/auditevent.html>. An operation of its own, `GET [base]/AuditEvent/$trail`, because clients may
//! store AuditEvents of their own: what the server saw itself must never mix with what it was told. Parameters:
//! `entity=Type/id`, `agent=name`, `_count`, and the cursor of paging links. Left out: `date` and `action`.

use fhir_core::access::{Access, Act};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{AuditQuery, AuditRow};

use super::Answer;
use crate::app::{Server, store_problem};
use crate::http::call::{Call, encode_query};
use crate::http::paging::CURSOR_PARAMETER;

/// `GET [base]/AuditEvent/$trail`
///
/// # Errors
/// `unknown-parameter`, `bad-parameter-value`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    perform(&call.server, &call.access, &parameters).await
}

/// A page of the trail. Reads of the last second may not be in it yet; writes always are.
///
/// # Errors
/// `unknown-parameter`, `bad-parameter-value`
pub async fn perform(
    server: &Server,
    access: &Access,
    parameters: &[(String, String)],
) -> Result<Answer, Problem> {
    if let Some(audit_event) = conformance::Definitions::r4().resource_type("AuditEvent") {
        access.permit(Act::Search, audit_event)?;
    }
    let query = read_parameters(server, parameters)?;
    let count = query.limit;
    let page = server
        .store
        .audit_page(query)
        .await
        .map_err(|e| store_problem(&e))?;
    let url = format!("{}/AuditEvent/$trail", server.base_url);
    let mut shown: Vec<(String, String)> = parameters
        .iter()
        .filter(|(name, _)| name == "entity" || name == "agent")
        .cloned()
        .collect();
    shown.push(("_count".to_owned(), count.to_string()));
    let link = |relation: &str, parameters: &[(String, String)]| {
        let url = format!("{url}?{}", encode_query(parameters));
        Value::object([
            ("relation", Value::from(relation)),
            ("url", Value::from(url.as_str())),
        ])
    };
    let mut links = vec![link("self", &shown)];
    if let Some(next) = page.next {
        shown.push((CURSOR_PARAMETER.to_owned(), next.to_string()));
        links.push(link("next", &shown));
    }
    let entries = page
        .rows
        .iter()
        .map(|row| entry(server, row))
        .collect::<Vec<_>>();
    let mut members = vec![
        ("resourceType", Value::from("Bundle")),
        ("type", Value::from("searchset")),
        ("link", Value::Array(links)),
    ];
    if !entries.is_empty() {
        members.push(("entry", Value::Array(entries)));
    }
    Ok(Answer::ok(Value::object(members).to_bytes()))
}

fn read_parameters(
    server: &Server,
    parameters: &[(String, String)],
) -> Result<AuditQuery, Problem> {
    let mut query = AuditQuery {
        limit: server.config.page_entries,
        ..AuditQuery::default()
    };
    for (name, value) in parameters {
        let refuse =
            |text: &str| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name.as_str());
        match name.as_str() {
            "entity" => {
                let key = ResourceKey::parse(value)
                    .ok_or_else(|| refuse("`entity` must be `Type/id`"))?;
                query.entity = Some(key);
            }
            "agent" => query.agent = Some(value.clone()),
            "_count" => {
                let count: usize = value
                    .parse()
                    .map_err(|_| refuse("`_count` must be a whole number"))?;
                query.limit = count.clamp(1, server.config.page_entries_max);
            }
            CURSOR_PARAMETER => {
                query.before = Some(
                    value
                        .parse()
                        .map_err(|_| refuse("the paging link is damaged"))?,
                );
            }
            "_format" | "_pretty" => {}
            other => {
                let text = "the trail takes `entity`, `agent` and `_count`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
    }
    Ok(query)
}

fn entry(server: &Server, row: &AuditRow) -> Value {
    let id = format!("trail-{}", row.seq);
    Value::object([
        (
            "fullUrl",
            Value::from(format!("urn:stoker:audit:{}", row.seq).as_str()),
        ),
        ("resource", audit_event(server, row, &id)),
        ("search", Value::object([("mode", Value::from("match"))])),
    ])
}

/// One row as an AuditEvent.
pub fn audit_event(server: &Server, row: &AuditRow, id: &str) -> Value {
    let coding = |system: &str, code: &str| {
        Value::object([("system", Value::from(system)), ("code", Value::from(code))])
    };
    let agent = Value::object([
        (
            "who",
            Value::object([("display", Value::from(row.agent.as_str()))]),
        ),
        ("requestor", Value::Bool(true)),
        (
            "policy",
            Value::Array(vec![Value::from(
                format!("urn:stoker:channel:{}", row.channel).as_str(),
            )]),
        ),
    ]);
    let rest = coding(
        "http://terminology.hl7.org/CodeSystem/audit-event-type",
        "rest",
    );
    let mut members = vec![
        ("resourceType", Value::from("AuditEvent")),
        ("id", Value::from(id)),
        ("type", rest),
        (
            "subtype",
            Value::Array(vec![coding(
                "http://hl7.org/fhir/restful-interaction",
                &row.interaction,
            )]),
        ),
    ];
    if let Some(action) = fhir_typed::audit::action(row.action) {
        members.push(("action", Value::from(action.as_str())));
    }
    members.push(("recorded", Value::from(row.at.to_fhir().as_str())));
    if let Some(outcome) = fhir_typed::audit::outcome(row.outcome) {
        members.push(("outcome", Value::from(outcome.as_str())));
    }
    members.push(("agent", Value::Array(vec![agent])));
    let observer = Value::object([("display", Value::from(server.base_url.as_str()))]);
    members.push(("source", Value::object([("observer", observer)])));
    if let Some((key, version)) = &row.entity {
        members.push((
            "entity",
            Value::Array(vec![entity(key, *version, row.detail.as_deref())]),
        ));
    } else if let Some(detail) = &row.detail {
        let query = Value::object([("description", Value::from(detail.as_str()))]);
        members.push(("entity", Value::Array(vec![query])));
    }
    Value::object(members)
}

fn entity(key: &ResourceKey, version: Option<VersionId>, detail: Option<&str>) -> Value {
    let reference = match version {
        Some(version) => format!("{key}/_history/{version}"),
        None => key.to_string(),
    };
    let mut members = vec![(
        "what",
        Value::object([("reference", Value::from(reference.as_str()))]),
    )];
    if let Some(detail) = detail {
        members.push(("description", Value::from(detail)));
    }
    Value::object(members)
}
