//! Searching in memory by reading every entry: slow, simple, and written without a look at the store's SQL.

use crate::index::KEY_TEXT_BYTES_MAX;
use conformance::{ParamId, ResourceTypeId};
use fhir_core::datatype::decimal::SortKey;
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::index::{IndexEntry, IndexValue};
use fhir_core::search::predicate::{
    Comparison, DateTest, Direction, Predicate, QuantityTest, RangeTest, ReferenceTest, SortBy,
    SortKeySpec, StringTest, TokenTest, UnitTest, UriTest, ValueTest,
};

/// A live resource.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) key: ResourceKey,
    pub(crate) entries: Vec<IndexEntry<'static>>,
    pub(crate) updated: Instant,
    /// Place in the order of creation.
    pub(crate) number: usize,
}

/// Whether an item matches, given all live items.
pub(crate) fn matches(items: &[Item], item: &Item, predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Everything => true,
        Predicate::Nothing => false,
        Predicate::And(all) => all.iter().all(|p| matches(items, item, p)),
        Predicate::Or(any) => any.iter().any(|p| matches(items, item, p)),
        Predicate::Not(inner) => !matches(items, item, inner),
        Predicate::Id(ids) => ids.contains(&item.key.id),
        Predicate::LastUpdated(test) => date(test, item.updated.0, item.updated.0 + 1),
        Predicate::Value { param, test } => values(item, *param).any(|value| passes(test, value)),
        Predicate::Composite { param, tests } => values(item, *param).any(|value| match value {
            IndexValue::Composite(parts) => {
                parts.len() >= tests.len()
                    && tests
                        .iter()
                        .zip(parts)
                        .all(|(test, part)| passes(test, part))
            }
            _ => false,
        }),
        Predicate::Words { .. } => false,
        Predicate::Present(param) => values(item, *param).next().is_some(),
        Predicate::Chain {
            param,
            target,
            inner,
        } => values(item, *param).any(|value| match value {
            IndexValue::Reference(key) => items.iter().any(|other| {
                other.key == *key && key.resource_type == *target && matches(items, other, inner)
            }),
            _ => false,
        }),
        Predicate::Has {
            source,
            param,
            inner,
        } => items.iter().any(|other| {
            other.key.resource_type == *source
                && values(other, *param).any(|v| *v == IndexValue::Reference(item.key.clone()))
                && matches(items, other, inner)
        }),
    }
}

fn values(item: &Item, param: ParamId) -> impl Iterator<Item = &IndexValue<'static>> {
    item.entries
        .iter()
        .filter(move |entry| entry.param == param)
        .map(|entry| &entry.value)
}

fn passes(test: &ValueTest, value: &IndexValue<'_>) -> bool {
    match (test, value) {
        (ValueTest::Token(test), IndexValue::Token { system, code }) => {
            token(test, system.as_deref(), code)
        }
        (
            ValueTest::Token(TokenTest::OfType {
                system,
                code,
                value,
            }),
            IndexValue::Identifier {
                value: v, types, ..
            },
        ) => {
            v == value
                && types
                    .iter()
                    .any(|(s, c)| s.as_deref() == Some(system.as_str()) && c == code)
        }
        (ValueTest::Token(test), IndexValue::Identifier { system, value, .. }) => {
            token(test, system.as_deref(), value)
        }
        (ValueTest::Token(TokenTest::Text(text)), IndexValue::TokenText(texts)) => texts
            .iter()
            .any(|t| t.starts_with(text.as_str()) || t.contains(&format!(" {text}"))),
        (ValueTest::String(test), IndexValue::String { normal, exact }) => match test {
            StringTest::StartsWith(text) => normal.starts_with(text.as_str()),
            StringTest::Contains(text) => normal.contains(text.as_str()),
            StringTest::Exact(text) => exact == text,
            StringTest::Equals(text) => normal == text,
            StringTest::EndsWith(text) => normal.ends_with(text.as_str()),
        },
        (ValueTest::Date(test), IndexValue::Date { start, end }) => date(test, *start, *end),
        (ValueTest::Number(test), IndexValue::Number { low, high }) => number(test, low, high),
        (
            ValueTest::Quantity(test),
            IndexValue::Quantity {
                system,
                code,
                unit,
                low,
                high,
            },
        ) => {
            quantity(test, system.as_deref(), code.as_deref(), unit.as_deref())
                && number(&test.range, low, high)
        }
        (ValueTest::Reference(ReferenceTest::Local(keys)), IndexValue::Reference(key)) => {
            keys.contains(key)
        }
        (ValueTest::Reference(ReferenceTest::OfType(t)), IndexValue::Reference(key)) => {
            key.resource_type == *t
        }
        (ValueTest::Reference(ReferenceTest::Url(url)), IndexValue::ReferenceUrl(value)) => {
            url == value
        }
        (
            ValueTest::Reference(ReferenceTest::Identifier(test)),
            IndexValue::ReferenceIdentifier { system, value },
        ) => token(test, system.as_deref(), value),
        (ValueTest::Uri(test), IndexValue::Uri(value)) => match test {
            UriTest::Exact(uri) => value == uri,
            UriTest::Below(uri) => value.starts_with(uri.as_str()),
            UriTest::Above(uri) => uri.starts_with(value.as_ref()),
        },
        _ => false,
    }
}

