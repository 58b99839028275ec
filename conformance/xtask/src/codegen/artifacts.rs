//! R4's profiles, value sets, code systems and concept maps as one resource a line, without what nobody computes with.
//!
//! Spec: <https://hl7.org/fhir/R4/profilelist.html>, <https://hl7.org/fhir/R4/terminologies-systems.html>. Leaves out
//! narrative, mappings, definitions of single codes, designations, and differentials.

use serde_json::{Map, Value};

use super::Table;
use super::invariants::keys;
use super::source::Source;
use super::types::{list, text};

const TERMINOLOGY: [&str; 4] = [
    "valuesets.json",
    "v3-codesystems.json",
    "v2-tables.json",
    "conceptmaps.json",
];

/// `profiles.tsv`: the profiles on resources that R4 itself publishes, vital signs among them.
pub fn profile_table(source: &Source) -> Table {
    let known = keys(source);
    let mut rows: Vec<(String, String)> = source
        .resources("profiles-others.json", "StructureDefinition")
        .filter(|definition| definition["kind"] == "resource")
        .map(|definition| {
            let mut kept = pick(
                definition,
                &[
                    "resourceType",
                    "id",
                    "url",
                    "version",
                    "name",
                    "title",
                    "status",
                    "kind",
                    "abstract",
                    "type",
                    "baseDefinition",
                    "derivation",
                ],
            );
            let elements = list(&definition["snapshot"]["element"]).iter();
            let elements: Vec<Value> = elements
                .map(|element| {
                    let mut element = pick_element(element);
                    if let Some(constraints) = element["constraint"].as_array_mut() {
                        constraints.retain(|c| !known.contains(&text(c, "key")));
                    }
                    element
                })
                .collect();
            kept["snapshot"] = serde_json::json!({ "element": elements });
            (text(definition, "url"), kept.to_string())
        })
        .collect();
    table(source, "profiles.tsv", &["profiles-others.json"], &mut rows)
}

/// `terminology.tsv`.
pub fn terminology_table(source: &Source) -> Table {
    let mut rows = Vec::new();
    for file in TERMINOLOGY {
        for value_set in source.resources(file, "ValueSet") {
            let mut kept = head(value_set);
            kept["compose"] = compose(&value_set["compose"]);
            rows.push((text(value_set, "url"), kept));
        }
        for system in source.resources(file, "CodeSystem") {
            let mut kept = head(system);
            for key in ["caseSensitive", "valueSet", "hierarchyMeaning", "content"] {
                if !system[key].is_null() {
                    kept[key] = system[key].clone();
                }
            }
            kept["concept"] = concepts(&system["concept"]);
            rows.push((text(system, "url"), kept));
        }
        for map in source.resources(file, "ConceptMap") {
            rows.push((text(map, "url"), concept_map(map)));
        }
    }
    let mut rows: Vec<(String, String)> = rows
        .into_iter()
        .map(|(url, kept)| (url, kept.to_string()))
        .collect();
    table(source, "terminology.tsv", &TERMINOLOGY, &mut rows)
}

fn table(
    source: &Source,
    name: &'static str,
    files: &[&str],
    rows: &mut Vec<(String, String)>,
) -> Table {
    rows.sort();
    rows.dedup();
    let mut body = source.header(files, "resource type, canonical url, the resource as JSON");
    for (url, row) in rows {
        let resource: Value = serde_json::from_str(row).unwrap_or_default();
        body += &format!("{}\t{url}\t{row}\n", text(&resource, "resourceType"));
    }
    Table { name, body }
}

fn pick(from: &Value, keys: &[&str]) -> Value {
    let mut kept = Map::new();
    for key in keys {
        if !from[*key].is_null() {
            kept.insert((*key).to_owned(), from[*key].clone());
        }
    }
    Value::Object(kept)
}

fn pick_element(element: &Value) -> Value {
    let mut kept = pick(
        element,
        &[
            "id",
            "path",
            "sliceName",
            "min",
            "max",
            "contentReference",
            "maxLength",
        ],
    );
    let members = element.as_object().into_iter().flatten();
    for (key, value) in members.filter(|(k, _)| k.starts_with("fixed") || k.starts_with("pattern"))
    {
        kept[key] = value.clone();
    }
    if !element["slicing"].is_null() {
        kept["slicing"] = pick(&element["slicing"], &["discriminator", "rules", "ordered"]);
    }
    if !element["binding"].is_null() {
        kept["binding"] = pick(&element["binding"], &["strength", "valueSet"]);
    }
    let types = list(&element["type"]).iter();
    let types: Vec<Value> = types
        .map(|kind| pick(kind, &["code", "profile", "targetProfile"]))
        .collect();
    if !types.is_empty() {
        kept["type"] = Value::Array(types);
    }
    let constraints = list(&element["constraint"]).iter();
    let constraints: Vec<Value> = constraints
        .map(|c| pick(c, &["key", "severity", "human", "expression"]))
        .collect();
    if !constraints.is_empty() {
        kept["constraint"] = Value::Array(constraints);
    }
    kept
}

fn head(resource: &Value) -> Value {
    pick(
        resource,
        &[
            "resourceType",
            "id",
            "url",
            "version",
            "name",
            "title",
            "status",
        ],
    )
}

fn compose(compose: &Value) -> Value {
    let part = |include: &Value| {
        let mut kept = pick(include, &["system", "version", "filter", "valueSet"]);
        let concepts: Vec<Value> = list(&include["concept"])
            .iter()
            .map(|c| pick(c, &["code", "display"]))
            .collect();
        if !concepts.is_empty() {
            kept["concept"] = Value::Array(concepts);
        }
        kept
    };
    let mut kept = Map::new();
    for key in ["include", "exclude"] {
        let parts: Vec<Value> = list(&compose[key]).iter().map(part).collect();
        if !parts.is_empty() {
            kept.insert(key.to_owned(), Value::Array(parts));
        }
    }
    Value::Object(kept)
}

fn concepts(all: &Value) -> Value {
    let kept = list(all).iter().map(|concept| {
        let mut kept = pick(concept, &["code", "display"]);
        let properties: Vec<Value> = list(&concept["property"])
            .iter()
            .filter(|p| {
                matches!(
                    p["code"].as_str(),
                    Some("subsumedBy" | "parent" | "notSelectable" | "status")
                )
            })
            .cloned()
            .collect();
        if !properties.is_empty() {
            kept["property"] = Value::Array(properties);
        }
        if !list(&concept["concept"]).is_empty() {
            kept["concept"] = concepts(&concept["concept"]);
        }
        kept
    });
    Value::Array(kept.collect())
}

fn concept_map(map: &Value) -> Value {
    let mut kept = head(map);
    for key in [
        "sourceUri",
        "sourceCanonical",
        "targetUri",
        "targetCanonical",
    ] {
        if !map[key].is_null() {
            kept[key] = map[key].clone();
        }
    }
    let groups = list(&map["group"]).iter().map(|group| {
        let mut kept = pick(group, &["source", "target", "unmapped"]);
        let elements = list(&group["element"]).iter().map(|element| {
            let mut kept = pick(element, &["code"]);
            let targets = list(&element["target"]).iter();
            kept["target"] = targets
                .map(|t| pick(t, &["code", "equivalence", "comment"]))
                .collect();
            kept
        });
        kept["element"] = elements.collect();
        kept
    });
    kept["group"] = groups.collect();
    kept
}
