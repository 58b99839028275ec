//! `POST /hl7/{feed}`: one HL7 v2 message in, its acknowledgement out.
//!
//! Content types: `application/hl7-v2` (<https://www.iana.org/assignments/media-types/application/hl7v2>, and the names
//! HL7 tools use), `x-application/hl7-v2+er7`, `text/plain`, `application/octet-stream`.
//!
//! Left out on purpose: several messages in one body, which the reader refuses by name; files take batches.

use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::AckCode;
use adapters::network::is_allowed;
use adapters::pipeline::Answer;
use bytes::BytesMut;
use fhir_core::issue::{ErrorKind, Problem};
use futures_util::StreamExt;

use crate::app::Server;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Media types of a message, without parameters.
const MEDIA_TYPES: [&str; 6] = [
    "application/hl7-v2",
    "application/hl7-v2+er7",
    "x-application/hl7-v2+er7",
    "application/edi-hl7v2",
    "text/plain",
    "application/octet-stream",
];
/// Seconds after which a sender should send again when nothing was stored.
const RETRY_AFTER_SECONDS: &str = "1";

/// Takes one HL7 v2 message. The body of the answer is its acknowledgement, in enhanced mode one after the other.
#[utoipa::path(
    post,
    path = "/hl7/{feed}",
    tag = "hl7-v2",
    params(("feed" = String, Path, description = "Name of a feed with transport `http`")),
    request_body(content = String, content_type = "application/hl7-v2", description = "One message"),
    responses(
        (status = 200, description = "Stored and processed (AA, CA)", body = String, content_type = "application/hl7-v2"),
        (status = 204, description = "Stored; the message asks for no acknowledgement"),
        (status = 403, description = "The peer is not in `allow`"),
        (status = 404, description = "No such feed"),
        (status = 413, description = "Larger than the feed's limit; not stored"),
        (status = 415, description = "No media type of HL7 v2"),
        (status = 422, description = "Kept with the reason, not processed (AE, AR, CE, CR)", body = String, content_type = "application/hl7-v2"),
        (status = 503, description = "Not stored: send again", body = String, content_type = "application/hl7-v2")
    )
)]
pub async fn receive(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    match take(&server, &name, &request, payload).await {
        Ok(response) => response,
        Err(problem) => reply::problem(&problem, Format::Json),
    }
}

async fn take(
    server: &Server,
    name: &str,
    request: &HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (exchange, _) = server.feeds.exchange(name)?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    if !peer.is_some_and(|peer: IpAddr| is_allowed(&exchange.settings().allow, peer)) {
        let text = "this address may not send to this feed; its setting `allow` names who may";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    let media_type = media_type(request)?;
    let max = exchange.settings().frame_bytes_max;
    let mut body = BytesMut::new();
    let mut length = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(
                ErrorKind::BAD_VALUE,
                "the body ended early; send the message again",
            )
        })?;
        length = length.saturating_add(chunk.len());
        if length <= max {
            body.extend_from_slice(&chunk);
        } else if length > max.saturating_mul(2) {
            // Reading on would only cost; a little more lets most senders finish and read the answer.
            break;
        }
    }
    if length > max {
        let answer = exchange.too_large(length, &body);
        return Ok(answered(
            Some(answer),
            Some(StatusCode::PAYLOAD_TOO_LARGE),
            media_type,
        ));
    }
    if body.is_empty() {
        let text = "the body is empty; send one message";
        return Err(Problem::new(ErrorKind::BAD_VALUE, text));
    }
    let answer = exchange.receive(body.freeze()).await;
    Ok(answered(answer, None, media_type))
}

/// The media type of the answer: that of the question.
fn media_type(request: &HttpRequest) -> Result<&'static str, Problem> {
    let refuse = |text: String| Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text);
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(refuse(
            "send the message without Content-Encoding".to_owned(),
        ));
    }
    let given = request.headers().get(header::CONTENT_TYPE);
    let given = given.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    let known = MEDIA_TYPES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(given));
    let known = known.ok_or_else(|| {
        refuse(format!(
            "Content-Type must be one of {}",
            MEDIA_TYPES.join(", ")
        ))
    })?;
    Ok(match known {
        "application/octet-stream" => MEDIA_TYPES[0],
        known => known,
    })
}

fn answered(
    answer: Option<Answer>,
    status: Option<StatusCode>,
    media_type: &'static str,
) -> HttpResponse {
    let (default, acks) = match answer {
        Some(Answer::Kept { code, acks, .. }) => match code {
            AckCode::Accept if acks.is_empty() => (StatusCode::NO_CONTENT, acks),
            AckCode::Accept => (StatusCode::OK, acks),
            AckCode::Error | AckCode::Reject => (StatusCode::UNPROCESSABLE_ENTITY, acks),
        },
        Some(Answer::NotStored(ack)) => {
            (StatusCode::SERVICE_UNAVAILABLE, ack.into_iter().collect())
        }
        // Whether it was stored is not known, so nothing may be said about it but to send it again.
        None => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let status = status.unwrap_or(default);
    let mut response = HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(media_type)))
        .body(acks.concat());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply::set(&mut response, header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}
