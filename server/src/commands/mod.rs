//! One file for each command of the program.

pub mod check;
pub mod demo;
pub mod demo_ehr;
pub mod ehr;
pub mod ehr_server;
pub mod feeds;
pub mod import;
pub mod messages;
pub mod regress;
pub mod reindex;
pub mod remote;
pub mod send;
pub mod serve;
pub mod settings;

use std::future::Future;

/// Runs a future to its end on a runtime with a thread for each core.
pub fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    run(&mut tokio::runtime::Builder::new_multi_thread(), work)
}

/// The same where blocking work is nothing but computing: more threads than cores would only take memory.
pub fn block_on_computing<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    run(builder.max_blocking_threads(cores + 1), work)
}

fn run<T>(
    builder: &mut tokio::runtime::Builder,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let runtime = builder.enable_all().build();
    runtime
        .map_err(|e| format!("the runtime cannot start: {e}"))?
        .block_on(work)
}

/// Resolves when the process is asked to stop: SIGINT (Ctrl-C) or SIGTERM.
pub async fn stop_signal() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
