//! Operators on collections.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#operations>

use std::cmp::Ordering;

use super::{Collection, EvalError, Item, Operator, Result, single, truth};

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
    let is_alike = |a: &Item<'_>, b: &Item<'_>| match (a.as_text(), b.as_text()) {
        (Some(a), Some(b)) => folded(&a) == folded(&b),
        _ => a.equals(b) == Some(true),
    };
    left.len() == right.len() && left.iter().all(|a| right.iter().any(|b| is_alike(a, b)))
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
    Ok(boolean(left.compares(right).map(|order| match operator {
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
    let unsupported = || EvalError::Unsupported(operator.text().into());
    let (Some(left), Some(right)) = (single(left)?, single(right)?) else {
        return Ok(Vec::new());
    };
    match (left.to_system(), right.to_system()) {
        (Item::String(a), Item::String(b)) if operator == Operator::Add => {
            Ok(vec![Item::String((a.into_owned() + &b).into())])
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
        ) => {
            let is_integer = is_integer && is_whole;
            let value = match operator {
                Operator::Add => a.checked_add(&b),
                Operator::Subtract => a.checked_sub(&b),
                Operator::Multiply => a.checked_mul(&b),
                Operator::Div | Operator::Mod if is_integer => {
                    let (Some(a), Some(b)) = (a.to_scaled_i64(0), b.to_scaled_i64(0)) else {
                        return Err(unsupported());
                    };
                    let result = if operator == Operator::Div {
                        a.checked_div(b)
                    } else {
                        a.checked_rem(b)
                    };
                    return Ok(result.map(Item::integer).into_iter().collect());
                }
                _ => return Err(unsupported()),
            };
            Ok(value
                .map(|value| Item::Number { value, is_integer })
                .into_iter()
                .collect())
        }
        _ => Err(unsupported()),
    }
}
