//! A real broker in front of the real server: what it has promised to a sender is stored, once.

use std::path::Path;

use system_tests::http_client::Client;
use system_tests::mosquitto::{self, BROKER, Broker};
use system_tests::server::TestServer;

use super::devices::{register, total};

/// Messages of the stream unless `STOKER_TEST_MQTT_MESSAGES` says how many.
const MESSAGES: usize = 5_000;
/// Longest wait for what a stream brings, in seconds; it is for a hundred thousand messages on a loaded machine.
const WAIT_SECONDS: u64 = 600;

/// A rate a second, from the first of March on.
fn heart_rate(n: usize) -> String {
    format!(
        "{{\"deviceId\":\"d1\",\"t\":\"2026-03-{:02}T{:02}:{:02}:{:02}Z\",\"hr\":{}.0}}\n",
        1 + n / 86_400,
        n / 3_600 % 24,
        n / 60 % 60,
        n % 60,
        60 + n % 40
    )
}

/// `STOKER_TEST_MQTT_MESSAGES=100000 cargo test -p system-tests --test it both_die` is the long form.
///
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
    let count = std::env::var("STOKER_TEST_MQTT_MESSAGES")
        .ok()
        .and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or(MESSAGES);
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path()).unwrap();
    let port = broker.port;
    let settings = folder.path().join("stoker.toml");
    let toml = format!(
        "[[device]]\nname = \"ward\"\nmapping = \"generic-json\"\n\n[[mqtt]]\nclient_id = \"stoker-it\"\nurl = \"mqtt://127.0.0.1:{port}\"\n\n[[mqtt.topic]]\nfilter = \"ward/+/vitals\"\nsource = \"ward\"\n"
    );
    std::fs::write(&settings, toml).unwrap();
    let database = folder.path().join("it.db");
    let config = ["--config", settings.to_str().unwrap()];
    let start = || TestServer::start_with(&database, &config).unwrap();
    let mut server = start();
    let mut client = Client::connect(server.doors.http).unwrap();
    register(&mut client, "d1", "p1");
    let publish = |port, messages: &[String]| {
        mosquitto::publish(port, "ward/7/vitals", messages).unwrap();
    };
    let messages: Vec<String> = (0..count).map(heart_rate).collect();
    let query = "/fhir/Observation?patient=p1&_summary=count";
    // The session must be there before the first message: what is published to nobody is nobody's.
    wait_for(&mut client, query, 1, || publish(port, &messages[..1]));
    // Each part of the stream meets another death: of the server, of the broker, of both.
    let parts: Vec<&[String]> = messages.chunks(count.div_ceil(8)).collect();
    for (n, part) in parts.iter().enumerate() {
        publish(port, part);
        if n % 2 == 0 {
            server.process.kill().unwrap();
        }
        if n % 3 == 1 {
            // This broker writes to its disk when more than one change waits, so the last message needs a companion.
            publish(port, &part[part.len() - 1..]);
            broker.kill_and_restart().unwrap();
        }
        if n % 2 == 0 {
            server = start();
        }
    }
    let mut client = Client::connect(server.doors.http).unwrap();
    wait_for(&mut client, query, count, || {});
    // Ids follow from the instants, so as many Observations as instants are each of them once.
    assert_eq!(total(&mut client, query), count.to_string());
    assert!(server.process.terminate().unwrap().success());
}

fn wait_for(client: &mut Client, query: &str, wanted: usize, meanwhile: impl Fn()) {
    let begun = std::time::Instant::now();
    loop {
        let count: usize = total(client, query).parse().unwrap();
        if count >= wanted {
            return;
        }
        assert!(
            begun.elapsed().as_secs() < WAIT_SECONDS,
            "{count} of {wanted}"
        );
        meanwhile();
    }
}
