//! Rest-hooks: told in order, again after failures, and after the server was killed.

use system_tests::receiver::{Received, Receiver};

use super::{
    BACKPORT, Ground, events_of, hook, json, on_both, patient, status_of, subscription, text,
};

/// Retries at once, and gives up early.
const HASTY: &str = "[live]\nattempts_max = 3\nretry_first_ms = 1\nanswer_seconds_max = 1\n\n[[live.secret]]\nname = \"ward\"\nfile = \"KEY\"\n";
/// Retries at once, for as long as a test takes.
const PATIENT: &str =
    "[live]\nattempts_max = 1000000\nretry_first_ms = 20\nretry_seconds_max = 1\n";

fn kind(received: &Received) -> String {
    status_of(&json(&received.body), "type")
}

/// Events that were answered with 2xx, in their order of arrival.
fn taken(all: &[Received]) -> Vec<(i64, String)> {
    all.iter()
        .filter(|received| received.status == 200 && kind(received) == "event-notification")
        .flat_map(|received| events_of(&json(&received.body)))
        .collect()
}

fn has_event(all: &[Received], number: i64) -> bool {
    taken(all).iter().any(|(n, _)| *n == number)
}

/// Verifies: SRS-340, SRS-342, RC-340
#[test]
fn a_subscriber_is_told_of_what_matches_in_order_and_signed() {
    on_both(HASTY, |ground| {
        let receiver = Receiver::start().unwrap();
        let more = r#","header":["Authorization: Bearer abc"],"extension":[{"url":"urn:stoker:StructureDefinition/signing-secret","valueString":"ward"}]"#;
        let channel = hook(&receiver.url(), "full-resource", more);
        ground.subscribe("s1", "Patient?family=Aba", &channel);
        ground.stored("Patient/a", &patient("a", "Aba"));
        ground.stored("Patient/b", &patient("b", "Other"));
        ground.stored("Patient/a", &patient("a", "Abaton"));
        ground.stored("Patient/a", &patient("a", "Other"));
        ground.stored("Patient/c", &patient("c", "Aba"));
        let all = receiver.wait_until(|all| has_event(all, 3)).unwrap();
        assert_eq!(kind(&all[0]), "handshake");
        let told: Vec<_> = taken(&all);
        let expected = [(1, "Patient/a"), (2, "Patient/a"), (3, "Patient/c")];
        assert_eq!(told, expected.map(|(n, key)| (n, key.to_owned())));
        let bundle = json(&all[1].body);
        assert_eq!(text(&bundle, &["type"]), "history");
        assert_eq!(
            text(&bundle, &["entry", "1", "resource", "name", "0", "family"]),
            "Aba"
        );
        assert_eq!(text(&bundle, &["entry", "1", "request", "method"]), "POST");
        for received in &all {
            assert_eq!(received.line, "POST /hook");
            assert_eq!(received.header("authorization"), Some("Bearer abc"));
            let signature = received.header("stoker-signature").unwrap();
            assert!(signature.starts_with("t=") && signature.contains(",v1="));
        }
        // The key is a file's; the resource has only its name.
        let stored = ground.get("/fhir/Subscription/s1").to_string();
        assert!(!stored.contains("topsecret"));

        let status = ground.get("/fhir/Subscription/s1/$status");
        assert_eq!(status_of(&status, "status"), "active");
        assert_eq!(status_of(&status, "events-since-subscription-start"), "3");
        let events =
            ground.get("/fhir/Subscription/s1/$events?eventsSinceNumber=2&eventsUntilNumber=2");
        assert_eq!(status_of(&events, "type"), "query-event");
        assert_eq!(events_of(&events), [(2, "Patient/a".to_owned())]);
        let all = ground.get("/fhir/Subscription/$status?status=active");
        assert_eq!(text(&all, &["total"]), "1");
    });
}

