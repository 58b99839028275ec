//! Dense series: which measurements can be kept narrow, under which channel, and the text their Observations share.
//!
//! R4 Observation: <https://hl7.org/fhir/R4/observation.html>. A template comes from running the second stage once for a
//! series, and is used only when a sample rendered from it is byte for byte what the second stage gave.
//!
//! Left out on purpose: storage, which [`crate::port`] reaches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fhir_core::body::Body;
use fhir_core::ids::{Instant, ResourceId};
use fhir_core::json::{Document, Value};
use fhir_core::sample::{self, SampleValue, Shown, Template, VERSION};
use mappings::{Identity, Produced, Write};
use sha2::{Digest, Sha256};

use crate::measure::Mode;
use crate::measurement::Amount;
use crate::observation::{Judged, Observer};

/// Devices whose texts one source keeps; when full the memory is emptied and filled again.
const TEMPLATES_MAX: usize = 65_536;
/// Texts kept of one device: a few measures, times the patients it was with lately.
const TEXTS_OF_DEVICE_MAX: usize = 64;
/// Digits of a second that a narrow sample can keep.
const FRACTION_DIGITS_MAX: usize = 6;

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NarrowSample {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// How its instant is written.
    pub shown: Shown,
    /// The value with the sender's digits.
    pub value: SampleValue,
}

/// Samples of one series.
#[derive(Debug, Clone)]
pub struct SeriesSamples {
    /// Device and measure, as one name; ids of samples begin with it.
    pub channel: String,
    /// The text of their Observations.
    pub template: Template,
    /// The samples, an instant at most once.
    pub samples: Vec<NarrowSample>,
    /// For each sample, which result of the payload it is.
    pub results: Vec<usize>,
}

/// The channel of a measurement whose id follows from device, measure and instant alone; `None` for others. It does not
/// depend on whether the source keeps samples, so that changing the setting doubles nothing.
pub fn channel(judged: &Judged, namespace: &str) -> Option<String> {
    if !is_dense(judged) {
        return None;
    }
    let mut hash = Sha256::new();
    for part in [
        "stoker-channel-1",
        namespace,
        &judged.device_system,
        &judged.device,
        judged.measure.name,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    Some(digest.iter().take(16).map(|b| format!("{b:02x}")).collect())
}

/// Whether a measurement's id follows from device, measure and instant alone.
fn is_dense(judged: &Judged) -> bool {
    judged.measure.mode == Mode::Series
        && judged.record.is_none()
        && !judged.keyed_by_record
        && judged.end.is_none()
        && judged.components.is_empty()
}

/// Gives a resource the id of its channel and instant.
pub fn rename(produced: &mut Produced, channel: &str, at_us: i64) {
    let id = sample::id_text(channel, at_us);
    if let Some(map) = produced.value.as_object_mut() {
        map.insert("id", Value::from(id.as_str()));
    }
    produced.identity.id = id.into();
}

/// An Observation of this id as the second stage gives it, without the trace of elements.
pub(crate) fn produced(value: Value, id: &str) -> Produced {
    Produced {
        value,
        identity: Identity {
            resource_type: "Observation".into(),
            id: id.into(),
            way: 0,
            namespace: "".into(),
            parts: Box::default(),
        },
        write: Write::Replace,
        rule: "observation".into(),
        lineage: Vec::new(),
        cleared: Vec::new(),
        initial: Vec::new(),
        shared: false,
        lists: Vec::new(),
        revision: None,
        aliases: Vec::new(),
    }
}

/// What the text of a series follows from, beside its measure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    patient: String,
    system: String,
    reference: Option<String>,
    measure: &'static str,
    unit: &'static str,
    is_utc: bool,
}

impl Key {
    fn is_of(&self, judged: &Judged, unit: &'static str, is_utc: bool) -> bool {
        self.patient == judged.patient
            && self.system == judged.device_system
            && self.reference == judged.device_reference
            && self.measure == judged.measure.name
            && self.unit == unit
            && self.is_utc == is_utc
    }
}

