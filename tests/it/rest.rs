//! The REST API.

use std::collections::BTreeSet;

use fhir_core::json::Value;
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;

use super::{Client, Ground, json, resources, text};

fn patient(identifier: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"urn:oid:2.999.8.1","value":"{identifier}"}}],"name":[{{"family":"Rest"}}]}}"#
    )
}

/// Spec: <https://hl7.org/fhir/R4/http.html#delete>
/// Verifies: SRS-009, RC-010
#[test]
fn deleted_resource_answers_410_and_keeps_its_history() {
    let ground = Ground::start();
    let mut client = ground.client();
    let created = client
        .post("/fhir/Patient", patient("rest-del").as_bytes())
        .unwrap();
    assert_eq!(created.status, 201);
    let path = format!("/fhir/Patient/{}", text(&json(&created), &["id"]));
    assert_eq!(
        client.request("DELETE", &path, &[], b"").unwrap().status,
        204
    );
    assert_eq!(client.get(&path).unwrap().status, 410);
    assert_eq!(
        client.get(&format!("{path}/_history/1")).unwrap().status,
        200
    );
    assert_eq!(
        client.get(&format!("{path}/_history/2")).unwrap().status,
        410
    );
    let search = client
        .get("/fhir/Patient?identifier=urn:oid:2.999.8.1%7Crest-del")
        .unwrap();
    assert!(resources(&search).is_empty());
    assert_eq!(
        text(
            &json(&client.get(&format!("{path}/_history")).unwrap()),
            &["total"]
        ),
        "2"
    );
}

/// Spec: <https://hl7.org/fhir/R4/http.html#ccreate>
#[test]
fn many_clients_with_one_condition_make_one_resource() {
    one_resource_for_one_condition(&Ground::start().server);
    if let Some(postgres) = Postgres::start().unwrap() {
        one_resource_for_one_condition(&TestServer::start_on(&postgres.url, &[]).unwrap());
    }
}

fn one_resource_for_one_condition(server: &TestServer) {
    let client = || Client::connect(server.doors.http).unwrap();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let headers = [
                        ("content-type", "application/fhir+json"),
                        ("if-none-exist", "identifier=urn:oid:2.999.8.1|rest-race"),
                    ];
                    let body = patient("rest-race");
                    client()
                        .request("POST", "/fhir/Patient", &headers, body.as_bytes())
                        .unwrap()
                        .status
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|s| **s == 201).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|s| matches!(s, 200 | 201)),
        "{statuses:?}"
    );
    let found = client()
        .get("/fhir/Patient?identifier=urn:oid:2.999.8.1%7Crest-race")
        .unwrap();
    assert_eq!(resources(&found).len(), 1);
}

/// Spec: <https://hl7.org/fhir/R4/http.html#trules>
/// Verifies: SRS-008, RC-008
#[test]
fn a_transaction_is_carried_out_whole_or_not_at_all() {
    let ground = Ground::start();
    let mut client = ground.client();
    let entry = |family: &str, birth_date: &str| {
        format!(
            r#"{{"fullUrl":"urn:uuid:5f0c1a34-0000-4000-8000-0000000000{birth_date}","request":{{"method":"POST","url":"Patient"}},"resource":{{"resourceType":"Patient","identifier":[{{"system":"urn:oid:2.999.8.1","value":"rest-tx-{family}"}}],"birthDate":"2000-01-{birth_date}"}}}}"#
        )
    };
    let bundle = |entries: &[String]| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
            entries.join(",")
        )
    };
    let bad = bundle(&[entry("a", "01"), entry("b", "99")]);
    let refused = client.post("/fhir", bad.as_bytes()).unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    for family in ["a", "b"] {
        let query = format!("/fhir/Patient?identifier=rest-tx-{family}");
        assert!(
            resources(&client.get(&query).unwrap()).is_empty(),
            "{family}"
        );
    }
    let good = bundle(&[
        entry("a", "01"),
        r#"{"request":{"method":"POST","url":"Observation"},"resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"urn:uuid:5f0c1a34-0000-4000-8000-000000000001"},"valueQuantity":{"value":1.10}}}"#.to_owned(),
    ]);
    let done = client.post("/fhir", good.as_bytes()).unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
    let found = resources(
        &client
            .get("/fhir/Observation?patient.identifier=rest-tx-a")
            .unwrap(),
    );
    let [observation] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(text(observation, &["valueQuantity", "value"]), "1.10");
}

