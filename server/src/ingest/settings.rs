//! The sources of device data in the settings file: `[[device]]` over HTTP, `[[mqtt]]` from a broker.
//!
//! Guide: `docs/guide/devices.md`. Left out: reloading while running.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How far ahead of the server's clock a measurement may be unless configured, in seconds.
const FUTURE_SECONDS_MAX: u64 = 300;

/// One sender of payloads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSource {
    /// Its name in URLs, messages and logs.
    pub name: String,
    /// The payload mapping that reads what it sends.
    pub mapping: String,
    /// URI of the system its device identifiers belong to; default `urn:stoker:device`.
    #[serde(default = "device_system")]
    pub device_system: String,
    /// Last resort of the zone policies `device` and `patient`, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How far in the future a measurement may lie, in seconds.
    #[serde(default = "future_seconds_max")]
    pub future_seconds_max: u64,
    /// Whether plain values of dense measures are kept as samples of a series; they are served as Observations alike.
    #[serde(default = "dense")]
    pub dense: bool,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MqttBroker {
    /// Names the session at the broker: unique there, and the same after every restart.
    pub client_id: String,
    /// `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
    pub url: String,
    /// User at the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) that the broker's must lead to; needed for `mqtts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Certificate (PEM) this server shows, when the broker asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Private key (PEM) of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Seconds between pings.
    #[serde(default = "keep_alive_seconds")]
    pub keep_alive_seconds: u64,
    /// Messages that commit side by side.
    #[serde(default = "window")]
    pub window: usize,
    /// What is subscribed.
    pub topic: Vec<MqttTopic>,
}

/// Topics of one sender.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MqttTopic {
    /// Topic filter, `ward/+/vitals`, or shared, `$share/stoker/ward/+/vitals`.
    pub filter: String,
    /// Name of a `[[device]]` source, or of a payload mapping.
    pub source: String,
}

impl DeviceSource {
    /// The source that a mapping's name alone stands for.
    pub fn of_mapping(mapping: &str) -> Self {
        Self {
            name: mapping.to_owned(),
            mapping: mapping.to_owned(),
            device_system: device_system(),
            zone: None,
            future_seconds_max: FUTURE_SECONDS_MAX,
            dense: dense(),
        }
    }
}

fn device_system() -> String {
    "urn:stoker:device".to_owned()
}

fn future_seconds_max() -> u64 {
    FUTURE_SECONDS_MAX
}

fn dense() -> bool {
    true
}

fn keep_alive_seconds() -> u64 {
    30
}

fn window() -> usize {
    device::mqtt::WINDOW_DEFAULT
}
