//! Search beyond single parameters: filters, lists, hierarchies, words, added parameters; and the operations around it.

use std::time::{Duration, Instant};

use fhir_core::json::Value;
use system_tests::http_client::{Client, Response};

use super::{Ground, json, resources, text};

/// Longest wait for work behind a request.
const WORK_LIMIT: Duration = Duration::from_secs(60);

fn post(client: &mut Client, body: &str) -> String {
    let resource = Value::parse(body.as_bytes()).unwrap();
    let path = format!("/fhir/{}", text(&resource, &["resourceType"]));
    let created = client.post(&path, body.as_bytes()).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    text(&json(&created), &["id"])
}

fn put(client: &mut Client, body: &str) {
    let resource = Value::parse(body.as_bytes()).unwrap();
    let (kind, id) = (text(&resource, &["resourceType"]), text(&resource, &["id"]));
    let headers = [("content-type", "application/fhir+json")];
    let path = format!("/fhir/{kind}/{id}");
    let done = client
        .request("PUT", &path, &headers, body.as_bytes())
        .unwrap();
    assert!(done.status < 300, "{}", done.text());
}

fn ids(response: &Response) -> Vec<String> {
    let mut ids: Vec<String> = resources(response)
        .iter()
        .map(|r| text(r, &["id"]))
        .collect();
    ids.sort();
    ids
}

fn query(client: &mut Client, path: &str) -> Vec<String> {
    ids(&client.get(&format!("/fhir/{path}")).unwrap())
}

/// Asks again until it is so.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < WORK_LIMIT, "it takes too long");
        std::thread::yield_now();
    }
}

