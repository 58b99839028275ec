//! Filters of a value set over the concepts of one code system.
//!
//! Spec: <https://hl7.org/fhir/R4/valueset-filter-operator.html>. Left out: `generalizes`, and filters by properties that
//! only the code system's publisher defines and that are not in its definition.

use regex::Regex;

use crate::json::ValueRef;

use super::code_system::{Concept, text_of};
use super::{CodeSystem, TerminologyError};

/// Which concepts pass one filter, as indexes.
pub(super) fn passing(
    system: &CodeSystem,
    filter: ValueRef<'_>,
) -> Result<Vec<bool>, TerminologyError> {
    let text = |name| text_of(filter, name).unwrap_or_default();
    let (property, operator, value) = (text("property"), text("op"), text("value"));
    let of_concepts = |test: &dyn Fn(&Concept) -> bool| -> Vec<bool> {
        system.concepts.iter().map(test).collect()
    };
    let unsupported = || {
        let what = format!("the filter `{property} {operator}` on {}", system.url);
        Err(TerminologyError::Unsupported(what))
    };
    match (property.as_str(), operator.as_str()) {
        ("concept" | "code" | "parent" | "subsumedBy", "is-a" | "descendent-of" | "is-not-a") => {
            let Some(top) = system.index_of(&value) else {
                return Err(TerminologyError::UnknownCode);
            };
            let below = system.below(top);
            let is_below = |index: usize| below.binary_search(&index).is_ok();
            let passes = (0..system.concepts.len()).map(|index| match operator.as_str() {
                "is-a" => is_below(index),
                "descendent-of" => is_below(index) && index != top,
                _ => !is_below(index),
            });
            Ok(passes.collect())
        }
        (_, "=" | "in" | "not-in" | "regex") => {
            let values: Vec<&str> = if operator == "=" {
                vec![value.as_str()]
            } else {
                value.split(',').map(str::trim).collect()
            };
            let pattern = if operator == "regex" {
                match Regex::new(&format!("^(?:{value})$")) {
                    Ok(pattern) => Some(pattern),
                    Err(_) => return unsupported(),
                }
            } else {
                None
            };
            let is_known = matches!(property.as_str(), "concept" | "code" | "display")
                || system
                    .concepts
                    .iter()
                    .any(|c| c.properties.iter().any(|(n, _)| *n == property));
            if !is_known {
                return unsupported();
            }
            Ok(of_concepts(&|concept| {
                let mut own = values_of(concept, &property).into_iter();
                match (&pattern, operator.as_str()) {
                    (Some(pattern), _) => own.any(|v| pattern.is_match(v)),
                    (None, "not-in") => !own.any(|v| values.contains(&v)),
                    _ => own.any(|v| values.contains(&v)),
                }
            }))
        }
        (_, "exists") => Ok(of_concepts(&|concept| {
            values_of(concept, &property).is_empty() != (value == "true")
        })),
        _ => unsupported(),
    }
}

fn values_of<'c>(concept: &'c Concept, property: &str) -> Vec<&'c str> {
    match property {
        "concept" | "code" => vec![concept.code.as_str()],
        "display" => concept.display.as_deref().into_iter().collect(),
        _ => concept
            .properties
            .iter()
            .filter(|(name, _)| name == property)
            .map(|(_, value)| value.as_str())
            .collect(),
    }
}
