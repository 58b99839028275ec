//! `stoker ehr …`: plan, check and run a tenant by hand, and keep its keys.
//!
//! `plan` and `doctor` change nothing anywhere. `run` opens the database itself: stop the server first, or ask the
//! running one by `POST /admin/tenants/{tenant}/run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::ehr::auth::keys::Algorithm;
use ::ehr::cli::{self, KeyCommand};
use ::ehr::clock::Machine;
use ::ehr::run::Run;
use ::ehr::tenant::Tenant;
use clap::{Args, Subcommand};

use crate::app::Server;
use crate::cli::WithSettings;
use crate::commands::{block_on, ehr_server};
use crate::config::Config;
use crate::ehr::port::ServerPort;
use crate::ehr::runner::{self, Work};
use crate::ehr::view;
use crate::telemetry;

/// Largest key file read, in bytes; real ones have a few thousand.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// What can be done with tenants.
#[derive(Subcommand)]
pub enum Command {
    /// Show the exact searches a run would make, what is left out and why; asks for no patient's data
    Plan(Which),
    /// Fetch what is new and changed into the database, and print the accounting
    Run(RunArguments),
    /// Make copies again that other rules made, from what is kept of the source; asks the EHR for nothing
    Normalise(RunArguments),
    /// Check discovery, keys and token step by step
    Doctor(Which),
    /// Show what may be believed: how far every search is complete, and except what
    State(StateArguments),
    /// Ask a running server about its tenants
    Server(ehr_server::Arguments),
    /// Keep the keys that the client signs with
    #[command(subcommand)]
    Keys(Keys),
}

/// The tenant.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The tenant's TOML file, or the name of one in the `tenants` folder
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Folder of tenants, for a name
    #[arg(long, env = "STOKER_TENANTS", value_name = "FOLDER")]
    tenants: Option<PathBuf>,
}

/// What `stoker ehr run` can be told.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// The tenant's TOML file, or the name of one in the `tenants` folder
    #[arg(value_name = "TENANT")]
    tenant: String,
    #[command(flatten)]
    settings: WithSettings,
}

/// What `stoker ehr state` can be told.
#[derive(Debug, Clone, Args)]
pub struct StateArguments {
    /// The tenant's TOML file, or the name of one in the `tenants` folder
    #[arg(value_name = "TENANT")]
    tenant: String,
    #[command(flatten)]
    settings: WithSettings,
}

/// What can be done with keys.
#[derive(Subcommand)]
pub enum Keys {
    /// List the keys of a ring
    List(Ring),
    /// Print the public keys as a JSON Web Key Set
    Jwks(Ring),
    /// Make a new ES384 key; the one before signs until the EHRs had time to fetch the new one
    Rotate(Ring),
    /// Take in a PKCS#8 private key (PEM)
    Import {
        /// The ring.
        #[command(flatten)]
        ring: Ring,
        /// What it signs with
        #[arg(value_enum)]
        algorithm: SigningAlgorithm,
        /// The key file
        file: PathBuf,
    },
    /// Remove a key that no EHR needs any more
    Drop {
        /// The ring.
        #[command(flatten)]
        ring: Ring,
        /// The key's id
        kid: String,
    },
}

/// The key ring.
#[derive(Debug, Clone, Args)]
pub struct Ring {
    /// Folder of the key ring, as in the tenant's `auth.keys`
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Algorithms of client assertions.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum SigningAlgorithm {
    /// RSA, 2,048 bits or more.
    Rs384,
    /// ECDSA on P-384.
    Es384,
}

/// Carries out a command.
///
/// # Errors
/// A tenant's file that cannot be used, with its line; what stopped a run.
pub fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Plan(which) => {
            let tenant = find(&which.tenant, which.tenants.as_deref())?;
            print(block_on(async {
                cli::plan(tenant, Arc::new(Machine))
                    .await
                    .map_err(|e| e.to_string())
            })?);
            Ok(())
        }
        Command::Doctor(which) => {
            let tenant = find(&which.tenant, which.tenants.as_deref())?;
            let text = block_on(async {
                cli::doctor(tenant, Arc::new(Machine))
                    .await
                    .map_err(|e| e.to_string())
            })?;
            let is_well = !text.lines().any(|line| line.starts_with("FAIL"));
            print(text);
            is_well
                .then_some(())
                .ok_or_else(|| "the tenant cannot run as it is".to_owned())
        }
        Command::Run(arguments) => run_once(&arguments, Work::Sync),
        Command::Normalise(arguments) => run_once(&arguments, Work::NormaliseAgain),
        Command::State(arguments) => show_state(&arguments),
        Command::Server(arguments) => ehr_server::run(&arguments),
        Command::Keys(keys) => ring(keys),
    }
}

