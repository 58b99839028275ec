//! Server-sent events for dashboards, and websockets that bring device data.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use system_tests::ws_client::WebSocket;

use super::{Ground, json, on_both, patient, text};

/// An event stream, read line by line.
struct Events {
    reader: BufReader<TcpStream>,
    id: String,
}

impl Events {
    fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        write!(
            stream,
            "GET /live?{query} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n"
        )
        .unwrap();
        let mut events = Self {
            reader: BufReader::new(stream),
            id: String::new(),
        };
        assert_eq!(events.next().0, "open");
        events
    }

    /// Kind and data of the next event.
    fn next(&mut self) -> (String, String) {
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.reader.read_line(&mut line).unwrap() > 0,
                "the stream ended"
            );
            if let Some(id) = line.strip_prefix("id: ") {
                self.id = id.trim().to_owned();
            } else if let Some(event) = line.strip_prefix("event: ") {
                kind = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (kind, data.trim().to_owned());
            }
        }
    }
}

/// Verifies: SRS-345
#[test]
fn a_dashboard_sees_the_last_of_each_and_goes_on_where_it_was() {
    on_both("", |ground| {
        let query = "criteria=Patient%3Ffamily%3DAba&content=full-resource";
        let mut events = Events::open(ground.address(), query, None);
        ground.stored("Patient/x", &patient("x", "Other"));
        for _ in 0..5 {
            ground.stored("Patient/a", &patient("a", "Aba"));
            ground.stored("Patient/a", &patient("a", "Abaton"));
        }
        let (mut seen, mut skipped) = (0, 0);
        while seen + skipped < 10 {
            let (kind, data) = events.next();
            assert_eq!(kind, "change");
            let data = json(data.as_bytes());
            assert_eq!(text(&data, &["resource"]), "Patient/a");
            assert_eq!(text(&data, &["body", "resourceType"]), "Patient");
            seen += 1;
            skipped += text(&data, &["skipped"]).parse::<i32>().unwrap_or(0);
            // The last told is always the current one.
            if seen + skipped == 10 {
                assert_eq!(text(&data, &["version"]), "10");
            }
        }
        let last = events.id.clone();
        drop(events);
        ground.stored("Patient/b", &patient("b", "Aba"));
        let gone = ground
            .client()
            .request("DELETE", "/fhir/Patient/a", &[], b"")
            .unwrap();
        assert!(gone.status < 300);
        let mut events = Events::open(ground.address(), query, Some(&last));
        let data = json(events.next().1.as_bytes());
        assert_eq!(text(&data, &["resource"]), "Patient/b");
        let data = json(events.next().1.as_bytes());
        assert_eq!(text(&data, &["change"]), "deleted");
    });
}

/// Verifies: SRS-345
#[test]
fn too_much_is_dropped_oldest_first_and_counted() {
    let ground = Ground::start("");
    let head = Events::open(ground.address(), "criteria=Patient", None);
    let begin = head.id.clone();
    drop(head);
    let entry = |n: usize| {
        format!(
            r#"{{"resource":{},"request":{{"method":"PUT","url":"Patient/p{n}"}}}}"#,
            patient(&format!("p{n}"), "Aba")
        )
    };
    let entries: Vec<String> = (0..700).map(entry).collect();
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#,
        entries.join(",")
    );
    let answer = ground.client().post("/fhir", bundle.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    let mut events = Events::open(ground.address(), "criteria=Patient", Some(&begin));
    let (kind, data) = events.next();
    assert_eq!(
        (kind.as_str(), data.as_str()),
        ("dropped", r#"{"count":200}"#)
    );
    for _ in 0..500 {
        assert_eq!(events.next().0, "change");
    }
}

#[test]
fn streams_that_cannot_be_are_refused() {
    let ground = Ground::start("");
    let status = |query: &str| {
        ground
            .client()
            .get(&format!("/live{query}"))
            .unwrap()
            .status
    };
    assert_eq!(status(""), 400);
    assert_eq!(status("?criteria=Patients"), 400);
    assert_eq!(status("?criteria=Patient%3Fcolour%3Dblue"), 400);
    assert_eq!(status("?criteria=Patient&content=some"), 400);
    assert_eq!(status("?criteria=Patient&more=1"), 400);
}

fn register(ground: &Ground) {
    ground.stored("Patient/p1", &patient("p1", "Aba"));
    ground.stored("Device/d1", r#"{"resourceType":"Device","id":"d1","identifier":[{"system":"urn:stoker:device","value":"d1"}]}"#);
    ground.stored("DeviceUseStatement/d1", r#"{"resourceType":"DeviceUseStatement","id":"d1","status":"active","subject":{"reference":"Patient/p1"},"device":{"reference":"Device/d1"},"timingPeriod":{"start":"2026-01-01T00:00:00Z"}}"#);
}

/// Verifies: SRS-348, RC-346
#[test]
fn each_message_of_a_stream_is_acknowledged_after_its_commit() {
    on_both("", |ground| {
        register(ground);
        let mut stream =
            WebSocket::open(ground.address(), "/ingest/generic-json/stream", &[]).unwrap();
        for n in 0..100 {
            let body = format!(
                r#"{{"deviceId":"d1","t":"2026-03-01T09:{:02}:{:02}Z","hr":{}.0}}"#,
                n / 60,
                n % 60,
                60 + n % 40
            );
            stream.send(&body).unwrap();
        }
        for n in 1..=100 {
            let answer = json(stream.text().unwrap().as_bytes());
            assert_eq!(text(&answer, &["number"]), n.to_string());
            assert_eq!(text(&answer, &["status"]), "stored", "{answer}");
        }
        // Acknowledged is stored: nothing is missing after a kill.
        ground.kill();
        ground.run();
        let found = ground.get("/fhir/Observation?code=8867-4&_summary=count");
        assert_eq!(text(&found, &["total"]), "100");
        let mut stream =
            WebSocket::open(ground.address(), "/ingest/generic-json/stream", &[]).unwrap();
        for bad in [
            "no json",
            r#"{"deviceId":"nobody","t":"2026-03-01T09:00:00Z","hr":60}"#,
        ] {
            stream.send(bad).unwrap();
            let answer = json(stream.text().unwrap().as_bytes());
            let status = text(&answer, &["status"]);
            assert!(
                status == "quarantined" || status == "stored-in-part",
                "{answer}"
            );
        }
    });
}

/// Verifies: SRS-348
#[test]
fn a_stream_asks_for_the_devices_token() {
    let ground = Ground::start("device_tokens_required = true\n");
    let refused = WebSocket::open(ground.address(), "/ingest/generic-json/stream", &[]);
    assert!(refused.err().unwrap().to_string().contains("401"));
    let headers = [("authorization", "Bearer stoker-device-none")];
    let refused = WebSocket::open(ground.address(), "/ingest/generic-json/stream", &headers);
    assert!(refused.err().unwrap().to_string().contains("401"));
}
