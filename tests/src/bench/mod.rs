//! The parts of the benchmark, one file each, and the table they print.

pub mod creates;
pub mod devices;
pub mod import;
pub mod limits;
pub mod messages;
pub mod searches;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::load::Measured;
use crate::process::{Process, built_program};
use limits::Limits;

/// Longest wait for a program to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How large a run is.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Observations in the database.
    pub observations: u64,
    /// Patients they belong to.
    pub patients: u64,
    /// Longest duration of one load.
    pub longest: Duration,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Per second of wall time.
    pub rate: f64,
    /// Median and 99th percentile in milliseconds, where there are single answers.
    pub latency_ms: Option<(f64, f64)>,
    /// Server CPU microseconds for one.
    pub server_cpu_micros: f64,
    /// CPU microseconds of the load for one.
    pub load_cpu_micros: f64,
    /// The limit's CPU microseconds, and its name.
    pub limit: Option<(f64, &'static str)>,
    /// The ratio aimed at.
    pub aim: Option<f64>,
}

/// Everything measured of Stoker.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a line from a load.
    pub fn add(
        &mut self,
        name: &str,
        measured: &Measured,
        limit: Option<(f64, &'static str)>,
        aim: Option<f64>,
    ) {
        if measured.refused > 0 {
            self.note(format!(
                "{name}: {} of {} requests were REFUSED",
                measured.refused, measured.requests
            ));
        }
        self.rows.push(Row {
            name: name.to_owned(),
            rate: measured.rate(),
            latency_ms: Some((measured.percentile_ms(0.5), measured.percentile_ms(0.99))),
            server_cpu_micros: measured.cpu_micros(),
            load_cpu_micros: measured.load_cpu * 1e6 / measured.requests.max(1) as f64,
            limit,
            aim,
        });
    }

    /// Adds a finished line.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Prints the table.
    pub fn print(&self, limits: &Limits, scale: &Scale) {
        println!(
            "\n{} Observations of {} patients; CPU is the server's, user and system\n",
            scale.observations, scale.patients
        );
        println!("| limit on this machine | CPU µs each | per second |\n|---|---|---|");
        for (name, micros, rate) in limits.rows() {
            println!("| {name} | {micros:.1} | {rate:.0} |");
        }
        println!(
            "\n| Stoker | per second | p50 ms | p99 ms | server CPU µs | load CPU µs | limit µs | ratio | aim |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let (p50, p99) = row
                .latency_ms
                .map_or((String::new(), String::new()), |(a, b)| {
                    (format!("{a:.2}"), format!("{b:.2}"))
                });
            let (limit, ratio) =
                row.limit
                    .map_or((String::new(), String::new()), |(micros, name)| {
                        (
                            format!("{micros:.1} ({name})"),
                            format!("{:.2}", row.server_cpu_micros / micros.max(1e-9)),
                        )
                    });
            let aim = row.aim.map_or(String::new(), |aim| format!("≤ {aim}"));
            println!(
                "| {} | {:.0} | {p50} | {p99} | {:.1} | {:.1} | {limit} | {ratio} | {aim} |",
                row.name, row.rate, row.server_cpu_micros, row.load_cpu_micros
            );
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
    }
}

/// Starts a program that prints where it listens.
///
/// # Errors
/// When it does not start.
pub fn start(program: &str, arguments: &[&str], prefix: &str) -> io::Result<(Process, SocketAddr)> {
    let mut command = Command::new(built_program(program)?);
    command.args(arguments).env("RUST_LOG", "warn");
    let mut process = Process::start_with(&mut command)?;
    let address = process.wait_for(START_LIMIT, |line| {
        line.strip_prefix(prefix)?.trim().parse().ok()
    })?;
    Ok((process, address))
}

/// Starts Stoker on a database file.
///
/// # Errors
/// When it does not start.
pub fn start_stoker(database: &Path, more: &[&str]) -> io::Result<(Process, SocketAddr)> {
    let database = format!("sqlite:{}", database.display());
    let mut arguments = vec![
        "serve",
        "--http",
        "127.0.0.1:0",
        "--mllp",
        "127.0.0.1:0",
        "--database",
        &database,
    ];
    arguments.extend_from_slice(more);
    start("stoker", &arguments, "listening http ")
}