/// Spec: <https://hl7.org/fhir/R4/search_filter.html>, <https://hl7.org/fhir/R4/search.html#list>
/// Verifies: SRS-164, RC-160
#[test]
fn filters_and_lists_select() {
    let ground = Ground::start();
    let mut client = ground.client();
    for (id, family, birth, gender) in [
        ("p1", "Smith", "1970-05-05", "male"),
        ("p2", "Smithson", "1980-05-05", "female"),
        ("p3", "Jones", "1970-06-06", "female"),
    ] {
        put(
            &mut client,
            &format!(
                r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{family}"}}],"birthDate":"{birth}","gender":"{gender}"}}"#
            ),
        );
    }
    put(
        &mut client,
        r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p2"}}"#,
    );
    put(
        &mut client,
        r#"{"resourceType":"List","id":"l1","status":"current","mode":"working","entry":[{"item":{"reference":"Patient/p1"}},{"item":{"reference":"Patient/p3"}}]}"#,
    );
    for (filter, expected) in [
        (r#"family eq "smith""#, vec!["p1"]),
        (r#"family sw "smith""#, vec!["p1", "p2"]),
        (r#"family ew "son""#, vec!["p2"]),
        (r#"family co "one""#, vec!["p3"]),
        (
            r#"birthdate lt 1975-01-01 and gender eq female"#,
            vec!["p3"],
        ),
        (
            r#"birthdate po 1970-05 or family eq "jones""#,
            vec!["p1", "p3"],
        ),
        (r#"not (gender eq female)"#, vec!["p1"]),
        (r#"gender ne female"#, vec!["p1"]),
        (r#"gender pr false"#, vec![]),
        (
            r#"gender in http://hl7.org/fhir/ValueSet/administrative-gender"#,
            vec!["p1", "p2", "p3"],
        ),
    ] {
        let encoded = filter.replace(' ', "%20").replace('"', "%22");
        assert_eq!(
            query(&mut client, &format!("Patient?_filter={encoded}")),
            expected,
            "{filter}"
        );
    }
    assert_eq!(
        query(
            &mut client,
            "Observation?_filter=subject:Patient.family%20sw%20%22smith%22"
        ),
        ["o1"]
    );
    assert_eq!(query(&mut client, "Patient?_list=l1"), ["p1", "p3"]);
    assert_eq!(query(&mut client, "Patient?_list=l1&gender=female"), ["p3"]);
    assert_eq!(
        query(
            &mut client,
            "Patient?gender=http://hl7.org/fhir/administrative-gender%7Cmale"
        ),
        ["p1"]
    );
    for refused in [
        "Patient?_list=$current-allergies",
        "Patient?_filter=gender",
        "Patient?_query=x",
    ] {
        assert_eq!(
            client.get(&format!("/fhir/{refused}")).unwrap().status,
            400,
            "{refused}"
        );
    }
}

/// Spec: <https://hl7.org/fhir/R4/search.html#recursive>
/// Verifies: SRS-164
#[test]
fn parts_of_a_place_are_found_with_it() {
    let ground = Ground::start();
    let mut client = ground.client();
    put(
        &mut client,
        r#"{"resourceType":"Location","id":"site","name":"Site"}"#,
    );
    for (id, parent) in [("ward", "site"), ("room", "ward"), ("bed", "room")] {
        put(
            &mut client,
            &format!(
                r#"{{"resourceType":"Location","id":"{id}","partOf":{{"reference":"Location/{parent}"}}}}"#
            ),
        );
    }
    for place in ["site", "ward", "bed"] {
        put(
            &mut client,
            &format!(
                r#"{{"resourceType":"Encounter","id":"in-{place}","status":"finished","class":{{"code":"IMP"}},"location":[{{"location":{{"reference":"Location/{place}"}}}}]}}"#
            ),
        );
    }
    assert_eq!(
        query(&mut client, "Encounter?location:below=Location/ward"),
        ["in-bed", "in-ward"]
    );
    assert_eq!(
        query(&mut client, "Encounter?location:below=site"),
        ["in-bed", "in-site", "in-ward"]
    );
    assert_eq!(
        query(&mut client, "Encounter?location:above=Location/room"),
        ["in-site", "in-ward"]
    );
    assert_eq!(
        query(&mut client, "Location?partof:below=site"),
        ["bed", "room", "ward"]
    );
}

/// Spec: <https://hl7.org/fhir/R4/search.html#content>
/// Verifies: SRS-165, RC-161
#[test]
fn words_of_texts_are_found_as_soon_as_written() {
    let ground = Ground::start();
    let mut client = ground.client();
    let condition = |id: &str, narrative: &str, note: &str| {
        format!(
            r#"{{"resourceType":"Condition","id":"{id}","subject":{{"display":"x"}},"text":{{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">{narrative}</div>"}},"note":[{{"text":"{note}"}}]}}"#
        )
    };
    put(
        &mut client,
        &condition("c1", "Broken <b>left</b> arm", "since Monday"),
    );
    put(&mut client, &condition("c2", "Broken leg", "pain"));
    assert_eq!(query(&mut client, "Condition?_text=broken"), ["c1", "c2"]);
    assert_eq!(query(&mut client, "Condition?_text=arm%20BROKEN"), ["c1"]);
    assert_eq!(
        query(&mut client, "Condition?_text=monday"),
        Vec::<String>::new()
    );
    assert_eq!(query(&mut client, "Condition?_content=monday"), ["c1"]);
    assert_eq!(
        query(&mut client, "Condition?_content=monday%20OR%20pain"),
        ["c1", "c2"]
    );
    put(&mut client, &condition("c1", "Healed", "since Friday"));
    assert_eq!(query(&mut client, "Condition?_text=broken"), ["c2"]);
    assert_eq!(
        query(&mut client, "Condition?_content=friday&_id=c1"),
        ["c1"]
    );
    assert_eq!(
        client
            .request("DELETE", "/fhir/Condition/c2", &[], b"")
            .unwrap()
            .status,
        204
    );
    assert_eq!(
        query(&mut client, "Condition?_text=leg"),
        Vec::<String>::new()
    );
    assert_eq!(client.get("/fhir/Condition?_text=").unwrap().status, 400);
}

/// Spec: <https://hl7.org/fhir/R4/searchparameter.html>
/// Verifies: SRS-166, RC-162
#[test]
fn an_added_search_parameter_is_indexed_and_goes_when_it_is_deleted() {
    let ground = Ground::start();
    let mut client = ground.client();
    let patient = |id: &str, size: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","extension":[{{"url":"http://example.org/shoe","valueString":"{size}"}}]}}"#
        )
    };
    put(&mut client, &patient("before", "forty"));
    assert_eq!(client.get("/fhir/Patient?shoe=forty").unwrap().status, 400);
    let definition = r#"{"resourceType":"SearchParameter","id":"shoe","url":"http://example.org/sp/shoe","name":"shoe","status":"active","description":"Shoe","code":"shoe","base":["Patient"],"type":"string","expression":"Patient.extension.where(url='http://example.org/shoe').value"}"#;
    put(&mut client, definition);
    wait_until(|| {
        let status = client.get("/fhir/SearchParameter/shoe/$status").unwrap();
        text(&json(&status), &["parameter", "0", "valueCode"]) == "active"
    });
    put(&mut client, &patient("after", "forty-two"));
    assert_eq!(
        query(&mut client, "Patient?shoe=forty"),
        ["after", "before"]
    );
    assert_eq!(query(&mut client, "Patient?shoe:exact=forty"), ["before"]);
    put(&mut client, &patient("before", "ten"));
    assert_eq!(query(&mut client, "Patient?shoe=forty"), ["after"]);
    let statement = client.get("/fhir/metadata").unwrap().text();
    assert!(statement.contains("http://example.org/sp/shoe"));
    let refused = definition
        .replace("\"shoe\",\"base\"", "\"name\",\"base\"")
        .replace("\"id\":\"shoe\"", "\"id\":\"bad\"");
    put(&mut client, &refused);
    wait_until(|| {
        let status = client.get("/fhir/SearchParameter/bad/$status").unwrap();
        text(&json(&status), &["parameter", "0", "valueCode"]) == "refused"
    });
    assert_eq!(
        client
            .request("DELETE", "/fhir/SearchParameter/shoe", &[], b"")
            .unwrap()
            .status,
        204
    );
    wait_until(|| client.get("/fhir/Patient?shoe=forty").unwrap().status == 400);
}

/// Spec: <https://hl7.org/fhir/R4/observation-operation-lastn.html>, <https://hl7.org/fhir/R4/patient-operation-match.html>,
/// <https://hl7.org/fhir/R4/resource-operation-meta-add.html>
/// Verifies: SRS-167, RC-163
#[test]
fn operations_answer() {
    let ground = Ground::start();
    let mut client = ground.client();
    put(
        &mut client,
        r#"{"resourceType":"Patient","id":"pt","identifier":[{"system":"urn:mrn","value":"7"}],"name":[{"family":"Zorn","given":["Ada"]}],"birthDate":"1980-02-03"}"#,
    );
    for (id, code, day) in [
        ("o1", "a", "01"),
        ("o2", "a", "03"),
        ("o3", "b", "02"),
        ("o4", "a", "02"),
    ] {
        put(
            &mut client,
            &format!(
                r#"{{"resourceType":"Observation","id":"{id}","status":"final","category":[{{"coding":[{{"code":"laboratory"}}]}}],"code":{{"coding":[{{"system":"urn:x","code":"{code}"}}]}},"subject":{{"reference":"Patient/pt"}},"effectiveDateTime":"2026-01-{day}"}}"#
            ),
        );
    }
    let last = |client: &mut Client, extra: &str| -> Vec<String> {
        let found = client
            .get(&format!(
                "/fhir/Observation/$lastn?patient=pt&category=laboratory{extra}"
            ))
            .unwrap();
        resources(&found).iter().map(|r| text(r, &["id"])).collect()
    };
    assert_eq!(last(&mut client, ""), ["o2", "o3"]);
    assert_eq!(last(&mut client, "&max=2"), ["o2", "o4", "o3"]);
    assert_eq!(
        client
            .get("/fhir/Observation/$lastn?patient=pt")
            .unwrap()
            .status,
        400
    );
    assert_eq!(
        client
            .get("/fhir/Patient/$lastn?patient=pt&code=x")
            .unwrap()
            .status,
        404
    );

    let ask = |certain: bool, patient: &str| {
        format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"resource","resource":{{"resourceType":"Patient",{patient}}}}},{{"name":"onlyCertainMatches","valueBoolean":{certain}}}]}}"#
        )
    };
    let known = r#""identifier":[{"system":"urn:mrn","value":"7"}],"birthDate":"1980-02-03""#;
    let found = client
        .post("/fhir/Patient/$match", ask(true, known).as_bytes())
        .unwrap();
    assert_eq!(
        text(&json(&found), &["entry", "0", "search", "score"]),
        "1.00",
        "{}",
        found.text()
    );
    assert_eq!(
        text(
            &json(&found),
            &["entry", "0", "search", "extension", "0", "valueCode"]
        ),
        "certain"
    );
    let namesake = r#""name":[{"family":"Zorn","given":["Ada"]}],"birthDate":"1980-02-03""#;
    let found = client
        .post("/fhir/Patient/$match", ask(true, namesake).as_bytes())
        .unwrap();
    assert!(resources(&found).is_empty());
    assert_eq!(
        client
            .post(
                "/fhir/Patient/$match",
                ask(false, r#""gender":"male""#).as_bytes()
            )
            .unwrap()
            .status,
        400
    );

    let tag = br#"{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":{"tag":[{"system":"urn:t","code":"vip"}]}}]}"#;
    assert_eq!(
        client
            .post("/fhir/Patient/pt/$meta-add", tag)
            .unwrap()
            .status,
        200
    );
    assert_eq!(query(&mut client, "Patient?_tag=urn:t%7Cvip"), ["pt"]);
    let meta = json(&client.get("/fhir/Patient/$meta").unwrap());
    assert_eq!(
        text(&meta, &["parameter", "0", "valueMeta", "tag", "0", "code"]),
        "vip"
    );
    assert_eq!(
        client
            .post("/fhir/Patient/pt/$meta-delete", tag)
            .unwrap()
            .status,
        200
    );
    assert!(query(&mut client, "Patient?_tag=urn:t%7Cvip").is_empty());

    let explained = client
        .get("/fhir/Observation/$explain?patient=pt&_sort=-date")
        .unwrap();
    assert_eq!(explained.status, 200, "{}", explained.text());
    assert!(
        explained.text().contains("refers to the Patient"),
        "{}",
        explained.text()
    );
}