/// Verifies: SRS-341
#[test]
fn topics_tell_of_creates_updates_and_deletes() {
    on_both(HASTY, |ground| {
        let receiver = Receiver::start().unwrap();
        let channel = hook(&receiver.url(), "id-only", "");
        ground.subscribe("every", "urn:stoker:SubscriptionTopic:Patient", &channel);
        ground.stored("Patient/a", &patient("a", "Aba"));
        ground.stored("Patient/a", &patient("a", "Abaton"));
        let gone = ground
            .client()
            .request("DELETE", "/fhir/Patient/a", &[], b"")
            .unwrap();
        assert!(gone.status < 300);
        let all = receiver.wait_until(|all| has_event(all, 3)).unwrap();
        let methods: Vec<String> = all
            .iter()
            .map(|received| json(&received.body))
            .flat_map(|bundle| {
                let entries = bundle
                    .get("entry")
                    .and_then(|e| e.as_array())
                    .unwrap_or_default()
                    .to_vec();
                entries
                    .into_iter()
                    .skip(1)
                    .map(|entry| text(&entry, &["request", "method"]))
            })
            .collect();
        assert_eq!(methods, ["POST", "PUT", "DELETE"]);

        // A posted topic: only the step to finished.
        let topic = r#"{"resourceType":"Basic","id":"t","code":{"coding":[{"system":"http://hl7.org/fhir/fhir-types","code":"SubscriptionTopic"}]},"extension":[
            {"url":"http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.url","valueUri":"http://example.org/finished"},
            {"url":"http://hl7.org/fhir/4.3/StructureDefinition/extension-SubscriptionTopic.resourceTrigger","extension":[
            {"url":"resource","valueUri":"http://hl7.org/fhir/StructureDefinition/Encounter"},
            {"url":"supportedInteraction","valueCode":"create"},{"url":"supportedInteraction","valueCode":"update"},
            {"url":"queryCriteria","extension":[{"url":"previous","valueString":"status:not=finished"},{"url":"resultForCreate","valueCode":"test-passes"},
            {"url":"current","valueString":"status=finished"},{"url":"requireBoth","valueBoolean":true}]}]}]}"#;
        ground.stored("Basic/t", topic);
        let other = Receiver::start().unwrap();
        let body = subscription(
            "finished",
            "http://example.org/finished",
            &hook(&other.url(), "id-only", ""),
        );
        let filter = format!(
            r#""_criteria":{{"extension":[{{"url":"{BACKPORT}backport-filter-criteria","valueString":"Encounter?subject=Patient/p"}}]}},"channel""#
        );
        ground.stored(
            "Subscription/finished",
            &body.replacen(r#""channel""#, &filter, 1),
        );
        ground.until_status("finished", "active");
        let encounter = |id: &str, status: &str, patient: &str| {
            let body = format!(
                r#"{{"resourceType":"Encounter","id":"{id}","status":"{status}","class":{{"code":"AMB"}},"subject":{{"reference":"Patient/{patient}"}}}}"#
            );
            ground.stored(&format!("Encounter/{id}"), &body);
        };
        encounter("e1", "in-progress", "p");
        encounter("e1", "finished", "p");
        encounter("e1", "finished", "q");
        encounter("e2", "finished", "q");
        encounter("e3", "finished", "p");
        let all = other.wait_until(|all| has_event(all, 2)).unwrap();
        let expected = [(1, "Encounter/e1"), (2, "Encounter/e3")];
        assert_eq!(taken(&all), expected.map(|(n, key)| (n, key.to_owned())));
    });
}

/// Verifies: SRS-343, RC-341
#[test]
fn a_receiver_that_fails_goes_to_error_and_gets_all_when_it_is_back() {
    on_both(HASTY, |ground| {
        let (bad, good) = (Receiver::start().unwrap(), Receiver::start().unwrap());
        ground.subscribe("bad", "Patient", &hook(&bad.url(), "id-only", ""));
        ground.subscribe("good", "Patient", &hook(&good.url(), "id-only", ""));
        bad.answer_with(500);
        ground.stored("Patient/a", &patient("a", "Aba"));
        let failed = ground.until_status("bad", "error");
        assert!(text(&failed, &["error"]).contains("500"), "{failed}");
        ground.stored("Patient/b", &patient("b", "Aba"));
        // Nobody else is held up.
        good.wait_until(|all| has_event(all, 2)).unwrap();
        let status = ground.get("/fhir/Subscription/bad/$status");
        assert_eq!(status_of(&status, "status"), "error");

        // Silence is a failure, too; it holds up nobody either.
        bad.answer_with(0);
        let again = subscription("bad", "Patient", &hook(&bad.url(), "id-only", ""));
        ground.stored("Subscription/bad", &again);
        ground.stored("Patient/c", &patient("c", "Aba"));
        good.wait_until(|all| has_event(all, 3)).unwrap();
        let failed = ground.until_status("bad", "error");
        assert!(
            text(&failed, &["error"]).contains("did not answer"),
            "{failed}"
        );

        // Back: all of it comes, numbered without gap.
        bad.answer_with(200);
        ground.stored("Subscription/bad", &again);
        let all = bad.wait_until(|all| has_event(all, 3)).unwrap();
        let numbers: Vec<i64> = taken(&all).into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [1, 2, 3]);
    });
}

