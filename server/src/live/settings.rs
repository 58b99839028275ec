//! Settings of subscriptions and alerts: tables `[live]` and `[[alert]]` of the settings file.
//!
//! Guide: `docs/guide/subscriptions.md`. Left out: changing `[live]` while running.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits and secrets of subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSettings {
    /// Subscriptions that can be active at a time.
    pub subscriptions_max: usize,
    /// What rest-hook endpoints must begin with; empty: any `https://`, and `http://` of this machine as long as the
    /// server itself listens there only.
    pub endpoints: Vec<String>,
    /// Deliveries tried one after another before a subscription goes to `error`.
    pub attempts_max: u32,
    /// Wait before the second attempt, in milliseconds; it doubles from then on.
    pub retry_first_ms: u64,
    /// Longest wait between attempts, in seconds.
    pub retry_seconds_max: u64,
    /// Longest wait for a receiver's answer, in seconds; a subscription can ask for less.
    pub answer_seconds_max: u64,
    /// Days that events can be asked for with `$events`.
    pub events_kept_days: u64,
    /// Events of one subscription kept at most.
    pub events_kept_max: u64,
    /// Where clients reach the websocket, such as `wss://fhir.example.org/websocket`; made from the FHIR base if not set.
    pub websocket_url: Option<String>,
    /// Keys that deliveries are signed with.
    pub secret: Vec<SigningSecret>,
}

/// A key that deliveries are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SigningSecret {
    /// The name that subscriptions use; `default` signs all that name none.
    pub name: String,
    /// File with the key; line ends at its end do not count.
    pub file: PathBuf,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            subscriptions_max: 5_000,
            endpoints: Vec::new(),
            attempts_max: 8,
            retry_first_ms: 1_000,
            retry_seconds_max: 300,
            answer_seconds_max: 10,
            events_kept_days: 7,
            events_kept_max: 100_000,
            websocket_url: None,
            secret: Vec::new(),
        }
    }
}

/// An alert rule: when a value is beyond a limit for long enough, something is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Its name, unique.
    pub name: String,
    /// System of the code.
    #[serde(default = "loinc")]
    pub system: String,
    /// Code of the Observation, or of one of its components.
    pub code: String,
    /// `<` or `>`.
    pub comparator: String,
    /// The limit, a decimal.
    pub value: String,
    /// UCUM code of the limit; values in other units count when they convert exactly.
    pub unit: String,
    /// How far back beyond the limit a value must come to clear.
    #[serde(default = "zero")]
    pub hysteresis: String,
    /// How long values must stay beyond the limit.
    #[serde(default)]
    pub hold_seconds: u64,
    /// Values stored later than this after their time move nothing, so that a backfill raises no alarm.
    #[serde(default = "age")]
    pub age_seconds_max: u64,
    /// What is made: `flag` or `detected-issue`.
    #[serde(default)]
    pub makes: Makes,
    /// What people read.
    pub text: String,
}

/// What a raised alert makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Makes {
    /// A Flag: active while raised, then inactive.
    #[default]
    Flag,
    /// A DetectedIssue: preliminary while raised, then final.
    DetectedIssue,
}

fn loinc() -> String {
    "http://loinc.org".to_owned()
}

fn zero() -> String {
    "0".to_owned()
}

fn age() -> u64 {
    300
}
