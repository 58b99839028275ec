//! RFC 8259 and FHIR's demand on decimals, case by case.

use super::{Document, JsonErrorKind, Value};

fn round_trip(text: &str) {
    let document = Document::parse(text.as_bytes()).expect(text);
    let mut compact = Vec::new();
    document.root().write_compact(&mut compact);
    assert_eq!(String::from_utf8(compact).as_deref(), Ok(text));
    let tree = document.root().to_value();
    assert_eq!(Value::parse(&tree.to_bytes()), Ok(tree));
}

/// Spec: <https://hl7.org/fhir/R4/datatypes.html#decimal>
/// Verifies: SRS-001, RC-001
#[test]
fn numbers_keep_their_text() {
    for number in [
        "2.50",
        "1E3",
        "1e-10",
        "-0.0",
        "0",
        "1.0e+10",
        "1234567890123456789012345678.90",
    ] {
        round_trip(number);
        round_trip(&format!("{{\"value\":{number}}}"));
    }
}

#[test]
fn structure_survives() {
    for text in [
        "null",
        "[]",
        "{}",
        "[[],{}]",
        r#"{"a":[1,{"b":null}],"c":"\u00e9\"\\"}"#,
        r#"{"resourceType":"Patient","name":[{"family":"Müller"}],"_birthDate":{"extension":[{"url":"x"}]}}"#,
    ] {
        round_trip(text);
    }
}

#[test]
fn bad_text_is_refused_with_its_place() {
    use JsonErrorKind::*;
    for (text, kind, line, column) in [
        ("", UnexpectedEnd, 1, 1),
        ("{", UnexpectedEnd, 1, 2),
        ("[1,]", UnexpectedCharacter, 1, 4),
        ("[,1]", UnexpectedCharacter, 1, 2),
        ("{\"a\":1,}", UnexpectedCharacter, 1, 8),
        ("{\"a\" 1}", UnexpectedCharacter, 1, 6),
        ("[1}", UnexpectedCharacter, 1, 3),
        ("01", BadNumber, 1, 2),
        ("+1", UnexpectedCharacter, 1, 1),
        ("1.", BadNumber, 1, 3),
        (".5", UnexpectedCharacter, 1, 1),
        ("1e", BadNumber, 1, 3),
        ("NaN", UnexpectedCharacter, 1, 1),
        ("\"\\x\"", BadEscape, 1, 2),
        ("\"\\ud800\"", BadEscape, 1, 8),
        ("\"a\nb\"", ControlCharacter, 1, 3),
        ("{\"a\":1,\n\"a\":2}", DuplicateMember, 2, 2),
        ("{\"a\":1,\"\\u0061\":2}", DuplicateMember, 1, 9),
        ("1 2", TrailingCharacters, 1, 3),
        ("tru", UnexpectedCharacter, 1, 1),
    ] {
        let error = Document::parse(text.as_bytes()).expect_err(text);
        assert_eq!(
            (error.kind, error.line, error.column),
            (kind, line, column),
            "{text}"
        );
    }
    assert_eq!(Document::parse(b"\"\xff\"").unwrap_err().kind, NotUtf8);
    let deep = "[".repeat(super::JSON_DEPTH_MAX + 1);
    assert_eq!(Document::parse(deep.as_bytes()).unwrap_err().kind, TooDeep);
}

#[test]
fn many_members_are_checked_for_duplicates_too() {
    let members: Vec<String> = (0..40).map(|i| format!("\"m{i}\":{i}")).collect();
    round_trip(&format!("{{{}}}", members.join(",")));
    let twice = format!("{{{},\"m3\":0}}", members.join(","));
    assert_eq!(
        Document::parse(twice.as_bytes()).unwrap_err().kind,
        JsonErrorKind::DuplicateMember
    );
}

#[test]
fn strings_are_unescaped() {
    let document = Document::parse(r#""a\n\u00e9\ud83d\ude00\/b""#.as_bytes()).unwrap();
    assert_eq!(document.root().as_str().as_deref(), Some("a\né😀/b"));
}

#[test]
fn sameness_ignores_member_order_but_not_digits() {
    let parse = |text: &str| Document::parse(text.as_bytes()).unwrap();
    assert!(
        parse(r#"{"a":1,"b":[2]}"#)
            .root()
            .same_as(parse(r#"{ "b":[2], "a":1 }"#).root())
    );
    assert!(
        !parse(r#"{"a":1.0}"#)
            .root()
            .same_as(parse(r#"{"a":1.00}"#).root())
    );
    assert!(!parse(r#"[1,2]"#).root().same_as(parse(r#"[2,1]"#).root()));
}

#[test]
fn compact_text_is_copied_and_spaced_text_is_compacted() {
    let spaced =
        "{ \"a\" : [ 1 , { } ] ,\n\t\"long string with a \\\" quote\" : \"0123456789abcdefé\" }";
    let document = Document::parse(spaced.as_bytes()).unwrap();
    let mut compact = Vec::new();
    document.root().write_compact(&mut compact);
    let expected = "{\"a\":[1,{}],\"long string with a \\\" quote\":\"0123456789abcdefé\"}";
    assert_eq!(String::from_utf8(compact.clone()).as_deref(), Ok(expected));
    let mut again = Vec::new();
    Document::parse(&compact)
        .unwrap()
        .root()
        .write_compact(&mut again);
    assert_eq!(again, compact);
}

#[test]
fn a_control_character_is_found_at_every_place_of_a_long_string() {
    for place in 0..40 {
        let mut text = format!("\"{}\"", "x".repeat(40));
        text.replace_range(place + 1..place + 2, "\u{1}");
        let error = Document::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.kind, error.column),
            (JsonErrorKind::ControlCharacter, place + 2)
        );
    }
}
