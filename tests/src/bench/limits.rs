//! What the machine can do when nothing but the bare minimum is done.

use std::io;
use std::path::Path;
use std::process::Command;

use super::Scale;
use crate::load::{self, Measured, Request};
use crate::process::built_program;
use crate::synthetic;

/// CPU microseconds of each limit, with its rate.
#[derive(Debug, Clone)]
pub struct Limits {
    /// actix: a constant body of one Observation.
    pub constant: (f64, f64),
    /// actix: POST that parses and answers.
    pub parse: (f64, f64),
    /// actix: a constant searchset of 50 Observations.
    pub bundle: (f64, f64),
    /// Bare SQLite: the same bytes inserted in groups of 1,000 with the same durability.
    pub insert: (f64, f64),
}

impl Limits {
    /// Name, CPU microseconds, rate.
    pub fn rows(&self) -> [(&'static str, f64, f64); 4] {
        [
            ("actix, constant body", self.constant.0, self.constant.1),
            ("actix, POST that only parses", self.parse.0, self.parse.1),
            (
                "actix, constant 50-entry Bundle",
                self.bundle.0,
                self.bundle.1,
            ),
            (
                "bare SQLite insert, groups of 1,000, synchronous=FULL",
                self.insert.0,
                self.insert.1,
            ),
        ]
    }
}

/// Measures all of them.
///
/// # Errors
/// When a program does not start or a connection breaks.
pub fn measure(scale: &Scale, folder: &Path) -> io::Result<Limits> {
    let (mut process, address) = super::start("limits", &[], "listening ")?;
    let run = |make: &(dyn Fn(u64) -> Request + Sync)| -> io::Result<(f64, f64)> {
        // The first part warms up and is not counted.
        load::run(address, process.id(), 16, 2_000, scale.longest, make)?;
        let measured: Measured = load::run(address, process.id(), 16, 60_000, scale.longest, make)?;
        Ok((measured.cpu_micros(), measured.rate()))
    };
    let get = |path: &'static str| {
        move |_| Request {
            method: "GET",
            path: path.to_owned(),
            body: Vec::new(),
        }
    };
    let constant = run(&get("/constant"))?;
    let bundle = run(&get("/bundle"))?;
    let parse = run(&|number| Request {
        method: "POST",
        path: "/parse".to_owned(),
        body: synthetic::observation(number, scale.patients).into_bytes(),
    })?;
    process.terminate()?;
    Ok(Limits {
        constant,
        parse,
        bundle,
        insert: bare_insert(folder)?,
    })
}

/// What the store's file takes when a message is nothing but its bytes: CPU microseconds for one, and messages a second.
/// One row of `bytes` for each message, `group` messages in a transaction with the same durability.
///
/// # Errors
/// When the program does not run.
pub fn bare_messages(folder: &Path, bytes: u64, group: u64) -> io::Result<(f64, f64)> {
    /// Transactions measured: a second or two where each waits for the disk.
    const GROUPS: u64 = 500;
    let numbers = [GROUPS * group, group, bytes].map(|number| number.to_string());
    bare_insert_with(&folder.join(format!("bare-{group}.db")), &numbers)
}

/// Runs the store's example that inserts bodies into one table and prints `inserts N seconds S cpu C`.
fn bare_insert(folder: &Path) -> io::Result<(f64, f64)> {
    bare_insert_with(&folder.join("bare.db"), &[])
}

fn bare_insert_with(file: &Path, numbers: &[String]) -> io::Result<(f64, f64)> {
    // A file of an earlier run has its table already.
    if file.exists() {
        std::fs::remove_file(file)?;
    }
    let output = Command::new(built_program("examples/bare_insert")?)
        .arg(file)
        .args(numbers)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<f64> = text
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    match words.as_slice() {
        [inserts, seconds, cpu] => Ok((cpu * 1e6 / inserts, inserts / seconds)),
        _ => Err(io::Error::other(format!("bare_insert said: {text}"))),
    }
}
