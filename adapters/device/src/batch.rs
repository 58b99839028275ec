//! What one payload gives: resources, samples and a result for each measurement, one for each id.
//!
//! Left out on purpose: what is stored already; [`crate::meeting`] has the same rules for that.

use std::collections::HashMap;
use std::sync::Arc;

use fhir_core::ids::Instant;
use fhir_core::json::Value;
use fhir_core::sample;
use mappings::Produced;

use crate::contradiction::{Settled, contradiction, settle};
use crate::decimal::Decimal;
use crate::ingest::Dense;
use crate::series::{NarrowSample, SeriesSamples, Text};

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
    known: HashMap<String, Known>,
    /// By channel and instant: the series, and which of its samples.
    known_samples: HashMap<(usize, i64), (usize, NarrowSample)>,
    /// Each series' text, its place in `series` and the number of its channel.
    known_series: Vec<(Arc<Text>, usize)>,
    pub(crate) results: Vec<Reported>,
}

/// Index of the resource, its revision and the result that made it.
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
            known_series: Vec::new(),
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

    /// Keeps the greater revision of one id. Two values of one id without revisions contradict each other, whichever
    /// comes first.
    pub(crate) fn resource(&mut self, produced: Produced, revision: Option<String>) -> Fate {
        let id = produced.identity.id.to_string();
        let next = self.results.len();
        if let Some((_, at_us)) = sample::parse_id(&id) {
            self.widen(&id, at_us);
        }
        let Some(known) = self.known.get_mut(&id) else {
            self.add(produced, revision);
            return Fate::Resource(id);
        };
        let Some(kept) = self.resources.get_mut(known.resource) else {
            return Fate::Repeated;
        };
        if same_apart_from_offset(&kept.value, &produced.value) {
            return Fate::Repeated;
        }
        let is_newer = match (&known.revision, &revision) {
            (Some(old), Some(new)) if newer(new, old) => true,
            (Some(old), Some(new)) if newer(old, new) => return Fate::Repeated,
            _ => match settle(&kept.value, &produced.value) {
                Settled::Replaced => true,
                Settled::Stays => return Fate::Repeated,
                Settled::OtherPatient => return contradiction(),
                Settled::Withheld(value) => {
                    if let Some(value) = value {
                        kept.value = value;
                    }
                    if let Some(earlier) = self.results.get_mut(known.result) {
                        earlier.fate = contradiction();
                    }
                    return contradiction();
                }
            },
        };
        if is_newer {
            *kept = produced;
            known.revision = revision;
            if let Some(result) = self.resource_results.get_mut(known.resource) {
                *result = next;
            }
            let replaced = std::mem::replace(&mut known.result, next);
            if let Some(earlier) = self.results.get_mut(replaced) {
                earlier.fate = Fate::Repeated;
            }
        }
        Fate::Resource(id)
    }

    fn add(&mut self, produced: Produced, revision: Option<String>) {
        let known = Known {
            resource: self.resources.len(),
            revision,
            result: self.results.len(),
        };
        self.known.insert(produced.identity.id.to_string(), known);
        self.resources.push(produced);
        self.resource_results.push(self.results.len());
    }

    /// A value of a series. When its instant has another value the two meet as the resources they are.
    pub(crate) fn sample(&mut self, text: &Arc<Text>, sample: NarrowSample) -> Fate {
        let id = sample::id_text(&text.channel, sample.at_us);
        if !self.known.is_empty() && self.known.contains_key(&id) {
            return match resource_of(text, sample) {
                Some(produced) => self.resource(produced, None),
                None => contradiction(),
            };
        }
        let (series, channel) = self.place(text);
        let place = (channel, sample.at_us);
        match self.known_samples.get_mut(&place) {
            Some((other, earlier)) if *other == series && earlier.value.is_equal(sample.value) => {
                // One number with more and with fewer digits: more of them say more, whichever came first.
                if sample.value.scale > earlier.value.scale {
                    earlier.value = sample.value;
                    let kept = self
                        .series
                        .get_mut(series)
                        .map(|series| &mut series.samples);
                    let mut kept = kept.into_iter().flatten();
                    if let Some(kept) = kept.find(|kept| kept.at_us == sample.at_us) {
                        kept.value = sample.value;
                    }
                }
                return Fate::Repeated;
            }
            Some(_) => {
                return match resource_of(text, sample) {
                    Some(produced) => self.resource(produced, None),
                    None => contradiction(),
                };
            }
            None => {}
        }
        self.known_samples.insert(place, (series, sample));
        let result = self.results.len();
        if let Some(series) = self.series.get_mut(series) {
            series.samples.push(sample);
            series.results.push(result);
        }
        Fate::Sample(id)
    }

    /// The number of a series, and of its channel.
    fn place(&mut self, text: &Arc<Text>) -> (usize, usize) {
        // The last one is tried first: payloads are in runs, and have few series.
        let mut known = self.known_series.iter().enumerate().rev();
        if let Some((series, (_, channel))) = known.find(|(_, (other, _))| Arc::ptr_eq(other, text))
        {
            return (series, *channel);
        }
        let series = self.series.len();
        let mut known = self.known_series.iter();
        let same = known.find(|(other, _)| other.channel == text.channel);
        let channel = same.map_or(series, |(_, channel)| *channel);
        self.known_series.push((Arc::clone(text), channel));
        self.series.push(SeriesSamples {
            channel: text.channel.clone(),
            template: text.template.clone(),
            samples: Vec::new(),
            results: Vec::new(),
        });
        (series, channel)
    }

    /// Makes a sample of this payload an ordinary resource, because something else came for its id.
    fn widen(&mut self, id: &str, at_us: i64) {
        let mut known = self.known_series.iter();
        let Some((_, channel)) =
            known.find(|(text, _)| sample::id_text(&text.channel, at_us) == id)
        else {
            return;
        };
        let Some((index, sample)) = self.known_samples.remove(&(*channel, at_us)) else {
            return;
        };
        let (Some(series), Some((text, _))) =
            (self.series.get_mut(index), self.known_series.get(index))
        else {
            return;
        };
        let Some(at) = series.samples.iter().position(|other| other.at_us == at_us) else {
            return;
        };
        series.samples.remove(at);
        let result = series.results.remove(at);
        if let Some(produced) = resource_of(text, sample) {
            let known = Known {
                resource: self.resources.len(),
                revision: None,
                result,
            };
            self.known.insert(id.to_owned(), known);
            self.resources.push(produced);
            self.resource_results.push(result);
            if let Some(reported) = self.results.get_mut(result) {
                reported.fate = Fate::Resource(id.to_owned());
            }
        }
    }
}

/// The Observation of a sample, as the second stage would have made it.
fn resource_of(text: &Text, sample: NarrowSample) -> Option<Produced> {
    let id = sample::id_text(&text.channel, sample.at_us);
    let time = (sample.at_us, sample.shown);
    let json = text.template.render(&id, Instant(0), time, sample.value);
    let value = crate::meeting::without_server_parts(&Value::parse(&json).ok()?);
    let mut value = value;
    value
        .as_object_mut()?
        .insert("id", Value::from(id.as_str()));
    Some(crate::series::produced(value, &id))
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
