//! `GET /ingest/{source}/stream`: a websocket on which each message is a payload, answered when it is durably stored.
//!
//! Guide: `docs/guide/devices.md`. Payloads are stored side by side up to a window and answered in their order; while the
//! window is full nothing more is read from the connection, so that a sender cannot run ahead of the disk.
//!
//! Left out: compression of messages, which sampled data hardly gains from.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Session};
use bytes::Bytes;
use device::ingest::{Ingest, Payload};
use device::meeting::Reason;
use fhir_core::issue::Problem;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use serde_json::{Value, json};
use tokio::time;

use super::commit::{self, waits};
use super::http::{describe, source_of};
use super::token;
use crate::app::Server;
use crate::http::negotiate::Format;
use crate::http::reply;
use crate::live::socket::check_origin;

/// Payloads stored side by side: enough to share the commits, few enough to bound what is in memory.
const WINDOW: usize = 32;
/// Longest message, in bytes: an hour of a dense device has a few hundred kB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Streams open at a time.
const STREAMS_MAX: usize = 2_000;
/// Longest wait for a sender to take an answer, in seconds.
const SEND_SECONDS_MAX: u64 = 30;
/// Seconds between pings; a sender that has not answered by the next one is gone.
const PING_SECONDS: u64 = 30;

/// `GET /ingest/{source}/stream`
#[utoipa::path(
    get,
    path = "/ingest/{source}/stream",
    tag = "devices",
    params(("source" = String, Path, description = "Name of a device source or of a payload mapping")),
    responses(
        (status = 101, description = "A websocket: each message is a payload; each answer names it by its number, from 1"),
        (status = 401, description = "No device token, or not a valid one"),
        (status = 404, description = "No such source"),
        (status = 429, description = "Too many streams are open")
    )
)]
pub async fn handle(
    server: web::Data<Server>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    let server = server.into_inner();
    match open(&server, &request, &path, payload).await {
        Ok(response) => response,
        Err(problem) => reply::problem(&problem, Format::Json),
    }
}

async fn open(
    server: &Arc<Server>,
    request: &HttpRequest,
    source: &str,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    use fhir_core::issue::ErrorKind;
    check_origin(server, request)?;
    let token = token::device_of(server, request).await?;
    let ingest = source_of(server, source)?;
    let sender = match &token {
        Some(token) => format!("token:{}", token.name),
        None => "websocket".to_owned(),
    };
    let template = Payload {
        raw: Bytes::new(),
        sender,
        received_us: 0,
        device: token.map(|token| token.device),
    };
    if !server.live.ingests.enter(STREAMS_MAX) {
        let text = format!("{STREAMS_MAX} streams are open already, the limit here");
        return Err(Problem::new(ErrorKind::OVERLOADED, text));
    }
    let opened = actix_ws::handle(request, payload);
    let (response, session, stream) = opened.map_err(|error| {
        server.live.ingests.leave();
        let text = format!("this URL takes websockets only: {error}");
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
    })?;
    let intake = Intake {
        server: Arc::clone(server),
        ingest,
        template,
        session,
    };
    let seat = Arc::clone(server);
    actix_web::rt::spawn(async move {
        intake.run(stream).await;
        seat.live.ingests.leave();
    });
    Ok(response)
}

struct Intake {
    server: Arc<Server>,
    ingest: Arc<Ingest>,
    template: Payload,
    session: Session,
}

impl Intake {
    async fn run(mut self, stream: actix_ws::MessageStream) {
        let mut stream = stream
            .max_frame_size(MESSAGE_BYTES_MAX)
            .aggregate_continuations()
            .max_continuation_size(MESSAGE_BYTES_MAX);
        let mut stopping = self.server.live.stopping();
        let mut storing: FuturesOrdered<LocalBoxFuture<'static, Value>> = FuturesOrdered::new();
        let mut pings = time::interval(Duration::from_secs(PING_SECONDS));
        pings.tick().await;
        let (mut number, mut is_alive) = (0_u64, true);
        let reason = loop {
            if *stopping.borrow() {
                break Some("the server is stopping");
            }
            tokio::select! {
                Some(answer) = storing.next(), if !storing.is_empty() => {
                    if !self.say(&answer).await { return; }
                }
                // With the window full the connection is not read: the sender waits.
                message = stream.next(), if storing.len() < WINDOW => match message {
                    Some(Ok(AggregatedMessage::Text(text))) => {
                        number += 1;
                        storing.push_back(self.store(number, text.into_bytes()));
                    }
                    Some(Ok(AggregatedMessage::Binary(bytes))) => {
                        number += 1;
                        storing.push_back(self.store(number, bytes));
                    }
                    Some(Ok(AggregatedMessage::Ping(bytes))) => {
                        if self.session.pong(&bytes).await.is_err() { return; }
                    }
                    Some(Ok(AggregatedMessage::Pong(_))) => is_alive = true,
                    Some(Ok(AggregatedMessage::Close(_))) | None => break None,
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a stream of device data broke off");
                        break Some("the message cannot be read, or is too long");
                    }
                },
                _ = pings.tick() => {
                    // While the window is full its pongs are not read either.
                    if !is_alive && storing.len() < WINDOW { return; }
                    is_alive = false;
                    if self.session.ping(b"").await.is_err() { return; }
                }
                _ = stopping.changed() => {}
            }
        };
        // What was taken is stored and answered.
        while let Some(answer) = storing.next().await {
            if !self.say(&answer).await {
                return;
            }
        }
        let close = reason.map(|why| CloseReason {
            code: CloseCode::Away,
            description: Some(why.to_owned()),
        });
        let closing = self.session.close(close);
        let _ = time::timeout(Duration::from_secs(SEND_SECONDS_MAX), closing).await;
    }

    async fn say(&mut self, answer: &Value) -> bool {
        let sending = self.session.text(answer.to_string());
        matches!(
            time::timeout(Duration::from_secs(SEND_SECONDS_MAX), sending).await,
            Ok(Ok(()))
        )
    }

    /// Stores one payload; the answer says what became of it.
    fn store(&self, number: u64, raw: Bytes) -> LocalBoxFuture<'static, Value> {
        let server = Arc::clone(&self.server);
        let ingest = Arc::clone(&self.ingest);
        let payload = Payload {
            raw,
            received_us: (server.clock)().0,
            ..self.template.clone()
        };
        Box::pin(async move {
            match commit::take(&server, ingest, payload, Reason::Received).await {
                Ok(taken) => {
                    let mut answer = describe(&taken);
                    let is_waiting = taken.results.iter().any(waits);
                    let status = match (&taken.refused, is_waiting) {
                        (Some(_), _) => "quarantined",
                        (None, true) => "stored-in-part",
                        (None, false) => "stored",
                    };
                    if let Some(map) = answer.as_object_mut() {
                        map.insert("number".to_owned(), number.into());
                        map.insert("status".to_owned(), status.into());
                    }
                    answer
                }
                Err(error) => {
                    let problem = commit::problem_of(&error);
                    json!({"number": number, "status": "not-stored", "reason": problem.to_string()})
                }
            }
        })
    }
}
