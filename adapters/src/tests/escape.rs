//! HL7 v2 chapter 2, "Use of escape sequences in text fields".

use crate::hl7v2::charset::Charset;
use crate::hl7v2::escape::{Oddity, unescape};
use crate::hl7v2::tokenize::Delimiters;

fn check(input: &str, expected: &str, oddities: &[Oddity]) {
    let mut found = Vec::new();
    let plain = unescape(input, &Delimiters::STANDARD, Charset::UTF_8, &mut |odd| {
        found.push(odd)
    });
    assert_eq!(plain, expected, "{input}");
    assert_eq!(found, oddities, "{input}");
}

#[test]
fn delimiters() {
    check(r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f", &[]);
    check(r"\P\", "#", &[]);
    check("nothing to do", "nothing to do", &[]);
    check("", "", &[]);
    // The marks are behind multi-byte characters, where a reader of bytes cuts wrongly.
    check(r"Müller \T\ Söhne", "Müller & Söhne", &[]);
    check(r"日本\T\語\F\", "日本&語|", &[]);
}

#[test]
fn formatting_commands_become_lines_and_blanks() {
    check(r"a\.br\b", "a\nb", &[]);
    check(r"a\.BR\b", "a\nb", &[]);
    check(r"a\.sp\b", "a\nb", &[]);
    check(r"a\.sp2\b", "a\n\nb", &[]);
    check(r"a\.sp+2\b", "a\n\nb", &[]);
    check(r"a\.sk3\b", "a   b", &[]);
    check(r"a\.ce\b", "a\nb", &[Oddity::Layout]);
    check(
        r"a\.in+4\b\.ti-2\c",
        "abc",
        &[Oddity::Layout, Oddity::Layout],
    );
    check(r"\.fi\a\.nf\", "a", &[Oddity::Layout, Oddity::Layout]);
    check(r"\H\bold\N\", "bold", &[Oddity::Layout, Oddity::Layout]);
}

#[test]
fn hexadecimal_bytes_are_text_of_the_message() {
    check(r"\X41\", "A", &[]);
    check(r"\X0D0A\", "\r\n", &[]);
    check(r"\X0D\\X0A\", "\r\n", &[]);
    check(r"\XC3A9\\Xc3a9\", "éé", &[]);
    let mut odd = |_| panic!("nothing is odd here");
    let latin = Charset::named("8859/1").unwrap();
    assert_eq!(
        unescape(r"\XE9\", &Delimiters::STANDARD, latin, &mut odd),
        "é"
    );
}

#[test]
fn hexadecimal_bytes_that_are_no_text_stay_as_sent() {
    for input in [r"\XE9\", r"\X00\", r"\X1B\", r"\XFF\"] {
        check(input, input, &[Oddity::Hexadecimal]);
    }
}

#[test]
fn what_is_not_understood_stays_as_sent() {
    use Oddity::{Unknown, Unpaired};
    check(r"5\ 10 mg", r"5\ 10 mg", &[Unpaired]);
    check(r"C:\temp\file", r"C:\temp\file", &[Unpaired, Unpaired]);
    check(r"\", r"\", &[Unpaired]);
    check(r"\\", r"\\", &[Unpaired, Unpaired]);
    check(r"\X4\", r"\X4\", &[Unpaired, Unpaired]);
    check(
        r"\Zab\ \C2842\ \M244522\",
        r"\Zab\ \C2842\ \M244522\",
        &[Unknown, Unknown, Unknown],
    );
    check(
        r"\.zz\ \.sp9999\ \.in\x",
        r"\.zz\ \.sp9999\ x",
        &[Unpaired, Unpaired, Unpaired, Unpaired, Oddity::Layout],
    );
    // The second escape character of what is none may begin one.
    check(r"a\foo\T\b", r"a\foo&b", &[Unpaired]);
}

#[test]
fn other_escape_characters_and_none() {
    let dollar = Delimiters {
        escape: Some(b'$'),
        subcomponent: Some(b'%'),
        ..Delimiters::STANDARD
    };
    let mut odd = |_| panic!("nothing is odd here");
    assert_eq!(
        unescape(r"a$T$b\T\", &dollar, Charset::UTF_8, &mut odd),
        r"a%b\T\"
    );
    let none = Delimiters {
        escape: None,
        subcomponent: None,
        ..Delimiters::STANDARD
    };
    assert_eq!(
        unescape(r"a\T\b", &none, Charset::UTF_8, &mut odd),
        r"a\T\b"
    );
}
