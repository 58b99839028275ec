//! From a payload's bytes to what the server commits: resources, samples and a result for every measurement.
//!
//! The steps: unpack, split into items, read by the payload mapping, judge, observe. Each measurement fails alone; a
//! payload nothing can be read from is kept whole and refused. The same bytes give the same ids, in any order.
//!
//! Left out on purpose: HTTP, MQTT and storage. [`crate::port`] hands over.

use std::collections::BTreeSet;

use adapters::{AckCode, DedupeKey, Disposition, Intake, Issue, Severity};
use bytes::Bytes;
use chrono_tz::Tz;
use mappings::Position;
use sha2::{Digest, Sha256};

use crate::association::Directory;
use crate::batch::Batch;
use crate::judge::{self, Quarantine};
use crate::measurement::Measurement;
use crate::observation::{Judged, Observer};
use crate::payload::{Outcome, PayloadMapping, Read};
use crate::series::{self, SeriesSamples, Templates};
use crate::split;

pub use crate::batch::{Fate, Reported};

/// How far ahead of the server's clock a measurement may be: five minutes of honest clock error.
pub const FUTURE_US_DEFAULT: i64 = 5 * 60 * 1_000_000;
/// Most issues put into one [`Intake`]; the results name every measurement anyway.
const ISSUES_MAX: usize = 1_000;
/// The media type a payload is kept under.
pub const MEDIA_TYPE: &str = "application/vnd.stoker.device-payload";

/// A configured sender.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the feed.
    pub feed: String,
    /// URI of the system its device identifiers belong to; serial numbers repeat between makers.
    pub device_system: String,
    /// The last resort of the zone policies `device` and `patient`.
    pub zone: Option<Tz>,
    /// How far in the future a time may lie, in microseconds.
    pub future_us_max: i64,
    /// Where values of dense measures go.
    pub dense: Dense,
}

/// Where values of dense measures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// A resource each.
    Resources,
    /// Samples of a series.
    Samples,
}

/// A payload as received.
#[derive(Debug, Clone)]
pub struct Payload {
    /// Its bytes.
    pub raw: Bytes,
    /// Who sent it: a client, a topic.
    pub sender: String,
    /// When, in microseconds since 1970, by the server's clock.
    pub received_us: i64,
    /// The device the sender has proved to be. Measurements that name none are its own; those of others wait.
    pub device: Option<String>,
}

/// A payload made ready for one commit.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Raw payload, resources and issues.
    pub intake: Intake,
    /// For each resource, which result it is.
    pub resource_results: Vec<usize>,
    /// Samples for the narrow store, by series, in payload order.
    pub series: Vec<SeriesSamples>,
    /// One for every measurement, in payload order.
    pub results: Vec<Reported>,
}

/// A payload's items, read by the mapping and not yet judged.
#[derive(Debug)]
pub struct Reading {
    items: Vec<(usize, Result<Vec<Read>, String>)>,
    refused: Option<String>,
}

impl Reading {
    /// The devices it names: what the directory must know to judge it.
    pub fn devices(&self) -> BTreeSet<&str> {
        let reads = self
            .items
            .iter()
            .filter_map(|(_, reads)| reads.as_ref().ok());
        reads
            .flatten()
            .filter_map(|read| match &read.outcome {
                Outcome::Measured(measurement) => measurement.device.as_deref(),
                _ => None,
            })
            .collect()
    }
}

/// Everything needed to read payloads of one source.
#[derive(Debug)]
pub struct Ingest {
    /// The sender.
    pub source: Source,
    /// Its payload mapping.
    pub mapping: PayloadMapping,
    /// Second stage.
    pub observer: Observer,
    templates: Templates,
}

impl Ingest {
    /// A source, its mapping and the second stage.
    pub fn new(source: Source, mapping: PayloadMapping, observer: Observer) -> Self {
        Self {
            source,
            mapping,
            observer,
            templates: Templates::default(),
        }
    }

    /// Reads a payload and judges it. Total: any bytes give something to keep.
    pub fn prepare(&self, payload: &Payload, directory: &Directory) -> Prepared {
        self.judge(self.read(payload), payload, directory)
    }

