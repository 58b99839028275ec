//! HL7 v2 in whatever order: corrections, merges, decisions, messages read again, and where an element came from.

use fhir_core::json::Value;
use system_tests::mllp_client::{MllpClient, acknowledgement_code};

use super::{Ground, json, resources, text};

/// Sends messages in their order over one connection; all must be taken.
fn send(ground: &Ground, messages: &[String]) {
    let mut client = MllpClient::connect(ground.server.doors.mllp).expect("connect");
    for message in messages {
        let answer = client.send(message.as_bytes()).expect("answer");
        assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    }
}

fn msh(control: &str, kind: &str, time: &str) -> String {
    format!("MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|{time}||{kind}|{control}|P|2.5.1\r")
}

fn pid(number: &str) -> String {
    format!("PID|1||{number}^^^ITHOSP^MR||Testcase^Ada^B||19700203|F\r")
}

fn result(
    control: &str,
    time: &str,
    number: &str,
    order: &str,
    status: &str,
    value: &str,
) -> String {
    msh(control, "ORU^R01^ORU_R01", time)
        + &pid(number)
        + &format!("OBR|1||{order}^LAB|2823-3^Potassium^LN|||20260102110000+0000\r")
        + &format!("OBX|1|NM|2823-3^Potassium^LN||{value}|mmol/L|||||{status}\r")
}

fn register(control: &str, time: &str, number: &str) -> String {
    msh(control, "ADT^A04^ADT_A01", time) + &format!("EVN|A04|{time}\r") + &pid(number)
}

fn merge(control: &str, time: &str, into: &str, from: &str) -> String {
    msh(control, "ADT^A40^ADT_A39", time)
        + &format!("EVN|A40|{time}\r")
        + &pid(into)
        + &format!("MRG|{from}^^^ITHOSP^MR\r")
}

fn one(ground: &Ground, query: &str) -> Value {
    let found = resources(&ground.client().get(query).unwrap());
    let [found] = found.as_slice() else {
        panic!("{query}: {found:?}")
    };
    found.clone()
}

fn admin(ground: &Ground, method: &str, path: &str, body: &[u8]) -> Value {
    let response = ground
        .client()
        .request(
            method,
            path,
            &[("Content-Type", "x-application/hl7-v2+er7")],
            body,
        )
        .unwrap();
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    json(&response)
}

fn messages(ground: &Ground, query: &str) -> Vec<Value> {
    let page = admin(ground, "GET", &format!("/admin/messages?{query}"), b"");
    page.get("messages")
        .and_then(Value::as_array)
        .unwrap()
        .to_vec()
}

/// A preliminary, a final and a corrected result in each of their six orders, and then all of them once more.
/// Verifies: SRS-140, RC-140
#[test]
fn the_newest_result_stands_whatever_the_order() {
    let ground = Ground::start();
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for (n, order) in orders.iter().enumerate() {
        let of = |round: &str| {
            [
                ("20260102120000+0000", "P", "4.1"),
                ("20260102130000+0000", "F", "4.20"),
                ("20260102140000+0000", "C", "4.30"),
            ]
            .iter()
            .enumerate()
            .map(|(at, (time, status, value))| {
                let control = format!("order-{n}-{at}-{round}");
                result(
                    &control,
                    time,
                    &format!("ORD-{n}"),
                    &format!("F-{n}"),
                    status,
                    value,
                )
            })
            .collect::<Vec<_>>()
        };
        let first = of("a");
        send(&ground, &order.map(|at| first[at].clone()));
        let query = format!("/fhir/Observation?patient.identifier=ORD-{n}");
        let stored = one(&ground, &query);
        assert_eq!(
            text(&stored, &["valueQuantity", "value"]),
            "4.30",
            "{order:?}"
        );
        assert_eq!(text(&stored, &["status"]), "corrected", "{order:?}");
        let version = text(&stored, &["meta", "versionId"]);
        send(&ground, &of("b"));
        assert_eq!(text(&one(&ground, &query), &["meta", "versionId"]), version);
    }
    assert!(!messages(&ground, "state=superseded").is_empty());
}