/// Spec: <https://hl7.org/fhir/uv/bulkdata/STU2/export.html>
/// Verifies: SRS-168
#[test]
fn everything_goes_out_and_comes_in_as_lines() {
    let ground = Ground::start();
    let mut client = ground.client();
    let lines = concat!(
        r#"{"resourceType":"Patient","id":"b1","active":true}"#,
        "\n",
        r#"{"resourceType":"Patient","active":true}"#,
        "\n\n",
        r#"{"resourceType":"Observation","id":"b2","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/b1"},"valueQuantity":{"value":1.50}}"#,
        "\n",
        r#"{"resourceType":"Nonsense"}"#,
        "\n",
    );
    let headers = [("content-type", "application/fhir+ndjson")];
    let report = json(
        &client
            .request("POST", "/fhir/$import", &headers, lines.as_bytes())
            .unwrap(),
    );
    assert_eq!(
        text(&report, &["parameter", "0", "valueInteger"]),
        "3",
        "{report}"
    );
    assert_eq!(text(&report, &["parameter", "2", "valueInteger"]), "1");
    assert!(text(&report, &["parameter", "3", "valueString"]).starts_with("line 5"));
    put(
        &mut client,
        r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/b1"}}]}"#,
    );
    let organization = post(&mut client, r#"{"resourceType":"Organization","name":"x"}"#);
    assert!(!organization.is_empty());
    for (path, expected) in [
        (
            "/fhir/$export",
            vec!["Group", "Observation", "Organization", "Patient"],
        ),
        ("/fhir/$export?_type=Patient", vec!["Patient"]),
        ("/fhir/Patient/$export", vec!["Observation", "Patient"]),
        ("/fhir/Group/g/$export", vec!["Observation", "Patient"]),
    ] {
        assert_eq!(
            client.get(path).unwrap().status,
            400,
            "without respond-async"
        );
        let started = client
            .request("GET", path, &[("prefer", "respond-async")], b"")
            .unwrap();
        assert_eq!(started.status, 202, "{}", started.text());
        let location = started.header("content-location").unwrap().to_owned();
        let status_path = format!("/fhir{}", location.split_once("/fhir").unwrap().1);
        let mut manifest = None;
        wait_until(|| {
            let status = client.get(&status_path).unwrap();
            assert!(matches!(status.status, 200 | 202), "{}", status.text());
            manifest = (status.status == 200).then(|| json(&status));
            manifest.is_some()
        });
        let manifest = manifest.unwrap();
        let output = manifest.get("output").and_then(Value::as_array).unwrap();
        let mut types: Vec<String> = output.iter().map(|o| text(o, &["type"])).collect();
        types.retain(|name| expected.contains(&name.as_str()));
        assert_eq!(types, expected, "{path}: {manifest}");
        let patients = output
            .iter()
            .find(|o| text(o, &["type"]) == "Patient")
            .unwrap();
        let url = text(patients, &["url"]);
        let file = client
            .get(&format!("/fhir{}", url.split_once("/fhir").unwrap().1))
            .unwrap();
        assert_eq!(file.header("content-type"), Some("application/fhir+ndjson"));
        assert_eq!(
            file.text().lines().count().to_string(),
            text(patients, &["count"])
        );
        assert_eq!(
            client
                .request("DELETE", &status_path, &[], b"")
                .unwrap()
                .status,
            202
        );
        assert_eq!(client.get(&status_path).unwrap().status, 404);
    }
    assert_eq!(
        client
            .get("/fhir/$export-status/..%2f..%2fetc")
            .unwrap()
            .status,
        404
    );
}

/// What the CapabilityStatement claims works when it is called.
/// Verifies: SRS-169
#[test]
fn everything_that_is_claimed_answers() {
    let ground = Ground::start();
    let mut client = ground.client();
    let statement = json(&client.get("/fhir/metadata").unwrap());
    let rest = statement.get("rest").and_then(Value::as_array).unwrap()[0].clone();
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value
            .get(name)
            .and_then(Value::as_array)
            .map(<[Value]>::to_vec)
            .unwrap_or_default()
    };
    let mut searched = 0;
    for resource in list(&rest, "resource") {
        let name = text(&resource, &["type"]);
        for operation in list(&resource, "operation") {
            let definition = text(&operation, &["definition"]);
            let id = definition.rsplit(['/', ':']).next().unwrap();
            let served = client
                .get(&format!("/fhir/OperationDefinition/{id}"))
                .unwrap();
            assert_eq!(served.status, 200, "{definition}");
        }
        let mut query: Vec<String> = Vec::new();
        for param in list(&resource, "searchParam") {
            let value = match text(&param, &["type"]).as_str() {
                "number" | "quantity" => "1",
                "date" => "2020",
                "reference" => "Patient/x",
                "composite" => continue,
                "special" => "1%7C1",
                "uri" => "http://example.org/x",
                _ => "x",
            };
            let code = text(&param, &["name"]);
            query.push(format!("{code}={value}"));
        }
        for include in list(&resource, "searchInclude") {
            query.push(format!("_include={}", include.as_str().unwrap()));
            if query.len() > 60 {
                break;
            }
        }
        for part in query.chunks(15) {
            // A reference that never leads to a patient may refuse it; nothing else may.
            let answer = client
                .get(&format!("/fhir/{name}?{}", part.join("&")))
                .unwrap();
            assert!(
                answer.status == 200,
                "{name}?{}: {}",
                part.join("&"),
                answer.text()
            );
            searched += 1;
        }
        let history = client
            .get(&format!("/fhir/{name}/_history?_count=1"))
            .unwrap();
        assert_eq!(history.status, 200, "{name}");
        assert_eq!(
            client.get(&format!("/fhir/{name}/none")).unwrap().status,
            404
        );
    }
    assert!(searched > 146);
    for param in list(&rest, "searchParam") {
        let code = text(&param, &["name"]);
        let value = if code == "_filter" {
            "_id%20eq%201"
        } else {
            "1"
        };
        assert_eq!(
            client
                .get(&format!("/fhir/Patient?{code}={value}"))
                .unwrap()
                .status,
            200,
            "{code}"
        );
    }
}

