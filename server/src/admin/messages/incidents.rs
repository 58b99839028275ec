//! Incidents: errors handled step by step, no step skipped, each step recorded for good.
//!
//! The life cycle is that of corrective action in medical-device quality systems (ISO 13485, 8.5.2): open,
//! investigation (root cause), action, verification (effectiveness), closed. A failed verification goes back to
//! investigation.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::Incident;

use super::{Asked, audit, finish, number, time};
use crate::admin::guard::admit;
use crate::app::{Server, store_problem};

/// Incidents of one answer.
const INCIDENTS_MAX: usize = 1_000;
/// Longest text, in characters.
const TEXT_LENGTH_MAX: usize = 4_000;
/// Messages one incident may name.
const MESSAGES_MAX: usize = 1_000;
/// The state of a new incident.
const OPEN: &str = "open";

/// The states an incident may go to.
pub fn next_states(state: &str) -> &'static [&'static str] {
    match state {
        "open" => &["investigation"],
        "investigation" => &["action"],
        "action" => &["verification"],
        "verification" => &["closed", "investigation"],
        _ => &[],
    }
}

/// All incidents, newest first.
#[utoipa::path(get, path = "/admin/incidents", tag = "incidents",
    responses((status = 200, description = "The incidents with their steps", content_type = "application/json"))
)]
pub async fn list(server: web::Data<Server>) -> HttpResponse {
    let work = async {
        let found = server.store.incidents(INCIDENTS_MAX).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let rows = found.iter().map(shown).collect();
        Ok(Value::object([("incidents", Value::Array(rows))]))
    };
    finish(work.await)
}

/// One incident.
#[utoipa::path(get, path = "/admin/incidents/{id}", tag = "incidents",
    params(("id" = i64, Path, description = "Number of the incident")),
    responses((status = 200, description = "The incident", content_type = "application/json"))
)]
pub async fn one(server: web::Data<Server>, path: web::Path<String>) -> HttpResponse {
    let work = async {
        find(&server, number(&path)?)
            .await
            .map(|found| shown(&found))
    };
    finish(work.await)
}

/// Opens an incident.
#[utoipa::path(post, path = "/admin/incidents", tag = "incidents",
    params(
        ("title" = String, Query, description = "What happened, without patient data"),
        ("text" = String, Query, description = "How it was found"),
        ("messages" = Option<String>, Query, description = "Numbers of messages, separated by commas")
    ),
    responses((status = 200, description = "The incident", content_type = "application/json"))
)]
pub async fn open(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let asked = Asked::of(&request, &["title", "text", "messages"])?;
        let title = required(&asked, "title")?;
        let text = required(&asked, "text")?;
        let messages = asked.parsed("messages", "numbers separated by commas", |text| {
            let numbers: Option<Vec<i64>> =
                text.split(',').map(|n| n.trim().parse().ok()).collect();
            numbers.filter(|numbers| numbers.len() <= MESSAGES_MAX)
        })?;
        let record = audit(agent, 'C', "incidents-open", None);
        let id = server.store.open_incident(
            title,
            messages.unwrap_or_default(),
            (OPEN.to_owned(), text),
            record,
        );
        let id = id.await.map_err(|e| store_problem(&e))?;
        find(&server, id).await.map(|found| shown(&found))
    };
    finish(work.await)
}

/// Takes an incident to its next state. `text` is the root cause, the action, or the result of the verification.
#[utoipa::path(post, path = "/admin/incidents/{id}", tag = "incidents",
    params(
        ("id" = i64, Path, description = "Number of the incident"),
        ("state" = String, Query, description = "investigation, action, verification, closed"),
        ("text" = String, Query, description = "What was found or done, without patient data")
    ),
    responses(
        (status = 200, description = "The incident", content_type = "application/json"),
        (status = 409, description = "A step would be skipped; the answer names those that can be taken")
    )
)]
pub async fn step(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let id = number(&path)?;
        let asked = Asked::of(&request, &["state", "text"])?;
        let (state, text) = (required(&asked, "state")?, required(&asked, "text")?);
        let incident = find(&server, id).await?;
        let next = next_states(&incident.state);
        let refuse = || {
            let text = format!(
                "the incident is `{}`; it can go to: {}",
                incident.state,
                next.join(", ")
            );
            Problem::new(ErrorKind::MESSAGE_CONFLICT, text).at("state")
        };
        if !next.contains(&state.as_str()) {
            return Err(refuse());
        }
        let detail = Some(format!("incident {id} to {state}"));
        let record = audit(agent, 'U', "incidents-step", detail);
        let stepped = server
            .store
            .step_incident(id, incident.state.clone(), (state, text), record);
        if !stepped.await.map_err(|e| store_problem(&e))? {
            return Err(refuse());
        }
        find(&server, id).await.map(|found| shown(&found))
    };
    finish(work.await)
}

fn required(asked: &Asked, name: &str) -> Result<String, Problem> {
    let fits = |text: &&str| (1..=TEXT_LENGTH_MAX).contains(&text.chars().count());
    asked
        .text(name)
        .filter(fits)
        .map(str::to_owned)
        .ok_or_else(|| {
            let text = format!("`{name}` is needed, in at most {TEXT_LENGTH_MAX} characters");
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name)
        })
}

async fn find(server: &Server, id: i64) -> Result<Incident, Problem> {
    let found = server.store.incident(id).await;
    found
        .map_err(|e| store_problem(&e))?
        .ok_or_else(|| Problem::new(ErrorKind::NOT_FOUND, "there is no incident of this number"))
}

fn shown(incident: &Incident) -> Value {
    let steps = incident.steps.iter().map(|step| {
        Value::object([
            ("at", time(Some(step.at))),
            ("by", Value::from(step.agent.as_str())),
            ("state", Value::from(step.state.as_str())),
            ("text", Value::from(step.text.as_str())),
        ])
    });
    let next = next_states(&incident.state)
        .iter()
        .map(|state| Value::from(*state));
    let messages = incident.messages.iter().map(|id| Value::from(*id));
    Value::object([
        ("id", Value::from(incident.id)),
        ("title", Value::from(incident.title.as_str())),
        ("state", Value::from(incident.state.as_str())),
        ("next", Value::Array(next.collect())),
        ("openedAt", time(Some(incident.opened_at))),
        ("changedAt", time(Some(incident.changed_at))),
        ("messages", Value::Array(messages.collect())),
        ("steps", Value::Array(steps.collect())),
    ])
}
