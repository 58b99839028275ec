//! The rest of the REST API: patches by condition and in Bundles, several types at once, raw content, browsers.

use fhir_core::json::Value;

use super::{Ground, json, resources, text};

const SYSTEM: &str = "urn:oid:2.999.8.2";

fn patient(identifier: &str, family: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"{SYSTEM}","value":"{identifier}"}}],"name":[{{"family":"{family}"}}]}}"#
    )
}

fn links(bundle: &Value) -> Vec<(String, String)> {
    let links = bundle
        .get("link")
        .and_then(Value::as_array)
        .unwrap_or_default();
    links
        .iter()
        .map(|link| (text(link, &["relation"]), text(link, &["url"])))
        .collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let url = links(bundle)
        .into_iter()
        .find(|(name, _)| name == relation)?
        .1;
    Some(
        url.split_once("/fhir")
            .map(|(_, path)| format!("/fhir{path}"))
            .unwrap(),
    )
}

/// Spec: <https://hl7.org/fhir/R4/http.html#patch>
/// Verifies: SRS-160
#[test]
fn a_patch_finds_its_resource_by_condition() {
    let ground = Ground::start();
    let mut client = ground.client();
    for identifier in ["one", "two", "two"] {
        client
            .post("/fhir/Patient", patient(identifier, "Patch").as_bytes())
            .unwrap();
    }
    let patch = br#"[{"op":"add","path":"/birthDate","value":"1980-01-01"}]"#;
    let headers = [("content-type", "application/json-patch+json")];
    for (criteria, status) in [("one", 200), ("none", 404), ("two", 412)] {
        let path = format!("/fhir/Patient?identifier={SYSTEM}%7C{criteria}");
        let answer = client.request("PATCH", &path, &headers, patch).unwrap();
        assert_eq!(answer.status, status, "{criteria}: {}", answer.text());
    }
    let unconditional = client
        .request("PATCH", "/fhir/Patient", &headers, patch)
        .unwrap();
    assert_eq!(unconditional.status, 400, "{}", unconditional.text());
    let found = client.get("/fhir/Patient?birthdate=1980-01-01").unwrap();
    assert_eq!(resources(&found).len(), 1);
}

/// Spec: <https://hl7.org/fhir/R4/http.html#trules>
/// Verifies: SRS-160
#[test]
fn patches_work_inside_bundles_and_one_resource_is_written_once() {
    let ground = Ground::start();
    let mut client = ground.client();
    let created = json(
        &client
            .post("/fhir/Patient", patient("b", "Bundle").as_bytes())
            .unwrap(),
    );
    let id = text(&created, &["id"]);
    // [{"op":"add","path":"/gender","value":"female"}]
    let binary = r#"{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL2dlbmRlciIsInZhbHVlIjoiZmVtYWxlIn1d"}"#;
    let parameters = r#"{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"add"},{"name":"path","valueString":"Patient"},{"name":"name","valueString":"birthDate"},{"name":"value","valueDate":"1990-02-03"}]}]}"#;
    let bundle = |kind: &str, entries: &[(&str, String)]| {
        let entries: Vec<String> = entries
            .iter()
            .map(|(resource, url)| {
                format!(r#"{{"resource":{resource},"request":{{"method":"PATCH","url":"{url}"}}}}"#)
            })
            .collect();
        format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{}]}}"#,
            entries.join(",")
        )
    };
    let by_condition = format!("Patient?identifier={SYSTEM}%7Cb");
    let done = client
        .post(
            "/fhir",
            bundle("transaction", &[(binary, by_condition.clone())]).as_bytes(),
        )
        .unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
    let done = client
        .post(
            "/fhir",
            bundle("batch", &[(parameters, format!("Patient/{id}"))]).as_bytes(),
        )
        .unwrap();
    assert_eq!(
        text(&json(&done), &["entry", "0", "response", "status"]),
        "200 OK",
        "{}",
        done.text()
    );
    let now = json(&client.get(&format!("/fhir/Patient/{id}")).unwrap());
    assert_eq!(text(&now, &["gender"]), "female");
    assert_eq!(text(&now, &["birthDate"]), "1990-02-03");
    let twice = bundle(
        "transaction",
        &[
            (binary, by_condition),
            (parameters, format!("Patient/{id}")),
        ],
    );
    let refused = client.post("/fhir", twice.as_bytes()).unwrap();
    assert_eq!(refused.status, 400, "{}", refused.text());
    let missing = bundle(
        "transaction",
        &[(binary, format!("Patient?identifier={SYSTEM}%7Cnone"))],
    );
    assert_eq!(
        client.post("/fhir", missing.as_bytes()).unwrap().status,
        404
    );
}

