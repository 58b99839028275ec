//! `cargo xtask fuzz TARGET --minutes N`: a guided run of one fuzz target.
//!
//! libFuzzer with LLVM's coverage counters, which the stable compiler can write. Left out: sanitizers, which need another
//! compiler and find faults of unsafe code, of which there is none.

use std::path::Path;

use crate::workspace::{cargo, root};

/// The flags that count coverage: edges, and what is compared with what.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
];
/// Minutes of a run that names none.
const MINUTES: u64 = 10;
/// Longest input in bytes: what breaks a reader is seldom longer, and short inputs run often.
const INPUT_BYTES_MAX: u32 = 8_192;
/// Seconds after which one input counts as a hang; the slowest legitimate one takes a fraction of a second.
const INPUT_SECONDS_MAX: u32 = 20;
/// Memory in MiB above which a run ends; a request may use a small part of it.
const MEMORY_MIB_MAX: u32 = 2_048;
/// Where what was found lies, below `target/`.
const FOLDER: &str = "target/fuzz";

/// Builds the driver, writes the seeds and runs.
///
/// # Errors
/// Wrong words, a build that fails, or a broken promise, with the input's place.
pub fn run(words: &[&str]) -> Result<(), String> {
    let (target, minutes) = match words {
        [target] => (*target, MINUTES),
        [target, "--minutes", minutes] => (*target, minutes.parse().map_err(|_| usage())?),
        _ => return Err(usage()),
    };
    let root = root();
    let folder = root.join(FOLDER);
    let corpus = folder.join("corpus").join(target);
    let seeds = folder.join("seeds").join(target);
    let found = folder.join("found");
    for path in [&corpus, &found] {
        std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let write_seeds = [
        "run", "--quiet", "--locked", "-p", "fuzz", "--", "seeds", target,
    ];
    succeed(cargo().args(write_seeds).arg(&seeds), "writing the seeds")?;
    // Naming the target platform keeps the flags away from build scripts and macros.
    let host = host()?;
    let build = folder.join("build");
    succeed(
        cargo()
            .args(["build", "--release", "--locked", "--target", &host])
            .arg("--manifest-path")
            .arg(root.join("conformance/fuzz/guided/Cargo.toml"))
            .arg("--target-dir")
            .arg(&build)
            .env("RUSTFLAGS", COVERAGE.join(" ")),
        "building the driver",
    )?;
    let driver = build.join(&host).join("release/guided");
    println!(
        "fuzz: {target} for {minutes} minutes; corpus in {}",
        corpus.display()
    );
    let mut words = seeds.clone().into_os_string();
    words.push(".words");
    let mut command = std::process::Command::new(&driver);
    command
        .env("STOKER_FUZZ_TARGET", target)
        .arg(format!("-max_total_time={}", minutes * 60))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg("-print_final_stats=1")
        .arg(format!("-dict={}", Path::new(&words).display()))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .args([&corpus, &seeds]);
    succeed(&mut command, "the run").map_err(|what| {
        format!(
            "{what}; the input lies in {}: put it into conformance/fuzz/found/{target} with the mending",
            found.display()
        )
    })
}

fn usage() -> String {
    "usage: cargo xtask fuzz search|fhirpath|json|xml|patch|hl7v2 [--minutes N]".to_owned()
}

fn succeed(command: &mut std::process::Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} ended with {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// The platform of the compiler, as `rustc -vV` names it.
fn host() -> Result<String, String> {
    let output = std::process::Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not name its host".to_owned())
}
