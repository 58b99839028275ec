//! Functions of numbers, and the bounds that precision leaves.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#math>, <https://build.fhir.org/ig/HL7/FHIRPath/#lowboundaryprecision-integer-decimal--date--datetime--time>

use crate::datatype::decimal::{Decimal, QUOTIENT_DIGITS, Rounding};

use super::{EvalError, Item, Result, moment, units};

/// Digits behind the point of a decimal's bound unless asked otherwise.
const BOUNDARY_PLACES: u32 = 8;

/// What a function of one number, date or quantity gives; `None` outside for a name that is none.
pub(super) fn call<'a>(
    name: &str,
    item: &Item<'a>,
    arguments: &[Item<'a>],
) -> Result<Option<Vec<Item<'a>>>> {
    let system = item.to_system();
    let some = |item: Option<Item<'a>>| Ok(Some(item.into_iter().collect()));
    match name {
        "lowBoundary" | "highBoundary" => {
            return some(boundary(name == "highBoundary", &system, arguments)?);
        }
        "precision" => return some(precision(&system)?),
        "comparable" => {
            let other = arguments.first().map(Item::to_system);
            return match (system, other) {
                (Item::Quantity { unit: x, .. }, Some(Item::Quantity { unit: y, .. })) => {
                    some(Some(Item::Boolean(units::is_comparable(&x, &y))))
                }
                _ => Err(EvalError::WrongType),
            };
        }
        "abs" | "ceiling" | "floor" | "truncate" | "round" | "sqrt" | "exp" | "ln" | "log"
        | "power" => {}
        _ => return Ok(None),
    }
    if let (Item::Quantity { value, unit }, Some(shape)) = (&system, shape(name, arguments)?) {
        return some(Some(Item::Quantity {
            value: shape(value),
            unit: unit.clone(),
        }));
    }
    let Item::Number { value, is_integer } = system else {
        return Err(EvalError::WrongType);
    };
    let argument = match arguments.first() {
        Some(item) => Some(item.as_number().ok_or(EvalError::WrongType)?),
        None => None,
    };
    let decimal = |value| Item::Number {
        value,
        is_integer: false,
    };
    some(match (name, argument) {
        ("abs", None) => Some(Item::Number {
            value: absolute(&value),
            is_integer,
        }),
        ("ceiling", None) => Some(whole(&value, Rounding::Ceiling)),
        ("floor", None) => Some(whole(&value, Rounding::Floor)),
        ("truncate", None) => Some(whole(&value, Rounding::Truncate)),
        ("round", None) => Some(decimal(value.to_places(0, Rounding::HalfUp))),
        ("round", Some(places)) => {
            let places = places.to_scaled_i64(0).and_then(|p| u32::try_from(p).ok());
            let places = places.ok_or(EvalError::WrongType)?;
            Some(decimal(value.to_places(places.min(100), Rounding::HalfUp)))
        }
        ("sqrt", None) => value.sqrt().map(decimal),
        ("exp", None) => value.exp().map(decimal),
        ("ln", None) => value.ln().map(decimal),
        ("log", Some(base)) => value.log(&base).map(decimal),
        ("power", Some(exponent)) => {
            let is_integer = is_integer && exponent.is_whole() && !exponent.is_negative();
            value
                .power(&exponent)
                .map(|value| Item::Number { value, is_integer })
        }
        _ => return Err(EvalError::WrongType),
    })
}

type Shape = Box<dyn Fn(&Decimal) -> Decimal>;

/// What keeps a quantity's unit.
fn shape(name: &str, arguments: &[Item<'_>]) -> Result<Option<Shape>> {
    let places = match arguments
        .first()
        .map(|a| a.as_number().and_then(|n| n.to_scaled_i64(0)))
    {
        None => 0,
        Some(places) => places
            .and_then(|p| u32::try_from(p).ok())
            .ok_or(EvalError::WrongType)?,
    };
    Ok(Some(match name {
        "abs" => Box::new(absolute),
        "ceiling" => Box::new(|v| v.to_places(0, Rounding::Ceiling)),
        "floor" => Box::new(|v| v.to_places(0, Rounding::Floor)),
        "truncate" => Box::new(|v| v.to_places(0, Rounding::Truncate)),
        "round" => Box::new(move |v| v.to_places(places.min(100), Rounding::HalfUp)),
        _ => return Ok(None),
    }))
}

fn absolute(value: &Decimal) -> Decimal {
    if value.is_negative() {
        value.negated()
    } else {
        value.clone()
    }
}

fn whole<'a>(value: &Decimal, rounding: Rounding) -> Item<'a> {
    Item::Number {
        value: value.to_places(0, rounding),
        is_integer: true,
    }
}

fn precision<'a>(system: &Item<'a>) -> Result<Option<Item<'a>>> {
    let digits = match system {
        Item::Number { value, .. } => value.places(),
        Item::Date(date) | Item::DateTime(date) => moment::digits(date),
        Item::Time(text) => time_digits(text),
        _ => return Err(EvalError::WrongType),
    };
    Ok(Some(Item::integer(i64::from(digits))))
}

fn time_digits(text: &str) -> u32 {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    u32::try_from(digits).unwrap_or(0).min(9)
}

fn boundary<'a>(
    is_high: bool,
    system: &Item<'a>,
    arguments: &[Item<'a>],
) -> Result<Option<Item<'a>>> {
    let asked = match arguments.first() {
        None => None,
        Some(item) => {
            let number = item.as_number().ok_or(EvalError::WrongType)?;
            match number.to_scaled_i64(0).and_then(|p| u32::try_from(p).ok()) {
                Some(places) => Some(places),
                None => return Ok(None),
            }
        }
    };
    Ok(match system {
        Item::Number { value, .. } => {
            decimal_boundary(value, asked, is_high).map(|value| Item::Number {
                value,
                is_integer: false,
            })
        }
        Item::Quantity { value, unit } => {
            decimal_boundary(value, asked, is_high).map(|value| Item::Quantity {
                value,
                unit: unit.clone(),
            })
        }
        Item::Date(date) => {
            moment::boundary(date, asked.unwrap_or(8), is_high, true).map(Item::Date)
        }
        Item::DateTime(date) => {
            moment::boundary(date, asked.unwrap_or(17), is_high, false).map(Item::DateTime)
        }
        Item::Time(text) => time_boundary(text, asked.unwrap_or(9), is_high),
        _ => return Err(EvalError::WrongType),
    })
}

/// Half a unit of the last digit to one side, written outwards with the places asked for.
fn decimal_boundary(value: &Decimal, places: Option<u32>, is_high: bool) -> Option<Decimal> {
    let places = places.unwrap_or(BOUNDARY_PLACES);
    if usize::try_from(places).ok()? > QUOTIENT_DIGITS {
        return None;
    }
    let (low, high) = value.implicit_range();
    Some(if is_high {
        high.to_places(places, Rounding::Ceiling)
    } else {
        low.to_places(places, Rounding::Floor)
    })
}

fn time_boundary<'a>(text: &str, digits: u32, is_high: bool) -> Option<Item<'a>> {
    let (date, _) = moment::parse(&format!("2000-01-01T{text}"))?;
    let bound = moment::boundary(&date, digits.checked_add(8)?, is_high, false)?;
    let bound = moment::to_text(&crate::datatype::date::DateTime {
        zone: None,
        ..bound
    });
    let (_, time) = bound.split_once('T')?;
    Some(Item::Time(time.to_owned().into()))
}
