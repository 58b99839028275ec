//! Which web pages may call the API from a browser.
//!
//! Spec: <https://fetch.spec.whatwg.org/#http-cors-protocol>, <https://hl7.org/fhir/R4/http.html#summary>. Without a setting only pages
//! of this machine may, since an open server on a loopback address must not be read by any page a user happens to visit.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};

/// Seconds a browser may remember the answer to a preflight request.
const MAX_AGE_SECONDS: &str = "600";

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Request headers of FHIR clients.
const REQUEST_HEADERS: &str = "Accept, Authorization, Content-Type, Content-Encoding, If-Match, If-None-Match, \
     If-Modified-Since, If-None-Exist, Prefer, X-Request-Id, Origin";

/// Response headers that scripts may read.
const RESPONSE_HEADERS: &str =
    "Content-Location, ETag, Last-Modified, Location, Retry-After, X-Progress, X-Request-Id";

/// The origins allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// None.
    Off,
    /// Those of this machine, whatever the port.
    Loopback,
    /// All.
    Any,
    /// These.
    Listed(Vec<String>),
}

impl Origins {
    /// Reads the setting.
    pub fn of(setting: Option<&str>) -> Self {
        match setting.map(str::trim) {
            None => Self::Loopback,
            Some("off") => Self::Off,
            Some("*") => Self::Any,
            Some(list) => Self::Listed(
                list.split(',')
                    .map(|origin| origin.trim().trim_end_matches('/').to_owned())
                    .filter(|origin| !origin.is_empty())
                    .collect(),
            ),
        }
    }

    /// Whether pages of this origin may call.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|listed| listed == origin),
            Self::Loopback => {
                let host = origin
                    .strip_prefix("http://")
                    .or_else(|| origin.strip_prefix("https://"))
                    .unwrap_or_default();
                let name = match host.strip_prefix("[::1]") {
                    Some("") => "localhost",
                    Some(port) if port.starts_with(':') => "localhost",
                    Some(_) => "",
                    None => host.split(':').next().unwrap_or_default(),
                };
                matches!(name, "localhost" | "127.0.0.1")
            }
        }
    }
}

/// Answers preflight requests, and tells browsers which answers a page may read.
///
/// # Errors
/// Those of what it surrounds.
pub async fn around<B: MessageBody + 'static>(
    origins: Origins,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let is_allowed = origin.to_str().is_ok_and(|origin| origins.allow(origin));
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        let mut response = HttpResponse::NoContent().finish();
        if is_allowed {
            let headers = response.headers_mut();
            set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                REQUEST_HEADERS,
            );
            set(headers, header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
        }
        request.into_response(response).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if is_allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(
            headers,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            RESPONSE_HEADERS,
        );
    }
    Ok(response)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_machines_are_kept_out_unless_named() {
        let listed = Some("https://app.example.org/, https://b.example.org");
        for (setting, origin, expected) in [
            (None, "http://localhost:3000", true),
            (None, "https://127.0.0.1", true),
            (None, "http://[::1]:8080", true),
            (None, "http://localhost.example.org", false),
            (None, "http://127.0.0.1.example.org", false),
            (None, "https://example.org", false),
            (None, "null", false),
            (Some("off"), "http://localhost", false),
            (Some("*"), "https://example.org", true),
            (listed, "https://app.example.org", true),
            (listed, "https://other.example.org", false),
        ] {
            let allowed = Origins::of(setting).allow(origin);
            assert_eq!(allowed, expected, "{setting:?} {origin}");
        }
    }
}
