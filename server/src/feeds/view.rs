//! A feed as `/admin/feeds` shows it: settings, state, numbers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use adapters::Counters;
use fhir_core::ids::Instant;
use serde::Serialize;
use utoipa::ToSchema;

use super::settings::{FeedSettings, Transport};
use super::{Entry, Feeds, Origin, State};

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedView {
    /// Its name.
    pub name: String,
    /// `running`, `paused` or `failed`.
    pub state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where its settings are: `settings` (file or command line) or `registered`.
    pub origin: &'static str,
    /// Where it takes messages: an address, a path of this server, or a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listens: Option<String>,
    /// When the last message came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_received_at: Option<String>,
    /// Messages that wait for a person or an earlier message; in lists and `GET`.
    pub waiting: u64,
    /// Alerts that hold, `silence: …`; see `alert_…` of the settings. In lists and `GET`.
    pub alerts: Vec<String>,
    /// When it was heard last, or since when it runs, seconds since 1970.
    #[serde(skip)]
    #[schema(ignore)]
    pub heard_at_s: i64,
    /// Since the start of the server.
    pub counters: FeedCounters,
    /// Its settings.
    pub settings: FeedSettings,
}

/// Numbers of a feed since the start of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedCounters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections refused: an address that is not allowed, or no TLS.
    pub connections_refused: u64,
    /// Messages received whole.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages with wrong content; kept.
    pub errors: u64,
    /// Messages rejected; kept unless too large.
    pub rejected: u64,
    /// Errors and rejections in a hundred of the last 64 answers.
    pub error_percent: u64,
    /// Messages not stored, which their senders have to send again.
    pub not_stored: u64,
    /// Messages that were begun and never finished.
    pub cut: u64,
    /// Messages over the limit.
    pub too_large: u64,
    /// Bytes outside of messages.
    pub garbage_bytes: u64,
}

impl FeedCounters {
    fn of(counters: &Counters) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            connections: load(&counters.connections),
            connections_open: load(&counters.connections_open),
            connections_refused: load(&counters.connections_refused),
            received: load(&counters.received),
            received_bytes: load(&counters.received_bytes),
            accepted: load(&counters.accepted),
            errors: load(&counters.errors),
            rejected: load(&counters.rejected),
            error_percent: counters.error_percent(),
            not_stored: load(&counters.not_stored),
            cut: load(&counters.frames_cut),
            too_large: load(&counters.frames_too_large),
            garbage_bytes: load(&counters.garbage_bytes),
        }
    }
}

pub(super) fn of(entry: &Entry) -> FeedView {
    let (state, reason, address) = match &entry.state {
        State::Running(launched) => ("running", None, launched.address()),
        State::Paused => ("paused", None, None),
        State::Failed(reason) => ("failed", Some(reason.clone()), None),
    };
    let settings = &entry.settings;
    let listens = match settings.transport {
        Transport::Mllp | Transport::MllpTls => {
            let address = address.or(settings.address);
            address.map(|address| address.to_string())
        }
        Transport::Http => Some(format!("/hl7/{}", settings.name)),
        Transport::Folder => settings.folder.as_ref().map(|f| f.display().to_string()),
    };
    let last = entry.counters.last_received_s.load(Ordering::Relaxed);
    let last = i64::try_from(last).unwrap_or(0);
    let since = entry.counters.since_s.load(Ordering::Relaxed);
    let since = i64::try_from(since).unwrap_or(0);
    FeedView {
        waiting: 0,
        alerts: Vec::new(),
        heard_at_s: last.max(since),
        name: settings.name.clone(),
        state,
        reason,
        origin: match entry.origin {
            Origin::Settings => "settings",
            Origin::Registered => "registered",
        },
        listens,
        last_received_at: (last > 0).then(|| Instant(last.saturating_mul(1_000_000)).to_fhir()),
        counters: FeedCounters::of(&entry.counters),
        settings: settings.clone(),
    }
}

impl Feeds {
    /// The numbers of all feeds for Prometheus. Labels are names of feeds and outcomes.
    pub fn metrics(&self) -> String {
        let views = self.list();
        let mut out = String::new();
        if views.is_empty() {
            return out;
        }
        out.push_str("# HELP stoker_feed_messages_total Messages by feed and outcome.\n# TYPE stoker_feed_messages_total counter\n");
        for view in &views {
            let counters = &view.counters;
            for (outcome, count) in [
                ("accepted", counters.accepted),
                ("error", counters.errors),
                ("rejected", counters.rejected),
                ("not-stored", counters.not_stored),
                ("cut", counters.cut),
                ("too-large", counters.too_large),
            ] {
                // Writing to a String does not fail.
                let _ = writeln!(
                    out,
                    "stoker_feed_messages_total{{feed=\"{}\",outcome=\"{outcome}\"}} {count}",
                    view.name
                );
            }
        }
        out.push_str("# HELP stoker_feed_connections Open connections by feed.\n# TYPE stoker_feed_connections gauge\n");
        for view in &views {
            let open = view.counters.connections_open;
            let _ = writeln!(
                out,
                "stoker_feed_connections{{feed=\"{}\"}} {open}",
                view.name
            );
        }
        out.push_str("# HELP stoker_feed_last_received_seconds When the last message came, seconds since 1970; 0 for never since the start.\n# TYPE stoker_feed_last_received_seconds gauge\n");
        for (name, seconds) in self.last_received() {
            let _ = writeln!(
                out,
                "stoker_feed_last_received_seconds{{feed=\"{name}\"}} {seconds}"
            );
        }
        out.push_str("# HELP stoker_feed_running Whether a feed takes messages.\n# TYPE stoker_feed_running gauge\n");
        for view in &views {
            let is_running = u8::from(view.state == "running");
            let _ = writeln!(
                out,
                "stoker_feed_running{{feed=\"{}\"}} {is_running}",
                view.name
            );
        }
        out
    }
}