/// A merge before, between and after registrations and results leads to the same.
/// Verifies: SRS-141, RC-141
#[test]
fn a_merge_leads_to_the_same_in_any_order() {
    let ground = Ground::start();
    let orders = [
        [0, 1, 2, 3, 4],
        [3, 0, 1, 2, 4],
        [0, 3, 2, 1, 4],
        [1, 2, 3, 4, 0],
        [2, 4, 3, 1, 0],
    ];
    for (n, order) in orders.iter().enumerate() {
        let (keep, lose) = (format!("KEEP-{n}"), format!("LOSE-{n}"));
        let control = |at: usize| format!("merge-{n}-{at}");
        let all = [
            register(&control(0), "20260102080000+0000", &keep),
            register(&control(1), "20260102080500+0000", &lose),
            result(
                &control(2),
                "20260102090000+0000",
                &lose,
                &format!("A-{n}"),
                "F",
                "4.1",
            ),
            merge(&control(3), "20260102100000+0000", &keep, &lose),
            result(
                &control(4),
                "20260102110000+0000",
                &lose,
                &format!("B-{n}"),
                "F",
                "4.2",
            ),
        ];
        send(&ground, &order.map(|at| all[at].clone()));
        let survivor = one(&ground, &format!("/fhir/Patient?identifier={keep}"));
        let loser = one(&ground, &format!("/fhir/Patient?identifier={lose}"));
        let (survivor_id, loser_id) = (text(&survivor, &["id"]), text(&loser, &["id"]));
        assert_eq!(text(&loser, &["active"]), "false", "{order:?}");
        let link = |patient: &Value| {
            (
                text(patient, &["link", "0", "type"]),
                text(patient, &["link", "0", "other", "reference"]),
            )
        };
        assert_eq!(
            link(&loser),
            ("replaced-by".into(), format!("Patient/{survivor_id}"))
        );
        assert_eq!(
            link(&survivor),
            ("replaces".into(), format!("Patient/{loser_id}"))
        );
        assert_eq!(
            text(&loser, &["name", "0", "family"]),
            "Testcase",
            "{order:?}"
        );
        let of = |id: &str| {
            resources(
                &ground
                    .client()
                    .get(&format!("/fhir/Observation?patient={id}"))
                    .unwrap(),
            )
        };
        assert_eq!(of(&survivor_id).len(), 2, "{order:?}");
        assert!(of(&loser_id).is_empty(), "{order:?}");

        // A correction after the merge comes under the new number and meets the result of the old one.
        let late = result(
            &control(5),
            "20260102120000+0000",
            &keep,
            &format!("A-{n}"),
            "C",
            "4.9",
        );
        send(&ground, &[late]);
        assert_eq!(of(&survivor_id).len(), 2, "{order:?}");
        // Everything once more changes nothing.
        let version = |id: &str| {
            text(
                &one(&ground, &format!("/fhir/Patient?_id={id}")),
                &["meta", "versionId"],
            )
        };
        let before = (version(&survivor_id), version(&loser_id));
        let again = all.map(|message| message.replacen("merge-", "again-", 1));
        send(&ground, &again);
        assert_eq!(
            (version(&survivor_id), version(&loser_id)),
            before,
            "{order:?}"
        );
        assert_eq!(of(&survivor_id).len(), 2, "{order:?}");
    }
}

/// Chains and circles of merges end in one survivor.
/// Verifies: SRS-141, RC-141
#[test]
fn chains_of_merges_end_in_one_record_and_circles_are_asked_about() {
    let ground = Ground::start();
    send(
        &ground,
        &[
            result("chain-1", "20260102090000+0000", "CH-A", "CH-1", "F", "4.1"),
            merge("chain-2", "20260102100000+0000", "CH-B", "CH-A"),
            merge("chain-3", "20260102110000+0000", "CH-C", "CH-B"),
            result("chain-4", "20260102120000+0000", "CH-A", "CH-2", "F", "4.2"),
        ],
    );
    let survivor = text(&one(&ground, "/fhir/Patient?identifier=CH-C"), &["id"]);
    let found = resources(
        &ground
            .client()
            .get(&format!("/fhir/Observation?patient={survivor}"))
            .unwrap(),
    );
    assert_eq!(found.len(), 2);
    send(
        &ground,
        &[merge("chain-5", "20260102130000+0000", "CH-A", "CH-C")],
    );
    let reviews = admin(&ground, "GET", "/admin/reviews", b"");
    assert_eq!(text(&reviews, &["reviews", "0", "kind"]), "merge-cycle");
}

