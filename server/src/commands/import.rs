//! `stoker import`: files and folders of Bundles (JSON) and NDJSON into the database.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#transaction>, <https://hl7.org/fhir/R4/nd-json.html>. Transaction and batch Bundles are carried
//! out as a server would; the entries of other Bundles, lone resources and NDJSON lines are put under their id, or created
//! when they have none. Everything goes through the same write path as HTTP. What fails is reported with its place and
//! does not stop the rest.

mod files;
mod run;

use std::path::PathBuf;

use fhir_core::access::{Access, Channel};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::app::Server;
use crate::cli::WithSettings;
use crate::commands::block_on_computing;
use crate::config::Config;
use crate::telemetry;
use run::{Report, Run};

/// Failures printed at most; the rest is counted.
const FAILURES_SHOWN: usize = 50;

/// What `stoker import` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files (`.json`, `.ndjson`, each also with `.gz`) and folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The settings; the database is what matters here.
    #[command(flatten)]
    settings: WithSettings,
}

/// Imports.
///
/// # Errors
/// A path or database that cannot be read, or at least one resource that was refused.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let settings = &arguments.settings;
    let config =
        Config::load(&settings.settings, settings.config.as_deref()).map_err(|e| e.to_string())?;
    // Each resource is written once: keeping it ready would only cost memory.
    let config = Config {
        cache_bytes: 0,
        ..config
    };
    telemetry::start(&config)?;
    let files = files::collect(&arguments.paths)?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let started = std::time::Instant::now();
    let report = block_on_computing(async {
        let http = config.http;
        let server = Server::open_to_load(config, http)
            .await
            .map_err(|e| e.to_string())?;
        let access = Access::full("import", Channel::CommandLine);
        let progress = ProgressBar::new(bytes).with_style(style());
        let run = Run::new(std::sync::Arc::clone(&server), access, progress.clone());
        let report = run.import(files).await;
        progress.finish_and_clear();
        server.store.close().await;
        Ok(report)
    })?;
    print(&report, bytes, started.elapsed());
    if report.failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failed; see above", report.failures.len()))
    }
}

fn print(report: &Report, bytes: u64, took: std::time::Duration) {
    for failure in report.failures.iter().take(FAILURES_SHOWN) {
        eprintln!("failed: {failure}");
    }
    if let Some(more) = report
        .failures
        .len()
        .checked_sub(FAILURES_SHOWN)
        .filter(|more| *more > 0)
    {
        eprintln!("failed: … and {more} more");
    }
    let rate = u128::from(report.resources) * 1_000_000 / took.as_micros().max(1);
    println!(
        "{} resources from {} files ({}) in {}, {rate} a second; {} unchanged; {} failures",
        report.resources,
        report.files,
        HumanBytes(bytes),
        HumanDuration(took),
        report.unchanged,
        report.failures.len()
    );
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {bytes}/{total_bytes} {msg}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
