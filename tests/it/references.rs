//! Referential integrity as a setting: references lead somewhere, and what is referred to stays.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#literal>, <https://hl7.org/fhir/R4/http.html#delete>

use system_tests::server::TestServer;

use super::{Client, json, text};

const STATUS: &str = r#""status":"final","code":{"text":"x"}"#;

fn observation(id: &str, subject: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}",{STATUS},"subject":{{"reference":"{subject}"}}}}"#
    )
}

fn transaction(entries: &[(&str, &str, &str)]) -> String {
    let entries = entries.iter().map(|(method, url, resource)| {
        let resource = match *resource {
            "" => String::new(),
            resource => format!(r#""resource":{resource},"#),
        };
        format!(r#"{{{resource}"request":{{"method":"{method}","url":"{url}"}}}}"#)
    });
    let entries: Vec<String> = entries.collect();
    format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
        entries.join(",")
    )
}

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p"}"#;

/// Verifies: SRS-308, RC-306
#[test]
fn references_lead_somewhere_and_stay_so_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("r.db");
    let server = TestServer::start_with(&database, &["--references", "strict"]).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    let mut ask = |method: &str, path: &str, body: &str| {
        let answer = client
            .request(
                method,
                &format!("/fhir{path}"),
                &[("content-type", "application/fhir+json")],
                body.as_bytes(),
            )
            .unwrap();
        let status = answer.status;
        let issue = (status >= 400).then(|| {
            let issue = json(&answer).get("issue").unwrap().as_array().unwrap()[0].clone();
            let at = issue
                .get("expression")
                .and_then(|all| all.as_array()?[0].as_str());
            (
                text(&issue, &["diagnostics"]),
                at.unwrap_or_default().to_owned(),
            )
        });
        (status, issue)
    };

    // "leads nowhere": refused, with the element.
    let (status, issue) = ask("PUT", "/Observation/o", &observation("o", "Patient/p"));
    let (why, at) = issue.unwrap();
    assert_eq!(
        (status, at.as_str()),
        (422, "Observation.subject.reference")
    );
    assert!(why.contains("no Patient"), "{why}");

    // In one transaction the order does not matter; the refusal names the entry.
    let both = transaction(&[
        ("PUT", "Observation/o", &observation("o", "Patient/p")),
        ("PUT", "Patient/p", PATIENT),
    ]);
    assert_eq!(ask("POST", "", &both).0, 200);
    let lone = transaction(&[
        ("PUT", "Patient/q", r#"{"resourceType":"Patient","id":"q"}"#),
        ("PUT", "Observation/n", &observation("n", "Patient/nobody")),
    ]);
    let (status, issue) = ask("POST", "", &lone);
    let at = issue.unwrap().1;
    assert_eq!(
        (status, at.as_str()),
        (422, "Bundle.entry[1].resource.subject.reference")
    );
    assert_eq!(ask("GET", "/Patient/q", "").0, 404, "all or nothing");

    // What is referred to stays, until it is no longer.
    let (status, issue) = ask("DELETE", "/Patient/p", "");
    let why = issue.unwrap().0;
    assert_eq!(status, 409);
    assert!(why.contains("`Observation/o`"), "{why}");
    let away = transaction(&[("DELETE", "Patient/p", ""), ("DELETE", "Observation/o", "")]);
    assert_eq!(ask("POST", "", &away).0, 200);

    // A deleted resource is none; contained ones, other servers' and urns are not asked for.
    assert_eq!(
        ask("PUT", "/Observation/o", &observation("o", "Patient/p")).0,
        422
    );
    let elsewhere = observation("o", "https://ehr.example/Patient/p");
    assert_eq!(ask("PUT", "/Observation/o", &elsewhere).0, 201);
}
