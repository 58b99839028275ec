//! `stoker feeds`: what `/admin/feeds` of a running server offers, from the command line.

use std::path::PathBuf;
use std::time::Duration;

use adapters::http_client::{Limits, Response, Target, request};
use adapters::tls::{ClientFiles, Connector};
use serde_json::{Map, Value};

use crate::commands::block_on;
use crate::config::Secret;

/// Longest wait for an answer: a feed that is paused finishes what it has received first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Keys whose values are lists; written with commas.
const LISTS: [&str; 3] = ["allow", "processing_ids", "refuse_faults"];

/// What `stoker feeds` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: ServerArguments,
}

/// Which server is asked, and as whom.
#[derive(clap::Args)]
pub struct ServerArguments {
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

#[derive(clap::Subcommand)]
enum Action {
    /// List the feeds with state and numbers
    List,
    /// Show one feed with its settings, as JSON
    Show {
        /// Name of the feed
        name: String,
    },
    /// Register a feed and start it
    Add {
        /// Name of the feed
        name: String,
        #[command(flatten)]
        settings: Given,
    },
    /// Change settings of a feed; it is stopped and started
    Change {
        /// Name of the feed
        name: String,
        #[command(flatten)]
        settings: Given,
    },
    /// Take no messages until resumed
    Pause {
        /// Name of the feed
        name: String,
    },
    /// Take messages again; certificates and mappings are read anew
    Resume {
        /// Name of the feed
        name: String,
    },
    /// Remove a feed; its messages and resources stay
    Remove {
        /// Name of the feed
        name: String,
    },
}

/// Settings given on the command line.
#[derive(clap::Args)]
struct Given {
    /// TOML file with the settings, as in `[[feed]]`
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// One setting, such as `transport=http`, `processing_ids=P,T` or `authorities.HILL=urn:oid:2.999.1`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Asks the server.
///
/// # Errors
/// A server that cannot be reached, or what it refused.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let server = Api::new(&arguments.server)?;
    block_on(async {
        match &arguments.action {
            Action::List => list(&server.ask("GET", "", None).await?),
            Action::Show { name } => show(&server.ask("GET", name, None).await?),
            Action::Add { name, settings } => {
                if server.call("GET", name, None).await?.status == 200 {
                    return Err(format!("feed `{name}` is there already; use `change`"));
                }
                let body = Value::Object(settings.over(Map::new())?);
                tell(&server.ask("PUT", name, Some(&body)).await?)
            }
            Action::Change { name, settings } => {
                let feed = server.ask("GET", name, None).await?;
                let old = feed.get("settings").and_then(Value::as_object);
                let body = Value::Object(settings.over(old.cloned().unwrap_or_default())?);
                tell(&server.ask("PUT", name, Some(&body)).await?)
            }
            Action::Pause { name } => {
                tell(&server.ask("POST", &format!("{name}/pause"), None).await?)
            }
            Action::Resume { name } => {
                tell(&server.ask("POST", &format!("{name}/resume"), None).await?)
            }
            Action::Remove { name } => {
                server.ask("DELETE", name, None).await?;
                println!("{name} removed");
                Ok(())
            }
        }
    })
}

/// The server's interface for feeds.
struct Api {
    target: Target,
    authorization: Option<String>,
    connector: Option<Connector>,
}

impl Api {
    fn new(arguments: &ServerArguments) -> Result<Self, String> {
        let target = Target::parse(&arguments.server).map_err(|e| format!("`--server`: {e}"))?;
        let connector = match &arguments.ca {
            Some(ca) => Some(Connector::new(&ClientFiles {
                ca: ca.clone(),
                own: None,
            })?),
            None => None,
        };
        let token = arguments.token.as_ref();
        Ok(Self {
            target,
            authorization: token.map(|token| format!("Bearer {}", token.reveal())),
            connector,
        })
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, String> {
        adapters::feed::check_name(path.split('/').next().unwrap_or_default())
            .or_else(|e| if path.is_empty() { Ok(()) } else { Err(e) })?;
        let base = self.target.path.trim_end_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let target = Target {
            path: format!("{base}/admin/feeds{slash}{path}"),
            ..self.target.clone()
        };
        let mut headers = vec![("content-type", "application/json")];
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        let limits = Limits {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: ANSWER_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let tls = self.connector.as_ref();
        request(&target, method, &headers, body.as_bytes(), tls, &limits)
            .await
            .map_err(|e| format!("{}:{}: {e}", target.host, target.port))
    }

    /// The answer's body, when the server did what it was asked.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let response = self.call(method, path, body).await?;
        let value: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        if response.status < 300 {
            return Ok(value);
        }
        let issues = value.get("issue").and_then(Value::as_array);
        let texts = issues
            .into_iter()
            .flatten()
            .filter_map(|issue| issue.get("diagnostics")?.as_str());
        let texts: Vec<&str> = texts.collect();
        Err(format!(
            "the server answered {}: {}",
            response.status,
            texts.join("; ")
        ))
    }
}

impl Given {
    /// The settings with these put over them.
    fn over(&self, mut settings: Map<String, Value>) -> Result<Map<String, Value>, String> {
        if let Some(path) = &self.file {
            let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
            let file: Map<String, Value> = toml::from_str(&text).map_err(|e| fail(&e))?;
            settings.extend(file);
        }
        for set in &self.sets {
            let (key, value) = set
                .split_once('=')
                .ok_or_else(|| format!("`--set {set}`: write KEY=VALUE"))?;
            let (key, value) = (key.trim(), value.trim());
            match key.split_once('.') {
                None => {
                    settings.insert(key.to_owned(), to_value(key, value));
                }
                Some((table, name)) => {
                    let table = settings
                        .entry(table)
                        .or_insert_with(|| Value::Object(Map::new()));
                    let table = table
                        .as_object_mut()
                        .ok_or_else(|| format!("`--set {set}`: no table"))?;
                    table.insert(name.to_owned(), Value::from(value));
                }
            }
        }
        Ok(settings)
    }
}

fn to_value(key: &str, value: &str) -> Value {
    if LISTS.contains(&key) {
        let parts = value
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        return parts.map(Value::from).collect();
    }
    let is_number = key.ends_with("_max") || key.ends_with("_seconds") || key == "window";
    match value.parse::<u64>() {
        Ok(number) if is_number => Value::from(number),
        _ => Value::from(value),
    }
}

fn text<'a>(feed: &'a Value, key: &str) -> &'a str {
    feed.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number(feed: &Value, key: &str) -> u64 {
    let counters = feed.get("counters");
    counters.and_then(|c| c.get(key)?.as_u64()).unwrap_or(0)
}

fn list(feeds: &Value) -> Result<(), String> {
    let feeds = feeds
        .as_array()
        .ok_or("the server's answer is no list of feeds")?;
    println!(
        "{:<20} {:<9} {:<8} {:<28} {:>9} {:>9} {:>7} {:>8}",
        "name", "transport", "state", "listens", "received", "accepted", "errors", "rejected"
    );
    for feed in feeds {
        let transport = feed.get("settings").map_or("-", |s| text(s, "transport"));
        println!(
            "{:<20} {:<9} {:<8} {:<28} {:>9} {:>9} {:>7} {:>8}",
            text(feed, "name"),
            transport,
            text(feed, "state"),
            text(feed, "listens"),
            number(feed, "received"),
            number(feed, "accepted"),
            number(feed, "errors"),
            number(feed, "rejected"),
        );
        if let Some(reason) = feed.get("reason").and_then(Value::as_str) {
            println!("  {reason}");
        }
    }
    Ok(())
}

fn show(feed: &Value) -> Result<(), String> {
    let text = serde_json::to_string_pretty(feed).map_err(|e| e.to_string())?;
    println!("{text}");
    Ok(())
}

fn tell(feed: &Value) -> Result<(), String> {
    println!(
        "{} {} {}",
        text(feed, "name"),
        text(feed, "state"),
        text(feed, "listens")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_put_over_each_other() {
        let given = |sets: &[&str]| Given {
            file: None,
            sets: sets.iter().map(ToString::to_string).collect(),
        };
        let old: Map<String, Value> =
            serde_json::from_str(r#"{"transport":"mllp","authorities":{"A":"urn:a"}}"#).unwrap();
        let sets = [
            "address=127.0.0.1:2575",
            "message_bytes_max=1000000",
            "processing_ids=P, T",
            "allow=",
            "id_namespace=42",
            "authorities.B.C=urn:x=y",
        ];
        let new = Value::Object(given(&sets).over(old).unwrap());
        let expected = r#"{"transport":"mllp","authorities":{"A":"urn:a","B.C":"urn:x=y"},"address":"127.0.0.1:2575",
            "message_bytes_max":1000000,"processing_ids":["P","T"],"allow":[],"id_namespace":"42"}"#;
        assert_eq!(new, serde_json::from_str::<Value>(expected).unwrap());
        assert!(given(&["address"]).over(Map::new()).is_err());
    }
}
