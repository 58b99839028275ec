//! Whether one resource in memory matches: the meaning of every test, written plainly.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>. Storage answers the same question from its indexes and is compared with this.
//! Left out: words of texts, which entries do not hold; conversion between units, which needs a unit table; `SystemCode` compares in the unit as asked.

use conformance::{ParamId, ResourceTypeId};

use super::predicate::{
    Comparison, DateTest, Predicate, QuantityTest, RangeTest, ReferenceTest, StringTest, TokenTest,
    UnitTest, UriTest, ValueTest,
};
use crate::datatype::decimal::SortKey;
use crate::ids::{Instant, ResourceKey};
use crate::index::{IndexEntry, IndexValue};

/// Metres of a degree of latitude (WGS84 mean).
const METRES_PER_DEGREE: i128 = 111_195;

/// A resource as its index entries.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its type and id.
    pub key: &'a ResourceKey,
    /// `meta.lastUpdated`
    pub updated: Instant,
    /// Its entries.
    pub entries: &'a [IndexEntry<'a>],
}

/// The other resources, for conditions that cross a reference.
pub trait Related {
    /// Whether the resource exists and matches.
    fn matches(&self, key: &ResourceKey, inner: &Predicate) -> bool;
    /// Whether a resource of `source` refers to `target` with `param` and matches.
    fn is_referred(
        &self,
        target: &ResourceKey,
        source: ResourceTypeId,
        param: ParamId,
        inner: &Predicate,
    ) -> bool;
}

/// A world without other resources.
pub struct Alone;

impl Related for Alone {
    fn matches(&self, _: &ResourceKey, _: &Predicate) -> bool {
        false
    }

    fn is_referred(&self, _: &ResourceKey, _: ResourceTypeId, _: ParamId, _: &Predicate) -> bool {
        false
    }
}

/// Whether the resource matches.
pub fn matches(predicate: &Predicate, candidate: &Candidate<'_>, related: &dyn Related) -> bool {
    let values = |param: &ParamId| {
        let param = *param;
        candidate
            .entries
            .iter()
            .filter(move |entry| entry.param == param)
            .map(|entry| &entry.value)
    };
    match predicate {
        Predicate::Everything => true,
        Predicate::Nothing => false,
        Predicate::And(all) => all.iter().all(|p| matches(p, candidate, related)),
        Predicate::Or(any) => any.iter().any(|p| matches(p, candidate, related)),
        Predicate::Not(inner) => !matches(inner, candidate, related),
        Predicate::Id(ids) => ids.contains(&candidate.key.id),
        Predicate::LastUpdated(test) => date(
            test,
            candidate.updated.0,
            candidate.updated.0.saturating_add(1),
        ),
        Predicate::Value { param, test } => values(param).any(|value| value_passes(test, value)),
        Predicate::Composite { param, tests } => {
            values(param).any(|value| composite_passes(tests, value))
        }
        // A candidate is its entries; its text is not among them.
        Predicate::Words { .. } => false,
        Predicate::Present(param) => values(param).next().is_some(),
        Predicate::Chain {
            param,
            target,
            inner,
        } => values(param).any(|value| match value {
            IndexValue::Reference(key) => {
                key.resource_type == *target && related.matches(key, inner)
            }
            _ => false,
        }),
        Predicate::Has {
            source,
            param,
            inner,
        } => related.is_referred(candidate.key, *source, *param, inner),
    }
}

fn composite_passes(tests: &[ValueTest], value: &IndexValue<'_>) -> bool {
    let IndexValue::Composite(parts) = value else {
        return false;
    };
    parts.len() == tests.len()
        && tests
            .iter()
            .zip(parts)
            .all(|(test, part)| value_passes(test, part))
}

/// Whether one value passes one test.
pub fn value_passes(test: &ValueTest, value: &IndexValue<'_>) -> bool {
    match (test, value) {
        (ValueTest::Token(test), value) => token(test, value),
        (ValueTest::String(test), IndexValue::String { normal, exact }) => match test {
            StringTest::StartsWith(text) => normal.starts_with(text.as_str()),
            StringTest::Contains(text) => normal.contains(text.as_str()),
            StringTest::Exact(text) => exact.as_ref() == text,
            StringTest::Equals(text) => normal == text,
            StringTest::EndsWith(text) => normal.ends_with(text.as_str()),
        },
        (ValueTest::Date(test), IndexValue::Date { start, end }) => date(test, *start, *end),
        (ValueTest::Number(test), IndexValue::Number { low, high }) => range(test, low, high),
        (ValueTest::Quantity(test), value) => quantity(test, value),
        (ValueTest::Reference(test), value) => reference(test, value),
        (ValueTest::Uri(test), IndexValue::Uri(uri)) => match test {
            UriTest::Exact(text) => uri.as_ref() == text,
            UriTest::Below(text) => uri.starts_with(text.as_str()),
            UriTest::Above(text) => text.starts_with(uri.as_ref()),
        },
        (
            ValueTest::Near {
                latitude_e7,
                longitude_e7,
                distance_m,
            },
            IndexValue::Position {
                latitude_e7: lat,
                longitude_e7: lon,
            },
        ) => is_near((*latitude_e7, *longitude_e7), (*lat, *lon), *distance_m),
        _ => false,
    }
}

