//! The real program on a database file, started and asked as a user would.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, built_program};

/// Longest wait for the program to say where it listens; a loaded machine is slow.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Where the server listens.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// The FHIR API.
    pub http: SocketAddr,
    /// HL7 v2.
    pub mllp: SocketAddr,
}

/// A running server.
pub struct TestServer {
    /// The program.
    pub process: Process,
    /// Where it listens.
    pub doors: Doors,
}

impl TestServer {
    /// Starts `stoker serve` on a SQLite file, on ports of the system's choice.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(database: &Path) -> io::Result<Self> {
        Self::start_with(database, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(database: &Path, arguments: &[&str]) -> io::Result<Self> {
        Self::start_on(&url(database), arguments)
    }

    /// The same on the database with this URL.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_on(database: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(built_program("stoker")?);
        command.args(["serve", "--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0"]);
        command
            .args(["--database", database])
            .args(arguments)
            .env("RUST_LOG", "warn");
        let mut process = Process::start_with(&mut command)?;
        let mut address = |door: &str| {
            process.wait_for(START_LIMIT, |line| {
                line.strip_prefix(door)?.trim().parse().ok()
            })
        };
        let doors = Doors {
            http: address("listening http ")?,
            mllp: address("listening mllp ")?,
        };
        Ok(Self { process, doors })
    }
}

/// The URL of a SQLite file.
pub fn url(database: &Path) -> String {
    format!("sqlite:{}", database.display())
}
