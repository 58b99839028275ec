//! Settings of validation: packages, modes, rules.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>

use system_tests::server::TestServer;

use super::{Client, json, text};

const PROFILE: &str = "http://x.example/StructureDefinition/named";

const DEFINITION: &str = r#"{"resourceType":"StructureDefinition","url":"http://x.example/StructureDefinition/named","name":"Named",
    "status":"draft","kind":"resource","abstract":false,"type":"Patient","derivation":"constraint",
    "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
    "differential":{"element":[{"id":"Patient.name","path":"Patient.name","min":1}]}}"#;

const UNNAMED: &str = r#"{"resourceType":"Patient","active":true}"#;

const CLAIMING: &str = r#"{"resourceType":"Patient","meta":{"profile":["http://x.example/StructureDefinition/named"]}}"#;

/// Breaks pat-1.
const BROKEN: &str =
    r#"{"resourceType":"Patient","name":[{"family":"A"}],"contact":[{"gender":"male"}]}"#;

/// A server with a package and these settings, and what it answers to each body.
fn statuses(settings: &[&str], bodies: &[&str]) -> Vec<u16> {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("named.json"), DEFINITION).unwrap();
    let package = package.display().to_string();
    let mut all = vec!["--package", package.as_str()];
    all.extend(settings);
    let server = TestServer::start_with(&folder.path().join("v.db"), &all).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    let mut post = |body: &&str| {
        client
            .post("/fhir/Patient", body.as_bytes())
            .unwrap()
            .status
    };
    bodies.iter().map(&mut post).collect()
}

/// Verifies: SRS-185, RC-181
#[test]
fn modes_and_rules_decide_what_is_refused() {
    let bodies = [UNNAMED, CLAIMING, BROKEN];
    assert_eq!(statuses(&[], &bodies), [201, 201, 422], "defaults");
    assert_eq!(
        statuses(&["--profiles", "reject"], &bodies),
        [201, 422, 422]
    );
    assert_eq!(statuses(&["--invariants", "off"], &bodies), [201, 201, 201]);
    let demanded = format!("{PROFILE}=reject");
    assert_eq!(
        statuses(&["--validation-rule", &demanded], &bodies),
        [422, 422, 422]
    );
    let rules = ["--profiles", "reject", "--validation-rule", "Patient=warn"];
    assert_eq!(statuses(&rules, &bodies), [201, 201, 201]);
}

/// Verifies: SRS-182
#[test]
fn a_refusal_names_profile_and_element() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        TestServer::start_with(&folder.path().join("v.db"), &["--profiles", "reject"]).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    let stored = client
        .post("/fhir/StructureDefinition", DEFINITION.as_bytes())
        .unwrap();
    assert_eq!(stored.status, 201, "{}", stored.text());
    let refused = client.post("/fhir/Patient", CLAIMING.as_bytes()).unwrap();
    assert_eq!(refused.status, 422);
    let outcome = json(&refused);
    assert_eq!(
        text(&outcome, &["issue", "0", "expression", "0"]),
        "Patient.name"
    );
    assert!(text(&outcome, &["issue", "0", "diagnostics"]).contains(PROFILE));
}
