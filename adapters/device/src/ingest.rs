//! From a payload's bytes to what the server commits: resources, samples and a result for every measurement.
//!
//! The steps: unpack, split into items, read by the payload mapping, judge, observe. Each measurement fails alone; a
//! payload nothing can be read from is kept whole and refused. The same bytes give the same ids, in any order.
//!
//! Left out on purpose: HTTP, MQTT and storage. [`deliver`] hands over through the adapters' one port.

use adapters::{
    AckCode, DedupeKey, Disposition, Gateway, Intake, IntakeError, Issue, Receipt, Severity,
};
use bytes::Bytes;
use chrono_tz::Tz;
use mappings::Position;
use sha2::{Digest, Sha256};

use crate::association::Directory;
use crate::batch::Batch;
use crate::judge::{self, Quarantine};
use crate::measure::Mode;
use crate::measurement::Measurement;
use crate::observation::{Judged, Observer};
use crate::payload::{Outcome, PayloadMapping, Read};
use crate::samples::{Sample, SeriesKey};
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
}

/// A payload made ready for one commit.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Raw payload, resources and issues.
    pub intake: Intake,
    /// Samples for the narrow store, by series and time.
    pub samples: Vec<(SeriesKey, Sample)>,
    /// One for every measurement, in payload order.
    pub results: Vec<Reported>,
}

/// Everything needed to read payloads of one source.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The sender.
    pub source: Source,
    /// Its payload mapping.
    pub mapping: PayloadMapping,
    /// Second stage.
    pub observer: Observer,
}

impl Ingest {
    /// Reads a payload. Total: any bytes give something to keep.
    pub fn prepare(&self, payload: &Payload, directory: &Directory) -> Prepared {
        let mut batch = Batch::default();
        let refused = match split::plain(&payload.raw) {
            Err(message) => Some(message),
            Ok(bytes) => {
                let items = split::items(self.mapping.input, &bytes);
                let unreadable = items.iter().all(|item| item.content.is_err());
                let first = items
                    .first()
                    .and_then(|i| i.content.as_ref().err())
                    .cloned();
                for item in items {
                    self.item(item, payload, directory, &mut batch);
                }
                unreadable.then(|| first.unwrap_or_else(|| "the payload is empty".to_owned()))
            }
        };
        let issues = batch
            .results
            .iter()
            .filter_map(|r| self.issue(r))
            .take(ISSUES_MAX)
            .collect();
        let disposition = match refused {
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
            issues,
            unread: Vec::new(),
            unread_count: 0,
            disposition,
        };
        Prepared {
            intake,
            samples: batch.samples,
            results: batch.results,
        }
    }

    fn version(&self) -> String {
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
        for result in &batch.results {
            part(result.fate.code().as_bytes());
        }
        let control_id = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        DedupeKey {
            sender: payload.sender.clone(),
            control_id,
        }
    }

    fn item(&self, item: split::Item, payload: &Payload, directory: &Directory, batch: &mut Batch) {
        let index = item.index;
        let document = match item.content {
            Ok(document) => document,
            Err(message) => {
                let fate = Fate::Quarantined {
                    code: "unreadable",
                    expression: None,
                    message,
                };
                return batch.result(index, String::new(), String::new(), fate);
            }
        };
        let reads = self.mapping.read(&document);
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
            Ok(judged) => match self.sample(&judged) {
                Some((key, sample)) => batch.sample(key, sample),
                None => match self.observer.observe(&judged) {
                    Ok(produced) => batch.resource(produced, judged.revision),
                    Err(message) => Fate::Quarantined {
                        code: "unmappable",
                        expression: None,
                        message,
                    },
                },
            },
        };
        batch.result(item, pointer, rule, fate);
    }

    /// The sample of a dense measure: an exact number at an instant, without anything a narrow row could not say.
    fn sample(&self, judged: &Judged) -> Option<(SeriesKey, Sample)> {
        let is_plain = judged.end.is_none()
            && judged.tags.is_empty()
            && judged.notes.is_empty()
            && judged.revision.is_none();
        if self.source.dense == Dense::Resources || judged.measure.mode != Mode::Series || !is_plain
        {
            return None;
        }
        let amount = judged.value.as_ref()?;
        if matches!(&amount.amount, crate::measurement::Amount::Number { comparator, .. } if !comparator.is_empty())
        {
            return None;
        }
        let key = SeriesKey {
            patient: judged.patient.clone(),
            device: format!("{}|{}", judged.device_system, judged.device),
            measure: judged.measure.name.to_owned(),
            unit: judged.measure.unit.to_owned(),
        };
        let sample = Sample {
            at_us: judged.start.micros(),
            value: amount.number()?,
            offset_minutes: i16::try_from(judged.start.offset_minutes()).ok()?,
        };
        Some((key, sample))
    }

    fn issue(&self, result: &Reported) -> Option<Issue> {
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
            Fate::Resource(_) | Fate::Sample | Fate::Repeated | Fate::Dropped(_) => return None,
        };
        Some(Issue::new(severity, code, text).at(Position::Json(result.pointer.as_str().into())))
    }
}

/// Reads a payload and commits it. Resolves only when it is durable, so that the sender may then be acknowledged.
///
/// # Errors
/// What the gateway says; with [`IntakeError::Overloaded`] and [`IntakeError::Unavailable`] nothing was stored.
pub async fn deliver(
    gateway: &dyn Gateway,
    ingest: &Ingest,
    directory: &Directory,
    payload: &Payload,
) -> Result<(Receipt, Vec<Reported>), IntakeError> {
    // The port has no place for samples yet: refusing the setting is better than losing them.
    if ingest.source.dense == Dense::Samples {
        return Err(IntakeError::Unavailable(
            "the gateway takes no samples; set `dense` to resources".to_owned(),
        ));
    }
    let Prepared {
        intake, results, ..
    } = ingest.prepare(payload, directory);
    let receipt = gateway.commit(intake).await?;
    Ok((receipt, results))
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
