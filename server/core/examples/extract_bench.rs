//! Measures parsing and index extraction side by side, in microseconds per resource.
//!
//! `cargo run --release -p fhir-core --example extract_bench [-- directory]` uses synthetic Observations of its own,
//! and every resource of the directory's `*.json` files (resources or Bundles) and `*.ndjson` files.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Definitions, ResourceTypeId};
use fhir_core::index::{Context, Extractor};
use fhir_core::json::{Document, ValueRef};

/// Rounds over the data; the best counts, since everything else is other load on the machine.
const ROUNDS: usize = 7;

type Sample = (ResourceTypeId, Vec<u8>);

fn main() {
    let synthetic: Vec<Sample> = (0..3_000)
        .map(|i| observation(i).into_bytes())
        .map(|text| {
            (
                Definitions::r4()
                    .resource_type("Observation")
                    .expect("a type"),
                text,
            )
        })
        .collect();
    report("synthetic Observation", &synthetic);
    if let Some(directory) = std::env::args().nth(1) {
        let samples = read(Path::new(&directory));
        report(&directory, &samples);
        let mut by_type: BTreeMap<ResourceTypeId, Vec<Sample>> = BTreeMap::new();
        for (resource_type, text) in samples {
            by_type
                .entry(resource_type)
                .or_default()
                .push((resource_type, text));
        }
        let mut by_type: Vec<_> = by_type.into_iter().collect();
        by_type.sort_by_key(|(_, samples)| std::cmp::Reverse(samples.len()));
        for (resource_type, samples) in by_type.iter().take(12) {
            report(resource_type.name(), samples);
        }
    }
}

fn report(name: &str, samples: &[Sample]) {
    let context = Context {
        base_urls: &["https://here.example/fhir"],
        ..Context::default()
    };
    let extractor = Extractor::r4();
    let (mut parse, mut extract) = (Duration::MAX, Duration::MAX);
    let (mut bytes, mut entries) = (0, 0);
    for _ in 0..ROUNDS {
        (bytes, entries) = (0, 0);
        let start = Instant::now();
        let documents: Vec<Document> = samples
            .iter()
            .filter_map(|(_, text)| Document::parse(text).ok())
            .collect();
        parse = parse.min(start.elapsed());
        let start = Instant::now();
        for ((resource_type, text), document) in samples.iter().zip(&documents) {
            bytes += text.len();
            entries +=
                black_box(extractor.extract(*resource_type, document.root(), &context)).len();
        }
        extract = extract.min(start.elapsed());
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / samples.len().max(1) as f64;
    println!(
        "{name}: {} resources of {} bytes: parse {:.2} µs, extract {:.2} µs, {:.1} entries",
        samples.len(),
        bytes / samples.len().max(1),
        each(parse),
        each(extract),
        entries as f64 / samples.len().max(1) as f64,
    );
}

fn read(directory: &Path) -> Vec<Sample> {
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path()) else {
            continue;
        };
        let is_lines = entry.path().extension().is_some_and(|e| e == "ndjson");
        let documents: Vec<&str> = if is_lines {
            text.lines().collect()
        } else {
            vec![&text]
        };
        for document in documents
            .iter()
            .filter_map(|text| Document::parse(text.as_bytes()).ok())
        {
            collect(document.root(), &mut samples);
        }
    }
    samples
}

fn collect(resource: ValueRef<'_>, samples: &mut Vec<Sample>) {
    let entries = resource.get("entry").into_iter().flat_map(ValueRef::each);
    entries
        .filter_map(|e| e.get("resource"))
        .for_each(|r| collect(r, samples));
    let name = resource
        .get("resourceType")
        .and_then(ValueRef::as_str)
        .unwrap_or_default();
    if let Some(resource_type) = Definitions::r4()
        .resource_type(&name)
        .filter(|_| name != "Bundle")
    {
        let mut text = Vec::new();
        resource.write_compact(&mut text);
        samples.push((resource_type, text));
    }
}

/// Half laboratory values, a third vital signs, the rest blood pressures with components.
fn observation(i: usize) -> String {
    let id = format!("{i:08x}-0000-4000-8000-00000000cafe");
    let coding = |system: &str, code: &str, display: &str| {
        format!(
            r#"{{"coding":[{{"system":"{system}","code":"{code}","display":"{display}"}}],"text":"{display}"}}"#
        )
    };
    let category = |code| {
        coding(
            "http://terminology.hl7.org/CodeSystem/observation-category",
            code,
            code,
        )
    };
    let quantity = |value: &str, unit: &str| {
        format!(
            r#"{{"value":{value},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}"#
        )
    };
    let head = format!(
        r#"{{"resourceType":"Observation","id":"{id}","meta":{{"profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"],"tag":[{{"system":"urn:example:feed","code":"ward"}}]}},"identifier":[{{"system":"urn:example:filler","value":"F-{i}"}}],"status":"final","subject":{{"reference":"Patient/p{}"}},"encounter":{{"reference":"Encounter/e{i}"}},"effectiveDateTime":"2026-03-{:02}T10:15:30+01:00","issued":"2026-03-28T10:20:30.123Z","performer":[{{"reference":"Practitioner/d{}"}}]"#,
        i % 100,
        i % 28 + 1,
        i % 40
    );
    let loinc = "http://loinc.org";
    match i % 6 {
        0..3 => format!(
            r#"{head},"basedOn":[{{"reference":"ServiceRequest/s{i}"}}],"category":[{}],"code":{},"valueQuantity":{},"interpretation":[{}],"specimen":{{"reference":"Specimen/x{i}"}},"referenceRange":[{{"low":{},"high":{}}}]}}"#,
            category("laboratory"),
            coding(
                loinc,
                "2160-0",
                "Creatinine [Mass/volume] in Serum or Plasma"
            ),
            quantity("1.20", "mg/dL"),
            coding(
                "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                "N",
                "Normal"
            ),
            quantity("0.7", "mg/dL"),
            quantity("1.3", "mg/dL"),
        ),
        3 | 4 => format!(
            r#"{head},"category":[{}],"code":{},"valueQuantity":{},"device":{{"reference":"Device/m{}"}}}}"#,
            category("vital-signs"),
            coding(loinc, "8867-4", "Heart rate"),
            quantity("72", "/min"),
            i % 9,
        ),
        _ => format!(
            r#"{head},"category":[{}],"code":{},"component":[{{"code":{},"valueQuantity":{}}},{{"code":{},"valueQuantity":{}}}]}}"#,
            category("vital-signs"),
            coding(loinc, "85354-9", "Blood pressure panel"),
            coding(loinc, "8480-6", "Systolic blood pressure"),
            quantity("120", "mm[Hg]"),
            coding(loinc, "8462-4", "Diastolic blood pressure"),
            quantity("80", "mm[Hg]"),
        ),
    }
}
