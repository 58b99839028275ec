//! What one payload gives: resources, samples and a result for each measurement, one for each id.
//!
//! Left out on purpose: what is stored already; [`crate::meeting`] has the same rules for that.

use std::collections::HashMap;

use fhir_core::sample::{self, Template};
use mappings::Produced;

use crate::decimal::Decimal;
use crate::ingest::Dense;
use crate::series::{NarrowSample, SeriesSamples};

/// What became of one measurement or item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// An Observation of this id.
    Resource(String),
    /// A sample of a series, served as the Observation of this id.
    Sample(String),
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
            Fate::Sample(_) => "sample",
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
#[derive(Debug)]
pub(crate) struct Batch {
    /// Where values of dense measures go.
    pub(crate) dense: Dense,
    pub(crate) resources: Vec<Produced>,
    /// For each resource, which result it is.
    pub(crate) resource_results: Vec<usize>,
    pub(crate) series: Vec<SeriesSamples>,
    /// Index of the resource, its revision and the result that made it.
    known: HashMap<String, Known>,
    known_samples: HashMap<String, NarrowSample>,
    /// Where the samples of a channel and template stand in `series`.
    known_series: HashMap<(String, Template), usize>,
    pub(crate) results: Vec<Reported>,
}

#[derive(Debug)]
struct Known {
    resource: usize,
    revision: Option<String>,
    result: usize,
}

impl Batch {
    pub(crate) fn new(dense: Dense) -> Self {
        Self {
            dense,
            resources: Vec::new(),
            resource_results: Vec::new(),
            series: Vec::new(),
            known: HashMap::new(),
            known_samples: HashMap::new(),
            known_series: HashMap::new(),
            results: Vec::new(),
        }
    }

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
        if self.known_samples.contains_key(&id) {
            return contradiction();
        }
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
            self.resource_results.push(next);
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
                if let Some(result) = self.resource_results.get_mut(known.resource) {
                    *result = next;
                }
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

    /// Two values of one instant contradict each other unless they are the same number.
    pub(crate) fn sample(
        &mut self,
        channel: &str,
        template: Template,
        sample: NarrowSample,
    ) -> Fate {
        let id = sample::id_text(channel, sample.at_us);
        if self.known.contains_key(&id) {
            return contradiction();
        }
        match self.known_samples.get(&id) {
            Some(earlier) if earlier.value.is_equal(sample.value) => return Fate::Repeated,
            Some(_) => return contradiction(),
            None => {}
        }
        self.known_samples.insert(id.clone(), sample);
        let result = self.results.len();
        let key = (channel.to_owned(), template);
        let series = match self.known_series.get(&key) {
            Some(index) => self.series.get_mut(*index),
            None => {
                self.known_series.insert(key.clone(), self.series.len());
                let (channel, template) = key;
                self.series.push(SeriesSamples {
                    channel,
                    template,
                    samples: Vec::new(),
                    results: Vec::new(),
                });
                self.series.last_mut()
            }
        };
        if let Some(series) = series {
            series.samples.push(sample);
            series.results.push(result);
        }
        Fate::Sample(id)
    }
}

/// What a measurement becomes that says otherwise than another one of its id.
pub fn contradiction() -> Fate {
    let message = "two values of one device, measure and time, and no revision says which is right"
        .to_owned();
    Fate::Quarantined {
        code: "contradiction",
        expression: None,
        message,
    }
}

/// Revisions are times or counters: numbers compare as numbers, other texts by their characters.
pub(crate) fn newer(a: &str, b: &str) -> bool {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a.compare(b).is_gt(),
        _ => a > b,
    }
}

/// One instant may be told with two offsets; the first stays.
pub(crate) fn same_apart_from_offset(
    a: &fhir_core::json::Value,
    b: &fhir_core::json::Value,
) -> bool {
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
