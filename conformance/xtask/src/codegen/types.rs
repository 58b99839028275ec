//! Distils StructureDefinitions into the tables of resource types, data types and elements.
//!
//! Spec: <https://hl7.org/fhir/R4/structuredefinition.html>, <https://hl7.org/fhir/R4/elementdefinition.html>.
//! Leaves out invariants, mappings, slicing and the profiles on data types (`SimpleQuantity`, `MoneyQuantity`).

use serde_json::Value;

use super::source::Source;
use super::{Table, cell};

const RESOURCES: &str = "profiles-resources.json";
const TYPES: &str = "profiles-types.json";
const STRUCTURE_URL: &str = "http://hl7.org/fhir/StructureDefinition/";
const FHIR_TYPE_URL: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
const REGEX_URL: &str = "http://hl7.org/fhir/StructureDefinition/regex";

/// A resource type and the type it specializes.
pub struct ResourceType {
    /// Its name, such as `Patient`.
    pub name: String,
    /// `Resource`, `DomainResource`, or empty for `Resource` itself.
    pub base: String,
    /// True for `Resource` and `DomainResource`.
    pub is_abstract: bool,
}

/// All resource types sorted by name.
pub fn resource_types(source: &Source) -> Vec<ResourceType> {
    let mut types: Vec<ResourceType> = resource_definitions(source)
        .map(|definition| ResourceType {
            name: text(definition, "name"),
            base: local_name(&text(definition, "baseDefinition")),
            is_abstract: definition["abstract"] == true,
        })
        .collect();
    types.sort_by(|left, right| left.name.cmp(&right.name));
    types
}

/// `resource_types.tsv`.
pub fn resource_type_table(source: &Source, types: &[ResourceType]) -> Table {
    let mut body = source.header(&[RESOURCES], "name, base, abstract or concrete");
    for resource_type in types {
        let kind = if resource_type.is_abstract {
            "abstract"
        } else {
            "concrete"
        };
        body += &format!("{}\t{}\t{kind}\n", resource_type.name, resource_type.base);
    }
    Table {
        name: "resource_types.tsv",
        body,
    }
}

/// `types.tsv`: the data types, primitives with the regular expression of their value.
pub fn data_type_table(source: &Source) -> Table {
    let mut rows: Vec<String> = data_type_definitions(source)
        .map(|definition| {
            let name = text(definition, "name");
            let kind = if definition["kind"] == "primitive-type" {
                "primitive"
            } else {
                "complex"
            };
            let base = local_name(&text(definition, "baseDefinition"));
            format!(
                "{name}\t{kind}\t{base}\t{}\n",
                cell(&value_regex(definition))
            )
        })
        .collect();
    rows.sort();
    let header = source.header(
        &[TYPES],
        "name, primitive or complex, base, regex of a primitive's value",
    );
    Table {
        name: "types.tsv",
        body: header + &rows.concat(),
    }
}

/// `elements.tsv`: every element of every type, children of one parent next to each other in definition order.
pub fn element_table(source: &Source) -> Table {
    let mut body = source.header(
        &[RESOURCES, TYPES],
        "path, min, max, types with targets, content reference, binding strength (R, E, P, X), value set, S summary M modifier",
    );
    let mut definitions: Vec<&Value> = data_type_definitions(source)
        .chain(resource_definitions(source))
        .collect();
    definitions.sort_by_key(|definition| text(definition, "name"));
    for definition in definitions {
        for row in element_rows(definition) {
            body += &row;
        }
    }
    Table {
        name: "elements.tsv",
        body,
    }
}

fn element_rows(definition: &Value) -> Vec<String> {
    let is_primitive = definition["kind"] == "primitive-type";
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for element in list(&definition["snapshot"]["element"]) {
        let path = text(element, "path");
        let Some((parent, name)) = path.rsplit_once('.') else {
            continue;
        };
        // In JSON a primitive's value is the property itself, never a child of it.
        if is_primitive && name == "value" {
            continue;
        }
        let row = element_row(definition, element, &path);
        match groups.iter_mut().find(|(group, _)| group == parent) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((parent.to_owned(), vec![row])),
        }
    }
    groups.into_iter().flat_map(|(_, rows)| rows).collect()
}

