//! The program `stoker`.

use std::process::ExitCode;

/// Requests make many small short-lived allocations; mimalloc serves them with less CPU than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stoker::cli::run()
}
