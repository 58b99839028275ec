//! Payload mappings: from a vendor's shape to measurements, as YAML files that carry their own tests.
//!
//! First of two stages; the second, measurement to Observation, is `device/measurement-observation.yaml` of the
//! mapping library. The language is described in `adapters/device/README.md`.
//!
//! Left out on purpose: FHIR, so that one measurement has one FHIR shape whoever sends it.

mod condition;
mod expression;
mod load;
mod path;

use fhir_core::json::Document;

use crate::decimal::Decimal;
use crate::measurement::{Amount, Keyed, Measurement, Reading};
use crate::time::{self, Given};
use condition::Condition;
use expression::{Expression, Found, Wrong};
use path::{Path, Place};

pub use load::{EMBEDDED, embedded, load};

/// Most measurements one item of a payload may make: a day at 1 Hz.
pub const MEASUREMENTS_MAX: usize = 100_000;

/// How the bytes of a payload become items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// JSON: one document, a list of items, or one item a line.
    Json,
    /// JSON around a Bluetooth characteristic: `uuid` and `hex`.
    Gatt,
    /// Comma separated values with a header line.
    Csv,
    /// An export with one element for each record.
    Xml,
}

/// Where the offset of a time without one comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonePolicy {
    /// From the payload only: an offset or a zone name beside the time.
    Payload,
    /// The payload's, else the device's zone.
    Device,
    /// The payload's, else the patient's zone.
    Patient,
    /// Every time must carry its offset.
    Reject,
}

/// How a sender writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClockForm {
    /// ISO 8601, with or without offset.
    Iso,
    /// Seconds times ten to this power since 1970.
    Epoch(i32),
    /// A wall clock's time written as seconds since 1970, as if it were UTC.
    WallEpoch,
}

/// A payload mapping.
#[derive(Debug, Clone)]
pub struct PayloadMapping {
    /// Its name, `withings-measures`.
    pub id: String,
    /// Its version, for Provenance and quarantine.
    pub version: String,
    /// How bytes become items.
    pub input: Input,
    /// Where offsets come from.
    pub zone: ZonePolicy,
    rules: Vec<Rule>,
    tests: Vec<TestCase>,
}

#[derive(Debug, Clone)]
struct Rule {
    name: String,
    /// `None` only while a rule is being read.
    each: Option<Path>,
    when: Option<Condition>,
    makes: Makes,
    fields: Fields,
}

#[derive(Debug, Clone)]
enum Makes {
    Measurement(Vec<Value>),
    /// Not a result, and why.
    Nothing(String),
    /// The sender has deleted the record.
    Deletion,
}

#[derive(Debug, Clone)]
struct Value {
    component: String,
    value: Expression,
    unit: Expression,
}

/// What a rule reads besides values; a file's own are the defaults of its rules.
#[derive(Debug, Clone, Default)]
struct Fields {
    clock: Option<ClockForm>,
    time: Option<Expression>,
    end: Option<Expression>,
    minutes: Option<Expression>,
    offset: Option<Expression>,
    offset_seconds: Option<Expression>,
    offset_hours: Option<Expression>,
    zone_name: Option<Expression>,
    device: Option<Expression>,
    user: Option<Expression>,
    record: Option<Expression>,
    keyed: Option<Keyed>,
    revision: Option<Expression>,
    note: Option<Expression>,
    manual: Option<Condition>,
}

#[derive(Debug, Clone)]
struct TestCase {
    name: String,
    line: usize,
    input: String,
    output: Vec<String>,
}

/// What one place of an item became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The rule.
    pub rule: String,
    /// JSON pointer to the place, in the item.
    pub pointer: String,
    /// What it became.
    pub outcome: Outcome,
}

/// What a rule made of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A measurement.
    Measured(Box<Measurement>),
    /// No result, by a rule that says why.
    Dropped(String),
    /// The sender deleted this record.
    Deleted(String),
    /// Something a rule could not read: the key of the rule or the expression, and what is wrong. Never the value.
    Faulty {
        /// The expression as written in the mapping.
        expression: String,
        /// What is wrong.
        message: String,
    },
}

/// A field that could not be read.
struct Fault {
    expression: String,
    message: String,
}

