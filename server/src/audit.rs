//! Who did what: a record in the commit of every write, and reads collected and recorded in batches.
//!
//! Spec: <https://hl7.org/fhir/R4/auditevent.html>. A write's record is as durable as the write. Reads are recorded at
//! the latest [`READ_WINDOW`] after the answer; a crash may lose the records of that window, never a write's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhir_core::access::{Access, Channel};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_store::{AuditRecord, Store};
use tokio::sync::Notify;

use crate::interaction::Interaction;
use crate::metrics::Metrics;

/// Longest time a read waits for being recorded.
pub const READ_WINDOW: Duration = Duration::from_secs(1);

/// Reads that are recorded at once even if the window is still open. After each batch every reader of a SQLite
/// database finds its page cache out of date, so that many small batches cost more than the rows.
pub const READ_BATCH: usize = 10_000;

/// Reads kept in memory at most. More arrive only if the database takes none for seconds; they are counted as lost
/// (`stoker_audit_dropped_total`) and logged rather than filling the memory.
pub const READ_PENDING_MAX: usize = 100_000;

/// A record of something done with this access.
pub fn record(
    access: &Access,
    interaction: Interaction,
    action: char,
    entity: Option<(ResourceKey, Option<VersionId>)>,
) -> AuditRecord {
    AuditRecord {
        agent: access.agent.clone(),
        channel: channel_text(&access.channel),
        action,
        interaction: interaction.code(),
        entity,
        detail: None,
        outcome: 0,
    }
}

/// The channel as the trail names it.
pub fn channel_text(channel: &Channel) -> String {
    match channel {
        Channel::Rest => "rest".to_owned(),
        Channel::Feed(name) => format!("feed:{name}"),
        Channel::CommandLine => "command-line".to_owned(),
    }
}

/// Collects the reads.
pub struct ReadTrail {
    pending: Mutex<Vec<AuditRecord>>,
    is_full: Notify,
    metrics: Arc<Metrics>,
}

impl ReadTrail {
    /// An empty collection.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            pending: Mutex::new(Vec::new()),
            is_full: Notify::new(),
            metrics,
        }
    }

    /// Adds a read.
    pub fn push(&self, record: AuditRecord) {
        let length = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.len() >= READ_PENDING_MAX {
                self.metrics.audit_dropped(1);
                return;
            }
            pending.push(record);
            pending.len()
        };
        if length == READ_BATCH {
            self.is_full.notify_one();
        }
    }

    /// Takes what was collected.
    pub fn take(&self) -> Vec<AuditRecord> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands the collected reads to the store, batch by batch, for as long as it is polled.
    pub async fn run(&self, store: &Store) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(READ_WINDOW) => {}
                () = self.is_full.notified() => {}
            }
            self.flush(store).await;
        }
    }

    /// Hands what is there to the store.
    pub async fn flush(&self, store: &Store) {
        let records = self.take();
        if records.is_empty() {
            return;
        }
        let count = records.len();
        if let Err(error) = store.record_reads(records).await {
            self.metrics.audit_dropped(count as u64);
            tracing::error!(count, %error, "reads could not be recorded in the audit trail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reads_is_bounded_and_losses_are_counted() {
        let metrics = Arc::new(Metrics::default());
        let trail = ReadTrail::new(Arc::clone(&metrics));
        let access = Access::full("open", Channel::Rest);
        for _ in 0..READ_PENDING_MAX + 3 {
            trail.push(record(&access, Interaction::Read, 'R', None));
        }
        assert_eq!(trail.take().len(), READ_PENDING_MAX);
        assert!(trail.take().is_empty());
        let text = metrics.render(crate::metrics::StoreFigures::default());
        assert!(text.contains("\nstoker_audit_dropped_total 3\n"));
    }
}
