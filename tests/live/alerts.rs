//! Alert rules on committed Observations: one Flag for each time a value stays beyond the limit, and nothing for old data.

use fhir_core::ids::Instant;

use super::{Ground, json, on_both, patient, text};

const RULES: &str = r#"
[[alert]]
name = "spo2-low"
code = "59408-5"
comparator = "<"
value = "90"
unit = "%"
hysteresis = "2"
hold_seconds = 10
age_seconds_max = 3600
text = "Oxygen saturation below 90 % for 10 s"

[[alert]]
name = "pulse-high"
code = "8867-4"
comparator = ">"
value = "150"
unit = "/min"
makes = "detected-issue"
age_seconds_max = 3600
text = "Heart rate above 150 /min"
"#;

pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_micros()).unwrap()
}

fn at(us: i64) -> String {
    Instant(us).to_fhir()
}

fn observe(ground: &Ground, id: &str, us: i64, value: &str) {
    let body = format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"59408-5"}}]}},"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"{}","valueQuantity":{{"value":{value},"unit":"%","system":"http://unitsofmeasure.org","code":"%"}}}}"#,
        at(us)
    );
    ground.stored(&format!("Observation/{id}"), &body);
}

const SECOND: i64 = 1_000_000;

/// Verifies: SRS-346, RC-343, RC-344
#[test]
fn one_flag_for_each_time_and_none_for_a_backfill() {
    on_both(RULES, |ground| {
        ground.stored("Patient/p1", &patient("p1", "Aba"));
        let start = now() - 600 * SECOND;
        // A backfill of yesterday raises nothing.
        observe(ground, "old1", start - 86_400 * SECOND, "70");
        observe(ground, "old2", start - 86_380 * SECOND, "70");
        // Not long enough, then long enough.
        observe(ground, "o1", start, "88");
        observe(ground, "o2", start + 5 * SECOND, "90");
        observe(ground, "o3", start + 20 * SECOND, "89.5");
        observe(ground, "o4", start + 31 * SECOND, "88");
        let found = ground.until("/fhir/Flag?patient=p1", |b| text(b, &["total"]) == "1");
        let flag = found.get("entry").and_then(|e| e.as_array()).unwrap()[0]
            .get("resource")
            .unwrap()
            .clone();
        assert_eq!(text(&flag, &["status"]), "active");
        assert_eq!(text(&flag, &["code", "coding", "0", "code"]), "spo2-low");
        let marked = ground.until("/fhir/Observation/o4", |o| {
            o.get("interpretation").is_some()
        });
        assert_eq!(
            text(&marked, &["interpretation", "0", "coding", "0", "code"]),
            "L"
        );
        // The same again makes no second one; the hysteresis holds it; then it clears.
        observe(ground, "o5", start + 40 * SECOND, "85");
        observe(ground, "o6", start + 50 * SECOND, "91");
        observe(ground, "o7", start + 60 * SECOND, "92");
        let id = text(&flag, &["id"]);
        let ended = ground.until(&format!("/fhir/Flag/{id}"), |f| {
            text(f, &["status"]) == "inactive"
        });
        assert!(!text(&ended, &["period", "end"]).is_empty());
        assert_eq!(text(&ended, &["meta", "versionId"]), "2");
        let found = ground.get("/fhir/Flag?patient=p1");
        assert_eq!(text(&found, &["total"]), "1");
        let rules = ground.get("/admin/alerts");
        assert_eq!(text(&rules, &["0", "rule", "name"]), "spo2-low");
        assert_eq!(text(&rules, &["0", "raised"]), "0");
    });
}

/// Verifies: SRS-346, RC-343
#[test]
fn samples_of_dense_series_raise_alerts_and_a_crash_repeats_none() {
    on_both(RULES, |ground| {
        ground.stored("Patient/p1", &patient("p1", "Aba"));
        ground.stored("Device/d1", r#"{"resourceType":"Device","id":"d1","identifier":[{"system":"urn:stoker:device","value":"d1"}]}"#);
        ground.stored("DeviceUseStatement/d1", r#"{"resourceType":"DeviceUseStatement","id":"d1","status":"active","subject":{"reference":"Patient/p1"},"device":{"reference":"Device/d1"},"timingPeriod":{"start":"2026-01-01T00:00:00Z"}}"#);
        let start = now() - 300 * SECOND;
        let send = |ground: &Ground, from: i64, values: &[i64]| {
            let lines: String = values
                .iter()
                .zip(from..)
                .map(|(value, n)| {
                    format!(
                        "{{\"deviceId\":\"d1\",\"t\":\"{}\",\"hr\":{value}}}\n",
                        at(start + n * SECOND)
                    )
                })
                .collect();
            let answer = ground
                .client()
                .request("POST", "/ingest/generic-json", &[], lines.as_bytes())
                .unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = json(&answer.body);
            assert_eq!(
                text(&answer, &["counts", "sample"]),
                values.len().to_string()
            );
        };
        send(ground, 0, &[80, 155, 156]);
        let issue = ground.until("/fhir/DetectedIssue?patient=p1", |b| {
            text(b, &["total"]) == "1"
        });
        let id = text(&issue, &["entry", "0", "resource", "id"]);
        assert_eq!(
            text(&issue, &["entry", "0", "resource", "status"]),
            "preliminary"
        );
        let of = text(
            &issue,
            &["entry", "0", "resource", "implicated", "0", "reference"],
        );
        let marked = ground.until(&format!("/fhir/{of}"), |o| {
            o.get("interpretation").is_some()
        });
        assert_eq!(text(&marked, &["valueQuantity", "value"]), "155");
        // Killed right behind the commit: what follows from it follows, once.
        send(ground, 10, &[157, 149]);
        ground.kill();
        ground.run();
        let path = format!("/fhir/DetectedIssue/{id}");
        let ended = ground.until(&path, |i| text(i, &["status"]) == "final");
        assert_eq!(text(&ended, &["meta", "versionId"]), "2");
        let all = ground.get("/fhir/DetectedIssue?patient=p1");
        assert_eq!(text(&all, &["total"]), "1");
    });
}

/// Verifies: SRS-347
#[test]
fn rules_are_added_and_removed_while_the_server_runs() {
    let ground = Ground::start("");
    ground.stored("Patient/p1", &patient("p1", "Aba"));
    let rule = r#"{"code":"59408-5","comparator":"<","value":"90","unit":"%","text":"Low"}"#;
    let ask = |method: &str, name: &str, body: &str| {
        let path = format!("/admin/alerts/{name}");
        let answer = ground.client().request(method, &path, &[], body.as_bytes());
        answer.unwrap().status
    };
    assert_eq!(ask("PUT", "low", rule), 201);
    assert_eq!(ask("PUT", "low", rule), 200);
    assert_eq!(ask("PUT", "bad", &rule.replace('<', "=")), 422);
    assert_eq!(ask("PUT", "bad", "{}"), 400);
    ground.until("/admin/alerts", |rules| {
        text(rules, &["0", "rule", "name"]) == "low"
    });
    observe(&ground, "o1", now(), "80");
    ground.until("/fhir/Flag?patient=p1", |b| text(b, &["total"]) == "1");
    assert_eq!(ask("DELETE", "low", ""), 204);
    assert_eq!(ask("DELETE", "low", ""), 404);
    ground.until("/admin/alerts", |rules| {
        rules.as_array().is_some_and(<[_]>::is_empty)
    });
}