fn print(text: impl std::fmt::Display) {
    print!("{text}");
}

/// The tenant of a file, or of a name in the folder.
fn find(given: &str, folder: Option<&Path>) -> Result<Arc<Tenant>, String> {
    let path = Path::new(given);
    let path = match folder {
        Some(folder) if !path.is_file() => folder.join(format!("{given}.toml")),
        _ => path.to_owned(),
    };
    Tenant::read(&path).map(Arc::new).map_err(|e| e.to_string())
}

/// Opens the database of the settings, does the work, and closes it.
fn with_server<T>(
    settings: &WithSettings,
    given: &str,
    work: impl AsyncFnOnce(&Arc<Server>, Arc<Tenant>) -> Result<T, String>,
) -> Result<T, String> {
    let config =
        Config::load(&settings.settings, settings.config.as_deref()).map_err(|e| e.to_string())?;
    telemetry::start(&config)?;
    let tenant = find(given, config.tenants.as_deref())?;
    block_on(async {
        let http = config.http;
        let server = Server::open(config, http).await;
        let server = server.map_err(|e| e.to_string())?;
        let result = work(&server, tenant).await;
        server.reads.flush(&server.store).await;
        server.store.close().await;
        result
    })
}

fn run_once(arguments: &RunArguments, work: Work) -> Result<(), String> {
    let text = with_server(
        &arguments.settings,
        &arguments.tenant,
        async |server, tenant| {
            let port = Arc::new(ServerPort::new(Arc::clone(server), &tenant.name));
            let run = Run::new(Arc::clone(&tenant), port, Arc::new(Machine));
            let run = run.map_err(|e| e.to_string())?;
            let (day, today) = runner::spent(server, &tenant.name).await;
            run.polite().set_spent(day, today);
            let started = (server.clock)();
            let report = runner::carry_out(server, &tenant, &run, started, work).await;
            match report {
                Ok(report) => Ok(cli::report_text(&report)),
                Err(error) => Err(format!(
                    "{error}\nwhat was stored stays, and the next run goes on there:\n{}",
                    cli::report_text(&run.report())
                )),
            }
        },
    )?;
    print(text);
    Ok(())
}

fn show_state(arguments: &StateArguments) -> Result<(), String> {
    let lines = with_server(
        &arguments.settings,
        &arguments.tenant,
        async |server, tenant| {
            let rows = server.store.ehr_walks(&tenant.name, None).await;
            let mut lines = String::new();
            for row in rows.map_err(|e| e.to_string())? {
                let walk = crate::ehr::port::walk_of(&row).map_err(|e| e.to_string())?;
                if !walk.0.is_search() {
                    continue;
                }
                lines.push_str(&view::walk(&walk.0, &walk.1).to_string());
                lines.push('\n');
            }
            Ok(lines)
        },
    )?;
    print(lines);
    Ok(())
}

fn ring(keys: Keys) -> Result<(), String> {
    let (folder, command) = match keys {
        Keys::List(ring) => (ring.folder, KeyCommand::List),
        Keys::Jwks(ring) => (ring.folder, KeyCommand::Jwks),
        Keys::Rotate(ring) => (ring.folder, KeyCommand::Rotate),
        Keys::Drop { ring, kid } => (ring.folder, KeyCommand::Drop(kid)),
        Keys::Import {
            ring,
            algorithm,
            file,
        } => {
            let fail = |e: std::io::Error| format!("{}: {e}", file.display());
            if std::fs::metadata(&file).map_err(fail)?.len() > KEY_BYTES_MAX {
                return Err(format!(
                    "{}: longer than {KEY_BYTES_MAX} bytes; that is no key",
                    file.display()
                ));
            }
            let pem = std::fs::read_to_string(&file).map_err(fail)?;
            let algorithm = match algorithm {
                SigningAlgorithm::Rs384 => Algorithm::RS384,
                SigningAlgorithm::Es384 => Algorithm::ES384,
            };
            (ring.folder, KeyCommand::Import(algorithm, pem))
        }
    };
    let text = cli::keys(&folder, command, &Machine).map_err(|e| e.to_string())?;
    println!("{}", text.trim_end());
    Ok(())
}
