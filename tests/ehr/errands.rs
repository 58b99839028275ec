//! The real program on errands: an Observation written to an EHR, a patient fetched on demand, copies made again, an EHR
//! that is left alone.

use std::process::Command;

use ehr::identity::local_id;
use ehr_simulators::Vendor;
use fhir_core::json::Value;
use system_tests::http_client::Response;
use system_tests::process::built_program;

use crate::program::{Ground, Served, json, number, outcome, runs};

const WRITTEN: &str = "/admin/tenants/north/observations";
const SYSTEM: &str = "urn:oid:1.2.840.114350.1.13.0.1.7.2.698084";

/// The tenant's file with more before `[profile]`'s end.
fn with_table(ground: &Ground, vendor: &str, top: &str, table: &str) -> String {
    format!("{}{table}\n", ground.toml(vendor, top))
}

fn write_back(ground: &Ground, vendor: &str) -> String {
    let table = "[write_back]\nloinc = [\"8867-4\"]\nperformer = \"Practitioner/p1\"";
    with_table(ground, vendor, "", table)
}

/// A heart rate of our own about the first patient of the EHR.
fn add_rate(ground: &Ground, server: &mut Served, id: &str, digits: &str) {
    let first = |state: &mut ehr_simulators::State| state.world.people.keys().next().cloned();
    let patient = ground.simulator.with(first).unwrap();
    let patient = local_id("north", "Patient", &patient);
    let body = format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final",
            "category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],
            "code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},
            "subject":{{"reference":"Patient/{patient}"}},"effectiveDateTime":"2026-05-04T07:30:00Z",
            "valueQuantity":{{"value":{digits},"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}}}"#
    );
    let path = format!("/fhir/Observation/{id}");
    let headers = [("content-type", "application/fhir+json")];
    let answer = server
        .client
        .request("PUT", &path, &headers, body.as_bytes());
    let answer = answer.unwrap();
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

fn send(server: &mut Served, id: &str) -> Response {
    let body = format!(r#"{{"reference": "Observation/{id}"}}"#);
    server.client.post(WRITTEN, body.as_bytes()).unwrap()
}

fn state(server: &mut Served) -> Vec<(String, String)> {
    let list = json(&server.client.get(WRITTEN).unwrap());
    let all = list.get("observations").and_then(Value::as_array).unwrap();
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).unwrap().to_owned();
    let pairs = all
        .iter()
        .map(|one| (text(one, "reference"), text(one, "state")));
    pairs.collect()
}

/// Verifies: SRS-360, RC-360
#[test]
fn an_observation_is_written_once_and_an_open_question_stops_the_next() {
    for (vendor, name) in [(Vendor::Epic, "epic"), (Vendor::Oracle, "oracle")] {
        let ground = Ground::new(vendor, 1, 5, 0);
        let change = |state: &mut ehr_simulators::State| {
            state.client.scopes.push("system/Observation.c".to_owned());
        };
        ground.simulator.with(change);
        let rows = || ground.simulator.with(|state| state.world.rows.len());
        let mut server = ground.server();
        server.register(&ground.toml(name, ""));
        assert_eq!(outcome(&server.run()), "complete");
        add_rate(&ground, &mut server, "rate-1", "72.10");
        assert_eq!(send(&mut server, "rate-1").status, 403, "off by default");
        server.register(&write_back(&ground, name));
        assert_eq!(send(&mut server, "nothing").status, 404);
        let written = send(&mut server, "rate-1");
        assert_eq!(written.status, 201, "{}", written.text());
        assert_eq!(send(&mut server, "rate-1").status, 200);
        assert_eq!(rows(), 5 + 1);
        add_rate(&ground, &mut server, "rate-1", "73");
        assert_eq!(
            send(&mut server, "rate-1").status,
            409,
            "corrected there, not here"
        );

        add_rate(&ground, &mut server, "rate-2", "80.0");
        ground
            .simulator
            .with(|state| state.faults.lose_answer_of_write = true);
        let lost = send(&mut server, "rate-2");
        assert_eq!(lost.status, 409, "{}", lost.text());
        let again = send(&mut server, "rate-2");
        assert_eq!(again.status, 409);
        assert!(again.text().contains("has 1 like it"), "{}", again.text());
        assert_eq!(rows(), 5 + 2, "nothing was sent twice");
        // The question is still open after a crash.
        server.process.kill().unwrap();
        let mut server = ground.server();
        assert_eq!(send(&mut server, "rate-2").status, 409);
        assert_eq!(rows(), 5 + 2);
        let all = [
            ("Observation/rate-1", "written"),
            ("Observation/rate-2", "unknown"),
        ];
        assert_eq!(
            state(&mut server),
            all.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        let delete = |server: &mut Served, id: &str| {
            let path = format!("{WRITTEN}/{id}");
            server
                .client
                .request("DELETE", &path, &[], b"")
                .unwrap()
                .status
        };
        assert_eq!(
            delete(&mut server, "rate-1"),
            409,
            "what was written is not forgotten"
        );
        assert_eq!(delete(&mut server, "rate-2"), 204);
        assert_eq!(delete(&mut server, "rate-2"), 404);

        // What was written comes back and says whose it is.
        ground.simulator.with(|state| state.world.advance_s(120));
        assert_eq!(outcome(&server.run()), "complete");
        let own = "/fhir/Observation?identifier=urn:stoker:observation%7Crate-1";
        let found = server.client.get(own).unwrap().text();
        assert!(
            found.contains("written-by-us") && found.contains("72.10"),
            "{found}"
        );
    }
}

/// Copies of an EHR, strangers' patients, and what is no Observation are not written.
///
/// Verifies: SRS-360
#[test]
fn what_must_not_be_written_is_refused() {
    let ground = Ground::new(Vendor::Oracle, 1, 5, 0);
    let mut server = ground.server();
    server.register(&write_back(&ground, "oracle"));
    assert_eq!(outcome(&server.run()), "complete");
    let row = ground
        .simulator
        .with(|state| state.world.rows[2].id.clone());
    let copy = send(&mut server, &local_id("north", "Observation", &row));
    assert_eq!(copy.status, 422, "{}", copy.text());
    assert!(copy.text().contains("came from an EHR"), "{}", copy.text());
    add_rate(&ground, &mut server, "rate-1", "72");
    let ungranted = send(&mut server, "rate-1");
    assert_eq!(ungranted.status, 403, "{}", ungranted.text());
    assert!(ungranted.text().contains("system/Observation.c"));
    let body = r#"{"resourceType":"Observation","id":"lost","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/nobody"}}"#;
    let headers = [("content-type", "application/fhir+json")];
    let put = server
        .client
        .request("PUT", "/fhir/Observation/lost", &headers, body.as_bytes());
    if put.unwrap().status < 300 {
        let stranger = send(&mut server, "lost");
        assert_eq!(stranger.status, 422);
        assert!(stranger.text().contains("no patient of this tenant"));
    }
    let answer = server
        .client
        .post(WRITTEN, b"{\"reference\": \"Patient/x\"}");
    assert_eq!(answer.unwrap().status, 400);
    assert_eq!(ground.simulator.with(|state| state.world.rows.len()), 5);
}

/// Verifies: SRS-362, RC-002
#[test]
fn a_missing_patient_is_fetched_when_the_tenant_allows_it() {
    let ground = Ground::new(Vendor::Epic, 11, 2, 0);
    let mut server = ground.server();
    let ask = |server: &mut Served, tenant: &str, query: &str| {
        let path = format!("/fhir/Patient?{query}");
        let headers = [("stoker-tenant", tenant)];
        server.client.request("GET", &path, &headers, b"").unwrap()
    };
    let one = format!("identifier={SYSTEM}%7CZ1");
    server.register(&ground.toml("epic", ""));
    assert_eq!(
        ask(&mut server, "north", &one).status,
        403,
        "off by default"
    );
    server.register(&ground.toml("epic", "read_through = true"));
    assert_eq!(ask(&mut server, "south", &one).status, 404);
    for query in ["identifier=Z1", "name=Probe1", "identifier=a%7Cb,c%7Cd"] {
        assert_eq!(ask(&mut server, "north", query).status, 400, "{query}");
    }
    assert_eq!(ground.simulator.requests(), 0);
    let found = json(&ask(&mut server, "north", &one));
    assert_eq!(number(&found, &["total"]), 1, "{found}");
    // Its search hit Z1 and Z10; only the carrier was taken.
    let all = json(&server.client.get("/fhir/Patient").unwrap());
    assert_eq!(number(&all, &["total"]), 1);
    let asked = ground.simulator.requests();
    assert_eq!(
        number(&json(&ask(&mut server, "north", &one)), &["total"]),
        1
    );
    assert_eq!(
        ground.simulator.requests(),
        asked,
        "who is here is not asked for again"
    );
    let nobody = format!("identifier={SYSTEM}%7CZ99");
    let found = json(&ask(&mut server, "north", &nobody));
    assert_eq!(number(&found, &["total"]), 0);
    ground
        .simulator
        .with(|state| state.faults.html_503_every = 1);
    let down = ask(&mut server, "north", &nobody);
    assert_eq!(down.status, 503, "{}", down.text());
}

/// Verifies: SRS-361, RC-361
#[test]
fn copies_are_made_again_after_a_rule_changed() {
    let ground = Ground::new(Vendor::Oracle, 2, 10, 0);
    let mut server = ground.server();
    server.register(&ground.toml("oracle", ""));
    assert_eq!(outcome(&server.run()), "complete");
    let table = "[rules.units]\nbpm = \"{beats}/min\"";
    server.register(&with_table(&ground, "oracle", "", table));
    let asked = ground.simulator.requests();
    let before = runs(&server.tenant()).len();
    let begun = server
        .client
        .post("/admin/tenants/north/normalise", b"")
        .unwrap();
    assert_eq!(begun.status, 202, "{}", begun.text());
    let run = server.wait_for_run(before);
    assert_eq!(outcome(&run), "complete", "{run}");
    assert_eq!(number(&run, &["report", "counts", "changed"]), 4);
    assert_eq!(number(&run, &["report", "counts", "received"]), 2 + 20);
    assert_eq!(ground.simulator.requests(), asked);
    let found = json(&server.client.get("/fhir/Observation?code=8867-4").unwrap());
    // The text means another code now than the one beside it, so it stays as sent.
    assert_eq!(found.to_string().matches("\"unit\":\"bpm\"").count(), 4);
    let complete = json(
        &server
            .client
            .get("/admin/tenants/north/completeness")
            .unwrap(),
    );
    assert!(!complete.to_string().contains("own:"), "{complete}");
    // The source is still there byte for byte.
    let row = ground
        .simulator
        .with(|state| state.world.rows[2].id.clone());
    let source = format!("/admin/tenants/north/source?type=Observation&id={row}");
    let raw = server.client.get(&source).unwrap();
    assert!(
        raw.status == 200 && raw.text().contains("\"bpm\""),
        "{}",
        raw.text()
    );
}

/// Everything under `/admin/tenants` from the command line, and what the server refuses in its words.
///
/// Verifies: SRS-203
#[test]
fn the_command_line_asks_a_running_server() {
    let ground = Ground::new(Vendor::Oracle, 1, 5, 0);
    let mut server = ground.server();
    let file = ground.path("north.toml");
    std::fs::write(&file, ground.toml("oracle", "")).unwrap();
    let url = format!("http://{}", server.address);
    let ask = |words: &[&str]| {
        let mut command = Command::new(built_program("stoker").unwrap());
        command
            .args(["ehr", "server", "--server", &url])
            .args(words);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    };
    let tell = |words: &[&str]| ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(
        ask(&["show", "north"])
            .unwrap_err()
            .contains("no tenant of this name")
    );
    assert!(tell(&["register", file.to_str().unwrap()]).contains("\"north\""));
    assert!(tell(&["list"]).contains("\"north\""));
    assert!(tell(&["run", "north"]).contains("\"running\""));
    assert_eq!(outcome(&server.wait_for_run(0)), "complete");
    assert!(tell(&["show", "north"]).contains("\"addsUp\":true"));
    assert!(tell(&["completeness", "north", "--incomplete"]).contains("\"total\":0"));
    assert!(tell(&["completeness", "north", "--patient", "Patient/x"]).contains("\"total\":0"));
    assert!(tell(&["reviews", "north"]).contains("\"reviews\":[]"));
    assert!(
        ask(&["close", "north", "00"])
            .unwrap_err()
            .contains("no question")
    );
    let row = ground
        .simulator
        .with(|state| state.world.rows[0].id.clone());
    assert!(tell(&["source", "north", "Observation", &row]).contains(&row));
    assert!(tell(&["normalise", "north"]).contains("\"north\""));
    assert_eq!(outcome(&server.wait_for_run(1)), "complete");
    let off = ask(&["write", "north", "Observation/x"]).unwrap_err();
    assert!(off.contains("no `[write_back]`"), "{off}");
    assert!(tell(&["written", "north"]).contains("[]"));
    assert!(
        ask(&["forget", "north", "x"])
            .unwrap_err()
            .contains("nothing is known")
    );
    assert!(
        ask(&["remove", "../feeds"])
            .unwrap_err()
            .contains("no name")
    );
    tell(&["remove", "north"]);
    assert!(tell(&["list"]).contains("\"tenants\":[]"));
}
