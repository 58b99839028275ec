//! HL7 v2 scenarios as data: messages, the orders they may arrive in, and one final state for all of them.
//!
//! Each order meets a server of its own. The states are compared byte for byte, the order of members, `meta.versionId` and
//! `meta.lastUpdated` aside; everything once more must then change nothing. Provenance and the audit trail tell what happened, so they differ.

use fhir_core::json::Value;
use system_tests::mllp_client::{MllpClient, acknowledgement_code};

use super::{Ground, resources};

/// What a message can make here.
const TYPES: [&str; 9] = [
    "Patient",
    "Encounter",
    "Location",
    "Practitioner",
    "ServiceRequest",
    "Observation",
    "DiagnosticReport",
    "Account",
    "RelatedPerson",
];

fn send(ground: &Ground, messages: &[&String]) {
    let mut client = MllpClient::connect(ground.server.doors.mllp).expect("connect");
    for message in messages {
        let answer = client.send(message.as_bytes()).expect("answer");
        assert_eq!(acknowledgement_code(&answer), "AA", "{answer}");
    }
}

/// The members of objects in the order of their names: JSON's own order of members says nothing.
fn canonical(value: &Value) -> String {
    if let Some(map) = value.as_object() {
        let mut members: Vec<String> = map
            .iter()
            .map(|(name, member)| format!("{name:?}:{}", canonical(member)))
            .collect();
        members.sort();
        return format!("{{{}}}", members.join(","));
    }
    if let Some(items) = value.as_array() {
        let items: Vec<String> = items.iter().map(canonical).collect();
        return format!("[{}]", items.join(","));
    }
    value.to_string()
}

/// Everything of those types, one line for each resource, in the order of their ids.
fn state(ground: &Ground) -> String {
    let mut lines = Vec::new();
    for name in TYPES {
        let response = ground.client().get(&format!("/fhir/{name}?_count=200"));
        for mut resource in resources(&response.expect("answer")) {
            if let Some(meta) = resource
                .as_object_mut()
                .and_then(|map| map.get_mut("meta"))
                .and_then(Value::as_object_mut)
            {
                meta.remove("versionId");
                meta.remove("lastUpdated");
            }
            lines.push(canonical(&resource));
        }
    }
    lines.sort();
    lines.join("\n")
}

fn header(kind: &str, control: usize, time: &str) -> String {
    format!("MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|{time}||{kind}|S{control}|P|2.5.1\r")
}

fn pid(number: &str) -> String {
    format!("PID|1||{number}^^^ITHOSP^MR||Testcase^Ada^B||19700203|F\r")
}

/// A state of one result of one order.
fn result(control: usize, number: &str, (time, status, value): (&str, &str, &str)) -> String {
    header("ORU^R01^ORU_R01", control, time)
        + &pid(number)
        + &format!(
            "OBR|1||F1^LAB|2823-3^Potassium^LN|||20260102110000+0000|||||||||||||||{time}|||{status}\r"
        )
        + &format!("OBX|1|NM|2823-3^Potassium^LN||{value}|mmol/L|||||{status}\r")
}

fn register(control: usize, time: &str, number: &str) -> String {
    header("ADT^A04^ADT_A01", control, time) + &format!("EVN|A04|{time}\r") + &pid(number)
}

fn merge(control: usize, time: &str) -> String {
    header("ADT^A40^ADT_A39", control, time)
        + &format!("EVN|A40|{time}\r")
        + &pid("KEEP")
        + "MRG|LOSE^^^ITHOSP^MR\r"
}

/// An event of a visit. `rest` is what stands behind PV1-19 up to the discharge.
fn visit(control: usize, event: &str, time: &str, place: &str, rest: &str) -> String {
    let structure = match event {
        "A02" => "ADT_A02",
        "A03" => "ADT_A03",
        "A11" => "ADT_A09",
        _ => "ADT_A01",
    };
    header(&format!("ADT^{event}^{structure}"), control, time)
        + &format!("EVN|{event}|{time}\r")
        + &pid("VISIT")
        + &format!("PV1|1|I|{place}||||1234^Doctor^Dora||||||||||||V1^^^ITHOSP^VN{rest}\r")
}