    /// Unpacks a payload and reads its items by the mapping.
    pub fn read(&self, payload: &Payload) -> Reading {
        let bytes = match split::plain(&payload.raw) {
            Ok(bytes) => bytes,
            Err(message) => {
                return Reading {
                    items: Vec::new(),
                    refused: Some(message),
                };
            }
        };
        let read = |item: split::Item| {
            let reads = item.content.map(|document| self.mapping.read(&document));
            (item.index, reads)
        };
        let items = split::items(self.mapping.input, &bytes);
        let mut items: Vec<_> = items.into_iter().map(read).collect();
        if let Some(bound) = &payload.device {
            let reads = items
                .iter_mut()
                .filter_map(|(_, reads)| reads.as_mut().ok());
            for read in reads.flatten() {
                if let Outcome::Measured(measurement) = &mut read.outcome {
                    measurement.device.get_or_insert_with(|| bound.clone());
                }
            }
        }
        let is_unreadable = items.iter().all(|(_, reads)| reads.is_err());
        let first = items.iter().find_map(|(_, reads)| reads.as_ref().err());
        let refused = is_unreadable.then(|| {
            first
                .cloned()
                .unwrap_or_else(|| "the payload is empty".to_owned())
        });
        Reading { items, refused }
    }

    /// Judges what was read; `directory` knows the devices that [`Reading::devices`] names.
    pub fn judge(&self, reading: Reading, payload: &Payload, directory: &Directory) -> Prepared {
        self.judge_as(reading, payload, directory, self.source.dense)
    }

    /// The same, with dense measures going where the caller says.
    pub fn judge_as(
        &self,
        reading: Reading,
        payload: &Payload,
        directory: &Directory,
        dense: Dense,
    ) -> Prepared {
        let mut batch = Batch::new(dense);
        for (index, reads) in reading.items {
            self.item(index, reads, payload, directory, &mut batch);
        }
        // A series whose only sample met another value of its instant is empty now.
        batch.series.retain(|series| !series.samples.is_empty());
        let issues = batch
            .results
            .iter()
            .filter_map(|r| self.issue(r))
            .take(ISSUES_MAX)
            .collect();
        let disposition = match reading.refused {
            None => Disposition::Process,
            Some(message) => {
                let text = format!("{message}; mapping {}", self.version());
                let reason = Issue::new(Severity::Error, "payload-unreadable", text);
                Disposition::Refuse {
                    code: AckCode::Error,
                    reason,
                }
            }
        };
        let intake = Intake {
            feed: self.source.feed.clone(),
            media_type: MEDIA_TYPE,
            raw: payload.raw.clone(),
            dedupe: self.dedupe(payload, &batch),
            message_type: self.mapping.id.clone(),
            mapping: Some(self.version()),
            resources: batch.resources,
            actions: Vec::new(),
            issues,
            unread: Vec::new(),
            unread_count: 0,
            disposition,
        };
        Prepared {
            intake,
            resource_results: batch.resource_results,
            series: batch.series,
            results: batch.results,
        }
    }

    /// Both mappings and their versions, as quarantine and Provenance name them.
    pub fn version(&self) -> String {
        format!(
            "{} {}, {}",
            self.mapping.id,
            self.mapping.version,
            self.observer.version()
        )
    }

