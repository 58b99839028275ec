//! Compares the element table with HL7's `dataelements.json`, which says the same once more, element by element.
//!
//! Spec: <https://hl7.org/fhir/R4/downloads.html>. Leaves out elements that file does not list: those with children of
//! their own, inherited ones, and some deep in a resource.

use std::collections::BTreeMap;

use serde_json::Value;

use super::source::Source;
use super::types::{declared_type, list, row, text};

/// The file that is compared.
const FILE: &str = "dataelements.json";

/// That file takes this element from the profile SimpleQuantity, which forbids it.
const PROFILED: [&str; 1] = ["Quantity.comparator"];

/// Checks every element of the other source against the table.
///
/// # Errors
/// Names each element that is missing or differs.
pub fn compare(source: &Source, table: &str) -> Result<(), String> {
    let rows: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|line| Some((line.split('\t').next()?, line)))
        .collect();
    let definitions = source.resources(FILE, "StructureDefinition");
    let elements = definitions.flat_map(|definition| list(&definition["snapshot"]["element"]));
    let (mut count, mut problems) = (0, Vec::new());
    for element in elements.filter(|element| is_compared(element)) {
        count += 1;
        let path = text(element, "path");
        let types: Vec<String> = list(&element["type"]).iter().map(declared_type).collect();
        let expected = row(element, &path, &types);
        let found = rows.get(path.as_str()).copied().unwrap_or("missing");
        if found != expected.trim_end_matches('\n') {
            problems.push(format!("{found}\n  {FILE}: {expected}"));
        }
    }
    if problems.is_empty() && count > 0 {
        println!("codegen: {count} elements agree with {FILE}");
        return Ok(());
    }
    Err(format!(
        "{} of {count} elements differ:\n{}",
        problems.len(),
        problems.join("")
    ))
}

fn is_compared(element: &Value) -> bool {
    let path = text(element, "path");
    // MetadataResource is a logical model, no resource has this type; system types are named in the other file only.
    let is_logical = path.starts_with("MetadataResource");
    let is_system = list(&element["type"])
        .iter()
        .any(|kind| text(kind, "code").contains("fhirpath"));
    path.contains('.') && !is_logical && !is_system && !PROFILED.contains(&path.as_str())
}
