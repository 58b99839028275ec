//! Conversions between the types of FHIRPath.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#conversion>

use std::borrow::Cow;

use crate::datatype::decimal::Decimal;

use super::{Item, moment};

/// What `to…()` makes of an item; `None` outside for a name that is no conversion.
pub(super) fn call<'a>(name: &str, item: &Item<'a>) -> Option<Option<Item<'a>>> {
    if let Some(target) = name.strip_prefix("convertsTo") {
        let converted = to(target, item)?;
        return Some(Some(Item::Boolean(converted.is_some())));
    }
    to(name.strip_prefix("to")?, item)
}

fn to<'a>(target: &str, item: &Item<'a>) -> Option<Option<Item<'a>>> {
    Some(match target {
        "String" => item.to_text().map(Item::String),
        "Integer" => to_integer(item),
        "Decimal" => to_decimal(item),
        "Boolean" => to_boolean(item),
        "Quantity" => to_quantity(item),
        "Date" => match item.to_system() {
            Item::Date(date) => Some(Item::Date(date)),
            Item::DateTime(mut date) => {
                date.precision = date.precision.min(crate::datatype::date::Precision::Day);
                date.zone = None;
                Some(Item::Date(date))
            }
            Item::String(text) => moment::parse(&text)
                .filter(|(_, is_date_time)| !is_date_time)
                .map(|(date, _)| Item::Date(date)),
            _ => None,
        },
        "DateTime" => match item.to_system() {
            Item::Date(date) | Item::DateTime(date) => Some(Item::DateTime(date)),
            Item::String(text) => moment::parse(&text).map(|(date, _)| Item::DateTime(date)),
            _ => None,
        },
        "Time" => match item.to_system() {
            Item::Time(time) => Some(Item::Time(time)),
            Item::String(text) => moment::is_time(&text).then_some(Item::Time(text)),
            _ => None,
        },
        _ => return None,
    })
}

fn to_integer<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    match item.to_system() {
        Item::Number {
            value,
            is_integer: true,
        } => Some(Item::Number {
            value,
            is_integer: true,
        }),
        Item::Boolean(value) => Some(Item::integer(i64::from(value))),
        Item::String(text) => {
            let digits = text.strip_prefix('+').unwrap_or(&text);
            digits.parse().ok().map(Item::integer)
        }
        _ => None,
    }
}

fn to_decimal<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    let value = match item.to_system() {
        Item::Number { value, .. } => value,
        Item::Boolean(value) => Decimal::from(i64::from(value)),
        Item::String(text) => Decimal::parse(text.strip_prefix('+').unwrap_or(&text)).ok()?,
        _ => return None,
    };
    Some(Item::Number {
        value,
        is_integer: false,
    })
}

fn to_boolean<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    let value = match item.to_system() {
        Item::Boolean(value) => value,
        Item::Number { value, .. } if value == Decimal::from(1) => true,
        Item::Number { value, .. } if value.is_zero() => false,
        Item::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => true,
            "false" | "f" | "no" | "n" | "0" | "0.0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Item::Boolean(value))
}

/// `4 days`, `4.5 'mg'`, `4`.
fn to_quantity<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    let text = match item.to_system() {
        Item::Quantity { value, unit } => return Some(Item::Quantity { value, unit }),
        Item::Number { value, .. } => {
            return Some(Item::Quantity {
                value,
                unit: Cow::Borrowed("1"),
            });
        }
        Item::Boolean(value) => {
            return Some(Item::Quantity {
                value: Decimal::from(i64::from(value)),
                unit: Cow::Borrowed("1"),
            });
        }
        Item::String(text) => text,
        _ => return None,
    };
    let text = text.trim();
    let (number, unit) = match text.split_once(char::is_whitespace) {
        Some((number, unit)) => (number, unit.trim()),
        None => (text, "'1'"),
    };
    let value = Decimal::parse(number.strip_prefix('+').unwrap_or(number)).ok()?;
    let quoted = unit.strip_prefix('\'').and_then(|u| u.strip_suffix('\''));
    let unit = match quoted {
        Some(code) => code,
        None if super::units::is_calendar_word(unit) => unit,
        None => return None,
    };
    Some(Item::Quantity {
        value,
        unit: Cow::Owned(unit.to_owned()),
    })
}
