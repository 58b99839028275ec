//! Payloads through the whole pipeline: ids, repeats, patients, times and quarantine.

use std::sync::OnceLock;

use bytes::Bytes;
use fhir_core::json::Value;
use mappings::Library;

use super::*;
use crate::association::{Association, DeviceRecord};
use crate::clock::{ClockModel, Pair};
use crate::payload;

/// 2026-03-02T08:00:00Z.
const RECEIVED: i64 = 1_772_438_400_000_000;
const DAY: i64 = 86_400_000_000;

fn ingest(name: &str) -> Ingest {
    static OBSERVER: OnceLock<Observer> = OnceLock::new();
    let observer = OBSERVER.get_or_init(|| {
        let library = Library::embedded().expect("library");
        Observer::new(&library, "test").expect("mapping")
    });
    let mapping = payload::embedded()
        .expect("mappings")
        .into_iter()
        .find(|m| m.id == name)
        .expect("mapping");
    let source = Source {
        feed: "wards".into(),
        device_system: "urn:example:devices".into(),
        zone: None,
        future_us_max: FUTURE_US_DEFAULT,
        dense: Dense::Resources,
    };
    Ingest::new(source, mapping, observer.clone())
}

fn period(patient: &str, start_us: i64, end_us: Option<i64>) -> Association {
    Association {
        user: None,
        patient: patient.into(),
        zone: Some(chrono_tz::Europe::Berlin),
        start_us,
        end_us,
    }
}

/// `d1` changed hands at midnight of 2026-03-02 UTC.
fn directory() -> Directory {
    let midnight = 1_772_409_600_000_000;
    let mut directory = Directory::default();
    let record = DeviceRecord {
        zone: Some(chrono_tz::Europe::Berlin),
        ..DeviceRecord::default()
    };
    let periods = vec![
        period("Patient/a", 0, Some(midnight)),
        period("Patient/b", midnight, None),
    ];
    directory.insert("d1", record.clone(), periods);
    for device in [
        "withings",
        "fitbit",
        "healthkit",
        "d\",\"status\":\"entered-in-error",
    ] {
        directory.insert(device, record.clone(), vec![period("Patient/a", 0, None)]);
    }
    directory
}

fn prepare(mapping: &str, text: &str) -> Prepared {
    let payload = Payload {
        raw: Bytes::copy_from_slice(text.as_bytes()),
        sender: "gw".into(),
        received_us: RECEIVED,
        device: None,
    };
    ingest(mapping).prepare(&payload, &directory())
}

fn fates(prepared: &Prepared) -> Vec<String> {
    let show = |fate: &Fate| match fate {
        Fate::Resource(_) => "resource".to_owned(),
        Fate::Quarantined { code, .. } => (*code).to_owned(),
        Fate::Sample(_) => "sample".to_owned(),
        Fate::Deleted(record) => format!("deleted {record}"),
        other => format!("{other:?}").to_lowercase(),
    };
    prepared.results.iter().map(|r| show(&r.fate)).collect()
}

fn member(prepared: &Prepared, index: usize, pointer: &str) -> String {
    let value = &prepared.intake.resources[index].value;
    let found = pointer
        .split('.')
        .try_fold(value, |v, name| match name.parse::<usize>() {
            Ok(n) => v.as_array().and_then(|a| a.get(n)),
            Err(_) => v.get(name),
        });
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(other) => String::from_utf8(other.to_bytes()).expect("text"),
        None => "-".into(),
    }
}

/// Verifies: SRS-001, RC-001
#[test]
fn a_measurement_becomes_a_conformant_observation() {
    let got = prepare(
        "generic-json",
        r#"{"deviceId":"d1","t":"2026-03-01T10:00:00+01:00","temp":37.00,"hr":61}"#,
    );
    assert_eq!(fates(&got), ["resource", "resource"]);
    for (pointer, expected) in [
        ("valueQuantity.value", "37.00"),
        ("valueQuantity.code", "Cel"),
        ("effectiveDateTime", "2026-03-01T10:00:00+01:00"),
        ("subject.reference", "Patient/a"),
        ("category.0.coding.0.code", "vital-signs"),
        (
            "meta.profile.0",
            "http://hl7.org/fhir/StructureDefinition/bodytemp",
        ),
        ("code.coding.0.code", "8310-5"),
        ("device.identifier.value", "d1"),
    ] {
        assert_eq!(member(&got, 1, pointer), expected, "{pointer}");
    }
}

