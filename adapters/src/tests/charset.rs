//! Character sets of MSH-18: right text, or a clear refusal. HL7 table 0211.

use mappings::At;

use super::support::with_message;
use crate::hl7v2::charset::{Charset, Fallback, decode};

/// A message whose PID-5.1 is `name`, declared as `declared`.
fn message(declared: &str, name: &[u8]) -> Vec<u8> {
    let mut raw =
        format!("MSH|^~\\&|A|B|C|D|20240310||ADT^A08|1|P|2.5|||||DE|{declared}\rPID|1||7||")
            .into_bytes();
    raw.extend_from_slice(name);
    raw.extend_from_slice(b"^Anna\rPV1|1|O\r");
    raw
}

/// The family name read, and the codes of the issues.
fn read(raw: &[u8]) -> Result<(String, Vec<String>), String> {
    with_message(raw, |message, _, issues| {
        assert_eq!(message.segments.len(), 3);
        assert_eq!(
            message.first("PID", At::new(5, 1, 2, 1)),
            Some("Anna"),
            "the delimiter behind the name"
        );
        let name = message
            .first("PID", At::new(5, 1, 1, 1))
            .unwrap()
            .to_owned();
        (name, issues.iter().map(|i| i.code.to_string()).collect())
    })
    .map_err(|issue| issue.code.to_string())
}

/// Verifies: SRS-031
#[test]
fn declared_character_sets_are_read() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("", b"Muster", "Muster"),
        ("ASCII", b"Muster", "Muster"),
        ("UNICODE UTF-8", "Müller".as_bytes(), "Müller"),
        ("UTF-8", "Müller".as_bytes(), "Müller"),
        ("8859/1", b"M\xFCller", "Müller"),
        ("8859/2", b"\xA6wiek", "Świek"),
        ("8859/5", b"\xB8\xD2\xD0\xDD", "Иван"),
        ("8859/7", b"\xC1\xDD\xED\xE1", "Αένα"),
        ("8859/9", b"\xDE\xFD", "Şı"),
        ("8859/15", b"\xA4", "€"),
        ("ISO IR87", b"\x1B$B;3ED\x1B(B", "山田"),
        ("~ISO IR87", b"\x1B$B;3ED\x1B(B", "山田"),
        ("GB 18030-2000", b"\xD5\xC5\xC8\xFD", "张三"),
        ("BIG-5", b"\xA4\xA4", "中"),
        ("KS X 1001", b"\xB1\xE8", "김"),
    ];
    for (declared, bytes, expected) in cases {
        let (name, issues) = read(&message(declared, bytes)).unwrap();
        assert_eq!(name, *expected, "{declared}");
        assert!(issues.is_empty(), "{declared}: {issues:?}");
    }
}

/// Decoding comes before splitting: the second byte of each of these is a delimiter in ASCII.
#[test]
fn trail_bytes_that_look_like_delimiters_are_text() {
    // GB 18030: second bytes |, ^, ~ and \.
    let cases: &[(&str, &[u8])] = &[
        ("GB 18030-2000", b"\x81\x7C\x81\x5E\x81\x7E\x81\x5C"),
        ("BIG-5", b"\xA4\x5C\xA4\x7C\xA4\x5E\xA4\x7E"),
        ("ISO IR87", b"\x1B$B\x30\x7C\x30\x5E\x1B(B"),
    ];
    for (declared, bytes) in cases {
        let (name, issues) = read(&message(declared, bytes)).unwrap();
        assert!(name.chars().all(|c| !c.is_ascii()), "{declared}");
        assert!(issues.is_empty(), "{declared}: {issues:?}");
    }
}

/// A trail byte in MSH itself shifts the fields of a reader of bytes; MSH-18 is found all the same.
#[test]
fn a_trail_byte_in_msh_does_not_hide_msh_18() {
    let mut raw = b"MSH|^~\\&|".to_vec();
    raw.extend_from_slice(b"\x81\x7C");
    raw.extend_from_slice(
        b"|B|C|D|20240310||ADT^A08|1|P|2.5||||||GB 18030-2000\rPID|1||7||X^Anna\rPV1|1|O\r",
    );
    assert_eq!(read(&raw).unwrap().0, "X");
}

#[test]
fn faults_are_tolerated_only_with_an_issue() {
    let cases: &[(&str, &[u8], &str, &str)] = &[
        ("", "Müller".as_bytes(), "Müller", "charset-undeclared"),
        ("", b"M\xFCller", "Müller", "charset-undeclared"),
        ("", b"O\x92Neill", "O’Neill", "charset-undeclared"),
        ("ASCII", b"M\xFCller", "Müller", "charset-not-as-declared"),
        ("8859/1", b"O\x92Neill", "O’Neill", "charset-windows"),
        (
            "ISO IR14~ISO IR87",
            b"\x95\x5C",
            "表",
            "charset-not-as-declared",
        ),
        ("KLINGON", b"Muster", "Muster", "charset-unknown"),
    ];
    for (declared, bytes, expected, issue) in cases {
        let (name, issues) = read(&message(declared, bytes)).unwrap();
        assert_eq!(name, *expected, "{declared}");
        assert!(issues.iter().any(|i| i == issue), "{declared}: {issues:?}");
    }
}

