//! Units of quantities: words of time, UCUM codes, and numbers carried between them.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#time-valued-quantities>, <http://hl7.org/fhirpath/N1/#quantity-equality>

use std::cmp::Ordering;

use crate::datatype::decimal::Decimal;
use crate::datatype::ucum;

/// Words of time and the UCUM codes of the same length.
const WORDS: &[(&str, &str)] = &[
    ("week", "wk"),
    ("day", "d"),
    ("hour", "h"),
    ("minute", "min"),
    ("second", "s"),
    ("millisecond", "ms"),
];

fn singular(unit: &str) -> &str {
    unit.strip_suffix('s')
        .filter(|u| u.len() > 2)
        .unwrap_or(unit)
}

/// Whether it is `year`, `days` and the like.
pub(super) fn is_calendar_word(unit: &str) -> bool {
    let word = singular(unit);
    matches!(word, "year" | "month") || WORDS.iter().any(|(w, _)| *w == word)
}

/// The UCUM code of a word of definite length; other units stay.
pub(super) fn code(unit: &str) -> &str {
    let word = singular(unit);
    WORDS
        .iter()
        .find(|(w, _)| *w == word)
        .map_or(unit, |(_, code)| code)
}

/// How two quantities compare; `None` for units of different dimensions, and where years and months of a calendar meet
/// fixed lengths.
pub(super) fn compare(a: &Decimal, x: &str, b: &Decimal, y: &str) -> Option<Ordering> {
    let months = |unit: &str| match singular(unit) {
        "year" => Some(12),
        "month" => Some(1),
        _ => None,
    };
    match (months(x), months(y)) {
        (Some(x), Some(y)) => {
            return Some(
                a.checked_mul(&Decimal::from(x))?
                    .cmp(&b.checked_mul(&Decimal::from(y))?),
            );
        }
        (None, None) => {}
        _ => return None,
    }
    let (x, y) = (code(x), code(y));
    if x == y {
        return Some(a.cmp(b));
    }
    let (low, high) = ucum::convert(&a.to_string(), x, y)?;
    let (low, high) = (Decimal::parse(&low).ok()?, Decimal::parse(&high).ok()?);
    Some(if high < *b {
        Ordering::Less
    } else if low > *b {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

/// Whether numbers in these units can be compared.
pub(super) fn is_comparable(x: &str, y: &str) -> bool {
    compare(&Decimal::from(1), x, &Decimal::from(1), y).is_some()
}

/// The unit of a product.
pub(super) fn product(x: &str, y: &str) -> String {
    match (code(x), code(y)) {
        (x, "1") => x.to_owned(),
        ("1", y) => y.to_owned(),
        (x, y) => format!("{}.{}", grouped(x), grouped(y)),
    }
}

/// The unit of a quotient.
pub(super) fn quotient(x: &str, y: &str) -> String {
    match (code(x), code(y)) {
        (x, "1") => x.to_owned(),
        (x, y) if x == y => "1".to_owned(),
        (x, y) => format!("{}/{}", grouped(x), grouped(y)),
    }
}

fn grouped(unit: &str) -> String {
    if unit.contains(['/', '.']) {
        format!("({unit})")
    } else {
        unit.to_owned()
    }
}
