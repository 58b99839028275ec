//! End to end: subscribers, dashboards, alerts and streams of devices on the real program, on SQLite and PostgreSQL.

mod alerts;
mod hooks;
mod sockets;
mod streams;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fhir_core::json::Value;
use system_tests::http_client::{Client, Response};
use system_tests::postgres::Postgres;
use system_tests::server::{TestServer, url};

/// Longest wait for what must come about.
const WAIT: Duration = Duration::from_secs(60);

/// The Backport guide's extensions.
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";

/// A server with its settings; it ends with the test.
struct Ground {
    server: Option<TestServer>,
    database: String,
    settings: PathBuf,
    folder: tempfile::TempDir,
    _postgres: Option<Postgres>,
}

/// Runs a test on both databases.
fn on_both(settings: &str, test: impl Fn(&mut Ground)) {
    test(&mut Ground::start(settings));
    if let Some(postgres) = Postgres::start().expect("PostgreSQL") {
        let database = postgres.url.clone();
        test(&mut Ground::start_on(
            settings,
            Some(database),
            Some(postgres),
        ));
    }
}

impl Ground {
    fn start(settings: &str) -> Self {
        Self::start_on(settings, None, None)
    }

    fn start_on(settings: &str, database: Option<String>, postgres: Option<Postgres>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("stoker.toml");
        let key = folder.path().join("key");
        std::fs::write(&key, "topsecret\n").expect("key");
        let settings = settings.replace("KEY", &key.display().to_string());
        std::fs::write(&file, settings).expect("settings");
        let database = database.unwrap_or_else(|| url(&folder.path().join("live.db")));
        let mut ground = Self {
            server: None,
            database,
            settings: file,
            folder,
            _postgres: postgres,
        };
        ground.run();
        ground
    }

    fn run(&mut self) {
        let settings = self.settings.display().to_string();
        let server = TestServer::start_on(&self.database, &["--config", &settings]);
        self.server = Some(server.expect("start"));
    }

    /// Kills the server at once, as a power failure would.
    fn kill(&mut self) {
        let mut server = self.server.take().expect("running");
        server.process.kill().expect("kill");
        assert!(self.folder.path().is_dir());
    }

    fn address(&self) -> std::net::SocketAddr {
        self.server.as_ref().expect("running").doors.http
    }

    fn client(&self) -> Client {
        Client::connect(self.address()).expect("connect")
    }

    fn put(&self, path: &str, body: &str) -> Response {
        let headers = [("content-type", "application/fhir+json")];
        let path = format!("/fhir/{path}");
        self.client()
            .request("PUT", &path, &headers, body.as_bytes())
            .expect("answer")
    }

    fn stored(&self, path: &str, body: &str) {
        let answer = self.put(path, body);
        assert!(answer.status < 300, "{path}: {}", answer.text());
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.client().get(path).expect("answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        json(&answer.body)
    }

    /// Asks again until the answer is as wanted.
    fn until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + WAIT;
        let mut client = self.client();
        loop {
            let answer = client.get(path).expect("answer");
            let value = json(&answer.body);
            if answer.status == 200 && is_wanted(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{path}: {}", answer.text());
            std::thread::yield_now();
        }
    }

    fn until_status(&self, id: &str, status: &str) -> Value {
        self.until(&format!("/fhir/Subscription/{id}"), |value| {
            text(value, &["status"]) == status
        })
    }

    /// Stores a subscription and waits until it is active.
    fn subscribe(&self, id: &str, criteria: &str, channel: &str) {
        self.stored(
            &format!("Subscription/{id}"),
            &subscription(id, criteria, channel),
        );
        self.until_status(id, "active");
    }
}

fn subscription(id: &str, criteria: &str, channel: &str) -> String {
    format!(
        r#"{{"resourceType":"Subscription","id":"{id}","status":"requested","reason":"test","criteria":"{criteria}","channel":{channel}}}"#
    )
}

/// A rest-hook of the Backport guide.
fn hook(endpoint: &str, content: &str, more: &str) -> String {
    format!(
        r#"{{"type":"rest-hook","endpoint":"{endpoint}","payload":"application/fhir+json","_payload":{{"extension":[{{"url":"{BACKPORT}backport-payload-content","valueCode":"{content}"}}]}}{more}}}"#
    )
}

/// A websocket of the Backport guide.
fn socket(content: &str) -> String {
    format!(
        r#"{{"type":"websocket","_payload":{{"extension":[{{"url":"{BACKPORT}backport-payload-content","valueCode":"{content}"}}]}}}}"#
    )
}

fn patient(id: &str, family: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{family}"}}]}}"#)
}

fn json(bytes: &[u8]) -> Value {
    Value::parse(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

/// Follows names and array places down a value; empty when it is not there.
fn text(value: &Value, path: &[&str]) -> String {
    let mut at = value;
    for step in path {
        let next = match step.parse::<usize>() {
            Ok(index) => at.as_array().and_then(|items| items.get(index)),
            Err(_) => at.get(step),
        };
        let Some(next) = next else {
            return String::new();
        };
        at = next;
    }
    at.as_str()
        .or_else(|| at.number_text())
        .map_or_else(|| at.to_string(), str::to_owned)
}

/// The parameters of a notification's status by name, the first of each.
fn status_of(bundle: &Value, name: &str) -> String {
    let all = bundle
        .get("entry")
        .and_then(Value::as_array)
        .and_then(|entries| entries.first())
        .and_then(|entry| entry.get("resource"))
        .and_then(|resource| resource.get("parameter"))
        .and_then(Value::as_array)
        .unwrap_or_default();
    let found = all.iter().find(|p| text(p, &["name"]) == name);
    found
        .and_then(Value::as_object)
        .and_then(|p| p.iter().find(|(name, _)| name.starts_with("value")))
        .map(|(_, value)| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .unwrap_or_default()
}

/// Number and focus of each event of a notification.
fn events_of(bundle: &Value) -> Vec<(i64, String)> {
    let all = bundle
        .get("entry")
        .and_then(Value::as_array)
        .and_then(|entries| entries.first())
        .and_then(|entry| entry.get("resource"))
        .and_then(|resource| resource.get("parameter"))
        .and_then(Value::as_array)
        .unwrap_or_default();
    all.iter()
        .filter(|p| text(p, &["name"]) == "notification-event")
        .map(|event| {
            let parts = event
                .get("part")
                .and_then(Value::as_array)
                .unwrap_or_default();
            let of = |name: &str| parts.iter().find(|p| text(p, &["name"]) == name);
            let number = of("event-number").map(|p| text(p, &["valueString"]));
            let focus = of("focus").map(|p| text(p, &["valueReference", "reference"]));
            let focus = focus.unwrap_or_default();
            let focus = focus.split_once("/fhir/").map_or("", |(_, key)| key);
            (
                number.unwrap_or_default().parse().expect("number"),
                focus.to_owned(),
            )
        })
        .collect()
}