/// No text with U+FFFD in the place of bytes that could not be read, ever.
///
/// Verifies: SRS-025, RC-019, SRS-031
#[test]
fn unreadable_bytes_are_refused_with_their_place() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("UNICODE UTF-8", b"M\xFCller", "charset-invalid-bytes"),
        ("UNICODE UTF-8", b"\xED\xA0\x80", "charset-invalid-bytes"),
        ("8859/1", b"\x81", "charset-invalid-bytes"),
        ("8859/7", b"\xFF", "charset-invalid-bytes"),
        ("GB 18030-2000", b"\x81\xFF", "charset-invalid-bytes"),
        ("ISO IR87", b"\x1B$Z", "charset-invalid-bytes"),
        ("ISO IR87", b"\xFF\xFF", "charset-invalid-bytes"),
        ("KLINGON", b"M\xFCller", "charset-unknown"),
        (
            "UNICODE UTF-16",
            "Müller".as_bytes(),
            "charset-invalid-bytes",
        ),
    ];
    for (declared, bytes, code) in cases {
        let raw = message(declared, bytes);
        let issue = decode(&raw, &Fallback::default(), &mut Vec::new()).unwrap_err();
        assert_eq!(issue.code, *code, "{declared}");
    }
    let raw = message("UNICODE UTF-8", b"M\xFCller");
    let issue = decode(&raw, &Fallback::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(raw.get(issue.offset.unwrap() as usize), Some(&0xFC));
}

#[test]
fn a_feed_may_name_the_character_set_to_try_instead() {
    let fallback = Fallback {
        misdeclared: Some(Charset::WINDOWS_1252),
        ..Fallback::default()
    };
    let mut issues = Vec::new();
    let raw = message("UNICODE UTF-8", b"M\xFCller");
    let decoded = decode(&raw, &fallback, &mut issues).unwrap();
    assert!(decoded.text.contains("Müller"));
    assert!(issues.iter().any(|i| i.code == "charset-not-as-declared"));
}

#[test]
fn utf_16_is_read_by_its_first_bytes() {
    let text = String::from_utf8(message("UNICODE UTF-16", "Müller".as_bytes())).unwrap();
    let units =
        |text: &str, to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let marked = format!("\u{FEFF}{text}");
    for raw in [
        units(&marked, u16::to_le_bytes),
        units(&marked, u16::to_be_bytes),
        units(&text, u16::to_le_bytes),
        units(&text, u16::to_be_bytes),
    ] {
        assert_eq!(read(&raw).unwrap().0, "Müller");
    }
    let mut cut = units(&marked, u16::to_le_bytes);
    cut.pop();
    assert_eq!(read(&cut).unwrap_err(), "charset-invalid-bytes");
}

/// Each leaf leads back to its own bytes in the raw message.
#[test]
fn places_are_those_of_the_raw_bytes() {
    let cases: &[(&str, &[u8])] = &[
        ("UNICODE UTF-8", "Müller".as_bytes()),
        ("8859/1", b"M\xFCller"),
        ("GB 18030-2000", b"\xD5\xC5\x81\x7C\xC8\xFD"),
        ("ISO IR87", b"\x1B$B;3ED\x1B(B"),
    ];
    for (declared, bytes) in cases {
        let raw = message(declared, bytes);
        let place = with_message(&raw, |message, decoded, _| {
            let pv1 = message.segments.last().unwrap();
            let pid = message.segments.get(1).unwrap();
            let name = message
                .leaves_of(pid)
                .iter()
                .find(|l| l.at.field == 5)
                .unwrap();
            let raw_at = |n| decoded.offsets.raw(n) as usize;
            (
                raw_at(pv1.span.start),
                raw_at(pv1.span.end),
                raw_at(name.span.start),
            )
        });
        let (start, end, name) = place.unwrap();
        assert_eq!(raw.get(start..end), Some(&b"PV1|1|O"[..]), "{declared}");
        assert!(raw.get(name..).unwrap().starts_with(bytes), "{declared}");
    }
}

#[test]
fn a_byte_order_mark_is_left_out_and_reported() {
    let mut raw = b"\xEF\xBB\xBF".to_vec();
    raw.extend(message("UNICODE UTF-8", "Müller".as_bytes()));
    let (name, issues) = read(&raw).unwrap();
    assert_eq!(name, "Müller");
    assert_eq!(issues, ["byte-order-mark"]);
}

#[test]
fn answers_use_the_character_set_of_the_message() {
    assert_eq!(Charset::named("8859/1").unwrap().encode("ü"), b"\xFC");
    assert_eq!(Charset::named("8859/1").unwrap().encode("山"), b"?");
    assert_eq!(Charset::UTF_8.encode("山"), "山".as_bytes());
    assert_eq!(
        Charset::Utf16 {
            little_endian: true
        }
        .encode("A"),
        b"\xFF\xFEA\0"
    );
    assert_eq!(Charset::named("nonsense"), None);
}
