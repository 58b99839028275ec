//! The three ways a file of messages can take: MLLP, a folder, an HTTP body.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhir_core::json::Value;

use crate::http_client::Client;
use crate::mllp_client::MllpClient;
use crate::server::TestServer;

/// Longest wait for a file of the folder to be done with, and between two looks.
const FILE_LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for an answer that a message may not want.
const QUIET: Duration = Duration::from_millis(500);

/// What was answered to one file.
#[derive(Debug, Default)]
pub struct Sent {
    /// MSA-1 of every acknowledgement, or `none`.
    pub codes: Vec<String>,
    /// Lines of the `.error` file.
    pub notes: Vec<String>,
}

/// Open feeds of a server.
pub struct Senders {
    /// The FHIR API and `/admin`.
    pub http: Client,
    door: SocketAddr,
    mllp: SocketAddr,
    folder: PathBuf,
    count: usize,
}

impl Senders {
    /// Registers three feeds with the same settings, JSON.
    ///
    /// # Errors
    /// When the server refuses the settings.
    pub fn open(server: &TestServer, settings: &str, temporary: &Path) -> io::Result<Self> {
        let mut http = Client::connect(server.doors.http)?;
        let folder = temporary.join("drop");
        std::fs::create_dir_all(&folder)?;
        let mllp = register(&mut http, "report", settings, &[("address", "127.0.0.1:0")])?;
        register(&mut http, "report-http", settings, &[("transport", "http")])?;
        let path = folder.display().to_string();
        let files = [("transport", "folder"), ("folder", path.as_str())];
        register(&mut http, "report-files", settings, &files)?;
        let listens = mllp.get("listens").and_then(Value::as_str).unwrap_or("");
        Ok(Self {
            http,
            door: server.doors.http,
            mllp: listens.parse().map_err(io::Error::other)?,
            folder,
            count: 0,
        })
    }

    /// Sends one file the way that fits it.
    ///
    /// # Errors
    /// When a connection breaks, or the file is not taken in time.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = self.send_one(bytes)?;
        // While a file was waited for, the server may have closed the connection.
        self.http = Client::connect(self.door)?;
        Ok(sent)
    }

    fn send_one(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        if is_several(bytes) {
            self.drop_file(bytes)
        } else if bytes.iter().any(|byte| matches!(byte, 0x0B | 0x1C)) {
            self.post(bytes)
        } else {
            self.frame(bytes)
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        // A connection for each: some messages want no answer, and the next must not wait for it.
        let mut client = MllpClient::connect(self.mllp)?;
        client.patience(if wants_none(bytes) { Some(QUIET) } else { None })?;
        let mut codes = Vec::new();
        match client.send(bytes) {
            Ok(answer) => codes.extend(self::codes(&answer)),
            Err(error) if is_silence(&error) => codes.push("none".to_owned()),
            Err(error) => return Err(error),
        }
        if is_enhanced(bytes) && codes.len() == 1 {
            client.patience(Some(QUIET))?;
            if let Ok(answer) = client.receive() {
                codes.extend(self::codes(&answer));
            }
        }
        Ok(Sent {
            codes,
            notes: Vec::new(),
        })
    }

    fn post(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        let headers = [("content-type", "application/hl7-v2")];
        let answer = self
            .http
            .request("POST", "/hl7/report-http", &headers, bytes)?;
        Ok(Sent {
            codes: codes(&answer.text()),
            notes: Vec::new(),
        })
    }

    fn drop_file(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        self.count += 1;
        let name = format!("f{:06}.hl7", self.count);
        let begun = self.folder.join(format!("{name}.tmp"));
        std::fs::write(&begun, bytes)?;
        std::fs::rename(begun, self.folder.join(&name))?;
        let start = Instant::now();
        loop {
            for end in ["done", "error"] {
                let folder = self.folder.join(end);
                if folder.join(&name).exists() {
                    let read = |kind: &str| {
                        let path = folder.join(format!("{name}.{kind}"));
                        std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned())
                    };
                    let notes = read("error").unwrap_or_default();
                    return Ok(Sent {
                        codes: codes(&read("ack").unwrap_or_default()),
                        notes: notes.lines().map(str::to_owned).collect(),
                    });
                }
            }
            if start.elapsed() > FILE_LIMIT {
                return Err(io::Error::other("a file was not taken in time"));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Adds members to settings and registers a feed with them.
fn register(
    http: &mut Client,
    name: &str,
    settings: &str,
    members: &[(&str, &str)],
) -> io::Result<Value> {
    let mut value =
        Value::parse(settings.as_bytes()).map_err(|e| io::Error::other(e.to_string()))?;
    let map = value.as_object_mut();
    let map = map.ok_or_else(|| io::Error::other("the feed's settings are no JSON object"))?;
    for (key, text) in members {
        map.insert(*key, Value::from(*text));
    }
    if members.iter().any(|(key, _)| *key == "folder") {
        map.insert("poll_seconds", Value::from(1));
    }
    let path = format!("/admin/feeds/{name}");
    let headers = [("content-type", "application/json")];
    let answer = http.request("PUT", &path, &headers, &value.to_bytes())?;
    if answer.status >= 300 {
        return Err(io::Error::other(answer.text()));
    }
    Value::parse(&answer.body).map_err(|e| io::Error::other(e.to_string()))
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::UnexpectedEof
    )
}

/// MSA-1 of every acknowledgement of a text.
fn codes(text: &str) -> Vec<String> {
    let lines = text.split(['\r', '\n']);
    let msa = lines.filter(|line| line.starts_with("MSA"));
    msa.map(|line| line.chars().skip(4).take(2).collect())
        .collect()
}

/// Whether a file is a batch, or has several messages.
fn is_several(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
    let starts = |line: &&[u8]| {
        let id = line.get(..3).unwrap_or_default();
        let is_delimited = line.get(3).is_some_and(u8::is_ascii_punctuation);
        is_delimited && matches!(id, b"MSH" | b"FHS" | b"BHS")
    };
    lines.filter(starts).count() > 1
}

/// MSH-15 and MSH-16, as far as the first line has them between bars.
fn wanted(bytes: &[u8]) -> (String, String) {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    let text = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let fields: Vec<&str> = text.split('|').collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or("").to_owned();
    (field(14), field(15))
}

fn wants_none(bytes: &[u8]) -> bool {
    let (accept, application) = wanted(bytes);
    let is_ack = String::from_utf8_lossy(bytes).contains("|ACK");
    is_ack
        || (accept != "AL" && application != "AL" && !(accept.is_empty() && application.is_empty()))
}

fn is_enhanced(bytes: &[u8]) -> bool {
    let (accept, application) = wanted(bytes);
    !accept.is_empty() && !application.is_empty()
}
