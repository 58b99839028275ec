//! What goes in comes out: transactions and imports, compared member by member and digit by digit.

use std::process::Command;

use system_tests::process::built_program;
use system_tests::read_back::{self, Report};
use system_tests::server::{TestServer, url};
use system_tests::synthetic;

use crate::Ground;

/// A transaction Bundle of a synthetic patient with Observations that refer to it by `urn:uuid`.
fn bundle(number: u64, observations: u64) -> String {
    let patient_url = format!("urn:uuid:00000000-0000-4000-8000-{number:012}");
    let mut entries = vec![entry(&patient_url, "Patient", &synthetic::patient(number))];
    for at in 0..observations {
        // The synthetic Observation refers to its patient by id; the transaction gives the patient another one.
        let observation = synthetic::observation(number * 1_000 + at, number + 1);
        let own = format!(
            "Patient/{}",
            synthetic::patient_id((number * 1_000 + at) % (number + 1))
        );
        let observation = observation.replace(&own, &patient_url);
        let url = format!(
            "urn:uuid:00000000-0000-4000-9000-{:012}",
            number * 1_000 + at
        );
        entries.push(entry(&url, "Observation", &observation));
    }
    let tricky = r#"{"resourceType":"Observation","status":"final","extension":[{"url":"http://example.org/deep","extension":[{"url":"a","extension":[{"url":"b","valueDecimal":0.10000000000000000000000000010}]}]}],"code":{"text":"digits","_text":{"extension":[{"url":"http://example.org/lang","valueCode":"en"}]}},"subject":{"reference":"SUBJECT"},"effectiveDateTime":"2024-02-29T23:59:60.120+14:00","valueQuantity":{"value":1E3,"unit":"x"},"component":[{"code":{"text":"z"},"valueQuantity":{"value":2.50}},{"code":{"text":"a"},"valueQuantity":{"value":-0.0}}],"note":[{"text":"line\n\"quoted\" \u00e9\ud83d\ude00 <b>"}]}"#;
    let tricky = tricky.replace("SUBJECT", &patient_url);
    entries.push(entry(
        "urn:uuid:00000000-0000-4000-a000-000000000001",
        "Observation",
        &tricky,
    ));
    let list = entries.join(",");
    format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{list}]}}"#)
}

fn entry(url: &str, kind: &str, resource: &str) -> String {
    format!(
        r#"{{"fullUrl":"{url}","resource":{resource},"request":{{"method":"POST","url":"{kind}"}}}}"#
    )
}

/// "a resource … is returned with the digits it was received with"; references become the ids given.
/// Verifies: SRS-001
/// Spec: https://hl7.org/fhir/R4/datatypes.html#decimal
#[test]
fn a_transaction_reads_back_equal() {
    let ground = Ground::start();
    let mut client = ground.client();
    let mut report = Report::default();
    for number in 0..3 {
        read_back::check(
            &mut client,
            "bundle",
            bundle(number, 20).as_bytes(),
            &mut report,
        )
        .expect("accepted");
    }
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.equal_in_all(), 3 * 22);
}

/// The comparison itself finds a difference, or the test above would show nothing.
#[test]
fn a_changed_digit_is_another_content() {
    let value = |text: &str| fhir_core::json::Value::parse(text.as_bytes()).expect("JSON");
    let one = value(r#"{"resourceType":"Observation","id":"1","valueQuantity":{"value":2.50}}"#);
    let same = value(r#"{"id":"2","resourceType":"Observation","valueQuantity":{"value":2.50}}"#);
    let other = value(r#"{"resourceType":"Observation","id":"1","valueQuantity":{"value":2.5}}"#);
    assert_eq!(read_back::canonical(&one), read_back::canonical(&same));
    assert_ne!(read_back::canonical(&one), read_back::canonical(&other));
}

/// `stoker import` loads a folder; every count matches and each resource is there.
/// Verifies: SRS-001
#[test]
fn an_imported_folder_is_complete() {
    let folder = tempfile::tempdir().expect("folder");
    let bundles = folder.path().join("bundles");
    std::fs::create_dir(&bundles).expect("folder");
    for number in 0..4 {
        let file = bundles.join(format!("{number}.json"));
        std::fs::write(file, bundle(number, 30)).expect("written");
    }
    std::fs::write(bundles.join("broken.json"), "{\"resourceType\":").expect("written");
    let database = folder.path().join("import.db");
    let output = Command::new(built_program("stoker").expect("built"))
        .arg("import")
        .arg(&bundles)
        .args(["--database", &url(&database)])
        .output()
        .expect("runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "a broken file fails the import");
    assert!(errors.contains("broken.json"), "{errors}");
    let server = TestServer::start(&database).expect("starts");
    let mut client =
        system_tests::http_client::Client::connect(server.doors.http).expect("connects");
    for (kind, count) in [("Patient", 4), ("Observation", 4 * 31)] {
        let answer = client
            .get(&format!("/fhir/{kind}?_summary=count"))
            .expect("answer");
        let total = crate::text(&crate::json(&answer), &["total"]);
        assert_eq!(total, count.to_string(), "{kind}");
    }
}
