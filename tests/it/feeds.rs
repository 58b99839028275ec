//! Feeds of a running server: registered, used, paused, changed, removed, over HTTP, from the command line, from TOML.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fhir_core::json::Value;
use system_tests::http_client::{Client, Response};
use system_tests::mllp_client::{MllpClient, acknowledgement_code};
use system_tests::process::built_program;
use system_tests::server::TestServer;

use super::{Ground, json, resources, text};

/// Longest wait for a file to be taken: two looks of a second each, on a loaded machine.
const FILE_LIMIT: Duration = Duration::from_secs(60);

fn admission(control_id: &str, mrn: &str, msh_15_16: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000+0100||ADT^A01^ADT_A01|{control_id}|P|2.5.1{msh_15_16}\r\
         EVN|A01|20260102080000+0100\r\
         PID|1||{mrn}^^^ITHOSP^MR||Testcase^Ada^B||19700203|F\r\
         PV1|1|I|WARD^1^1\r"
    )
    .into_bytes()
}

fn put(client: &mut Client, name: &str, settings: &str) -> Response {
    let path = format!("/admin/feeds/{name}");
    let headers = [("content-type", "application/json")];
    client
        .request("PUT", &path, &headers, settings.as_bytes())
        .unwrap()
}

fn action(client: &mut Client, name: &str, action: &str) -> Response {
    let path = format!("/admin/feeds/{name}/{action}");
    client.request("POST", &path, &[], b"").unwrap()
}

fn address(feed: &Value) -> SocketAddr {
    text(feed, &["listens"]).parse().unwrap()
}

fn send(address: SocketAddr, message: &[u8]) -> std::io::Result<String> {
    MllpClient::connect(address)?.send(message)
}

fn found(client: &mut Client, mrn: &str) -> usize {
    let path = format!("/fhir/Patient?identifier={mrn}");
    resources(&client.get(&path).unwrap()).len()
}

