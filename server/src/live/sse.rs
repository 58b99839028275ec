//! `GET /live`: changes as server-sent events, for dashboards.
//!
//! Spec: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Each connection reads the log itself when the
//! client takes more, so nothing queues up: of several versions of a resource only the last is told, of too many
//! resources the oldest are dropped, and an event says how many. `Last-Event-ID` goes on where another connection ended.
//!
//! Left out: chains and `_has` see the current state, as everywhere in subscriptions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{LiveOp, Stored};
use tokio::sync::watch;

use super::matcher::{Seen, Test};
use super::model::criteria_of;
use super::socket::check_origin;
use crate::app::{Server, store_problem};
use crate::http::call::parse_query;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Streams open at a time; each looks at the log some times a second.
const STREAMS_MAX: usize = 1_000;
/// Criteria of one stream at most.
const CRITERIA_MAX: usize = 16;
/// Resources told at once at most; older ones are dropped.
const RESOURCES_MAX: usize = 500;
/// Changes read at a time.
const PAGE_CHANGES: usize = 500;
/// Pages looked through before something is told.
const PAGES_MAX: usize = 20;
/// Shortest time between two looks: what changes in it is told as one.
const GATHER_MS: u64 = 100;
/// Longest silence, in seconds: proxies close connections that seem dead.
const SILENCE_SECONDS: u64 = 15;

/// `GET /live`
#[utoipa::path(get, path = "/live", tag = "live",
    params(
        ("criteria" = Vec<String>, Query, description = "What to tell of, such as `Observation?patient=1`; may be repeated"),
        ("content" = Option<String>, Query, description = "`id-only` (default) or `full-resource`"),
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on behind this event")
    ),
    responses(
        (status = 200, description = "`change` events; `dropped` events say how many changes were left out", content_type = "text/event-stream"),
        (status = 400, description = "Criteria that no search takes"),
        (status = 429, description = "Too many streams are open")
    )
)]
pub async fn handle(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let server = server.into_inner();
    match open(&server, &request).await {
        Ok(stream) => HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            // Compression would hold events back.
            .insert_header((header::CONTENT_ENCODING, "identity"))
            .insert_header(("x-accel-buffering", "no"))
            .streaming(futures_util::stream::unfold(stream, Stream::next)),
        Err(problem) => reply::problem(&problem, Format::Json),
    }
}

async fn open(server: &Arc<Server>, request: &HttpRequest) -> Result<Stream, Problem> {
    check_origin(server, request)?;
    let (mut tests, mut is_full) = (Vec::new(), false);
    for (name, value) in parse_query(request.query_string())? {
        match name.as_str() {
            "criteria" => {
                let criteria = criteria_of(&value, "criteria").map_err(|problem| {
                    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, problem.to_string())
                })?;
                tests.push(Test::compile(server, &criteria)?);
            }
            "content" if value == "full-resource" => is_full = true,
            "content" if value == "id-only" => {}
            "content" => {
                let text = "`content` is `id-only` or `full-resource`";
                return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
            }
            "lastEventId" => {}
            _ => {
                let text = "`/live` takes `criteria` and `content`";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name));
            }
        }
    }
    if tests.is_empty() || tests.len() > CRITERIA_MAX {
        let text = format!("give 1 to {CRITERIA_MAX} `criteria`, such as `Observation?patient=1`");
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
    }
    let end = server.store.live_head().await;
    let end = end.map_err(|e| store_problem(&e))?;
    let last = request.headers().get("last-event-id");
    let position = match last.and_then(|id| id.to_str().ok()) {
        None => end,
        // Ahead of the log: of another database.
        Some(id) => id
            .parse::<i64>()
            .ok()
            .filter(|seq| (0..=end).contains(seq))
            .ok_or_else(|| {
                let text = "`Last-Event-ID` is no id of this stream; leave it out to begin now";
                Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
            })?,
    };
    let seat = Seat::take(server)?;
    if tests
        .iter()
        .any(|test| test.resource_type.name() == "Observation")
    {
        let wanted = server.store.live_want_samples(true).await;
        wanted.map_err(|e| store_problem(&e))?;
    }
    server.live.want();
    Ok(Stream {
        seat,
        tests: tests.into(),
        is_full,
        position,
        has_begun: false,
        woken: server.live.watch(),
    })
}

/// A place among the streams, given back when the stream ends.
struct Seat(Arc<Server>);

impl Seat {
    fn take(server: &Arc<Server>) -> Result<Self, Problem> {
        if server.live.streams.enter(STREAMS_MAX) {
            return Ok(Self(Arc::clone(server)));
        }
        let text = format!("{STREAMS_MAX} streams are open already, the limit here");
        Err(Problem::new(ErrorKind::OVERLOADED, text))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.live.streams.leave();
    }
}

struct Stream {
    seat: Seat,
    tests: Arc<[Test]>,
    is_full: bool,
    position: i64,
    has_begun: bool,
    woken: watch::Receiver<u64>,
}

