//! One request as the interactions see it: who asks, for what, with which headers, parameters and body.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::{Decompress, Payload};
use actix_web::http::header::{self, HeaderName};
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::{Access, Channel};
use fhir_core::ids::{ResourceId, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_core::xml;
use futures_util::StreamExt;

use super::negotiate::{self, Format};
use super::prefer::{Handling, Prefer};
use crate::app::Server;

/// Longest query string or form read, in bytes: room for a few thousand ids.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// Parameters of one request at most.
pub const PARAMETERS_MAX: usize = 1_000;

/// Encodings of bodies that are undone.
const ENCODINGS: [&str; 5] = ["gzip", "br", "zstd", "deflate", "identity"];

/// The agent that the audit trail names for requests without a login.
pub const OPEN_AGENT: &str = "open";

/// The body of a patch.
pub enum PatchBody {
    /// JSON Patch.
    Json(Value),
    /// FHIRPath Patch, a Parameters resource.
    FhirPath(Value),
}

/// One request.
pub struct Call {
    /// The server it came to.
    pub server: Arc<Server>,
    /// What it may do.
    pub access: Access,
    request: HttpRequest,
    payload: Payload,
}

impl FromRequest for Call {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let Some(server) = request.app_data::<web::Data<Server>>() else {
            return ready(Err(actix_web::error::ErrorInternalServerError(
                "the server's state is missing",
            )));
        };
        ready(Ok(Self {
            server: Arc::clone(server),
            access: Access::full(OPEN_AGENT, Channel::Rest),
            request: request.clone(),
            payload: payload.take(),
        }))
    }
}

impl Call {
    /// A header, if it is there and readable.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// A FHIR header that HTTP does not define, by its lower case name.
    pub fn fhir_header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// What the client prefers.
    pub fn prefer(&self) -> Prefer {
        let headers = self.request.headers().get_all("prefer");
        Prefer::parse(headers.filter_map(|value| value.to_str().ok()))
    }

    /// The request's method and path, for error texts.
    pub fn request(&self) -> &HttpRequest {
        &self.request
    }

    /// The resource type of the URL.
    ///
    /// # Errors
    /// `unknown-type`
    pub fn resource_type(&self) -> Result<ResourceTypeId, Problem> {
        let name = self.request.match_info().query("type");
        Definitions::r4().resource_type(name).ok_or_else(|| {
            Problem::new(
                ErrorKind::UNKNOWN_TYPE,
                "the URL names no resource type of FHIR R4; names are case-sensitive",
            )
        })
    }

    /// The resource type of a compartment's URL, its last part.
    ///
    /// # Errors
    /// `no-route`
    pub fn member_type(&self) -> Result<ResourceTypeId, Problem> {
        let name = self.request.match_info().query("member");
        Definitions::r4().resource_type(name).ok_or_else(|| {
            let text =
                "the URL's last part is neither a resource type nor an operation of this server";
            Problem::new(ErrorKind::NO_ROUTE, text)
        })
    }

    /// The resource the URL names.
    ///
    /// # Errors
    /// `unknown-type`, `bad-id`
    pub fn key(&self) -> Result<ResourceKey, Problem> {
        let resource_type = self.resource_type()?;
        let id = ResourceId::parse(self.request.match_info().query("id")).ok_or_else(|| {
            Problem::new(
                ErrorKind::BAD_ID,
                "a logical id has 1 to 64 characters of A-Z a-z 0-9 - .",
            )
        })?;
        Ok(ResourceKey { resource_type, id })
    }

    /// The version the URL names; `None` for one that cannot exist.
    pub fn version(&self) -> Option<VersionId> {
        VersionId::parse(self.request.match_info().query("version"))
    }

    /// The query as sent, without the question mark.
    pub fn query_text(&self) -> &str {
        self.request.query_string()
    }

    /// The parameters of the query, decoded, in order.
    ///
    /// # Errors
    /// `too-costly` when there are too many or they are too long
    pub fn query(&self) -> Result<Vec<(String, String)>, Problem> {
        parse_query(self.request.query_string())
    }