/// Verifies: SRS-130, RC-130
#[test]
fn a_feed_is_registered_paused_changed_and_removed_while_the_server_runs() {
    let ground = Ground::start();
    let mut client = ground.client();
    let registered = put(&mut client, "lab", r#"{"address":"127.0.0.1:0"}"#);
    assert_eq!(registered.status, 201, "{}", registered.text());
    let feed = json(&registered);
    assert_eq!(text(&feed, &["state"]), "running");
    assert_eq!(text(&feed, &["origin"]), "registered");
    let listens = address(&feed);
    let answer = send(listens, &admission("f-1", "F-1", "")).unwrap();
    assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    assert_eq!(found(&mut client, "F-1"), 1);

    let feed = json(&client.get("/admin/feeds/lab").unwrap());
    assert_eq!(text(&feed, &["counters", "accepted"]), "1");
    assert_eq!(text(&feed, &["settings", "charset"]), "windows-1252");
    let metrics = client.get("/metrics").unwrap().text();
    assert!(
        metrics.contains("stoker_feed_messages_total{feed=\"lab\",outcome=\"accepted\"} 1"),
        "{metrics}"
    );

    let paused = action(&mut client, "lab", "pause");
    assert_eq!(text(&json(&paused), &["state"]), "paused");
    assert!(send(listens, &admission("f-2", "F-2", "")).is_err());
    let resumed = json(&action(&mut client, "lab", "resume"));
    let listens = address(&resumed);
    assert!(send(listens, &admission("f-2", "F-2", "")).is_ok());

    // Training messages are refused with the setting that takes them, and taken once it is changed.
    let training = |id: &str| {
        let message = String::from_utf8(admission(id, "F-3", "")).unwrap();
        message.replace("|P|2.5.1", "|T|2.5.1").into_bytes()
    };
    let answer = send(listens, &training("f-3")).unwrap();
    assert_eq!(acknowledgement_code(&answer), "AR");
    assert!(answer.contains("processing_ids"), "{answer}");
    let changed = put(
        &mut client,
        "lab",
        r#"{"address":"127.0.0.1:0","processing_ids":["P","T"]}"#,
    );
    assert_eq!(changed.status, 200, "{}", changed.text());
    let listens = address(&json(&changed));
    let answer = send(listens, &training("f-4")).unwrap();
    assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    let accepted = text(&json(&changed), &["counters", "accepted"]);
    assert_eq!(accepted, "2", "counting goes on over changes");

    let removed = client
        .request("DELETE", "/admin/feeds/lab", &[], b"")
        .unwrap();
    assert_eq!(removed.status, 204);
    assert!(send(listens, &admission("f-5", "F-5", "")).is_err());
    assert_eq!(client.get("/admin/feeds/lab").unwrap().status, 404);
    assert_eq!(found(&mut client, "F-1"), 1, "what it brought stays");
    let trail = client.get("/fhir/AuditEvent/$trail").unwrap().text();
    for what in ["registered", "paused", "resumed", "changed", "removed"] {
        assert!(
            trail.contains(&format!("feed lab {what}")),
            "{what}: {trail}"
        );
    }
}

/// Verifies: SRS-130, RC-130
#[test]
fn settings_that_cannot_be_used_change_nothing() {
    let ground = Ground::start();
    let mut client = ground.client();
    let feed = json(&put(&mut client, "lab", r#"{"address":"127.0.0.1:0"}"#));
    let listens = address(&feed);
    let taken = format!(r#"{{"address":"{}"}}"#, ground.server.doors.mllp);
    for (settings, status, named) in [
        ("no json", 400, "settings"),
        (r#"{"adress":"127.0.0.1:0"}"#, 400, "adress"),
        (r#"{"name":"other","address":"127.0.0.1:0"}"#, 400, "name"),
        (r#"{}"#, 422, "address"),
        (r#"{"address":"0.0.0.0:0"}"#, 422, "allow"),
        (r#"{"address":"127.0.0.1:0","zone":"Mars"}"#, 422, "zone"),
        (
            r#"{"transport":"mllp-tls","address":"127.0.0.1:0","certificate":"missing.pem","key":"missing.key"}"#,
            422,
            "missing.pem",
        ),
        (
            r#"{"address":"127.0.0.1:0","mappings":"/no/such/folder"}"#,
            422,
            "/no/such/folder",
        ),
        (taken.as_str(), 422, "cannot be listened on"),
    ] {
        let answer = put(&mut client, "lab", settings);
        assert_eq!(answer.status, status, "{settings}: {}", answer.text());
        assert!(
            answer.text().contains(named),
            "{settings}: {}",
            answer.text()
        );
    }
    let feed = json(&client.get("/admin/feeds/lab").unwrap());
    assert_eq!(text(&feed, &["state"]), "running");
    let again = if address(&feed) == listens {
        listens
    } else {
        address(&feed)
    };
    assert!(send(again, &admission("s-1", "S-1", "")).is_ok());
    // The feed of the command line belongs to the command line.
    let answer = put(&mut client, "mllp", r#"{"address":"127.0.0.1:0"}"#);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(
        client
            .request("DELETE", "/admin/feeds/mllp", &[], b"")
            .unwrap()
            .status,
        403
    );
    assert_eq!(action(&mut client, "nobody", "pause").status, 404);
    assert_eq!(
        put(&mut client, "a%20b", r#"{"address":"127.0.0.1:0"}"#).status,
        422
    );
}

/// Verifies: SRS-130, RC-130
#[test]
fn registered_feeds_and_pauses_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("it.db");
    let mut server = TestServer::start(&database).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    assert_eq!(
        put(&mut client, "web", r#"{"transport":"http"}"#).status,
        201
    );
    assert_eq!(
        put(&mut client, "later", r#"{"transport":"http"}"#).status,
        201
    );
    assert_eq!(action(&mut client, "later", "pause").status, 200);
    assert_eq!(action(&mut client, "mllp", "pause").status, 200);
    // As a power failure would: what was answered is durable.
    server.process.kill().unwrap();
    let mut command = Command::new(built_program("stoker").unwrap());
    command
        .args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--mllp",
            "127.0.0.1:0",
            "--database",
        ])
        .arg(system_tests::server::url(&database));
    let mut process = system_tests::process::Process::start_with(&mut command).unwrap();
    let http = process
        .wait_for(FILE_LIMIT, |line| {
            line.strip_prefix("listening http ")?.trim().parse().ok()
        })
        .unwrap();
    let mut client = Client::connect(http).unwrap();
    let feeds = json(&client.get("/admin/feeds").unwrap());
    let states: Vec<(String, String)> = feeds
        .as_array()
        .unwrap()
        .iter()
        .map(|feed| (text(feed, &["name"]), text(feed, &["state"])))
        .collect();
    let expected = [("later", "paused"), ("mllp", "paused"), ("web", "running")];
    assert_eq!(states, expected.map(|(n, s)| (n.to_owned(), s.to_owned())));
}

/// Verifies: SRS-136, RC-136
#[test]
fn administration_over_the_network_needs_the_token() {
    const TOKEN: &str = "0123456789abcdef-it";
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(built_program("stoker").unwrap());
    command
        .args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--mllp",
            "off",
            "--database",
        ])
        .arg(system_tests::server::url(&folder.path().join("it.db")))
        .env("STOKER_ADMIN_TOKEN", TOKEN);
    let mut process = system_tests::process::Process::start_with(&mut command).unwrap();
    let http: SocketAddr = process
        .wait_for(FILE_LIMIT, |line| {
            line.strip_prefix("listening http ")?.trim().parse().ok()
        })
        .unwrap();
    let mut client = Client::connect(http).unwrap();
    let right = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}x");
    for (authorization, status) in [
        ("", 401),
        (wrong.as_str(), 401),
        ("Basic abc", 401),
        (right.as_str(), 200),
    ] {
        let headers = [("authorization", authorization)];
        let answer = client
            .request("GET", "/admin/feeds", &headers, b"")
            .unwrap();
        assert_eq!(answer.status, status, "{authorization}");
        assert!(!answer.text().contains(TOKEN));
    }
    // Nothing under /admin is open, however its path is spelt.
    for path in [
        "/admin/feeds",
        "/%61dmin/feeds",
        "/admin/messages",
        "/admin/tenants",
        "/admin/quarantine",
        "/admin/device-tokens",
        "/admin/nothing",
    ] {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // A page of another site, shown by a browser on this machine, is refused in open mode.
    let ground = Ground::start();
    let mut client = ground.client();
    for headers in [
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ] {
        let answer = client
            .request("POST", "/admin/feeds/mllp/pause", &headers, b"")
            .unwrap();
        assert_eq!(answer.status, 403);
    }
}

/// Verifies: SRS-137, RC-131
#[test]
fn a_message_over_http_is_answered_by_its_acknowledgement() {
    let ground = Ground::start();
    let mut client = ground.client();
    let settings = r#"{"transport":"http","message_bytes_max":4096}"#;
    assert_eq!(put(&mut client, "web", settings).status, 201);
    // A refused request may end its connection, so each has one of its own.
    let post = |feed: &str, media_type: &str, body: &[u8]| {
        let mut client = ground.client();
        let headers = [("content-type", media_type)];
        client
            .request("POST", &format!("/hl7/{feed}"), &headers, body)
            .unwrap()
    };
    let bad = String::from_utf8(admission("h-2", "H-2", ""))
        .unwrap()
        .replace("A01", "A99");
    let big = [admission("h-3", "H-3", ""), vec![b'x'; 5_000]].concat();
    for (media_type, body, status, code) in [
        ("application/hl7-v2", admission("h-1", "H-1", ""), 200, "AA"),
        (
            "x-application/hl7-v2+er7; charset=utf-8",
            admission("h-1", "H-1", ""),
            200,
            "AA",
        ),
        (
            "text/plain",
            admission("h-1a", "H-1", "|||AL|NE"),
            200,
            "CA",
        ),
        (
            "application/hl7-v2",
            admission("h-1b", "H-1", "|||NE|NE"),
            204,
            "",
        ),
        ("application/hl7-v2", bad.into_bytes(), 422, "AR"),
        ("application/hl7-v2", b"hello".to_vec(), 422, "AE"),
        ("application/hl7-v2", big, 413, "AR"),
        ("application/hl7-v2", Vec::new(), 422, ""),
        (
            "application/fhir+json",
            admission("h-4", "H-4", ""),
            415,
            "",
        ),
    ] {
        let answer = post("web", media_type, &body);
        assert_eq!(answer.status, status, "{code}: {}", answer.text());
        assert_eq!(
            acknowledgement_code(&answer.text()),
            code,
            "{}",
            answer.text()
        );
    }
    assert_eq!(post("nobody", "text/plain", b"MSH|").status, 404);
    assert_eq!(
        post("mllp", "text/plain", b"MSH|").status,
        404,
        "another transport"
    );
    let both = post("web", "text/plain", &admission("h-5", "H-5", "|||AL|AL"));
    let codes: Vec<&str> = ["MSA|CA|h-5", "MSA|AA|h-5"]
        .into_iter()
        .filter(|msa| both.text().contains(msa))
        .collect();
    assert_eq!(codes.len(), 2, "{}", both.text());
    let mut client = ground.client();
    assert_eq!(action(&mut client, "web", "pause").status, 200);
    let headers = [("content-type", "text/plain")];
    let answer = client
        .request("POST", "/hl7/web", &headers, b"MSH|")
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(found(&mut client, "H-1"), 1);
    assert_eq!(found(&mut client, "H-2"), 0);
}

/// Enhanced mode over MLLP: CA, then AA, on the same connection.
/// Verifies: SRS-131
#[test]
fn both_acknowledgements_of_enhanced_mode_come_over_mllp() {
    let ground = Ground::start();
    let mut client = MllpClient::connect(ground.server.doors.mllp).unwrap();
    let first = client.send(&admission("e-1", "E-1", "|||AL|AL")).unwrap();
    // Both may come in one read.
    let rest = if first.contains("MSA|AA") {
        String::new()
    } else {
        client.send(&admission("e-2", "E-1", "|||NE|AL")).unwrap()
    };
    let all = format!("{first}{rest}");
    let (accept, application) = (all.find("MSA|CA|e-1"), all.find("MSA|AA|e-1"));
    assert!(accept.is_some() && accept < application, "{all}");
}

fn stoker(arguments: &[&str], server: SocketAddr) -> Output {
    Command::new(built_program("stoker").unwrap())
        .args(arguments)
        .env("STOKER_SERVER", format!("http://{server}"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// Everything again from the command line, the way the guide tells it.
#[test]
fn the_command_line_manages_feeds_and_sends_to_them() {
    let ground = Ground::start();
    let server = ground.server.doors.http;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.hl7");
    std::fs::write(
        &file,
        [
            admission("c-1", "C-1", ""),
            admission("c-2", "C-2", "|||AL|AL"),
        ]
        .concat(),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let url = format!("http://{server}/hl7/web");
    let no_feed = format!("http://{server}/hl7/none");
    for (arguments, is_done, says) in [
        (
            vec![
                "feeds",
                "add",
                "web",
                "--set",
                "transport=http",
                "--set",
                "authorities.ITHOSP=urn:x:it",
            ],
            true,
            "web running /hl7/web",
        ),
        (
            vec!["feeds", "add", "web", "--set", "transport=http"],
            false,
            "use `change`",
        ),
        (vec!["send", file, "--to", &url], true, "#2 c-2: AA"),
        (
            vec!["send", file, "--to", &no_feed],
            false,
            "HTTP status 404",
        ),
        (vec!["feeds", "list"], true, "running  /hl7/web"),
        (
            vec!["feeds", "change", "web", "--set", "window=0"],
            false,
            "`window`",
        ),
        (
            vec!["feeds", "change", "web", "--set", "window=4"],
            true,
            "running",
        ),
        (
            vec!["feeds", "show", "web"],
            true,
            "\"ITHOSP\": \"urn:x:it\"",
        ),
        (vec!["feeds", "pause", "web"], true, "paused"),
        (vec!["feeds", "resume", "web"], true, "running"),
        (vec!["feeds", "remove", "web"], true, "web removed"),
        (vec!["feeds", "show", "web"], false, "no such feed"),
    ] {
        let output = stoker(&arguments, server);
        assert_eq!(
            output.status.success(),
            is_done,
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(says),
            "{arguments:?}: {}",
            said(&output)
        );
    }
    assert_eq!(found(&mut ground.client(), "C-1"), 1);
}

/// A file drop and a second MLLP feed from the settings file; the file is taken, answered and queryable.
/// Verifies: SRS-133, RC-133
#[test]
fn feeds_of_the_settings_file_run_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    let settings = folder.path().join("stoker.toml");
    let mut file = std::fs::File::create(&settings).unwrap();
    write!(
        file,
        "http = \"127.0.0.1:0\"\nmllp = \"off\"\ndatabase = \"{}\"\n\n[[feed]]\nname = \"drop\"\ntransport = \"folder\"\nfolder = \"{}\"\n\
         poll_seconds = 1\n\n[[feed]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\nprocessing_ids = [\"T\"]\n",
        system_tests::server::url(&folder.path().join("it.db")),
        inbox.display()
    )
    .unwrap();
    let mut command = Command::new(built_program("stoker").unwrap());
    command.args(["serve", "--config"]).arg(&settings);
    let mut process = system_tests::process::Process::start_with(&mut command).unwrap();
    let line =
        |prefix: &'static str| move |line: &str| line.strip_prefix(prefix)?.trim().parse().ok();
    let http: SocketAddr = process
        .wait_for(FILE_LIMIT, line("listening http "))
        .unwrap();
    let second: SocketAddr = process
        .wait_for(FILE_LIMIT, line("listening feed second mllp "))
        .unwrap();
    let answer = send(second, &admission("d-0", "D-0", "")).unwrap();
    assert_eq!(
        acknowledgement_code(&answer),
        "AR",
        "this one takes training messages only"
    );

    let batch = [
        b"FHS|^~\\&|ADM|ITHOSP\rBHS|^~\\&|ADM|ITHOSP\r".to_vec(),
        admission("d-1", "D-1", ""),
        admission("d-2", "D-2", ""),
        b"BTS|2\rFTS|1\r".to_vec(),
    ];
    std::fs::write(inbox.join("batch.tmp"), batch.concat()).unwrap();
    std::fs::rename(inbox.join("batch.tmp"), inbox.join("batch.hl7")).unwrap();
    let done = inbox.join("done").join("batch.hl7");
    assert!(appears(&done), "the file is taken");
    let ack = std::fs::read_to_string(beside(&done)).unwrap();
    assert!(
        ack.contains("MSA|AA|d-1") && ack.contains("MSA|AA|d-2") && ack.contains("BTS|2"),
        "{ack}"
    );
    let mut client = Client::connect(http).unwrap();
    assert_eq!(found(&mut client, "D-2"), 1);
    assert_eq!(
        put(&mut client, "drop", r#"{"transport":"http"}"#).status,
        403
    );
}

fn beside(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.ack", path.display()))
}

fn appears(path: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < FILE_LIMIT {
        if path.exists() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
