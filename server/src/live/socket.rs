//! `GET /websocket`: subscribers bind to subscriptions and are told of events.
//!
//! Spec: <https://hl7.org/fhir/R4/subscription.html#2.46.7.2> (`bind ID` is answered with `bound ID`, then `ping ID` for
//! each event) and <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/channels.html#websockets> (`bind-with-token TOKEN` is
//! answered with the handshake's Bundle). Left out: `bind` with criteria, which R4 marks as optional.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Session};
use conformance::Definitions;
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::LiveSub;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time;

use super::hub::{BOUND_MAX, Form, Out};
use super::model::{Channel, Content, Spec};
use super::notify::{self, Head};
use crate::app::{Server, store_problem};
use crate::http::cors::Origins;
use crate::http::negotiate::Format;
use crate::http::reply;
use crate::operations::parameters;

/// Longest message of a client, in bytes: a token that names many subscriptions.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Longest wait for a client to take a message, in seconds.
const SEND_SECONDS_MAX: u64 = 30;
/// Seconds between pings; a client that has not answered by the next one is gone.
const PING_SECONDS: u64 = 30;
/// Time a binding token is good for, in microseconds.
pub const TOKEN_US: i64 = 300_000_000;
/// Looks at whether a subscription that was just made active counts already, and milliseconds between them.
const COUNTS_LOOKS_MAX: usize = 100;
const COUNTS_LOOK_MS: u64 = 50;
/// What the signature of a token is bound to.
const TOKEN_PURPOSE: &str = "websocket-binding";

/// A token that lets its holder bind to these subscriptions until a time.
pub fn token(server: &Server, ids: &[String], until: Instant) -> String {
    let text = format!("{}|{}", until.0, ids.join(","));
    server.signer.sign(TOKEN_PURPOSE, text.as_bytes())
}

/// The subscriptions of a token.
fn open_token(server: &Server, token: &str) -> Result<Vec<String>, Problem> {
    let refuse = |text: &str| Problem::new(ErrorKind::UNAUTHENTICATED, text);
    let bytes = server.signer.open(TOKEN_PURPOSE, token);
    let bytes = bytes.map_err(|_| refuse("the token is not one of this server"))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let (until, ids) = text.split_once('|').unwrap_or_default();
    let until = until.parse().unwrap_or(0);
    if Instant(until) <= (server.clock)() {
        return Err(refuse(
            "the token has ended; ask for a new one with $get-ws-binding-token",
        ));
    }
    Ok(ids.split(',').map(str::to_owned).collect())
}

/// Whether a page of this origin may open a websocket: browsers do not ask before, as they do for other requests.
///
/// # Errors
/// `forbidden`
pub fn check_origin(server: &Server, request: &HttpRequest) -> Result<(), Problem> {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let origins = Origins::of(server.config.cors_origins.as_deref());
    let own = server
        .base_url
        .split('/')
        .take(3)
        .collect::<Vec<_>>()
        .join("/");
    let is_allowed = origin
        .to_str()
        .is_ok_and(|origin| origin == own || origins.allow(origin));
    if is_allowed {
        return Ok(());
    }
    let text = "pages of this origin may not open websockets; see `cors_origins`";
    Err(Problem::new(ErrorKind::FORBIDDEN, text))
}

/// `GET /websocket`
#[utoipa::path(get, path = "/websocket", tag = "live", responses(
    (status = 101, description = "A websocket: `bind ID`, `bind-with-token TOKEN`, `unbind ID`"),
    (status = 400, description = "Not a websocket request"),
    (status = 403, description = "A page of a foreign origin"),
    (status = 429, description = "Too many websockets are open")
))]
pub async fn handle(
    server: web::Data<Server>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let server = server.into_inner();
    let opened = check_origin(&server, &request).and_then(|()| {
        actix_ws::handle(&request, payload).map_err(|error| {
            let text = format!("this URL takes websockets only: {error}");
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
        })
    });
    let joined = opened.and_then(|opened| server.live.hub.join().map(|joined| (opened, joined)));
    let ((response, session, stream), (number, queue)) = match joined {
        Ok(both) => both,
        Err(problem) => return reply::problem(&problem, Format::Json),
    };
    let connection = Connection {
        server: Arc::clone(&server),
        session,
        number,
    };
    actix_web::rt::spawn(async move {
        let hub = Arc::clone(&server);
        connection.run(stream, queue).await;
        hub.live.hub.leave(number);
    });
    response
}

struct Connection {
    server: Arc<Server>,
    session: Session,
    number: u64,
}

