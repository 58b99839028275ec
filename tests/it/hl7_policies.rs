//! What a feed's settings decide: messages that name nobody, alerts, the message itself as a resource.

use std::net::SocketAddr;

use fhir_core::json::Value;
use system_tests::http_client::Client;
use system_tests::mllp_client::{MllpClient, acknowledgement_code};

use super::{Ground, json, resources, text};

fn feed(client: &mut Client, settings: &str) -> SocketAddr {
    let headers = [("content-type", "application/json")];
    let answer = client.request("PUT", "/admin/feeds/policy", &headers, settings.as_bytes());
    let answer = answer.expect("answer");
    assert!(answer.status < 300, "{}", answer.text());
    text(&json(&answer), &["listens"]).parse().expect("address")
}

fn message(control: &str, identifier: &str) -> String {
    format!(
        "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000+0000||ADT^A04^ADT_A01|{control}|P|2.5.1\r\
         EVN|A04|20260102080000+0000\r\
         PID|1||{identifier}||Testcase^Ada||19700203|F\r"
    )
}

fn send(address: SocketAddr, message: &str) -> String {
    let mut client = MllpClient::connect(address).expect("connect");
    let answer = client.send(message.as_bytes()).expect("answer");
    acknowledgement_code(&answer).to_owned()
}

fn count(client: &mut Client, path: &str) -> usize {
    resources(&client.get(path).expect("answer")).len()
}