    /// Refuses parameters of the query that the interaction does not know; a client that asks for lenience has them left
    /// out. `_format` and `_pretty` are known everywhere.
    ///
    /// # Errors
    /// `unknown-parameter`, naming it
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let query = self.request.query_string();
        if query.is_empty() || self.prefer().handling == Handling::Lenient {
            return Ok(());
        }
        only(&parse_query(query)?, known)
    }

    /// The form the client wants its answer in.
    ///
    /// # Errors
    /// `not-acceptable`
    pub fn accepted(&self) -> Result<Format, Problem> {
        let query = self.request.query_string();
        let (mut format, mut is_pretty) = (None, false);
        if query.contains("_format=") || query.contains("_pretty=") {
            for (name, value) in parse_query(query)? {
                match name.as_str() {
                    "_format" => format = format.or(Some(value)),
                    "_pretty" => is_pretty = value == "true",
                    _ => {}
                }
            }
        }
        let accepted = negotiate::accepted(format.as_deref(), self.header(header::ACCEPT))?;
        Ok(match accepted {
            Format::Json if is_pretty => Format::PrettyJson,
            other => other,
        })
    }

    /// The body as a JSON document; XML is read into one.
    ///
    /// # Errors
    /// `unsupported-media-type`, `too-large`, `bad-json` with line and column, `bad-xml` with line or element
    pub async fn json(&mut self) -> Result<Document, Problem> {
        let format = negotiate::sent(self.header(header::CONTENT_TYPE))?;
        let bytes = self.body(self.server.config.body_bytes_max).await?;
        if bytes.is_empty() {
            return Err(Problem::new(
                ErrorKind::BAD_JSON,
                "the body is empty; send a resource",
            ));
        }
        match format {
            Format::Json | Format::PrettyJson => parse_json(bytes),
            Format::Xml => parse_xml(&bytes),
        }
    }

    /// The body as it came.
    ///
    /// # Errors
    /// `too-large`
    pub async fn bytes(&mut self) -> Result<Bytes, Problem> {
        self.body(self.server.config.body_bytes_max).await
    }

    /// The body as a patch, of the kind its media type says.
    ///
    /// # Errors
    /// `unsupported-media-type`, `too-large`, `bad-json` with line and column
    pub async fn patch(&mut self) -> Result<PatchBody, Problem> {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_json_patch = media_type.eq_ignore_ascii_case("application/json-patch+json");
        let is_parameters = negotiate::sent(Some(content_type)).ok();
        if !is_json_patch && is_parameters.is_none() {
            let text = "send a patch as `application/json-patch+json` (JSON Patch) or `application/fhir+json` (Parameters)";
            return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let bytes = self.body(self.server.config.body_bytes_max).await?;
        let document = match is_parameters {
            Some(Format::Xml) => parse_xml(&bytes)?,
            _ => parse_json(bytes)?,
        };
        let value = document.root().to_value();
        Ok(if is_json_patch {
            PatchBody::Json(value)
        } else {
            PatchBody::FhirPath(value)
        })
    }

    /// The body as an HL7 v2 message.
    ///
    /// # Errors
    /// `unsupported-media-type`, `too-large`
    pub async fn hl7v2(&mut self) -> Result<Bytes, Problem> {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_known = [
            "x-application/hl7-v2+er7",
            "application/hl7-v2",
            "text/plain",
        ]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known));
        if !is_known {
            let text = "send the message as `x-application/hl7-v2+er7`";
            return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
        }
        self.body(self.server.config.body_bytes_max).await
    }

    /// The parameters of a form body, decoded, in order.
    ///
    /// # Errors
    /// `unsupported-media-type`, `too-large`, `too-costly`
    pub async fn form(&mut self) -> Result<Vec<(String, String)>, Problem> {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let bytes = self.body(QUERY_BYTES_MAX).await?;
        if !is_form && !bytes.is_empty() {
            let text = "send search parameters as `application/x-www-form-urlencoded`";
            return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "the form is not UTF-8"))?;
        parse_query(text)
    }

    async fn body(&mut self, bytes_max: usize) -> Result<Bytes, Problem> {
        let too_large = || {
            Problem::new(
                ErrorKind::TOO_LARGE,
                format!("the body is longer than {bytes_max} bytes, the limit here"),
            )
        };
        let declared = self
            .header(header::CONTENT_LENGTH)
            .and_then(|text| text.parse::<usize>().ok());
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(too_large());
        }
        let is_encoded = self
            .request
            .headers()
            .contains_key(header::CONTENT_ENCODING);
        let encoding = self
            .header(header::CONTENT_ENCODING)
            .unwrap_or("identity")
            .trim()
            .to_ascii_lowercase();
        if !ENCODINGS.contains(&encoding.as_str()) {
            let text = format!("a body may be encoded as {}", ENCODINGS.join(", "));
            return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let payload = std::mem::replace(&mut self.payload, Payload::None);
        let mut body = BytesMut::new();
        let mut add = |chunk: Result<Bytes, actix_web::error::PayloadError>| {
            let chunk = chunk.map_err(|_| {
                Problem::new(
                    ErrorKind::BAD_JSON,
                    "the body broke off or its `Content-Encoding` cannot be undone",
                )
            })?;
            if body.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
            Ok(())
        };
        if is_encoded {
            // The limit counts what comes out, so that a small body cannot unfold into a huge one.
            let mut chunks = Decompress::from_headers(payload, self.request.headers());
            while let Some(chunk) = chunks.next().await {
                add(chunk)?;
            }
        } else {
            let mut chunks = payload;
            while let Some(chunk) = chunks.next().await {
                add(chunk)?;
            }
        }
        Ok(body.freeze())
    }
}