fn token(test: &TokenTest, system: Option<&str>, code: &str) -> bool {
    match test {
        TokenTest::Code(c) => c == code,
        TokenTest::SystemCode(s, c) => Some(s.as_str()) == system && c == code,
        TokenTest::NoSystemCode(c) => system.is_none() && c == code,
        TokenTest::System(s) => Some(s.as_str()) == system,
        TokenTest::Text(_) | TokenTest::OfType { .. } => false,
    }
}

fn date(test: &DateTest, start: i64, end: i64) -> bool {
    let is_within = test.start <= start && end <= test.end;
    match test.comparison {
        Comparison::Equal => is_within,
        Comparison::NotEqual => !is_within,
        Comparison::Greater => end > test.end,
        Comparison::Less => start < test.start,
        Comparison::GreaterOrEqual => end > test.end || is_within,
        Comparison::LessOrEqual => start < test.start || is_within,
        Comparison::StartsAfter => start >= test.end,
        Comparison::EndsBefore => end <= test.start,
        Comparison::Approximate => start < test.end && end > test.start,
    }
}

fn number(test: &RangeTest, low: &SortKey, high: &SortKey) -> bool {
    let is_exact = test.low == test.high;
    let is_within = *low >= test.low
        && if is_exact {
            *high <= test.high
        } else {
            *high < test.high
        };
    let is_beyond = if is_exact {
        *high > test.high
    } else {
        *high >= test.high
    };
    match test.comparison {
        Comparison::Equal => is_within,
        Comparison::NotEqual => !is_within,
        Comparison::Greater => is_beyond,
        Comparison::Less => *low < test.low,
        Comparison::GreaterOrEqual => is_beyond || is_within,
        Comparison::LessOrEqual => *low < test.low || is_within,
        Comparison::StartsAfter => {
            if is_exact {
                *low > test.high
            } else {
                *low >= test.high
            }
        }
        Comparison::EndsBefore => *high < test.low,
        Comparison::Approximate => {
            (if is_exact {
                *low <= test.high
            } else {
                *low < test.high
            }) && *high >= test.low
        }
    }
}

fn quantity(
    test: &QuantityTest,
    system: Option<&str>,
    code: Option<&str>,
    unit: Option<&str>,
) -> bool {
    match &test.unit {
        UnitTest::Any => true,
        UnitTest::CodeOrUnit(text) => code == Some(text) || unit == Some(text),
        UnitTest::SystemCode(s, c) => system == Some(s) && code == Some(c),
        UnitTest::System(s) => system == Some(s),
    }
}

/// What an item is sorted by; `None` comes last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Text(Vec<u8>),
    Number(i64),
}

fn sort_value(item: &Item, spec: &SortKeySpec) -> Option<SortValue> {
    let param = match &spec.by {
        SortBy::Id => return Some(SortValue::Text(item.key.id.as_str().as_bytes().to_vec())),
        SortBy::LastUpdated => return Some(SortValue::Number(item.updated.0)),
        SortBy::Param(param) => *param,
    };
    let all = values(item, param).filter_map(|value| match value {
        IndexValue::Date { start, .. } => Some(SortValue::Number(*start)),
        IndexValue::Number { low, .. } | IndexValue::Quantity { low, .. } => {
            Some(SortValue::Text(low.as_bytes().to_vec()))
        }
        IndexValue::String { normal, .. } => {
            // Texts are sorted by their first thousand bytes.
            Some(SortValue::Text(normal.bytes().take(1_000).collect()))
        }
        // Longer ones are kept as hashes, which have no order.
        IndexValue::Token { system, code }
            if code.len().max(system.as_deref().map_or(0, str::len)) <= KEY_TEXT_BYTES_MAX =>
        {
            Some(SortValue::Text(code.as_bytes().to_vec()))
        }
        IndexValue::Uri(uri) if uri.len() <= KEY_TEXT_BYTES_MAX => {
            Some(SortValue::Text(uri.as_bytes().to_vec()))
        }
        _ => None,
    });
    if spec.direction == Direction::Descending {
        all.max()
    } else {
        all.min()
    }
}

/// The matches in order.
pub(crate) fn search<'a>(
    items: &'a [Item],
    t: ResourceTypeId,
    predicate: &Predicate,
    sort: &[SortKeySpec],
) -> Vec<&'a Item> {
    let is_match = |item: &&Item| item.key.resource_type == t && matches(items, item, predicate);
    let mut found: Vec<&Item> = items.iter().filter(is_match).collect();
    let is_descending = sort
        .last()
        .is_some_and(|spec| spec.direction == Direction::Descending);
    found.sort_by(|a, b| {
        for spec in sort {
            let order = match (sort_value(a, spec), sort_value(b, spec)) {
                (None, None) => std::cmp::Ordering::Equal,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), None) => std::cmp::Ordering::Less,
                (Some(a), Some(b)) if spec.direction == Direction::Descending => b.cmp(&a),
                (Some(a), Some(b)) => a.cmp(&b),
            };
            if order.is_ne() {
                return order;
            }
        }
        if is_descending {
            b.number.cmp(&a.number)
        } else {
            a.number.cmp(&b.number)
        }
    });
    found
}
