//! Device data in, Observations out; samples of dense series and ordinary resources look alike.

use std::io::Write;

use fhir_core::json::Value;
use flate2::Compression;
use flate2::write::GzEncoder;
use system_tests::http_client::{Client, Response};

use super::{Ground, json, resources, text};

const SYSTEM: &str = "urn:stoker:device";

fn put(client: &mut Client, path: &str, body: &str) -> Response {
    let headers = [("content-type", "application/fhir+json")];
    client
        .request("PUT", path, &headers, body.as_bytes())
        .unwrap()
}

/// A patient, and a device that is with them.
pub(crate) fn register(client: &mut Client, device: &str, patient: &str) {
    let body = format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#);
    assert!(put(client, &format!("/fhir/Patient/{patient}"), &body).status < 300);
    let body = format!(
        r#"{{"resourceType":"Device","id":"{device}","identifier":[{{"system":"{SYSTEM}","value":"{device}"}}]}}"#
    );
    assert!(put(client, &format!("/fhir/Device/{device}"), &body).status < 300);
    assign(client, device, patient);
}

fn assign(client: &mut Client, device: &str, patient: &str) {
    let body = format!(
        r#"{{"resourceType":"DeviceUseStatement","id":"{device}","status":"active","subject":{{"reference":"Patient/{patient}"}},"device":{{"reference":"Device/{device}"}},"timingPeriod":{{"start":"2026-01-01T00:00:00Z"}}}}"#
    );
    let answer = put(client, &format!("/fhir/DeviceUseStatement/{device}"), &body);
    assert!(answer.status < 300, "{}", answer.text());
}

fn ingest(client: &mut Client, source: &str, body: &[u8]) -> Response {
    let path = format!("/ingest/{source}");
    client.request("POST", &path, &[], body).unwrap()
}

/// Heart rates, one a second from 09:00:00 UTC, as JSON lines.
fn heart_rates(device: &str, seconds: std::ops::Range<u32>) -> String {
    let row = |n: u32| {
        format!(
            "{{\"deviceId\":\"{device}\",\"t\":\"2026-03-01T09:{:02}:{:02}Z\",\"hr\":{}.0}}\n",
            n / 60,
            n % 60,
            60 + n % 40
        )
    };
    seconds.map(row).collect()
}

pub(crate) fn total(client: &mut Client, query: &str) -> String {
    let answer = client.get(query).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    text(&json(&answer), &["total"])
}

/// All pages of a search.
fn all(client: &mut Client, query: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), Some(query.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).unwrap();
        found.extend(resources(&answer));
        let bundle = json(&answer);
        let links = bundle
            .get("link")
            .and_then(Value::as_array)
            .unwrap_or_default();
        next = links
            .iter()
            .find(|l| l.get("relation").and_then(Value::as_str) == Some("next"))
            .map(|l| text(l, &["url"]))
            .map(|url| {
                url.split_once("/fhir/")
                    .map_or(url.clone(), |(_, rest)| format!("/fhir/{rest}"))
            });
    }
    found
}

/// Verifies: SRS-220, SRS-223, RC-220
#[test]
fn samples_are_read_and_found_like_other_observations() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    let lines = heart_rates("d1", 0..300);
    let answer = ingest(&mut client, "generic-json", lines.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "sample"]), "300");
    let reference = text(&json(&answer), &["results", "7", "reference"]);
    // The same again, compressed, is a repeat.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    let again = ingest(&mut client, "generic-json", &gzip.finish().unwrap());
    assert_eq!(text(&json(&again), &["repeatedMessages"]), "1");
    // Another payload that overlaps adds only what is new.
    let more = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 290..310).as_bytes(),
    );
    assert_eq!(
        text(&json(&more), &["counts", "sample"]),
        "10",
        "{}",
        more.text()
    );
    assert_eq!(text(&json(&more), &["counts", "repeated"]), "10");

    let read = json(&client.get(&format!("/fhir/{reference}")).unwrap());
    assert_eq!(
        text(&read, &["effectiveDateTime"]),
        "2026-03-01T09:00:07+00:00"
    );
    assert_eq!(text(&read, &["valueQuantity", "value"]), "67.0");
    assert_eq!(text(&read, &["subject", "reference"]), "Patient/p1");
    assert_eq!(
        text(&read, &["category", "0", "coding", "0", "code"]),
        "vital-signs"
    );
    assert_eq!(text(&read, &["meta", "versionId"]), "1");
    let old = client
        .get(&format!("/fhir/{reference}/_history/1"))
        .unwrap();
    assert_eq!(json(&old), read);
    assert_eq!(
        client
            .get(&format!("/fhir/{reference}/_history/2"))
            .unwrap()
            .status,
        404
    );
    let history = json(&client.get(&format!("/fhir/{reference}/_history")).unwrap());
    assert_eq!(text(&history, &["total"]), "1");

    let base = "/fhir/Observation?patient=p1&code=http://loinc.org%7C8867-4";
    assert_eq!(total(&mut client, &format!("{base}&_summary=count")), "310");
    for (query, expected) in [
        ("&date=ge2026-03-01T09:05:00Z", "10"),
        ("&date=lt2026-03-01T09:00:10Z", "10"),
        ("&date=2026-03-01T09:01", "60"),
        ("&date=2026-03-02", "0"),
        ("&value-quantity=gt98||/min", "7"),
        ("&value-quantity=60", "8"),
        ("&category=vital-signs", "310"),
        ("&category=laboratory", "0"),
        ("&device=Device/d1", "310"),
        ("&status:not=final", "0"),
        ("&patient.identifier=none", "0"),
        ("&_lastUpdated=lt2020-01-01", "0"),
    ] {
        assert_eq!(
            total(&mut client, &format!("{base}{query}&_summary=count")),
            expected,
            "{query}"
        );
    }
    let id = reference.trim_start_matches("Observation/");
    let by_id = resources(&client.get(&format!("/fhir/Observation?_id={id}")).unwrap());
    assert_eq!(by_id, [read]);
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p2&_summary=count"),
        "0"
    );
}

