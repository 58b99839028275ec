//! What goes back: resources with their headers, Bundles, and every error as an OperationOutcome.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html>, <https://hl7.org/fhir/R4/operationoutcome.html>. The only file that renders
//! errors.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use fhir_core::ids::{Instant, VersionId};
use fhir_core::issue::{ErrorKind, Issue, Problem, operation_outcome};
use fhir_core::json::{self, Document};
use fhir_core::versioning::{etag, http_date};
use fhir_core::xml;

use super::negotiate::Format;
use crate::interactions::Answer;

/// Seconds after which a client should try again when the server had no room: a group commit takes milliseconds,
/// a full disk longer.
const RETRY_AFTER_SECONDS: &str = "1";

/// The response header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer with a FHIR body.
pub fn fhir(status: StatusCode, body: Bytes, format: Format) -> HttpResponse {
    match format {
        Format::Json => builder(status, format).body(body),
        Format::PrettyJson => builder(status, format).body(json::pretty(&body)),
        Format::Xml => match to_xml(&body) {
            Ok(xml) => builder(status, format).body(xml),
            Err(error) => {
                tracing::error!(%error, "a resource cannot be written as XML");
                let text = format!("the answer cannot be written as XML: {error}; ask for JSON");
                let issues = Problem::new(ErrorKind::NOT_ACCEPTABLE, text).issues;
                outcome(StatusCode::NOT_ACCEPTABLE, &issues, Format::Json)
            }
        },
    }
}

/// JSON as XML; the error names the element.
fn to_xml(json: &[u8]) -> Result<Vec<u8>, String> {
    let document = Document::parse(json).map_err(|e| e.to_string())?;
    let mut out = Vec::with_capacity(json.len() * 2);
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    xml::write(document.root(), &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// What an interaction answered.
pub fn answer(answer: &Answer, format: Format) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if answer.body.is_empty() {
        empty(status)
    } else if let Some(media_type) = &answer.media_type {
        let mut response = HttpResponse::build(status).body(answer.body.clone());
        set(&mut response, header::CONTENT_TYPE, media_type);
        // Whatever was stored is shown as what it says it is, never guessed at by a browser.
        set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    } else {
        fhir(status, answer.body.clone(), format)
    };
    if let Some((version, updated)) = answer.version {
        stamp(&mut response, version, updated);
    }
    if let Some(location) = &answer.location {
        set(&mut response, header::LOCATION, location);
    }
    if let Some(progress) = &answer.progress {
        set(
            &mut response,
            HeaderName::from_static("x-progress"),
            progress,
        );
        set(&mut response, header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if let Some(location) = &answer.content_location {
        set(&mut response, header::CONTENT_LOCATION, location);
    }
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> HttpResponse {
    HttpResponse::new(status)
}

fn builder(status: StatusCode, format: Format) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    let media_type = HeaderValue::from_static(format.media_type());
    builder.insert_header((header::CONTENT_TYPE, media_type));
    builder
}

/// Adds `ETag` and `Last-Modified` of a version.
pub fn stamp(response: &mut HttpResponse, version: VersionId, updated: Instant) {
    set(response, header::ETAG, &etag(version));
    set(response, header::LAST_MODIFIED, &http_date(updated));
}

/// Sets one header; a value HTTP cannot carry is left out.
pub fn set(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An OperationOutcome with these issues.
pub fn outcome(status: StatusCode, issues: &[Issue], format: Format) -> HttpResponse {
    fhir(status, operation_outcome(issues).to_bytes().into(), format)
}

/// The answer to a failed request.
pub fn problem(problem: &Problem, format: Format) -> HttpResponse {
    let status =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = outcome(status, &problem.issues, format);
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        set(&mut response, header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overloaded_server_says_when_to_come_back() {
        let response = problem(
            &Problem::new(ErrorKind::OVERLOADED, "the write queue is full"),
            Format::Json,
        );
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        assert_eq!(
            response.headers().get("content-type").unwrap(),
            Format::Json.media_type()
        );
    }
}
