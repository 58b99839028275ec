//! The formats of primitive values.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#primitive>. Written out instead of run as regular expressions: this is on the way
//! of every write. Left out: the content of `xhtml` beyond its outer element.

use crate::datatype::date::{is_time, parse_date, parse_date_time, parse_instant};
use crate::datatype::decimal::Decimal;
use crate::ids::ResourceId;
use crate::json::{Kind, ValueRef};

/// "strings SHALL NOT exceed 1MB (1024*1024 characters) in size".
const STRING_CHARS_MAX: usize = 1024 * 1024;

/// A decimal this short always is within the limits of [`Decimal`], so it need not be parsed.
const DECIMAL_CHARS_SHORT: usize = 100;

/// A primitive type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primitive {
    /// `base64Binary`
    Base64Binary,
    /// `boolean`
    Boolean,
    /// `code`
    Code,
    /// `date`
    Date,
    /// `dateTime`
    DateTime,
    /// `decimal`
    Decimal,
    /// `id`
    Id,
    /// `instant`
    Instant,
    /// `integer`
    Integer,
    /// `oid`
    Oid,
    /// `positiveInt`
    PositiveInt,
    /// `string`
    String,
    /// `markdown`, which unlike `string` holds whole documents
    Markdown,
    /// `time`
    Time,
    /// `unsignedInt`
    UnsignedInt,
    /// `uri`, `url` and `canonical`, whose rules are the same
    Uri,
    /// `uuid`
    Uuid,
    /// `xhtml`
    Xhtml,
}

impl Primitive {
    /// The type with this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Self::Base64Binary,
            "boolean" => Self::Boolean,
            "code" => Self::Code,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "id" => Self::Id,
            "instant" => Self::Instant,
            "integer" => Self::Integer,
            "oid" => Self::Oid,
            "positiveInt" => Self::PositiveInt,
            "string" => Self::String,
            "markdown" => Self::Markdown,
            "time" => Self::Time,
            "unsignedInt" => Self::UnsignedInt,
            "uri" | "url" | "canonical" => Self::Uri,
            "uuid" => Self::Uuid,
            "xhtml" => Self::Xhtml,
            _ => return None,
        })
    }

    /// What a value looks like, for the error text.
    pub fn form(self) -> &'static str {
        match self {
            Self::Base64Binary => "a JSON string of base64, four characters at a time",
            Self::Boolean => "`true` or `false` without quotes",
            Self::Code => "a JSON string without space at either end or two in a row",
            Self::Date => "a JSON string such as `2013`, `2013-01` or `2013-01-14`",
            Self::DateTime => {
                "a JSON string such as `2013`, `2013-01`, `2013-01-14` or `2013-01-14T10:00:00Z`, a time with zone"
            }
            Self::Decimal => "a JSON number without quotes, of at most 1,000 digits",
            Self::Id => "a JSON string of 1 to 64 letters, digits, `-` and `.`",
            Self::Instant => {
                "a JSON string such as `2013-01-14T10:00:00.000Z`, with seconds and zone"
            }
            Self::Integer => "a whole JSON number from -2147483648 to 2147483647",
            Self::Oid => "a JSON string such as `urn:oid:1.2.3`",
            Self::PositiveInt => "a whole JSON number from 1 to 2147483647",
            Self::String | Self::Markdown => {
                "a JSON string that is not empty and at most 1 MB long"
            }
            Self::Time => "a JSON string such as `10:00:00`",
            Self::UnsignedInt => "a whole JSON number from 0 to 2147483647",
            Self::Uri => "a JSON string that is not empty and has no white space",
            Self::Uuid => {
                "a JSON string such as `urn:uuid:c757873d-ec9a-4326-a141-556f43239520`, in lower case"
            }
            Self::Xhtml => "a JSON string that is a `<div>` element",
        }
    }

    /// Whether the value has the right JSON type and format.
    pub fn accepts(self, value: ValueRef<'_>) -> bool {
        match self {
            Self::Boolean => matches!(value.kind(), Kind::True | Kind::False),
            Self::Decimal => value.number_text().is_some_and(|digits| {
                digits.len() <= DECIMAL_CHARS_SHORT && !digits.contains(['e', 'E'])
                    || Decimal::parse(digits).is_ok()
            }),
            Self::Integer => is_integer(value, i32::MIN),
            Self::UnsignedInt => is_integer(value, 0),
            Self::PositiveInt => is_integer(value, 1),
            _ => value.as_str().is_some_and(|text| self.accepts_text(&text)),
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Base64Binary => is_base64(text),
            Self::Code => is_code(text),
            Self::Date => parse_date(text).is_some(),
            Self::DateTime => parse_date_time(text).is_some(),
            Self::Id => ResourceId::is_valid(text),
            Self::Instant => parse_instant(text).is_some(),
            Self::Oid => is_oid(text),
            Self::Time => is_time(text),
            Self::Uri => !text.is_empty() && !text.contains(char::is_whitespace),
            Self::Uuid => is_uuid(text),
            Self::Xhtml => is_div(text),
            Self::String | Self::Markdown => is_string(text),
            Self::Boolean
            | Self::Decimal
            | Self::Integer
            | Self::PositiveInt
            | Self::UnsignedInt => false,
        }
    }
}

