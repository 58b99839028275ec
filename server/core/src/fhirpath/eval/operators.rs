//! Operators on collections.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#operations>

use std::cmp::Ordering;

use crate::datatype::decimal::{Decimal, Rounding};

use super::{Collection, EvalError, Item, Operator, Result, moment, single, truth, units};

fn boolean<'a>(value: Option<bool>) -> Collection<'a> {
    value.map(Item::Boolean).into_iter().collect()
}

pub(super) fn negate<'a>(operand: &[Item<'a>]) -> Result<Collection<'a>> {
    match single(operand)?.map(Item::to_system) {
        None => Ok(Vec::new()),
        Some(Item::Number { value, is_integer }) => Ok(vec![Item::Number {
            value: value.negated(),
            is_integer,
        }]),
        Some(Item::Quantity { value, unit }) => Ok(vec![Item::Quantity {
            value: value.negated(),
            unit,
        }]),
        Some(_) => Err(EvalError::WrongType),
    }
}

pub(super) fn apply<'a>(
    operator: Operator,
    left: Collection<'a>,
    right: Collection<'a>,
) -> Result<Collection<'a>> {
    match operator {
        Operator::Union => Ok(distinct(left.into_iter().chain(right))),
        Operator::Equal => Ok(boolean(equal(&left, &right))),
        Operator::NotEqual => Ok(boolean(equal(&left, &right).map(|e| !e))),
        Operator::Equivalent => Ok(boolean(Some(equivalent(&left, &right)))),
        Operator::NotEquivalent => Ok(boolean(Some(!equivalent(&left, &right)))),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            compare(operator, &left, &right)
        }
        Operator::In => Ok(boolean(single(&left)?.map(|item| contains(&right, item)))),
        Operator::Contains => Ok(boolean(single(&right)?.map(|item| contains(&left, item)))),
        Operator::And | Operator::Or | Operator::Xor | Operator::Implies => {
            Ok(boolean(logic(operator, truth(&left)?, truth(&right)?)))
        }
        Operator::Concatenate => {
            let text = |items: &[Item<'a>]| match single(items)? {
                None => Ok(String::new()),
                Some(item) => item
                    .as_text()
                    .map(|t| t.into_owned())
                    .ok_or(EvalError::WrongType),
            };
            Ok(vec![Item::String((text(&left)? + &text(&right)?).into())])
        }
        Operator::Add
        | Operator::Subtract
        | Operator::Multiply
        | Operator::Div
        | Operator::Mod
        | Operator::Divide => arithmetic(operator, &left, &right),
    }
}

/// Three-valued logic. Spec: <http://hl7.org/fhirpath/N1/#boolean-logic>
fn logic(operator: Operator, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (operator, left, right) {
        (Operator::And, Some(false), _) | (Operator::And, _, Some(false)) => Some(false),
        (Operator::And, Some(true), Some(true)) => Some(true),
        (Operator::Or, Some(true), _) | (Operator::Or, _, Some(true)) => Some(true),
        (Operator::Or, Some(false), Some(false)) => Some(false),
        (Operator::Xor, Some(a), Some(b)) => Some(a != b),
        (Operator::Implies, Some(false), _) | (Operator::Implies, _, Some(true)) => Some(true),
        (Operator::Implies, Some(true), Some(false)) => Some(false),
        _ => None,
    }
}

/// `=`: nothing when either side is empty or precision leaves it open.
pub(super) fn equal(left: &[Item<'_>], right: &[Item<'_>]) -> Option<bool> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    if left.len() != right.len() {
        return Some(false);
    }
    let mut is_open = false;
    for (a, b) in left.iter().zip(right) {
        match a.equals(b) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => is_open = true,
        }
    }
    (!is_open).then_some(true)
}

/// `~`: order, case and white space do not matter, and nothing equals nothing.
fn equivalent(left: &[Item<'_>], right: &[Item<'_>]) -> bool {
    let folded = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    let is_alike = |a: &Item<'_>, b: &Item<'_>| match (a.to_system(), b.to_system()) {
        (Item::String(a), Item::String(b)) => folded(&a) == folded(&b),
        (Item::Number { value: a, .. }, Item::Number { value: b, .. }) => is_near(&a, &b),
        (Item::Quantity { value: a, unit: x }, Item::Quantity { value: b, unit: y }) => {
            is_near_quantity((&a, &x), (&b, &y))
        }
        _ => a.equals(b) == Some(true),
    };
    left.len() == right.len() && left.iter().all(|a| right.iter().any(|b| is_alike(a, b)))
}

/// Equal when rounded to the places of the less precise one; zeros at the end do not count.
fn is_near(a: &Decimal, b: &Decimal) -> bool {
    let places = a.significant_places().min(b.significant_places());
    a.to_places(places, Rounding::HalfUp) == b.to_places(places, Rounding::HalfUp)
}

/// The same in the unit of the second; `1 year ~ 1 'a'` although the two are not equal.
fn is_near_quantity((a, x): (&Decimal, &str), (b, y): (&Decimal, &str)) -> bool {
    let fixed = |unit: &str| match unit {
        "year" | "years" => "a".to_owned(),
        "month" | "months" => "mo".to_owned(),
        _ => units::code(unit).to_owned(),
    };
    let (x, y) = (fixed(x), fixed(y));
    if x == y {
        return is_near(a, b);
    }
    let converted = |number: &Decimal, from: &str, to: &str| {
        let (low, _) = crate::datatype::ucum::convert(&number.to_string(), from, to)?;
        Decimal::parse(&low).ok()
    };
    // Which of the two is less precise shows in one of the units only: `4 'g'` is `4.04 'g'`, `4000 'mg'` not `4040 'mg'`.
    converted(a, &x, &y).is_some_and(|a| is_near(&a, b))
        || converted(b, &y, &x).is_some_and(|b| is_near(a, &b))
}

