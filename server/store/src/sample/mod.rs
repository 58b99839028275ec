//! Samples of dense series: kept as narrow rows, read and found as the Observations they are.
//!
//! Decision: `docs/decisions/0009-samples.md`. A sample has one version. Whoever changes or deletes it makes an ordinary
//! resource of it first, which has that version in its history.
//!
//! Left out: samples in `_has` and chains that end at Observation, in histories of a type, and in orders other than by
//! date or time of storage.

mod ranges;
mod read;
mod search;
mod write;

use std::sync::OnceLock;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::json::Document;
use fhir_core::sample::{SampleValue, Shown, Template, VERSION, id_text};

use crate::api::Stored;
use crate::error::StoreError;

pub use ranges::SeriesRange;
pub(crate) use read::{COLUMNS, find, sample};
pub(crate) use search::extract;
pub(crate) use write::{PreparedSeries, SampleWriter};

/// A value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NarrowSample {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// The value with its digits.
    pub value: SampleValue,
    /// How its instant is written.
    pub shown: Shown,
}

/// Values of one series.
#[derive(Debug, Clone)]
pub struct SeriesSamples {
    /// Name of the channel, which the ids begin with.
    pub channel: String,
    /// The text of the series' Observations.
    pub template: Template,
    /// The values, each instant once.
    pub samples: Vec<NarrowSample>,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFate {
    /// It is stored now.
    New,
    /// It was there already.
    Same,
    /// Something else is there under its id, and stays.
    Other,
    /// An Observation of its id was deleted, and stays so.
    Deleted,
}

/// The type samples are served as.
pub(crate) fn observation() -> Option<ResourceTypeId> {
    static TYPE: OnceLock<Option<ResourceTypeId>> = OnceLock::new();
    *TYPE.get_or_init(|| Definitions::r4().resource_type("Observation"))
}

/// Whether samples are served as this type.
pub(crate) fn is_of(resource_type: ResourceTypeId) -> bool {
    Some(resource_type) == observation()
}

/// Channel and instant, when the key can be a sample's.
pub(crate) fn place_of(key: &ResourceKey) -> Option<(&str, i64)> {
    if Some(key.resource_type) != observation() {
        return None;
    }
    fhir_core::sample::parse_id(key.id.as_str())
}

pub(crate) fn damaged() -> StoreError {
    StoreError::Internal("a row of a series cannot be read".into())
}

/// The Observation of a sample.
pub(crate) fn stored(
    channel: &str,
    template: &Template,
    sample: NarrowSample,
    updated: Instant,
) -> Result<Stored, StoreError> {
    let id = id_text(channel, sample.at_us);
    let json = template.render(&id, updated, (sample.at_us, sample.shown), sample.value);
    let key = ResourceKey {
        resource_type: observation().ok_or_else(damaged)?,
        id: ResourceId::parse(&id).ok_or_else(damaged)?,
    };
    Ok(Stored {
        key,
        version: VERSION,
        updated,
        deleted: false,
        json: json.into(),
    })
}

/// The subject of a series, out of any of its Observations.
fn subject_of(template: &Template) -> Option<ResourceKey> {
    let json = template.render("a", Instant(0), (0, some_time()), some_value());
    let document = Document::parse(&json).ok()?;
    let reference = document.root().get("subject")?.get("reference")?.as_str()?;
    let (type_name, id) = reference.split_once('/')?;
    Some(ResourceKey {
        resource_type: Definitions::r4().resource_type(type_name)?,
        id: ResourceId::parse(id)?,
    })
}

fn some_time() -> Shown {
    Shown {
        offset_minutes: 0,
        digits: 0,
        is_zulu: true,
    }
}

fn some_value() -> SampleValue {
    SampleValue {
        mantissa: 1,
        scale: 0,
    }
}
