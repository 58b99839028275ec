//! Quantities, money, ranges and sampled data as low and high ends in their own unit.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#Quantity>, <https://hl7.org/fhir/R4/search.html#quantity>
//!
//! Left out: conversion between units, which is the store's business and needs UCUM.

use std::borrow::Cow;

use crate::json::ValueRef;

use super::decimal::{Decimal, SortKey};

/// The system of `Money.currency`: "currency codes from ISO 4217".
pub const CURRENCY_SYSTEM: &str = "urn:iso:std:iso:4217";

/// A quantity ready to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityRange<'a> {
    /// `Quantity.system`.
    pub system: Option<Cow<'a, str>>,
    /// `Quantity.code`.
    pub code: Option<Cow<'a, str>>,
    /// `Quantity.unit`.
    pub unit: Option<Cow<'a, str>>,
    /// Lower end; [`SortKey::min`] when open.
    pub low: SortKey,
    /// Upper end; [`SortKey::max`] when open.
    pub high: SortKey,
}

/// The quantity of an element of type Quantity (and its profiles Age, Duration, Count, Distance), Money, Range or
/// SampledData, told apart by their members; `None` when it has no readable value.
pub fn range_of(value: ValueRef<'_>) -> Option<QuantityRange<'_>> {
    let mut members = QuantityMembers::default();
    for (name, member) in value.members() {
        match name.as_ref() {
            "value" => members.value = Some(member),
            "comparator" => members.comparator = Some(member),
            "system" => members.system = member.as_str(),
            "code" => members.code = member.as_str(),
            "unit" => members.unit = member.as_str(),
            "currency" => members.currency = member.as_str(),
            "low" | "high" => return of_range(value),
            "origin" => return of_sampled_data(value),
            _ => {}
        }
    }
    members.range()
}

/// What Quantity and Money have, read in one pass.
#[derive(Default)]
struct QuantityMembers<'a> {
    value: Option<ValueRef<'a>>,
    comparator: Option<ValueRef<'a>>,
    system: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    unit: Option<Cow<'a, str>>,
    currency: Option<Cow<'a, str>>,
}

impl<'a> QuantityMembers<'a> {
    /// `<5` is everything up to 5: "how the value should be understood and represented - whether the actual value
    /// is greater or less than the stated value".
    fn range(self) -> Option<QuantityRange<'a>> {
        let key = SortKey::from_decimal(&Decimal::parse(self.value?.number_text()?).ok()?);
        let (low, high) = match self.comparator {
            None => (key.clone(), key),
            Some(comparator) => match comparator.as_str()?.as_ref() {
                "<" | "<=" => (SortKey::min(), key),
                ">" | ">=" => (key, SortKey::max()),
                // An unknown comparator changes the meaning of the number, so the number alone must not be found.
                _ => return None,
            },
        };
        let (system, code) = match self.currency {
            Some(currency) => (Some(Cow::Borrowed(CURRENCY_SYSTEM)), Some(currency)),
            None => (self.system, self.code),
        };
        Some(QuantityRange {
            system,
            code,
            unit: self.unit,
            low,
            high,
        })
    }
}

/// Low and high of a decimal, integer or Range, unit aside; for parameters of type number.
pub fn number_range_of(value: ValueRef<'_>) -> Option<(SortKey, SortKey)> {
    match value.number_text() {
        Some(text) => {
            let key = SortKey::from_decimal(&Decimal::parse(text).ok()?);
            Some((key.clone(), key))
        }
        None => range_of(value).map(|q| (q.low, q.high)),
    }
}

fn decimal_of(value: ValueRef<'_>, name: &str) -> Option<Decimal> {
    Decimal::parse(value.get(name)?.number_text()?).ok()
}

fn text_of<'a>(value: ValueRef<'a>, name: &str) -> Option<Cow<'a, str>> {
    value.get(name).and_then(ValueRef::as_str)
}

fn with_unit_of<'a>(unit: ValueRef<'a>, low: SortKey, high: SortKey) -> QuantityRange<'a> {
    QuantityRange {
        system: text_of(unit, "system"),
        code: text_of(unit, "code"),
        unit: text_of(unit, "unit"),
        low,
        high,
    }
}