    /// The control id follows from the payload and from all that was made of it: a redelivery that gives the same is a
    /// repeat; one after a device was registered, a mapping corrected or an association mended is not.
    fn dedupe(&self, payload: &Payload, batch: &Batch) -> DedupeKey {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.version().as_bytes());
        part(&payload.raw);
        for resource in &batch.resources {
            part(&resource.value.to_bytes());
        }
        for series in &batch.series {
            part(series.template.to_text().as_bytes());
        }
        for result in &batch.results {
            part(result.fate.code().as_bytes());
        }
        let control_id = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        DedupeKey {
            sender: payload.sender.clone(),
            control_id,
        }
    }

    fn item(
        &self,
        index: usize,
        reads: Result<Vec<Read>, String>,
        payload: &Payload,
        directory: &Directory,
        batch: &mut Batch,
    ) {
        let reads = match reads {
            Ok(reads) => reads,
            Err(message) => {
                let fate = Fate::Quarantined {
                    code: "unreadable",
                    expression: None,
                    message,
                };
                return batch.result(index, String::new(), String::new(), fate);
            }
        };
        if reads.is_empty() {
            return batch.result(index, String::new(), String::new(), Fate::Unmatched);
        }
        for Read {
            rule,
            pointer,
            outcome,
        } in reads
        {
            match outcome {
                Outcome::Measured(measurement) => {
                    self.measured(
                        index,
                        rule,
                        pointer,
                        *measurement,
                        payload,
                        directory,
                        batch,
                    );
                }
                Outcome::Dropped(reason) => {
                    batch.result(index, pointer, rule, Fate::Dropped(reason))
                }
                Outcome::Deleted(record) => {
                    batch.result(index, pointer, rule, Fate::Deleted(record))
                }
                Outcome::Faulty {
                    expression,
                    message,
                } => {
                    let fate = Fate::Quarantined {
                        code: "faulty",
                        expression: Some(expression),
                        message,
                    };
                    batch.result(index, pointer, rule, fate);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // the place of a measurement is three values, and it is used nowhere else
    fn measured(
        &self,
        item: usize,
        rule: String,
        pointer: String,
        measurement: Measurement,
        payload: &Payload,
        directory: &Directory,
        batch: &mut Batch,
    ) {
        let stranger = payload
            .device
            .as_ref()
            .is_some_and(|bound| measurement.device.as_ref() != Some(bound));
        if stranger {
            let fate = Fate::Quarantined {
                code: "not-your-device",
                expression: None,
                message: "the sender's token is bound to another device".to_owned(),
            };
            return batch.result(item, pointer, rule, fate);
        }
        let judged = judge::judge(
            measurement,
            self.mapping.zone,
            &self.source,
            directory,
            payload.received_us,
        );
        let fate = match judged {
            Err(Quarantine { code, message }) => Fate::Quarantined {
                code,
                expression: None,
                message,
            },
            Ok(judged) => self.placed(&judged, batch),
        };
        batch.result(item, pointer, rule, fate);
    }

    /// A judged measurement as a sample of a series, or as a resource.
    fn placed(&self, judged: &Judged, batch: &mut Batch) -> Fate {
        if batch.dense == Dense::Samples
            && let Some((text, sample)) = self.templates.sample(judged, &self.observer)
        {
            return batch.sample(&text, sample);
        }
        let channel = series::channel(judged, self.observer.namespace());
        match self.observer.observe(judged) {
            Ok(mut produced) => {
                if let Some(channel) = channel {
                    series::rename(&mut produced, &channel, judged.start.micros());
                }
                batch.resource(produced, judged.revision.clone())
            }
            Err(message) => Fate::Quarantined {
                code: "unmappable",
                expression: None,
                message,
            },
        }
    }

    /// What the message log says of a result; `None` for one that needs no look.
    pub fn issue(&self, result: &Reported) -> Option<Issue> {
        let place = format!(
            "item {}, rule `{}`, mapping {}",
            result.item, result.rule, self.mapping.id
        );
        let (severity, code, text) = match &result.fate {
            Fate::Quarantined {
                code,
                expression,
                message,
            } => {
                let expression = expression
                    .as_deref()
                    .map(|e| format!(" in `{e}`"))
                    .unwrap_or_default();
                (
                    Severity::Warning,
                    *code,
                    format!("{message}{expression}; quarantined: {place}"),
                )
            }
            Fate::Unmatched => (
                Severity::Information,
                "unmatched",
                format!("no rule takes it: {place}"),
            ),
            Fate::Deleted(_) => (
                Severity::Warning,
                "deleted-by-sender",
                format!("the sender deleted the record: {place}"),
            ),
            Fate::Resource(_) | Fate::Sample(_) | Fate::Repeated | Fate::Dropped(_) => return None,
        };
        Some(Issue::new(severity, code, text).at(Position::Json(result.pointer.as_str().into())))
    }
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
