//! What goes back: resources with their headers, Bundles, and every error as an OperationOutcome.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html>, <https://hl7.org/fhir/R4/operationoutcome.html>. The only file that renders
//! errors.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use fhir_core::ids::{Instant, VersionId};
use fhir_core::issue::{Issue, Problem, operation_outcome};
use fhir_core::versioning::{etag, http_date};

use super::negotiate::FHIR_JSON;
use crate::interactions::Answer;

/// Seconds after which a client should try again when the server had no room: a group commit takes milliseconds,
/// a full disk longer.
const RETRY_AFTER_SECONDS: &str = "1";

/// The response header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer with a FHIR body.
pub fn fhir(status: StatusCode, body: Bytes) -> HttpResponse {
    builder(status).body(body)
}

/// What an interaction answered.
pub fn answer(answer: &Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if answer.body.is_empty() {
        empty(status)
    } else {
        fhir(status, answer.body.clone())
    };
    if let Some((version, updated)) = answer.version {
        stamp(&mut response, version, updated);
    }
    if let Some(location) = &answer.location {
        set(&mut response, header::LOCATION, location);
    }
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> HttpResponse {
    HttpResponse::new(status)
}

fn builder(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON)));
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
pub fn outcome(status: StatusCode, issues: &[Issue]) -> HttpResponse {
    fhir(status, operation_outcome(issues).to_bytes().into())
}

/// The answer to a failed request.
pub fn problem(problem: &Problem) -> HttpResponse {
    let status =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = outcome(status, &problem.issues);
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        set(&mut response, header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

#[cfg(test)]
mod tests {
    use fhir_core::issue::ErrorKind;

    use super::*;

    #[test]
    fn an_overloaded_server_says_when_to_come_back() {
        let response = problem(&Problem::new(
            ErrorKind::OVERLOADED,
            "the write queue is full",
        ));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        assert_eq!(response.headers().get("content-type").unwrap(), FHIR_JSON);
    }
}
