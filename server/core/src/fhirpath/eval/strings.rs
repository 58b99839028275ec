//! Functions of strings.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#string-manipulation>, <https://hl7.org/fhir/R4/fhirpath.html>. Left out: look-around
//! and back-references in regular expressions, which do not run in linear time.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::{EvalError, Item, Result, index_item};

/// Largest compiled regular expression in bytes; R4's own stay under 100 kB.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiled expressions a thread keeps.
const REGEXES_KEPT_MAX: usize = 200;

/// What a function of one string gives; `None` outside for a name that is none.
pub(super) fn call<'a>(
    name: &str,
    text: &str,
    arguments: &[Item<'a>],
) -> Result<Option<Vec<Item<'a>>>> {
    let texts: Option<Vec<Cow<'a, str>>> = arguments.iter().map(Item::as_text).collect();
    let texts = texts.unwrap_or_default();
    if texts.len() != arguments.len() && name != "substring" {
        return Err(EvalError::WrongType);
    }
    let string = |text: String| Item::String(text.into());
    let found = match (name, texts.as_slice()) {
        ("startsWith", [part]) => Item::Boolean(text.starts_with(part.as_ref())),
        ("endsWith", [part]) => Item::Boolean(text.ends_with(part.as_ref())),
        ("contains", [part]) => Item::Boolean(text.contains(part.as_ref())),
        ("indexOf", [part]) => position(text, text.find(part.as_ref())),
        ("lastIndexOf", [part]) => position(text, text.rfind(part.as_ref())),
        ("replace", [old, new]) => string(text.replace(old.as_ref(), new)),
        ("matches", [pattern]) => Item::Boolean(regex(pattern)?.is_match(text)),
        ("matchesFull", [pattern]) => {
            Item::Boolean(regex(&format!("^(?:{pattern})$"))?.is_match(text))
        }
        ("replaceMatches", [pattern, _]) if pattern.is_empty() => string(text.to_owned()),
        ("replaceMatches", [pattern, new]) => {
            string(regex(pattern)?.replace_all(text, new.as_ref()).into_owned())
        }
        ("length", []) => index_item(text.chars().count()),
        ("upper", []) => string(text.to_uppercase()),
        ("lower", []) => string(text.to_lowercase()),
        ("trim", []) => string(text.trim().to_owned()),
        ("toChars", []) => return Ok(Some(text.chars().map(|c| string(c.to_string())).collect())),
        ("split", [part]) => {
            return Ok(Some(
                text.split(part.as_ref())
                    .map(|p| string(p.to_owned()))
                    .collect(),
            ));
        }
        ("encode", [format]) => string(encode(text.as_bytes(), format)?),
        ("decode", [format]) => string(decode(text, format)?),
        ("escape", [format]) => string(escape(text, format)?),
        ("unescape", [format]) => string(unescape(text, format)?),
        ("substring", _) => return substring(text, arguments).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(vec![found]))
}

/// A place in characters; -1 for none.
fn position<'a>(text: &str, byte: Option<usize>) -> Item<'a> {
    let before = byte.and_then(|at| text.get(..at));
    before.map_or_else(|| Item::integer(-1), |b| index_item(b.chars().count()))
}

fn substring<'a>(text: &str, arguments: &[Item<'a>]) -> Result<Vec<Item<'a>>> {
    let number = |item: Option<&Item<'a>>| match item {
        None => Ok(None),
        Some(item) => {
            let number = item.as_number().ok_or(EvalError::WrongType)?;
            Ok(number.to_scaled_i64(0))
        }
    };
    let start = number(arguments.first())?.and_then(|n| usize::try_from(n).ok());
    let length = match number(arguments.get(1))? {
        Some(length) => usize::try_from(length).unwrap_or(0),
        None => usize::MAX,
    };
    let Some(start) = start.filter(|s| *s < text.chars().count()) else {
        return Ok(Vec::new());
    };
    let part: String = text.chars().skip(start).take(length).collect();
    Ok(vec![Item::String(part.into())])
}

/// The compiled expression; compiling is far dearer than matching, so each thread keeps what it has.
fn regex(pattern: &str) -> Result<Regex> {
    thread_local! {
        static KEPT: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dot_matches_new_line(true)
            .build()
            .map_err(|_| EvalError::Unsupported("this regular expression".into()))?;
        if kept.len() >= REGEXES_KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

fn unknown<T>(format: &str) -> Result<T> {
    Err(EvalError::Unsupported(
        format!("the format {format}").into(),
    ))
}

fn alphabet(format: &str) -> Option<&'static [u8; 64]> {
    match format {
        "base64" => Some(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        "urlbase64" => Some(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        _ => None,
    }
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    if format == "hex" {
        return Ok(bytes.iter().map(|b| format!("{b:02x}")).collect());
    }
    let Some(alphabet) = alphabet(format) else {
        return unknown(format);
    };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let digit = (group >> (18 - 6 * at)) & 63;
            let letter = usize::try_from(digit).ok().and_then(|d| alphabet.get(d));
            out.push(match letter {
                Some(letter) if at <= chunk.len() => char::from(*letter),
                _ => '=',
            });
        }
    }
    Ok(out)
}

fn decode(text: &str, format: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    if format == "hex" {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let digits = digits
            .filter(|d| d.len() % 2 == 0)
            .ok_or(EvalError::WrongType)?;
        for pair in digits.chunks(2) {
            let value = pair.iter().fold(0, |sum, d| sum * 16 + d);
            bytes.push(u8::try_from(value).map_err(|_| EvalError::WrongType)?);
        }
    } else {
        let Some(alphabet) = alphabet(format) else {
            return unknown(format);
        };
        let (mut group, mut bits) = (0_u32, 0_u32);
        for letter in text.bytes().filter(|b| *b != b'=') {
            let digit = alphabet
                .iter()
                .position(|a| *a == letter)
                .ok_or(EvalError::WrongType)?;
            group = group << 6 | u32::try_from(digit).unwrap_or(0);
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((group >> bits) & 255).unwrap_or(0));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| EvalError::WrongType)
}

const HTML: [(&str, &str); 5] = [
    ("&amp;", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
];

fn escape(text: &str, format: &str) -> Result<String> {
    match format {
        "html" => Ok(HTML.iter().fold(text.to_owned(), |t, (escaped, plain)| {
            t.replace(plain, escaped)
        })),
        "json" => {
            let mut out = Vec::new();
            crate::json::write_string(text, &mut out);
            let quoted = String::from_utf8(out).map_err(|_| EvalError::WrongType)?;
            let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
            Ok(inner.unwrap_or_default().to_owned())
        }
        _ => unknown(format),
    }
}

fn unescape(text: &str, format: &str) -> Result<String> {
    match format {
        "html" => Ok(HTML
            .iter()
            .rev()
            .fold(text.to_owned(), |t, (escaped, plain)| {
                t.replace(escaped, plain)
            })),
        "json" => {
            let quoted = format!("\"{text}\"");
            match crate::json::Document::parse(quoted.as_bytes()) {
                Ok(document) => Ok(document.root().as_str().unwrap_or_default().into_owned()),
                // What has nothing to unescape stays.
                Err(_) => Ok(text.to_owned()),
            }
        }
        _ => unknown(format),
    }
}
