//! The benchmark: Stoker beside the limits of the same machine, in one run, CPU seconds of server and load apart.
//!
//! `--only messages` measures HL7 v2 alone. `cargo xtask bench` builds everything in release and runs this. `--observations N` (default 300000) and
//! `--quick` (20000) set the size. It aims at loopback and stops by itself.

use std::time::Duration;

use system_tests::bench::{self, Report, Scale};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let is_quick = arguments.iter().any(|a| a == "--quick");
    let observations = number("--observations").unwrap_or(if is_quick { 20_000 } else { 300_000 });
    let scale = Scale {
        observations,
        patients: (observations / 100).max(10),
        longest: Duration::from_secs(if is_quick { 2 } else { 6 }),
    };
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let limits = bench::limits::measure(&scale, folder.path())?;
    let only = arguments.iter().position(|a| a == "--only");
    let only = only.and_then(|at| arguments.get(at + 1));
    if only.is_none() {
        bench::import::measure(&scale, folder.path(), &limits, &mut report)?;
        bench::searches::measure(&scale, folder.path(), &limits, &mut report)?;
        bench::creates::measure(&scale, folder.path(), &limits, &mut report)?;
    }
    bench::messages::measure(&scale, folder.path(), &limits, &mut report)?;
    report.print(&limits, &scale);
    Ok(())
}
