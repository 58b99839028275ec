//! Asking a running server, for the commands that look into it.

use std::path::PathBuf;
use std::time::Duration;

use adapters::http_client::{Limits, Target, request};
use adapters::tls::{ClientFiles, Connector};
use fhir_core::json::Value;

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
        env = "STOKER_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// The server's admin token
    #[arg(
        long,
        env = "STOKER_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// PEM file: who signs the server's certificate (https)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Remote {
    /// The body of an answer.
    ///
    /// # Errors
    /// No answer, or the reasons of a refusal.
    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let base = Target::parse(&self.server)?;
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
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Accept", "*/*")];
        if let Some(bearer) = &bearer {
            headers.push(("Authorization", bearer));
        }
        if !body.is_empty() {
            headers.push(("Content-Type", "x-application/hl7-v2+er7"));
        }
        let limits = Limits {
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let response = request(&target, method, &headers, body, tls.as_ref(), &limits)
            .await
            .map_err(|e| format!("{}:{}: {e}", target.host, target.port))?;
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
    pub async fn json(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, String> {
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
