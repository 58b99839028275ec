//! A program under test as an own process: started, measured, killed.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

/// Clock ticks a second in `/proc/PID/stat`; Linux has reported 100 to user space for decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program that is killed when dropped.
pub struct Process {
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
}

impl Process {
    /// Starts a program; its standard output is read line by line, its error output goes through.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, arguments: &[&str]) -> io::Result<Self> {
        Self::start_with(Command::new(program).args(arguments))
    }

    /// Starts a prepared command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no standard output"))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody may be listening any more; the pipe must be drained all the same.
                let _ = send.send(line);
            }
        });
        Ok(Self {
            child,
            lines: Mutex::new(lines),
        })
    }

    /// Waits for an output line that `find` accepts.
    ///
    /// # Errors
    /// When the program ends or says nothing of the kind within `limit`.
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = std::time::Instant::now() + limit;
        let lines = self
            .lines
            .get_mut()
            .map_err(|_| io::Error::other("a reader failed"))?;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(e) => {
                    return Err(io::Error::other(format!(
                        "the expected line did not come: {e}"
                    )));
                }
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds used so far, user and system.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.id().to_string())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or("");
        line.split_whitespace()
            .nth(1)
            .and_then(|k| k.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }

    /// Kills at once, as a power failure of the process would (`SIGKILL`).
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to stop (`SIGTERM`) and waits for the end.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn terminate(&mut self) -> io::Result<std::process::ExitStatus> {
        Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()?;
        self.child.wait()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of a process by id, or of `self`.
pub fn cpu_seconds(pid: &str) -> f64 {
    seconds_at(pid, 11)
}

/// CPU seconds of all children of this process that have ended.
pub fn children_cpu_seconds() -> f64 {
    seconds_at("self", 13)
}

/// User and system time, which stand side by side behind the name of the program.
fn seconds_at(pid: &str, place: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    let ticks = fields.skip(place).take(2);
    let ticks: f64 = ticks.filter_map(|text| text.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// A program built beside the running one, such as `stoker` in the same target directory.
///
/// # Errors
/// When it has not been built.
pub fn built_program(name: &str) -> io::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    while folder.pop() {
        let program = folder.join(name);
        if program.is_file() {
            return Ok(program);
        }
    }
    Err(io::Error::other(format!(
        "`{name}` is not built; run `cargo build` first"
    )))
}
