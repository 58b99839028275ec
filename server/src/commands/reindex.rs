//! `stoker reindex`: makes the search index of every resource anew, for example after a release that indexes better.
//!
//! Resources stay as they are. May run beside a server: a resource written meanwhile has a fresh index already.

use fhir_core::json::Document;
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::Server;
use crate::cli::WithSettings;
use crate::commands::block_on;
use crate::config::Config;
use crate::search::custom;
use crate::telemetry;

/// Resources read at a time: a few MiB.
const PAGE_RESOURCES: usize = 1_000;

/// Reindexes the database.
///
/// # Errors
/// A database that cannot be opened, read or written.
pub fn run(arguments: &WithSettings) -> Result<(), String> {
    let config = Config::load(&arguments.settings, arguments.config.as_deref())
        .map_err(|e| e.to_string())?;
    telemetry::start(&config)?;
    let count = block_on(async {
        let http = config.http;
        let server = Server::open(config, http)
            .await
            .map_err(|e| e.to_string())?;
        let result = reindex(&server).await;
        server.store.close().await;
        result
    })?;
    println!("{count} resources reindexed");
    Ok(())
}

/// Replaces the index of every live resource; answers how many.
///
/// # Errors
/// A database that cannot be read or written, or a stored resource that cannot be parsed.
pub async fn reindex(server: &Server) -> Result<u64, String> {
    custom::refresh(server).await.map_err(|e| e.to_string())?;
    let total: u64 = server
        .store
        .counts()
        .await
        .map_err(|e| e.to_string())?
        .live
        .iter()
        .map(|(_, count)| count)
        .sum();
    let progress = ProgressBar::new(total).with_style(style());
    let mut after = None;
    let mut count = 0;
    loop {
        let page = server
            .store
            .reindex_page(after, PAGE_RESOURCES)
            .await
            .map_err(|e| e.to_string())?;
        let Some(last) = page.last() else { break };
        after = Some(last.rid);
        for row in &page {
            let key = &row.stored.key;
            let document = Document::parse(&row.stored.json)
                .map_err(|e| format!("{key} cannot be read: {e}"))?;
            let entries = server.extract(key.resource_type, document.root());
            let index = server.store.prepare(key, &[], &entries);
            let replaced = server
                .store
                .replace_index(row.rid, row.stored.version, index)
                .await;
            count += u64::from(replaced.map_err(|e| e.to_string())?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(count)
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {pos}/{len} resources, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
