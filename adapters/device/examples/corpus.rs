//! Reads a folder of payloads in several orders and compares what would be stored.
//!
//! `STOKER_DEVICE_FOLDER=… cargo run -p device --example corpus`. Every device is taken to be one patient's. Each file goes
//! through the mapping that takes most of it; then everything is delivered once, twice, backwards, shuffled and in two
//! halves, to a store in memory that meets contents by the rules of the real one. By hand only: it reads what is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use device::association::{Association, DeviceRecord, Directory};
use device::ingest::{Dense, FUTURE_US_DEFAULT, Fate, Ingest, Payload, Prepared, Source};
use device::meeting::{Meeting, Reason, meet};
use device::observation::Observer;
use fhir_core::json::Value;

/// What would be stored, by id.
type Stored = BTreeMap<String, Value>;

fn main() {
    let Ok(folder) = std::env::var("STOKER_DEVICE_FOLDER") else {
        return eprintln!("set STOKER_DEVICE_FOLDER");
    };
    let Ok(library) = mappings::Library::embedded() else {
        return eprintln!("the mapping library does not load");
    };
    let (Some(observer), Ok(mappings)) = (
        Observer::new(&library, "corpus"),
        device::payload::embedded(),
    ) else {
        return eprintln!("a mapping does not load");
    };
    let sources: Vec<Ingest> = mappings
        .into_iter()
        .map(|mapping| {
            let source = Source {
                feed: mapping.id.clone(),
                device_system: "urn:example:devices".into(),
                zone: Some(chrono_tz_utc()),
                future_us_max: FUTURE_US_DEFAULT,
                dense: Dense::Resources,
            };
            Ingest::new(source, mapping, observer.clone())
        })
        .collect();
    let mut files = Vec::new();
    walk(Path::new(&folder), &mut files);
    files.sort();
    let mut deliveries = Vec::new();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for file in &files {
        let Ok(bytes) = std::fs::read(file) else {
            continue;
        };
        let best = sources
            .iter()
            .map(|source| (source, prepare(source, &bytes)))
            .max_by_key(|(_, prepared)| taken(prepared));
        let Some((source, prepared)) = best else {
            continue;
        };
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for result in &prepared.results {
            *counts.entry(result.fate.code()).or_default() += 1;
            *totals.entry(result.fate.code().to_owned()).or_default() += 1;
        }
        println!("{}\t{}\t{counts:?}", file.display(), source.mapping.id);
        deliveries.push(prepared);
    }
    println!("{} payloads: {totals:?}", deliveries.len());
    compare(&deliveries);
}

fn compare(deliveries: &[Prepared]) {
    let all: Vec<usize> = (0..deliveries.len()).collect();
    let once = deliver(deliveries, &all);
    let mut backwards = all.clone();
    backwards.reverse();
    let mut shuffled = all.clone();
    shuffled.sort_by_key(|n| (n * 7_919) % 1_009);
    let halves: Vec<usize> = all
        .iter()
        .filter(|n| *n % 2 == 1)
        .chain(all.iter().filter(|n| *n % 2 == 0))
        .copied()
        .collect();
    let twice: Vec<usize> = all.iter().chain(&all).copied().collect();
    for (name, order) in [
        ("twice", twice),
        ("backwards", backwards),
        ("shuffled", shuffled),
        ("two halves", halves),
    ] {
        let other = deliver(deliveries, &order);
        let differ = once
            .0
            .iter()
            .filter(|(id, value)| other.0.get(*id) != Some(value))
            .count();
        println!(
            "{name}: {} resources, {differ} differ from once, {} contradictions (once: {})",
            other.0.len(),
            other.1,
            once.1
        );
    }
}

/// The resources after delivery in this order, and how many measurements stood against a stored one.
fn deliver(deliveries: &[Prepared], order: &[usize]) -> (Stored, usize) {
    let (mut stored, mut contradictions) = (Stored::new(), 0);
    for prepared in order.iter().filter_map(|n| deliveries.get(*n)) {
        for produced in &prepared.intake.resources {
            let id = produced.identity.id.to_string();
            let meeting = stored
                .get(&id)
                .map(|old| meet(old, &produced.value, Reason::Received));
            match meeting {
                None | Some(Meeting::Newer) => {
                    stored.insert(id, produced.value.clone());
                }
                Some(Meeting::Contradiction) => contradictions += 1,
                Some(Meeting::Older | Meeting::Same) => {}
            }
        }
    }
    (stored, contradictions)
}

fn prepare(source: &Ingest, bytes: &[u8]) -> Prepared {
    let payload = Payload {
        raw: Bytes::copy_from_slice(bytes),
        sender: "corpus".into(),
        received_us: 4_000_000_000_000_000,
        device: None,
    };
    let reading = source.read(&payload);
    let mut directory = Directory::default();
    for device in reading.devices() {
        let period = Association {
            user: None,
            patient: "Patient/corpus".into(),
            zone: Some(chrono_tz_utc()),
            start_us: i64::MIN,
            end_us: None,
        };
        directory.insert(device, DeviceRecord::default(), vec![period]);
    }
    source.judge(reading, &payload, &directory)
}

/// How much of a payload a mapping takes: measurements first, then anything understood.
fn taken(prepared: &Prepared) -> (usize, usize) {
    let fates = || prepared.results.iter().map(|result| &result.fate);
    let stored = fates().filter(|fate| matches!(fate, Fate::Resource(_) | Fate::Repeated));
    let known = fates().filter(|fate| {
        !matches!(fate, Fate::Unmatched)
            && !matches!(fate, Fate::Quarantined { code, .. } if matches!(*code, "unreadable" | "faulty"))
    });
    (stored.count(), known.count())
}

fn chrono_tz_utc() -> device::time::Tz {
    device::time::Tz::UTC
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if !path.to_string_lossy().contains("expected") {
            files.push(path);
        }
    }
}