/// Verifies: SRS-003, RC-007
#[test]
fn redelivery_order_and_offset_change_nothing() {
    let one = r#"{"deviceId":"d1","t":"2026-03-01T10:00:00+01:00","hr":61}"#;
    let same = r#"{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":61}"#;
    let other = r#"{"deviceId":"d1","t":"2026-03-01T09:00:05Z","hr":62}"#;
    let got = prepare("generic-json", &format!("[{one},{same},{one},{other}]"));
    assert_eq!(
        fates(&got),
        ["resource", "repeated", "repeated", "resource"]
    );
    let ids = |p: &Prepared| {
        let mut ids: Vec<_> = p
            .intake
            .resources
            .iter()
            .map(|r| r.identity.id.clone())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(
        ids(&got),
        ids(&prepare("generic-json", &format!("[{other},{same}]")))
    );
    let differs = prepare(
        "generic-json",
        &format!("[{one},{}]", one.replace("61", "99")),
    );
    assert_eq!(fates(&differs), ["contradiction", "contradiction"]);
    assert_eq!(member(&differs, 0, "meta.tag.0.code"), "contradiction");
}

/// Verifies: SRS-003, RC-007
#[test]
fn the_greater_revision_wins_whichever_comes_last() {
    let group = |revision: u32, kg: u32| {
        format!(
            r#"{{"grpid":1,"date":1772355600,"modified":{revision},"category":1,"measures":[{{"type":1,"unit":-3,"value":{kg}}}]}}"#
        )
    };
    for (first, second, fates_expected) in [
        (
            group(10, 81_000),
            group(9, 70_000),
            ["resource", "repeated"],
        ),
        (
            group(9, 70_000),
            group(10, 81_000),
            ["repeated", "resource"],
        ),
    ] {
        let got = prepare(
            "withings",
            &format!(r#"{{"body":{{"measuregrps":[{first},{second}]}}}}"#),
        );
        assert_eq!(fates(&got), fates_expected);
        assert_eq!(member(&got, 0, "valueQuantity.value"), "81.000");
        assert_eq!(member(&got, 0, "meta.extension.0.valueString"), "10");
    }
}

/// Verifies: SRS-017, RC-002
#[test]
fn the_patient_is_whose_the_device_was_then() {
    let got = prepare(
        "generic-json",
        r#"[{"deviceId":"d1","t":"2026-03-01T23:59:00Z","hr":60},{"deviceId":"d1","t":"2026-03-02T00:00:00Z","hr":60},{"deviceId":"dx","t":"2026-03-01T09:00:00Z","hr":60},{"t":"2026-03-01T09:00:00Z","hr":60}]"#,
    );
    assert_eq!(
        fates(&got),
        ["resource", "resource", "no-patient", "no-device"]
    );
    assert_eq!(member(&got, 0, "subject.reference"), "Patient/a");
    assert_eq!(member(&got, 1, "subject.reference"), "Patient/b");
}

/// Verifies: SRS-018, RC-004
#[test]
fn times_without_offset_follow_the_policy() {
    let got = prepare(
        "generic-json",
        r#"[{"deviceId":"d1","local":"2026-03-01T09:00:00","spo2":97},{"deviceId":"d1","t":"2029-03-18T11:01:00Z","hr":66},{"deviceId":"d1","t":"yesterday","hr":66}]"#,
    );
    assert_eq!(fates(&got), ["resource", "future", "faulty"]);
    assert_eq!(
        member(&got, 0, "effectiveDateTime"),
        "2026-03-01T09:00:00+01:00"
    );
    // No offset and a policy that gives none.
    let mut strict = ingest("generic-json");
    strict.mapping.zone = payload::ZonePolicy::Reject;
    let raw = Bytes::from_static(br#"{"deviceId":"d1","t":"2026-03-01T09:00:00","hr":60}"#);
    let got = strict.prepare(
        &Payload {
            raw,
            sender: "gw".into(),
            received_us: RECEIVED,
            device: None,
        },
        &directory(),
    );
    assert_eq!(fates(&got), ["no-zone"]);
    // An offset the sender wrote is kept, also Z; a count since 1970 is shown as the payload's zone shows it.
    let got = prepare(
        "generic-json",
        r#"{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":60}"#,
    );
    assert_eq!(
        member(&got, 0, "effectiveDateTime"),
        "2026-03-01T09:00:00+00:00"
    );
    let group =
        r#"{"grpid":1,"date":1772355600,"category":1,"measures":[{"type":1,"unit":0,"value":81}]}"#;
    let got = prepare(
        "withings",
        &format!(r#"{{"body":{{"timezone":"Asia/Kolkata","measuregrps":[{group}]}}}}"#),
    );
    assert_eq!(
        member(&got, 0, "effectiveDateTime"),
        "2026-03-01T14:30:00+05:30"
    );
    // The patient's day and zone.
    let got = prepare(
        "fitbit",
        r#"{"activities-steps":[{"dateTime":"2026-02-28","value":"4200"}]}"#,
    );
    assert_eq!(
        member(&got, 0, "effectivePeriod.start"),
        "2026-02-28T00:00:00+01:00"
    );
    assert_eq!(
        member(&got, 0, "effectivePeriod.end"),
        "2026-03-01T00:00:00+01:00"
    );
    assert_eq!(member(&got, 0, "valueQuantity.code"), "{steps}");
}

/// Verifies: SRS-018, RC-004
#[test]
fn a_known_clock_error_is_taken_off() {
    let mut directory = directory();
    let clock = ClockModel::new(vec![Pair {
        device_us: RECEIVED + 3 * DAY,
        gateway_us: RECEIVED,
    }]);
    let record = DeviceRecord {
        clock,
        ..DeviceRecord::default()
    };
    directory.insert("d1", record, vec![period("Patient/a", 0, None)]);
    let raw = Bytes::from_static(br#"{"deviceId":"d1","t":"2026-03-04T09:00:00Z","hr":60}"#);
    let got = ingest("generic-json").prepare(
        &Payload {
            raw,
            sender: "gw".into(),
            received_us: RECEIVED,
            device: None,
        },
        &directory,
    );
    assert_eq!(
        member(&got, 0, "effectiveDateTime"),
        "2026-03-01T09:00:00+00:00"
    );
    assert_eq!(member(&got, 0, "meta.tag.0.code"), "clock-corrected");
}

/// Verifies: SRS-028, RC-013
#[test]
fn implausible_values_wait_and_unusual_ones_are_marked() {
    let got = prepare(
        "generic-json",
        r#"[{"deviceId":"d1","t":"2026-03-01T09:00:00Z","weight_kg":0},{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":240},{"deviceId":"d1","t":"2026-03-01T09:00:00Z","spo2":8388607}]"#,
    );
    assert_eq!(fates(&got), ["implausible", "resource", "implausible"]);
    assert_eq!(member(&got, 0, "meta.tag.0.code"), "unusual-value");
    assert_eq!(got.intake.issues.len(), 2);
    assert!(!got.intake.issues.iter().any(|i| i.text.contains("8388607")));
}

/// Verifies: SRS-014, SRS-015, RC-012
#[test]
fn poison_is_kept_whole_and_blocks_nothing() {
    let got = prepare("generic-json", r#"{"deviceId":"d1","#);
    assert!(
        matches!(&got.intake.disposition, Disposition::Refuse { reason, .. } if reason.text.contains("generic-json 1.0.0"))
    );
    assert_eq!(got.intake.raw.as_ref(), br#"{"deviceId":"d1","#);
    let got = prepare(
        "generic-json",
        "{\"deviceId\":\"d1\",\"t\":\"2026-03-01T09:00:00Z\",\"hr\":60}\n{\"deviceId\":\n",
    );
    assert_eq!(fates(&got), ["resource", "unreadable"]);
    assert_eq!(got.intake.disposition, Disposition::Process);
    let got = prepare(
        "generic-json",
        r#"{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hrv":5}"#,
    );
    assert_eq!(fates(&got), ["unmatched"]);
    let got = prepare("healthkit", r#"{"deletedId":"r1"}"#);
    assert_eq!(fates(&got), ["deleted r1"]);
}

/// Verifies: SRS-003, RC-007
#[test]
fn a_redelivery_is_a_repeat_only_while_it_gives_the_same() {
    let text = r#"{"deviceId":"dx","t":"2026-03-01T09:00:00Z","hr":60}"#;
    let raw = Bytes::copy_from_slice(text.as_bytes());
    let payload = Payload {
        raw,
        sender: "gw".into(),
        received_us: RECEIVED,
        device: None,
    };
    let mut directory = directory();
    let ingest = ingest("generic-json");
    let unknown = ingest.prepare(&payload, &directory).intake.dedupe;
    assert_eq!(ingest.prepare(&payload, &directory).intake.dedupe, unknown);
    directory.insert(
        "dx",
        DeviceRecord::default(),
        vec![period("Patient/a", 0, None)],
    );
    let registered = ingest.prepare(&payload, &directory).intake.dedupe;
    directory.insert(
        "dx",
        DeviceRecord::default(),
        vec![period("Patient/b", 0, None)],
    );
    let mended = ingest.prepare(&payload, &directory).intake.dedupe;
    assert!(unknown != registered && registered != mended && unknown != mended);
}

/// Steps are of a time, never of an instant.
#[test]
fn what_is_counted_needs_an_end() {
    let got = prepare(
        "generic-json",
        r#"[{"deviceId":"d1","t":"2026-03-01T09:00:00Z","steps":7},{"deviceId":"d1","start":"2026-03-01T09:00:00Z","end":"2026-03-01T10:00:00Z","steps":800}]"#,
    );
    assert_eq!(fates(&got), ["no-period", "resource"]);
    assert_eq!(
        member(&got, 0, "effectivePeriod.end"),
        "2026-03-01T10:00:00+00:00"
    );
}

/// A quote in a text adds no members.
#[test]
fn texts_stay_texts() {
    let got = prepare(
        "generic-json",
        r#"{"deviceId":"d\",\"status\":\"entered-in-error","samples":[{"t":"2026-03-01T09:00:00Z","hr":60}]}"#,
    );
    assert_eq!(fates(&got), ["resource"]);
    assert_eq!(member(&got, 0, "status"), "final");
    assert_eq!(
        member(&got, 0, "device.identifier.value"),
        "d\",\"status\":\"entered-in-error"
    );
}

#[test]
fn dense_measures_become_samples_when_asked() {
    let mut dense = ingest("generic-json");
    dense.source.dense = Dense::Samples;
    let raw = Bytes::from_static(br#"[{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":60.0,"temp":37.0},{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":60}]"#);
    let payload = Payload {
        raw,
        sender: "gw".into(),
        received_us: RECEIVED,
        device: None,
    };
    let got = dense.prepare(&payload, &directory());
    assert_eq!(fates(&got), ["sample", "resource", "repeated"]);
    let series = &got.series[0];
    let sample = series.samples[0];
    assert_eq!(
        (series.samples.len(), sample.value.text().as_str()),
        (1, "60.0")
    );
    // Kept narrow or not, a measurement has the same id.
    let narrow = fhir_core::sample::id_text(&series.channel, sample.at_us);
    assert_eq!(got.results[0].fate, Fate::Sample(narrow.clone()));
    dense.source.dense = Dense::Resources;
    let wide = dense.prepare(&payload, &directory());
    assert_eq!(wide.results[0].fate, Fate::Resource(narrow));
}

/// Verifies: SRS-222, RC-222
#[test]
fn a_bound_token_speaks_for_its_device_only() {
    let text = r#"[{"deviceId":"d1","t":"2026-03-01T09:00:00Z","hr":60},{"t":"2026-03-01T09:00:01Z","hr":61},{"deviceId":"withings","t":"2026-03-01T09:00:02Z","hr":62}]"#;
    let payload = Payload {
        raw: Bytes::from_static(text.as_bytes()),
        sender: "token".into(),
        received_us: RECEIVED,
        device: Some("d1".into()),
    };
    let got = ingest("generic-json").prepare(&payload, &directory());
    assert_eq!(fates(&got), ["resource", "resource", "not-your-device"]);
}