/// The last change of a resource, and how many before it are not told.
struct Latest {
    stored: Stored,
    op: LiveOp,
    skipped: u64,
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        let server = Arc::clone(&self.seat.0);
        if !self.has_begun {
            self.has_begun = true;
            // The client learns at once that it is heard, and where it stands.
            let text = format!(
                "retry: 2000\nid: {}\nevent: open\ndata: {{}}\n\n",
                self.position
            );
            return Some((Ok(text.into()), self));
        }
        let silence = tokio::time::Instant::now() + Duration::from_secs(SILENCE_SECONDS);
        loop {
            if *server.live.stopping().borrow() {
                return None;
            }
            self.woken.mark_unchanged();
            match self.gather(&server).await {
                Ok(text) if !text.is_empty() => return Some((Ok(text.into()), self)),
                Ok(_) => {}
                Err(problem) => {
                    // The client connects again and goes on from its last event.
                    tracing::warn!(%problem, "a stream of changes ends");
                    return None;
                }
            }
            tokio::select! {
                _ = self.woken.changed() => {
                    tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
                }
                () = tokio::time::sleep_until(silence.min(tokio::time::Instant::now() + Duration::from_secs(1))) => {}
            }
            if tokio::time::Instant::now() >= silence {
                return Some((Ok(Bytes::from_static(b": still here\n\n")), self));
            }
        }
    }

    /// Reads what changed since the last time.
    async fn gather(&mut self, server: &Server) -> Result<String, Problem> {
        let mut types: Vec<_> = self.tests.iter().map(|test| test.resource_type).collect();
        types.sort_unstable_by_key(|t| t.0);
        types.dedup();
        let mut latest: HashMap<ResourceKey, Latest> = HashMap::new();
        let mut dropped = 0_u64;
        for _ in 0..PAGES_MAX {
            let page = server
                .store
                .live_changes(Some(types.clone()), self.position, PAGE_CHANGES)
                .await
                .map_err(|e| store_problem(&e))?;
            self.position = page.upto;
            for change in page.changes {
                let Some(op) = self.op_of(server, &change).await? else {
                    continue;
                };
                let skipped = latest
                    .remove(&change.key)
                    .map_or(0, |before| before.skipped + 1);
                let now = Latest {
                    stored: change,
                    op,
                    skipped,
                };
                latest.insert(now.stored.key.clone(), now);
                if latest.len() > RESOURCES_MAX {
                    dropped += drop_oldest(&mut latest);
                }
            }
            if !page.has_more {
                break;
            }
        }
        let mut all: Vec<Latest> = latest.into_values().collect();
        all.sort_by_key(|latest| latest.stored.updated.0);
        let mut text = String::new();
        if dropped > 0 {
            text.push_str(&format!(
                "event: dropped\ndata: {{\"count\":{dropped}}}\n\n"
            ));
        }
        for (index, latest) in all.iter().enumerate() {
            let seq = latest.stored.updated.0;
            // Samples of one commit have one place: only behind the last of them may a client go on.
            let is_last = all
                .get(index + 1)
                .is_none_or(|next| next.stored.updated.0 != seq);
            if is_last {
                text.push_str(&format!("id: {seq}\n"));
            }
            self.write(latest, &mut text);
        }
        Ok(text)
    }

    async fn op_of(&self, server: &Server, change: &Stored) -> Result<Option<LiveOp>, Problem> {
        let mut seen = Seen::new(server, change);
        let focus = match change.deleted {
            true => seen.previous().await?,
            false => Some(change.clone()),
        };
        let Some(focus) = focus else { return Ok(None) };
        for test in self.tests.iter() {
            if test.passes(server, &focus).await? {
                return seen.op().await.map(Some);
            }
        }
        Ok(None)
    }

    fn write(&self, latest: &Latest, text: &mut String) {
        let op = match latest.op {
            LiveOp::Created => "created",
            LiveOp::Updated => "updated",
            LiveOp::Deleted => "deleted",
        };
        let stored = &latest.stored;
        let mut members = vec![
            ("resource", Value::from(stored.key.to_string())),
            ("version", Value::from(stored.version.to_string())),
            ("change", Value::from(op)),
            ("at", Value::from(Instant(stored.updated.0).to_fhir())),
        ];
        if latest.skipped > 0 {
            let skipped = i64::try_from(latest.skipped).unwrap_or(i64::MAX);
            members.push(("skipped", Value::from(skipped)));
        }
        let head = Value::object(members).to_string();
        text.push_str("event: change\ndata: ");
        match self.is_full && !stored.json.is_empty() {
            // Stored text has no line ends, so it is one line of data.
            true => {
                text.push_str(head.trim_end_matches('}'));
                text.push_str(",\"body\":");
                text.push_str(&String::from_utf8_lossy(&stored.json));
                text.push('}');
            }
            false => text.push_str(&head),
        }
        text.push_str("\n\n");
    }
}

/// Drops the resource that changed longest ago; answers how many changes that were.
fn drop_oldest(latest: &mut HashMap<ResourceKey, Latest>) -> u64 {
    let oldest = latest
        .values()
        .min_by_key(|latest| latest.stored.updated.0)
        .map(|latest| latest.stored.key.clone());
    oldest
        .and_then(|key| latest.remove(&key))
        .map_or(0, |latest| latest.skipped + 1)
}
