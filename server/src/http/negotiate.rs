//! Which form a body has and which the client takes: JSON or XML.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#mime-type>, RFC 9110 §12.5.1. Left out: RDF (Turtle), which is refused by name.

use fhir_core::issue::{ErrorKind, Problem};

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://hl7.org/fhir/R4/json.html>
    Json,
    /// The same with line breaks and indentation, for people (`_pretty=true`).
    PrettyJson,
    /// <https://hl7.org/fhir/R4/xml.html>
    Xml,
}

impl Format {
    /// The media type of an answer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => FHIR_JSON,
            Self::Xml => "application/fhir+xml; charset=utf-8",
        }
    }

    /// The format a media type or a short name of `_format` means; a `+` in a query arrives as a space from clients
    /// that do not escape it.
    fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "json"
            | "application/json"
            | "application/fhir+json"
            | "application/fhir json"
            | "text/json" => Some(Self::Json),
            "xml"
            | "application/xml"
            | "application/fhir+xml"
            | "application/fhir xml"
            | "text/xml" => Some(Self::Xml),
            _ => None,
        }
    }
}

/// The media type of a FHIR answer in JSON.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// The FHIR versions this server speaks, as the media type parameter `fhirVersion` names them.
const FHIR_VERSIONS: [&str; 2] = ["4.0", "4.0.1"];

/// Thousandths of a quality value that says "no preference".
const QUALITY_MAX: u16 = 1_000;

/// The form to answer in: `_format` decides when given, else `Accept`; JSON when both are as welcome.
///
/// # Errors
/// `not-acceptable`
pub fn accepted(format: Option<&str>, accept: Option<&str>) -> Result<Format, Problem> {
    let found = match (format, accept) {
        (Some(format), _) => {
            let (name, parameters) = format.split_once(';').unwrap_or((format, ""));
            Format::named(name).filter(|_| is_our_version(parameters))
        }
        (None, Some(accept)) if !accept.trim().is_empty() => {
            let json = accept
                .split(',')
                .map(|range| quality(range, Format::Json))
                .max();
            let xml = accept
                .split(',')
                .map(|range| quality(range, Format::Xml))
                .max();
            match (json.unwrap_or(0), xml.unwrap_or(0)) {
                (0, 0) => None,
                (json, xml) if xml > json => Some(Format::Xml),
                _ => Some(Format::Json),
            }
        }
        (None, _) => Some(Format::Json),
    };
    found.ok_or_else(|| {
        let text = "this server answers in `application/fhir+json` or `application/fhir+xml` of FHIR 4.0; change `Accept` or `_format`";
        Problem::new(ErrorKind::NOT_ACCEPTABLE, text)
    })
}

/// How welcome a form is by one range of `Accept`, in thousandths; 0 is not at all.
fn quality(range: &str, format: Format) -> u16 {
    let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let is_wildcard = matches!(media_type.as_str(), "*/*" | "application/*" | "text/*");
    if !(is_wildcard || Format::named(&media_type) == Some(format)) || !is_our_version(parameters) {
        return 0;
    }
    let stated = parameters
        .split(';')
        .find_map(|p| p.trim().strip_prefix("q="));
    stated.map_or(QUALITY_MAX, thousandths)
}

/// `0.9` as 900. What is no quality value counts as none stated.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse::<u16>()) {
        ("0", Ok(thousandths)) => thousandths,
        _ => QUALITY_MAX,
    }
}

/// The form of a body. No `Content-Type` is taken as JSON.
///
/// # Errors
/// `unsupported-media-type`
pub fn sent(content_type: Option<&str>) -> Result<Format, Problem> {
    let Some(content_type) = content_type else {
        return Ok(Format::Json);
    };
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let is_utf8 = parameters
        .split(';')
        .filter_map(|p| p.trim().split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .all(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    let format = Format::named(media_type)
        .filter(|_| media_type.contains('/') && is_utf8 && is_our_version(parameters));
    format.ok_or_else(|| {
        let text = "send the body as `application/fhir+json` or `application/fhir+xml` of FHIR 4.0 in UTF-8";
        Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text)
    })
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
    use super::Format::{Json, Xml};
    use super::*;

    #[test]
    fn the_client_chooses_the_form() {
        for (format, accept, expected) in [
            (None, None, Some(Json)),
            (None, Some(""), Some(Json)),
            (None, Some("*/*"), Some(Json)),
            (None, Some("application/fhir+json"), Some(Json)),
            (
                None,
                Some("application/fhir+json; fhirVersion=4.0"),
                Some(Json),
            ),
            (None, Some("application/fhir+json; fhirVersion=3.0"), None),
            (None, Some("application/fhir+xml"), Some(Xml)),
            (None, Some("text/xml"), Some(Xml)),
            (
                None,
                Some("application/fhir+xml, application/json;q=0.9"),
                Some(Xml),
            ),
            (
                None,
                Some("application/fhir+xml;q=0.5, application/json"),
                Some(Json),
            ),
            (
                None,
                Some("application/fhir+json, application/fhir+xml"),
                Some(Json),
            ),
            (None, Some("application/json;q=0"), None),
            (None, Some("application/json;q=0.000"), None),
            (None, Some("text/turtle"), None),
            (
                None,
                Some("text/html,application/xhtml+xml,*/*;q=0.8"),
                Some(Json),
            ),
            (Some("json"), Some("application/fhir+xml"), Some(Json)),
            (Some("application/fhir json"), None, Some(Json)),
            (Some("xml"), Some("application/json"), Some(Xml)),
            (Some("ttl"), None, None),
        ] {
            assert_eq!(
                accepted(format, accept).ok(),
                expected,
                "{format:?} {accept:?}"
            );
        }
        assert_eq!(accepted(Some("ttl"), None).unwrap_err().status(), 406);
    }

    #[test]
    fn bodies_must_be_fhir_in_utf8() {
        for (content_type, expected) in [
            (None, Some(Json)),
            (Some("application/fhir+json"), Some(Json)),
            (Some("application/json; charset=UTF-8"), Some(Json)),
            (Some("application/json; charset=iso-8859-1"), None),
            (Some("application/fhir+json; fhirVersion=4.0"), Some(Json)),
            (Some("application/fhir+json; fhirVersion=5.0"), None),
            (Some("application/fhir+xml"), Some(Xml)),
            (Some("json"), None),
            (Some("text/plain"), None),
        ] {
            assert_eq!(sent(content_type).ok(), expected, "{content_type:?}");
        }
        assert_eq!(sent(Some("text/plain")).unwrap_err().status(), 415);
    }
}
