//! Device data in, Observations out; samples of dense series and ordinary resources look alike.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fhir_core::json::Value;
use flate2::Compression;
use flate2::write::GzEncoder;
use system_tests::http_client::{Client, Response};
use system_tests::server::TestServer;

use super::{Ground, json, resources, text};

const SYSTEM: &str = "urn:stoker:device";

fn put(client: &mut Client, path: &str, body: &str) -> Response {
    let headers = [("content-type", "application/fhir+json")];
    client
        .request("PUT", path, &headers, body.as_bytes())
        .unwrap()
}

/// A patient, and a device that is with them.
fn register(client: &mut Client, device: &str, patient: &str) {
    let body = format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#);
    assert!(put(client, &format!("/fhir/Patient/{patient}"), &body).status < 300);
    let body = format!(
        r#"{{"resourceType":"Device","id":"{device}","identifier":[{{"system":"{SYSTEM}","value":"{device}"}}]}}"#
    );
    assert!(put(client, &format!("/fhir/Device/{device}"), &body).status < 300);
    assign(client, device, patient);
}

fn assign(client: &mut Client, device: &str, patient: &str) {
    let body = format!(
        r#"{{"resourceType":"DeviceUseStatement","id":"{device}","status":"active","subject":{{"reference":"Patient/{patient}"}},"device":{{"reference":"Device/{device}"}},"timingPeriod":{{"start":"2026-01-01T00:00:00Z"}}}}"#
    );
    let answer = put(client, &format!("/fhir/DeviceUseStatement/{device}"), &body);
    assert!(answer.status < 300, "{}", answer.text());
}

fn ingest(client: &mut Client, source: &str, body: &[u8]) -> Response {
    let path = format!("/ingest/{source}");
    client.request("POST", &path, &[], body).unwrap()
}

/// Heart rates, one a second from 09:00:00 UTC, as JSON lines.
fn heart_rates(device: &str, seconds: std::ops::Range<u32>) -> String {
    let row = |n: u32| {
        format!(
            "{{\"deviceId\":\"{device}\",\"t\":\"2026-03-01T09:{:02}:{:02}Z\",\"hr\":{}.0}}\n",
            n / 60,
            n % 60,
            60 + n % 40
        )
    };
    seconds.map(row).collect()
}

fn total(client: &mut Client, query: &str) -> String {
    let answer = client.get(query).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    text(&json(&answer), &["total"])
}

/// All pages of a search.
fn all(client: &mut Client, query: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), Some(query.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).unwrap();
        found.extend(resources(&answer));
        let bundle = json(&answer);
        let links = bundle
            .get("link")
            .and_then(Value::as_array)
            .unwrap_or_default();
        next = links
            .iter()
            .find(|l| l.get("relation").and_then(Value::as_str) == Some("next"))
            .map(|l| text(l, &["url"]))
            .map(|url| {
                url.split_once("/fhir/")
                    .map_or(url.clone(), |(_, rest)| format!("/fhir/{rest}"))
            });
    }
    found
}

/// Verifies: SRS-220, SRS-223, RC-220
#[test]
fn samples_are_read_and_found_like_other_observations() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    let lines = heart_rates("d1", 0..300);
    let answer = ingest(&mut client, "generic-json", lines.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "sample"]), "300");
    let reference = text(&json(&answer), &["results", "7", "reference"]);
    // The same again, compressed, is a repeat.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    let again = ingest(&mut client, "generic-json", &gzip.finish().unwrap());
    assert_eq!(text(&json(&again), &["repeatedMessages"]), "1");
    // Another payload that overlaps adds only what is new.
    let more = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 290..310).as_bytes(),
    );
    assert_eq!(
        text(&json(&more), &["counts", "sample"]),
        "10",
        "{}",
        more.text()
    );
    assert_eq!(text(&json(&more), &["counts", "repeated"]), "10");

    let read = json(&client.get(&format!("/fhir/{reference}")).unwrap());
    assert_eq!(
        text(&read, &["effectiveDateTime"]),
        "2026-03-01T09:00:07+00:00"
    );
    assert_eq!(text(&read, &["valueQuantity", "value"]), "67.0");
    assert_eq!(text(&read, &["subject", "reference"]), "Patient/p1");
    assert_eq!(
        text(&read, &["category", "0", "coding", "0", "code"]),
        "vital-signs"
    );
    assert_eq!(text(&read, &["meta", "versionId"]), "1");
    let old = client
        .get(&format!("/fhir/{reference}/_history/1"))
        .unwrap();
    assert_eq!(json(&old), read);
    assert_eq!(
        client
            .get(&format!("/fhir/{reference}/_history/2"))
            .unwrap()
            .status,
        404
    );
    let history = json(&client.get(&format!("/fhir/{reference}/_history")).unwrap());
    assert_eq!(text(&history, &["total"]), "1");

    let base = "/fhir/Observation?patient=p1&code=http://loinc.org%7C8867-4";
    assert_eq!(total(&mut client, &format!("{base}&_summary=count")), "310");
    for (query, expected) in [
        ("&date=ge2026-03-01T09:05:00Z", "10"),
        ("&date=lt2026-03-01T09:00:10Z", "10"),
        ("&date=2026-03-01T09:01", "60"),
        ("&date=2026-03-02", "0"),
        ("&value-quantity=gt98||/min", "7"),
        ("&value-quantity=60", "8"),
        ("&category=vital-signs", "310"),
        ("&category=laboratory", "0"),
        ("&device=Device/d1", "310"),
        ("&status:not=final", "0"),
        ("&patient.identifier=none", "0"),
        ("&_lastUpdated=lt2020-01-01", "0"),
    ] {
        assert_eq!(
            total(&mut client, &format!("{base}{query}&_summary=count")),
            expected,
            "{query}"
        );
    }
    let id = reference.trim_start_matches("Observation/");
    let by_id = resources(&client.get(&format!("/fhir/Observation?_id={id}")).unwrap());
    assert_eq!(by_id, [read]);
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p2&_summary=count"),
        "0"
    );
}

