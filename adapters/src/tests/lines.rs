//! Segments as senders write them: nothing tolerated without an issue, nothing dropped without a refusal.

use mappings::At;

use super::support::with_message;
use crate::hl7v2::guard::second_opinion;

const MSH: &str = "MSH|^~\\&|A|B|C|D|20240310||ADT^A08|1|P|2.5";

/// Segment identifiers with their numbers of fields, local lines, and issue codes; or the code of the refusal.
fn read(raw: &str) -> Result<(Vec<String>, usize, Vec<String>), String> {
    with_message(raw.as_bytes(), |message, _, issues| {
        second_opinion(message).unwrap();
        let segments = message
            .segments
            .iter()
            .map(|s| format!("{}{}", s.id, s.fields))
            .collect();
        (
            segments,
            message.local.len(),
            issues.iter().map(|i| i.code.to_string()).collect(),
        )
    })
    .map_err(|issue| issue.code.to_string())
}

#[track_caller]
fn check(raw: &str, segments: &[&str], issues: &[&str]) {
    let (found, _, codes) = read(raw).unwrap();
    assert_eq!(found, segments, "{raw:?}");
    assert_eq!(codes, issues, "{raw:?}");
}

#[test]
fn line_ends_and_blanks() {
    let all = ["MSH12", "PID3", "PV12"];
    check(&format!("{MSH}\rPID|1||7\rPV1|1|O\r"), &all, &[]);
    check(&format!("{MSH}\rPID|1||7\rPV1|1|O"), &all, &[]);
    check(
        &format!("{MSH}\nPID|1||7\nPV1|1|O\n"),
        &all,
        &["lf-ends-segments"],
    );
    check(
        &format!("{MSH}\r\nPID|1||7\r\nPV1|1|O\r\n"),
        &all,
        &["crlf-ends-segments"],
    );
    check(
        &format!("{MSH}\n\rPID|1||7\n\rPV1|1|O\n\r"),
        &all,
        &["lfcr-ends-segments"],
    );
    check(
        &format!("{MSH}\r\r\rPID|1||7\r \rPV1|1|O\r\r"),
        &all,
        &["blank-line"],
    );
    check(
        &format!("{MSH}\r\nPID|1||7\nPV1|1|O\r"),
        &all,
        &["crlf-ends-segments", "lf-ends-segments"],
    );
    check(
        &format!("\r\n {MSH}\rPID|1||7\rPV1|1|O\r"),
        &all,
        &["blank-before-message"],
    );
    check(
        &format!("\u{0B}{MSH}\rPID|1||7\rPV1|1|O\r\u{1C}\r"),
        &all,
        &["framing-bytes"],
    );
    check(
        &format!("{MSH}\r PID|1||7\r\tPV1|1|O\r"),
        &all,
        &["blank-before-segment"],
    );
    check(&format!("{MSH}\rPID|1||7\rPV1|1|O\r\0\0\r"), &all, &[]);
}

#[test]
fn a_line_feed_in_the_text_of_a_cr_message_is_text() {
    let raw = format!("{MSH}\rOBX|1|TX|X||one\ntwo\n\nfour||||||F\rPV1|1|O\r");
    check(&raw, &["MSH12", "OBX11", "PV12"], &["line-feed-in-text"]);
    let text = with_message(raw.as_bytes(), |m, _, _| {
        m.first("OBX", At::new(5, 1, 1, 1)).map(str::to_owned)
    });
    assert_eq!(text.unwrap().as_deref(), Some("one\ntwo\n\nfour"));
}

#[test]
fn odd_segments_are_read_or_kept() {
    check(
        &format!("{MSH}\rEVN\rpid|1||7\rZZ1|x\rZZZ\r"),
        &["MSH12", "EVN0", "PID3", "ZZ11", "ZZZ0"],
        &["segment-lower-case", "segment-without-fields"],
    );
    check(
        &format!("{MSH}\rEVN|\rQQQ|1\r"),
        &["MSH12", "EVN1", "QQQ1"],
        &[],
    );
    let (segments, local, issues) = read(&format!("{MSH}\rZ1|a\rZLONG|b\rPID|1\r")).unwrap();
    assert_eq!((segments.len(), local), (2, 2));
    assert_eq!(issues, ["local-line"]);
}