impl Connection {
    async fn run(mut self, stream: actix_ws::MessageStream, mut queue: mpsc::Receiver<Out>) {
        let mut stream = stream
            .max_frame_size(MESSAGE_BYTES_MAX)
            .aggregate_continuations()
            .max_continuation_size(MESSAGE_BYTES_MAX);
        let mut pings = time::interval(Duration::from_secs(PING_SECONDS));
        pings.tick().await;
        let mut is_alive = true;
        let mut heartbeats = Heartbeats::default();
        let reason = loop {
            let beat = heartbeats.next();
            tokio::select! {
                // What is to be told first: a client that talks a lot must not hold up its own events.
                biased;
                out = queue.recv() => match out {
                    Some(Out::Text(text)) => {
                        heartbeats.sent();
                        if !self.say(&text).await { return; }
                    }
                    Some(Out::Close(why)) => break Some(why.to_string()),
                    None => break Some("too slow".to_owned()),
                },
                message = stream.next() => match message {
                    Some(Ok(AggregatedMessage::Text(text))) => {
                        is_alive = true;
                        if !self.answer(text.trim(), &mut heartbeats).await { return; }
                    }
                    Some(Ok(AggregatedMessage::Ping(bytes))) => {
                        if self.session.pong(&bytes).await.is_err() { return; }
                    }
                    Some(Ok(AggregatedMessage::Pong(_))) => is_alive = true,
                    Some(Ok(AggregatedMessage::Binary(_))) => {
                        if !self.say("error: send text").await { return; }
                    }
                    Some(Ok(AggregatedMessage::Close(_))) | None => break None,
                    Some(Err(error)) => break Some(format!("{error}")),
                },
                _ = pings.tick() => {
                    if !is_alive { return; }
                    is_alive = false;
                    if self.session.ping(b"").await.is_err() { return; }
                },
                () = time::sleep_until(beat) => {
                    for text in heartbeats.due(&self.server).await {
                        if !self.say(&text).await { return; }
                    }
                },
            }
        };
        let close = reason.map(|why| CloseReason {
            code: CloseCode::Policy,
            description: Some(why.chars().take(120).collect()),
        });
        let closing = self.session.close(close);
        let _ = time::timeout(Duration::from_secs(SEND_SECONDS_MAX), closing).await;
    }

    /// Sends a text; false when the client is gone or takes nothing.
    async fn say(&mut self, text: &str) -> bool {
        let sending = self.session.text(text.to_owned());
        matches!(
            time::timeout(Duration::from_secs(SEND_SECONDS_MAX), sending).await,
            Ok(Ok(()))
        )
    }

    /// Answers a client's message; false when the client is gone.
    async fn answer(&mut self, text: &str, heartbeats: &mut Heartbeats) -> bool {
        let (word, rest) = match text.strip_prefix('{') {
            Some(_) => of_json(text),
            None => {
                let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                (
                    word.trim_end_matches(':').to_owned(),
                    rest.trim().to_owned(),
                )
            }
        };
        let done = match word.as_str() {
            "bind" => {
                self.bind(rest.trim_start_matches(':'), Form::Ping, heartbeats)
                    .await
            }
            "bind-with-token" => self.bind_with_token(&rest, heartbeats).await,
            "unbind" => {
                let id = rest.trim_start_matches(':');
                self.server.live.hub.unbind(self.number, id);
                Ok(vec![format!("unbound {id}")])
            }
            "ping" => Ok(vec!["pong".to_owned()]),
            _ => Err(Problem::new(
                ErrorKind::BAD_PARAMETER_VALUE,
                "send `bind ID`, `bind-with-token TOKEN` or `unbind ID`",
            )),
        };
        let texts = done.unwrap_or_else(|problem| vec![format!("error: {problem}")]);
        for text in texts {
            if !self.say(&text).await {
                return false;
            }
        }
        true
    }

    async fn bind(
        &mut self,
        id: &str,
        form: Form,
        heartbeats: &mut Heartbeats,
    ) -> Result<Vec<String>, Problem> {
        let (sub, spec) = find(&self.server, id).await?;
        let spec = Arc::new(spec);
        self.server
            .live
            .hub
            .bind(&self.server, self.number, &sub, Arc::clone(&spec), form)
            .await?;
        if form == Form::Ping {
            return Ok(vec![format!("bound {id}")]);
        }
        let topic = spec.topic();
        // Read again: what came between is counted before the binding.
        let events = find(&self.server, id).await?.0.events;
        let head = Head {
            base: &self.server.base_url,
            id,
            status: "active",
            kind: "handshake",
            events,
            topic: topic.as_deref(),
            error: None,
        };
        let bytes = notify::bundle(&head, &[], Content::Empty, (self.server.clock)());
        heartbeats.add(id, &spec);
        Ok(vec![String::from_utf8_lossy(&bytes).into_owned()])
    }