/// Verifies: SRS-142, RC-142
#[test]
fn identifiers_of_two_patients_are_not_guessed_about() {
    let ground = Ground::start();
    let both = msh("who-3", "ADT^A08^ADT_A01", "20260102100000+0000")
        + "EVN|A08|20260102100000+0000\r"
        + "PID|1||WHO-1^^^ITHOSP^MR~WHO-2^^^OTHER^MR||Testcase^Ada^Changed||19700203|F\r";
    let other = "PID|1||WHO-2^^^OTHER^MR||Othercase^Ida||19710203|F\r";
    send(
        &ground,
        &[
            register("who-1", "20260102080000+0000", "WHO-1"),
            msh("who-2", "ADT^A04^ADT_A01", "20260102080000+0000")
                + "EVN|A04|20260102080000+0000\r"
                + other,
            both,
        ],
    );
    let first = one(&ground, "/fhir/Patient?identifier=WHO-1");
    assert_eq!(text(&first, &["meta", "versionId"]), "1");
    let parked = messages(&ground, "state=parked");
    assert_eq!(parked.len(), 1);
    assert_eq!(text(&parked[0], &["controlId"]), "who-3");
    let reviews = admin(&ground, "GET", "/admin/reviews", b"");
    let review = text(&reviews, &["reviews", "0", "id"]);
    assert_eq!(
        text(&reviews, &["reviews", "0", "kind"]),
        "identity-conflict"
    );

    let chosen = format!(
        "/admin/reviews/{review}?choose=Patient/{}",
        text(&first, &["id"])
    );
    let done = admin(&ground, "POST", &chosen, b"");
    assert_eq!(
        text(&done, &["messages", "0", "id"]),
        text(&parked[0], &["id"])
    );
    let first = one(
        &ground,
        &format!("/fhir/Patient?_id={}", text(&first, &["id"])),
    );
    assert_eq!(text(&first, &["name", "0", "given", "1"]), "Changed");
    let again = ground.client().request("POST", &chosen, &[], b"").unwrap();
    assert_eq!(again.status, 409, "{}", again.text());
}

/// Verifies: SRS-143, SRS-144, SRS-145, SRS-146, RC-143
#[test]
fn the_log_finds_shows_replays_and_traces_messages() {
    let ground = Ground::start();
    // A segment of the sender's own, which no mapping reads.
    let good = result("log-1", "20260102120000+0000", "LOG-1", "L-1", "F", "4.50")
        + "ZZZ|1|what no mapping reads\r";
    send(&ground, std::slice::from_ref(&good));
    let listed = messages(&ground, "patient=LOG-1");
    assert_eq!(listed.len(), 1);
    let id = text(&listed[0], &["id"]);
    let raw = ground
        .client()
        .get(&format!("/admin/messages/{id}/raw"))
        .unwrap();
    assert_eq!(raw.body, good.as_bytes());
    let whole = admin(&ground, "GET", &format!("/admin/messages/{id}"), b"");
    assert!(text(&whole, &["mapping"]).starts_with("hl7v2-oru"));
    assert!(text(&whole, &["resources", "0", "resource"]).starts_with("Patient/"));

    let observation = one(&ground, "/fhir/Observation?patient.identifier=LOG-1");
    let observation = text(&observation, &["id"]);
    let lineage = format!("/fhir/Observation/{observation}/$lineage?path=valueQuantity.value");
    let lineage = json(&ground.client().get(&lineage).unwrap());
    let parts = lineage.get("parameter").and_then(Value::as_array).unwrap()[0].clone();
    let part = |name: &str| {
        let parts = parts.get("part").and_then(Value::as_array).unwrap();
        let part = parts
            .iter()
            .find(|part| text(part, &["name"]) == name)
            .unwrap();
        part.get("valueString")
            .or_else(|| part.get("valueInteger"))
            .unwrap()
            .clone()
    };
    assert_eq!(part("place").as_str(), Some("OBX[1]-5[1].1"));
    assert_eq!(part("message").as_str(), Some(id.as_str()));
    let offset = |name: &str| part(name).number_text().unwrap().parse::<usize>().unwrap();
    assert_eq!(&good.as_bytes()[offset("start")..offset("end")], b"4.50");

    // Reading it again changes nothing.
    let replay = format!("/admin/messages/{id}/replay");
    admin(&ground, "POST", &replay, b"");
    admin(&ground, "POST", &replay, b"");
    let stored = one(&ground, "/fhir/Observation?patient.identifier=LOG-1");
    assert_eq!(text(&stored, &["meta", "versionId"]), "1");
    let provenance = "/fhir/Provenance?target=Observation/".to_owned() + &observation;
    assert_eq!(
        text(&one(&ground, &provenance), &["meta", "versionId"]),
        "1"
    );

    // What would come of a correction, and then the correction.
    let better = good.replace("|4.50|", "|4.60|");
    let tried = admin(
        &ground,
        "POST",
        "/admin/preview?feed=mllp",
        better.as_bytes(),
    );
    let text_of = tried.to_string();
    assert!(
        text_of.contains("\"before\":4.50") && text_of.contains("\"after\":4.60"),
        "{text_of}"
    );
    let stored = one(&ground, "/fhir/Observation?patient.identifier=LOG-1");
    assert_eq!(text(&stored, &["valueQuantity", "value"]), "4.50");
    admin(&ground, "POST", &replay, better.as_bytes());
    let stored = one(&ground, "/fhir/Observation?patient.identifier=LOG-1");
    assert_eq!(text(&stored, &["valueQuantity", "value"]), "4.60");
    let whole = admin(&ground, "GET", &format!("/admin/messages/{id}"), b"");
    assert_eq!(text(&whole, &["state"]), "replayed");

    let bundle = admin(&ground, "POST", "/fhir/$convert?feed=mllp", good.as_bytes());
    assert_eq!(text(&bundle, &["resourceType"]), "Bundle");
    let loss = admin(&ground, "GET", "/admin/loss", b"");
    assert_eq!(text(&loss, &["loss", "0", "feed"]), "mllp");
    for (path, status) in [
        ("/admin/messages?nonsense=1", 400),
        ("/admin/messages?state=nonsense", 400),
        ("/admin/messages/999", 404),
        ("/admin/messages/x/raw", 404),
        ("/fhir/Observation/none/$lineage", 404),
    ] {
        let response = ground.client().get(path).unwrap();
        assert_eq!(response.status, status, "{path}: {}", response.text());
    }
}