impl PayloadMapping {
    /// Reads one item. Places no rule takes give nothing; an item that gives nothing is for the caller to report.
    pub fn read(&self, item: &Document) -> Vec<Read> {
        let root = Place::root(item.root());
        let mut found = Vec::new();
        for rule in &self.rules {
            for place in rule.each.iter().flat_map(|each| each.every(&root)) {
                if rule.when.as_ref().is_some_and(|when| !when.holds(&place)) {
                    continue;
                }
                if found.len() >= MEASUREMENTS_MAX {
                    let message = format!(
                        "the item makes more than {MEASUREMENTS_MAX} measurements; send smaller ones"
                    );
                    let outcome = Outcome::Faulty {
                        expression: "each".to_owned(),
                        message,
                    };
                    found.push(Read {
                        rule: rule.name.clone(),
                        pointer: place.pointer,
                        outcome,
                    });
                    return found;
                }
                let outcome = match rule.read(&place) {
                    Ok(None) => continue,
                    Ok(Some(outcome)) => outcome,
                    Err(Fault {
                        expression,
                        message,
                    }) => Outcome::Faulty {
                        expression,
                        message,
                    },
                };
                found.push(Read {
                    rule: rule.name.clone(),
                    pointer: place.pointer,
                    outcome,
                });
            }
        }
        found
    }
}

impl Rule {
    fn read(&self, place: &Place<'_>) -> Result<Option<Outcome>, Fault> {
        let values = match &self.makes {
            Makes::Nothing(reason) => return Ok(Some(Outcome::Dropped(reason.clone()))),
            Makes::Deletion => {
                let record = text(&self.fields.record, place)?;
                return Ok(record.map(Outcome::Deleted));
            }
            Makes::Measurement(values) => values,
        };
        let readings = readings(values, place)?;
        // A panel nobody measured anything of is no panel.
        if !readings.iter().any(|(_, spoken_of)| *spoken_of) {
            return Ok(None);
        }
        let fields = &self.fields;
        let start = fields
            .given(&fields.time, place)?
            .ok_or_else(|| missing("time"))?;
        let start = match number(&fields.minutes, place)? {
            Some(minutes) => moved(start, minutes).ok_or_else(|| missing("minutes"))?,
            None => start,
        };
        Ok(Some(Outcome::Measured(Box::new(Measurement {
            measure: self.name.clone(),
            readings: readings.into_iter().map(|(reading, _)| reading).collect(),
            start,
            end: fields.given(&fields.end, place)?,
            offset_minutes: fields.offset_of(place)?,
            zone: text(&fields.zone_name, place)?,
            device: text(&fields.device, place)?,
            user: text(&fields.user, place)?,
            record: text(&fields.record, place)?,
            keyed: fields.keyed.unwrap_or(Keyed::Instant),
            revision: text(&fields.revision, place)?,
            is_manual: fields
                .manual
                .as_ref()
                .is_some_and(|manual| manual.holds(place)),
            note: text(&fields.note, place)?,
        }))))
    }
}

/// Each value, and whether the sender spoke of it at all.
fn readings(values: &[Value], place: &Place<'_>) -> Result<Vec<(Reading, bool)>, Fault> {
    let mut readings = Vec::with_capacity(values.len());
    for one in values {
        let found = one
            .value
            .read(place)
            .map_err(|wrong| fault(&one.value, wrong))?;
        let (value, spoken_of) = match found {
            Some(Found::Text(text)) => (
                Amount::parse(&text)
                    .ok_or_else(|| fault(&one.value, "not a number of up to 34 digits"))?,
                true,
            ),
            Some(Found::Absent(reason)) => (Amount::Absent(reason), true),
            // The mean is an optional part of a blood pressure; a profile's required parts say why they are absent.
            None if one.component == "mean" => continue,
            None => (Amount::Absent("unknown".to_owned()), false),
        };
        let unit = match spoken_of {
            true => one
                .unit
                .text(place)
                .map_err(|wrong| fault(&one.unit, wrong))?
                .ok_or_else(|| fault(&one.unit, "no unit"))?,
            false => String::new(),
        };
        readings.push((
            Reading {
                component: one.component.clone(),
                value,
                unit,
            },
            spoken_of,
        ));
    }
    Ok(readings)
}

