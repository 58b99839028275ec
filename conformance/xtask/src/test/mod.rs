//! `cargo xtask test`: everything that must pass, in one command, with its own set-up.
//!
//! Leaves out benchmarks and security advisories.

mod clients;
mod mosquitto;
mod postgres;

use std::process::Command;
use std::time::Instant;

use crate::workspace::cargo;

/// Where tests look for the PostgreSQL programs `initdb` and `postgres`.
const POSTGRES_VARIABLE: &str = "STOKER_TEST_PG_BIN";

/// How a step ended.
enum Outcome {
    Passed,
    Failed(String),
}

/// What happened, for the summary.
#[derive(Default)]
struct Summary {
    lines: Vec<String>,
    not_run: Vec<String>,
    failures: usize,
}

/// Runs all steps, also after one failed, and prints a summary.
///
/// # Errors
/// When any step failed.
pub fn run() -> Result<(), String> {
    let mut summary = Summary::default();
    let postgres = match postgres::find_or_install() {
        Ok(folder) => {
            println!("test: PostgreSQL programs in {}", folder.display());
            Some(folder)
        }
        Err(reason) => {
            summary
                .not_run
                .push(format!("tests against PostgreSQL: {reason}"));
            None
        }
    };
    let mosquitto = mosquitto::find_or_install();
    if let Err(reason) = &mosquitto {
        summary
            .not_run
            .push(format!("tests against an MQTT broker: {reason}"));
    }
    summary.step("fmt --check", || {
        cargo_step(cargo().args(["fmt", "--all", "--check"]))
    });
    summary.step("tidy", || task(crate::tidy::run()));
    let source = crate::codegen::find_source(None);
    if source.is_none() {
        let reason =
            "inputs not available; the checksums of the committed tables were verified instead";
        summary
            .not_run
            .push(format!("regeneration of the definition tables: {reason}"));
    }
    summary.step("codegen --check", || task(crate::codegen::run(None, true)));
    summary.step("trace --check", || task(crate::trace::run(true)));
    summary.step("soup --check", || task(crate::soup::run(true)));
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    summary.step("clippy -D warnings", || cargo_step(cargo().args(clippy)));
    // End-to-end tests start the program itself, which `cargo test` does not build for another package.
    summary.step("build", || {
        cargo_step(cargo().args(["build", "--workspace", "--bins", "--locked"]))
    });
    summary.step("test --workspace", || {
        let mut command = cargo();
        command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
        if let Some(folder) = &postgres {
            command.env(POSTGRES_VARIABLE, folder);
        }
        if mosquitto.is_err() {
            command.env("STOKER_TEST_SKIP_MOSQUITTO", "1");
        }
        cargo_step(&mut command)
    });
    summary.independent_clients();
    summary.finish()
}

/// Only the checks by independent clients, on the server built before.
///
/// # Errors
/// When one failed.
pub fn run_clients() -> Result<(), String> {
    let mut summary = Summary::default();
    summary.independent_clients();
    summary.finish()
}

impl Summary {
    fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = run();
        let seconds = start.elapsed().as_secs();
        match outcome {
            Outcome::Passed => self.lines.push(format!("passed   {name} ({seconds} s)")),
            Outcome::Failed(reason) => {
                eprintln!("{reason}");
                self.failures += 1;
                self.lines.push(format!("FAILED   {name} ({seconds} s)"));
            }
        }
    }

    fn independent_clients(&mut self) {
        let mut clients = match clients::install() {
            Ok(clients) => clients,
            Err(reason) => {
                let line = format!("independent clients (python3 with venv, PyPI): {reason}");
                self.not_run.push(line);
                return;
            }
        };
        if let Err(reason) = clients.install_node() {
            let line = format!("fhir-kit-client and fhirpath.js (node, npm): {reason}");
            self.not_run.push(line);
        }
        self.step("independent clients", || clients.check());
    }

    fn finish(&self) -> Result<(), String> {
        println!("\n=== summary");
        for line in &self.lines {
            println!("{line}");
        }
        for reason in &self.not_run {
            println!("NOT RUN  {reason}");
        }
        match (self.failures, self.not_run.is_empty()) {
            (0, true) => println!("all passed"),
            (0, false) => {
                println!("what ran passed; what is named NOT RUN has not been shown to work")
            }
            (failures, _) => {
                return Err(format!("{failures} of {} steps failed", self.lines.len()));
            }
        }
        Ok(())
    }
}

fn task(result: Result<(), String>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

fn cargo_step(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("cargo ended with {status}")),
        Err(error) => Outcome::Failed(format!("cannot run cargo: {error}")),
    }
}
