//! `stoker regress`: messages run through the mappings in force and through a draft; what differs is printed.
//!
//! A folder is run here, without a server; the last messages of a server are run there.

use std::path::{Path, PathBuf};

use adapters::feed::{Feed, FeedSettings};
use adapters::pipeline::Pipeline;
use fhir_core::json::Value;
use mappings::Library;

use crate::commands::block_on;
use crate::commands::remote::{Body, Remote, column, query};
use crate::messages::regression::Report;

/// Files of a folder at most.
const FILES_MAX: usize = 100_000;

/// What `stoker regress` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of messages, one a file
    #[arg(long, value_name = "FOLDER", conflicts_with = "last")]
    folder: Option<PathBuf>,
    /// The last messages of the server
    #[arg(long, value_name = "COUNT", required_unless_present = "folder")]
    last: Option<u32>,
    /// The draft; with `--last` a folder on the server
    #[arg(long, value_name = "FOLDER")]
    mappings: PathBuf,
    /// The mappings it is compared with, for a folder (default: those of the program)
    #[arg(long, value_name = "FOLDER", requires = "folder")]
    current: Option<PathBuf>,
    /// What mappings may ask, for a folder: `zone=Europe/Berlin`
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "folder")]
    settings: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Prints the differences; fails when there are any, so that scripts notice.
///
/// # Errors
/// Mappings that do not load; differences.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let report = match &arguments.folder {
        Some(folder) => local(arguments, folder)?.to_value(),
        None => block_on(async {
            let path = query(&[
                ("mappings", Some(arguments.mappings.display().to_string())),
                ("last", arguments.last.map(|last| last.to_string())),
            ]);
            let path = format!("/admin/regression{path}");
            arguments.remote.json("POST", &path, Body::None).await
        })?,
    };
    let named = report.get("differences").and_then(Value::as_array);
    for row in named.unwrap_or_default() {
        println!("{} {}", column(row, "message"), column(row, "type"));
        let differences = row.get("differences").and_then(Value::as_array);
        for difference in differences.unwrap_or_default() {
            println!(
                "  {}: {} -> {}",
                column(difference, "path"),
                column(difference, "before"),
                column(difference, "after")
            );
        }
    }
    let (messages, changed) = (column(&report, "messages"), column(&report, "changed"));
    println!("{messages} messages, {changed} change");
    if changed == "0" {
        Ok(())
    } else {
        Err(format!("{changed} messages come out differently"))
    }
}

fn local(arguments: &Arguments, folder: &Path) -> Result<Report, String> {
    let mut settings = FeedSettings {
        name: "regress".to_owned(),
        processing_ids: ["P", "T", "D"].map(str::to_owned).to_vec(),
        ..FeedSettings::default()
    };
    for pair in &arguments.settings {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("`--set` takes NAME=VALUE, not `{pair}`"))?;
        settings.mapping.insert(name.to_owned(), value.to_owned());
    }
    let feed = Feed::new(&settings)?;
    let current = match &arguments.current {
        Some(folder) => Library::load(folder),
        None => Library::embedded(),
    };
    let current = Pipeline::new(feed.clone(), current.map_err(|e| e.to_string())?);
    let draft = Library::load(&arguments.mappings).map_err(|e| e.to_string())?;
    let draft = Pipeline::new(feed, draft);
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() && files.len() < FILES_MAX {
            files.push(path);
        }
    }
    files.sort();
    let mut report = Report::default();
    for path in files {
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        report.run(&name, bytes.into(), &current, &draft);
    }
    Ok(report)
}
