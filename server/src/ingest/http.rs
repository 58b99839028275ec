//! `POST /ingest/{source}`: a payload of any size and form in, what became of every measurement out.
//!
//! Guide: `docs/guide/devices.md`. Left out: FHIR Bundles, which go to `/fhir`.

use std::io::Write as _;

use actix_web::dev::Decompress;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use device::ingest::{Fate, Ingest, Payload, Reported};
use device::meeting::Reason;
use device::port::Taken;
use fhir_core::issue::{ErrorKind, Problem};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::commit::{self, waits};
use super::feed::Parts;
use super::token;
use crate::app::Server;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Results told one by one in an answer; the rest is counted.
const RESULTS_MAX: usize = 10_000;
/// Parts of one upload at most: 64 GiB of an export.
const PARTS_MAX: usize = 65_536;
/// Bytes of a refused body that are read away to keep the connection; a longer one is cheaper to cut off.
const DISCARD_BYTES_MAX: usize = 64 * 1024;

/// What became of an upload so far.
#[derive(Default)]
struct Report {
    messages: Vec<String>,
    repeats: usize,
    refused: Vec<Value>,
    counts: std::collections::BTreeMap<&'static str, u64>,
    results: Vec<Value>,
    left_out: u64,
    waiting: u64,
    /// Whether only what waits is told one by one.
    is_brief: bool,
}

/// `POST /ingest/{source}`
#[utoipa::path(
    post,
    path = "/ingest/{source}",
    tag = "devices",
    params(
        ("source" = String, Path, description = "Name of a device source or of a payload mapping"),
        ("results" = Option<String>, Query, description = "`waiting`: tell only the measurements that wait one by one; all are counted")
    ),
    request_body(content = String, description = "JSON, NDJSON, CSV or XML as the mapping says; gzip is undone"),
    responses(
        (status = 200, description = "Everything was taken"),
        (status = 207, description = "Some measurements wait in quarantine; `results` says which and why"),
        (status = 401, description = "No device token, or not a valid one"),
        (status = 404, description = "No such source"),
        (status = 422, description = "Nothing could be read; the payload is kept in quarantine"),
        (status = 503, description = "The store takes nothing now; send the payload again")
    )
)]
pub async fn handle(
    server: web::Data<Server>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    let mut payload = payload.into_inner();
    match run(&server.into_inner(), &request, &path, &mut payload).await {
        Ok(response) => response,
        Err(problem) => {
            let mut response = reply::problem(&problem, Format::Json);
            if !discard(&mut payload).await {
                let close = actix_web::http::ConnectionType::Close;
                response.head_mut().set_connection_type(close);
            }
            response
        }
    }
}

/// Reads the rest of a short body away, so that the connection can be used again; answers whether it could.
async fn discard(payload: &mut actix_web::dev::Payload) -> bool {
    let mut bytes = 0;
    while let Some(chunk) = payload.next().await {
        bytes += chunk.map_or(DISCARD_BYTES_MAX, |chunk| chunk.len());
        if bytes >= DISCARD_BYTES_MAX {
            return false;
        }
    }
    true
}

async fn run(
    server: &Arc<Server>,
    request: &HttpRequest,
    source: &str,
    payload: &mut actix_web::dev::Payload,
) -> Result<HttpResponse, Problem> {
    let token = token::device_of(server, request).await?;
    let ingest = source_of(server, source)?;
    let is_brief = match request.query_string() {
        "" | "results=all" => false,
        "results=waiting" => true,
        _ => {
            let text = "`results=waiting` or `results=all` is all that can be asked for";
            return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text));
        }
    };
    let sender = match &token {
        Some(token) => format!("token:{}", token.name),
        None => "http".to_owned(),
    };
    let template = Payload {
        raw: Bytes::new(),
        sender,
        received_us: (server.clock)().0,
        device: token.map(|token| token.device),
    };
    let report = Report {
        is_brief,
        ..Report::default()
    };
    let report = receive(server, &ingest, template, request, payload, report).await?;
    Ok(report.response())
}

/// A source by its name.
///
/// # Errors
/// `no-route` with the names there are
pub fn source_of(server: &Server, name: &str) -> Result<Arc<Ingest>, Problem> {
    let sources = server.sources.get();
    let found = sources.and_then(|sources| sources.get(name));
    found.cloned().ok_or_else(|| {
        let names = sources.map(|sources| sources.names().join(", "));
        let text = format!(
            "no device source or payload mapping of this name; there are: {}",
            names.unwrap_or_default()
        );
        Problem::new(ErrorKind::NO_ROUTE, text)
    })
}

