//! Prints how many measurements a second one core reads, judges and turns into Observations or samples.

use std::time::Instant;

use bytes::Bytes;
use device::association::{Association, DeviceRecord, Directory};
use device::ingest::{Dense, FUTURE_US_DEFAULT, Ingest, Payload, Source};
use device::observation::Observer;

/// Measurements of one payload.
const COUNT: usize = 10_000;

fn main() {
    let Ok(library) = mappings::Library::embedded() else {
        return eprintln!("the mapping library does not load");
    };
    let Ok(payloads) = device::payload::embedded() else {
        return eprintln!("the payload mappings do not load");
    };
    let (Some(observer), Some(mapping)) = (
        Observer::new(&library, "rate"),
        payloads.into_iter().find(|m| m.id == "generic-json"),
    ) else {
        return eprintln!("a mapping is missing");
    };
    let source = Source {
        feed: "rate".into(),
        device_system: "urn:example:devices".into(),
        zone: None,
        future_us_max: FUTURE_US_DEFAULT,
        dense: Dense::Resources,
    };
    let mut directory = Directory::default();
    let period = Association {
        user: None,
        patient: "Patient/a".into(),
        zone: None,
        start_us: 0,
        end_us: None,
    };
    directory.insert("d1", DeviceRecord::default(), vec![period]);
    let rows: Vec<String> = (0..COUNT)
        .map(|n| {
            format!(
                r#"{{"deviceId":"d1","t":"2026-03-01T09:00:00.{n:06}Z","hr":{}.5}}"#,
                60 + n % 40
            )
        })
        .collect();
    let raw = Bytes::from(rows.join("\n"));
    let payload = Payload {
        raw,
        sender: "rate".into(),
        received_us: 1_772_438_400_000_000,
        device: None,
    };
    for dense in [Dense::Resources, Dense::Samples] {
        let source = Source {
            dense,
            ..source.clone()
        };
        let ingest = Ingest::new(source, mapping.clone(), observer.clone());
        let start = Instant::now();
        let prepared = ingest.prepare(&payload, &directory);
        let elapsed_us = start.elapsed().as_micros().max(1);
        let made = prepared.intake.resources.len()
            + prepared
                .series
                .iter()
                .map(|s| s.samples.len())
                .sum::<usize>();
        println!(
            "{dense:?}: {made} in {elapsed_us} us, {} a second",
            COUNT as u128 * 1_000_000 / elapsed_us
        );
    }
}