    async fn bind_with_token(
        &mut self,
        token: &str,
        heartbeats: &mut Heartbeats,
    ) -> Result<Vec<String>, Problem> {
        let ids = open_token(&self.server, token)?;
        let mut all = Vec::new();
        for id in ids.iter().take(BOUND_MAX) {
            all.extend(self.bind(id, Form::Bundle, heartbeats).await?);
        }
        Ok(all)
    }
}

/// `{"type":"bind-with-token","payload":{"token":"…"}}`, as some clients write it.
fn of_json(text: &str) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let get = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (get("/type"), get("/payload/token"))
}

/// An active websocket subscription.
///
/// # Errors
/// `not-found`; `bad-parameter-value` when it is not active or has another channel
pub async fn find(server: &Server, id: &str) -> Result<(LiveSub, Spec), Problem> {
    let not_found = || {
        Problem::new(
            ErrorKind::NOT_FOUND,
            "there is no Subscription with this id",
        )
    };
    let resource_type = Definitions::r4()
        .resource_type("Subscription")
        .ok_or_else(not_found)?;
    let key = ResourceKey {
        resource_type,
        id: ResourceId::parse(id).ok_or_else(not_found)?,
    };
    let stored = server.store.read(&key).await;
    let stored = stored
        .map_err(|e| store_problem(&e))?
        .filter(|stored| !stored.deleted)
        .ok_or_else(not_found)?;
    let spec = Spec::read(parameters::stored(&stored.json)?.root())?;
    let refuse = |text: String| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text);
    if spec.channel != Channel::Socket {
        return Err(refuse("the subscription has another channel".to_owned()));
    }
    let is_active = spec.status == "active";
    let mut sub = None;
    // It is stored as active a moment before it counts.
    for _ in 0..COUNTS_LOOKS_MAX {
        let found = server.store.live_sub(id.to_owned()).await;
        sub = found.map_err(|e| store_problem(&e))?;
        if sub.is_some() || !is_active {
            break;
        }
        time::sleep(Duration::from_millis(COUNTS_LOOK_MS)).await;
    }
    let sub = sub.filter(|_| is_active).ok_or_else(|| {
        let status = if is_active { "requested" } else { &spec.status };
        refuse(format!(
            "the subscription is not active, but `{status}`; try again when it is"
        ))
    })?;
    Ok((sub, spec))
}

/// Heartbeats a connection owes.
#[derive(Default)]
struct Heartbeats {
    all: Vec<(String, Arc<Spec>, Duration, time::Instant)>,
}

/// With no heartbeats there is nothing to wake for.
const NEVER: Duration = Duration::from_secs(3_600);

impl Heartbeats {
    fn add(&mut self, id: &str, spec: &Arc<Spec>) {
        self.all.retain(|(known, ..)| known != id);
        if let Some(seconds) = spec.heartbeat_seconds {
            let every = Duration::from_secs(seconds);
            let at = time::Instant::now() + every;
            self.all.push((id.to_owned(), Arc::clone(spec), every, at));
        }
    }

    fn next(&self) -> time::Instant {
        let first = self.all.iter().map(|(.., at)| *at).min();
        first.unwrap_or_else(|| time::Instant::now() + NEVER)
    }

    /// Something was said: silence begins anew.
    fn sent(&mut self) {
        let now = time::Instant::now();
        for (.., every, at) in &mut self.all {
            *at = now + *every;
        }
    }

    async fn due(&mut self, server: &Server) -> Vec<String> {
        let now = time::Instant::now();
        let mut texts = Vec::new();
        for (id, spec, every, at) in &mut self.all {
            if *at > now {
                continue;
            }
            *at = now + *every;
            let counts = server.store.live_sub(id.clone()).await;
            let Ok(Some(counts)) = counts else { continue };
            let topic = spec.topic();
            let head = Head {
                base: &server.base_url,
                id,
                status: "active",
                kind: "heartbeat",
                events: counts.events,
                topic: topic.as_deref(),
                error: None,
            };
            let bytes = notify::bundle(&head, &[], Content::Empty, (server.clock)());
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        texts
    }
}
