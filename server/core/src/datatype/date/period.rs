//! The range of moments of a date, Period or Timing in a resource.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#date>

use crate::json::{Kind, ValueRef};

use super::{DateRange, DateTime, Zone, parse_date_time};

/// The range of an element of type date, dateTime, instant, Period or Timing; `None` where it has none.
///
/// A Period reaches from the first moment of its start to the last of its end, open where one is missing. For a
/// Timing "the specified scheduling details are ignored and only the outer limits matter": its events and its
/// `repeat.boundsPeriod`. A Period whose end lies before its start stands for no moment and gives `None`.
pub fn range_of(value: ValueRef<'_>, zone: Zone) -> Option<DateRange> {
    match value.kind() {
        Kind::String | Kind::EscapedString => range_of_text(value, zone),
        Kind::Object if value.get("repeat").is_some() || value.get("event").is_some() => {
            range_of_timing(value, zone)
        }
        Kind::Object => range_of_period(value, zone),
        _ => None,
    }
}

fn range_of_text(value: ValueRef<'_>, zone: Zone) -> Option<DateRange> {
    parse_date_time(&value.as_str()?).map(|d: DateTime| d.range(zone))
}

fn range_of_period(value: ValueRef<'_>, zone: Zone) -> Option<DateRange> {
    // A bound that is present but unreadable must not turn into an open one.
    let bound = |name: &str| match value.get(name) {
        Some(text) => range_of_text(text, zone).map(Some),
        None => Some(None),
    };
    let (start, end) = (bound("start")?, bound("end")?);
    if start.is_none() && end.is_none() {
        return None;
    }
    let range = DateRange {
        start: start.map_or(i64::MIN, |r| r.start),
        end: end.map_or(i64::MAX, |r| r.end),
    };
    (range.start < range.end).then_some(range)
}

fn range_of_timing(value: ValueRef<'_>, zone: Zone) -> Option<DateRange> {
    let bounds = value
        .get("repeat")
        .and_then(|r| r.get("boundsPeriod"))
        .and_then(|p| range_of_period(p, zone));
    let events = value
        .get("event")
        .into_iter()
        .flat_map(ValueRef::each)
        .filter_map(|e| range_of_text(e, zone));
    events.chain(bounds).reduce(|a, b| DateRange {
        start: a.start.min(b.start),
        end: a.end.max(b.end),
    })
}
