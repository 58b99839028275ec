//! Distils SearchParameters and CompartmentDefinitions, one row per concrete resource type and code.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>, <https://hl7.org/fhir/R4/compartmentdefinition.html>.
//! Leaves out XPath, and parameters that have no definition (`_has`, `_list`, `_type`, `_filter`, `_sort` ..).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::source::Source;
use super::types::{ResourceType, list, text};
use super::{Table, cell};

const FILE: &str = "search-parameters.json";
const RESOURCES: &str = "profiles-resources.json";

/// `search_params.tsv`, sorted by resource type and code.
///
/// # Errors
/// Names the parameter whose expression or component cannot be narrowed to its base.
pub fn search_param_table(source: &Source, types: &[ResourceType]) -> Result<Table, String> {
    let definitions: Vec<&Value> = source.resources(FILE, "SearchParameter").collect();
    let codes: BTreeMap<String, String> = definitions
        .iter()
        .map(|definition| (text(definition, "url"), text(definition, "code")))
        .collect();
    let mut rows: BTreeMap<(String, String), String> = BTreeMap::new();
    for definition in &definitions {
        for base in list(&definition["base"]).iter().filter_map(Value::as_str) {
            for resource_type in concrete_types(base, types) {
                let row = search_param_row(definition, base, resource_type, &codes, types)?;
                let key = (resource_type.to_owned(), text(definition, "code"));
                if rows.insert(key, row).is_some() {
                    return Err(format!(
                        "{resource_type} has two parameters {}",
                        text(definition, "code")
                    ));
                }
            }
        }
    }
    let header = source.header(
        &[FILE],
        "base, code, type, url, expression, targets, components (url code expression;;..), comparators, multipleOr, multipleAnd, description",
    );
    Ok(Table {
        name: "search_params.tsv",
        body: header + &rows.into_values().collect::<String>(),
    })
}

fn concrete_types<'a>(base: &'a str, types: &'a [ResourceType]) -> Vec<&'a str> {
    let is_below = |resource_type: &&ResourceType| match base {
        "Resource" => !resource_type.is_abstract,
        "DomainResource" => !resource_type.is_abstract && resource_type.base == base,
        _ => resource_type.name == base,
    };
    types
        .iter()
        .filter(is_below)
        .map(|resource_type| resource_type.name.as_str())
        .collect()
}

