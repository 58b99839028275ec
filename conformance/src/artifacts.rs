//! R4's invariants, profiles and terminology as generated: text that its readers parse when they first need it.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>. Leaves out parsing: this crate knows no JSON.

use std::collections::HashMap;
use std::sync::OnceLock;

const INVARIANTS: &str = include_str!("../generated/invariants.tsv");
const PROFILES: &str = include_str!("../generated/profiles.tsv");
const TERMINOLOGY: &str = include_str!("../generated/terminology.tsv");

/// A constraint of the R4 definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invariant {
    /// The element or type it is asked of: `Observation`, `Patient.contact`, `Quantity`.
    pub path: &'static str,
    /// Its key, such as `obs-6`.
    pub key: &'static str,
    /// Whether breaking it is an error; else it is a warning.
    pub is_error: bool,
    /// A recommendation that many good resources do not follow.
    pub is_best_practice: bool,
    /// What it says.
    pub human: &'static str,
    /// The FHIRPath expression.
    pub expression: &'static str,
}

/// All invariants, in the order of the definitions.
///
/// # Panics
/// When the generated table is broken, which the tests exclude.
pub fn invariants() -> impl Iterator<Item = Invariant> {
    let rows = INVARIANTS.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [path, key, severity, practice, human, expression] = cells[..] else {
            panic!("generated table has a broken row, run `cargo xtask codegen`: {line}")
        };
        Invariant {
            path,
            key,
            is_error: severity == "E",
            is_best_practice: practice == "B",
            human,
            expression,
        }
    })
}

/// The resource type, canonical URL and JSON of every profile, value set, code system and concept map of R4.
pub fn artifacts() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let lines = PROFILES.lines().chain(TERMINOLOGY.lines());
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (resource_type, rest) = line.split_once('\t')?;
            let (url, json) = rest.split_once('\t')?;
            Some((resource_type, url, json))
        })
}

/// The JSON of the resource of this type with this canonical URL (without version).
pub fn artifact(resource_type: &str, url: &str) -> Option<&'static str> {
    type Index = HashMap<(&'static str, &'static str), &'static str>;
    static INDEX: OnceLock<Index> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        artifacts()
            .map(|(resource_type, url, json)| ((resource_type, url), json))
            .collect()
    });
    // The key must live as long as the table; look for one that does.
    index.get(&(resource_type, url)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-181
    #[test]
    fn invariants_profiles_and_terminology_are_there() {
        // Without que-7, whose R4 expression cannot hold.
        assert_eq!(invariants().count(), 243);
        let obs = invariants().find(|i| i.key == "obs-6").unwrap();
        assert!(obs.path == "Observation" && obs.is_error && !obs.is_best_practice);
        assert!(invariants().any(|i| i.key == "dom-6" && i.is_best_practice));
        let vitals = "http://hl7.org/fhir/StructureDefinition/vitalsigns";
        assert!(artifact("StructureDefinition", vitals).is_some());
        assert!(artifact("CodeSystem", "http://hl7.org/fhir/administrative-gender").is_some());
        assert!(artifact("CodeSystem", "http://example.org/none").is_none());
        assert!(artifacts().count() > 2_000);
    }
}
