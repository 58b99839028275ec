//! Logs: structured, to standard error, without patient data.
//!
//! What may be logged: ids of requests and messages, interactions, counts, times, error ids. What may not: bodies,
//! names, values, search parameter values.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging. A second call in one process changes nothing.
///
/// # Errors
/// A filter that cannot be read.
pub fn start(config: &Config) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&config.log_filter).map_err(|e| format!("`log_filter`: {e}"))?;
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr);
    // An error means that logging has already begun, which a test process does.
    let _ = match config.log {
        LogFormat::Pretty => logs.compact().try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}
