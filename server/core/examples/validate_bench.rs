//! Checks resources from standard input, one a line or a single Bundle, counts what is refused, and times the check.
//!
//! `zcat resources.ndjson.gz | cargo run --release -p fhir-core --example validate_bench`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read;
use std::time::Instant;

use conformance::Definitions;
use fhir_core::body::resource_type_name;
use fhir_core::bundle::{BUNDLE_ENTRIES_MAX, PlanContext, plan};
use fhir_core::ids::ResourceId;
use fhir_core::json::Document;
use fhir_core::validate::structure;

/// Rounds over the whole input when timing.
const ROUNDS: u32 = 20;

fn main() {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        eprintln!("cannot read standard input: {error}");
        return;
    }
    let documents: Vec<Document> = match Document::parse(text.as_bytes()) {
        Ok(document) => vec![document],
        Err(_) => text
            .lines()
            .filter_map(|line| Document::parse(line.as_bytes()).ok())
            .collect(),
    };
    let mut by_path: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut refused = 0;
    for document in &documents {
        let Some(name) = resource_type_name(document.root()) else {
            continue;
        };
        let Some(resource_type) = Definitions::r4().resource_type(&name) else {
            continue;
        };
        let issues = structure::check(resource_type, document.root());
        refused += usize::from(!issues.is_empty());
        for issue in issues {
            let place = issue.expression.unwrap_or_default();
            let place: String = place.chars().filter(|c| !c.is_ascii_digit()).collect();
            let id = document
                .root()
                .get("id")
                .and_then(|id| id.as_str())
                .unwrap_or_default()
                .into_owned();
            by_path
                .entry(format!("{place}: {}", issue.diagnostics))
                .or_insert((0, id))
                .0 += 1;
        }
    }
    println!("{} documents, {refused} refused", documents.len());
    for (what, (count, id)) in by_path.iter().take(100) {
        println!("{count:6} {what} [{id}]");
    }
    documents.iter().for_each(try_plan);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        for document in &documents {
            let name = resource_type_name(document.root()).unwrap_or_default();
            if let Some(resource_type) = Definitions::r4().resource_type(&name) {
                black_box(structure::check(resource_type, document.root()));
            }
        }
    }
    let nanos = started.elapsed().as_nanos() / u128::from(ROUNDS);
    println!(
        "{} ns a document, {} ns a kB",
        nanos / documents.len().max(1) as u128,
        nanos * 1000 / text.len().max(1) as u128
    );
}

/// Plans a transaction, rewrites every entry and checks what comes out.
fn try_plan(document: &Document) {
    let context = PlanContext {
        base_urls: &[],
        entries_max: BUNDLE_ENTRIES_MAX,
    };
    let mut count = 0;
    let mut ids = || {
        count += 1;
        ResourceId::parse(&format!("new-{count}"))
            .unwrap_or_else(|| unreachable!("letters and digits are an id"))
    };
    let started = Instant::now();
    let planned = match plan(document.root(), &context, &mut ids) {
        Ok(planned) => planned,
        Err(problem) => return println!("no plan: {problem}"),
    };
    let contents: Vec<Vec<u8>> = (0..planned.entries.len())
        .filter_map(|index| planned.content(index))
        .collect();
    let micros = started.elapsed().as_micros();
    let left = contents
        .iter()
        .filter(|content| String::from_utf8_lossy(content).contains("\"urn:uuid:"))
        .count();
    let conditional = planned
        .conditional_references()
        .map_or(0, |references| references.len());
    println!(
        "planned {} entries in {micros} us, {left} with urns left, {conditional} conditional references",
        contents.len()
    );
}
