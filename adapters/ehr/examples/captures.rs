//! What the rules make of captured answers: `cargo run -p ehr --example captures -- epic|oracle FOLDER`.
//!
//! Prints one line for each resource of the folder's JSON files: its tags, whether it is valid R4, whether every digit
//! is still there. Exits with a failure when one is not. Leaves out error answers, which hold no resource to keep.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ehr::clock::{Machine, Surroundings as _};
use ehr::memory::Memory;
use ehr::normalise::normalise;
use ehr::port::Port as _;
use ehr::tenant::Tenant;
use fhir_core::json::Value;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [vendor, folder] = words.as_slice() else {
        eprintln!("usage: captures epic|oracle FOLDER");
        return ExitCode::FAILURE;
    };
    match check(vendor, Path::new(folder)) {
        Ok((resources, 0)) => {
            println!("{resources} resources: all valid R4, all digits kept");
            ExitCode::SUCCESS
        }
        Ok((resources, wrong)) => {
            println!("{wrong} of {resources} resources are wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(vendor: &str, folder: &Path) -> Result<(usize, usize), String> {
    let toml = format!(
        "tenant = \"captures\"\nvendor = \"{vendor}\"\nfhir_base = \"https://ehr.example.org/r4\"\n\
         types = [\"Patient\", \"Observation\"]\nauth = {{ method = \"none\" }}\n"
    );
    let tenant = Tenant::parse(&toml).map_err(|e| e.to_string())?;
    let read = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = read.filter_map(|item| Some(item.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "json"));
    files.sort();
    let (mut resources, mut wrong) = (0, 0);
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(&file).map_err(|e| format!("{name}: {e}"))?;
        let Ok(value) = Value::parse(&bytes) else {
            println!("{name}: no JSON, left out");
            continue;
        };
        for raw in kept(&value) {
            resources += 1;
            let clean = normalise(raw, &tenant, Machine.now());
            let valid = Memory::default().accepts(&clean.resource);
            let (mut before, mut after) = (Vec::new(), Vec::new());
            numbers(raw, &mut before);
            numbers(&clean.resource, &mut after);
            let digits = if before == after {
                "digits kept"
            } else {
                "DIGITS DIFFER"
            };
            wrong += usize::from(valid.is_err() || before != after);
            let valid = valid.map_or_else(|why| format!("NOT VALID: {why}"), |()| "valid".into());
            let tags: Vec<&str> = clean.quirks.iter().copied().collect();
            println!("{name}: {valid}, {digits}, tags: {}", tags.join(" "));
        }
    }
    Ok((resources, wrong))
}

/// The Patients and Observations of an answer.
fn kept(value: &Value) -> Vec<&Value> {
    let kind = |value: &Value| {
        value
            .get("resourceType")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match kind(value).as_deref() {
        Some("Patient" | "Observation") => vec![value],
        Some("Bundle") => {
            let entries = value.get("entry").and_then(Value::as_array);
            let resources = entries.unwrap_or_default().iter();
            let resources = resources.filter_map(|entry| entry.get("resource"));
            resources
                .filter(|one| matches!(kind(one).as_deref(), Some("Patient" | "Observation")))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Every number as its digits, in an order that does not depend on the order of members.
fn numbers(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Number(number) => found.push(number.as_str().to_owned()),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        Value::Object(members) => members.iter().for_each(|(_, item)| numbers(item, found)),
        _ => {}
    }
    found.sort();
}
