//! The query part of a URL, decoded into parameters: order and repeats kept.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#Introduction>, <https://url.spec.whatwg.org/#application/x-www-form-urlencoded>

use super::text::shown;
use crate::issue::{ErrorKind, Problem};

/// Decodes `a=b&c=d`: percent escapes, and `+` for a space. A part without `=` has an empty value; empty parts are
/// skipped.
///
/// # Errors
/// `bad-parameter-value` for a broken escape or bytes that are not UTF-8
pub fn decode(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let refuse = || {
            let text = format!(
                "the query parameter `{}` has a broken `%` escape or is not UTF-8",
                shown(key)
            );
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
        };
        Ok((
            decode_one(key).ok_or_else(refuse)?,
            decode_one(value).ok_or_else(refuse)?,
        ))
    };
    parts.map(pair).collect()
}

fn decode_one(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| {
                    char::from(b)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                high * 16 + low
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn order_repeats_and_escapes() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        for (query, expected) in [
            ("", vec![]),
            (
                "a=1&b=2&a=3",
                vec![pair("a", "1"), pair("b", "2"), pair("a", "3")],
            ),
            (
                "a=x%7Cy&b=c+d%2B",
                vec![pair("a", "x|y"), pair("b", "c d+")],
            ),
            (
                "a&b=&=c&&",
                vec![pair("a", ""), pair("b", ""), pair("", "c")],
            ),
            ("name=M%C3%BCller", vec![pair("name", "Müller")]),
            ("a=b=c", vec![pair("a", "b=c")]),
        ] {
            assert_eq!(decode(query).unwrap(), expected, "{query}");
        }
        for query in ["a=%", "a=%1", "a=%zz", "a=%ff", "%=1"] {
            assert!(decode(query).is_err(), "{query}");
        }
    }
}