/// Spec: <https://hl7.org/fhir/R4/http.html#concurrency>
/// Verifies: SRS-007, RC-005
#[test]
fn an_update_of_another_version_is_refused() {
    let ground = Ground::start();
    let mut client = ground.client();
    let created = json(
        &client
            .post("/fhir/Patient", patient("rest-match").as_bytes())
            .unwrap(),
    );
    let path = format!("/fhir/Patient/{}", text(&created, &["id"]));
    let patch = br#"[{"op":"add","path":"/birthDate","value":"1980-01-01"}]"#;
    let mut send = |tag: &str| {
        let headers = [
            ("content-type", "application/json-patch+json"),
            ("if-match", tag),
        ];
        client
            .request("PATCH", &path, &headers, patch)
            .unwrap()
            .status
    };
    assert_eq!(send("W/\"1\""), 200);
    assert_eq!(send("W/\"1\""), 412);
}

/// Spec: <https://hl7.org/fhir/R4/xml.html>
/// Verifies: SRS-001, RC-001
#[test]
fn xml_goes_in_and_comes_out_with_its_digits() {
    let ground = Ground::start();
    let mut client = ground.client();
    let body = r#"<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="a &amp; b"/></code><valueQuantity><value value="7.500"/></valueQuantity></Observation>"#;
    let headers = [
        ("content-type", "application/fhir+xml"),
        ("accept", "application/fhir+xml"),
    ];
    let created = client
        .request("POST", "/fhir/Observation", &headers, body.as_bytes())
        .unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    assert!(
        created.text().contains(r#"<value value="7.500"/>"#),
        "{}",
        created.text()
    );
    let location = created.header("location").unwrap();
    let path = location
        .split_once("/fhir/")
        .map(|(_, rest)| format!("/fhir/{rest}"))
        .unwrap();
    let read = client.get(&path).unwrap();
    assert_eq!(text(&json(&read), &["valueQuantity", "value"]), "7.500");
    assert_eq!(text(&json(&read), &["code", "text"]), "a & b");
    let bad = client
        .request("POST", "/fhir/Observation", &headers, b"<Observation/>")
        .unwrap();
    assert_eq!(
        (bad.status, bad.text().contains("<OperationOutcome")),
        (400, true)
    );
}

/// Pages over a type that is written to meanwhile: each resource that did not change comes exactly once.
#[test]
fn pages_neither_repeat_nor_skip_while_others_write() {
    let ground = Ground::start();
    let mut client = ground.client();
    let mut expected = BTreeSet::new();
    let create = |client: &mut system_tests::http_client::Client, number: u32| {
        let body = format!(
            r#"{{"resourceType":"Basic","identifier":[{{"value":"page-{number}"}}],"code":{{"text":"page"}}}}"#
        );
        text(
            &json(&client.post("/fhir/Basic", body.as_bytes()).unwrap()),
            &["id"],
        )
    };
    for number in 0..25 {
        expected.insert(create(&mut client, number));
    }
    let mut seen = Vec::new();
    let mut next = Some("/fhir/Basic?_count=4&_sort=-_lastUpdated".to_owned());
    let mut number = 100;
    while let Some(url) = next {
        let page = client.get(&url).unwrap();
        seen.extend(resources(&page).iter().map(|r| text(r, &["id"])));
        number += 1;
        create(&mut client, number);
        let bundle = json(&page);
        let links = bundle.get("link").and_then(Value::as_array).unwrap();
        let link = links.iter().find(|l| text(l, &["relation"]) == "next");
        next = link
            .map(|l| text(l, &["url"]))
            .and_then(|url| Some(format!("/fhir/{}", url.split_once("/fhir/")?.1)));
    }
    let old: Vec<&String> = seen.iter().filter(|id| expected.contains(*id)).collect();
    assert_eq!(old.len(), expected.len());
    assert_eq!(
        old.into_iter().collect::<BTreeSet<_>>().len(),
        expected.len()
    );
}

/// Spec: <https://hl7.org/fhir/R4/search.html#errors>
/// Verifies: SRS-005, RC-016
#[test]
fn what_is_not_understood_is_refused_by_name() {
    let ground = Ground::start();
    let mut client = ground.client();
    for (query, name) in [
        ("Patient?colour=red", "colour"),
        ("Patient?gender:near=male", "near"),
        ("Patient?birthdate=soon", "birthdate"),
        ("Patient?_sort=colour", "colour"),
        ("Patient?_include=Patient:colour", "colour"),
        ("Observation?subject.colour=1", "colour"),
    ] {
        let answer = client.get(&format!("/fhir/{query}")).unwrap();
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains(name), "{query}: {}", answer.text());
    }
    let forged = client
        .get("/fhir/Patient?_count=1&_cursor=AAAAAAAAAAAAAAAAAAAAAAAA")
        .unwrap();
    assert_eq!(forged.status, 400, "{}", forged.text());
}

