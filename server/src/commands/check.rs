//! `stoker check`: whether the database file is sound and its index complete.

use crate::app::Server;
use crate::cli::WithSettings;
use crate::commands::block_on;
use crate::config::Config;
use crate::telemetry;

/// Checks the database.
///
/// # Errors
/// A database that cannot be opened or is not sound.
pub fn run(arguments: &WithSettings) -> Result<(), String> {
    let config = Config::load(&arguments.settings, arguments.config.as_deref())
        .map_err(|e| e.to_string())?;
    telemetry::start(&config)?;
    block_on(async {
        let http = config.http;
        let server = Server::open(config, http)
            .await
            .map_err(|e| e.to_string())?;
        let result = server.store.integrity_check().await;
        server.store.close().await;
        result.map_err(|e| e.to_string())
    })?;
    println!("the database is sound");
    Ok(())
}
