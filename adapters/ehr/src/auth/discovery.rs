//! Finding the authorization server of a FHIR base.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>; fallback: the `oauth-uris` extension of the
//! CapabilityStatement. Nothing is required that production sites leave out: only the token endpoint must be found.
//! Leaves out OpenID configuration.

use fhir_core::ids::Instant;
use fhir_core::json::{Document, ValueRef};
use reqwest::Url;

use crate::EhrError;
use crate::http::{Answer, Http, Request};
use crate::time;

const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Where tokens come from.
    pub token_endpoint: Url,
    /// Where users log in; absent on backend-only servers.
    pub authorization_endpoint: Option<Url>,
    /// The document's `capabilities`; empty says nothing.
    pub capabilities: Vec<String>,
    /// The server's clock, from the `Date` header.
    pub server_time: Option<Instant>,
    /// `smart-configuration` or `CapabilityStatement`.
    pub found_in: &'static str,
}

/// Asks the well-known document, then the CapabilityStatement.
///
/// # Errors
/// [`EhrError::Discovery`] saying what both answered.
pub async fn discover(
    http: &Http,
    base: &Url,
    headers: &[(String, String)],
) -> Result<Discovery, EhrError> {
    let well_known = fetch(http, base, ".well-known/smart-configuration", headers).await;
    let first = match well_known.and_then(|answer| from_well_known(&answer, base)) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let metadata = fetch(http, base, "metadata", headers).await;
    metadata
        .and_then(|answer| from_capability(&answer, base))
        .map_err(|second| {
            EhrError::Discovery(format!(
                "`.well-known/smart-configuration`: {first}; `metadata`: {second}; or set `token_url`"
            ))
        })
}

/// A document under the FHIR base, JSON asked for explicitly: Epic answers XML otherwise.
///
/// # Errors
/// [`EhrError::Answer`] for another status than 200 or another type than JSON.
pub async fn fetch(
    http: &Http,
    base: &Url,
    path: &str,
    headers: &[(String, String)],
) -> Result<Answer, EhrError> {
    let accept = if path == "metadata" {
        "application/fhir+json"
    } else {
        "application/json"
    };
    let mut request = Request::get(under(base, path)?).header("accept", accept);
    request.headers.extend(headers.iter().cloned());
    let answer = http.send(request).await?;
    if answer.status != 200 || !answer.is_json() {
        return Err(EhrError::Answer(format!(
            "status {}, type `{}`",
            answer.status,
            answer.media_type()
        )));
    }
    Ok(answer)
}

/// `path` below the base, whether or not the base ends in a slash.
///
/// # Errors
/// [`EhrError::Config`] when the base cannot carry a path.
pub fn under(base: &Url, path: &str) -> Result<Url, EhrError> {
    let text = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&text)
        .map_err(|_| EhrError::Config("`fhir_base` cannot be joined with a path".to_owned()))
}

fn from_well_known(answer: &Answer, base: &Url) -> Result<Discovery, EhrError> {
    let document = Document::parse(&answer.body).map_err(|_| not_json())?;
    let root = document.root();
    let address = |name: &str| -> Option<Url> {
        let text = root.get(name)?.as_str()?.into_owned();
        // Relative addresses resolve against the well-known document (RFC 1808).
        under(base, ".well-known/smart-configuration")
            .ok()?
            .join(&text)
            .ok()
    };
    let capabilities = root.get("capabilities").map(|list| {
        let texts = list
            .items()
            .filter_map(|item| item.as_str().map(|t| t.into_owned()));
        texts.collect()
    });
    Ok(Discovery {
        token_endpoint: address("token_endpoint")
            .ok_or_else(|| EhrError::Answer("no `token_endpoint`".to_owned()))?,
        authorization_endpoint: address("authorization_endpoint"),
        capabilities: capabilities.unwrap_or_default(),
        server_time: server_time(answer),
        found_in: "smart-configuration",
    })
}

fn from_capability(answer: &Answer, base: &Url) -> Result<Discovery, EhrError> {
    let document = Document::parse(&answer.body).map_err(|_| not_json())?;
    let root = document.root();
    let rests = root.get("rest").into_iter().flat_map(ValueRef::items);
    let extensions = rests
        .filter_map(|rest| rest.get("security")?.get("extension"))
        .flat_map(ValueRef::items)
        .filter(|extension| is(*extension, OAUTH_URIS))
        .filter_map(|extension| extension.get("extension"))
        .flat_map(ValueRef::items)
        .collect::<Vec<_>>();
    let address = |name: &str| -> Option<Url> {
        let found = extensions.iter().find(|extension| is(**extension, name))?;
        base.join(&found.get("valueUri")?.as_str()?).ok()
    };
    Ok(Discovery {
        token_endpoint: address("token")
            .ok_or_else(|| EhrError::Answer("no `oauth-uris` with `token`".to_owned()))?,
        authorization_endpoint: address("authorize"),
        capabilities: Vec::new(),
        server_time: server_time(answer),
        found_in: "CapabilityStatement",
    })
}

fn is(extension: ValueRef<'_>, url: &str) -> bool {
    extension
        .get("url")
        .and_then(ValueRef::as_str)
        .is_some_and(|text| text == url)
}

/// The server's clock at the moment of the answer.
pub fn server_time(answer: &Answer) -> Option<Instant> {
    answer.header("date").and_then(time::parse_http_date)
}

fn not_json() -> EhrError {
    EhrError::Answer("not readable as JSON".to_owned())
}
