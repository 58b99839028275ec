//! The command line: what `stoker` can be told, and where each command goes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{check, demo, ehr, feeds, import, reindex, send, serve, settings};
use crate::commands::{messages, regress};
use crate::config::Settings;

/// A FHIR R4 server that takes hospital data in and gives it out.
#[derive(Parser)]
#[command(name = "stoker", version, about, arg_required_else_help = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    Serve(WithSettings),
    /// Load Bundles (JSON) and NDJSON from files and folders
    Import(import::Arguments),
    /// Send HL7 v2 messages over MLLP, TLS or HTTP and print each acknowledgement
    Send(send::Arguments),
    /// Look into the message log of a running server, and read messages again
    Messages(messages::Arguments),
    /// Say which message, field and rule an element of a resource came from
    Trace(messages::TraceArguments),
    /// Run messages against a draft of the mappings and print what differs
    Regress(regress::Arguments),
    /// List, register, change, pause, resume and remove the feeds of a running server
    Feeds(feeds::Arguments),
    /// Start a server with a small synthetic hospital and print what to try
    Demo(demo::Arguments),
    /// Plan, check and run the copy of an EHR
    #[command(subcommand)]
    Ehr(ehr::Command),
    /// Make the search index of every resource anew
    Reindex(WithSettings),
    /// Check that the database is sound
    Check(WithSettings),
    /// Check or print the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version
    Version,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the settings can be used
    Check(WithSettings),
    /// Print the settings in force, passwords masked
    Print(WithSettings),
}

/// The settings and the file they may come from.
#[derive(Debug, Clone, Args)]
pub struct WithSettings {
    /// Settings file (default: `stoker.toml` if it is there)
    #[arg(long, env = "STOKER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings themselves.
    #[command(flatten)]
    pub settings: Settings,
}

/// Runs the command that the arguments of the process name.
pub fn run() -> ExitCode {
    let result = match Program::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Messages(arguments) => messages::run(&arguments),
        Command::Trace(arguments) => messages::trace(&arguments),
        Command::Regress(arguments) => regress::run(&arguments),
        Command::Feeds(arguments) => feeds::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Ehr(command) => ehr::run(command),
        Command::Reindex(arguments) => reindex::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Config(ConfigCommand::Check(arguments)) => settings::check(&arguments),
        Command::Config(ConfigCommand::Print(arguments)) => settings::print(&arguments),
        Command::Version => {
            println!("stoker {} (FHIR 4.0.1)", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("stoker: {text}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Program as clap::CommandFactory>::command().debug_assert();
    }
}
