//! A PostgreSQL server for tests, of this process alone, gone when the process ends.
//!
//! Left out: a server that runs already; tests must not find anything there.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for the server to take connections; a loaded machine is slow.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server.
pub struct Postgres {
    /// The URL of its database.
    pub url: String,
    /// Its end closes the pipe that the server's shell reads, which stops the server.
    _child: Child,
}

impl Postgres {
    /// Starts one; `None` when `STOKER_TEST_SKIP_POSTGRES=1` says to go without.
    ///
    /// # Errors
    /// When the programs are missing or the server does not come up.
    pub fn start() -> io::Result<Option<Self>> {
        if std::env::var_os("STOKER_TEST_SKIP_POSTGRES").is_some_and(|value| value == "1") {
            return Ok(None);
        }
        let programs = programs().ok_or_else(|| {
            io::Error::other("PostgreSQL's programs are needed: set STOKER_TEST_PG_BIN to their folder, or STOKER_TEST_SKIP_POSTGRES=1")
        })?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::Builder::new()
            .prefix("stoker-pg")
            .tempdir()?
            .keep();
        let script = format!(
            "set -e; cd {folder}; {bin}/initdb -D data -A trust -U postgres --no-sync -E UTF8 --locale=C >init.log 2>&1; \
             {bin}/postgres -D data -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} \
             -c shared_buffers=64MB >server.log 2>&1 & PG=$!; \
             cat >/dev/null; kill -INT $PG; wait $PG; rm -rf data *.log",
            folder = folder.display(),
            bin = programs.display(),
        );
        let is_root = Command::new("id")
            .arg("-u")
            .output()?
            .stdout
            .starts_with(b"0\n");
        let mut command = if is_root {
            Command::new("chown")
                .arg("postgres")
                .arg(&folder)
                .status()?;
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "bash",
                "-c",
                &script,
            ]);
            command
        } else {
            let mut command = Command::new("bash");
            command.args(["-c", &script]);
            command
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let start = Instant::now();
        // Its log says when it takes connections; a port that is open is a little too early.
        let log = folder.join("server.log");
        while start.elapsed() < START_LIMIT {
            let is_ready = std::fs::read_to_string(&log)
                .is_ok_and(|text| text.contains("ready to accept connections"));
            if is_ready && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
                return Ok(Some(Self { url, _child: child }));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err(io::Error::other("PostgreSQL did not start in time"))
    }
}

fn programs() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("STOKER_TEST_PG_BIN") {
        return Some(folder.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<PathBuf> = versions
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    folders.pop()
}