/// Everything the CapabilityStatement says of a type's search is accepted.
#[test]
fn every_search_parameter_claimed_is_taken() {
    let ground = Ground::start();
    let mut client = ground.client();
    let statement = json(&client.get("/fhir/metadata").unwrap());
    let rest = &statement.get("rest").and_then(Value::as_array).unwrap()[0];
    let mut count = 0;
    for resource in rest.get("resource").and_then(Value::as_array).unwrap() {
        let name = text(resource, &["type"]);
        for param in resource
            .get("searchParam")
            .and_then(Value::as_array)
            .unwrap()
        {
            let code = text(param, &["name"]);
            let answer = client.get(&format!("/fhir/{name}?{code}:missing=false&_count=1"));
            let answer = answer.unwrap();
            // These two take words, and no modifier.
            let is_special = matches!(code.as_str(), "_content" | "_text");
            assert!(
                answer.status == 200 || is_special,
                "{name}?{code}: {}",
                answer.text()
            );
            count += 1;
        }
    }
    assert!(count > 2_000, "{count}");
}

/// Nothing in a URL is silently disregarded, unless the client asks for lenience.
/// Verifies: SRS-005, RC-016
/// Spec: https://hl7.org/fhir/R4/http.html#general
#[test]
fn unknown_parameters_are_refused_by_every_interaction() {
    let ground = Ground::start();
    let mut client = ground.client();
    let patient = r#"{"resourceType":"Patient","id":"p","active":true}"#;
    let json_type = ("content-type", "application/fhir+json");
    let patch_type = ("content-type", "application/json-patch+json");
    let put = client.request("PUT", "/fhir/Patient/p", &[json_type], patient.as_bytes());
    assert_eq!(put.unwrap().status, 201);
    let read = r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/p?colour=red"}}]}"#;
    let batch = client.post("/fhir", read.as_bytes()).unwrap();
    assert_eq!(
        text(&json(&batch), &["entry", "0", "response", "status"]),
        "400 Bad Request"
    );
    let anonymous = r#"{"resourceType":"Patient"}"#;
    let empty = r#"{"resourceType":"Bundle","type":"batch"}"#;
    let patch = r#"[{"op":"replace","path":"/active","value":false}]"#;
    for (method, path, content, body, lenient) in [
        ("GET", "/fhir/Patient/p", None, "", 200),
        ("HEAD", "/fhir/Patient/p", None, "", 200),
        ("GET", "/fhir/Patient/p/_history/1", None, "", 200),
        ("POST", "/fhir/Patient", Some(json_type), anonymous, 201),
        ("POST", "/fhir", Some(json_type), empty, 200),
        ("PUT", "/fhir/Patient/p", Some(json_type), patient, 200),
        ("PATCH", "/fhir/Patient/p", Some(patch_type), patch, 200),
        ("DELETE", "/fhir/Patient/p", None, "", 204),
    ] {
        let path = format!("{path}?colour=red");
        let headers: Vec<(&str, &str)> = content.into_iter().collect();
        let strict = client
            .request(method, &path, &headers, body.as_bytes())
            .unwrap();
        assert_eq!(strict.status, 400, "{method} {path}: {}", strict.text());
        assert!(
            method == "HEAD" || strict.text().contains("`colour`"),
            "{}",
            strict.text()
        );
        let headers: Vec<(&str, &str)> = content
            .into_iter()
            .chain([("prefer", "handling=lenient")])
            .collect();
        let answer = client
            .request(method, &path, &headers, body.as_bytes())
            .unwrap();
        assert_eq!(answer.status, lenient, "{method} {path}: {}", answer.text());
    }
}
