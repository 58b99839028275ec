//! Who is told what: original mode, enhanced mode by MSH-15 and MSH-16. HL7 v2 chapter 2, table 0155.

use super::support::{adt, surroundings};
use crate::acknowledge::{Answer, Mode};
use crate::feed::{Feed, FeedSettings};
use crate::issue::{Issue, Severity};
use crate::pipeline::Pipeline;
use crate::port::{AckCode, IntakeError, Outcome, Receipt};

fn pipeline(mode: Mode) -> Pipeline {
    let settings = FeedSettings {
        acknowledge: mode,
        ..FeedSettings::default()
    };
    Pipeline::new(
        Feed::new(&settings).unwrap(),
        mappings::Library::embedded().unwrap(),
    )
}

/// An admission with MSH-15 and MSH-16.
fn message(accept: &str, application: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let text = String::from_utf8(adt("M1", "1")).unwrap();
    let text = text.replacen("|2.5.1\r", &format!("|2.5.1|||{accept}|{application}\r"), 1);
    change(text).into_bytes()
}

/// MSA-1 of each acknowledgement, and whether the message was stored.
fn codes(mode: Mode, raw: Vec<u8>, result: Option<IntakeError>) -> (String, bool) {
    let reading = pipeline(mode).read(raw.into());
    let outcome = match &reading.intake.disposition {
        crate::Disposition::Process => Outcome::Processed,
        crate::Disposition::Refuse { code, reason } => Outcome::Refused {
            code: *code,
            reason: reason.clone(),
        },
    };
    let receipt = Receipt {
        message_id: "m1".into(),
        repeat: false,
        outcome,
    };
    let surroundings = surroundings();
    let result = result.map_or(Ok(receipt), Err);
    let answer = reading
        .envelope
        .answer(&result, &mut || surroundings.stamp());
    let (acks, is_stored) = match answer {
        Answer::Kept { acks, .. } => (acks, true),
        Answer::NotStored(ack) => (ack.into_iter().collect(), false),
    };
    let mut ids = Vec::new();
    let codes: Vec<String> = acks
        .iter()
        .map(|ack| {
            let text = std::str::from_utf8(ack).unwrap();
            ids.push(text.split('|').nth(9).unwrap().to_owned());
            let msa = text.split('\r').find(|s| s.starts_with("MSA")).unwrap();
            assert_eq!(msa.split('|').nth(2), Some("M1"), "{text}");
            msa.split('|').nth(1).unwrap().to_owned()
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), codes.len(), "each has a control id of its own");
    (codes.join(" "), is_stored)
}

/// Verifies: SRS-131, RC-131
#[test]
fn msh_15_and_16_decide_who_is_told_what() {
    let good = |text: String| text;
    // Understood, but its content cannot be used.
    let bad_content = |text: String| text.replace("1^^^HILL&2.999.1&ISO^MR", "");
    let unsupported = |text: String| text.replace("|P|2.5.1", "|D|2.5.1");
    let unreadable = |text: String| text.replace("PV1|1|I", "no segment");
    type Change = fn(String) -> String;
    let cases: [(&str, &str, Change, &str); 22] = [
        ("", "", good, "AA"),
        ("", "", bad_content, "AE"),
        ("", "", unsupported, "AR"),
        ("AL", "AL", good, "CA AA"),
        ("AL", "AL", bad_content, "CA AE"),
        ("AL", "AL", unsupported, "CR"),
        ("AL", "AL", unreadable, "CE"),
        ("AL", "NE", good, "CA"),
        ("AL", "NE", bad_content, "CA"),
        ("AL", "", good, "CA"),
        ("NE", "AL", good, "AA"),
        ("NE", "AL", unsupported, ""),
        ("NE", "NE", good, ""),
        ("NE", "NE", bad_content, ""),
        ("ER", "ER", good, ""),
        ("ER", "ER", bad_content, "AE"),
        ("ER", "ER", unsupported, "CR"),
        ("SU", "SU", good, "CA AA"),
        ("SU", "SU", bad_content, "CA"),
        ("SU", "SU", unsupported, ""),
        ("", "ER", bad_content, "AE"),
        ("what", "ever", good, "CA AA"),
    ];
    for (accept, application, change, expected) in cases {
        let raw = message(accept, application, change);
        let case = format!("{accept} {application} {expected}");
        assert_eq!(
            codes(Mode::ByMessage, raw, None),
            (expected.to_owned(), true),
            "{case}"
        );
    }
}

