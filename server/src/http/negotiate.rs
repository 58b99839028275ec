//! Which form a body has and which the client takes: JSON, here.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#mime-type>. Left out: XML and RDF, which are refused by name.

use fhir_core::issue::{ErrorKind, Problem};

/// The media type of every FHIR answer.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// What `_format` may say for JSON; a `+` in a query arrives as a space from clients that do not escape it.
const FORMATS: [&str; 5] = [
    "json",
    "application/json",
    "application/fhir+json",
    "application/fhir json",
    "text/json",
];

/// The FHIR versions this server speaks, as the media type parameter `fhirVersion` names them.
const FHIR_VERSIONS: [&str; 2] = ["4.0", "4.0.1"];

/// Whether the client takes JSON: `_format` decides when given, else `Accept`.
///
/// # Errors
/// `not-acceptable`
pub fn check_accept(format: Option<&str>, accept: Option<&str>) -> Result<(), Problem> {
    let is_fine = match (format, accept) {
        (Some(format), _) => {
            let (media_type, parameters) = format.split_once(';').unwrap_or((format, ""));
            FORMATS.contains(&media_type.trim().to_ascii_lowercase().as_str())
                && is_our_version(parameters)
        }
        (None, None) => true,
        (None, Some(accept)) => accept.trim().is_empty() || accept.split(',').any(accepts_json),
    };
    if is_fine {
        return Ok(());
    }
    let text = "this server answers in `application/fhir+json` of FHIR 4.0 only; change `Accept` or `_format`";
    Err(Problem::new(ErrorKind::NOT_ACCEPTABLE, text))
}

fn accepts_json(range: &str) -> bool {
    let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
    let is_json = matches!(
        media_type.trim().to_ascii_lowercase().as_str(),
        "*/*"
            | "application/*"
            | "application/fhir+json"
            | "application/json"
            | "text/json"
            | "text/*"
    );
    // `q=0`, `q=0.0` … mean "not this".
    let is_refused = parameters
        .split(';')
        .filter_map(|p| p.trim().strip_prefix("q="))
        .any(|q| q.starts_with('0') && q.bytes().all(|b| b == b'0' || b == b'.'));
    is_json && !is_refused && is_our_version(parameters)
}

/// Whether the body may be read as JSON. No `Content-Type` is taken as JSON.
///
/// # Errors
/// `unsupported-media-type`
pub fn check_content_type(content_type: Option<&str>) -> Result<(), Problem> {
    let Some(content_type) = content_type else {
        return Ok(());
    };
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let is_json = matches!(
        media_type.trim().to_ascii_lowercase().as_str(),
        "application/fhir+json" | "application/json" | "text/json"
    );
    let is_utf8 = parameters
        .split(';')
        .filter_map(|p| p.trim().split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .all(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    if is_json && is_utf8 && is_our_version(parameters) {
        return Ok(());
    }
    let text = "send the body as `application/fhir+json` of FHIR 4.0 in UTF-8";
    Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text))
}

fn is_our_version(parameters: &str) -> bool {
    parameters
        .split(';')
        .filter_map(|p| p.trim().split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("fhirVersion"))
        .all(|(_, value)| FHIR_VERSIONS.contains(&value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_in_all_its_names() {
        for (format, accept, fine) in [
            (None, None, true),
            (None, Some("*/*"), true),
            (None, Some("application/fhir+json"), true),
            (None, Some("application/fhir+json; fhirVersion=4.0"), true),
            (None, Some("application/fhir+json; fhirVersion=3.0"), false),
            (None, Some("application/fhir+xml"), false),
            (
                None,
                Some("application/fhir+xml, application/json;q=0.9"),
                true,
            ),
            (None, Some("application/json;q=0"), false),
            (
                None,
                Some("text/html,application/xhtml+xml,*/*;q=0.8"),
                true,
            ),
            (Some("json"), Some("application/fhir+xml"), true),
            (Some("application/fhir json"), None, true),
            (Some("xml"), Some("application/json"), false),
            (Some("ttl"), None, false),
        ] {
            assert_eq!(
                check_accept(format, accept).is_ok(),
                fine,
                "{format:?} {accept:?}"
            );
        }
        assert_eq!(check_accept(Some("xml"), None).unwrap_err().status(), 406);
    }

    #[test]
    fn bodies_must_be_json_in_utf8() {
        for (content_type, fine) in [
            (None, true),
            (Some("application/fhir+json"), true),
            (Some("application/json; charset=UTF-8"), true),
            (Some("application/json; charset=iso-8859-1"), false),
            (Some("application/fhir+json; fhirVersion=4.0"), true),
            (Some("application/fhir+json; fhirVersion=5.0"), false),
            (Some("application/fhir+xml"), false),
            (Some("text/plain"), false),
        ] {
            assert_eq!(
                check_content_type(content_type).is_ok(),
                fine,
                "{content_type:?}"
            );
        }
        assert_eq!(
            check_content_type(Some("text/plain")).unwrap_err().status(),
            415
        );
    }
}