/// Verifies: SRS-223, RC-220
#[test]
fn samples_and_resources_are_paged_together() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..50).as_bytes(),
    );
    for n in 0..20 {
        let body = format!(
            r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"2026-03-01T09:00:{:02}.5Z","valueQuantity":{{"value":{n}}}}}"#,
            n * 2
        );
        assert_eq!(
            put(&mut client, &format!("/fhir/Observation/o{n}"), &body).status,
            201
        );
    }
    let when = |found: &[Value]| -> Vec<String> {
        found
            .iter()
            .map(|o| text(o, &["effectiveDateTime"]).replace("+00:00", "Z"))
            .collect()
    };
    for count in [3, 7, 70, 100] {
        for (sort, is_descending) in [("date", false), ("-date", true)] {
            let query =
                format!("/fhir/Observation?patient=p1&code=8867-4&_sort={sort}&_count={count}");
            let found = when(&all(&mut client, &query));
            let mut sorted = found.clone();
            sorted.sort_by_key(|t| t.replace('Z', if t.contains('.') { "" } else { ".0" }));
            if is_descending {
                sorted.reverse();
            }
            assert_eq!(found.len(), 70, "{query}");
            assert_eq!(found, sorted, "{query}");
        }
        let query = format!("/fhir/Observation?patient=p1&_count={count}");
        let found = all(&mut client, &query);
        let ids: std::collections::BTreeSet<String> =
            found.iter().map(|o| text(o, &["id"])).collect();
        assert_eq!((found.len(), ids.len()), (70, 70), "{query}");
    }
    let stored = all(
        &mut client,
        "/fhir/Observation?patient=p1&_sort=_lastUpdated&_count=9",
    );
    assert_eq!(stored.len(), 70);
    let latest = "/fhir/Observation/$lastn?patient=p1&code=8867-4&max=3";
    let latest = when(&resources(&client.get(latest).unwrap()));
    let expected = [49, 48, 47].map(|second| format!("2026-03-01T09:00:{second}Z"));
    assert_eq!(latest, expected);
}

/// Verifies: SRS-224, RC-221
#[test]
fn a_changed_sample_has_a_history_and_stays_changed() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    let answer = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..3).as_bytes(),
    );
    let reference = text(&json(&answer), &["results", "1", "reference"]);
    let path = format!("/fhir/{reference}");
    let stored = client.get(&path).unwrap().text();
    let amended = stored.replace("\"final\"", "\"amended\"");
    let answer = put(&mut client, &path, &amended);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        text(&json(&client.get(&path).unwrap()), &["meta", "versionId"]),
        "2"
    );
    assert_eq!(
        client.get(&format!("{path}/_history/1")).unwrap().text(),
        stored
    );
    let history = json(&client.get(&format!("{path}/_history")).unwrap());
    assert_eq!(text(&history, &["total"]), "2");
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "3"
    );
    assert_eq!(
        total(
            &mut client,
            "/fhir/Observation?patient=p1&status=amended&_summary=count"
        ),
        "1"
    );
    // The device repeats itself within another payload: what a person changed stays.
    let again = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..4).as_bytes(),
    );
    assert_eq!(
        text(&json(&again), &["counts", "sample"]),
        "1",
        "{}",
        again.text()
    );
    assert_eq!(
        text(&json(&client.get(&path).unwrap()), &["status"]),
        "amended"
    );
    let other = text(&json(&again), &["results", "3", "reference"]);
    let deleted = client
        .request("DELETE", &format!("/fhir/{other}"), &[], b"")
        .unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(client.get(&format!("/fhir/{other}")).unwrap().status, 410);
    let again = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..5).as_bytes(),
    );
    assert_eq!(again.status, 207);
    assert_eq!(
        text(&json(&again), &["counts", "deleted-here"]),
        "1",
        "{}",
        again.text()
    );
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "4"
    );
}

