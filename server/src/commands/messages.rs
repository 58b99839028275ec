//! `stoker messages` and `stoker trace`: the message log of a running server, from the command line.

use std::io::Write as _;
use std::path::PathBuf;

use fhir_core::json::Value;

use crate::commands::block_on;
use crate::commands::remote::{Body, Remote, column, query};

/// What `stoker messages` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List messages, newest first
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// Show one message with issues and resources, as JSON
    Show {
        /// Number of the message
        id: i64,
    },
    /// Print the bytes of a message as they were received
    Raw {
        /// Number of the message
        id: i64,
    },
    /// Read one message again, or take a corrected copy of it
    Replay {
        /// Number of the message
        id: i64,
        /// The corrected copy
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Read a selection again, oldest first; those in error when no state is named
    ReplayAll {
        #[command(flatten)]
        filter: Filter,
    },
    /// Set a message aside for good
    Discard {
        /// Number of the message
        id: i64,
        /// Why, without patient data
        #[arg(long)]
        reason: String,
    },
}

/// Which messages.
#[derive(clap::Args)]
struct Filter {
    /// Name of the feed
    #[arg(long)]
    feed: Option<String>,
    /// received, processed, warnings, error, parked, discarded, replayed, superseded
    #[arg(long)]
    state: Option<String>,
    /// MSH-9, or its first part
    #[arg(long = "type")]
    kind: Option<String>,
    /// MSH-10
    #[arg(long)]
    control: Option<String>,
    /// Logical id or identifier of a patient
    #[arg(long)]
    patient: Option<String>,
    /// A resource that was made or changed
    #[arg(long)]
    resource: Option<String>,
    /// Code of an issue
    #[arg(long)]
    code: Option<String>,
    /// Part of the reason or an issue
    #[arg(long)]
    text: Option<String>,
    /// Received at this instant or later
    #[arg(long)]
    since: Option<String>,
    /// Received before this instant
    #[arg(long)]
    until: Option<String>,
    /// How many
    #[arg(long)]
    count: Option<String>,
}

impl Filter {
    fn query(&self, more: Option<(&str, String)>) -> String {
        let mut parameters = vec![
            ("feed", self.feed.clone()),
            ("state", self.state.clone()),
            ("type", self.kind.clone()),
            ("control", self.control.clone()),
            ("patient", self.patient.clone()),
            ("resource", self.resource.clone()),
            ("code", self.code.clone()),
            ("text", self.text.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("count", self.count.clone()),
        ];
        if let Some((name, value)) = more {
            parameters.push((name, Some(value)));
        }
        query(&parameters)
    }
}

/// Runs a command on the log.
///
/// # Errors
/// A server that cannot be reached or refuses.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let remote = &arguments.remote;
    block_on(async {
        match &arguments.action {
            Action::List { filter } => {
                let path = format!("/admin/messages{}", filter.query(None));
                print_rows(&remote.json("GET", &path, Body::None).await?);
            }
            Action::Show { id } => {
                let answer = remote
                    .json("GET", &format!("/admin/messages/{id}"), Body::None)
                    .await?;
                println!("{}", String::from_utf8_lossy(&answer.to_bytes()));
            }
            Action::Raw { id } => {
                let raw = remote
                    .ask("GET", &format!("/admin/messages/{id}/raw"), Body::None)
                    .await?;
                std::io::stdout()
                    .write_all(&raw)
                    .map_err(|e| e.to_string())?;
            }
            Action::Replay { id, file } => {
                let read = |path: &PathBuf| {
                    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
                };
                let corrected = file.as_ref().map(read).transpose()?;
                let body = corrected.as_deref().map_or(Body::None, Body::Hl7v2);
                let path = format!("/admin/messages/{id}/replay");
                print_rows(&remote.json("POST", &path, body).await?);
            }
            Action::ReplayAll { filter } => replay_all(filter, remote).await?,
            Action::Discard { id, reason } => {
                let reason = query(&[("reason", Some(reason.clone()))]);
                let path = format!("/admin/messages/{id}/discard{reason}");
                print_rows(&remote.json("POST", &path, Body::None).await?);
            }
        }
        Ok(())
    })
}

/// Goes on as long as the server names more.
async fn replay_all(filter: &Filter, remote: &Remote) -> Result<(), String> {
    let mut after = None;
    loop {
        let more = after.map(|id: String| ("after", id));
        let path = format!("/admin/messages/replay{}", filter.query(more));
        let answer = remote.json("POST", &path, Body::None).await?;
        print_rows(&answer);
        match column(&answer, "next") {
            next if next.is_empty() => return Ok(()),
            next => after = Some(next),
        }
    }
}

fn print_rows(answer: &Value) {
    let rows = answer.get("messages").and_then(Value::as_array);
    for row in rows.unwrap_or_default() {
        let columns = [
            "id",
            "state",
            "receivedAt",
            "feed",
            "type",
            "controlId",
            "reason",
        ];
        let columns: Vec<String> = columns
            .iter()
            .map(|name| column(row, name))
            .filter(|text| !text.is_empty())
            .collect();
        println!("{}", columns.join("  "));
    }
}

/// What `stoker trace` can be told.
#[derive(clap::Args)]
pub struct TraceArguments {
    /// The resource, such as `Observation/1`
    resource: String,
    /// The element, such as `valueQuantity.value`; all of them when left out
    path: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Prints where an element came from.
///
/// # Errors
/// A server that cannot be reached, or an element no message gave.
pub fn trace(arguments: &TraceArguments) -> Result<(), String> {
    block_on(async {
        let path = query(&[("path", arguments.path.clone())]);
        let path = format!("/fhir/{}/$lineage{path}", arguments.resource);
        let answer = arguments.remote.json("GET", &path, Body::None).await?;
        let origins = answer.get("parameter").and_then(Value::as_array);
        for origin in origins.unwrap_or_default() {
            let parts = origin
                .get("part")
                .and_then(Value::as_array)
                .unwrap_or_default();
            let part = |name: &str| {
                let found = parts.iter().find(|part| column(part, "name") == name);
                found.map_or_else(String::new, |part| {
                    column(part, "valueString") + &column(part, "valueInteger")
                })
            };
            let mut line = format!(
                "{}  message {}  {}  bytes {}..{}  rule {} of {}",
                part("element"),
                part("message"),
                part("place"),
                part("start"),
                part("end"),
                part("rule"),
                part("mapping")
            );
            if !part("mappingThen").is_empty() {
                line.push_str(&format!("  (read then by {})", part("mappingThen")));
            }
            println!("{line}");
        }
        Ok(())
    })
}
