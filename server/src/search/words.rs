//! Brings the index of words up to date before a search by `_text` or `_content`.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#content>. Writes do not fill it; the first search of a type does, later ones add what
//! changed since. So an answer is never older than the question, and nobody pays who does not ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::ResourceTypeId;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::search::words;
use fhir_store::{ReindexRow, TextWords};

use crate::app::{Server, store_problem};

/// Resources read at a time: a few MiB, and a write transaction of some milliseconds.
const PAGE_RESOURCES: usize = 500;

/// Longest a search waits for the index. A larger backlog is worked off behind it.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Reads the words of what changed.
///
/// # Errors
/// `not-ready` when that takes longer; it goes on and a later search finds more of it done
pub async fn ensure(server: &Server, types: &[ResourceTypeId]) -> Result<(), Problem> {
    let started = Instant::now();
    // One at a time: the others find the work done.
    let lane = tokio::time::timeout(WAIT_MAX, Arc::clone(&server.words_lane).lock_owned()).await;
    let Ok(lane) = lane else {
        return Err(not_ready());
    };
    for resource_type in types {
        while !read_page(server, *resource_type).await? {
            if started.elapsed() > WAIT_MAX {
                go_on(server, *resource_type, lane);
                return Err(not_ready());
            }
        }
    }
    Ok(())
}

fn not_ready() -> Problem {
    let text = "the index of words is being brought up to date; try again in a while";
    Problem::new(ErrorKind::NOT_READY, text)
}

/// Works off a backlog after the request has been answered.
fn go_on(server: &Server, resource_type: ResourceTypeId, lane: tokio::sync::OwnedMutexGuard<()>) {
    let Some(server) = server.this() else { return };
    let runtime = server.runtime.clone();
    runtime.spawn(async move {
        let _lane = lane;
        loop {
            match read_page(&server, resource_type).await {
                Ok(true) => break,
                Ok(false) if server.is_stopping() => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the index of words cannot be brought up to date");
                    break;
                }
            }
        }
    });
}

/// Reads the words of one page; answers whether nothing is left.
async fn read_page(server: &Server, resource_type: ResourceTypeId) -> Result<bool, Problem> {
    let backlog = server
        .store
        .text_backlog(resource_type, PAGE_RESOURCES)
        .await;
    let backlog = backlog.map_err(|e| store_problem(&e))?;
    let Some(last) = backlog.last() else {
        return Ok(true);
    };
    let (until, is_last) = (last.stored.updated, backlog.len() < PAGE_RESOURCES);
    let work = move || backlog.iter().map(words_of).collect::<Vec<_>>();
    let rows = tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading words ended unexpectedly");
        Problem::new(
            ErrorKind::INTERNAL,
            "something unexpected happened; the server's log has more",
        )
    })?;
    let put = server.store.put_words(resource_type, rows, until).await;
    put.map_err(|e| store_problem(&e))?;
    Ok(is_last)
}

fn words_of(row: &ReindexRow) -> TextWords {
    let document = Document::parse(&row.stored.json)
        .ok()
        .filter(|_| !row.stored.deleted);
    TextWords {
        rid: row.rid,
        words: document.map(|document| words::of_resource(document.root())),
    }
}
