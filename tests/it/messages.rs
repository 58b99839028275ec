//! HL7 v2 in, FHIR out.

use system_tests::mllp_client::{MllpClient, acknowledgement_code};

use super::{Ground, resources, text};

fn send(ground: &Ground, segments: &[&str]) -> String {
    let message = segments.join("\r") + "\r";
    MllpClient::connect(ground.server.doors.mllp)
        .expect("connect")
        .send(message.as_bytes())
        .expect("answer")
}

/// An admission, then a result: both are found the ways a client would look.
/// Verifies: SRS-006, SRS-017, RC-002
#[test]
fn an_admission_and_a_result_are_found_at_once() {
    let ground = Ground::start();
    let admission = send(
        &ground,
        &[
            "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000+0100||ADT^A01^ADT_A01|it-adm-1|P|2.5.1",
            "EVN|A01|20260102080000+0100",
            "PID|1||IT-1^^^ITHOSP^MR||Testcase^Ada^B||19700203|F",
            "PV1|1|I|WARD^1^1",
        ],
    );
    assert_eq!(acknowledgement_code(&admission), "AA", "{admission}");
    let result = send(
        &ground,
        &[
            "MSH|^~\\&|LAB|ITHOSP|STOKER|TEST|20260102120000+0100||ORU^R01^ORU_R01|it-res-1|P|2.5.1",
            "PID|1||IT-1^^^ITHOSP^MR||Testcase^Ada^B||19700203|F",
            "OBR|1||ORDER-IT-1^LAB|2823-3^Potassium^LN|||20260102110000+0100",
            "OBX|1|NM|2823-3^Potassium^LN||4.50|mmol/L|3.5-5.1|N|||F|||20260102110000+0100",
            "OBX|2|NM|2951-2^Sodium^LN||140|mmol/L|135-145|N|||F|||20260102110000+0100",
        ],
    );
    assert_eq!(acknowledgement_code(&result), "AA", "{result}");

    let mut client = ground.client();
    let patients = resources(&client.get("/fhir/Patient?identifier=IT-1").unwrap());
    let [patient] = patients.as_slice() else {
        panic!("{patients:?}")
    };
    assert_eq!(text(patient, &["name", "0", "family"]), "Testcase");
    assert_eq!(text(patient, &["birthDate"]), "1970-02-03");
    let id = text(patient, &["id"]);

    let by_chain = resources(
        &client
            .get("/fhir/Observation?patient.identifier=IT-1")
            .unwrap(),
    );
    assert_eq!(by_chain.len(), 2);
    let query = format!(
        "/fhir/Observation?patient={id}&code=http://loinc.org%7C2823-3&date=ge2026-01-02&_sort=-date"
    );
    let potassium = resources(&client.get(&query).unwrap());
    let [potassium] = potassium.as_slice() else {
        panic!("{potassium:?}")
    };
    assert_eq!(text(potassium, &["valueQuantity", "value"]), "4.50");
    assert_eq!(
        text(potassium, &["effectiveDateTime"]),
        "2026-01-02T11:00:00+01:00"
    );
    assert_eq!(
        text(potassium, &["subject", "reference"]),
        format!("Patient/{id}")
    );
    assert_eq!(text(potassium, &["status"]), "final");

    let other_authority = "/fhir/Patient?identifier=urn:id:ELSEWHERE%7CIT-1";
    assert!(resources(&client.get(other_authority).unwrap()).is_empty());
    let provenance = format!("/fhir/Provenance?target=Patient/{id}");
    assert_eq!(resources(&client.get(&provenance).unwrap()).len(), 2);
}

/// Verifies: SRS-003, RC-007
#[test]
fn a_repeated_message_changes_nothing() {
    let ground = Ground::start();
    let message = [
        "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000||ADT^A08^ADT_A01|it-rep-1|P|2.5.1",
        "EVN|A08|20260102080000",
        "PID|1||IT-2^^^ITHOSP^MR||Repeated^Ida||19700203|F",
    ];
    assert_eq!(acknowledgement_code(&send(&ground, &message)), "AA");
    assert_eq!(acknowledgement_code(&send(&ground, &message)), "AA");
    let patients = resources(
        &ground
            .client()
            .get("/fhir/Patient?identifier=IT-2")
            .unwrap(),
    );
    let [patient] = patients.as_slice() else {
        panic!("{patients:?}")
    };
    assert_eq!(text(patient, &["meta", "versionId"]), "1");
}

/// Verifies: SRS-015, RC-006, RC-012
#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let ground = Ground::start();
    for (name, segments, code, place) in [
        (
            "no patient id",
            vec![
                "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000||ADT^A01^ADT_A01|it-bad-1|P|2.5.1",
                "PID|1||||Nameless^Nora||19700203|F",
            ],
            "AE",
            "PID",
        ),
        (
            "no such event",
            vec![
                "MSH|^~\\&|ADM|ITHOSP|STOKER|TEST|20260102080000||ADT^A99^ADT_A01|it-bad-2|P|2.5.1",
            ],
            "AR",
            "MSH",
        ),
    ] {
        let answer = send(&ground, &segments);
        assert_eq!(acknowledgement_code(&answer), code, "{name}: {answer}");
        let error = answer
            .split('\r')
            .find(|s| s.starts_with("ERR|"))
            .unwrap_or("");
        assert!(error.contains(place), "{name}: {answer}");
    }
}