/// Verifies: SRS-004, RC-012
#[test]
fn what_would_lose_content_is_refused() {
    let cases = [
        ("", "no-msh"),
        ("PID|1||7", "no-msh"),
        ("MSH", "delimiters"),
        ("MSH|", "delimiters"),
        ("MSHX^~\\&|A", "delimiters"),
        ("MSH|^~\\\\|A", "delimiters"),
        ("MSH|^~\\&#$|A", "delimiters"),
        ("MSH|^a\\&|A", "delimiters"),
    ];
    for (raw, code) in cases {
        assert_eq!(read(raw).unwrap_err(), code, "{raw}");
    }
    for (rest, code) in [
        (
            "OBX|1|TX|X||one\rtwo|with pipe||||||F",
            "line-is-no-segment",
        ),
        ("OBX|1|TX|X||one\rand more", "line-is-no-segment"),
        ("PID|1\rEND", "line-is-no-segment"),
        ("PID|1\rzzzz|1", "line-is-no-segment"),
        ("PID|1\rthe|1", "line-is-no-segment"),
        ("MSH|^~\\&|A", "several-messages"),
        ("BTS|1", "batch"),
        ("DSC|1", "fragment"),
        ("ADD|1", "fragment"),
        ("PID|1||7\u{7}", "control-character"),
        ("PID|1||\u{1C}7", "control-character"),
    ] {
        assert_eq!(
            read(&format!("{MSH}\r{rest}\r")).unwrap_err(),
            code,
            "{rest}"
        );
    }
}

#[test]
fn delimiters_of_all_kinds() {
    let leaf = |raw: &str, id: &str, at: At| {
        with_message(raw.as_bytes(), |m, _, _| {
            second_opinion(m).unwrap();
            m.first(id, at).map(str::to_owned)
        })
        .unwrap()
    };
    let custom = "MSH!@#$%!LAB!B!C!D!2024!!ADT@A08!1!P!2.5\rPID!1!!7@@@X%2.9%ISO@MR#8\r";
    assert_eq!(
        leaf(custom, "MSH", At::new(3, 1, 1, 1)).as_deref(),
        Some("LAB")
    );
    assert_eq!(
        leaf(custom, "PID", At::new(3, 1, 4, 2)).as_deref(),
        Some("2.9")
    );
    assert_eq!(
        leaf(custom, "PID", At::new(3, 2, 1, 1)).as_deref(),
        Some("8")
    );
    let truncation = "MSH|^~\\&#|LAB|B\rPID|1\r";
    assert_eq!(
        leaf(truncation, "MSH", At::new(2, 1, 1, 1)).as_deref(),
        Some("^~\\&#")
    );
    assert_eq!(
        leaf(truncation, "MSH", At::new(3, 1, 1, 1)).as_deref(),
        Some("LAB")
    );
    let short = "MSH|^~|LAB|B\rPID|1||a&b\\c^d\r";
    assert_eq!(
        leaf(short, "MSH", At::new(3, 1, 1, 1)).as_deref(),
        Some("LAB")
    );
    assert_eq!(
        leaf(short, "PID", At::new(3, 1, 1, 1)).as_deref(),
        Some("a&b\\c")
    );
    assert_eq!(
        leaf("MSH|^~\\&", "MSH", At::new(2, 1, 1, 1)).as_deref(),
        Some("^~\\&")
    );
    assert_eq!(leaf("MSH|^~\\&|", "MSH", At::new(3, 1, 1, 1)), None);
}

/// Every byte is part of an identifier or a leaf, or is a delimiter.
///
/// Verifies: SRS-004, RC-012
#[test]
fn leaves_cover_all_content() {
    let raw = format!("{MSH}\rPID|1||7^^^A&B&C~8|\"\"|^x|~|&|ü^\rZZ9|a|b\r");
    with_message(raw.as_bytes(), |message, _, _| {
        let mut covered = vec![false; raw.len()];
        let ids = message
            .segments
            .iter()
            .map(|s| s.span.start..s.span.start + 3);
        for span in ids.chain(message.leaves.iter().map(|l| l.span.clone())) {
            covered
                .get_mut(span.start as usize..span.end as usize)
                .unwrap()
                .fill(true);
        }
        for (byte, covered) in raw.bytes().zip(covered) {
            assert!(covered || b"|^~&\r".contains(&byte), "{}", char::from(byte));
        }
    })
    .unwrap();
}
