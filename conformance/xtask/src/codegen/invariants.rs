//! The constraints of the R4 definitions, each at the place that defines it.
//!
//! Spec: <https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.constraint>. Leaves out copies that
//! snapshots inherit, and the XPath form.

use std::collections::BTreeSet;

use serde_json::Value;

use super::source::Source;
use super::types::{data_type_definitions, list, resource_definitions, text};
use super::{Table, cell};

const BEST_PRACTICE_URL: &str =
    "http://hl7.org/fhir/StructureDefinition/elementdefinition-bestpractice";

/// `invariants.tsv`.
pub fn invariant_table(source: &Source) -> Table {
    let files = ["profiles-resources.json", "profiles-types.json"];
    let mut body = source.header(
        &files,
        "path, key, E error or W warning, B best practice, human, expression",
    );
    let mut done = BTreeSet::new();
    for definition in data_type_definitions(source).chain(resource_definitions(source)) {
        let name = text(definition, "name");
        for element in list(&definition["snapshot"]["element"]) {
            let path = text(element, "path");
            for constraint in list(&element["constraint"]) {
                if is_own(&name, &path, constraint)
                    && done.insert((path.clone(), text(constraint, "key")))
                {
                    body += &row(&path, constraint);
                }
            }
        }
    }
    Table {
        name: "invariants.tsv",
        body,
    }
}

/// Keys of all of them, so that profiles need not repeat them.
pub fn keys(source: &Source) -> BTreeSet<String> {
    let definitions = data_type_definitions(source).chain(resource_definitions(source));
    definitions
        .flat_map(|definition| list(&definition["snapshot"]["element"]))
        .flat_map(|element| list(&element["constraint"]))
        .map(|constraint| text(constraint, "key"))
        .collect()
}

/// What every element, extension or resource repeats is kept where it comes from.
fn is_own(definition: &str, path: &str, constraint: &Value) -> bool {
    let key = text(constraint, "key");
    let home = match key.split('-').next().unwrap_or_default() {
        "ele" => "Element",
        "ext" => "Extension",
        "dom" => "DomainResource",
        _ => return !text(constraint, "expression").is_empty(),
    };
    definition == home && path == home
}

fn row(path: &str, constraint: &Value) -> String {
    let severity = match constraint["severity"].as_str() {
        Some("warning") => "W",
        _ => "E",
    };
    let is_best_practice = list(&constraint["extension"])
        .iter()
        .any(|e| e["url"] == BEST_PRACTICE_URL && e["valueBoolean"] == true);
    format!(
        "{path}\t{}\t{severity}\t{}\t{}\t{}\n",
        text(constraint, "key"),
        if is_best_practice { "B" } else { "" },
        cell(&text(constraint, "human")),
        cell(&text(constraint, "expression")),
    )
}