/// Verifies: SRS-223, RC-220
#[test]
fn samples_and_resources_are_paged_together() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..50).as_bytes(),
    );
    for n in 0..20 {
        let body = format!(
            r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"2026-03-01T09:00:{:02}.5Z","valueQuantity":{{"value":{n}}}}}"#,
            n * 2
        );
        assert_eq!(
            put(&mut client, &format!("/fhir/Observation/o{n}"), &body).status,
            201
        );
    }
    let when = |found: &[Value]| -> Vec<String> {
        found
            .iter()
            .map(|o| text(o, &["effectiveDateTime"]).replace("+00:00", "Z"))
            .collect()
    };
    for count in [3, 7, 70, 100] {
        for (sort, is_descending) in [("date", false), ("-date", true)] {
            let query =
                format!("/fhir/Observation?patient=p1&code=8867-4&_sort={sort}&_count={count}");
            let found = when(&all(&mut client, &query));
            let mut sorted = found.clone();
            sorted.sort_by_key(|t| t.replace('Z', if t.contains('.') { "" } else { ".0" }));
            if is_descending {
                sorted.reverse();
            }
            assert_eq!(found.len(), 70, "{query}");
            assert_eq!(found, sorted, "{query}");
        }
        let query = format!("/fhir/Observation?patient=p1&_count={count}");
        let found = all(&mut client, &query);
        let ids: std::collections::BTreeSet<String> =
            found.iter().map(|o| text(o, &["id"])).collect();
        assert_eq!((found.len(), ids.len()), (70, 70), "{query}");
    }
    let stored = all(
        &mut client,
        "/fhir/Observation?patient=p1&_sort=_lastUpdated&_count=9",
    );
    assert_eq!(stored.len(), 70);
    let latest = "/fhir/Observation/$lastn?patient=p1&code=8867-4&max=3";
    let latest = when(&resources(&client.get(latest).unwrap()));
    let expected = [49, 48, 47].map(|second| format!("2026-03-01T09:00:{second}Z"));
    assert_eq!(latest, expected);
}

/// Verifies: SRS-224, RC-221
#[test]
fn a_changed_sample_has_a_history_and_stays_changed() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    let answer = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..3).as_bytes(),
    );
    let reference = text(&json(&answer), &["results", "1", "reference"]);
    let path = format!("/fhir/{reference}");
    let stored = client.get(&path).unwrap().text();
    let amended = stored.replace("\"final\"", "\"amended\"");
    let answer = put(&mut client, &path, &amended);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        text(&json(&client.get(&path).unwrap()), &["meta", "versionId"]),
        "2"
    );
    assert_eq!(
        client.get(&format!("{path}/_history/1")).unwrap().text(),
        stored
    );
    let history = json(&client.get(&format!("{path}/_history")).unwrap());
    assert_eq!(text(&history, &["total"]), "2");
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "3"
    );
    assert_eq!(
        total(
            &mut client,
            "/fhir/Observation?patient=p1&status=amended&_summary=count"
        ),
        "1"
    );
    // The device repeats itself within another payload: what a person changed stays.
    let again = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..4).as_bytes(),
    );
    assert_eq!(
        text(&json(&again), &["counts", "sample"]),
        "1",
        "{}",
        again.text()
    );
    assert_eq!(
        text(&json(&client.get(&path).unwrap()), &["status"]),
        "amended"
    );
    let other = text(&json(&again), &["results", "3", "reference"]);
    let deleted = client
        .request("DELETE", &format!("/fhir/{other}"), &[], b"")
        .unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(client.get(&format!("/fhir/{other}")).unwrap().status, 410);
    let again = ingest(
        &mut client,
        "generic-json",
        heart_rates("d1", 0..5).as_bytes(),
    );
    assert_eq!(again.status, 207);
    assert_eq!(
        text(&json(&again), &["counts", "deleted-here"]),
        "1",
        "{}",
        again.text()
    );
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "4"
    );
}