/// Parses a body; the error names line and column.
///
/// # Errors
/// `bad-json`
pub fn parse_json(bytes: Bytes) -> Result<Document, Problem> {
    let bytes: Vec<u8> = bytes.into();
    let parsed = match String::from_utf8(bytes) {
        // A byte order mark is stripped by the slower way.
        Ok(text) if !text.starts_with('\u{feff}') => Document::parse_text(text),
        Ok(text) => Document::parse(text.as_bytes()),
        Err(e) => Document::parse(e.as_bytes()),
    };
    parsed.map_err(|e| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("the body is not JSON that can be read: {e}"),
        )
    })
}

/// Reads an XML body into a JSON document.
///
/// # Errors
/// `bad-xml`
pub fn parse_xml(bytes: &[u8]) -> Result<Document, Problem> {
    let refuse = |why: &str| {
        Problem::new(
            ErrorKind::BAD_XML,
            format!("the body is not FHIR XML: {why}"),
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
    let value = xml::read(text).map_err(|e| refuse(&e.what).at(e.place))?;
    Document::parse(&value.to_bytes()).map_err(|e| refuse(&e.to_string()))
}

/// Decodes `a=b&c=d`, order and repeats kept.
///
/// # Errors
/// `too-costly`, `bad-parameter-value`
pub fn parse_query(text: &str) -> Result<Vec<(String, String)>, Problem> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(Problem::new(
            ErrorKind::TOO_COSTLY,
            format!("the query is longer than {QUERY_BYTES_MAX} bytes"),
        ));
    }
    let mut parameters = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if parameters.len() >= PARAMETERS_MAX {
            return Err(Problem::new(
                ErrorKind::TOO_COSTLY,
                format!("more than {PARAMETERS_MAX} parameters"),
            ));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.push((decode(name)?, decode(value)?));
    }
    Ok(parameters)
}

/// Undoes percent encoding and `+`.
fn decode(text: &str) -> Result<String, Problem> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Ok(text.to_owned());
    }
    let refuse = |why: &str| {
        Problem::new(
            ErrorKind::BAD_PARAMETER_VALUE,
            format!("the query cannot be decoded: {why}"),
        )
    };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| {
                    b.and_then(|b| char::from(b).to_digit(16))
                        .and_then(|d| u8::try_from(d).ok())
                };
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => out.push(high << 4 | low),
                    _ => return Err(refuse("`%` must be followed by two hexadecimal digits")),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| refuse("it is not UTF-8"))
}

/// Refuses parameters that are not `known`, `_format` or `_pretty`.
///
/// # Errors
/// `unknown-parameter`, naming it
pub fn only(parameters: &[(String, String)], known: &[&str]) -> Result<(), Problem> {
    let is_known = |name: &str| known.contains(&name) || matches!(name, "_format" | "_pretty");
    let Some((name, _)) = parameters.iter().find(|(name, _)| !is_known(name)) else {
        return Ok(());
    };
    let names: Vec<&str> = known
        .iter()
        .copied()
        .chain(["_format", "_pretty"])
        .collect();
    let text = format!(
        "this interaction has no parameter `{name}`; it has: {}",
        names.join(", ")
    );
    Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name))
}

/// Encodes one name or value for a query. What FHIR uses as delimiters stays readable.
pub fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b','
            | b'$'
            | b'*'
            | b'@' => {
                out.push(char::from(byte));
            }
            other => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                for nibble in [other >> 4, other & 15] {
                    out.push(
                        DIGITS
                            .get(usize::from(nibble))
                            .copied()
                            .map_or('0', char::from),
                    );
                }
            }
        }
    }
}

/// The query text of parameters.
pub fn encode_query(parameters: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_keep_order_and_repeats() {
        let parameters = parse_query("a=1&b=x%7Cy+z&a=2&&c").unwrap();
        let expected = [("a", "1"), ("b", "x|y z"), ("a", "2"), ("c", "")];
        assert_eq!(
            parameters,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        assert_eq!(encode_query(&parameters), "a=1&b=x%7Cy%20z&a=2&c=");
        assert_eq!(parse_query(&encode_query(&parameters)).unwrap(), parameters);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(
                parse_query(text).unwrap_err().kind(),
                ErrorKind::BAD_PARAMETER_VALUE,
                "{text}"
            );
        }
        assert!(parse_query(&"a=1&".repeat(PARAMETERS_MAX + 1)).is_err());
        assert!(parse_query(&"a".repeat(QUERY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_bad_body_is_refused_with_its_place() {
        let problem = parse_json(Bytes::from_static(b"{\n  \"a\": 01}")).unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::BAD_JSON);
        assert!(problem.to_string().contains("line 2, column"), "{problem}");
        assert!(parse_json(Bytes::from_static(b"\xEF\xBB\xBF{}")).is_ok());
        assert!(parse_json(Bytes::from_static(b"{\"a\":\"\xff\"}")).is_err());
    }
}
