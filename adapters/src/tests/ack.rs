//! Acknowledgements. HL7 v2 chapter 2, "ACK", "MSA", "ERR"; tables 0008 and 0357.

use std::time::{Duration, SystemTime};

use mappings::At;

use crate::hl7v2::ack::{Level, Reply};
use crate::hl7v2::charset::Charset;
use crate::hl7v2::datetime::Dtm;
use crate::hl7v2::header::Header;
use crate::issue::{Issue, Severity};
use crate::port::AckCode;

fn answer(msh: &str, code: AckCode, errors: &[Issue]) -> String {
    let header = Header::probe(msh.as_bytes());
    let now = Dtm::of(SystemTime::UNIX_EPOCH + Duration::from_secs(1_710_072_000));
    let reply = Reply {
        header: header.as_ref(),
        charset: Charset::UTF_8,
        code,
        level: Level::Original,
        errors,
        now: &now,
        control_id: "S1",
    };
    reply.text()
}

fn missing() -> Issue {
    let text = "MSH-10 is empty; give each | message & an id";
    Issue::new(Severity::Error, "control-id-missing", text).at_segment(
        "MSH",
        1,
        At::new(10, 0, 0, 0),
    )
}

#[test]
fn accepted() {
    let cases = [
        (
            "MSH|^~\\&|LAB|HILL|STOKER|HUB|2024||ORU^R01^ORU_R01|M7|T|2.5.1",
            "MSH|^~\\&|STOKER|HUB|LAB|HILL|20240310120000+0000||ACK^R01^ACK|S1|T|2.5.1\rMSA|AA|M7\r",
        ),
        // The event came into MSH-9 of an acknowledgement with v2.4.
        (
            "MSH|^~\\&|LAB||STOKER||2024||ORU^R01|M7|P|2.3.1",
            "MSH|^~\\&|STOKER||LAB||20240310120000+0000||ACK|S1|P|2.3.1\rMSA|AA|M7\r",
        ),
        (
            "MSH!@#$%!LAB!A@1@ISO!STOKER!HUB!2024!!ADT@A08@ADT_A01!M7!P@T!2.6@DEU!!!!!!8859/1",
            "MSH!@#$%!STOKER!HUB!LAB!A@1@ISO!20240310120000+0000!!ACK@A08@ACK!S1!P@T!2.6@DEU!!!!!!8859/1\rMSA!AA!M7\r",
        ),
        (
            "MSH|^~\\&#|LAB",
            "MSH|^~\\&#|||LAB||20240310120000+0000||ACK|S1|P\rMSA|AA\r",
        ),
        (
            "nothing to read",
            "MSH|^~\\&|||||20240310120000+0000||ACK|S1|P|2.5.1\rMSA|AA\r",
        ),
    ];
    for (msh, expected) in cases {
        assert_eq!(answer(msh, AckCode::Accept, &[missing()]), expected);
    }
}

#[test]
fn errors_name_place_code_and_text() {
    let text = answer(
        "MSH|^~\\&|LAB|HILL|STOKER|HUB|2024||ORU^R01^ORU_R01||P|2.5.1",
        AckCode::Error,
        &[missing()],
    );
    let lines: Vec<&str> = text.split_terminator('\r').collect();
    assert_eq!(lines.get(1), Some(&"MSA|AE"));
    assert_eq!(
        lines.get(2),
        Some(
            &"ERR||MSH^1^10|101^Required field missing^HL70357|E||||control-id-missing: MSH-10 is empty; give each \\F\\ message \\T\\ an id at MSH[1]-10"
        )
    );
}

#[test]
fn errors_before_2_5_stand_in_one_field() {
    let text = answer(
        "MSH|^~\\&|LAB|HILL|STOKER|HUB|2024||ORU^R01|M7|P|2.3",
        AckCode::Reject,
        &[missing()],
    );
    let lines: Vec<&str> = text.split_terminator('\r').collect();
    assert!(
        lines
            .get(1)
            .unwrap()
            .starts_with("MSA|AR|M7|control-id-missing: ")
    );
    assert_eq!(
        lines.get(2),
        Some(&"ERR|MSH^1^10^101&Required field missing&HL70357")
    );
}

#[test]
fn every_kind_of_error_has_its_code() {
    let cases = [
        ("message-type-unsupported", "200^"),
        ("event-unsupported", "201^"),
        ("processing-id-unsupported", "202^"),
        ("version-unsupported", "203^"),
        ("line-is-no-segment", "100^"),
        ("charset-invalid-bytes", "102^"),
        ("overloaded", "207^"),
        ("anything-else", "207^"),
    ];
    for (code, expected) in cases {
        let issue = Issue::new(Severity::Error, code, "text");
        let text = answer(
            "MSH|^~\\&|A|B|C|D|2024||ORU^R01|M7|P|2.7",
            AckCode::Reject,
            &[issue],
        );
        assert!(
            text.contains(&format!("ERR|||{expected}")),
            "{code}: {text}"
        );
    }
}

#[test]
fn answers_are_bounded() {
    let errors: Vec<Issue> = (0..500)
        .map(|_| Issue::new(Severity::Error, "x", "y".repeat(10_000)))
        .collect();
    let text = answer(
        "MSH|^~\\&|A|B|C|D|2024||ORU^R01|M7|P|2.7",
        AckCode::Error,
        &errors,
    );
    assert!(text.len() < 10_000, "{}", text.len());
}