/// Digits without leading zero, fraction or exponent. `-0` has no place in `-?([0]|([1-9][0-9]*))`'s meaning but in its form.
fn is_integer(value: ValueRef<'_>, min: i32) -> bool {
    value
        .number_text()
        .and_then(|digits| digits.parse::<i32>().ok())
        .is_some_and(|number| number >= min)
}

fn is_string(text: &str) -> bool {
    !text.is_empty() && (text.len() <= STRING_CHARS_MAX || text.chars().count() <= STRING_CHARS_MAX)
}

fn is_code(text: &str) -> bool {
    let mut was_space = true;
    for c in text.chars() {
        let is_space = c.is_whitespace();
        if is_space && was_space {
            return false;
        }
        was_space = is_space;
    }
    !was_space
}

/// `(\s*([0-9a-zA-Z\+/=]){4}\s*)+`: white space between groups of four, `=` at the end only.
fn is_base64(text: &str) -> bool {
    let (mut digits, mut padding) = (0_usize, 0_usize);
    for b in text.bytes() {
        match b {
            b'=' => padding += 1,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'/' if padding == 0 => digits += 1,
            _ => return false,
        }
    }
    digits > 0 && padding <= 2 && (digits + padding) % 4 == 0
}

fn is_oid(text: &str) -> bool {
    let Some(oid) = text.strip_prefix("urn:oid:") else {
        return false;
    };
    let is_arc = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|b| b.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    let mut arcs = oid.split('.');
    let is_first = arcs
        .next()
        .is_some_and(|arc| matches!(arc, "0" | "1" | "2"));
    is_first && oid.contains('.') && arcs.all(is_arc)
}

fn is_uuid(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("urn:uuid:") else {
        return false;
    };
    let is_right = |(at, b): (usize, u8)| match at {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
    };
    uuid.len() == 36 && uuid.bytes().enumerate().all(is_right)
}

fn is_div(text: &str) -> bool {
    let text = text.trim();
    let starts = text
        .strip_prefix("<div")
        .is_some_and(|rest| rest.starts_with([' ', '>', '/', '\n', '\r', '\t']));
    starts && (text.ends_with("</div>") || text.ends_with("/>")) && is_string(text)
}

#[cfg(test)]
mod tests {
    use super::Primitive;
    use crate::json::Document;

    fn check(primitive: Primitive, good: &[&str], bad: &[&str]) {
        for (texts, expected) in [(good, true), (bad, false)] {
            for text in texts {
                let document = Document::parse(text.as_bytes()).unwrap();
                assert_eq!(
                    primitive.accepts(document.root()),
                    expected,
                    "{primitive:?} {text}"
                );
            }
        }
    }

