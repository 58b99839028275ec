//! Binary resources as what they hold: bytes of a media type, not wrapped in FHIR.
//!
//! Spec: <https://hl7.org/fhir/R4/binary.html#rest>. A client that names a FHIR type in `Accept` or `_format`, or nothing in
//! particular, gets the resource; one that asks for something else gets the bytes. What is sent with a media type that is
//! not FHIR becomes the content of a Binary.

use actix_web::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use conformance::ResourceTypeId;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};

use super::Answer;
use crate::http::call::Call;
use crate::http::negotiate;

/// Longest `Content-Type` kept, in bytes: the longest registered media types have under 130.
const MEDIA_TYPE_BYTES_MAX: usize = 200;

/// Whether the type is Binary.
pub fn is_binary(resource_type: ResourceTypeId) -> bool {
    resource_type.name() == "Binary"
}

/// Whether the body of a request is content for a Binary and not a resource.
pub fn is_raw(call: &Call, resource_type: ResourceTypeId) -> bool {
    is_binary(resource_type) && negotiate::sent(call.header(header::CONTENT_TYPE)).is_err()
}

/// The body of a request as a Binary.
///
/// # Errors
/// `too-large`; `unsupported-media-type` for a media type that cannot be kept
pub async fn document(call: &mut Call, id: Option<&str>) -> Result<Document, Problem> {
    let media_type = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let is_plain = media_type.contains('/') && media_type.len() <= MEDIA_TYPE_BYTES_MAX;
    if !is_plain {
        let text = "a Binary needs a `Content-Type` such as `application/pdf`";
        return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let media_type = media_type.to_owned();
    let context = call.fhir_header("x-security-context").map(str::to_owned);
    let bytes = call.bytes().await?;
    let mut members = vec![("resourceType", Value::from("Binary"))];
    members.extend(id.map(|id| ("id", Value::from(id))));
    members.push(("contentType", Value::from(media_type.as_str())));
    members.extend(context.map(|reference| {
        let reference = Value::object([("reference", Value::from(reference.as_str()))]);
        ("securityContext", reference)
    }));
    if !bytes.is_empty() {
        members.push(("data", Value::from(STANDARD.encode(&bytes).as_str())));
    }
    Document::parse(&Value::object(members).to_bytes()).map_err(|_| {
        let text = "the `Content-Type` or `X-Security-Context` cannot be kept";
        Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text)
    })
}

/// Whether the client asks for the content itself: a read of a Binary that accepts no FHIR.
pub fn wants_content(call: &Call) -> bool {
    call.accepted().is_err() && is_content_request(call)
}

/// Whether a request reads a Binary in a form chosen by `Accept`.
pub fn is_content_request(call: &Call) -> bool {
    let is_read = matches!(call.request().method().as_str(), "GET" | "HEAD");
    let has_id = call.request().match_info().get("id").is_some();
    let has_format = call.query_text().contains("_format=");
    is_read && has_id && !has_format && call.resource_type().is_ok_and(is_binary)
}

/// The content of a Binary instead of the resource, if the client accepts its media type.
///
/// # Errors
/// `not-acceptable` naming what there is
pub fn content(call: &Call, mut answer: Answer) -> Result<Answer, Problem> {
    if answer.body.is_empty() {
        return Ok(answer);
    }
    let stored = Value::parse(&answer.body).ok();
    let text = |name: &str| {
        stored
            .as_ref()
            .and_then(|binary| binary.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let media_type = text("contentType");
    let accept = call.header(header::ACCEPT).unwrap_or_default();
    if !is_accepted(accept, media_type) {
        let text = "the content of this Binary has another media type than `Accept` names; ask for `*/*` or FHIR";
        return Err(Problem::new(ErrorKind::NOT_ACCEPTABLE, text));
    }
    let mut data = text("data").to_owned();
    data.retain(|c| !c.is_ascii_whitespace());
    let bytes = STANDARD.decode(data).map_err(|_| {
        let text = "`data` is not base64; ask for the resource instead";
        Problem::new(ErrorKind::NOT_ACCEPTABLE, text)
    })?;
    answer.media_type = Some(media_type.to_owned());
    answer.body = Bytes::from(bytes);
    Ok(answer)
}

fn is_accepted(accept: &str, media_type: &str) -> bool {
    let plain = |text: &str| {
        let name = text.split(';').next().unwrap_or_default();
        name.trim().to_ascii_lowercase()
    };
    let media_type = plain(media_type);
    let (group, _) = media_type.split_once('/').unwrap_or((&media_type, ""));
    accept.split(',').map(plain).any(|range| {
        range == "*/*" || range == media_type || range.strip_suffix("/*") == Some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::is_accepted;

    #[test]
    fn the_content_is_given_to_those_who_ask_for_its_type() {
        for (accept, media_type, expected) in [
            ("application/pdf", "application/pdf", true),
            ("image/*", "image/png", true),
            ("text/plain, image/png;q=0.5", "image/png; x=1", true),
            ("*/*", "image/png", true),
            ("text/plain", "image/png", false),
            ("", "image/png", false),
        ] {
            assert_eq!(is_accepted(accept, media_type), expected, "{accept}");
        }
    }
}