/// Verifies: SRS-221, SRS-225, RC-221, RC-223
#[test]
fn what_waits_is_replayed_when_its_cause_is_mended() {
    let ground = Ground::start();
    let mut client = ground.client();
    let lines = heart_rates("d7", 0..5);
    let answer = ingest(&mut client, "generic-json", lines.as_bytes());
    assert_eq!(answer.status, 207, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "no-patient"]), "5");
    let poison = ingest(&mut client, "generic-json", b"{\"deviceId\": ");
    assert_eq!(poison.status, 422, "{}", poison.text());
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(text(&list, &["messages", "0", "state"]), "refused");
    let id = text(&list, &["messages", "1", "id"]);
    assert_eq!(
        text(&list, &["messages", "1", "issues", "0", "code"]),
        "no-patient"
    );
    let raw = client.get(&format!("/admin/quarantine/{id}/raw")).unwrap();
    assert_eq!(raw.text(), lines);

    register(&mut client, "d7", "p7");
    let replay = format!("/admin/quarantine/{id}/replay");
    let answer = client.request("POST", &replay, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p7&_summary=count"),
        "5"
    );
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        1
    );

    // The device was with somebody else all the time: the replay makes the next version of each.
    put(
        &mut client,
        "/fhir/Patient/p8",
        r#"{"resourceType":"Patient","id":"p8"}"#,
    );
    assign(&mut client, "d7", "p8");
    let answer = client.request("POST", &replay, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p7&_summary=count"),
        "0"
    );
    let moved = resources(&client.get("/fhir/Observation?patient=p8").unwrap());
    assert_eq!(moved.len(), 5);
    assert!(moved.iter().all(|o| text(o, &["meta", "versionId"]) == "2"));
    let gone = text(&list, &["messages", "0", "id"]);
    let done = client
        .request("DELETE", &format!("/admin/quarantine/{gone}"), &[], b"")
        .unwrap();
    assert_eq!(done.status, 204);
    let list = json(&client.get("/admin/quarantine").unwrap());
    assert_eq!(
        list.get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len(),
        0
    );
}

/// Verifies: SRS-222, RC-222
#[test]
fn a_token_speaks_for_one_device() {
    let ground = Ground::start();
    let mut client = ground.client();
    register(&mut client, "d1", "p1");
    register(&mut client, "d2", "p2");
    let body = br#"{"name":"ward","device":"d1"}"#;
    let headers = [("content-type", "application/json")];
    let made = client
        .request("POST", "/admin/device-tokens", &headers, body)
        .unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let twice = client
        .request("POST", "/admin/device-tokens", &headers, body)
        .unwrap();
    assert_eq!(twice.status, 409);
    let bearer = format!("Bearer {}", text(&json(&made), &["token"]));
    let listed = client.get("/admin/device-tokens").unwrap().text();
    assert!(listed.contains("ward") && !listed.contains("stoker-device-"));
    let lines = heart_rates("d1", 0..1)
        + &heart_rates("d2", 0..1)
        + "{\"t\":\"2026-03-01T10:00:00Z\",\"hr\":70}\n";
    let send = |client: &mut Client, bearer: &str| {
        let headers = [("authorization", bearer)];
        client
            .request("POST", "/ingest/generic-json", &headers, lines.as_bytes())
            .unwrap()
    };
    let answer = send(&mut client, &bearer);
    assert_eq!(answer.status, 207, "{}", answer.text());
    assert_eq!(text(&json(&answer), &["counts", "sample"]), "2");
    assert_eq!(text(&json(&answer), &["counts", "not-your-device"]), "1");
    assert_eq!(send(&mut client, "Bearer stoker-device-0000").status, 401);
    let revoked = client
        .request("DELETE", "/admin/device-tokens/ward", &[], b"")
        .unwrap();
    assert_eq!(revoked.status, 204);
    assert_eq!(send(&mut client, &bearer).status, 401);
}

#[test]
fn unknown_sources_and_wide_uploads() {
    let ground = Ground::start();
    let mut client = ground.client();
    assert_eq!(ingest(&mut client, "no-such", b"{}").status, 404);
    register(&mut client, "d1", "p1");
    // More than one part: each is a message of its own.
    let lines: String = (0..12)
        .map(|n| heart_rates("d1", n * 300..(n + 1) * 300))
        .collect();
    let padded = lines.replace("\"hr\"", &format!("\"pad\":\"{}\",\"hr\"", "x".repeat(600)));
    let answer = ingest(&mut client, "generic-json", padded.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        json(&answer)
            .get("messages")
            .and_then(Value::as_array)
            .unwrap()
            .len()
            > 1
    );
    assert_eq!(
        total(&mut client, "/fhir/Observation?patient=p1&_summary=count"),
        "3600"
    );
}
