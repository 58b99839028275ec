//! `cargo xtask soup`: every direct dependency has a reviewed row.
//!
//! Spec: IEC 62304 5.3.3, 5.3.4, 7.1.3, 8.1.2. Leaves out security advisories: they need a database that a build without
//! network cannot reach.

mod licence;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use crate::workspace::{Metadata, Package, root, write_or_check};

const OUTPUT: &str = "docs/generated/soup.md";
/// Only packages of this registry are accepted.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What a person says about one library.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What we use it for.
    purpose: String,
    /// What it must do for us to be safe.
    requirement: String,
    /// Where its known anomalies are listed.
    anomalies: String,
    /// Licence we use it under.
    licence: String,
    /// Version somebody looked at.
    reviewed: String,
}

/// A direct dependency as cargo locked it.
struct Direct<'a> {
    package: &'a Package,
    users: BTreeSet<&'a str>,
}

/// Joins `docs/safety/soup.toml` with the lock file and writes, or with `is_check` compares, the table.
///
/// # Errors
/// Every missing row, other version, licence that is not accepted, or package from elsewhere.
pub fn run(is_check: bool) -> Result<(), String> {
    let text = fs::read_to_string(root().join("docs/safety/soup.toml"))
        .map_err(|error| format!("soup.toml: {error}"))?;
    let rows = parse(&text)?;
    let metadata = Metadata::read()?;
    let direct = direct(&metadata);
    let mut problems: Vec<String> = metadata.external().filter_map(package_problem).collect();
    problems.extend(two_versions(&metadata));
    problems.extend(
        direct
            .iter()
            .filter_map(|(name, found)| row_problem(name, &found.package.version, rows.get(*name))),
    );
    for name in rows
        .keys()
        .filter(|name| !direct.contains_key(name.as_str()))
    {
        println!("soup: {name} has a row, but nothing of ours depends on it");
    }
    if problems.is_empty() {
        write_or_check(OUTPUT, &table(&rows, &direct), is_check, "cargo xtask soup")?;
        println!(
            "soup: {} direct dependencies reviewed, {} packages in all",
            direct.len(),
            metadata.external().count()
        );
        return Ok(());
    }
    Err(format!(
        "soup: {} problems\n{}",
        problems.len(),
        problems.join("\n")
    ))
}

fn parse(text: &str) -> Result<BTreeMap<String, Row>, String> {
    toml::from_str(text).map_err(|error| format!("docs/safety/soup.toml: {error}"))
}

fn direct(metadata: &Metadata) -> BTreeMap<&str, Direct<'_>> {
    let mut found: BTreeMap<&str, Direct<'_>> = BTreeMap::new();
    for edge in metadata
        .edges()
        .into_iter()
        .filter(|edge| !edge.is_internal)
    {
        let entry = found.entry(&edge.to.name).or_insert(Direct {
            package: edge.to,
            users: BTreeSet::new(),
        });
        entry.users.insert(&edge.from.name);
    }
    found
}

/// A row speaks of one version only.
fn two_versions(metadata: &Metadata) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in metadata
        .edges()
        .into_iter()
        .filter(|edge| !edge.is_internal)
    {
        versions
            .entry(&edge.to.name)
            .or_default()
            .insert(&edge.to.version);
    }
    let doubled = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1);
    doubled
        .map(|(name, versions)| {
            format!("{name} is used directly in versions {versions:?}: use one")
        })
        .collect()
}

fn package_problem(package: &Package) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    if package.source.as_deref() != Some(REGISTRY) {
        return Some(format!("{name} does not come from the Rust registry"));
    }
    match package.license.as_deref() {
        None => Some(format!("{name} states no licence")),
        Some(expression) if licence::is_accepted(expression) => None,
        Some(expression) => Some(format!(
            "{name} has a licence that is not accepted: {expression}"
        )),
    }
}

fn row_problem(name: &str, locked: &str, row: Option<&Row>) -> Option<String> {
    let Some(row) = row else {
        return Some(format!(
            "{name} {locked} has no row in docs/safety/soup.toml"
        ));
    };
    let empty = [&row.purpose, &row.requirement, &row.anomalies, &row.licence]
        .iter()
        .any(|text| text.trim().is_empty());
    if empty {
        return Some(format!("{name}: a field of its row is empty"));
    }
    let is_reviewed = row.reviewed == locked;
    (!is_reviewed).then(|| {
        format!(
            "{name} is locked at {locked}, reviewed was {}: look at its changes",
            row.reviewed
        )
    })
}

fn table(rows: &BTreeMap<String, Row>, direct: &BTreeMap<&str, Direct<'_>>) -> String {
    let mut text = String::from(
        "<!-- Generated by cargo xtask soup, do not edit -->\n# Software of unknown provenance\n\n\
         Direct dependencies. Indirect ones are in `Cargo.lock`; their licences are checked too.\n\n\
         | name | version | licence | used by | purpose | we require | known anomalies |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, found) in direct {
        let Some(row) = rows.get(*name) else { continue };
        text += &format!(
            "| [{name}]({}) | {} | {} | {} | {} | {} | {} |\n",
            found.package.repository.as_deref().unwrap_or_default(),
            found.package.version,
            row.licence,
            found.users.iter().copied().collect::<Vec<_>>().join(", "),
            row.purpose,
            row.requirement,
            row.anomalies
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{parse, row_problem};

    #[test]
    fn a_row_must_exist_be_whole_and_be_current() {
        let rows = parse(
            "[a]\npurpose='p'\nrequirement='r'\nanomalies='n'\nlicence='MIT'\nreviewed='1.0.0'\n\
             [b]\npurpose=''\nrequirement='r'\nanomalies='n'\nlicence='MIT'\nreviewed='1.0.0'\n",
        )
        .unwrap();
        assert_eq!(row_problem("a", "1.0.0", rows.get("a")), None);
        assert!(
            row_problem("a", "1.0.1", rows.get("a"))
                .unwrap()
                .contains("reviewed was 1.0.0")
        );
        assert!(
            row_problem("b", "1.0.0", rows.get("b"))
                .unwrap()
                .contains("empty")
        );
        assert!(
            row_problem("c", "1.0.0", rows.get("c"))
                .unwrap()
                .contains("no row")
        );
        assert!(parse("[a]\nname='x'\n").is_err());
    }
}