fn element_row(definition: &Value, element: &Value, path: &str) -> String {
    let kinds = list(&element["type"]).iter();
    let types: Vec<String> = kinds
        .map(|kind| element_type(definition, path, kind))
        .collect();
    row(element, path, &types)
}

/// One line of the table.
pub fn row(element: &Value, path: &str, types: &[String]) -> String {
    let strength = match element["binding"]["strength"].as_str() {
        Some("required") => "R",
        Some("extensible") => "E",
        Some("preferred") => "P",
        Some("example") => "X",
        _ => "",
    };
    let value_set = text(&element["binding"], "valueSet");
    let flag = |key: &str, letter: &'static str| if element[key] == true { letter } else { "" };
    format!(
        "{path}\t{}\t{}\t{}\t{}\t{strength}\t{}\t{}{}\n",
        element["min"],
        text(element, "max"),
        types.join("|"),
        text(element, "contentReference").trim_start_matches('#'),
        value_set.split('|').next().unwrap_or_default(),
        flag("isSummary", "S"),
        flag("isModifier", "M"),
    )
}

fn element_type(definition: &Value, path: &str, kind: &Value) -> String {
    let code = text(kind, "code");
    if code.starts_with("http://hl7.org/fhirpath/") {
        // Deviation: the definitions call `Resource.id` a string; <https://hl7.org/fhir/R4/resource.html#id> and the
        // examples say `id`. The specification text wins.
        if definition["kind"] == "resource" && path == format!("{}.id", text(definition, "name")) {
            return "id".to_owned();
        }
        let extension = list(&kind["extension"])
            .iter()
            .find(|extension| extension["url"] == FHIR_TYPE_URL);
        return extension.map_or_else(
            || "string".to_owned(),
            |extension| text(extension, "valueUrl"),
        );
    }
    declared_type(kind)
}

/// The type as it is declared: `Reference(Patient,Group)`.
pub fn declared_type(kind: &Value) -> String {
    let code = text(kind, "code");
    let targets = list(&kind["targetProfile"])
        .iter()
        .filter_map(Value::as_str);
    let targets: Vec<String> = targets.map(local_name).collect();
    if targets.is_empty() {
        code
    } else {
        format!("{code}({})", targets.join(","))
    }
}

fn value_regex(definition: &Value) -> String {
    let path = format!("{}.value", text(definition, "name"));
    list(&definition["snapshot"]["element"])
        .iter()
        .filter(|element| {
            element["path"] == path.as_str() && definition["kind"] == "primitive-type"
        })
        .flat_map(|element| list(&element["type"]))
        .flat_map(|kind| list(&kind["extension"]))
        .find(|extension| extension["url"] == REGEX_URL)
        .map(|extension| text(extension, "valueString"))
        .unwrap_or_default()
}

/// The definitions of the resource types.
pub fn resource_definitions(source: &Source) -> impl Iterator<Item = &Value> {
    source
        .resources(RESOURCES, "StructureDefinition")
        .filter(|definition| definition["kind"] == "resource")
}

/// The definitions of the data types, profiles on them left out.
pub fn data_type_definitions(source: &Source) -> impl Iterator<Item = &Value> {
    source
        .resources(TYPES, "StructureDefinition")
        .filter(|definition| definition["derivation"] != "constraint")
}

/// Value sets of every required binding, in a stable order.
pub fn required_value_sets(source: &Source) -> Vec<String> {
    let mut urls: Vec<String> = data_type_definitions(source)
        .chain(resource_definitions(source))
        .flat_map(|definition| list(&definition["snapshot"]["element"]))
        .filter(|element| element["binding"]["strength"] == "required")
        .map(|element| text(&element["binding"], "valueSet"))
        .map(|url| url.split('|').next().unwrap_or_default().to_owned())
        .collect();
    urls.sort();
    urls.dedup();
    urls
}

/// The array behind a value, empty when it is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a property, empty when it is none.
pub fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn local_name(url: &str) -> String {
    url.strip_prefix(STRUCTURE_URL).unwrap_or(url).to_owned()
}
