//! `kill -9` at random moments under load: nothing acknowledged is missing afterwards, nothing is doubled.
//!
//! Every round starts the real program on the same database, loads it over HTTP and MLLP at once, kills it, starts it
//! again and asks for everything that was acknowledged. What was not acknowledged is sent again, as a real sender does,
//! and must then be there exactly once too.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use system_tests::http_client::Client;
use system_tests::mllp_client::{MllpClient, acknowledgement_code};
use system_tests::process::built_program;
use system_tests::server::{Doors, TestServer, url};
use system_tests::synthetic::Random;

/// Rounds of the test; the requirement asks for at least 200.
const ROUNDS: u64 = 200;
const HTTP_CLIENTS: u64 = 4;
const MLLP_SENDERS: u64 = 3;

fn start(database: &Path) -> TestServer {
    TestServer::start(database).expect("start")
}

/// What was sent: its key, and whether an acknowledgement came.
#[derive(Clone)]
struct Sent {
    key: String,
    acknowledged: bool,
}

fn observation(key: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","identifier":[{{"system":"urn:oid:2.999.7.1","value":"{key}"}}],"status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"subject":{{"reference":"Patient/crash"}},"effectiveDateTime":"2026-01-01T00:00:00Z","valueQuantity":{{"value":2.50,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}}}"#
    )
}

fn oru(key: &str) -> String {
    [
        &format!(
            "MSH|^~\\&|LAB|TESTHOSP|STOKER|TEST|20260101120000+0000||ORU^R01^ORU_R01|{key}|P|2.5.1"
        ),
        "PID|1||PAT-1^^^TESTHOSP^MR||Testcase^Crash||19700101|F",
        &format!("OBR|1||{key}^LAB|2345-7^Glucose^LN|||20260101110000+0000"),
        "OBX|1|NM|2345-7^Glucose^LN||5.40|mmol/L|||||F|||20260101110000+0000",
        "OBX|2|NM|2823-3^Potassium^LN||4.10|mmol/L|||||F|||20260101110000+0000",
        "",
    ]
    .join("\r")
}

fn load(
    doors: Doors,
    round: u64,
    stop: &AtomicBool,
    http: &Mutex<Vec<Sent>>,
    mllp: &Mutex<Vec<Sent>>,
) {
    std::thread::scope(|scope| {
        for client in 0..HTTP_CLIENTS {
            scope.spawn(move || {
                let Ok(mut connection) = Client::connect(doors.http) else {
                    return;
                };
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("http-{round}-{client}-{number}");
                    let answer = connection.post("/fhir/Observation", observation(&key).as_bytes());
                    let acknowledged = answer.as_ref().is_ok_and(|a| a.status == 201);
                    http.lock().unwrap().push(Sent { key, acknowledged });
                    if answer.is_err() {
                        return;
                    }
                }
            });
        }
        for sender in 0..MLLP_SENDERS {
            scope.spawn(move || {
                let Ok(mut connection) = MllpClient::connect(doors.mllp) else {
                    return;
                };
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("mllp-{round}-{sender}-{number}");
                    let answer = connection.send(oru(&key).as_bytes());
                    let acknowledged = answer
                        .as_ref()
                        .is_ok_and(|a| acknowledgement_code(a) == "AA");
                    mllp.lock().unwrap().push(Sent { key, acknowledged });
                    if answer.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn count(client: &mut Client, query: &str) -> u64 {
    let response = client
        .get(&format!("/fhir/Observation?{query}&_summary=count"))
        .expect("search");
    let text = response.text();
    assert_eq!(response.status, 200, "{text}");
    let bundle: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    bundle["total"].as_u64().expect("total")
}

/// The filler number identifies the order that each of the two Observations of a message is based on.
fn filler_query(key: &str) -> String {
    format!("based-on:ServiceRequest.identifier=urn:id:LAB%7C{key}")
}

fn check(server: Doors, http: &[Sent], mllp: &[Sent]) {
    let mut client = Client::connect(server.http).expect("connect");
    let mut sender = MllpClient::connect(server.mllp).expect("connect");
    for sent in http {
        let found = count(
            &mut client,
            &format!("identifier=urn:oid:2.999.7.1%7C{}", sent.key),
        );
        assert!(found <= 1, "{} is there {found} times", sent.key);
        assert!(
            found == 1 || !sent.acknowledged,
            "{} was acknowledged and is missing",
            sent.key
        );
    }
    for sent in mllp {
        if sent.acknowledged {
            assert_eq!(
                count(&mut client, &filler_query(&sent.key)),
                2,
                "{} was acknowledged",
                sent.key
            );
        }
        let repeat = sender.send(oru(&sent.key).as_bytes()).expect("repeat");
        assert_eq!(acknowledgement_code(&repeat), "AA", "{repeat}");
        assert_eq!(
            count(&mut client, &filler_query(&sent.key)),
            2,
            "{} after a repeat",
            sent.key
        );
    }
}

/// Verifies: SRS-002, SRS-003, RC-006, RC-007
#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_doubled_by_kill_9() {
    let folder = tempfile::tempdir().expect("folder");
    let database = folder.path().join("crash.db");
    let mut random = Random::new(20_260_101);
    let (mut acknowledged, mut in_flight) = (0usize, 0usize);
    let mut server = start(&database);
    for round in 0..ROUNDS {
        let (http, mllp) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let stop = AtomicBool::new(false);
        let moment = Duration::from_micros(5_000 + random.below(120_000));
        std::thread::scope(|scope| {
            let doors = server.doors;
            let (stop, http, mllp) = (&stop, &http, &mllp);
            scope.spawn(move || load(doors, round, stop, http, mllp));
            // The kill has to come in the middle of the load, at a moment that differs from round to round.
            let deadline = Instant::now() + moment;
            while Instant::now() < deadline {
                std::thread::yield_now();
            }
            Command::new("kill")
                .args(["-9", &server.process.id().to_string()])
                .status()
                .expect("kill");
            stop.store(true, Ordering::Relaxed);
        });
        server.process.kill().expect("reap");
        server = start(&database);
        let (http, mllp) = (http.into_inner().unwrap(), mllp.into_inner().unwrap());
        acknowledged += http.iter().chain(&mllp).filter(|s| s.acknowledged).count();
        in_flight += http.iter().chain(&mllp).filter(|s| !s.acknowledged).count();
        check(server.doors, &http, &mllp);
    }
    assert!(
        server.process.terminate().expect("stop").success(),
        "a graceful stop exits with 0"
    );
    let store = Command::new(built_program("stoker").expect("stoker is built"))
        .args(["check", "--database", &url(&database)])
        .status();
    assert!(store.expect("check").success(), "the database is sound");
    println!(
        "{ROUNDS} rounds: {acknowledged} acknowledged, {in_flight} in flight at the kill, none lost, none doubled"
    );
    assert!(
        acknowledged > 200 && in_flight > 0,
        "the load must be real: {acknowledged}, {in_flight}"
    );
}
