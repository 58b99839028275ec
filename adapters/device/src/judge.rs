//! Judges a measurement: its instant, its patient, its unit and whether it can be true. What fails waits in quarantine.
//!
//! Left out on purpose: repair. Nothing is guessed; a quarantined measurement is replayed when the cause is mended.

use chrono_tz::Tz;

use crate::association::{Association, Directory};
use crate::ingest::Source;
use crate::measure::{self, Measure, Plausibility};
use crate::measurement::{Amount, Keyed, Measurement, Reading};
use crate::observation::{Judged, JudgedAmount};
use crate::payload::ZonePolicy;
use crate::time::{self, Decided, Given, Stamp};

/// A mark for values outside the usual bounds.
const UNUSUAL: (&str, &str) = ("unusual-value", "Outside the usual range of the measure");
const MANUAL: (&str, &str) = ("manual-entry", "Entered by hand");
const CLOCK: (&str, &str) = (
    "clock-corrected",
    "The device's clock was wrong; its known error was taken off",
);
const TWICE: (&str, &str) = (
    "time-shown-twice",
    "Clocks show this time twice; the earlier was taken",
);
const SKIPPED: (&str, &str) = (
    "time-skipped",
    "Clocks skip this time; it was moved on by the length of the gap",
);

/// Why a measurement waits: a stable code, and a sentence without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

type Outcome<T> = Result<T, Quarantine>;

fn held<T>(code: &'static str, message: impl Into<String>) -> Outcome<T> {
    Err(Quarantine {
        code,
        message: message.into(),
    })
}

/// Judges one measurement received at an instant.
///
/// # Errors
/// [`Quarantine`].
pub fn judge(
    measurement: Measurement,
    policy: ZonePolicy,
    source: &Source,
    directory: &Directory,
    received_us: i64,
) -> Outcome<Judged> {
    let Some(device) = measurement.device.clone() else {
        return held(
            "no-device",
            "the payload names no device, so whose measurement it is cannot be known",
        );
    };
    let mut tags = Vec::new();
    let (start, end, association) =
        when(&measurement, &device, policy, source, directory, &mut tags)?;
    let latest = end.as_ref().unwrap_or(&start).micros();
    if latest > received_us.saturating_add(source.future_us_max) {
        return held(
            "future",
            "the time lies in the future; set the device's clock, or record how it goes, and replay",
        );
    }
    if end
        .as_ref()
        .is_some_and(|end| end.micros() < start.micros())
    {
        return held("ends-before-it-starts", "the end lies before the start");
    }
    let mut notes: Vec<String> = measurement.note.iter().cloned().collect();
    let (measure, value, components) = values(&measurement, &mut tags, &mut notes)?;
    if measure.is_of_period() && end.is_none() {
        return held(
            "no-period",
            "the measure is counted over a time and the payload gives no end of it",
        );
    }
    if measurement.is_manual {
        tags.push(MANUAL);
    }
    if measurement.keyed == Keyed::Record && measurement.record.is_none() {
        return held(
            "no-record-id",
            "the mapping names records by their id and this one has none",
        );
    }
    Ok(Judged {
        measure,
        value,
        components,
        start,
        end,
        patient: association.patient.clone(),
        device_system: source.device_system.clone(),
        device_reference: directory.device(&device).and_then(|d| d.reference.clone()),
        device,
        keyed_by_record: measurement.keyed == Keyed::Record,
        record: measurement.record,
        revision: measurement.revision,
        tags,
        notes,
    })
}

type When<'d> = (Stamp, Option<Stamp>, &'d Association);

/// Instant and patient depend on each other when the patient's zone is asked for: the patient is sought with the time
/// read in the source's zone or UTC, and must be the same once the instant is known.
fn when<'d>(
    m: &Measurement,
    device: &str,
    policy: ZonePolicy,
    source: &Source,
    directory: &'d Directory,
    tags: &mut Vec<(&'static str, &'static str)>,
) -> Outcome<When<'d>> {
    let find = |at_us: i64| {
        directory
            .resolve(device, m.user.as_deref(), at_us)
            .or_else(|why| held("no-patient", why.to_string()))
    };
    let own = own_zone(m)?;
    let record = directory.device(device);
    let fallback = match policy {
        ZonePolicy::Payload | ZonePolicy::Reject => None,
        ZonePolicy::Device => record.and_then(|r| r.zone).or(source.zone),
        ZonePolicy::Patient => {
            let rough_zone = own.or(source.zone).unwrap_or(Tz::UTC);
            let (rough, ..) = instant(&m.start, m.offset_minutes, own, Some(rough_zone))?;
            find(rough.micros())?.zone.or(source.zone)
        }
    };
    let zone = if policy == ZonePolicy::Reject {
        None
    } else {
        own.or(fallback)
    };
    let (start, day_end, decided) = instant(&m.start, m.offset_minutes, own, zone)?;
    tags.extend(decided.map(|d| if d == Decided::Twice { TWICE } else { SKIPPED }));
    let end = match &m.end {
        Some(end) => Some(
            instant(end, m.offset_minutes, own, zone)
                .map(|(stamp, day_end, _)| day_end.unwrap_or(stamp))?,
        ),
        None => day_end,
    };
    let correction = record.map_or(0, |r| r.clock.correction_us(start.micros()));
    let (start, end) = corrected(start, end, correction)?;
    if correction != 0 {
        tags.push(CLOCK);
    }
    let association = find(start.micros())?;
    Ok((start, end, association))
}