/// Verifies: SRS-343, RC-341
#[test]
fn nothing_is_lost_when_the_server_is_killed_between_commit_and_delivery() {
    on_both(PATIENT, |ground| {
        let receiver = Receiver::start().unwrap();
        ground.subscribe("s", "Patient", &hook(&receiver.url(), "id-only", ""));
        ground.stored("Patient/first", &patient("first", "Aba"));
        receiver.wait_until(|all| has_event(all, 1)).unwrap();
        receiver.answer_with(503);
        for round in 0..3 {
            for n in 0..20 {
                let id = format!("p{round}-{n}");
                ground.stored(&format!("Patient/{id}"), &patient(&id, "Aba"));
            }
            // Committed a moment ago; whatever was made of it by now.
            ground.kill();
            ground.run();
        }
        receiver.answer_with(200);
        let all = receiver.wait_until(|all| has_event(all, 61)).unwrap();
        let mut told = taken(&all);
        // At least once: what came again has the number it had.
        told.sort();
        told.dedup();
        let numbers: Vec<i64> = told.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, (1..=61).collect::<Vec<i64>>());
        let keys: std::collections::BTreeSet<&String> = told.iter().map(|(_, key)| key).collect();
        assert_eq!(keys.len(), 61);
    });
}

#[test]
fn plain_r4_hooks_get_the_resource_or_an_empty_request() {
    let ground = Ground::start(HASTY);
    let receiver = Receiver::start().unwrap();
    let endpoint = receiver.url();
    let channel = format!(r#"{{"type":"rest-hook","endpoint":"{endpoint}"}}"#);
    ground.subscribe("empty", "Patient?family=Aba", &channel);
    ground.stored("Patient/a", &patient("a", "Aba"));
    let all = receiver.wait_until(|all| !all.is_empty()).unwrap();
    assert_eq!((all[0].line.as_str(), all[0].body.len()), ("POST /hook", 0));
    let channel = format!(
        r#"{{"type":"rest-hook","endpoint":"{endpoint}","payload":"application/fhir+json"}}"#
    );
    ground.subscribe("whole", "Patient?family=Bab", &channel);
    ground.stored("Patient/b", &patient("b", "Bab"));
    let all = receiver.wait_until(|all| all.len() == 2).unwrap();
    assert_eq!(all[1].line, "PUT /hook/Patient/b");
    assert_eq!(text(&json(&all[1].body), &["name", "0", "family"]), "Bab");
}

#[test]
fn a_heartbeat_breaks_silence() {
    let ground = Ground::start(HASTY);
    let receiver = Receiver::start().unwrap();
    let more = format!(
        r#","extension":[{{"url":"{BACKPORT}backport-heartbeat-period","valueUnsignedInt":1}}]"#
    );
    ground.subscribe("s", "Patient", &hook(&receiver.url(), "empty", &more));
    let is_heartbeat = |received: &Received| kind(received) == "heartbeat";
    receiver
        .wait_until(|all| all.iter().any(is_heartbeat))
        .unwrap();
}

/// Verifies: SRS-340
#[test]
fn subscriptions_that_cannot_work_are_refused_or_say_why() {
    let ground = Ground::start(HASTY);
    let socket = r#"{"type":"websocket"}"#;
    let refused = |criteria: &str, channel: &str, expected: &str| {
        let answer = ground.put("Subscription/x", &subscription("x", criteria, channel));
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(expected), "{}", answer.text());
    };
    refused("Patient?colour=blue", socket, "Subscription.criteria");
    refused("Patient?birthdate=xx", socket, "Subscription.criteria");
    refused("no criteria", socket, "Subscription.criteria");
    refused(
        "Patient",
        r#"{"type":"email","endpoint":"mailto:a@example.org"}"#,
        "rest-hook",
    );
    refused("Patient", &hook("http://192.0.2.1/x", "empty", ""), "https");
    refused(
        "Patient",
        &hook("https://a:b@example.org/x", "empty", ""),
        "password",
    );
    let secret = r#","extension":[{"url":"urn:stoker:StructureDefinition/signing-secret","valueString":"none"}]"#;
    refused(
        "Patient",
        &hook("https://example.org/x", "empty", secret),
        "live.secret",
    );
    let active = subscription("x", "Patient", socket).replace("requested", "active");
    assert_eq!(ground.put("Subscription/x", &active).status, 422);

    // A topic may be posted later, so an unknown one is told by the status.
    ground.stored(
        "Subscription/t",
        &subscription("t", "http://example.org/none", socket),
    );
    let failed = ground.until_status("t", "error");
    assert!(text(&failed, &["error"]).contains("topic"), "{failed}");
    // Nobody listens there.
    let nobody = Receiver::start().unwrap();
    nobody.answer_with(404);
    ground.stored(
        "Subscription/n",
        &subscription("n", "Patient", &hook(&nobody.url(), "empty", "")),
    );
    let failed = ground.until_status("n", "error");
    assert!(text(&failed, &["error"]).contains("404"), "{failed}");
}