/// Verifies: SRS-326, RC-326
#[test]
fn a_message_that_names_nobody_waits_for_a_person_where_the_feed_asks() {
    let ground = Ground::start();
    let mut client = ground.client();
    let listens = feed(&mut client, r#"{"address":"127.0.0.1:0"}"#);
    assert_eq!(send(listens, &message("nobody-1", "")), "AE");
    let listens = feed(
        &mut client,
        r#"{"address":"127.0.0.1:0","mapping":{"unidentified":"park"}}"#,
    );
    assert_eq!(send(listens, &message("nobody-2", "")), "AA");
    assert_eq!(send(listens, &message("nobody-2", "")), "AA", "a repeat");
    assert_eq!(count(&mut client, "/fhir/Patient"), 0);
    let waiting = json(&client.get("/admin/messages?state=parked").expect("answer"));
    let waiting = waiting
        .get("messages")
        .and_then(Value::as_array)
        .expect("list");
    assert_eq!(waiting.len(), 1);
    let reviews = json(&client.get("/admin/reviews").expect("answer"));
    assert_eq!(text(&reviews, &["reviews", "0", "kind"]), "unidentified");
    let listed = json(&client.get("/admin/feeds/policy").expect("answer"));
    assert_eq!(text(&listed, &["waiting"]), "1");

    let path = format!("/admin/messages/{}/replay", text(&waiting[0], &["id"]));
    let headers = [("content-type", "x-application/hl7-v2+er7")];
    let mended = message("nobody-2", "FOUND^^^ITHOSP^MR");
    let answer = client.request("POST", &path, &headers, mended.as_bytes());
    let answer = answer.expect("answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(count(&mut client, "/fhir/Patient?identifier=FOUND"), 1);

    let wrong = r#"{"address":"127.0.0.1:0","mapping":{"unidentified":"guess"}}"#;
    let headers = [("content-type", "application/json")];
    let answer = client.request("PUT", "/admin/feeds/policy", &headers, wrong.as_bytes());
    let answer = answer.expect("answer");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("unidentified"), "{}", answer.text());
}

/// Verifies: SRS-322, RC-322
#[test]
fn a_feed_that_errs_says_so() {
    let ground = Ground::start();
    let mut client = ground.client();
    let settings =
        r#"{"address":"127.0.0.1:0","alert_error_percent":50,"alert_silence_seconds":86400}"#;
    let listens = feed(&mut client, settings);
    let alerts = |client: &mut Client| {
        let feed = json(&client.get("/admin/feeds/policy").expect("answer"));
        let alerts = feed.get("alerts").and_then(Value::as_array);
        alerts
            .expect("alerts")
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(alerts(&mut client).is_empty());
    assert_eq!(send(listens, &message("alert-1", "A^^^ITHOSP^MR")), "AA");
    assert!(alerts(&mut client).is_empty());
    assert_eq!(send(listens, &message("alert-2", "")), "AE");
    let found = alerts(&mut client);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("errors: 50 %"), "{found:?}");
    let metrics = client.get("/metrics").expect("answer").text();
    for line in [
        "stoker_feed_alert{feed=\"policy\",alert=\"errors\"} 1",
        "stoker_feed_alert{feed=\"policy\",alert=\"silence\"} 0",
        "stoker_feed_waiting{feed=\"policy\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

/// Verifies: SRS-320, RC-320
#[test]
fn a_feed_can_have_the_message_itself_as_a_resource() {
    let ground = Ground::start();
    let mut client = ground.client();
    let listens = feed(
        &mut client,
        r#"{"address":"127.0.0.1:0","mapping":{"message-header":"keep"}}"#,
    );
    assert_eq!(send(listens, &message("header-1", "H^^^ITHOSP^MR")), "AA");
    let found = resources(&client.get("/fhir/MessageHeader").expect("answer"));
    assert_eq!(found.len(), 1);
    assert_eq!(text(&found[0], &["eventCoding", "code"]), "A04");
    assert_eq!(text(&found[0], &["source", "name"]), "ADM");
    assert_eq!(send(listens, &message("header-1", "H^^^ITHOSP^MR")), "AA");
    assert_eq!(count(&mut client, "/fhir/MessageHeader"), 1);
}

/// Verifies: SRS-320, RC-320
#[test]
fn guarantor_roles_and_the_second_insurance_segment_arrive() {
    let ground = Ground::start();
    let mut client = ground.client();
    let in2 = format!("IN2|1|||||MC123||MA456{}MB789\r", "|".repeat(53));
    let whole = "MSH|^~\\&|ADT|NORTH|||20240301120000+0100||ADT^A04^ADT_A01|M3|P|2.5.1\r\
         EVN||20240301115900+0100\r\
         PID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna|||||2106-3^White^HL70005||||||||ACC7^^^NORTH&1.2.3&ISO^AN\r\
         ROL|1|AD|PP^Primary Care Provider^HL70443|D9^Family^Fred\r\
         PV1|1|O|||||||||||||||||V1^^^NORTH&1.2.3&ISO^VN\r\
         ROL|2|AD|AT^Attending Provider^HL70443|D8^Other^Olga\r\
         GT1|1||Guarantor^Ben||1 Test St^^Sampletown|555-0100||19500101|M||FTH^Father^HL70063\r\
         IN1|1|P1^Plan One|C1^^^PAYER|Payer One\r"
        .to_owned()
        + &in2;
    assert_eq!(send(ground.server.doors.mllp, &whole), "AA");
    let mut one = |path: &str| {
        let found = resources(&client.get(path).expect("answer"));
        assert_eq!(found.len(), 1, "{path}");
        found[0].to_string()
    };
    let guarantor = one("/fhir/RelatedPerson?name=Guarantor");
    assert!(
        guarantor.contains("\"GUAR\"") && guarantor.contains("\"FTH\""),
        "{guarantor}"
    );
    let account = one("/fhir/Account");
    assert!(
        account.contains("\"guarantor\":[{\"party\":{\"reference\":\"RelatedPerson/"),
        "{account}"
    );
    let patient = one("/fhir/Patient");
    assert!(
        patient.contains("\"generalPractitioner\"") && patient.contains("Family"),
        "{patient}"
    );
    assert!(patient.contains("us-core-race"), "{patient}");
    let visit = one("/fhir/Encounter");
    assert!(
        visit.contains("Attending Provider") && !visit.contains("Family"),
        "{visit}"
    );
    let coverage = one("/fhir/Coverage");
    for number in ["MC123", "MA456", "MB789"] {
        assert!(coverage.contains(number), "{number}: {coverage}");
    }
}