fn search_param_row(
    definition: &Value,
    base: &str,
    resource_type: &str,
    codes: &BTreeMap<String, String>,
    types: &[ResourceType],
) -> Result<String, String> {
    let expression =
        narrow(&text(definition, "expression"), base, resource_type).ok_or_else(|| {
            format!(
                "{}: no branch of the expression starts with {base}",
                text(definition, "id")
            )
        })?;
    let mut components = Vec::new();
    for component in list(&definition["component"]) {
        let url = text(component, "definition");
        let code = codes
            .get(&url)
            .ok_or_else(|| format!("component {url} has no definition"))?;
        components.push(format!("{url} {code} {}", text(component, "expression")));
    }
    let comparators: Vec<&str> = list(&definition["comparator"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let flag = |key: &str| {
        definition[key]
            .as_bool()
            .map(|value| value.to_string())
            .unwrap_or_default()
    };
    Ok(format!(
        "{resource_type}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
        text(definition, "code"),
        text(definition, "type"),
        text(definition, "url"),
        cell(&expression),
        targets(definition, types),
        components.join(";;"),
        comparators.join(","),
        flag("multipleOr"),
        flag("multipleAnd"),
        cell(&description(definition, resource_type)),
    ))
}

/// A target list that names every resource but `Parameters` (which cannot be referenced) is written `*`.
fn targets(definition: &Value, types: &[ResourceType]) -> String {
    let named: BTreeSet<&str> = list(&definition["target"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let every: BTreeSet<&str> = types
        .iter()
        .filter(|resource_type| !resource_type.is_abstract && resource_type.name != "Parameters")
        .map(|resource_type| resource_type.name.as_str())
        .collect();
    if named == every {
        "*".to_owned()
    } else {
        named.into_iter().collect::<Vec<_>>().join(",")
    }
}

/// Keeps the union branches that start with `base` and rewrites `base` to the concrete type.
fn narrow(expression: &str, base: &str, resource_type: &str) -> Option<String> {
    if expression.is_empty() {
        return Some(String::new());
    }
    // Deviation: InsurancePlan-name is defined as `name | alias`, the only expression without its base type.
    if expression == "name | alias" && base == "InsurancePlan" {
        return Some("InsurancePlan.name | InsurancePlan.alias".to_owned());
    }
    let branches: Vec<String> = union_branches(expression)
        .into_iter()
        .filter_map(|branch| {
            let open = branch.len() - branch.trim_start_matches('(').len();
            let (parens, path) = branch.split_at(open);
            let rest = path.strip_prefix(base)?;
            let is_whole_name = !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
            is_whole_name.then(|| format!("{parens}{resource_type}{rest}"))
        })
        .collect();
    (!branches.is_empty()).then(|| branches.join(" | "))
}

/// Splits at `|` outside parentheses and quotes.
fn union_branches(expression: &str) -> Vec<&str> {
    let (mut depth, mut is_quoted, mut start) = (0_i32, false, 0);
    let mut branches = Vec::new();
    for (position, character) in expression.char_indices() {
        match character {
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            '|' if !is_quoted && depth == 0 => {
                branches.push(expression[start..position].trim());
                start = position + 1;
            }
            _ => {}
        }
    }
    branches.push(expression[start..].trim());
    branches
}

/// A parameter of several bases describes each in a bullet `* [Type](type.html): text`; only ours is kept.
fn description(definition: &Value, resource_type: &str) -> String {
    let whole = text(definition, "description");
    let marker = format!("* [{resource_type}](");
    whole
        .lines()
        .find_map(|line| {
            line.strip_prefix(&marker)
                .and_then(|rest| rest.split_once("): "))
        })
        .map_or_else(|| whole.clone(), |(_, own)| own.trim().to_owned())
}

/// `compartments.tsv`: compartment, resource type, parameter codes that link it.
pub fn compartment_table(source: &Source) -> Table {
    let mut rows = BTreeSet::new();
    for definition in source.resources(RESOURCES, "CompartmentDefinition") {
        for resource in list(&definition["resource"]) {
            let params: Vec<&str> = list(&resource["param"])
                .iter()
                .filter_map(Value::as_str)
                .collect();
            if !params.is_empty() {
                let row = format!(
                    "{}\t{}\t{}\n",
                    text(definition, "code"),
                    text(resource, "code"),
                    params.join(",")
                );
                rows.insert(row);
            }
        }
    }
    let header = source.header(&[RESOURCES], "compartment, resource type, parameter codes");
    Table {
        name: "compartments.tsv",
        body: header + &rows.into_iter().collect::<String>(),
    }
}

#[cfg(test)]
mod tests {
    use super::{narrow, union_branches};

    #[test]
    fn union_is_split_only_at_the_top_level() {
        assert_eq!(
            union_branches("A.b | (C.d | C.e).f | G.where(h='|')"),
            ["A.b", "(C.d | C.e).f", "G.where(h='|')"]
        );
    }

    #[test]
    fn only_the_branches_of_the_base_are_kept() {
        let expression =
            "(Observation.value as Quantity) | ObservationDefinition.code | Observation.code";
        let expected = "(Observation.value as Quantity) | Observation.code";
        assert_eq!(
            narrow(expression, "Observation", "Observation").as_deref(),
            Some(expected)
        );
        assert_eq!(
            narrow("Resource.id", "Resource", "Patient").as_deref(),
            Some("Patient.id")
        );
        assert_eq!(narrow("Patient.name", "Person", "Person"), None);
    }
}