/// Verifies: SRS-221, SRS-225, RC-221, RC-223
#[test]
fn what_waits_is_replayed_when_its_cause_is_mended() {
    let ground = Ground::start();
    let mut client = ground.client();
    let lines = heart_rates("d7", 0..5);
    let answer = ingest(&mut client, "generic-json", lines.as_bytes());
    assert_eq!(answer.status, 207, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "no-patient"]), "5");
    let poison = ingest(&mut client, "generic-json", b"{\"deviceId\": ");
    assert_eq!(poison.status, 422, "{}", poison.text());
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(text(&list, &["messages", "0", "state"]), "refused");
    let id = text(&list, &["messages", "1", "id"]);
    assert_eq!(
        text(&list, &["messages", "1", "issues", "0", "code"]),
        "no-patient"
    );
    let raw = client.get(&format!("/admin/quarantine/{id}/raw")).unwrap();
    assert_eq!(raw.text(), lines);

    register(&mut client, "d7", "p7");
    let replay = format!("/admin/quarantine/{id}/replay");
    let answer = client.request("POST", &replay, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p7&_summary=count"),
        "5"
    );
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        1
    );

    // The device was with somebody else all the time: the replay makes the next version of each.
    put(
        &mut client,
        "/fhir/Patient/p8",
        r#"{"resourceType":"Patient","id":"p8"}"#,
    );
    assign(&mut client, "d7", "p8");
    let answer = client.request("POST", &replay, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p7&_summary=count"),
        "0"
    );
    let moved = resources(&client.get("/fhir/Observation?patient=p8").unwrap());
    assert_eq!(moved.len(), 5);
    assert!(moved.iter().all(|o| text(o, &["meta", "versionId"]) == "2"));
    let gone = text(&list, &["messages", "0", "id"]);
    let done = client
        .request("DELETE", &format!("/admin/quarantine/{gone}"), &[], b"")
        .unwrap();
    assert_eq!(done.status, 204);
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        0
    );
}

/// Verifies: SRS-222, RC-222
#[test]
fn a_token_speaks_for_one_device() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    register(&mut client, "d2", "p2");
    let body = br#"{"name":"ward","device":"d1"}"#;
    let headers = [("content-type", "application/json")];
    let made = client
        .request("POST", "/admin/device-tokens", &headers, body)
        .unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let twice = client
        .request("POST", "/admin/device-tokens", &headers, body)
        .unwrap();
    assert_eq!(twice.status, 409);
    let bearer = format!("Bearer {}", text(&json(&made), &["token"]));
    let listed = client.get("/admin/device-tokens").unwrap().text();
    assert!(listed.contains("ward") && !listed.contains("stoker-device-"));
    let lines = heart_rates("d1", 0..1)
        + &heart_rates("d2", 0..1)
        + "{\"t\":\"2026-03-01T10:00:00Z\",\"hr\":70}\n";
    let send = |client: &mut Client, bearer: &str| {
        let headers = [("authorization", bearer)];
        client
            .request("POST", "/ingest/generic-json", &headers, lines.as_bytes())
            .unwrap()
    };
    let answer = send(&mut client, &bearer);
    assert_eq!(answer.status, 207, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "sample"]), "2");
    assert_eq!(text(&json(&answer), &["counts", "not-your-device"]), "1");
    assert_eq!(send(&mut client, "Bearer stoker-device-0000").status, 401);
    let revoked = client
        .request("DELETE", "/admin/device-tokens/ward", &[], b"")
        .unwrap();
    assert_eq!(revoked.status, 204);
    assert_eq!(send(&mut client, &bearer).status, 401);
}

#[test]
fn unknown_sources_and_wide_uploads() {
    let ground = Ground::start();
    let mut client = ground.client();
    assert_eq!(ingest(&mut client, "no-such", b"{}").status, 404);
    register(&mut client, "d1", "p1");
    // More than one part: each is a message of its own.
    let lines: String = (0..12)
        .map(|n| heart_rates("d1", n * 300..(n + 1) * 300))
        .collect();
    let padded = lines.replace("\"hr\"", &format!("\"pad\":\"{}\",\"hr\"", "x".repeat(600)));
    let answer = ingest(&mut client, "generic-json", padded.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        json(&answer)
            .get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len()
            > 1
    );
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "3600"
    );
}

