//! A measurement as a payload says it: values, when, by which device, under which record of the sender.
//!
//! Left out on purpose: FHIR, patients and judgement. [`crate::ingest`] adds those.

use std::fmt;

use crate::decimal::Decimal;
use crate::time::Given;

/// One measurement, read and not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Name in the table of measures.
    pub measure: String,
    /// One value, or the components of a panel.
    pub readings: Vec<Reading>,
    /// When it was taken, or when it began.
    pub start: Given,
    /// When it ended, for what is counted over a time.
    pub end: Option<Given>,
    /// Offset the payload gives beside the time, in minutes.
    pub offset_minutes: Option<i32>,
    /// Name of the zone the payload gives beside the time.
    pub zone: Option<String>,
    /// The device, by the identifier its payloads carry.
    pub device: Option<String>,
    /// The user of a shared device.
    pub user: Option<String>,
    /// The sender's id of the record.
    pub record: Option<String>,
    /// What the id follows: the record alone, because the sender keeps its ids when it corrects times, or also the time.
    pub keyed: Keyed,
    /// The sender's revision of the record; the greater one is newer.
    pub revision: Option<String>,
    /// True when a person typed it in.
    pub is_manual: bool,
    /// What a person wrote beside it.
    pub note: Option<String>,
}

/// What makes two messages speak of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyed {
    /// Device, measure and the sender's record id.
    Record,
    /// Device, measure, instant and, where there is one, the sender's record id.
    Instant,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The component's measure; empty for a measurement that has one value.
    pub component: String,
    /// The value, or why there is none.
    pub value: Amount,
    /// UCUM code.
    pub unit: String,
}

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// A number; the comparator is of quantity-comparator, empty for "exactly".
    Number {
        /// `<`, `<=`, `>=`, `>` or empty.
        comparator: &'static str,
        /// The number.
        value: Decimal,
    },
    /// A code of data-absent-reason.
    Absent(String),
}

impl Amount {
    /// Reads `5.50` and `<40`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (comparator, digits) = ["<=", ">=", "<", ">"]
            .into_iter()
            .find_map(|c| Some((c, text.strip_prefix(c)?)))
            .unwrap_or(("", text));
        Some(Amount::Number {
            comparator,
            value: Decimal::parse(digits)?,
        })
    }
}

impl fmt::Display for Measurement {
    /// One line, for the tests mappings carry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.measure)?;
        for reading in &self.readings {
            let equals = if reading.component.is_empty() {
                ""
            } else {
                "="
            };
            match &reading.value {
                Amount::Number { comparator, value } => {
                    write!(
                        f,
                        " {}{equals}{comparator}{value} {}",
                        reading.component, reading.unit
                    )?;
                }
                Amount::Absent(reason) => write!(f, " {}{equals}({reason})", reading.component)?,
            }
        }
        for (name, given) in [("at", Some(&self.start)), ("until", self.end.as_ref())] {
            match given {
                Some(Given::Instant(stamp) | Given::Count(stamp)) => write!(f, " {name} {stamp}")?,
                Some(Given::Wall(local)) => write!(f, " {name} {local} on the wall")?,
                Some(Given::Day(day)) => write!(f, " {name} {day}")?,
                None => {}
            }
        }
        if let Some(minutes) = self.offset_minutes {
            write!(f, " offset={minutes}")?;
        }
        let texts = [
            ("zone", &self.zone),
            ("device", &self.device),
            ("user", &self.user),
            ("record", &self.record),
        ];
        for (name, text) in texts
            .into_iter()
            .chain([("revision", &self.revision), ("note", &self.note)])
        {
            if let Some(text) = text {
                write!(f, " {name}={text}")?;
            }
        }
        if self.is_manual {
            f.write_str(" by hand")
        } else {
            Ok(())
        }
    }
}
