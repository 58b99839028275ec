//! Import of a whole population, bytes on disk, memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::limits::Limits;
use super::{Report, Row, Scale};
use crate::process::{Process, built_program, children_cpu_seconds};
use crate::synthetic;

/// Imports Patients and Observations with the `import` command into `stoker.db` of the folder.
///
/// # Errors
/// When the import fails.
pub fn measure(
    scale: &Scale,
    folder: &Path,
    limits: &Limits,
    report: &mut Report,
) -> io::Result<()> {
    let source = folder.join("population");
    std::fs::create_dir_all(&source)?;
    let json_bytes = write_population(scale, &source)?;
    let database = folder.join("stoker.db");
    let start = Instant::now();
    let mut command = Command::new(built_program("stoker")?);
    command
        .args([
            "import",
            "--database",
            &format!("sqlite:{}", database.display()),
        ])
        .arg(&source);
    let children_before = children_cpu_seconds();
    let mut process = Process::start_with(&mut command)?;
    let status = process.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(io::Error::other("the import failed"));
    }
    let cpu = children_cpu_seconds() - children_before;
    let resources = (scale.observations + scale.patients) as f64;
    report.row(Row {
        name: "import, all search parameters indexed (one resource)".to_owned(),
        rate: resources / seconds,
        latency_ms: None,
        server_cpu_micros: cpu * 1e6 / resources,
        load_cpu_micros: 0.0,
        limit: Some((limits.insert.0, "bare insert")),
        aim: Some(8.0),
    });
    let on_disk = std::fs::metadata(&database)?.len();
    report.note(format!(
        "disk: {:.0} bytes a resource for {:.0} bytes of JSON with all indexes = {:.2} of the JSON (aim ≤ 0.7)",
        on_disk as f64 / resources,
        json_bytes as f64 / resources,
        on_disk as f64 / json_bytes as f64
    ));
    std::fs::remove_dir_all(&source)
}

/// Writes NDJSON, one file a type; returns the bytes of the resources.
fn write_population(scale: &Scale, folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut patients = BufWriter::new(File::create(folder.join("Patient.ndjson"))?);
    for number in 0..scale.patients {
        let line = synthetic::patient(number);
        bytes += line.len() as u64;
        writeln!(patients, "{line}")?;
    }
    let mut observations = BufWriter::new(File::create(folder.join("Observation.ndjson"))?);
    for number in 0..scale.observations {
        let line = synthetic::observation(number, scale.patients);
        bytes += line.len() as u64;
        writeln!(observations, "{line}")?;
    }
    patients.flush()?;
    observations.flush()?;
    Ok(bytes)
}
