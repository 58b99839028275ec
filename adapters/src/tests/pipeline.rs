//! From bytes to what the gateway gets: what is processed, what is refused and why.

use super::support::{adt, oru, pipeline, surroundings, with_message};
use crate::pipeline::{Answer, MEDIA_TYPE};
use crate::port::{AckCode, Disposition, Intake, IntakeError, Outcome, Receipt};

fn read(raw: &[u8]) -> Intake {
    pipeline().read(raw.to_vec().into()).intake
}

fn refusal(intake: &Intake) -> (AckCode, &str) {
    match &intake.disposition {
        Disposition::Refuse { code, reason } => (*code, reason.code.as_ref()),
        Disposition::Process => panic!("was to be refused"),
    }
}

#[test]
fn a_result_becomes_patient_and_observation() {
    let raw = oru("M1", "4711", "182.50");
    let reading = pipeline().read(raw.clone().into());
    let intake = &reading.intake;
    assert_eq!(intake.disposition, Disposition::Process);
    assert_eq!(intake.raw, raw);
    assert_eq!(intake.media_type, MEDIA_TYPE);
    assert_eq!(intake.message_type, "ORU^R01^ORU_R01");
    assert_eq!(
        (
            intake.dedupe.sender.as_str(),
            intake.dedupe.control_id.as_str()
        ),
        ("LAB|HILL", "M1")
    );
    assert!(
        intake
            .mapping
            .as_deref()
            .is_some_and(|m| m.starts_with("hl7v2-"))
    );
    let types: Vec<_> = intake
        .resources
        .iter()
        .filter_map(|r| r.value.get("resourceType"))
        .collect();
    // Person, order, result, report.
    assert_eq!(types.len(), 4);
    assert_eq!(reading.keys.len(), 4);
}

/// Digits of a value arrive as sent.
///
/// Verifies: SRS-001, RC-001
#[test]
fn digits_survive() {
    for digits in [
        "2.50",
        "0.1",
        "1000000000000000000000000000.0000",
        "-0.00",
        "182",
    ] {
        let intake = read(&oru("M1", "4711", digits));
        let text = intake
            .resources
            .iter()
            .map(|r| format!("{:?}", r.value))
            .collect::<String>();
        assert!(
            text.contains(&format!("\"{digits}\"")) || text.contains(digits),
            "{digits}: {text}"
        );
    }
}

/// Verifies: SRS-034
#[test]
fn the_same_message_gives_the_same_resources() {
    let text = |intake: Intake| {
        intake
            .resources
            .iter()
            .map(|r| format!("{:?}", r.value))
            .collect::<String>()
    };
    assert_eq!(
        text(read(&oru("M1", "4711", "5"))),
        text(read(&oru("M1", "4711", "5")))
    );
}

/// Refused messages keep their raw bytes, and say why.
///
/// Verifies: SRS-015, RC-006, RC-012
#[test]
fn refusals() {
    use AckCode::{Error, Reject};
    let base = String::from_utf8(adt("M1", "4711")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        base.replace(from, to).into_bytes()
    };
    let cases = [
        (b"".to_vec(), Error, "no-msh"),
        (b"hello".to_vec(), Error, "no-msh"),
        (with("MSH|", "MSA|"), Error, "no-msh"),
        (with("|M1|", "||"), Error, "control-id-missing"),
        (with("|M1|", "|\"\"|"), Error, "control-id-missing"),
        (with("ADT^A01^ADT_A01", ""), Reject, "message-type-missing"),
        (
            with("ADT^A01^ADT_A01", "ADT^A99"),
            Reject,
            "event-unsupported",
        ),
        (
            with("ADT^A01^ADT_A01", "ZZX^Z11"),
            Reject,
            "message-type-unsupported",
        ),
        (
            with("|P|2.5.1", "|D|2.5.1"),
            Reject,
            "processing-id-unsupported",
        ),
        (with("|P|2.5.1", "|P|3.0"), Reject, "version-unsupported"),
        (with("|P|2.5.1", "|P|2.5.1||POINTER"), Error, "fragment"),
        (with("|I\r", "|I\rand more|\r"), Error, "line-is-no-segment"),
        (with("4711^^^HILL&2.999.1&ISO^MR", ""), Error, "no-identity"),
        (
            [base.as_bytes(), base.as_bytes()].concat(),
            Error,
            "several-messages",
        ),
    ];
    for (raw, code, reason) in cases {
        let intake = read(&raw);
        assert_eq!(refusal(&intake), (code, reason));
        assert_eq!(intake.raw, raw);
        assert!(intake.resources.is_empty());
        assert!(
            intake.issues.iter().any(|i| i.code == reason),
            "the reason is among the issues"
        );
    }
}

#[test]
fn tolerated_faults_are_among_the_issues() {
    let base = String::from_utf8(adt("M1", "4711")).unwrap();
    for (raw, issue) in [
        (base.replace("|P|2.5.1", "||2.5.1"), "processing-id-missing"),
        (base.replace("|P|2.5.1", "|P"), "version-missing"),
        (
            base.replace("|20240310120000+0100||ADT", "|yesterday||ADT"),
            "message-time",
        ),
        (base.replace('\r', "\n"), "lf-ends-segments"),
        (base.replace("Beispiel", "Bei\\spiel"), "escape-unpaired"),
    ] {
        let intake = read(raw.as_bytes());
        assert_eq!(intake.disposition, Disposition::Process, "{issue}");
        assert!(intake.issues.iter().any(|i| i.code == issue), "{issue}");
    }
}