impl Fields {
    fn given(
        &self,
        expression: &Option<Expression>,
        place: &Place<'_>,
    ) -> Result<Option<Given>, Fault> {
        let Some(expression) = expression else {
            return Ok(None);
        };
        let Some(text) = expression
            .text(place)
            .map_err(|wrong| fault(expression, wrong))?
        else {
            return Ok(None);
        };
        let read = match self.clock.unwrap_or(ClockForm::Iso) {
            ClockForm::Iso => time::parse(&text),
            ClockForm::Epoch(power) => epoch(&text, power),
            ClockForm::WallEpoch => match epoch(&text, 0) {
                Some(Given::Count(stamp)) => Some(Given::Wall(stamp.into_wall())),
                _ => None,
            },
        };
        read.map(Some).ok_or_else(|| {
            fault(
                expression,
                "not a time in the form the mapping names, or not of these centuries",
            )
        })
    }

    fn offset_of(&self, place: &Place<'_>) -> Result<Option<i32>, Fault> {
        if let (Some(expression), Some(offset)) = (&self.offset, text(&self.offset, place)?) {
            return time::parse_offset(&offset)
                .map(Some)
                .ok_or_else(|| fault(expression, "not an offset like +01:00"));
        }
        for (field, per_minute, minutes_per) in
            [(&self.offset_seconds, 60, 1), (&self.offset_hours, 1, 60)]
        {
            let (Some(expression), Some(n)) = (field, number(field, place)?) else {
                continue;
            };
            if n % per_minute != 0 || (n * minutes_per / per_minute).abs() > 14 * 60 {
                return Err(fault(
                    expression,
                    "not an offset of whole minutes within fourteen hours",
                ));
            }
            let minutes = i32::try_from(n * minutes_per / per_minute);
            return minutes
                .map(Some)
                .map_err(|_| fault(expression, "not an offset"));
        }
        Ok(None)
    }
}

/// `1745081013817`, or with an offset behind it, `1745081013817-0400`.
fn epoch(text: &str, power: i32) -> Option<Given> {
    let text = text.trim();
    let sign = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '+' | '-'));
    let (digits, offset) = text.split_at_checked(sign.map_or(text.len(), |(at, _)| at))?;
    let stamp = time::epoch(Decimal::parse(digits)?.shifted(power)?)?;
    if offset.is_empty() {
        return Some(Given::Count(stamp));
    }
    stamp
        .seen_at_offset(time::parse_offset(offset)?)
        .map(Given::Instant)
}

fn moved(given: Given, minutes: i64) -> Option<Given> {
    match given {
        Given::Wall(local) => local.plus_minutes(minutes).map(Given::Wall),
        Given::Instant(stamp) => stamp
            .plus_micros(minutes.checked_mul(60_000_000)?)
            .map(Given::Instant),
        Given::Count(stamp) => stamp
            .plus_micros(minutes.checked_mul(60_000_000)?)
            .map(Given::Count),
        Given::Day(_) => None,
    }
}

fn text(expression: &Option<Expression>, place: &Place<'_>) -> Result<Option<String>, Fault> {
    match expression {
        None => Ok(None),
        Some(expression) => expression
            .text(place)
            .map_err(|wrong| fault(expression, wrong)),
    }
}

fn number(expression: &Option<Expression>, place: &Place<'_>) -> Result<Option<i64>, Fault> {
    let (Some(expression), Some(text)) = (expression, text(expression, place)?) else {
        return Ok(None);
    };
    let whole = Decimal::parse(&text)
        .and_then(Decimal::whole)
        .and_then(|n| i64::try_from(n).ok());
    whole
        .filter(|n| n.abs() < 1_000_000_000)
        .map(Some)
        .ok_or_else(|| fault(expression, "not a whole number"))
}

fn fault(expression: &Expression, wrong: Wrong) -> Fault {
    Fault {
        expression: expression.text.to_string(),
        message: wrong.to_owned(),
    }
}

fn missing(key: &str) -> Fault {
    Fault {
        expression: key.to_owned(),
        message: format!("`{key}` gives nothing here, and a measurement needs it"),
    }
}