/// "If the low or high elements are missing, the boundaries are not known and therefore not part of the criteria":
/// a missing end is open. Ends in different units have no common scale and give nothing.
fn of_range(value: ValueRef<'_>) -> Option<QuantityRange<'_>> {
    let end = |name: &str| match value.get(name) {
        Some(end) if end.get("low").is_none() && end.get("high").is_none() => {
            range_of(end).map(Some)
        }
        Some(_) => None,
        None => Some(None),
    };
    match (end("low")?, end("high")?) {
        (Some(low), Some(high)) => {
            let is_same_unit = match (&low.code, &high.code) {
                (Some(a), Some(b)) => a == b && low.system == high.system,
                _ => low.unit == high.unit,
            };
            (is_same_unit && low.low <= high.high).then_some(QuantityRange {
                high: high.high,
                ..low
            })
        }
        (Some(low), None) => Some(QuantityRange {
            high: SortKey::max(),
            ..low
        }),
        (None, Some(high)) => Some(QuantityRange {
            low: SortKey::min(),
            ..high
        }),
        (None, None) => None,
    }
}

/// "just search on the bounds of the values in sampled data" (`Observation.value-quantity`): each point is
/// `origin + point × factor`; `L` and `U` lie beyond the detection limits, `E` is an error without a value.
fn of_sampled_data(value: ValueRef<'_>) -> Option<QuantityRange<'_>> {
    let origin = value.get("origin")?;
    let zero = decimal_of(origin, "value")?;
    let factor = match value.get("factor") {
        Some(_) => decimal_of(value, "factor")?,
        None => Decimal::from(1),
    };
    let data = text_of(value, "data")?;
    let mut points: Option<(Decimal, Decimal)> = None;
    let (mut is_open_below, mut is_open_above) = (false, false);
    for point in data.split_ascii_whitespace() {
        match point {
            "E" => {}
            "L" => is_open_below = true,
            "U" => is_open_above = true,
            number => {
                let number = Decimal::parse(number).ok()?;
                points = Some(match points {
                    None => (number.clone(), number),
                    Some((low, high)) if number < low => (number, high),
                    Some((low, high)) if number > high => (low, number),
                    Some(bounds) => bounds,
                });
            }
        }
    }
    let scaled = |point: &Decimal| {
        point
            .checked_mul(&factor)
            .and_then(|p| p.checked_add(&zero))
    };
    let (a, b) = match points {
        Some((low, high)) => (scaled(&low)?, scaled(&high)?),
        None if is_open_below => {
            decimal_of(value, "lowerLimit").and_then(|l| Some((scaled(&l)?, scaled(&l)?)))?
        }
        None if is_open_above => {
            decimal_of(value, "upperLimit").and_then(|l| Some((scaled(&l)?, scaled(&l)?)))?
        }
        None => return None,
    };
    // A negative factor turns the order round, the detection limits with it.
    if factor.is_negative() {
        (is_open_below, is_open_above) = (is_open_above, is_open_below);
    }
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let low = if is_open_below {
        SortKey::min()
    } else {
        SortKey::from_decimal(&low)
    };
    let high = if is_open_above {
        SortKey::max()
    } else {
        SortKey::from_decimal(&high)
    };
    Some(with_unit_of(origin, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn shown(key: &SortKey) -> String {
        match key.to_decimal() {
            Some(value) => value.to_string(),
            None if *key == SortKey::min() => "-inf".to_owned(),
            None => "+inf".to_owned(),
        }
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn values_become_ranges_in_their_unit() {
        for (json, expected) in [
            (
                r#"{"value":5.40,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}"#,
                "5.4..5.4 http://unitsofmeasure.org mg/dL mg/dL",
            ),
            (r#"{"value":5}"#, "5..5 - - -"),
            (
                r#"{"value":5,"comparator":"<","unit":"mg"}"#,
                "-inf..5 - - mg",
            ),
            (r#"{"value":5,"comparator":"<="}"#, "-inf..5 - - -"),
            (r#"{"value":5,"comparator":">"}"#, "5..+inf - - -"),
            (r#"{"value":5,"comparator":">="}"#, "5..+inf - - -"),
            (r#"{"value":5,"comparator":"~"}"#, "none"),
            (r#"{"value":5,"comparator":1}"#, "none"),
            (r#"{"value":"5"}"#, "none"),
            (r#"{"unit":"mg"}"#, "none"),
            (r#""5""#, "none"),
            (
                r#"{"value":9.99,"currency":"EUR"}"#,
                "9.99..9.99 urn:iso:std:iso:4217 EUR -",
            ),
            (
                r#"{"low":{"value":1,"unit":"mg"},"high":{"value":3,"unit":"mg"}}"#,
                "1..3 - - mg",
            ),
            (r#"{"low":{"value":1,"unit":"mg"}}"#, "1..+inf - - mg"),
            (r#"{"high":{"value":3,"unit":"mg"}}"#, "-inf..3 - - mg"),
            (
                r#"{"low":{"value":1,"unit":"mg"},"high":{"value":3,"unit":"g"}}"#,
                "none",
            ),
            (r#"{"low":{"value":3},"high":{"value":1}}"#, "none"),
            (r#"{"low":{"value":"x"},"high":{"value":1}}"#, "none"),
            (
                r#"{"origin":{"value":2.0,"unit":"mV"},"period":10,"dimensions":1,"data":"1 -3 E 2.5"}"#,
                "-1..4.5 - - mV",
            ),
            (
                r#"{"origin":{"value":0,"unit":"mV"},"factor":-0.1,"data":"1 2"}"#,
                "-0.2..-0.1 - - mV",
            ),
            (
                r#"{"origin":{"value":0,"unit":"mV"},"data":"1 L 2"}"#,
                "-inf..2 - - mV",
            ),
            (
                r#"{"origin":{"value":0,"unit":"mV"},"data":"1 U 2"}"#,
                "1..+inf - - mV",
            ),
            (r#"{"origin":{"value":0,"unit":"mV"},"data":"E E"}"#, "none"),
            (r#"{"origin":{"value":0,"unit":"mV"},"data":"1 x"}"#, "none"),
            (r#"{"origin":{"value":0,"unit":"mV"}}"#, "none"),
        ] {
            let document = Document::parse(json.as_bytes()).unwrap();
            let or_dash = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
            let found = range_of(document.root()).map_or("none".to_owned(), |q| {
                let unit = [&q.system, &q.code, &q.unit].map(or_dash).join(" ");
                format!("{}..{} {unit}", shown(&q.low), shown(&q.high))
            });
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn numbers_need_no_unit() {
        for (json, expected) in [
            ("0.40", Some("0.4 0.4")),
            (r#"{"low":{"value":1},"high":{"value":2}}"#, Some("1 2")),
            (r#""1""#, None),
            ("true", None),
        ] {
            let document = Document::parse(json.as_bytes()).unwrap();
            let found = number_range_of(document.root())
                .map(|(low, high)| format!("{} {}", shown(&low), shown(&high)));
            assert_eq!(found.as_deref(), expected, "{json}");
        }
    }
}