/// Spec: <https://hl7.org/fhir/R4/search.html#token>
/// Verifies: SRS-164
#[test]
fn loaded_code_systems_and_value_sets_are_searched_by() {
    let ground = Ground::start();
    let mut client = ground.client();
    put(
        &mut client,
        r#"{"resourceType":"CodeSystem","id":"cs","url":"http://example.org/cs","status":"active","content":"complete","hierarchyMeaning":"is-a","concept":[{"code":"animal","concept":[{"code":"dog"},{"code":"cat"}]},{"code":"stone"}]}"#,
    );
    put(
        &mut client,
        r#"{"resourceType":"ValueSet","id":"vs","url":"http://example.org/vs","status":"active","compose":{"include":[{"system":"http://example.org/cs","concept":[{"code":"cat"},{"code":"stone"}]}]}}"#,
    );
    for code in ["animal", "dog", "cat", "stone"] {
        let body = format!(
            r#"{{"resourceType":"Observation","id":"{code}","status":"final","code":{{"coding":[{{"system":"http://example.org/cs","code":"{code}"}}]}}}}"#
        );
        put(&mut client, &body);
    }
    for (search, expected) in [
        (
            "code:below=http://example.org/cs%7Canimal",
            vec!["animal", "cat", "dog"],
        ),
        (
            "code:above=http://example.org/cs%7Ccat",
            vec!["animal", "cat"],
        ),
        ("code:in=http://example.org/vs", vec!["cat", "stone"]),
        ("code:not-in=http://example.org/vs", vec!["animal", "dog"]),
        (
            "_filter=code%20ss%20http://example.org/cs%7Canimal",
            vec!["animal", "cat", "dog"],
        ),
    ] {
        assert_eq!(
            query(&mut client, &format!("Observation?{search}")),
            expected,
            "{search}"
        );
    }
    let unknown = client
        .get("/fhir/Observation?code:in=http://example.org/none")
        .unwrap();
    assert_eq!(unknown.status, 400, "{}", unknown.text());
}
