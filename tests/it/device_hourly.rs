//! Hours of dense series as SampledData.

use fhir_core::json::Value;
use system_tests::device_folder::errors_of;
use system_tests::http_client::Client;
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;

use super::devices::register;
use super::{json, resources, text};

fn hours(client: &mut Client, query: &str) -> Vec<Value> {
    let answer = client
        .get(&format!("/fhir/Observation/$hourly?{query}"))
        .unwrap();
    resources(&answer)
}

fn check(server: &TestServer) -> Vec<Value> {
    let mut client = Client::connect(server.doors.http).unwrap();
    register(&mut client, "d1", "p1");
    let row = |hour: u32, second: u32, value: &str| {
        format!(
            "{{\"deviceId\":\"d1\",\"t\":\"2026-03-01T{hour:02}:{:02}:{:02}+01:00\",\"hr\":{value}}}\n",
            second / 60,
            second % 60
        )
    };
    // An hour with a gap, an hour of its own grid, and an hour with one value; the end comes first.
    let lines = [
        row(12, 30, "70"),
        row(11, 0, "61.50"),
        row(11, 60, "62"),
        row(10, 4, "64.0"),
        row(10, 0, "61"),
        row(10, 1, "62.25"),
    ];
    for line in &lines {
        let answer = client
            .request("POST", "/ingest/generic-json", &[], line.as_bytes())
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let found = hours(&mut client, "patient=p1&code=8867-4&date=2026-03-01");
    assert_eq!(found.len(), 3);
    let data =
        |n: usize, name: &str| text(&found[n], &["component", "0", "valueSampledData", name]);
    assert_eq!(data(0, "data"), "61 62.25 E E 64.0");
    assert_eq!(
        (data(0, "period"), data(1, "period")),
        ("1000".into(), "60000".into())
    );
    assert_eq!(data(1, "data"), "61.50 62");
    assert_eq!(
        text(&found[0], &["effectiveDateTime"]),
        "2026-03-01T10:00:00+01:00"
    );
    assert_eq!(text(&found[2], &["valueQuantity", "value"]), "70");
    for one in &found {
        assert_eq!(errors_of(&mut client, one).unwrap(), Vec::<String>::new());
    }
    // A late value belongs to its hour at once.
    let answer = client.request(
        "POST",
        "/ingest/generic-json",
        &[],
        row(10, 3, "63").as_bytes(),
    );
    assert_eq!(answer.unwrap().status, 200);
    let cut = "patient=p1&code=8867-4&date=ge2026-03-01T09:00:01Z&date=lt2026-03-01T10:00:00Z";
    let again = hours(&mut client, cut);
    assert_eq!(
        text(&again[0], &["component", "0", "valueSampledData", "data"]),
        "62.25 E 63 64.0"
    );
    for (query, status) in [
        ("patient=p1", 400),
        ("date=2026-03-01", 400),
        ("patient=p1&date=2026-03-01&value-quantity=gt60", 400),
        ("patient=nobody&date=2026-03-01", 200),
    ] {
        let answer = client
            .get(&format!("/fhir/Observation/$hourly?{query}"))
            .unwrap();
        assert!(
            answer.status == status || (status == 400 && (400..500).contains(&answer.status)),
            "{query} {} {}",
            answer.status,
            answer.text()
        );
        assert!(status == 400 || json(&answer).get("entry").is_none());
    }
    found
}

/// Verifies: SRS-352
#[test]
fn hours_are_the_same_on_both_databases() {
    let folder = tempfile::tempdir().unwrap();
    let one = check(&TestServer::start(&folder.path().join("it.db")).unwrap());
    if let Some(postgres) = Postgres::start().unwrap() {
        assert_eq!(
            check(&TestServer::start_on(&postgres.url, &[]).unwrap()),
            one
        );
    }
}