/// What no rule reads is named.
///
/// Verifies: SRS-004, RC-012
#[test]
fn the_loss_report_names_unread_places() {
    let mut raw = adt("M1", "4711");
    raw.extend_from_slice(b"ZPI|1|something local\r");
    let intake = read(&raw);
    let places: Vec<String> = intake.unread.iter().map(ToString::to_string).collect();
    assert!(
        places.iter().any(|p| p.starts_with("ZPI[1]-2")),
        "{places:?}"
    );
    assert_eq!(intake.unread_count, intake.unread.len());
}

/// No issue carries what the message says, only where.
///
/// Verifies: SRS-011, RC-011
#[test]
fn issues_hold_no_patient_data() {
    let secrets = ["Geheim", "4711", "19711203"];
    let base = String::from_utf8(adt("M1", "4711"))
        .unwrap()
        .replace("Beispiel", "Geheim\\x");
    for raw in [
        base.clone(),
        base.replace('\r', "\n"),
        base.replace("|I\r", "|I\rGeheim|4711\r"),
        base.replace("Anna", "Ann\u{7}a"),
        base.replace("19711203", "1971-Geheim"),
        base.replace("|P|", "|Geheim|"),
        base.replace("2.5.1", "Geheim"),
    ] {
        let reading = pipeline().read(raw.into_bytes().into());
        for issue in &reading.intake.issues {
            let text = format!("{issue}");
            assert!(!secrets.iter().any(|s| text.contains(s)), "{text}");
        }
    }
}

fn answer(raw: &[u8], result: Result<Receipt, IntakeError>) -> Answer {
    let surroundings = surroundings();
    pipeline()
        .read(raw.to_vec().into())
        .envelope
        .answer(&result, &mut || surroundings.stamp())
}

fn receipt(outcome: Outcome) -> Result<Receipt, IntakeError> {
    Ok(Receipt {
        message_id: "m1".into(),
        repeat: false,
        outcome,
    })
}

#[test]
fn answers_follow_the_gateway() {
    let msa = |answer: &Answer| {
        let bytes = match answer {
            Answer::Kept { acks, .. } => acks.first().cloned().unwrap(),
            Answer::NotStored(ack) => ack.clone().unwrap(),
        };
        with_message(&bytes, |m, _, _| {
            m.text_at(&m.segments.get(1).unwrap().span).to_owned()
        })
        .unwrap()
    };
    let raw = adt("M1", "4711");
    let accepted = answer(&raw, receipt(Outcome::Processed));
    assert_eq!(msa(&accepted), "MSA|AA|M1");
    let invalid = answer(&raw, Err(IntakeError::Invalid(Vec::new())));
    assert_eq!(msa(&invalid), "MSA|AE|M1");
    for error in [
        IntakeError::Overloaded,
        IntakeError::Unavailable("why".into()),
    ] {
        let not_stored = answer(&raw, Err(error));
        assert!(matches!(not_stored, Answer::NotStored(_)));
        assert_eq!(msa(&not_stored), "MSA|AR|M1");
    }
}

#[test]
fn an_acknowledgement_is_kept_and_not_answered() {
    let raw = b"MSH|^~\\&|A|B|C|D|2024||ACK^A01|9|P|2.5\rMSA|AA|1\r";
    let answer = answer(raw, receipt(Outcome::Processed));
    assert!(matches!(answer, Answer::Kept { acks, .. } if acks.is_empty()));
}

/// A buffer that ends inside the last value: `140` would be stored as `14`.
///
/// Verifies: SRS-325, RC-325
#[test]
fn a_message_that_ends_inside_its_last_result_is_refused() {
    let head = "MSH|^~\\&|LAB|HILL|||20240301120000+0100||ORU^R01^ORU_R01|M1|P|2.5.1\r\
         PID|1||4711^^^HILL^MR||Example^Anna\r\
         OBR|1||F1^LAB|24323-8^Panel^LN\r\
         OBX|1|NM|2345-7^Glucose^LN||182|mg/dL|||||F\r";
    let stateless = head.replace("|||||F\r", "\r");
    for (message, is_cut) in [
        (format!("{head}OBX|2|NM|2951-2^Sodium^LN||14"), true),
        (
            format!("{head}OBX|2|NM|2951-2^Sodium^LN||140|mmol/L|||||F"),
            false,
        ),
        (format!("{head}OBX|2|NM|2951-2^Sodium^LN||14\r"), false),
        (format!("{head}NTE|1||a note"), false),
        (format!("{stateless}OBX|2|NM|2951-2^Sodium^LN||14"), false),
    ] {
        let intake = read(message.as_bytes());
        if is_cut {
            assert_eq!(refusal(&intake), (AckCode::Error, "message-cut"));
        } else {
            assert_eq!(intake.disposition, Disposition::Process, "{message}");
        }
    }
}