const BROKER: &str = "/usr/sbin/mosquitto";

struct Broker {
    child: Child,
    port: u16,
    configuration: std::path::PathBuf,
}

impl Broker {
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let configuration = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nlog_dest stderr\nlog_type information\n",
            folder.display()
        );
        std::fs::write(&configuration, text).unwrap();
        let child = Self::spawn(&configuration);
        Self {
            child,
            port,
            configuration,
        }
    }

    fn spawn(configuration: &Path) -> Child {
        let mut child = Command::new(BROKER)
            .arg("-c")
            .arg(configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("broker starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("running"))));
        std::thread::spawn(move || lines.for_each(drop));
        child
    }

    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.configuration);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of an MQTT 3.1.1 packet.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn field(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// Publishes at quality of service 1 and returns when the broker has acknowledged each.
fn publish(port: u16, messages: &[String]) {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let mut connect = field("MQTT");
    connect.extend_from_slice(&[4, 2, 0, 60]);
    connect.extend_from_slice(&field("publisher"));
    stream.write_all(&packet(0x10, &connect)).unwrap();
    let mut four = [0; 4];
    stream.read_exact(&mut four).unwrap();
    assert_eq!(four, [0x20, 2, 0, 0]);
    for (n, message) in messages.iter().enumerate() {
        let mut body = field("ward/7/vitals");
        body.extend_from_slice(&u16::try_from(n % 65_535 + 1).unwrap().to_be_bytes());
        body.extend_from_slice(message.as_bytes());
        stream.write_all(&packet(0x32, &body)).unwrap();
        stream.read_exact(&mut four).unwrap();
        assert_eq!(four.first(), Some(&0x40));
    }
}

/// Verifies: SRS-002, SRS-226, RC-006
#[test]
fn what_a_broker_has_promised_is_stored_once_though_both_die() {
    if std::env::var("STOKER_TEST_SKIP_MOSQUITTO").is_ok_and(|v| v == "1") {
        return;
    }
    assert!(
        Path::new(BROKER).exists(),
        "{BROKER} is missing: install mosquitto or set STOKER_TEST_SKIP_MOSQUITTO=1"
    );
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    let port = broker.port;
    let settings = folder.path().join("stoker.toml");
    let toml = format!(
        "[[device]]\nname = \"ward\"\nmapping = \"generic-json\"\n\n[[mqtt]]\nclient_id = \"stoker-it\"\nurl = \"mqtt://127.0.0.1:{}\"\n\n[[mqtt.topic]]\nfilter = \"ward/+/vitals\"\nsource = \"ward\"\n",
        broker.port
    );
    std::fs::write(&settings, toml).unwrap();
    let database = folder.path().join("it.db");
    let config = ["--config", settings.to_str().unwrap()];
    let mut server = TestServer::start_with(&database, &config).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    register(&mut client, "d1", "p1");
    let messages: Vec<String> = (0..900).map(|n| heart_rates("d1", n..n + 1)).collect();
    // The session must be there before the first message: what is published to nobody is nobody's.
    let query = "/fhir/Observation?patient=p1&_summary=count";
    let wait_for = |client: &mut Client, wanted: u64, messages: &[String]| {
        let begun = std::time::Instant::now();
        loop {
            let count: u64 = total(client, query).parse().unwrap();
            if count >= wanted {
                return;
            }
            assert!(begun.elapsed().as_secs() < 60, "{count} of {wanted}");
            if wanted == 1 {
                publish(port, messages);
            }
        }
    };
    wait_for(&mut client, 1, &messages[..1]);
    publish(port, &messages[1..400]);
    server.process.kill().unwrap();
    publish(port, &messages[400..600]);
    // This broker writes to its disk when more than one change waits, so its last message needs a companion to be kept.
    publish(port, &messages[599..600]);
    broker.kill_and_restart();
    publish(port, &messages[600..700]);
    let mut server = TestServer::start_with(&database, &config).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    publish(port, &messages[700..]);
    let begun = std::time::Instant::now();
    while total(&mut client, query) != "900" {
        assert!(
            begun.elapsed().as_secs() < 60,
            "{}",
            total(&mut client, query)
        );
    }
    let found = all(
        &mut client,
        "/fhir/Observation?patient=p1&_sort=date&_count=500",
    );
    assert_eq!(found.len(), 900);
    assert!(server.process.terminate().unwrap().success());
}
