//! A thousand websocket subscribers at one change a second: is each told of every change, and how soon?
//!
//! `live_bench [SUBSCRIBERS] [SECONDS]` starts the server built beside it on a new SQLite file. Each subscriber has a
//! subscription and a connection of its own. Printed is the time from sending a change to having read the last subscriber's
//! notification.

use std::io;
use std::time::{Duration, Instant};

use fhir_core::json::Value;
use system_tests::http_client::Client;
use system_tests::server::TestServer;
use system_tests::ws_client::WebSocket;

/// Time between changes.
const PERIOD: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let number = |place: usize, default: usize| {
        let text = std::env::args().nth(place);
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (subscribers, seconds) = (number(1, 1_000), number(2, 30));
    let folder = tempfile::tempdir()?;
    let server = TestServer::start(&folder.path().join("bench.db"))?;
    let address = server.doors.http;
    let mut http = Client::connect(address)?;
    let began = Instant::now();
    for n in 0..subscribers {
        let body = format!(
            r#"{{"resourceType":"Subscription","id":"s{n}","status":"requested","reason":"bench","criteria":"Patient","channel":{{"type":"websocket","_payload":{{"extension":[{{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content","valueCode":"id-only"}}]}}}}}}"#
        );
        put(&mut http, &format!("/fhir/Subscription/s{n}"), &body)?;
    }
    let mut sockets = Vec::with_capacity(subscribers);
    for n in 0..subscribers {
        sockets.push(bound(&mut http, address, n)?);
    }
    println!(
        "{subscribers} subscribers bound in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let mut latencies = Vec::new();
    let mut told = 0_usize;
    let cpu = server.process.cpu_seconds();
    for change in 1..=seconds {
        let started = Instant::now();
        let body = format!(r#"{{"resourceType":"Patient","id":"p{change}"}}"#);
        put(&mut http, &format!("/fhir/Patient/p{change}"), &body)?;
        let marker = format!(r#""name":"event-number","valueString":"{change}""#);
        for socket in &mut sockets {
            let text = socket.text()?;
            if !text.contains(&marker) {
                return Err(io::Error::other(format!(
                    "event {change} was expected: {text}"
                )));
            }
            told += 1;
        }
        latencies.push(started.elapsed());
        std::thread::park_timeout(PERIOD.saturating_sub(started.elapsed()));
    }
    latencies.sort();
    let at = |percent: usize| {
        let place = (latencies.len() * percent / 100).min(latencies.len() - 1);
        latencies[place].as_secs_f64() * 1_000.0
    };
    println!(
        "{told} notifications of {} expected, none missed or doubled",
        subscribers * seconds
    );
    println!(
        "commit to the last of {subscribers} read: p50 {:.0} ms, p99 {:.0} ms; server {:.1} % of a core, {} MiB",
        at(50),
        at(99),
        (server.process.cpu_seconds() - cpu) / seconds as f64 * 100.0,
        server.process.resident_bytes() >> 20
    );
    Ok(())
}

fn put(http: &mut Client, path: &str, body: &str) -> io::Result<()> {
    let headers = [("content-type", "application/fhir+json")];
    let answer = http.request("PUT", path, &headers, body.as_bytes())?;
    if answer.status < 300 {
        return Ok(());
    }
    Err(io::Error::other(answer.text()))
}

fn bound(http: &mut Client, address: std::net::SocketAddr, n: usize) -> io::Result<WebSocket> {
    loop {
        let status = http.get(&format!("/fhir/Subscription/s{n}"))?.text();
        if status.contains(r#""status":"active""#) {
            break;
        }
    }
    let answer = http.get(&format!("/fhir/Subscription/s{n}/$get-ws-binding-token"))?;
    let answer = Value::parse(&answer.body).map_err(|e| io::Error::other(e.to_string()))?;
    let token = answer
        .get("parameter")
        .and_then(Value::as_array)
        .and_then(|all| all.first())
        .and_then(|token| token.get("valueString"))
        .and_then(Value::as_str)
        .ok_or_else(|| io::Error::other("no token"))?
        .to_owned();
    let mut socket = WebSocket::open(address, "/websocket", &[])?;
    socket.send(&format!("bind-with-token {token}"))?;
    let handshake = socket.text()?;
    if handshake.contains("handshake") {
        return Ok(socket);
    }
    Err(io::Error::other(handshake))
}
