//! What the rules make of captured answers: `cargo run -p ehr --example captures -- epic|oracle FOLDER [OUT]`.
//!
//! Prints one line for each resource of the folder's JSON files: its tags, whether it is valid R4, whether every digit
//! is still there. A number inside an extension that the source derived from the value beside it is dropped with the
//! extension; those are counted apart. With OUT, the clean copies are written there. Error answers hold no resource to
//! keep; what they call for is printed. Exits with a failure when a resource is not valid or a digit is missing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ehr::clock::{Machine, Surroundings as _};
use ehr::memory::Memory;
use ehr::normalise::normalise;
use ehr::normalise::rules::Rules;
use ehr::outcome::notices;
use ehr::port::Port as _;
use ehr::tenant::Tenant;
use fhir_core::json::{Document, Value, ValueRef};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (vendor, folder, out) = match words.as_slice() {
        [vendor, folder] => (vendor, folder, None),
        [vendor, folder, out] => (vendor, folder, Some(Path::new(out))),
        _ => {
            eprintln!("usage: captures epic|oracle FOLDER [OUT]");
            return ExitCode::FAILURE;
        }
    };
    match check(vendor, Path::new(folder), out) {
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

fn check(vendor: &str, folder: &Path, out: Option<&Path>) -> Result<(usize, usize), String> {
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
        for notice in outcomes(&value, &tenant) {
            println!("{name}: {notice}");
        }
        for (at, raw) in kept(&value).into_iter().enumerate() {
            resources += 1;
            let clean = normalise(raw, &tenant, Machine.now());
            let valid = Memory::default().accepts(&clean.resource);
            let (mut before, mut after) = (Vec::new(), Vec::new());
            let mut derived = 0;
            numbers(raw, &tenant.rules, &mut derived, &mut before);
            numbers(&clean.resource, &tenant.rules, &mut 0, &mut after);
            let digits = match (before == after, derived) {
                (true, 0) => "digits kept".to_owned(),
                (true, _) => format!("digits kept, {derived} derived ones left out"),
                (false, _) => "DIGITS DIFFER".to_owned(),
            };
            wrong += usize::from(valid.is_err() || before != after);
            if let Some(out) = out {
                let path = out.join(format!("{name}.{at}.json"));
                let kept = std::fs::write(&path, clean.resource.to_bytes());
                kept.map_err(|e| format!("{}: {e}", path.display()))?;
            }
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
        // What was posted beside what came back.
        None => {
            let members = value.as_object().into_iter().flat_map(|all| all.iter());
            let inside = members.map(|(_, member)| member);
            let with_id = inside.filter(|member| member.get("id").is_some());
            with_id
                .filter(|one| matches!(kind(one).as_deref(), Some("Patient" | "Observation")))
                .collect()
        }
        Some(_) => Vec::new(),
    }
}

/// What an error answer, or the outcomes beside matches, call for.
fn outcomes(value: &Value, tenant: &Tenant) -> Vec<String> {
    let Ok(document) = Document::parse(&value.to_bytes()) else {
        return Vec::new();
    };
    let root = document.root();
    let is_outcome = |one: &ValueRef<'_>| {
        let kind = one.get("resourceType").and_then(|kind| kind.as_str());
        kind.is_some_and(|kind| kind == "OperationOutcome")
    };
    // Captures hold an error's body beside its status.
    let places = ["body", "body_json", "response"].iter();
    let bodies = places.filter_map(|name| root.get(name));
    let entries = root.get("entry").into_iter().flat_map(ValueRef::items);
    let resources = entries.filter_map(|entry| entry.get("resource"));
    let all = std::iter::once(root).chain(bodies).chain(resources);
    all.filter(is_outcome)
        .flat_map(|one| notices(one, &tenant.profile))
        .map(|notice| {
            format!(
                "issue {}: {:?} {}",
                notice.code, notice.reaction, notice.about
            )
        })
        .collect()
}

/// Every number as its digits, in an order that does not depend on the order of members; `derived` counts those that a
/// source made from the value beside them, which are not expected in the copy.
fn numbers(value: &Value, rules: &Rules, derived: &mut usize, found: &mut Vec<String>) {
    match value {
        Value::Number(number) => found.push(number.as_str().to_owned()),
        Value::Array(items) => items
            .iter()
            .for_each(|item| numbers(item, rules, derived, found)),
        Value::Object(members) => {
            let url = value.get("url").and_then(Value::as_str);
            if url.is_some_and(|url| rules.derived_extensions.contains(url)) {
                let mut inside = Vec::new();
                members
                    .iter()
                    .for_each(|(_, item)| numbers(item, rules, &mut 0, &mut inside));
                *derived += inside.len();
                return;
            }
            members
                .iter()
                .for_each(|(_, item)| numbers(item, rules, derived, found));
        }
        _ => {}
    }
    found.sort();
}