pub(super) fn contains(items: &[Item<'_>], item: &Item<'_>) -> bool {
    items.iter().any(|other| other.equals(item) == Some(true))
}

/// Each different item once, in order.
pub(super) fn distinct<'a>(items: impl Iterator<Item = Item<'a>>) -> Collection<'a> {
    let mut found: Collection<'a> = Vec::new();
    for item in items {
        if !contains(&found, &item) {
            found.push(item);
        }
    }
    found
}

fn compare<'a>(
    operator: Operator,
    left: &[Item<'a>],
    right: &[Item<'a>],
) -> Result<Collection<'a>> {
    let (Some(left), Some(right)) = (single(left)?, single(right)?) else {
        return Ok(Vec::new());
    };
    let order = left.compares(right).ok_or(EvalError::WrongType)?;
    Ok(boolean(order.map(|order| match operator {
        Operator::Less => order == Ordering::Less,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })))
}

fn arithmetic<'a>(
    operator: Operator,
    left: &[Item<'a>],
    right: &[Item<'a>],
) -> Result<Collection<'a>> {
    let (Some(left), Some(right)) = (single(left)?, single(right)?) else {
        return Ok(Vec::new());
    };
    let found = match (left.to_system(), right.to_system()) {
        (Item::String(a), Item::String(b)) if operator == Operator::Add => {
            Some(Item::String((a.into_owned() + &b).into()))
        }
        (
            Item::Number {
                value: a,
                is_integer: is_whole,
            },
            Item::Number {
                value: b,
                is_integer,
            },
        ) => numbers(operator, &a, &b, is_whole && is_integer)?,
        (Item::Quantity { value: a, unit: x }, Item::Quantity { value: b, unit: y }) => {
            quantities(operator, (&a, &x), (&b, &y))?
        }
        (Item::Quantity { value: a, unit }, Item::Number { value: b, .. }) => {
            quantities(operator, (&a, &unit), (&b, "1"))?
        }
        (Item::Number { value: a, .. }, Item::Quantity { value: b, unit }) => {
            quantities(operator, (&a, "1"), (&b, &unit))?
        }
        (moment, Item::Quantity { value, unit })
            if matches!(operator, Operator::Add | Operator::Subtract) =>
        {
            let value = if operator == Operator::Add {
                value
            } else {
                value.negated()
            };
            moved(moment, &value, &unit)?
        }
        _ => return Err(EvalError::WrongType),
    };
    Ok(found.into_iter().collect())
}

fn numbers<'a>(
    operator: Operator,
    a: &Decimal,
    b: &Decimal,
    is_integer: bool,
) -> Result<Option<Item<'a>>> {
    let (value, is_integer) = match operator {
        Operator::Add => (a.checked_add(b), is_integer),
        Operator::Subtract => (a.checked_sub(b), is_integer),
        Operator::Multiply => (a.checked_mul(b), is_integer),
        Operator::Divide => (a.checked_div(b), false),
        Operator::Div => (a.checked_div_whole(b), true),
        Operator::Mod => (a.checked_rem(b), is_integer),
        _ => return Err(EvalError::WrongType),
    };
    Ok(value.map(|value| Item::Number { value, is_integer }))
}

fn quantities<'a>(
    operator: Operator,
    (a, x): (&Decimal, &str),
    (b, y): (&Decimal, &str),
) -> Result<Option<Item<'a>>> {
    let quantity = |value: Option<Decimal>, unit: String| {
        value.map(|value| Item::Quantity {
            value,
            unit: unit.into(),
        })
    };
    Ok(match operator {
        Operator::Multiply => quantity(a.checked_mul(b), units::product(x, y)),
        Operator::Divide => quantity(a.checked_div(b), units::quotient(x, y)),
        Operator::Add | Operator::Subtract => {
            let b = if units::code(x) == units::code(y) {
                Some(b.clone())
            } else {
                // Only what converts without rounding is added.
                crate::datatype::ucum::convert(&b.to_string(), units::code(y), units::code(x))
                    .filter(|(low, high)| low == high)
                    .and_then(|(low, _)| Decimal::parse(&low).ok())
            };
            let Some(b) = b else { return Ok(None) };
            let sum = if operator == Operator::Add {
                a.checked_add(&b)
            } else {
                a.checked_sub(&b)
            };
            quantity(sum, x.to_owned())
        }
        _ => return Err(EvalError::WrongType),
    })
}

fn moved<'a>(item: Item<'a>, value: &Decimal, unit: &str) -> Result<Option<Item<'a>>> {
    match item {
        Item::Date(date) => match moment::add(&date, value, unit) {
            Some(moved) => Ok(moved.map(Item::Date)),
            None => Err(EvalError::WrongType),
        },
        Item::DateTime(date) => match moment::add(&date, value, unit) {
            Some(moved) => Ok(moved.map(Item::DateTime)),
            None => Err(EvalError::WrongType),
        },
        Item::Time(time) => match moment::add_to_time(&time, value, unit) {
            Some(moved) => Ok(Some(Item::Time(moved.into()))),
            None => Err(EvalError::WrongType),
        },
        _ => Err(EvalError::WrongType),
    }
}