    /// Spec: <https://hl7.org/fhir/R4/datatypes.html#primitive>, the regex and the remarks of each type.
    #[test]
    fn formats_follow_the_table_of_primitive_types() {
        check(
            Primitive::Boolean,
            &["true", "false"],
            &["\"true\"", "1", "null"],
        );
        check(
            Primitive::Integer,
            &["0", "-1", "2147483647", "-2147483648"],
            &["1.0", "1e2", "2147483648", "\"1\""],
        );
        check(Primitive::UnsignedInt, &["0", "7"], &["-1", "2147483648"]);
        check(Primitive::PositiveInt, &["1"], &["0", "-1", "1.5"]);
        check(
            Primitive::Decimal,
            &["2.50", "-0.0", "1e-10", "1E3"],
            &["\"2.5\"", "1e99999", "true"],
        );
        check(
            Primitive::String,
            &["\"a\"", "\" a\\n\""],
            &["\"\"", "1", "true"],
        );
        check(
            Primitive::Code,
            &["\"a\"", "\"a b\""],
            &["\"\"", "\" a\"", "\"a \"", "\"a  b\"", "1"],
        );
        check(
            Primitive::Uri,
            &["\"a\"", "\"urn:oid:1.2\""],
            &["\"\"", "\"a b\"", "\"a\\n\""],
        );
        check(
            Primitive::Id,
            &["\"a-1.B\""],
            &["\"\"", "\"a_b\"", "\"a/b\""],
        );
        check(
            Primitive::Date,
            &["\"2013\"", "\"2012-02-29\""],
            &[
                "\"2013-02-29\"",
                "\"2013-1-1\"",
                "\"13\"",
                "\"2013-01-14T10:00:00Z\"",
            ],
        );
        check(
            Primitive::DateTime,
            &[
                "\"2013\"",
                "\"2013-01-14T10:00:00+01:00\"",
                "\"2013-01-14T10:00:00.123456789Z\"",
            ],
            &[
                "\"2013-01-14T10:00:00\"",
                "\"2013-01-14T10:00Z\"",
                "\"2013-01-14T24:00:00Z\"",
                "\"2013-01-14 10:00:00Z\"",
            ],
        );
        check(
            Primitive::Instant,
            &["\"2015-02-07T13:28:17.239+02:00\""],
            &["\"2015\"", "\"2015-02-07T13:28:17\""],
        );
        check(
            Primitive::Time,
            &["\"10:00:00\"", "\"10:00:00.5\""],
            &["\"10:00\"", "\"24:00:00\"", "\"10:00:00Z\""],
        );
        check(
            Primitive::Oid,
            &["\"urn:oid:1.2.3.4.5\""],
            &[
                "\"1.2.3\"",
                "\"urn:oid:1\"",
                "\"urn:oid:3.1\"",
                "\"urn:oid:1.02\"",
            ],
        );
        check(
            Primitive::Uuid,
            &["\"urn:uuid:c757873d-ec9a-4326-a141-556f43239520\""],
            &[
                "\"urn:uuid:C757873D-EC9A-4326-A141-556F43239520\"",
                "\"c757873d-ec9a-4326-a141-556f43239520\"",
            ],
        );
        check(
            Primitive::Base64Binary,
            &["\"QUJD\"", "\"QUI=\"", "\"QUJD\\n QUI=\""],
            &["\"\"", "\"QUJ\"", "\"Q=JD\"", "\"QU-D\""],
        );
        check(
            Primitive::Xhtml,
            &[
                "\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">a</div>\"",
                "\"<div/>\"",
            ],
            &[
                "\"\"",
                "\"text\"",
                "\"<p>a</p>\"",
                "\"<divider></divider>\"",
            ],
        );
    }
}
