//! `/admin/quarantine` and `/admin/device-tokens`: what waits, why, and what to do with it.
//!
//! Guide: `docs/guide/devices.md`. Left out: editing a payload; its mapping or its device's data are mended instead.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use device::ingest::{MEDIA_TYPE, Payload};
use device::meeting::Reason;
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{DeviceToken, Message, MessageState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::commit::{self, waits};
use super::{http, token};
use crate::app::{Server, store_problem};
use crate::http::negotiate::Format;
use crate::http::reply;

/// Payloads of one page.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;
/// Longest name of a token and longest identifier of a device, in characters.
const NAME_CHARS_MAX: usize = 200;

/// Which page.
#[derive(Debug, Deserialize)]
pub struct Page {
    before: Option<i64>,
    count: Option<usize>,
}

/// The routes under `/admin`.
pub fn routes(urls: &mut web::ServiceConfig) {
    urls.route("/ingest/{source}", web::post().to(http::handle))
        .route(
            "/ingest/{source}/stream",
            web::get().to(super::stream::handle),
        )
        .route("/admin/quarantine", web::get().to(list))
        .route("/admin/quarantine/{id}", web::get().to(one))
        .route("/admin/quarantine/{id}", web::delete().to(set_aside))
        .route("/admin/quarantine/{id}/raw", web::get().to(raw))
        .route("/admin/quarantine/{id}/replay", web::post().to(replay))
        .route("/admin/device-tokens", web::get().to(tokens))
        .route("/admin/device-tokens", web::post().to(add_token))
        .route("/admin/device-tokens/{name}", web::delete().to(revoke));
}

fn answer(result: Result<HttpResponse, Problem>) -> HttpResponse {
    result.unwrap_or_else(|problem| reply::problem(&problem, Format::Json))
}

/// `GET /admin/quarantine`: payloads that wait, newest first.
#[utoipa::path(
    get,
    path = "/admin/quarantine",
    tag = "devices",
    params(
        ("before" = Option<i64>, Query, description = "Only messages with a smaller number: the last of the page before"),
        ("count" = Option<usize>, Query, description = "Messages wanted")
    ),
    responses((status = 200, description = "Messages with their reasons"))
)]
pub async fn list(server: web::Data<Server>, page: web::Query<Page>) -> HttpResponse {
    let count = page.count.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let found = server
        .store
        .quarantine(MEDIA_TYPE, page.before, count)
        .await;
    answer(found.map_err(|e| store_problem(&e)).map(|messages| {
        let next = (messages.len() == count).then(|| messages.last().map(|m| m.id));
        let rows: Vec<Value> = messages.iter().map(row).collect();
        HttpResponse::Ok().json(json!({"messages": rows, "next": next.flatten()}))
    }))
}

fn row(message: &Message) -> Value {
    let log: Value = serde_json::from_str(&message.issues_json).unwrap_or(Value::Null);
    json!({
        "id": message.id,
        "source": message.feed,
        "mapping": message.message_type,
        "sender": message.sender,
        "receivedAt": message.received_at.to_fhir(),
        "bytes": message.raw_bytes,
        "state": if message.state == MessageState::Refused { "refused" } else { "partly" },
        "reason": message.reason,
        "issues": log.get("issues"),
    })
}

/// A payload of a device by its number.
async fn find(server: &Server, id: i64) -> Result<Message, Problem> {
    let found = server.store.message_by_id(id).await;
    let found = found.map_err(|e| store_problem(&e))?;
    found
        .filter(|message| message.media_type == MEDIA_TYPE)
        .ok_or_else(|| Problem::new(ErrorKind::NOT_FOUND, "no device payload has this number"))
}

async fn raw_of(server: &Server, message: &Message) -> Result<bytes::Bytes, Problem> {
    let raw = server.store.message_raw(message.raw_hash).await;
    raw.map_err(|e| store_problem(&e))?
        .ok_or_else(|| Problem::new(ErrorKind::INTERNAL, "the payload's bytes are missing"))
}

