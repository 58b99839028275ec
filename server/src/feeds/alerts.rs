//! What an operator wants to be woken for: a feed that is silent, errs often, or lets messages wait.
//!
//! Each is set for each feed (`docs/guide/feeds.md`) and shown in `/admin/feeds` and `/metrics`. Nothing is sent from
//! here: whoever watches the metrics does that.

use std::fmt::Write;
use std::sync::Arc;

use adapters::counters::RECENT;
use fhir_core::ids::Instant;
use fhir_core::issue::Problem;

use super::settings::FeedSettings;
use super::view::FeedView;
use crate::app::{Server, store_problem};

/// Names of the alerts, as in the metrics.
pub const KINDS: [&str; 3] = ["silence", "errors", "waiting"];
const MICROSECONDS: i64 = 1_000_000;

/// What is known of a feed when it is judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// Whether it takes messages.
    pub is_running: bool,
    /// Seconds since the last message, or since it runs when none came.
    pub silent_s: u64,
    /// Errors in a hundred of the last answers.
    pub error_percent: u64,
    /// Seconds the oldest waiting message waits.
    pub waiting_s: Option<u64>,
}

/// The alerts of a feed: name and sentence.
pub fn judge(settings: &FeedSettings, signs: &Signs) -> Vec<(&'static str, String)> {
    let mut alerts = Vec::new();
    if let Some(most) = settings.alert_silence_seconds
        && signs.is_running
        && signs.silent_s > most
    {
        let text = format!("no message for {} seconds", signs.silent_s);
        alerts.push(("silence", text));
    }
    if let Some(most) = settings.alert_error_percent
        && signs.error_percent >= u64::from(most)
    {
        let percent = signs.error_percent;
        let text = format!("{percent} % of the last answers, at most {RECENT}, were errors");
        alerts.push(("errors", text));
    }
    if let (Some(most), Some(waits)) = (settings.alert_waiting_seconds, signs.waiting_s)
        && waits > most
    {
        let text = format!("the oldest waiting message waits for {waits} seconds");
        alerts.push(("waiting", text));
    }
    alerts
}

/// All feeds with their alerts.
///
/// # Errors
/// What the store answers
pub async fn watched(server: &Arc<Server>) -> Result<Vec<FeedView>, Problem> {
    let waiting = server.store.waiting().await;
    let waiting = waiting.map_err(|e| store_problem(&e))?;
    let now = (server.clock)();
    let mut views = server.feeds.list();
    for view in &mut views {
        let found = waiting.iter().find(|(feed, _, _)| *feed == view.name);
        view.waiting = found.map_or(0, |(_, _, count)| *count);
        let oldest = found.map(|(_, oldest, _)| seconds_between(*oldest, now));
        let heard = Instant(view.heard_at_s.saturating_mul(MICROSECONDS));
        let signs = Signs {
            is_running: view.state == "running",
            silent_s: seconds_between(heard, now),
            error_percent: view.counters.error_percent,
            waiting_s: oldest,
        };
        let alerts = judge(&view.settings, &signs);
        view.alerts = alerts
            .into_iter()
            .map(|(kind, text)| format!("{kind}: {text}"))
            .collect();
    }
    Ok(views)
}

fn seconds_between(from: Instant, to: Instant) -> u64 {
    u64::try_from((to.0 - from.0) / MICROSECONDS).unwrap_or(0)
}

/// The alerts for Prometheus: 1 for each that holds, 0 for the others.
pub fn metrics(views: &[FeedView]) -> String {
    let mut out = String::new();
    if views.is_empty() {
        return out;
    }
    out.push_str("# HELP stoker_feed_alert Whether an alert of a feed holds.\n# TYPE stoker_feed_alert gauge\n");
    for view in views {
        for kind in KINDS {
            let holds = view.alerts.iter().any(|alert| alert.starts_with(kind));
            let (name, value) = (&view.name, u8::from(holds));
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "stoker_feed_alert{{feed=\"{name}\",alert=\"{kind}\"}} {value}"
            );
        }
    }
    out.push_str("# HELP stoker_feed_waiting Messages that wait for a person or an earlier message.\n# TYPE stoker_feed_waiting gauge\n");
    for view in views {
        let (name, waiting) = (&view.name, view.waiting);
        let _ = writeln!(out, "stoker_feed_waiting{{feed=\"{name}\"}} {waiting}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-322, RC-322
    #[test]
    fn alerts_hold_when_their_setting_is_passed_and_never_without_one() {
        let watchful = FeedSettings {
            alert_silence_seconds: Some(60),
            alert_error_percent: Some(10),
            alert_waiting_seconds: Some(300),
            ..FeedSettings::default()
        };
        let bad = Signs {
            is_running: true,
            silent_s: 61,
            error_percent: 10,
            waiting_s: Some(301),
        };
        let good = Signs {
            silent_s: 60,
            error_percent: 9,
            waiting_s: Some(300),
            ..bad
        };
        let paused = Signs {
            is_running: false,
            waiting_s: None,
            ..bad
        };
        let kinds = |settings: &FeedSettings, signs: &Signs| {
            let alerts = judge(settings, signs);
            alerts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&watchful, &bad), KINDS);
        assert!(kinds(&watchful, &good).is_empty());
        assert_eq!(kinds(&watchful, &paused), ["errors"]);
        assert!(kinds(&FeedSettings::default(), &bad).is_empty());
    }
}
