//! The text of a parameter: separators, and the escapes that take their meaning away.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#escaping>: "the characters $, |, and , … Should these characters actually
//! appear in a parameter value, they are escaped by prepending \".

use std::borrow::Cow;

/// Characters of a name that an error text repeats; the rest of an absurd one is cut.
const NAME_CHARS_SHOWN: usize = 80;

/// Splits at every separator that no backslash stands before. The parts keep their escapes.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::with_capacity(1);
    let (mut start, mut is_escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == separator {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + c.len_utf8();
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Resolves the escapes. A backslash before any other character stands for itself, as clients send them unescaped.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(&next @ (',' | '|' | '$' | '\\'))) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A name as an error text repeats it.
pub fn shown(name: &str) -> String {
    let printable = |c: &char| !c.is_control() && *c != '`';
    name.chars()
        .filter(printable)
        .take(NAME_CHARS_SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{shown, split, unescape};

    /// Spec: <https://hl7.org/fhir/R4/search.html#escaping>: "`param=xxx$xxx` … `param=xxx\$xxx`", `param=xx\,xx`.
    #[test]
    fn escaped_separators_belong_to_the_value() {
        for (text, separator, expected) in [
            ("a,b", ',', vec!["a", "b"]),
            (r"a\,b,c", ',', vec![r"a\,b", "c"]),
            (r"a\\,b", ',', vec![r"a\\", "b"]),
            (r"a\|b|c", '|', vec![r"a\|b", "c"]),
            ("", ',', vec![""]),
            (",", ',', vec!["", ""]),
            ("ä,ö", ',', vec!["ä", "ö"]),
            (r"a\", ',', vec![r"a\"]),
        ] {
            assert_eq!(split(text, separator), expected, "{text}");
        }
        for (text, expected) in [
            ("plain", "plain"),
            (r"a\,b\|c\$d\\e", r"a,b|c$d\e"),
            (r"\\,", r"\,"),
            (r"C:\dir", r"C:\dir"),
            (r"end\", r"end\"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    #[test]
    fn names_in_errors_are_short_and_printable() {
        assert_eq!(shown("a\n`b"), "ab");
        assert_eq!(shown(&"x".repeat(500)).len(), 80);
    }
}
