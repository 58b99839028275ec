//! `stoker config check` and `stoker config print`.

use crate::cli::WithSettings;
use crate::config::Config;

/// Says whether the settings can be used.
///
/// # Errors
/// What is wrong, with file and line.
pub fn check(arguments: &WithSettings) -> Result<(), String> {
    load(arguments)?;
    println!("the settings can be used");
    Ok(())
}

/// Prints the settings in force as TOML.
///
/// # Errors
/// What is wrong, with file and line.
pub fn print(arguments: &WithSettings) -> Result<(), String> {
    print!("{}", load(arguments)?.to_toml());
    Ok(())
}

fn load(arguments: &WithSettings) -> Result<Config, String> {
    Config::load(&arguments.settings, arguments.config.as_deref()).map_err(|e| e.to_string())
}
