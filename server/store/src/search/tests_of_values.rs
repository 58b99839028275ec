//! Comparisons of ranges, as SQL over a lower and an upper column, and the bounds they put on the lower one.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#prefix>; the meaning of each comparison is told at
//! [`fhir_core::search::predicate::Comparison`].

use fhir_core::search::predicate::{Comparison, DateTest, RangeTest};

use crate::index::NARROW_US_MAX;
use crate::sql::{Bind, Sql};

/// How a test's ends are compared with columns.
pub(crate) struct Columns<'a> {
    /// Column of the lower end.
    pub(crate) low: &'a str,
    /// Column of the upper end; the same for single values.
    pub(crate) high: &'a str,
}

/// An end of a test as the two columns hold it.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) low: Bind,
    pub(crate) high: Bind,
}

fn compare(out: &mut Sql, column: &str, operator: &'static str, end: &Bind) {
    out.push_owned(column.to_owned())
        .push(operator)
        .bind(end.clone());
}

/// A test of half-open ranges `[low, high)` against the half-open `[start, end)`.
pub(crate) fn date_condition(
    out: &mut Sql,
    columns: &Columns<'_>,
    comparison: Comparison,
    start: &End,
    end: &End,
) {
    let Columns { low, high } = *columns;
    out.push("(");
    match comparison {
        Comparison::Equal => {
            compare(out, low, " >= ", &start.low);
            out.push(" AND ");
            compare(out, high, " <= ", &end.high);
        }
        Comparison::NotEqual => {
            compare(out, low, " < ", &start.low);
            out.push(" OR ");
            compare(out, high, " > ", &end.high);
        }
        Comparison::Greater => compare(out, high, " > ", &end.high),
        Comparison::Less => compare(out, low, " < ", &start.low),
        Comparison::GreaterOrEqual => {
            compare(out, high, " > ", &end.high);
            out.push(" OR ");
            compare(out, low, " >= ", &start.low);
        }
        Comparison::LessOrEqual => {
            compare(out, low, " < ", &start.low);
            out.push(" OR ");
            compare(out, high, " <= ", &end.high);
        }
        Comparison::StartsAfter => compare(out, low, " >= ", &end.low),
        Comparison::EndsBefore => compare(out, high, " <= ", &start.high),
        Comparison::Approximate => {
            compare(out, low, " < ", &end.low);
            out.push(" AND ");
            compare(out, high, " > ", &start.high);
        }
    }
    out.push(")");
}

/// A test of closed ranges `[low, high]` (single values mostly) against `[start, end)`, or an exact value when both
/// are equal.
pub(crate) fn number_condition(
    out: &mut Sql,
    columns: &Columns<'_>,
    test: &RangeTest,
    start: &End,
    end: &End,
) {
    let Columns { low, high } = *columns;
    let is_exact = test.low == test.high;
    let below_end = if is_exact { " <= " } else { " < " };
    let beyond_end = if is_exact { " > " } else { " >= " };
    out.push("(");
    match test.comparison {
        Comparison::Equal => {
            compare(out, low, " >= ", &start.low);
            out.push(" AND ");
            compare(out, high, below_end, &end.high);
        }
        Comparison::NotEqual => {
            compare(out, low, " < ", &start.low);
            out.push(" OR ");
            compare(out, high, beyond_end, &end.high);
        }
        Comparison::Greater => compare(out, high, beyond_end, &end.high),
        Comparison::Less => compare(out, low, " < ", &start.low),
        Comparison::GreaterOrEqual => {
            if low == high {
                compare(out, low, " >= ", &start.low);
            } else {
                compare(out, high, beyond_end, &end.high);
                out.push(" OR ");
                compare(out, low, " >= ", &start.low);
            }
        }
        Comparison::LessOrEqual => {
            if low == high {
                compare(out, low, below_end, &end.low);
            } else {
                compare(out, low, " < ", &start.low);
                out.push(" OR ");
                compare(out, high, below_end, &end.high);
            }
        }
        Comparison::StartsAfter => compare(out, low, beyond_end, &end.low),
        Comparison::EndsBefore => compare(out, high, " < ", &start.high),
        Comparison::Approximate => {
            compare(out, low, below_end, &end.low);
            out.push(" AND ");
            compare(out, high, " >= ", &start.high);
        }
    }
    out.push(")");
}

/// Where the lower end of a range that passes can lie, both inclusive, if the range is narrow.
pub(crate) fn low_bounds(test: &DateTest) -> (i64, i64) {
    let back = |end: i64| end.saturating_sub(NARROW_US_MAX);
    let DateTest {
        comparison,
        start,
        end,
    } = *test;
    match comparison {
        Comparison::Equal => (start, end),
        Comparison::NotEqual => (i64::MIN, i64::MAX),
        Comparison::Greater => (back(end), i64::MAX),
        Comparison::Less => (i64::MIN, start),
        Comparison::GreaterOrEqual => (start.min(back(end)), i64::MAX),
        Comparison::LessOrEqual => (i64::MIN, end.max(start)),
        Comparison::StartsAfter => (end, i64::MAX),
        Comparison::EndsBefore => (i64::MIN, start),
        Comparison::Approximate => (back(start), end),
    }
}

/// The ends of a test of dates for columns of whole numbers.
pub(crate) fn date_ends(test: &DateTest) -> (End, End) {
    let end = |value: i64| End {
        low: Bind::Int(value),
        high: Bind::Int(value),
    };
    (end(test.start), end(test.end))
}

/// The ends of a test of numbers for columns of sort keys.
pub(crate) fn number_ends(test: &RangeTest) -> (End, End) {
    let end = |key: &[u8]| End {
        low: Bind::Bytes(key.to_vec()),
        high: Bind::Bytes(key.to_vec()),
    };
    (end(test.low.as_bytes()), end(test.high.as_bytes()))
}
