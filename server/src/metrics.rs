//! Counters and their text for Prometheus. Labels are interactions, statuses and outcomes: nothing about patients.
//!
//! Spec: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::interaction::Interaction;

/// Statuses counted one by one; any other falls into the last slot.
const STATUSES: [u16; 22] = [
    200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 428, 429, 500,
    501, 503, 0,
];

/// Upper ends of the latency buckets in microseconds.
const BUCKETS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

const INTERACTIONS: usize = Interaction::ALL.len();

#[derive(Debug, Default)]
struct Latency {
    buckets: [AtomicU64; BUCKETS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// What became of an inbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// Committed.
    Processed,
    /// Kept with its reason, not carried out.
    Refused,
    /// Seen before; nothing changed.
    Repeated,
    /// Not stored; the sender has to send again.
    NotStored,
}

/// The server's counters.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; INTERACTIONS],
    latency: [Latency; INTERACTIONS],
    in_flight: AtomicI64,
    messages: [AtomicU64; 4],
    retries: AtomicU64,
    audit_dropped: AtomicU64,
}

/// Figures that others keep and this text shows.
#[derive(Debug, Default, Clone, Copy)]
pub struct StoreFigures {
    /// Commits waiting for the writer.
    pub queue_depth: u64,
    /// Durable transactions.
    pub groups: u64,
    /// Commits carried out in them.
    pub commits: u64,
    /// Commits refused because the queue was full.
    pub refused: u64,
}

impl Metrics {
    /// Counts a request that begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that ended.
    pub fn end(&self, interaction: Interaction, status: u16, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let slot = STATUSES
            .iter()
            .position(|s| *s == status)
            .unwrap_or(STATUSES.len() - 1);
        let row = interaction as usize;
        self.requests[row][slot].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let latency = &self.latency[row];
        if let Some(bucket) = BUCKETS_US.iter().position(|end| took_us <= *end) {
            latency.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        latency.count.fetch_add(1, Ordering::Relaxed);
        latency.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Counts an inbound message.
    pub fn message(&self, outcome: MessageOutcome) {
        self.messages[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a commit that was prepared anew because another writer was faster.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts records of reads that could not be kept because the list was full.
    pub fn audit_dropped(&self, count: u64) {
        self.audit_dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// The text Prometheus reads.
    pub fn render(&self, store: StoreFigures) -> String {
        let mut out = String::with_capacity(4096);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(
            &mut out,
            "stoker_requests_total",
            "counter",
            "Requests by interaction and status.",
        );
        for interaction in Interaction::ALL {
            for (slot, status) in STATUSES.iter().enumerate() {
                let count = load(&self.requests[interaction as usize][slot]);
                if count > 0 {
                    let code = interaction.code();
                    let _ = writeln!(
                        out,
                        "stoker_requests_total{{interaction=\"{code}\",status=\"{status}\"}} {count}"
                    );
                }
            }
        }
        head(
            &mut out,
            "stoker_request_seconds",
            "histogram",
            "Time from the request's head to its answer.",
        );
        for interaction in Interaction::ALL {
            self.render_latency(interaction, &mut out);
        }
        head(
            &mut out,
            "stoker_requests_in_flight",
            "gauge",
            "Requests being answered now.",
        );
        let _ = writeln!(
            out,
            "stoker_requests_in_flight {}",
            self.in_flight.load(Ordering::Relaxed)
        );
        head(
            &mut out,
            "stoker_messages_total",
            "counter",
            "Inbound messages by outcome.",
        );
        for (slot, outcome) in ["processed", "refused", "repeated", "not-stored"]
            .into_iter()
            .enumerate()
        {
            let _ = writeln!(
                out,
                "stoker_messages_total{{outcome=\"{outcome}\"}} {}",
                load(&self.messages[slot])
            );
        }
        for (name, kind, help, value) in [
            (
                "stoker_write_retries_total",
                "counter",
                "Writes prepared anew after a conflict.",
                load(&self.retries),
            ),
            (
                "stoker_audit_dropped_total",
                "counter",
                "Records of reads lost to a full list.",
                load(&self.audit_dropped),
            ),
            (
                "stoker_store_queue_depth",
                "gauge",
                "Commits waiting for the writer.",
                store.queue_depth,
            ),
            (
                "stoker_store_transactions_total",
                "counter",
                "Durable database transactions.",
                store.groups,
            ),
            (
                "stoker_store_commits_total",
                "counter",
                "Commits carried out; by transaction: group size.",
                store.commits,
            ),
            (
                "stoker_store_overloaded_total",
                "counter",
                "Commits refused by a full queue.",
                store.refused,
            ),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        out
    }

    fn render_latency(&self, interaction: Interaction, out: &mut String) {
        let latency = &self.latency[interaction as usize];
        let count = latency.count.load(Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let code = interaction.code();
        let mut below = 0;
        for (bucket, end_us) in BUCKETS_US.iter().enumerate() {
            below += latency.buckets[bucket].load(Ordering::Relaxed);
            let (whole, rest) = (end_us / 1_000_000, end_us % 1_000_000);
            let _ = writeln!(
                out,
                "stoker_request_seconds_bucket{{interaction=\"{code}\",le=\"{whole}.{rest:06}\"}} {below}"
            );
        }
        let sum = latency.sum_us.load(Ordering::Relaxed);
        let (whole, rest) = (sum / 1_000_000, sum % 1_000_000);
        let _ = writeln!(
            out,
            "stoker_request_seconds_bucket{{interaction=\"{code}\",le=\"+Inf\"}} {count}"
        );
        let _ = writeln!(
            out,
            "stoker_request_seconds_sum{{interaction=\"{code}\"}} {whole}.{rest:06}"
        );
        let _ = writeln!(
            out,
            "stoker_request_seconds_count{{interaction=\"{code}\"}} {count}"
        );
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_interaction_status_and_time() {
        let metrics = Metrics::default();
        metrics.begin();
        metrics.end(Interaction::Read, 200, Duration::from_micros(300));
        metrics.begin();
        metrics.end(Interaction::Read, 299, Duration::from_secs(100));
        metrics.begin();
        metrics.message(MessageOutcome::Refused);
        let text = metrics.render(StoreFigures {
            queue_depth: 4,
            ..StoreFigures::default()
        });
        for line in [
            "stoker_requests_total{interaction=\"read\",status=\"200\"} 1",
            "stoker_requests_total{interaction=\"read\",status=\"0\"} 1",
            "stoker_request_seconds_bucket{interaction=\"read\",le=\"0.000250\"} 0",
            "stoker_request_seconds_bucket{interaction=\"read\",le=\"0.000500\"} 1",
            "stoker_request_seconds_bucket{interaction=\"read\",le=\"+Inf\"} 2",
            "stoker_request_seconds_sum{interaction=\"read\"} 100.000300",
            "stoker_requests_in_flight 1",
            "stoker_messages_total{outcome=\"refused\"} 1",
            "stoker_store_queue_depth 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
