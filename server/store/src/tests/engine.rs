//! Databases for tests: a file in a temporary folder, or a database of a PostgreSQL server of this test process.

use std::future::Future;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use fhir_core::ids::Instant;

use crate::db::Db;
use crate::{Store, StoreOptions};

/// A database, kept as long as this lives.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
}

impl TestDatabase {
    /// Options with a clock that moves a second at each look.
    pub(crate) fn options(&self) -> StoreOptions {
        let now = AtomicI64::new(1_700_000_000_000_000);
        let clock = Arc::new(move || Instant(now.fetch_add(1_000_000, Ordering::Relaxed)));
        let mut options = StoreOptions::new(self.url.clone(), clock);
        options.hash_seed = Some([7; 16]);
        options.cache_kib = 4 * 1024;
        options.mmap_bytes = 64 << 20;
        options
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.options()).await.expect("the store opens")
    }

    /// A connection beside the store.
    pub(crate) fn connect(&self) -> Db {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => Db::connect_sqlite(path).expect("SQLite opens"),
            None => Db::connect_postgres(&self.url).expect("PostgreSQL answers"),
        }
    }

    /// Runs work with a connection on a thread of its own (PostgreSQL's needs one without a runtime).
    pub(crate) fn with_db<T: Send>(&self, work: impl FnOnce(&mut Db) -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| work(&mut self.connect()))
                .join()
                .expect("the work succeeds")
        })
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }
}

/// A new file.
pub(crate) fn sqlite() -> TestDatabase {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    TestDatabase {
        url,
        _folder: Some(folder),
    }
}

/// A new database of the server; `None` when PostgreSQL tests are switched off.
pub(crate) fn postgres() -> Option<TestDatabase> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let server = server()?;
    let name = format!("stoker_test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = TestDatabase {
        url: format!("{server}/postgres"),
        _folder: None,
    };
    admin
        .with_db(|db| db.batch(&format!("CREATE DATABASE {name}")))
        .expect("the database is created");
    Some(TestDatabase {
        url: format!("{server}/{name}"),
        _folder: None,
    })
}

/// Runs a test to its end.
pub(crate) fn run<F: Future<Output = ()>>(
    database: TestDatabase,
    test: impl FnOnce(Arc<TestDatabase>) -> F,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test(Arc::new(database)));
}

/// The url of the server, started at the first call and stopped when this process ends in whatever way.
fn server() -> Option<String> {
    static SERVER: OnceLock<Option<(String, Mutex<Child>)>> = OnceLock::new();
    SERVER
        .get_or_init(start)
        .as_ref()
        .map(|(url, _)| url.clone())
}

fn start() -> Option<(String, Mutex<Child>)> {
    if std::env::var_os("STOKER_TEST_SKIP_POSTGRES").is_some_and(|value| value == "1") {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: PostgreSQL tests (STOKER_TEST_SKIP_POSTGRES=1)"
        );
        return None;
    }
    let programs = programs().expect(
        "PostgreSQL's programs are needed: install it, set STOKER_TEST_PG_BIN to its folder, \
         or set STOKER_TEST_SKIP_POSTGRES=1 to go without",
    );
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    let folder = tempfile::Builder::new()
        .prefix("stoker-pg")
        .tempdir()
        .expect("a temporary folder")
        .keep();
    // The server ends when this process does, however it does: its end closes the pipe that `cat` reads.
    let script = format!(
        "set -e; cd {folder}; {bin}/initdb -D data -A trust -U postgres --no-sync -E UTF8 --locale=C >init.log 2>&1; \
         {bin}/postgres -D data -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} \
         -c max_connections=200 -c shared_buffers=64MB >server.log 2>&1 & PG=$!; \
         cat >/dev/null; kill -INT $PG; wait $PG; rm -rf data *.log",
        folder = folder.display(),
        bin = programs.display(),
    );
    let mut command = if is_root() {
        let status = Command::new("chown")
            .arg("postgres")
            .arg(&folder)
            .status()
            .expect("chown runs");
        assert!(status.success(), "the folder is given to the user postgres");
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
        .spawn()
        .expect("bash runs");
    let url = format!("postgres://postgres@127.0.0.1:{port}");
    wait_until_ready(&url);
    Some((url, Mutex::new(child)))
}

fn wait_until_ready(url: &str) {
    let url = format!("{url}/postgres");
    let ready = std::thread::spawn(move || {
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 60 {
            if Db::connect_postgres(&url).is_ok() {
                return true;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        false
    });
    assert!(
        ready.join().expect("the thread ends"),
        "PostgreSQL starts within a minute"
    );
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0\n"))
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
    folders.retain(|folder: &PathBuf| Path::new(folder).join("initdb").exists());
    folders.sort();
    folders.pop()
}