/// Reads the body as it comes and stores it part by part.
async fn receive(
    server: &Arc<Server>,
    ingest: &Arc<Ingest>,
    template: Payload,
    request: &HttpRequest,
    payload: &mut actix_web::dev::Payload,
    mut report: Report,
) -> Result<Report, Problem> {
    let mut unpack = Unpack::default();
    let mut parts = Parts::new(ingest.mapping.input);
    let mut chunks = Decompress::from_headers(payload, request.headers());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(
                ErrorKind::BAD_JSON,
                "the body broke off or its `Content-Encoding` cannot be undone; parts received before are stored, \
                 and sending all again repeats nothing",
            )
        })?;
        for piece in unpack.add(&chunk)?.chunks(super::feed::PART_BYTES) {
            if let Some(part) = parts.add(piece) {
                report.take(server, ingest, &template, part).await?;
            }
            if parts.waiting() > server.config.body_bytes_max {
                let text = format!(
                    "one document is longer than {} bytes, the limit here; send NDJSON, or several documents",
                    server.config.body_bytes_max
                );
                return Err(Problem::new(ErrorKind::TOO_LARGE, text));
            }
        }
    }
    parts.add(&unpack.finish()?);
    if let Some(part) = parts.finish() {
        report.take(server, ingest, &template, part).await?;
    }
    Ok(report)
}

/// Undoes gzip that the body itself is, whatever the headers say.
#[derive(Default)]
struct Unpack {
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    has_begun: bool,
}

impl Unpack {
    fn add(&mut self, chunk: &Bytes) -> Result<Vec<u8>, Problem> {
        if !self.has_begun && !chunk.is_empty() {
            self.has_begun = true;
            if chunk.starts_with(&[0x1f, 0x8b]) {
                self.decoder = Some(MultiGzDecoder::new(Vec::new()));
            }
        }
        match &mut self.decoder {
            None => Ok(chunk.to_vec()),
            Some(decoder) => {
                decoder.write_all(chunk).map_err(|_| broken_gzip())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    fn finish(self) -> Result<Vec<u8>, Problem> {
        match self.decoder {
            None => Ok(Vec::new()),
            Some(decoder) => decoder.finish().map_err(|_| broken_gzip()),
        }
    }
}

fn broken_gzip() -> Problem {
    Problem::new(
        ErrorKind::BAD_JSON,
        "the gzip stream is broken; parts before it are stored",
    )
}

impl Report {
    async fn take(
        &mut self,
        server: &Arc<Server>,
        ingest: &Arc<Ingest>,
        template: &Payload,
        raw: Bytes,
    ) -> Result<(), Problem> {
        if self.messages.len() >= PARTS_MAX {
            let text = format!("the upload has more than {PARTS_MAX} parts; send it in several");
            return Err(Problem::new(ErrorKind::TOO_LARGE, text));
        }
        let payload = Payload {
            raw,
            ..template.clone()
        };
        let taken = commit::take(server, Arc::clone(ingest), payload, Reason::Received).await;
        self.add(&taken.map_err(|error| commit::problem_of(&error))?);
        Ok(())
    }

    fn add(&mut self, taken: &Taken) {
        self.repeats += usize::from(taken.repeat);
        if let Some(reason) = &taken.refused {
            self.refused
                .push(json!({"message": taken.message_id, "reason": reason}));
        }
        for reported in &taken.results {
            *self.counts.entry(reported.fate.code()).or_default() += 1;
            self.waiting += u64::from(waits(reported));
            if self.is_brief && !waits(reported) {
                continue;
            }
            if self.results.len() < RESULTS_MAX {
                self.results.push(result(&taken.message_id, reported));
            } else {
                self.left_out += 1;
            }
        }
        self.messages.push(taken.message_id.clone());
    }

    fn response(self) -> HttpResponse {
        let is_all_refused = self.refused.len() == self.messages.len();
        let mut response = match (is_all_refused, self.waiting + self.refused.len() as u64) {
            (true, _) => HttpResponse::UnprocessableEntity(),
            (false, 0) => HttpResponse::Ok(),
            (false, _) => HttpResponse::MultiStatus(),
        };
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.json(json!({
            "messages": self.messages,
            "repeatedMessages": self.repeats,
            "refused": self.refused,
            "counts": self.counts,
            "results": self.results,
            "resultsLeftOut": self.left_out,
        }))
    }
}

/// What became of what was taken, as JSON.
pub fn describe(taken: &Taken) -> Value {
    let results = taken.results.iter().take(RESULTS_MAX);
    json!({
        "message": taken.message_id,
        "repeat": taken.repeat,
        "refused": taken.refused,
        "results": results.map(|r| result(&taken.message_id, r)).collect::<Vec<_>>(),
    })
}

/// One result: places and reasons, never a value.
fn result(message: &str, reported: &Reported) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("message", message.into());
    put("item", reported.item.into());
    put("pointer", reported.pointer.as_str().into());
    put("rule", reported.rule.as_str().into());
    put("outcome", reported.fate.code().into());
    match &reported.fate {
        Fate::Resource(id) | Fate::Sample(id) => {
            put("reference", format!("Observation/{id}").into());
        }
        Fate::Dropped(reason) => {
            put("reason", reason.as_str().into());
        }
        Fate::Quarantined {
            expression,
            message,
            ..
        } => {
            put("quarantined", true.into());
            put("reason", message.as_str().into());
            if let Some(expression) = expression {
                put("expression", expression.as_str().into());
            }
        }
        Fate::Deleted(_) | Fate::Repeated | Fate::Unmatched => {}
    }
    Value::Object(map)
}