/// `GET /admin/quarantine/{id}`
#[utoipa::path(get, path = "/admin/quarantine/{id}", tag = "devices", params(("id" = i64, Path, description = "Number of the message")), responses((status = 200, description = "The message"), (status = 404, description = "No such payload")))]
pub async fn one(server: web::Data<Server>, id: web::Path<i64>) -> HttpResponse {
    let found = find(&server, *id).await;
    answer(found.map(|message| HttpResponse::Ok().json(row(&message))))
}

/// `GET /admin/quarantine/{id}/raw`: the payload byte for byte.
#[utoipa::path(get, path = "/admin/quarantine/{id}/raw", tag = "devices", params(("id" = i64, Path, description = "Number of the message")), responses((status = 200, description = "The bytes as received"), (status = 404, description = "No such payload")))]
pub async fn raw(server: web::Data<Server>, id: web::Path<i64>) -> HttpResponse {
    let found = async {
        let message = find(&server, *id).await?;
        raw_of(&server, &message).await
    };
    answer(found.await.map(|raw| {
        HttpResponse::Ok()
            .content_type("application/octet-stream")
            .insert_header(("X-Content-Type-Options", "nosniff"))
            .body(raw)
    }))
}

/// `POST /admin/quarantine/{id}/replay`: reads the payload once more with the mapping and the devices as they are now.
#[utoipa::path(post, path = "/admin/quarantine/{id}/replay", tag = "devices", params(("id" = i64, Path, description = "Number of the message")), responses((status = 200, description = "What became of every measurement"), (status = 404, description = "No such payload, or its source is gone")))]
pub async fn replay(server: web::Data<Server>, id: web::Path<i64>) -> HttpResponse {
    answer(replayed(&server.into_inner(), *id).await)
}

async fn replayed(server: &Arc<Server>, id: i64) -> Result<HttpResponse, Problem> {
    let message = find(server, id).await?;
    let ingest = http::source_of(server, &message.feed)?;
    let raw = raw_of(server, &message).await?;
    let device = bound_device(server, &message.sender).await?;
    let payload = Payload {
        raw,
        sender: message.sender.clone(),
        // Judged by the time it came: what lay in the future then was wrong then.
        received_us: message.received_at.0,
        device,
    };
    let taken = commit::take(server, ingest, payload, Reason::Replayed).await;
    let taken = taken.map_err(|error| commit::problem_of(&error))?;
    if taken.refused.is_none() && !taken.results.iter().any(waits) {
        let by = taken.message_id.parse().ok();
        let now = (server.clock)();
        let ended = server.store.end_quarantine(id, now, "replayed", by).await;
        ended.map_err(|e| store_problem(&e))?;
    }
    Ok(HttpResponse::Ok().json(http::describe(&taken)))
}

/// The device of the token a payload came with; the sender names the token.
async fn bound_device(server: &Server, sender: &str) -> Result<Option<String>, Problem> {
    let Some(name) = sender.strip_prefix("token:") else {
        return Ok(None);
    };
    let tokens = server.store.device_tokens().await;
    let tokens = tokens.map_err(|e| store_problem(&e))?;
    let found = tokens.into_iter().find(|token| token.name == name);
    found.map(|token| Some(token.device)).ok_or_else(|| {
        Problem::new(
            ErrorKind::NOT_FOUND,
            "the token the payload came with is gone",
        )
    })
}

/// `DELETE /admin/quarantine/{id}`: it waits no more; the payload stays in the message log.
#[utoipa::path(delete, path = "/admin/quarantine/{id}", tag = "devices", params(("id" = i64, Path, description = "Number of the message")), responses((status = 204, description = "Set aside"), (status = 404, description = "No such payload")))]
pub async fn set_aside(server: web::Data<Server>, id: web::Path<i64>) -> HttpResponse {
    let done = async {
        let message = find(&server, *id).await?;
        let now = (server.clock)();
        let ended = server
            .store
            .end_quarantine(message.id, now, "set-aside", None);
        ended.await.map_err(|e| store_problem(&e))
    };
    answer(done.await.map(|_| HttpResponse::NoContent().finish()))
}

