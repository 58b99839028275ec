//! What a person does with messages: read again, replace by a corrected copy, set aside.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{MessageFilter, MessageState};

use super::list::{FILTERS, filter, page};
use super::{Asked, audit, finish, number, text};
use crate::admin::guard::admit;
use crate::app::{Server, store_problem};
use crate::messages::replay::{self, Replayed};

/// Longest reason a person may give, in characters.
const REASON_LENGTH_MAX: usize = 1_000;

/// Reads a message again with the mapping and settings of today; with a body, takes that as its corrected copy. Then
/// reads what waited for it.
#[utoipa::path(post, path = "/admin/messages/{id}/replay", tag = "messages",
    params(("id" = i64, Path, description = "Number of the message")),
    request_body(content = Option<String>, content_type = "x-application/hl7-v2+er7", description = "A corrected copy; empty to read the message itself again"),
    responses(
        (status = 200, description = "What became of it, and of those that waited for it", content_type = "application/json"),
        (status = 404, description = "There is no such message, or its feed is gone"),
        (status = 409, description = "The copy is no change")
    )
)]
pub async fn replay(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let id = number(&path)?;
        let server = server.into_inner();
        let (interaction, detail) = if body.is_empty() {
            ("messages-replay", format!("message {id}"))
        } else {
            (
                "messages-correct",
                format!("corrected copy of message {id}"),
            )
        };
        let record = audit(agent, 'U', interaction, Some(detail));
        // Recorded before it is done: a correction nobody signed must not exist.
        let recorded = server.store.record_reads(vec![record]).await;
        recorded.map_err(|_| {
            Problem::new(ErrorKind::UNAVAILABLE, "the audit trail cannot be written")
        })?;
        let done = if body.is_empty() {
            replay::again(&server, id, None).await?
        } else {
            replay::corrected(&server, id, body).await?
        };
        Ok(answer(&done, None))
    };
    finish(work.await)
}

/// Reads a selection again, oldest first; by default those in error. `next` is where to go on, with `after`.
#[utoipa::path(post, path = "/admin/messages/replay", tag = "messages",
    params(
        ("state" = Option<String>, Query, description = "Which state; `error` when left out"),
        ("code" = Option<String>, Query, description = "Only those with an issue of this code, such as `unmapped-code`"),
        ("feed" = Option<String>, Query, description = "Name of the feed"),
        ("after" = Option<i64>, Query, description = "Only greater numbers: `next` of the answer before"),
        ("count" = Option<i64>, Query, description = "Messages of one request")
    ),
    responses((status = 200, description = "What became of each", content_type = "application/json"))
)]
pub async fn replay_many(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let known: Vec<&str> = FILTERS.iter().copied().chain(["after"]).collect();
        let asked = Asked::of(&request, &known)?;
        let wanted = filter(&server, &asked).await?;
        let wanted = MessageFilter {
            state: Some(wanted.state.unwrap_or(MessageState::Refused)),
            after: asked.number("after")?,
            oldest_first: true,
            ..wanted
        };
        let limit = page(&asked)?;
        let server: Arc<Server> = server.into_inner();
        let found = server.store.messages(wanted, limit).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let record = audit(
            agent,
            'U',
            "messages-replay",
            Some(format!("{} messages", found.len())),
        );
        let recorded = server.store.record_reads(vec![record]).await;
        recorded.map_err(|_| {
            Problem::new(ErrorKind::UNAVAILABLE, "the audit trail cannot be written")
        })?;
        let next = found.last().filter(|_| found.len() == limit).map(|m| m.id);
        let mut done: Vec<Replayed> = Vec::new();
        for message in found {
            // One that waited for another of the selection was read with it.
            if !done.iter().any(|replayed| replayed.id == message.id) {
                done.extend(replay::again(&server, message.id, None).await?);
            }
        }
        Ok(answer(&done, next))
    };
    finish(work.await)
}

/// Sets a message aside for good, with a reason; what waited for it goes on.
#[utoipa::path(post, path = "/admin/messages/{id}/discard", tag = "messages",
    params(
        ("id" = i64, Path, description = "Number of the message"),
        ("reason" = String, Query, description = "Why, without patient data")
    ),
    responses(
        (status = 200, description = "Set aside; what waited for it follows", content_type = "application/json"),
        (status = 409, description = "It was carried out: what it made would stay")
    )
)]
pub async fn discard(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let id = number(&path)?;
        let asked = Asked::of(&request, &["reason"])?;
        let reason = asked.text("reason").filter(|reason| !reason.is_empty());
        let Some(reason) = reason.filter(|reason| reason.chars().count() <= REASON_LENGTH_MAX)
        else {
            let text = format!("say why in `reason`, in at most {REASON_LENGTH_MAX} characters");
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("reason"));
        };
        let server = server.into_inner();
        let message = replay::find(&server, id).await?;
        if !matches!(
            message.state,
            MessageState::Refused | MessageState::Parked | MessageState::Received
        ) {
            let text = "only messages in error, parked or received can be set aside; change the resources instead";
            return Err(Problem::new(ErrorKind::MESSAGE_CONFLICT, text));
        }
        let record = audit(
            agent,
            'U',
            "messages-discard",
            Some(format!("message {id}")),
        );
        let set = server.store.set_message_state(
            id,
            MessageState::Discarded,
            Some(reason.to_owned()),
            record,
        );
        set.await.map_err(|e| store_problem(&e))?;
        let mut done = vec![Replayed {
            id,
            state: Some(MessageState::Discarded),
            reason: Some(reason.to_owned()),
        }];
        done.extend(replay::release(&server, id).await?);
        Ok(answer(&done, None))
    };
    finish(work.await)
}

/// What became of messages.
pub fn answer(done: &[Replayed], next: Option<i64>) -> Value {
    let rows = done.iter().map(|replayed| {
        Value::object([
            ("id", Value::from(replayed.id)),
            ("state", text(replayed.state.map(MessageState::code))),
            ("reason", text(replayed.reason.as_deref())),
        ])
    });
    Value::object([
        ("messages", Value::Array(rows.collect())),
        ("next", next.map_or(Value::Null, Value::from)),
    ])
}
