//! `cargo xtask bench`: builds everything in release and runs the benchmark of the system tests.
//!
//! Leaves out measuring: `tests/src/bench` does that.

use crate::workspace::cargo;

/// Builds the server and the benchmark, then runs it with the given arguments.
///
/// # Errors
/// When the build or the benchmark failed.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let build = [
        "build",
        "--release",
        "--locked",
        "-p",
        "stoker",
        "-p",
        "system-tests",
        "--bins",
    ];
    let run = [
        "run",
        "--release",
        "--locked",
        "-p",
        "system-tests",
        "--bin",
        "bench",
        "--",
    ];
    for (name, command) in [
        ("build", cargo().args(build)),
        ("bench", cargo().args(run).args(arguments)),
    ] {
        let status = command
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !status.success() {
            return Err(format!("bench: {name} ended with {status}"));
        }
    }
    Ok(())
}