/// A token to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: String,
    device: String,
    expires_at: Option<String>,
}

/// `POST /admin/device-tokens`: makes a token and shows it, this once.
#[utoipa::path(post, path = "/admin/device-tokens", tag = "devices", request_body(content = String, description = "`name`, `device` (its identifier as payloads name it), optionally `expires_at` (instant)"), responses((status = 201, description = "The token; it is shown only here"), (status = 409, description = "The name is taken"), (status = 422, description = "Not a name, device or instant")))]
pub async fn add_token(
    server: web::Data<Server>,
    _: HttpRequest,
    new: web::Json<NewToken>,
) -> HttpResponse {
    answer(added(&server, new.into_inner()).await)
}

async fn added(server: &Server, new: NewToken) -> Result<HttpResponse, Problem> {
    let is_short = |text: &str| (1..=NAME_CHARS_MAX).contains(&text.chars().count());
    if !is_short(&new.name) || !is_short(&new.device) {
        let text = format!("`name` and `device` have 1 to {NAME_CHARS_MAX} characters");
        return Err(Problem::new(ErrorKind::BAD_VALUE, text));
    }
    let expires = match &new.expires_at {
        None => None,
        Some(text) => Some(instant(text)?),
    };
    let (secret, hash) = token::draw()?;
    let token = DeviceToken {
        name: new.name.clone(),
        device: new.device.clone(),
        created: (server.clock)(),
        expires,
        revoked: None,
    };
    let added = server.store.add_device_token(hash, token).await;
    if !added.map_err(|e| store_problem(&e))? {
        return Err(Problem::new(
            ErrorKind::WRITE_CONFLICT,
            "a token has this name; choose another, also for a device's next token",
        ));
    }
    Ok(HttpResponse::Created()
        .insert_header(("Cache-Control", "no-store"))
        .json(json!({"name": new.name, "device": new.device, "token": secret})))
}

fn instant(text: &str) -> Result<Instant, Problem> {
    let parsed = fhir_core::datatype::date::parse_instant(text);
    parsed
        .map(|at| at.start(fhir_core::datatype::date::Zone::UTC))
        .ok_or_else(|| {
            Problem::new(
                ErrorKind::BAD_VALUE,
                "`expires_at` is an instant such as 2027-01-01T00:00:00Z",
            )
        })
}

/// `GET /admin/device-tokens`
#[utoipa::path(get, path = "/admin/device-tokens", tag = "devices", responses((status = 200, description = "Tokens by name, without their secrets")))]
pub async fn tokens(server: web::Data<Server>) -> HttpResponse {
    let tokens = server.store.device_tokens().await;
    answer(tokens.map_err(|e| store_problem(&e)).map(|tokens| {
        let rows = tokens.iter().map(|token| {
            json!({
                "name": token.name,
                "device": token.device,
                "createdAt": token.created.to_fhir(),
                "expiresAt": token.expires.map(Instant::to_fhir),
                "revokedAt": token.revoked.map(Instant::to_fhir),
            })
        });
        HttpResponse::Ok().json(json!({"tokens": rows.collect::<Vec<_>>()}))
    }))
}

/// `DELETE /admin/device-tokens/{name}`: the token counts for nothing from now on.
#[utoipa::path(delete, path = "/admin/device-tokens/{name}", tag = "devices", params(("name" = String, Path, description = "The token's name")), responses((status = 204, description = "Revoked"), (status = 404, description = "No token of this name is in force")))]
pub async fn revoke(server: web::Data<Server>, name: web::Path<String>) -> HttpResponse {
    let now = (server.clock)();
    let revoked = server
        .store
        .revoke_device_token(name.into_inner(), now)
        .await;
    answer(match revoked.map_err(|e| store_problem(&e)) {
        Ok(true) => Ok(HttpResponse::NoContent().finish()),
        Ok(false) => Err(Problem::new(
            ErrorKind::NOT_FOUND,
            "no token of this name is in force",
        )),
        Err(problem) => Err(problem),
    })
}