fn token(test: &TokenTest, value: &IndexValue<'_>) -> bool {
    let (system, code) = match value {
        IndexValue::Token { system, code } => (system, code),
        IndexValue::Identifier {
            system,
            value,
            types,
        } => {
            if let TokenTest::OfType {
                system: wanted_system,
                code: wanted_code,
                value: wanted,
            } = test
            {
                let is_type = |(s, c): &(Option<_>, _)| {
                    matches!(s, Some(s) if AsRef::<str>::as_ref(s) == wanted_system)
                        && AsRef::<str>::as_ref(c) == wanted_code
                };
                return value.as_ref() == wanted && types.iter().any(is_type);
            }
            (system, value)
        }
        IndexValue::TokenText(texts) => {
            let TokenTest::Text(wanted) = test else {
                return false;
            };
            return texts.iter().any(|text| {
                text.starts_with(wanted.as_str()) || text.contains(&format!(" {wanted}"))
            });
        }
        _ => return false,
    };
    is_token(test, system.as_deref(), code)
}

fn is_token(test: &TokenTest, system: Option<&str>, code: &str) -> bool {
    match test {
        TokenTest::Code(wanted) => code == wanted,
        TokenTest::SystemCode(wanted_system, wanted) => {
            system == Some(wanted_system) && code == wanted
        }
        TokenTest::NoSystemCode(wanted) => system.is_none() && code == wanted,
        TokenTest::System(wanted) => system == Some(wanted),
        TokenTest::Text(_) | TokenTest::OfType { .. } => false,
    }
}

fn reference(test: &ReferenceTest, value: &IndexValue<'_>) -> bool {
    match (test, value) {
        (ReferenceTest::Local(keys), IndexValue::Reference(key)) => keys.contains(key),
        (ReferenceTest::OfType(resource_type), IndexValue::Reference(key)) => {
            key.resource_type == *resource_type
        }
        (ReferenceTest::Url(url), IndexValue::ReferenceUrl(value)) => value.as_ref() == url,
        (ReferenceTest::Identifier(test), IndexValue::ReferenceIdentifier { system, value }) => {
            is_token(test, system.as_deref(), value)
        }
        _ => false,
    }
}

fn quantity(test: &QuantityTest, value: &IndexValue<'_>) -> bool {
    let IndexValue::Quantity {
        system,
        code,
        unit,
        low,
        high,
    } = value
    else {
        return false;
    };
    let is_unit = match &test.unit {
        UnitTest::Any => true,
        UnitTest::CodeOrUnit(wanted) => {
            code.as_deref() == Some(wanted) || unit.as_deref() == Some(wanted)
        }
        UnitTest::SystemCode(wanted_system, wanted) => {
            system.as_deref() == Some(wanted_system) && code.as_deref() == Some(wanted)
        }
        UnitTest::System(wanted) => system.as_deref() == Some(wanted),
    };
    is_unit && range(&test.range, low, high)
}

/// Compares the value's half-open range `[start, end)` with the searched one.
pub fn date(test: &DateTest, start: i64, end: i64) -> bool {
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
        Comparison::Approximate => start < test.end && test.start < end,
    }
}

/// Compares the value's closed range `[low, high]` with the searched `[low, high)`, or with an exact value.
pub fn range(test: &RangeTest, low: &SortKey, high: &SortKey) -> bool {
    let is_exact = test.low == test.high;
    let is_within = test.low <= *low
        && if is_exact {
            *high <= test.high
        } else {
            *high < test.high
        };
    match test.comparison {
        Comparison::Equal => is_within,
        Comparison::NotEqual => !is_within,
        Comparison::Greater => *high > test.high,
        Comparison::Less => *low < test.low,
        Comparison::GreaterOrEqual => *high > test.high || is_within,
        Comparison::LessOrEqual => *low < test.low || is_within,
        Comparison::StartsAfter => *low > test.high,
        Comparison::EndsBefore => *high < test.low,
        Comparison::Approximate => {
            test.low <= *high
                && if is_exact {
                    *low <= test.high
                } else {
                    *low < test.high
                }
        }
    }
}

/// Great-circle distance in integers: the chord of a small triangle, east-west shortened by the cosine of the middle
/// latitude. Good to a percent within a few hundred kilometres, which is what "near" means.
pub fn is_near(from: (i64, i64), to: (i64, i64), distance_m: u32) -> bool {
    const FULL_E7: i64 = 3_600_000_000;
    let east = (from.1 - to.1).rem_euclid(FULL_E7);
    let east = east.min(FULL_E7 - east);
    let metres = |e7: i128| e7 * METRES_PER_DEGREE / 10_000_000;
    let north_m = metres(i128::from(from.0 - to.0));
    let east_m = metres(i128::from(east)) * cosine_e6(i128::from(from.0 + to.0) / 2) / 1_000_000;
    let distance_m = i128::from(distance_m);
    north_m * north_m + east_m * east_m <= distance_m * distance_m
}

/// The cosine of an angle in degrees × 10^7, times 10^6 (Bhaskara's approximation, within 0.2 %).
fn cosine_e6(angle_e7: i128) -> i128 {
    let square = (angle_e7 / 1_000) * (angle_e7 / 1_000);
    let half_turn = 1_800_000_i128 * 1_800_000;
    (half_turn - 4 * square) * 1_000_000 / (half_turn + square)
}
