//! `$hourly`: samples of dense series as SampledData, one Observation for each hour of each series.
//!
//! R4 SampledData: <https://hl7.org/fhir/R4/datatypes.html#SampledData>. Guide: `docs/guide/devices.md`. Each answer is built
//! from the samples as they are now. The values are a component, because the vital signs profiles allow nothing but a
//! quantity as the Observation's own value. Hours whose samples lie on no grid are answered sample by sample.
//!
//! Left out: reading such an Observation by an id; it is an answer, not a stored resource.

use device::decimal::Decimal;
use device::samples::{Bucket, Sample, bucket, bucket_start};
use fhir_core::access::Act;
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_core::sample::id_text;
use fhir_core::search::compartment;
use fhir_store::{NarrowSample, Only, SearchQuery, SeriesRange, TotalMode};

use super::parameters::{self, bad};
use crate::app::store_problem;
use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::interactions::Answer;
use crate::search;

/// Samples of one answer at most: two days of one a second.
const SAMPLES_MAX: usize = 200_000;

/// `GET` and `POST [base]/Observation/$hourly`
///
/// # Errors
/// `bad-parameter-value` without patient or date; `too-costly` when more samples lie in the time than one answer holds
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Search, resource_type)?;
    let criteria = parameters::simple(&mut call).await?;
    let has = |wanted: &[&str]| {
        criteria.iter().any(|(name, _)| {
            let code = name.split([':', '.']).next().unwrap_or_default();
            wanted.contains(&code)
        })
    };
    if !has(&["patient", "subject"]) {
        return Err(bad("patient", "or `subject` is required"));
    }
    if !has(&["date"]) {
        return Err(bad("date", "is required, such as 2026-03-01"));
    }
    let predicate = search::condition_of(&call.server, resource_type, &criteria)?;
    let query = SearchQuery {
        resource_type,
        predicate: compartment::narrow(&call.access, resource_type, predicate),
        sort: Vec::new(),
        limit: 0,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let found = call.server.store.sample_ranges(query, SAMPLES_MAX).await;
    let found = found.map_err(|e| store_problem(&e))?;
    call.server.reads.push(audit::record(
        &call.access,
        Interaction::Operation,
        'E',
        None,
    ));
    let bundle = tokio::task::spawn_blocking(move || bundle(&found)).await;
    let bundle = bundle.map_err(|error| {
        tracing::error!(%error, "building SampledData ended unexpectedly");
        Problem::new(ErrorKind::INTERNAL, "the answer could not be built")
    })??;
    Ok(Answer::ok(bundle.to_bytes()))
}

fn bundle(found: &[SeriesRange]) -> Result<Value, Problem> {
    let mut entries = Vec::new();
    for series in found {
        for hour in series
            .samples
            .chunk_by(|a, b| bucket_start(a.at_us) == bucket_start(b.at_us))
        {
            let observations = of_hour(series, hour).ok_or_else(|| {
                Problem::new(ErrorKind::INTERNAL, "the samples of an hour cannot be read")
            })?;
            let entry = |resource| Value::object([("resource", resource)]);
            entries.extend(observations.into_iter().map(entry));
        }
    }
    let mut members = vec![
        ("resourceType", Value::from("Bundle")),
        ("type", Value::from("collection")),
    ];
    if !entries.is_empty() {
        members.push(("entry", Value::Array(entries)));
    }
    Ok(Value::object(members))
}

/// One Observation for the hour, or one for each sample when they lie on no grid.
fn of_hour(series: &SeriesRange, hour: &[NarrowSample]) -> Option<Vec<Value>> {
    let samples: Vec<Sample> = hour
        .iter()
        .map(|sample| Sample {
            at_us: sample.at_us,
            value: Decimal::new(
                i128::from(sample.value.mantissa),
                u32::from(sample.value.scale),
            ),
            offset_minutes: sample.shown.offset_minutes,
        })
        .collect();
    let first = single(series, hour.first()?)?;
    let unit = first
        .get("valueQuantity")?
        .get("code")?
        .as_str()?
        .to_owned();
    match bucket(&samples, &unit) {
        Some(bucket) => Some(vec![sampled(first, bucket)?]),
        None => hour.iter().map(|sample| single(series, sample)).collect(),
    }
}

/// The Observation of a sample, without what only a stored resource has.
fn single(series: &SeriesRange, sample: &NarrowSample) -> Option<Value> {
    let id = id_text(&series.channel, sample.at_us);
    let time = (sample.at_us, sample.shown);
    let text = series.template.render(&id, Instant(0), time, sample.value);
    let mut value = Value::parse(&text).ok()?;
    let map = value.as_object_mut()?;
    if let Some(meta) = map.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
        if meta.is_empty() {
            map.remove("meta");
        }
    }
    Some(value)
}

/// The Observation of an hour: that of its first sample, at its instant, with the values as a component. R4's vs-1 takes
/// no Period, and SampledData counts from the instant.
fn sampled(mut observation: Value, bucket: Bucket) -> Option<Value> {
    let map = observation.as_object_mut()?;
    map.remove("id");
    map.remove("valueQuantity");
    let code = map.get("code")?.clone();
    let component = Value::object([("code", code), ("valueSampledData", bucket.data)]);
    map.insert("component", Value::Array(vec![component]));
    Some(observation)
}
