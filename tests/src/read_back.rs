//! Sends transaction Bundles to a server, reads every resource back, and compares it with what went in.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#transaction>. Equal means: the same members with the same values in arrays of the
//! same order, numbers by their digits. Only `id`, `meta.versionId` and `meta.lastUpdated` are the server's, and references
//! to entries of the Bundle become the ids given (conditional references: any id of that type).

use std::collections::{BTreeMap, HashMap};
use std::io;

use fhir_core::json::Value;

use crate::http_client::Client;

/// Differences described at most; the rest is counted.
const DIFFERENCES_SHOWN: usize = 20;

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Report {
    /// Resources read back and equal, by type.
    pub equal: BTreeMap<String, u64>,
    /// How many differ.
    pub different: u64,
    /// Places of the first differences; never values.
    pub differences: Vec<String>,
}

impl Report {
    /// How many resources came back equal.
    pub fn equal_in_all(&self) -> u64 {
        self.equal.values().sum()
    }

    fn different(&mut self, text: String) {
        self.different += 1;
        if self.differences.len() < DIFFERENCES_SHOWN {
            self.differences.push(text);
        }
    }
}

/// Posts one transaction Bundle and compares each resource of it.
///
/// # Errors
/// When the connection breaks, the Bundle is no JSON, or the server refuses it.
pub fn check(
    client: &mut Client,
    name: &str,
    bundle: &[u8],
    report: &mut Report,
) -> io::Result<()> {
    let sent = Value::parse(bundle).map_err(io::Error::other)?;
    let response = client.post("/fhir", bundle)?;
    if response.status != 200 {
        let text = response.text();
        return Err(io::Error::other(format!(
            "{name}: {} {}",
            response.status,
            text.get(..500).unwrap_or(&text)
        )));
    }
    let answer = Value::parse(&response.body).map_err(io::Error::other)?;
    let (entries, answers) = (entries(&sent), entries(&answer));
    if entries.len() != answers.len() {
        return Err(io::Error::other(format!(
            "{name}: {} entries, {} answers",
            entries.len(),
            answers.len()
        )));
    }
    let places: Vec<Option<String>> = answers.iter().map(location).collect();
    let mut given = HashMap::new();
    for (entry, place) in entries.iter().zip(&places) {
        if let (Some(url), Some(place)) = (entry.get("fullUrl").and_then(Value::as_str), place) {
            given.insert(url.to_owned(), place.clone());
        }
    }
    for (number, (entry, place)) in entries.iter().zip(&places).enumerate() {
        let at = format!("{name} entry[{number}]");
        let (Some(resource), Some(place)) = (entry.get("resource"), place) else {
            report.different(format!("{at}: no resource or no location"));
            continue;
        };
        let stored = client.get(&format!("/fhir/{place}"))?;
        let stored = Value::parse(&stored.body).map_err(io::Error::other)?;
        match difference(&comparable(resource), &comparable(&stored), &given, place) {
            Some(path) => report.different(format!("{at}: {path}")),
            None => {
                let kind = place.split('/').next().unwrap_or_default();
                *report.equal.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(())
}

fn entries(bundle: &Value) -> &[Value] {
    bundle
        .get("entry")
        .and_then(Value::as_array)
        .unwrap_or_default()
}

/// `Type/id` of `response.location`, which may be absolute and end in the version.
fn location(entry: &Value) -> Option<String> {
    let url = entry.get("response")?.get("location")?.as_str()?;
    let current = url.split("/_history/").next()?;
    let mut parts = current.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    Some(format!("{kind}/{id}"))
}

/// The resource without what is the server's.
fn comparable(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(members) = resource.as_object_mut() {
        members.remove("id");
        if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
            if meta.is_empty() {
                members.remove("meta");
            }
        }
    }
    resource
}

/// The first place where two values differ, with the kind of the difference.
fn difference(
    sent: &Value,
    stored: &Value,
    given: &HashMap<String, String>,
    path: &str,
) -> Option<String> {
    match (sent, stored) {
        (Value::Object(a), Value::Object(b)) => {
            let absent = a.iter().find(|(name, _)| b.get(name).is_none());
            let added = b.iter().find(|(name, _)| a.get(name).is_none());
            if let Some((name, _)) = absent {
                return Some(format!("{path}.{name} is missing"));
            }
            if let Some((name, _)) = added {
                return Some(format!("{path}.{name} was added"));
            }
            a.iter().find_map(|(name, value)| {
                let other = b.get(name)?;
                difference(value, other, given, &format!("{path}.{name}"))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (one, other))| {
                difference(one, other, given, &format!("{path}[{at}]"))
            })
        }
        (Value::String(a), Value::String(b)) => {
            let is_same = a == b || resolves(a, b, given);
            (!is_same).then(|| format!("{path}: another text"))
        }
        _ => (sent != stored).then(|| format!("{path}: another value")),
    }
}

/// True when `stored` is what the reference `sent` had to become.
fn resolves(sent: &str, stored: &str, given: &HashMap<String, String>) -> bool {
    if let Some(place) = given.get(sent) {
        return place == stored;
    }
    // A conditional reference: some resource of that type.
    let Some((kind, query)) = sent.split_once('?') else {
        return false;
    };
    let id = stored
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('/'));
    !query.is_empty() && id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// A text that two resources share when they say the same apart from ids and from what references point to: members sorted,
/// digits as written. For Bundles whose references cannot be paired one by one.
pub fn canonical(resource: &Value) -> String {
    let mut out = String::new();
    write_canonical(&comparable(resource), &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let is_reference = members.get("reference").is_some() || is_logical(&sorted);
            out.push('{');
            for (name, member) in sorted {
                if is_reference && matches!(name, "reference" | "identifier" | "type") {
                    continue;
                }
                out.push_str(name);
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// A reference by identifier alone, which an import makes of a conditional one that finds nothing.
fn is_logical(members: &[(&str, &Value)]) -> bool {
    let has_identifier = members
        .iter()
        .any(|(name, value)| *name == "identifier" && value.as_object().is_some());
    has_identifier
        && members
            .iter()
            .all(|(name, _)| matches!(*name, "identifier" | "display" | "type"))
}
