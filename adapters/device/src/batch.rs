//! What one payload gives: resources, samples and a result for each measurement, one for each id.
//!
//! Left out on purpose: what is stored already. The store compares revisions and meets samples by the same rules.

use std::collections::HashMap;

use mappings::Produced;

use crate::decimal::Decimal;
use crate::samples::{Meeting, Sample, SeriesKey, meet};

/// What became of one measurement or item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// An Observation of this id.
    Resource(String),
    /// A sample of a series.
    Sample,
    /// The same as another measurement of this payload, or an older revision of it.
    Repeated,
    /// No result, and why.
    Dropped(String),
    /// The sender deleted this record; the server looks for its id among identifiers.
    Deleted(String),
    /// No rule of the mapping takes anything of the item.
    Unmatched,
    /// Waits, with the payload, for its cause to be mended.
    Quarantined {
        /// Stable code.
        code: &'static str,
        /// The mapping's expression, when one is at fault.
        expression: Option<String>,
        /// What is wrong, without the value.
        message: String,
    },
}

impl Fate {
    /// A stable word for counting: `resource`, or the code of a quarantine.
    pub fn code(&self) -> &'static str {
        match self {
            Fate::Resource(_) => "resource",
            Fate::Sample => "sample",
            Fate::Repeated => "repeated",
            Fate::Dropped(_) => "dropped",
            Fate::Deleted(_) => "deleted",
            Fate::Unmatched => "unmatched",
            Fate::Quarantined { code, .. } => code,
        }
    }
}

/// What became of one measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Which item of the payload, from 0.
    pub item: usize,
    /// JSON pointer in the item.
    pub pointer: String,
    /// The mapping's rule; empty when the item could not be read.
    pub rule: String,
    /// What became of it.
    pub fate: Fate,
}

/// Results by id while a payload is read.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) resources: Vec<Produced>,
    pub(crate) samples: Vec<(SeriesKey, Sample)>,
    /// Index of the resource, its revision and the result that made it.
    known: HashMap<String, Known>,
    known_samples: HashMap<(SeriesKey, i64), Sample>,
    pub(crate) results: Vec<Reported>,
}

#[derive(Debug)]
struct Known {
    resource: usize,
    revision: Option<String>,
    result: usize,
}

impl Batch {
    pub(crate) fn result(&mut self, item: usize, pointer: String, rule: String, fate: Fate) {
        self.results.push(Reported {
            item,
            pointer,
            rule,
            fate,
        });
    }

    /// Keeps the greater revision of one id. Two contents of one id without revisions contradict each other: the first
    /// stays and the other waits, because arrival says nothing.
    pub(crate) fn resource(&mut self, produced: Produced, revision: Option<String>) -> Fate {
        let id = produced.identity.id.to_string();
        let next = self.results.len();
        let Some(known) = self.known.get_mut(&id) else {
            self.known.insert(
                id.clone(),
                Known {
                    resource: self.resources.len(),
                    revision,
                    result: next,
                },
            );
            self.resources.push(produced);
            return Fate::Resource(id);
        };
        let Some(kept) = self.resources.get_mut(known.resource) else {
            return Fate::Repeated;
        };
        if same_apart_from_offset(&kept.value, &produced.value) {
            return Fate::Repeated;
        }
        match (&known.revision, &revision) {
            (Some(old), Some(new)) if newer(new, old) => {
                *kept = produced;
                known.revision = revision;
                let replaced = std::mem::replace(&mut known.result, next);
                if let Some(earlier) = self.results.get_mut(replaced) {
                    earlier.fate = Fate::Repeated;
                }
                Fate::Resource(id)
            }
            (Some(old), Some(new)) if newer(old, new) => Fate::Repeated,
            _ => contradiction(),
        }
    }

    pub(crate) fn sample(&mut self, key: SeriesKey, sample: Sample) -> Fate {
        let at = (key.clone(), sample.at_us);
        match meet(self.known_samples.get(&at), &sample) {
            Meeting::Repeat => Fate::Repeated,
            Meeting::Contradiction => contradiction(),
            Meeting::New => {
                self.known_samples.insert(at, sample);
                self.samples.push((key, sample));
                Fate::Sample
            }
        }
    }
}

fn contradiction() -> Fate {
    let message = "two values of one device, measure and time, and no revision says which is right"
        .to_owned();
    Fate::Quarantined {
        code: "contradiction",
        expression: None,
        message,
    }
}

/// Revisions are times or counters: numbers compare as numbers, other texts by their characters.
fn newer(a: &str, b: &str) -> bool {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a.compare(b).is_gt(),
        _ => a > b,
    }
}

/// One instant may be told with two offsets; the first stays.
fn same_apart_from_offset(a: &fhir_core::json::Value, b: &fhir_core::json::Value) -> bool {
    let without_time = |value: &fhir_core::json::Value| {
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.remove("effectiveDateTime");
            map.remove("effectivePeriod");
        }
        value
    };
    without_time(a) == without_time(b)
}
