//! `stoker serve`: the server until it is told to stop.

use crate::app::App;
use crate::cli::WithSettings;
use crate::commands::{block_on, stop_signal};
use crate::config::Config;
use crate::telemetry;

/// Runs the server until SIGTERM or SIGINT; then what was received is finished and answered.
///
/// # Errors
/// Settings that cannot be used, an address in use, a database that cannot be opened.
pub fn run(arguments: &WithSettings) -> Result<(), String> {
    let config = Config::load(&arguments.settings, arguments.config.as_deref())
        .map_err(|e| e.to_string())?;
    telemetry::start(&config)?;
    block_on(async {
        if !config.http.ip().is_loopback() {
            tracing::warn!(http = %config.http, "open mode on a reachable address: whoever connects has full access");
        }
        let app = App::start(config).await.map_err(|e| e.to_string())?;
        announce(&app);
        stop_signal().await?;
        tracing::info!("stopping: running requests and messages are finished first");
        app.stop().await;
        Ok(())
    })
}

/// Tells on standard output where the server listens, one line for each door: programs that start it wait for these.
pub fn announce(app: &App) {
    println!("listening http {}", app.http);
    if let Some(mllp) = app.mllp {
        println!("listening mllp {mllp}");
    }
    for (name, transport, address) in &app.feeds {
        println!("listening feed {name} {} {address}", transport.as_str());
    }
}