/// Messages and the orders they may come in.
struct Scenario {
    name: &'static str,
    messages: Vec<String>,
    orders: Vec<Vec<usize>>,
    /// What must stand in the final state.
    holds: &'static [&'static str],
}

fn permutations(of: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..of {
        let longer = all.iter().flat_map(|order: &Vec<usize>| {
            let free = (0..of).filter(|at| !order.contains(at));
            free.map(|at| [order.as_slice(), &[at]].concat())
                .collect::<Vec<_>>()
        });
        all = longer.collect();
    }
    all
}

fn scenarios() -> Vec<Scenario> {
    let discharge = format!(
        "{}|01{}20260103080000+0000|20260105100000+0000",
        "|".repeat(16),
        "|".repeat(8)
    );
    vec![
        Scenario {
            name: "a preliminary, a final and a corrected result",
            messages: [
                ("20260102120000+0000", "P", "4.1"),
                ("20260102130000+0000", "F", "4.20"),
                ("20260102140000+0000", "C", "4.30"),
            ]
            .into_iter()
            .enumerate()
            .map(|(at, told)| result(at, "RESULT", told))
            .collect(),
            orders: permutations(3),
            holds: &["\"corrected\"", "4.30"],
        },
        Scenario {
            name: "a merge before, between and after registrations and results",
            messages: vec![
                register(0, "20260102080000+0000", "KEEP"),
                register(1, "20260102080500+0000", "LOSE"),
                result(2, "LOSE", ("20260102090000+0000", "F", "4.1")),
                merge(3, "20260102100000+0000"),
            ],
            orders: permutations(4),
            holds: &["replaced-by", "\"replaces\"", "4.1"],
        },
        Scenario {
            name: "a visit from admission to the admission's cancellation",
            messages: vec![
                visit(0, "A01", "20260103080000+0000", "WARD1^1^1^ITHOSP", ""),
                visit(1, "A02", "20260104080000+0000", "WARD2^2^1^ITHOSP", ""),
                visit(2, "A08", "20260104090000+0000", "WARD2^2^1^ITHOSP", ""),
                visit(
                    3,
                    "A03",
                    "20260105100000+0000",
                    "WARD2^2^1^ITHOSP",
                    &discharge,
                ),
                visit(4, "A13", "20260105110000+0000", "WARD2^2^1^ITHOSP", ""),
                visit(5, "A11", "20260105120000+0000", "WARD2^2^1^ITHOSP", ""),
            ],
            // An update may come late: what is newer by the source's time stays.
            orders: vec![
                vec![0, 1, 2, 3, 4, 5],
                vec![0, 1, 3, 2, 4, 5],
                vec![0, 1, 3, 4, 2, 5],
                vec![0, 1, 3, 4, 5, 2],
            ],
            holds: &["WARD1", "WARD2"],
        },
    ]
}

/// Verifies: SRS-321, RC-321
#[test]
fn every_order_of_arrival_ends_in_the_same_state_and_so_does_a_second_delivery() {
    for scenario in scenarios() {
        let mut first: Option<String> = None;
        for order in &scenario.orders {
            let ground = Ground::start();
            let messages: Vec<&String> = order.iter().map(|at| &scenario.messages[*at]).collect();
            send(&ground, &messages);
            let after = state(&ground);
            for expected in scenario.holds {
                assert!(
                    after.contains(expected),
                    "{}: {expected} in {after}",
                    scenario.name
                );
            }
            let expected = first.get_or_insert_with(|| after.clone());
            assert_eq!(&after, expected, "{}: {order:?}", scenario.name);
            // As a sender that lost its notes would: all of it again, and again under new numbers.
            send(&ground, &messages);
            assert_eq!(
                &state(&ground),
                expected,
                "{}: {order:?} twice",
                scenario.name
            );
            let renumbered: Vec<String> =
                messages.iter().map(|m| m.replacen("|S", "|T", 1)).collect();
            send(&ground, &renumbered.iter().collect::<Vec<_>>());
            assert_eq!(
                &state(&ground),
                expected,
                "{}: {order:?} renumbered",
                scenario.name
            );
        }
    }
}
