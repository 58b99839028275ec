//! HL7 v2 under hard conditions: a disk that is full, many idle connections, half frames, a document of many megabytes.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use fhir_core::json::Value;
use system_tests::http_client::Client;
use system_tests::mllp_client::{MllpClient, acknowledgement_code};
use system_tests::process::{Process, built_program};

use super::{Ground, json, resources};

/// Connections that say nothing. The limit of a feed is 256, so this one asks for more.
const IDLE: usize = 1_000;
/// Text of a document in one message, bytes.
const DOCUMENT_BYTES: usize = 12 << 20;
/// Longest wait for the answer to the document on a loaded machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);
/// Messages sent at most until the disk is full.
const UNTIL_FULL: usize = 2_000;

fn message(number: usize) -> String {
    format!(
        "MSH|^~\\&|LAB|ITHOSP|STOKER|TEST|20260102120000+0000||ORU^R01^ORU_R01|D{number}|P|2.5.1\r\
         PID|1||DISK-{number}^^^ITHOSP^MR||Testcase^Ada\r\
         OBR|1||F{number}^LAB|2823-3^Potassium^LN|||20260102110000+0000\r\
         OBX|1|TX|2823-3^Potassium^LN||{}||||||F\r",
        "a text that takes room ".repeat(40)
    )
}

fn count(client: &mut Client, path: &str) -> usize {
    let found = json(&client.get(path).expect("answer"));
    let total = found.get("total").and_then(Value::number_text);
    total.and_then(|text| text.parse().ok()).expect("total")
}

/// A file system that is full, told by a limit on the size of files; the server must say so to every sender, lose nothing
/// it has acknowledged, and go on when there is room again.
/// Verifies: SRS-323, RC-323
#[test]
fn a_full_disk_loses_nothing_and_the_server_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("folder");
    let database = format!("sqlite:{}", folder.path().join("full.db").display());
    let program = built_program("stoker").expect("built");
    // Without the signal a write over the limit fails as one on a full disk does. 8,192 blocks of 1 KiB; the soft
    // limit only, so that it can be lifted.
    let script = "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .arg(program)
        .args(["serve", "--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0"])
        .args(["--database", &database])
        .env("RUST_LOG", "off");
    let mut process = Process::start_with(&mut command).expect("start");
    let mut door = |name: &str| -> std::net::SocketAddr {
        let wait = std::time::Duration::from_secs(60);
        let read = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        process.wait_for(wait, read).expect("address")
    };
    let (http, mllp) = (door("listening http "), door("listening mllp "));
    let mut taken = 0;
    let mut refused = None;
    for number in 0..UNTIL_FULL {
        let mut client = MllpClient::connect(mllp).expect("connect");
        let answer = client.send(message(number).as_bytes()).expect("answer");
        if acknowledgement_code(&answer) != "AA" {
            refused = Some((number, answer));
            break;
        }
        taken += 1;
    }
    let (number, answer) = refused.expect("the disk was never full");
    assert_eq!(acknowledgement_code(&answer), "AR", "{answer}");
    assert!(answer.contains("send the message again"), "{answer}");
    assert!(taken > 0);
    let mut client = Client::connect(http).expect("connect");
    assert_eq!(
        count(&mut client, "/fhir/Observation?_summary=count"),
        taken
    );

    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &process.id().to_string()])
        .status()
        .expect("prlimit");
    assert!(lifted.success());
    let mut sender = MllpClient::connect(mllp).expect("connect");
    for number in number..number + 10 {
        let answer = sender.send(message(number).as_bytes()).expect("answer");
        assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    }
    let mut client = Client::connect(http).expect("connect");
    let found = count(&mut client, "/fhir/Observation?_summary=count");
    assert_eq!(found, taken + 10);
    assert!(process.terminate().expect("end").success());
}

/// Verifies: SRS-324, RC-324
#[test]
fn idle_connections_half_frames_and_a_large_document_do_not_stop_a_feed() {
    let ground = Ground::start();
    let mut client = ground.client();
    let settings = format!(
        r#"{{"address":"127.0.0.1:0","connections_max":{},"message_bytes_max":{}}}"#,
        IDLE + 16,
        DOCUMENT_BYTES * 2
    );
    let headers = [("content-type", "application/json")];
    let feed = client
        .request("PUT", "/admin/feeds/hard", &headers, settings.as_bytes())
        .expect("answer");
    assert_eq!(feed.status, 201, "{}", feed.text());
    let feed = json(&feed);
    let listens = feed
        .get("listens")
        .and_then(Value::as_str)
        .expect("listens");
    let idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| TcpStream::connect(listens).expect("connect"))
        .collect();
    // Every tenth has begun a message and does not go on.
    for mut stream in idle.iter().step_by(10) {
        stream.write_all(b"\x0bMSH|^~\\&|LAB").expect("write");
    }
    let mut sender = MllpClient::connect(listens.parse().expect("address")).expect("connect");
    let answer = sender.send(message(1).as_bytes()).expect("answer");
    assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    drop(idle);

    let document = "QUJD".repeat(DOCUMENT_BYTES / 4);
    let large = format!(
        "MSH|^~\\&|LAB|ITHOSP|STOKER|TEST|20260102120000+0000||ORU^R01^ORU_R01|LARGE|P|2.5.1\r\
         PID|1||LARGE^^^ITHOSP^MR||Testcase^Ada\r\
         OBR|1||LARGE^LAB|18842-5^Discharge summary^LN|||20260102110000+0000\r\
         OBX|1|ED|18842-5^Discharge summary^LN||^application^pdf^Base64^{document}||||||F\r"
    );
    let mut sender = MllpClient::connect(listens.parse().expect("address")).expect("connect");
    sender.patience(Some(PATIENCE)).expect("socket");
    let answer = sender.send(large.as_bytes()).expect("answer");
    let code = acknowledgement_code(&answer).to_owned();
    // What is over the server's own limit of a resource is kept with that reason; it is never lost or cut.
    assert!(code == "AA" || code == "AE", "{answer}");
    // The server closes what is idle for some seconds.
    let mut client = ground.client();
    let log = client.get("/admin/messages?control=LARGE").expect("answer");
    let log = json(&log);
    let kept = log
        .get("messages")
        .and_then(Value::as_array)
        .expect("messages");
    let id = kept
        .first()
        .and_then(|m| m.get("id"))
        .and_then(Value::number_text);
    let raw = client.get(&format!("/admin/messages/{}/raw", id.expect("id")));
    assert_eq!(raw.expect("answer").body.len(), large.len());
    let found = client
        .get("/fhir/Patient?identifier=DISK-1")
        .expect("answer");
    assert_eq!(resources(&found).len(), 1);
}
