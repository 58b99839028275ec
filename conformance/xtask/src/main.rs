//! Development tasks: `cargo xtask <task>`.
//!
//! Each task is a module; a task prints what it did and fails with a text that says what to fix.

mod codegen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask codegen [--check] [--source DIR]";

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
    let workspace = workspace_root();
    let is_check = arguments.iter().any(|argument| argument == "--check");
    let option = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).map(PathBuf::from)
    };
    match arguments.first().map(String::as_str) {
        Some("codegen") => codegen::run(&workspace, option("--source").as_deref(), is_check),
        _ => Err(USAGE.to_owned()),
    }
}

/// The workspace root, two levels above this crate.
fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}
