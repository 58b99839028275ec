//! The search that a value in the index must be found by, written as a client would.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#ptypes>. Left out: values that no parameter can name, which are `None`: a reference
//! to a contained resource, a date without any bound.

use conformance::SearchParam;
use fhir_core::datatype::date::Zone;
use fhir_core::datatype::date::parse_search;
use fhir_core::datatype::decimal::SortKey;
use fhir_core::ids::Instant;
use fhir_core::index::IndexValue;

/// The queries, each `name=value` in percent encoding or several joined by `&`, that must find a resource with this value.
pub fn queries(param: &SearchParam, value: &IndexValue<'_>) -> Vec<String> {
    let code = param.code;
    let plain = |text: String| vec![format!("{code}={}", encoded(&text))];
    match value {
        IndexValue::TokenText(texts) => texts
            .iter()
            .map(|text| format!("{code}:text={}", encoded(&escaped(text))))
            .collect(),
        IndexValue::ReferenceIdentifier { system, value } => {
            vec![format!(
                "{code}:identifier={}",
                encoded(&token(system.as_deref(), value))
            )]
        }
        IndexValue::String { exact, normal } => {
            let mut found = vec![format!("{code}:exact={}", encoded(&escaped(exact)))];
            if !normal.is_empty() {
                found.push(format!("{code}={}", encoded(&escaped(exact))));
            }
            found
        }
        IndexValue::Date { start, end } => date(code, *start, *end),
        IndexValue::Composite(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(part).collect();
            parts.map_or_else(Vec::new, |parts| plain(parts.join("$")))
        }
        IndexValue::Number { low, high } | IndexValue::Quantity { low, high, .. }
            if low != high =>
        {
            range(code, low, high, &unit(value))
        }
        IndexValue::Identifier {
            system,
            value,
            types,
        } => {
            let mut found = plain(token(system.as_deref(), value));
            for (of, name) in types {
                let text = format!("{}|{}", token(of.as_deref(), name), escaped(value));
                found.push(format!("{code}:of-type={}", encoded(&text)));
            }
            found
        }
        _ => part(value).map_or_else(Vec::new, plain),
    }
}

/// The text of one value, for a parameter or for a component of a composite.
fn part(value: &IndexValue<'_>) -> Option<String> {
    Some(match value {
        IndexValue::Token { system, code } => token(system.as_deref(), code),
        IndexValue::Identifier { system, value, .. } => token(system.as_deref(), value),
        IndexValue::Reference(key) => key.to_string(),
        IndexValue::ReferenceUrl(url) | IndexValue::Uri(url) if !url.starts_with('#') => {
            escaped(url)
        }
        IndexValue::Number { low, high } | IndexValue::Quantity { low, high, .. } => {
            // A range and a value with a comparator reach beyond one number.
            let (prefix, number) = match (low.to_decimal(), high.to_decimal()) {
                (Some(low), Some(high)) if low == high => ("", low),
                (Some(low), _) => ("ge", low),
                (None, Some(high)) => ("le", high),
                (None, None) => return None,
            };
            format!("{prefix}{number}{}", unit(value))
        }
        IndexValue::String { exact, .. } => escaped(exact),
        IndexValue::Date { start, end } => match written(*start, *end) {
            Some(text) => text,
            None if *start > i64::MIN => format!("ge{}", Instant(*start).to_fhir()),
            None if *end < i64::MAX => format!("le{}", Instant(*end).to_fhir()),
            None => return None,
        },
        IndexValue::Position {
            latitude_e7,
            longitude_e7,
        } => format!("{}|{}|1|km", degrees(*latitude_e7), degrees(*longitude_e7)),
        _ => return None,
    })
}

fn token(system: Option<&str>, code: &str) -> String {
    match system {
        Some(system) => format!("{}|{}", escaped(system), escaped(code)),
        None => escaped(code),
    }
}

/// `|system|code` behind the number of a quantity.
fn unit(value: &IndexValue<'_>) -> String {
    match value {
        IndexValue::Quantity {
            system: Some(system),
            code: Some(code),
            ..
        } => format!("|{}|{}", escaped(system), escaped(code)),
        IndexValue::Quantity {
            code: Some(code), ..
        }
        | IndexValue::Quantity {
            unit: Some(code), ..
        } => format!("||{}", escaped(code)),
        _ => String::new(),
    }
}

/// The ends of a range that are known.
fn range(code: &str, low: &SortKey, high: &SortKey, unit: &str) -> Vec<String> {
    let side = |prefix: &str, key: &SortKey| {
        let number = key.to_decimal()?;
        Some(format!(
            "{code}={}",
            encoded(&format!("{prefix}{number}{unit}"))
        ))
    };
    [side("ge", low), side("le", high)]
        .into_iter()
        .flatten()
        .collect()
}

/// A date as it was written, when it was one date; each end that is known; both together.
fn date(code: &str, start: i64, end: i64) -> Vec<String> {
    let mut sides = Vec::new();
    if start > i64::MIN {
        sides.push(format!("{code}=ge{}", Instant(start).to_fhir()));
    }
    if end < i64::MAX {
        sides.push(format!("{code}=le{}", Instant(end).to_fhir()));
    }
    let both = sides.join("&");
    let whole = written(start, end).map(|text| format!("{code}={text}"));
    sides.into_iter().chain([both]).chain(whole).collect()
}

/// The shortest date or time in UTC that means just this range.
fn written(start: i64, end: i64) -> Option<String> {
    if start == i64::MIN || end == i64::MAX {
        return None;
    }
    let text = Instant(start).to_fhir();
    [4, 7, 10, 16, 19, 23].iter().find_map(|length| {
        let mut text = text.get(..*length)?.to_owned();
        if *length > 10 {
            text.push('Z');
        }
        let range = parse_search(&text)?.range(Zone::UTC);
        ((range.start, range.end) == (start, end)).then_some(text)
    })
}

fn degrees(e7: i64) -> String {
    let sign = if e7 < 0 { "-" } else { "" };
    let magnitude = e7.unsigned_abs();
    format!(
        "{sign}{}.{:07}",
        magnitude / 10_000_000,
        magnitude % 10_000_000
    )
}

/// <https://hl7.org/fhir/R4/search.html#escaping>
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
