//! `stoker feeds`: what `/admin/feeds` of a running server offers, from the command line.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::commands::block_on;
use crate::commands::remote::{Body, Remote};

/// Keys whose values are lists; written with commas.
const LISTS: [&str; 3] = ["allow", "processing_ids", "refuse_faults"];

/// What `stoker feeds` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
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
    let remote = &arguments.remote;
    block_on(async {
        match &arguments.action {
            Action::List => list(&read(
                &remote.ask("GET", "/admin/feeds", Body::None).await?,
            )?),
            Action::Show { name } => show(&ask(remote, "GET", name).await?),
            Action::Add { name, settings } => {
                let there = remote.send("GET", &place(name)?, Body::None).await?;
                if there.status == 200 {
                    return Err(format!("feed `{name}` is there already; use `change`"));
                }
                tell(&put(remote, name, settings.over(Map::new())?).await?)
            }
            Action::Change { name, settings } => {
                let feed = ask(remote, "GET", name).await?;
                let old = feed.get("settings").and_then(Value::as_object);
                let settings = settings.over(old.cloned().unwrap_or_default())?;
                tell(&put(remote, name, settings).await?)
            }
            Action::Pause { name } => tell(&ask(remote, "POST", &format!("{name}/pause")).await?),
            Action::Resume { name } => tell(&ask(remote, "POST", &format!("{name}/resume")).await?),
            Action::Remove { name } => {
                remote.ask("DELETE", &place(name)?, Body::None).await?;
                println!("{name} removed");
                Ok(())
            }
        }
    })
}

/// Where a feed, or what is done with it, is found.
fn place(path: &str) -> Result<String, String> {
    let name = path.split('/').next().unwrap_or_default();
    adapters::feed::check_name(name)?;
    Ok(format!("/admin/feeds/{path}"))
}

async fn ask(remote: &Remote, method: &str, path: &str) -> Result<Value, String> {
    read(&remote.ask(method, &place(path)?, Body::None).await?)
}

async fn put(remote: &Remote, name: &str, settings: Map<String, Value>) -> Result<Value, String> {
    let body = Value::Object(settings).to_string();
    let body = Body::Json(body.as_bytes());
    read(&remote.ask("PUT", &place(name)?, body).await?)
}

fn read(answer: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(answer).map_err(|e| format!("the answer is no JSON: {e}"))
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
