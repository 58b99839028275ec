//! Logs: structured, to standard error, without patient data.
//!
//! What may be logged: ids of requests and messages, interactions, counts, times, error ids. What may not: bodies,
//! names, values, search parameter values.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

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
    std::panic::set_hook(Box::new(report_panic));
    // An error means that logging has already begun, which a test process does.
    let _ = match config.log {
        LogFormat::Pretty => logs.compact().try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Reports a failed assumption by its place alone: its message may hold a value of a request.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        place = panic_place(panic.location()),
        "an internal failure; please report this place"
    );
}

fn panic_place(location: Option<&std::panic::Location<'_>>) -> String {
    location.map_or_else(
        || "unknown".to_owned(),
        |at| format!("{}:{}:{}", at.file(), at.line(), at.column()),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// "holds no value of a request"
    /// Verifies: SRS-038
    #[test]
    fn a_panic_is_reported_by_place_without_its_message() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let logs = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Sink(Arc::clone(&sink)))
            .finish();
        tracing::subscriber::with_default(logs, || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(report_panic));
            let result = std::panic::catch_unwind(|| panic!("Testcase^Ada"));
            std::panic::set_hook(before);
            assert!(result.is_err());
        });
        let text = String::from_utf8(written.lock().expect("lock").clone()).expect("text");
        assert!(text.contains("telemetry.rs:"), "{text}");
        assert!(!text.contains("Testcase"), "{text}");
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