/// Verifies: SRS-147, RC-144
#[test]
fn messages_in_error_are_set_aside_and_incidents_skip_no_step() {
    let ground = Ground::start();
    let mut client = MllpClient::connect(ground.server.doors.mllp).expect("connect");
    let nameless =
        msh("err-1", "ADT^A01^ADT_A01", "20260102080000+0000") + "PID|1||||Nameless^Nora\r";
    let answer = client.send(nameless.as_bytes()).expect("answer");
    assert_eq!(acknowledgement_code(&answer), "AE");
    let id = text(&messages(&ground, "state=error")[0], &["id"]);
    let done = admin(&ground, "POST", "/admin/messages/replay?state=error", b"");
    assert_eq!(text(&done, &["messages", "0", "state"]), "error");
    let done = admin(
        &ground,
        "POST",
        &format!("/admin/messages/{id}/discard?reason=test"),
        b"",
    );
    assert_eq!(text(&done, &["messages", "0", "state"]), "discarded");

    let opened = admin(
        &ground,
        "POST",
        &format!("/admin/incidents?title=t&text=x&messages={id}"),
        b"",
    );
    let incident = format!("/admin/incidents/{}", text(&opened, &["id"]));
    let skip = ground
        .client()
        .request("POST", &format!("{incident}?state=closed&text=x"), &[], b"")
        .unwrap();
    assert_eq!(skip.status, 409, "{}", skip.text());
    for state in [
        "investigation",
        "action",
        "verification",
        "investigation",
        "action",
        "verification",
        "closed",
    ] {
        let stepped = admin(
            &ground,
            "POST",
            &format!("{incident}?state={state}&text=x"),
            b"",
        );
        assert_eq!(text(&stepped, &["state"]), state);
    }
}

/// Verifies: SRS-148, RC-145
#[test]
fn a_halted_feed_keeps_messages_until_the_error_is_settled() {
    let ground = Ground::start();
    let post = |path: &str, body: &[u8]| {
        let headers = [("Content-Type", "x-application/hl7-v2+er7")];
        let mut client = ground.client();
        client.request("POST", path, &headers, body).unwrap()
    };
    let feed = br#"{"transport":"http","mapping":{"on-error":"halt"}}"#;
    let headers = [("Content-Type", "application/json")];
    let put = ground
        .client()
        .request("PUT", "/admin/feeds/halting", &headers, feed)
        .unwrap();
    assert_eq!(put.status, 201, "{}", put.text());
    let nameless =
        msh("halt-1", "ADT^A01^ADT_A01", "20260102080000+0000") + "PID|1||||Nameless^Nora\r";
    assert!(
        post("/hl7/halting", nameless.as_bytes())
            .text()
            .contains("MSA|AE")
    );
    let later = register("halt-2", "20260102090000+0000", "HALT-1");
    assert!(
        post("/hl7/halting", later.as_bytes())
            .text()
            .contains("MSA|AA")
    );
    let query = "/fhir/Patient?identifier=HALT-1";
    assert!(resources(&ground.client().get(query).unwrap()).is_empty());
    let waiting = messages(&ground, "state=received");
    assert_eq!(text(&waiting[0], &["controlId"]), "halt-2");

    let id = text(&messages(&ground, "state=error")[0], &["id"]);
    let path = format!("/admin/messages/{id}/discard?reason=test");
    let done = admin(&ground, "POST", &path, b"");
    assert_eq!(
        text(&done, &["messages", "1", "id"]),
        text(&waiting[0], &["id"])
    );
    assert_eq!(resources(&ground.client().get(query).unwrap()).len(), 1);
}