/// What was not stored is never acknowledged positively, and a sender that wants no answer gets none.
/// Verifies: SRS-131, RC-131
#[test]
fn what_is_not_stored_is_not_accepted() {
    for (accept, application, expected) in [
        ("", "", "AR"),
        ("AL", "AL", "CE"),
        ("ER", "NE", "CE"),
        ("NE", "AL", ""),
        ("SU", "AL", ""),
    ] {
        let raw = message(accept, application, |text| text);
        let answer = codes(Mode::ByMessage, raw, Some(IntakeError::Overloaded));
        assert_eq!(
            answer,
            (expected.to_owned(), false),
            "{accept} {application}"
        );
    }
}

#[test]
fn a_feed_may_always_answer_in_original_mode() {
    for (accept, application) in [("AL", "AL"), ("NE", "NE"), ("ER", "SU")] {
        let raw = message(accept, application, |text| text);
        assert_eq!(codes(Mode::Original, raw, None), ("AA".to_owned(), true));
    }
}

/// The application acknowledgement asks for no acknowledgement itself.
#[test]
fn application_acknowledgements_want_no_answer() {
    let reading = pipeline(Mode::ByMessage).read(message("AL", "AL", |t| t).into());
    let surroundings = surroundings();
    let answer = reading
        .envelope
        .kept(AckCode::Accept, &[], &mut || surroundings.stamp());
    let Answer::Kept { acks, .. } = answer else {
        panic!("{answer:?}")
    };
    let wishes: Vec<String> = acks
        .iter()
        .map(|ack| {
            let text = String::from_utf8(ack.clone()).unwrap();
            let msh = text.split('\r').next().unwrap();
            msh.split('|').skip(14).collect::<Vec<_>>().join("|")
        })
        .collect();
    assert_eq!(wishes, ["", "NE|NE"]);
}

#[test]
fn a_feed_may_refuse_what_others_tolerate() {
    let read = |refuse: &[&str], raw: &[u8]| {
        let settings = FeedSettings {
            refuse_faults: refuse.iter().map(ToString::to_string).collect(),
            ..FeedSettings::default()
        };
        let feed = Feed::new(&settings).unwrap();
        let pipeline = Pipeline::new(feed, mappings::Library::embedded().unwrap());
        match pipeline.read(raw.to_vec().into()).intake.disposition {
            crate::Disposition::Process => String::new(),
            crate::Disposition::Refuse { code, reason } => {
                format!("{} {}", code.as_str(), reason.code)
            }
        }
    };
    let clean = adt("M1", "1");
    let lf = String::from_utf8(clean.clone())
        .unwrap()
        .replace('\r', "\n");
    assert_eq!(read(&["all"], &clean), "");
    assert_eq!(read(&[], lf.as_bytes()), "");
    assert_eq!(read(&["local-line"], lf.as_bytes()), "");
    assert_eq!(
        read(&["lf-ends-segments"], lf.as_bytes()),
        "AE lf-ends-segments"
    );
    assert_eq!(read(&["all"], lf.as_bytes()), "AE lf-ends-segments");
    let unknown = FeedSettings {
        refuse_faults: vec!["lf-ends-segment".into()],
        ..FeedSettings::default()
    };
    assert!(
        Feed::new(&unknown)
            .unwrap_err()
            .contains("lf-ends-segments")
    );
}

#[test]
fn names_of_feeds_are_plain() {
    let check = |name: &str| {
        let settings = FeedSettings {
            name: name.into(),
            ..FeedSettings::default()
        };
        Feed::new(&settings).is_ok()
    };
    for name in ["lab", "LAB-1_a.b", &"x".repeat(64)] {
        assert!(check(name), "{name}");
    }
    for name in ["", "a b", "a/b", "..", ".hidden", "ä", &"x".repeat(65)] {
        assert!(!check(name), "{name}");
    }
}

/// A training message is refused with the setting that would take it.
#[test]
fn a_refused_processing_id_names_the_setting() {
    let raw = message("", "", |text| text.replace("|P|2.5.1", "|T|2.5.1"));
    let reading = pipeline(Mode::ByMessage).read(raw.into());
    let issue: &Issue = reading.intake.issues.last().unwrap();
    assert_eq!(issue.severity, Severity::Error);
    assert!(issue.text.contains("`processing_ids`"), "{}", issue.text);
}
