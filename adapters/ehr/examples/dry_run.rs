//! A tenant file tried without a server: `cargo run -p ehr --example dry_run -- tenant.toml plan|doctor|run`.
//!
//! Spec: none. Leaves out keeping anything: what `run` fetches stays in memory and is forgotten.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ehr::clock::Machine;
use ehr::memory::Memory;
use ehr::tenant::Tenant;
use ehr::{EhrError, cli};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, command] = words.as_slice() else {
        eprintln!("usage: dry_run tenant.toml plan|doctor|run");
        return ExitCode::FAILURE;
    };
    match done(Path::new(file), command).await {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn done(file: &Path, command: &str) -> Result<String, EhrError> {
    let tenant = Arc::new(Tenant::read(file)?);
    let machine = Arc::new(Machine);
    match command {
        "plan" => cli::plan(tenant, machine).await,
        "doctor" => cli::doctor(tenant, machine).await,
        "run" => cli::run(tenant, Arc::new(Memory::default()), machine).await,
        _ => Err(EhrError::Config("use plan, doctor or run".to_owned())),
    }
}
