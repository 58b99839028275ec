//! Who may depend on whom: `layers.toml` against `cargo metadata`.
//!
//! Leaves out indirect dependencies: they follow from the direct ones.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::workspace::{Edge, Metadata};

const RULES: &str = include_str!("layers.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// Our package → our packages it may use.
    internal: BTreeMap<String, Vec<String>>,
    /// Library → our packages that may use it.
    external: BTreeMap<String, Vec<String>>,
    /// Pure package → the only libraries it may use.
    only: BTreeMap<String, Vec<String>>,
}

/// All edges that break a rule.
///
/// # Errors
/// When the rule file itself cannot be read.
pub fn check(metadata: &Metadata) -> Result<Vec<String>, String> {
    let rules: Rules = toml::from_str(RULES).map_err(|error| format!("layers.toml: {error}"))?;
    Ok(metadata
        .edges()
        .iter()
        .filter_map(|edge| broken(&rules, edge))
        .collect())
}

fn broken(rules: &Rules, edge: &Edge<'_>) -> Option<String> {
    let (from, to) = (&edge.from.name, &edge.to.name);
    if edge.is_internal {
        return broken_internal(rules, from, to, edge.is_dev);
    }
    if rules
        .external
        .get(to)
        .is_some_and(|packages| !packages.contains(from))
    {
        return Some(format!(
            "{from} must not depend on {to}: layers.toml [external] keeps it in one place"
        ));
    }
    let is_outside = rules
        .only
        .get(from)
        .is_some_and(|libraries| !libraries.contains(to));
    (is_outside && !edge.is_dev)
        .then(|| format!("{from} must not depend on {to}: layers.toml [only]"))
}

fn broken_internal(rules: &Rules, from: &str, to: &str, is_dev: bool) -> Option<String> {
    match rules.internal.get(from) {
        None => Some(format!(
            "package {from} has no row in layers.toml [internal]"
        )),
        Some(allowed) if allowed.iter().any(|name| name == to) || is_dev => None,
        Some(_) => Some(format!(
            "{from} must not depend on {to}: see layers.toml [internal]"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rules, broken_internal};

    #[test]
    fn adapters_never_reach_the_store() {
        let rules: Rules = toml::from_str(super::RULES).unwrap();
        for (from, to) in [
            ("adapters", "fhir-store"),
            ("adapters", "stoker"),
            ("mappings", "adapters"),
        ] {
            assert!(
                broken_internal(&rules, from, to, false).is_some(),
                "{from} → {to}"
            );
        }
        assert!(broken_internal(&rules, "stoker", "fhir-store", false).is_none());
        assert!(broken_internal(&rules, "unknown", "fhir-core", false).is_some());
    }

    #[test]
    fn the_layers_have_no_cycle() {
        let rules: Rules = toml::from_str(super::RULES).unwrap();
        let mut placed: Vec<&str> = Vec::new();
        while placed.len() < rules.internal.len() {
            let next = rules.internal.iter().find(|(name, below)| {
                !placed.contains(&name.as_str())
                    && below.iter().all(|name| placed.contains(&name.as_str()))
            });
            placed.push(
                next.expect("layers.toml [internal] has a cycle or an unknown name")
                    .0,
            );
        }
    }
}