/// The channel and text of a series.
#[derive(Debug)]
pub struct Text {
    /// Name of the channel.
    pub channel: String,
    /// The text of its Observations.
    pub template: Template,
    is_zulu: bool,
}

/// The texts of one device, each with what it follows from; `None` for what cannot be kept narrow.
type OfDevice = Vec<(Key, Option<Arc<Text>>)>;

/// The texts of a source, made once for each series.
#[derive(Debug, Default)]
pub struct Templates {
    /// By device.
    known: Mutex<HashMap<String, OfDevice>>,
}

impl Templates {
    /// The sample of a plain measurement and its series: an exact number at an instant and nothing else to say.
    pub fn sample(
        &self,
        judged: &Judged,
        observer: &Observer,
    ) -> Option<(Arc<Text>, NarrowSample)> {
        let is_plain =
            judged.tags.is_empty() && judged.notes.is_empty() && judged.revision.is_none();
        let amount = judged
            .value
            .as_ref()
            .filter(|_| is_plain && is_dense(judged))?;
        let Amount::Number { comparator, value } = &amount.amount else {
            return None;
        };
        let digits = judged.start.fraction_digits();
        if !comparator.is_empty() || digits > FRACTION_DIGITS_MAX {
            return None;
        }
        let value = SampleValue::new(value.mantissa(), value.scale())?;
        let shown = Shown {
            offset_minutes: i16::try_from(judged.start.offset_minutes()).ok()?,
            digits: u8::try_from(digits).ok()?,
            is_zulu: false,
        };
        let sample = NarrowSample {
            at_us: judged.start.micros(),
            shown,
            value,
        };
        let text = self.text(judged, amount.unit, sample, observer)?;
        let is_zulu = text.is_zulu;
        Some((
            text,
            NarrowSample {
                shown: Shown { is_zulu, ..shown },
                ..sample
            },
        ))
    }

    fn text(
        &self,
        judged: &Judged,
        unit: &'static str,
        sample: NarrowSample,
        observer: &Observer,
    ) -> Option<Arc<Text>> {
        let is_utc = sample.shown.offset_minutes == 0;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = known
            .get(&judged.device)
            .and_then(|all| all.iter().find(|(key, _)| key.is_of(judged, unit, is_utc)))
        {
            return text.clone();
        }
        let channel = channel(judged, observer.namespace())?;
        let made = make(judged, sample, observer).map(|(template, is_zulu)| {
            Arc::new(Text {
                channel,
                template,
                is_zulu,
            })
        });
        if known.len() >= TEMPLATES_MAX {
            known.clear();
        }
        let key = Key {
            patient: judged.patient.clone(),
            system: judged.device_system.clone(),
            reference: judged.device_reference.clone(),
            measure: judged.measure.name,
            unit,
            is_utc,
        };
        let of_device = known.entry(judged.device.clone()).or_default();
        if of_device.len() >= TEXTS_OF_DEVICE_MAX {
            of_device.clear();
        }
        of_device.push((key, made.clone()));
        made
    }
}

/// Runs the second stage and checks that the template gives the same text.
fn make(judged: &Judged, sample: NarrowSample, observer: &Observer) -> Option<(Template, bool)> {
    const ID: &str = "a";
    let produced = observer.observe(judged).ok()?.value;
    let time = produced.get("effectiveDateTime")?.as_str()?;
    let is_zulu = time.ends_with('Z');
    let shown = Shown {
        is_zulu,
        ..sample.shown
    };
    let template = Template::of(&produced)?;
    let rendered = template.render(ID, Instant(0), (sample.at_us, shown), sample.value);
    let document = Document::parse(&produced.to_bytes()).ok()?;
    let body = Body::new(document.root(), &ResourceId::parse(ID)?);
    (rendered == body.to_bytes(VERSION, Instant(0))).then_some((template, is_zulu))
}