/// Spec: <https://hl7.org/fhir/R4/http.html#search>
/// Verifies: SRS-161
#[test]
fn several_types_are_searched_at_once_page_by_page() {
    let ground = Ground::start();
    let mut client = ground.client();
    for number in 0..5 {
        client
            .post(
                "/fhir/Patient",
                patient("sys", &format!("S{number}")).as_bytes(),
            )
            .unwrap();
        let body = format!(
            r#"{{"resourceType":"Practitioner","identifier":[{{"system":"{SYSTEM}","value":"sys"}}]}}"#
        );
        client.post("/fhir/Practitioner", body.as_bytes()).unwrap();
    }
    for sort in ["", "&_sort=-_lastUpdated", "&_sort=_id"] {
        let query =
            format!("/fhir?_type=Patient,Practitioner&identifier={SYSTEM}%7Csys&_count=3{sort}");
        let (mut next, mut seen) = (Some(query), Vec::new());
        while let Some(path) = next {
            let page = client.get(&path).unwrap();
            let ids = resources(&page)
                .iter()
                .map(|r| text(r, &["id"]))
                .collect::<Vec<_>>();
            assert!(ids.len() <= 3);
            seen.extend(ids);
            next = link(&json(&page), "next");
        }
        assert_eq!(seen.len(), 10, "{sort}");
        if sort.ends_with("_id") {
            assert!(seen.is_sorted());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 10, "{sort}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let posted = client
        .request(
            "POST",
            "/fhir/_search?_summary=count",
            &form,
            b"_type=Patient&_total=accurate",
        )
        .unwrap();
    assert_eq!(text(&json(&posted), &["total"]), "5", "{}", posted.text());
    let refused = client
        .get("/fhir?_type=Patient,Observation&birthdate=2000")
        .unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(client.get("/fhir?_type=Nonsense").unwrap().status, 400);
}

/// Spec: <https://hl7.org/fhir/R4/http.html#paging>
/// Verifies: SRS-161
#[test]
fn pages_lead_on_and_back() {
    let ground = Ground::start();
    let mut client = ground.client();
    for number in 0..7 {
        client
            .post(
                "/fhir/Patient",
                patient("page", &format!("P{number}")).as_bytes(),
            )
            .unwrap();
    }
    let mut pages = Vec::new();
    let mut next = Some("/fhir/Patient?_count=2&_sort=family".to_owned());
    while let Some(path) = next {
        let page = client.get(&path).unwrap();
        let names: Vec<String> = resources(&page)
            .iter()
            .map(|r| text(r, &["name", "0", "family"]))
            .collect();
        next = link(&json(&page), "next");
        pages.push((json(&page), names));
    }
    assert_eq!(pages.len(), 4);
    for index in (1..pages.len()).rev() {
        let previous = client
            .get(&link(&pages[index].0, "previous").unwrap())
            .unwrap();
        let names: Vec<String> = resources(&previous)
            .iter()
            .map(|r| text(r, &["name", "0", "family"]))
            .collect();
        assert_eq!(names, pages[index - 1].1);
        let first = client
            .get(&link(&pages[index].0, "first").unwrap())
            .unwrap();
        assert_eq!(json(&first).get("entry"), pages[0].0.get("entry"));
    }
    assert_eq!(link(&pages[0].0, "previous"), None);
    let forged = link(&pages[0].0, "next")
        .unwrap()
        .replace("_count=2", "_count=3");
    assert_eq!(client.get(&forged).unwrap().status, 400);
}

/// Spec: <https://hl7.org/fhir/R4/http.html#history>
/// Verifies: SRS-162
#[test]
fn a_history_can_be_asked_for_a_moment_and_in_either_order() {
    let ground = Ground::start();
    let mut client = ground.client();
    let created = json(
        &client
            .post("/fhir/Patient", patient("h", "V1").as_bytes())
            .unwrap(),
    );
    let id = text(&created, &["id"]);
    let mut times = vec![text(&created, &["meta", "lastUpdated"])];
    for family in ["V2", "V3"] {
        let body = patient("h", family).replacen('{', &format!(r#"{{"id":"{id}","#), 1);
        let headers = [("content-type", "application/fhir+json")];
        let path = format!("/fhir/Patient/{id}");
        let updated = json(
            &client
                .request("PUT", &path, &headers, body.as_bytes())
                .unwrap(),
        );
        times.push(text(&updated, &["meta", "lastUpdated"]));
    }
    let mut versions = |query: &str| -> Vec<String> {
        let page = client
            .get(&format!("/fhir/Patient/{id}/_history?{query}"))
            .unwrap();
        resources(&page)
            .iter()
            .map(|r| text(r, &["meta", "versionId"]))
            .collect()
    };
    assert_eq!(versions(""), ["3", "2", "1"]);
    assert_eq!(versions("_sort=_lastUpdated"), ["1", "2", "3"]);
    assert_eq!(versions("_at=1999"), Vec::<String>::new());
    assert_eq!(versions("_at=2999"), ["3"]);
    // A year holds all three moments.
    assert_eq!(
        versions(&format!("_at={}", &times[0][..4])),
        ["3", "2", "1"]
    );
    assert_eq!(versions("_sort=_lastUpdated&_count=1"), ["1"]);
    let refused = client
        .get(&format!("/fhir/Patient/{id}/_history?_sort=name"))
        .unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(
        client
            .request("HEAD", "/fhir/_history", &[], b"")
            .unwrap()
            .status,
        200
    );
}

/// Spec: <https://hl7.org/fhir/R4/binary.html#rest>
/// Verifies: SRS-163
#[test]
fn a_binary_is_written_and_read_as_what_it_holds() {
    let ground = Ground::start();
    let mut client = ground.client();
    let bytes = b"%PDF-1.7 \x00\xff not really";
    let created = client
        .request(
            "POST",
            "/fhir/Binary",
            &[("content-type", "application/pdf")],
            bytes,
        )
        .unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/fhir/Binary/{}", text(&json(&created), &["id"]));
    let raw = client
        .request("GET", &path, &[("accept", "application/pdf")], b"")
        .unwrap();
    assert_eq!((raw.status, raw.body.as_slice()), (200, &bytes[..]));
    assert_eq!(raw.header("content-type"), Some("application/pdf"));
    let resource = client
        .request("GET", &path, &[("accept", "application/fhir+json")], b"")
        .unwrap();
    assert_eq!(text(&json(&resource), &["contentType"]), "application/pdf");
    let other = client
        .request("GET", &path, &[("accept", "image/png")], b"")
        .unwrap();
    assert_eq!(other.status, 406);
    let patient = client
        .request(
            "POST",
            "/fhir/Patient",
            &[("content-type", "application/pdf")],
            bytes,
        )
        .unwrap();
    assert_eq!(patient.status, 415);
}

/// Verifies: SRS-163
#[test]
fn answers_can_be_pretty_and_pages_of_this_machine_may_ask() {
    let ground = Ground::start();
    let mut client = ground.client();
    let pretty = client.get("/fhir/metadata?_pretty=true").unwrap();
    assert!(pretty.text().starts_with("{\n  \"resourceType\""));
    let preflight = |client: &mut system_tests::http_client::Client, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        client
            .request("OPTIONS", "/fhir/Patient/1", &headers, b"")
            .unwrap()
    };
    let own = preflight(&mut client, "http://localhost:3000");
    assert_eq!(own.status, 204);
    assert_eq!(
        own.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    let foreign = preflight(&mut client, "https://example.org");
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    let read = client
        .request(
            "GET",
            "/fhir/metadata",
            &[("origin", "http://127.0.0.1:9")],
            b"",
        )
        .unwrap();
    assert_eq!(
        read.header("access-control-allow-origin"),
        Some("http://127.0.0.1:9")
    );
}
