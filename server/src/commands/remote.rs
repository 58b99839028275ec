//! Asking a running server, for the commands that look into it.

use std::path::PathBuf;
use std::time::Duration;

use adapters::http_client::{Limits, Response, Target, request};
use adapters::tls::{ClientFiles, Connector};
use fhir_core::json::Value;

use crate::config::Secret;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer: reading a thousand messages again takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Largest answer read, bytes: the largest raw message and some.
const ANSWER_BYTES_MAX: usize = 300 << 20;

/// Which server is asked, and as whom.
#[derive(clap::Args)]
pub struct Remote {
    /// The server
    #[arg(
        long,
        global = true,
        env = "STOKER_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// The server's admin token
    #[arg(
        long,
        global = true,
        env = "STOKER_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,
    /// PEM file: who signs the server's certificate (https)
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Nothing.
    None,
    /// Settings.
    Json(&'a [u8]),
    /// An HL7 v2 message.
    Hl7v2(&'a [u8]),
}

impl Remote {
    /// The answer, whatever its status.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(&self, method: &str, path: &str, body: Body<'_>) -> Result<Response, String> {
        let base = Target::parse(&self.server).map_err(|e| format!("`--server`: {e}"))?;
        let target = Target {
            path: format!("{}{path}", base.path.trim_end_matches('/')),
            ..base
        };
        let tls = match (&self.ca, target.is_secure) {
            (_, false) => None,
            (Some(ca), true) => Some(Connector::new(&ClientFiles {
                ca: ca.clone(),
                own: None,
            })?),
            (None, true) => {
                return Err("https needs `--ca` with the signer's certificate".to_owned());
            }
        };
        let token = self.token.as_ref();
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let mut headers = vec![("Accept", "*/*")];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        let (media_type, bytes) = match body {
            Body::None => (None, &[][..]),
            Body::Json(bytes) => (Some("application/json"), bytes),
            Body::Hl7v2(bytes) => (Some("x-application/hl7-v2+er7"), bytes),
        };
        headers.extend(media_type.map(|media_type| ("Content-Type", media_type)));
        let limits = Limits {
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        request(&target, method, &headers, bytes, tls.as_ref(), &limits)
            .await
            .map_err(|e| format!("{}:{}: {e}", target.host, target.port))
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// No answer, or the reasons of a refusal.
    pub async fn ask(&self, method: &str, path: &str, body: Body<'_>) -> Result<Vec<u8>, String> {
        let response = self.send(method, path, body).await?;
        if response.status < 300 {
            return Ok(response.body);
        }
        Err(format!(
            "the server answers {}: {}",
            response.status,
            reasons(&response.body)
        ))
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// As [`Self::ask`]; an answer that is no JSON.
    pub async fn json(&self, method: &str, path: &str, body: Body<'_>) -> Result<Value, String> {
        let answer = self.ask(method, path, body).await?;
        Value::parse(&answer).map_err(|e| format!("the answer is no JSON: {e}"))
    }
}

/// The diagnostics of an OperationOutcome.
fn reasons(body: &[u8]) -> String {
    let Ok(outcome) = Value::parse(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let issues = outcome.get("issue").and_then(Value::as_array);
    let texts = issues.unwrap_or_default().iter();
    let texts: Vec<&str> = texts
        .filter_map(|issue| issue.get("diagnostics")?.as_str())
        .collect();
    texts.join("; ")
}

/// A query of the parameters that were given.
pub fn query(parameters: &[(&str, Option<String>)]) -> String {
    let given: Vec<(String, String)> = parameters
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)))
        .collect();
    if given.is_empty() {
        String::new()
    } else {
        format!("?{}", crate::http::call::encode_query(&given))
    }
}

/// A member as text, for a column; empty when it is not there.
pub fn column(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => String::from_utf8_lossy(&other.to_bytes()).into_owned(),
    }
}