fn corrected(start: Stamp, end: Option<Stamp>, correction: i64) -> Outcome<(Stamp, Option<Stamp>)> {
    if correction == 0 {
        return Ok((start, end));
    }
    let moved = |stamp: &Stamp| {
        stamp.plus_micros(correction).map_or_else(
            || held("time-range", "the corrected time is out of range"),
            Ok,
        )
    };
    Ok((moved(&start)?, end.as_ref().map(moved).transpose()?))
}

/// The zone the payload names beside its times.
fn own_zone(m: &Measurement) -> Outcome<Option<Tz>> {
    match &m.zone {
        None => Ok(None),
        Some(name) => match name.parse::<Tz>() {
            Ok(zone) => Ok(Some(zone)),
            Err(_) => held(
                "zone-unknown",
                "the zone beside the time is not a zone name like Europe/Berlin",
            ),
        },
    }
}

/// The instant, the end when a whole day is meant, and what a clock change decided.
fn instant(
    given: &Given,
    offset: Option<i32>,
    own: Option<Tz>,
    zone: Option<Tz>,
) -> Outcome<(Stamp, Option<Stamp>, Option<Decided>)> {
    let no_zone = || {
        held(
            "no-zone",
            "the time has no offset and the mapping's zone policy gives none",
        )
    };
    let out_of_range = || {
        held(
            "time-range",
            "the time cannot be written as a FHIR dateTime",
        )
    };
    match (given, offset, zone) {
        (Given::Instant(stamp), ..) => Ok((stamp.clone(), None, None)),
        // The instant is certain; what the payload says beside it is how the person's clocks showed it.
        (Given::Count(stamp), offset, _) => {
            let seen = match (offset, own) {
                (Some(offset), _) => stamp.seen_at_offset(offset),
                (None, Some(zone)) => stamp.seen_in(zone),
                (None, None) => Some(stamp.clone()),
            };
            seen.map_or_else(out_of_range, |stamp| Ok((stamp, None, None)))
        }
        (Given::Wall(local), Some(offset), _) => local
            .clone()
            .at_offset(offset)
            .map_or_else(out_of_range, |stamp| Ok((stamp, None, None))),
        (Given::Wall(local), None, Some(zone)) => {
            let found = local.clone().in_zone(zone);
            found.map_or_else(out_of_range, |(stamp, decided)| Ok((stamp, None, decided)))
        }
        (Given::Day(day), _, Some(zone)) => time::day_in(*day, zone)
            .map_or_else(out_of_range, |(start, end)| Ok((start, Some(end), None))),
        (Given::Wall(_), None, None) | (Given::Day(_), _, None) => no_zone(),
    }
}

type Values = (
    &'static Measure,
    Option<JudgedAmount>,
    Vec<(&'static Measure, JudgedAmount)>,
);

fn values(
    m: &Measurement,
    tags: &mut Vec<(&'static str, &'static str)>,
    notes: &mut Vec<String>,
) -> Outcome<Values> {
    if let Some(panel) = measure::measure(&m.measure, "") {
        let mut components = Vec::new();
        for reading in &m.readings {
            let absent_measure = measure::measures()
                .iter()
                .find(|c| c.name == reading.component);
            let (component, amount) =
                amount(&reading.component, reading, absent_measure, tags, notes)?;
            components.push((component, amount));
        }
        return Ok((panel, None, components));
    }
    let Some(reading) = m.readings.first() else {
        return held("no-value", "the measurement has no value");
    };
    let any = measure::measures().iter().find(|row| row.name == m.measure);
    let (measure, amount) = amount(&m.measure, reading, any, tags, notes)?;
    Ok((measure, Some(amount), Vec::new()))
}

fn amount(
    name: &str,
    reading: &Reading,
    any: Option<&'static Measure>,
    tags: &mut Vec<(&'static str, &'static str)>,
    notes: &mut Vec<String>,
) -> Outcome<(&'static Measure, JudgedAmount)> {
    let (comparator, value) = match &reading.value {
        Amount::Number { comparator, value } => (*comparator, *value),
        Amount::Absent(reason) => {
            let Some(measure) = any else {
                return held("measure-unknown", "the measure is not in the table");
            };
            return Ok((
                measure,
                JudgedAmount {
                    amount: Amount::Absent(reason.clone()),
                    unit: "",
                },
            ));
        }
    };
    let Some(fitted) = measure::fit(name, value, &reading.unit) else {
        return held(
            "unit",
            "the unit is none the measure has, and no exact conversion leads to one",
        );
    };
    match fitted.measure.plausibility(fitted.value) {
        Plausibility::Usual => {}
        Plausibility::Unusual => {
            if !tags.contains(&UNUSUAL) {
                tags.push(UNUSUAL);
            }
        }
        Plausibility::Impossible => {
            return held(
                "implausible",
                "the value lies outside what the measure can be; a sentinel or a wrong unit",
            );
        }
    }
    if fitted.rounded {
        notes.push(format!("{name} was sent as {value} {}", reading.unit));
    }
    let amount = Amount::Number {
        comparator,
        value: fitted.value,
    };
    Ok((
        fitted.measure,
        JudgedAmount {
            amount,
            unit: fitted.measure.unit,
        },
    ))
}
