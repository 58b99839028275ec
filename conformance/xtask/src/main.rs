//! Development tasks: `cargo xtask <task>`.
//!
//! Each task is a module; a task prints what it did and fails with a text that says what to fix.

mod bench;
mod cases;
mod codegen;
mod fuzz;
mod soup;
mod test;
mod tidy;
mod trace;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>
  test                             set up, then run every check and test
  clients                          only the checks by independent clients, on the built server
  codegen [--check] [--source DIR] tables of the FHIR definitions
  cases [--check]                  table of the conformance cases
  tidy                             house rules
  trace [--check]                  requirements, risk controls and tests
  soup [--check]                   dependencies and their review
  fuzz TARGET [--minutes N]        a fuzz target, guided by coverage
  bench [..]                       the benchmark, in release";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(),
        ["clients"] => test::run_clients(),
        ["codegen"] => codegen::run(None, false),
        ["codegen", "--check"] => codegen::run(None, true),
        ["codegen", "--source", folder] => codegen::run(Some(PathBuf::from(folder)), false),
        ["codegen", "--check", "--source", folder] | ["codegen", "--source", folder, "--check"] => {
            codegen::run(Some(PathBuf::from(folder)), true)
        }
        ["tidy"] => tidy::run(),
        ["trace"] => trace::run(false),
        ["trace", "--check"] => trace::run(true),
        ["soup"] => soup::run(false),
        ["soup", "--check"] => soup::run(true),
        ["cases"] => cases::run(false),
        ["cases", "--check"] => cases::run(true),
        ["fuzz", target @ ..] => fuzz::run(target),
        ["bench", ..] => bench::run(arguments.get(1..).unwrap_or_default()),
        _ => Err(USAGE.to_owned()),
    }
}
