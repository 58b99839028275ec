//! Drives the built server with clients that other people wrote: installs them into `target/clients`, starts a server,
//! runs the scripts of `tests/clients`.
//!
//! Leaves out lock files of the package managers: the versions are pinned by name, their dependencies are not the product's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::Outcome;
use crate::workspace::{cargo, root};

/// Programs that run one script with the server's FHIR base.
const SCRIPTS: [&str; 3] = ["fhirpy_check.py", "fhirclient_check.py", "openapi.sh"];
const KIT: &str = "kit_check.mjs";
/// Makes a fresh RSA key (PKCS#8, PEM) in the file its argument names.
const NEW_KEY: &str = "const{generateKeyPairSync:g}=require('crypto');require('fs').writeFileSync(process.argv[1],\
g('rsa',{modulusLength:3072}).privateKey.export({type:'pkcs8',format:'pem'}))";

/// Where the clients are.
pub struct Clients {
    scripts: PathBuf,
    folder: PathBuf,
    has_node: bool,
}

/// Installs the clients.
///
/// # Errors
/// Why they cannot be run here.
pub fn install() -> Result<Clients, String> {
    let scripts = root().join("tests/clients");
    let folder = root().join("target/clients");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let python = folder.join("venv/bin/python");
    if !python.is_file() {
        let venv = folder.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let requirements = scripts.join("requirements.txt");
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements))?;
    Ok(Clients {
        scripts,
        folder,
        has_node: false,
    })
}

impl Clients {
    /// Installs what runs on Node.js too.
    ///
    /// # Errors
    /// Why it cannot be run here.
    pub fn install_node(&mut self) -> Result<(), String> {
        for file in ["package.json", KIT] {
            let (from, to) = (self.scripts.join(file), self.folder.join(file));
            fs::copy(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
        }
        run(Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
            ])
            .current_dir(&self.folder))?;
        self.has_node = true;
        Ok(())
    }

    /// Runs every script against a server of its own.
    pub fn check(&self) -> Outcome {
        let mut failed = Vec::new();
        for script in SCRIPTS {
            let mut command = if script.ends_with(".py") {
                Command::new(self.folder.join("venv/bin/python"))
            } else {
                Command::new("sh")
            };
            command.arg(self.scripts.join(script));
            if let Err(reason) = self.run_one(command, script.ends_with(".sh")) {
                failed.push(format!("{script}: {reason}"));
            }
        }
        if self.has_node {
            let mut command = Command::new("node");
            command.arg(KIT).current_dir(&self.folder);
            if let Err(reason) = self.run_one(command, false) {
                failed.push(format!("{KIT}: {reason}"));
            }
            if let Err(reason) = self.verify_assertions() {
                failed.push(format!("oidc-provider: {reason}"));
            }
        }
        if failed.is_empty() {
            Outcome::Passed
        } else {
            Outcome::Failed(failed.join("\n"))
        }
    }

    /// The EHR adapter's token requests before a token server that other people wrote.
    fn verify_assertions(&self) -> Result<(), String> {
        let key = self.folder.join("key.pem");
        run(Command::new("node").args(["-e", NEW_KEY]).arg(&key))?;
        let example = "verify_assertions";
        let package = ["run", "--quiet", "--locked", "-p", "ehr-simulators"];
        run(cargo()
            .args(package)
            .args(["--example", example, "--"])
            .arg(&self.folder)
            .arg(&key))
    }

    fn run_one(&self, mut command: Command, is_openapi: bool) -> Result<(), String> {
        let database = self.folder.join("server.db");
        for suffix in ["", "-wal", "-shm"] {
            // The database of the script before; there is none the first time.
            let _ = fs::remove_file(format!("{}{suffix}", database.display()));
        }
        let server = Server::start(&database)?;
        command.arg(&server.base);
        if is_openapi {
            command.arg(self.folder.join("venv/bin/schemathesis"));
        }
        run(&mut command)
    }
}

/// The built program on ports of the system's choice; killed when dropped.
struct Server {
    process: Child,
    base: String,
}

impl Server {
    fn start(database: &Path) -> Result<Self, String> {
        let program = root().join("target/debug/stoker");
        let mut process = Command::new(&program)
            .args(["serve", "--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0"])
            .arg("--database")
            .arg(format!("sqlite:{}", database.display()))
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let output = process.stdout.take();
        let mut server = Self {
            process,
            base: String::new(),
        };
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|o| BufReader::new(o).lines()) {
                // Nobody may listen any more; the pipe is drained all the same, or the server would wait.
                let _ = line.map(|line| send.send(line));
            }
        });
        for line in lines {
            if let Some(address) = line.strip_prefix("listening http ") {
                server.base = format!("http://{}/fhir", address.trim());
                return Ok(server);
            }
        }
        Err("the server did not start".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name} cannot be run: {error}")),
    }
}
