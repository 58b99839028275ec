//! The benchmark: Stoker beside the limits of the same machine, in one run, CPU seconds of server and load apart.
//!
//! `--only messages` measures HL7 v2 alone, `--only devices` device data alone. `cargo xtask bench` builds everything in release and runs this. `--observations N` (default 300000) and
//! `--quick` (20000) set the size. It aims at loopback and stops by itself.
//! `--folder PATH` keeps the database there, and takes the one of an earlier run instead of importing again;
//! `--only reads,searches,creates` measures a part, `--searches TEXT` the searches whose name has it.

use std::path::PathBuf;
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
    let text = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let only = text("--only");
    let wants = |part: &str| {
        only.as_ref()
            .is_none_or(|list| list.split(',').any(|p| p == part))
    };
    let temporary = tempfile::tempdir()?;
    let folder = text("--folder").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let mut report = Report::default();
    let limits = bench::limits::measure(&scale, &folder)?;
    let needs_observations = ["import", "reads", "searches", "creates"]
        .into_iter()
        .any(wants);
    if needs_observations && !folder.join("stoker.db").exists() {
        bench::import::measure(&scale, &folder, &limits, &mut report)?;
    }
    if wants("reads") {
        bench::searches::reads(&scale, &folder, &limits, &mut report)?;
    }
    if wants("searches") {
        let name = text("--searches").unwrap_or_default();
        bench::searches::measure(&scale, &folder, &limits, &mut report, &name)?;
    }
    if wants("creates") {
        bench::creates::measure(&scale, &folder, &limits, &mut report)?;
    }
    if wants("messages") {
        bench::messages::measure(&scale, &folder, &mut report)?;
    }
    // Only when asked for: it brings millions of samples of its own.
    if only
        .as_ref()
        .is_some_and(|list| list.split(',').any(|part| part == "devices"))
    {
        bench::devices::measure(&scale, &folder, is_quick, &mut report)?;
    }
    report.print(&limits, &scale);
    Ok(())
}
