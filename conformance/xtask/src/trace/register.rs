//! The two registers: requirements and risks.
//!
//! Leaves out judgement: severity and probability are text that a person wrote.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::links::Links;
use crate::workspace::root;

/// One requirement of `requirements.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Short name.
    pub title: String,
    /// What the product shall do.
    pub shall: String,
    /// Specification or standard it comes from.
    pub source: String,
    /// Risk controls it realises.
    pub risk: Vec<String>,
    /// The work item that brings the test, while there is none.
    pub planned: Option<String>,
}

/// One hazardous situation of `risks.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// What may hurt a patient.
    pub hazard: String,
    /// Software items where it may arise.
    pub item: String,
    /// How it comes about.
    pub sequence: String,
    /// Proposed severity.
    pub severity: String,
    /// Proposed probability.
    pub probability: String,
    /// Judgement of what remains.
    pub residual: String,
    /// Its controls by id.
    pub control: BTreeMap<String, Control>,
}

/// One risk control.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// What prevents the hazard.
    pub text: String,
    /// The work item that brings the test, while there is none.
    pub planned: Option<String>,
}

/// Both registers.
pub struct Register {
    /// By id.
    pub requirements: BTreeMap<String, Requirement>,
    /// By id.
    pub risks: BTreeMap<String, Risk>,
}

/// Reads both files of `docs/safety`.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn read() -> Result<Register, String> {
    let text = |name: &str| {
        let path = root().join("docs/safety").join(name);
        fs::read_to_string(path).map_err(|error| format!("docs/safety/{name}: {error}"))
    };
    parse(&text("requirements.toml")?, &text("risks.toml")?)
}

/// Reads the two texts and checks that they fit together.
///
/// # Errors
/// Names the file, or the id that is malformed, doubled or unknown.
pub fn parse(requirements: &str, risks: &str) -> Result<Register, String> {
    let requirements: BTreeMap<String, Requirement> =
        toml::from_str(requirements).map_err(|error| format!("requirements.toml: {error}"))?;
    let risks: BTreeMap<String, Risk> =
        toml::from_str(risks).map_err(|error| format!("risks.toml: {error}"))?;
    let register = Register {
        requirements,
        risks,
    };
    let control_count = register.controls().count();
    let mut controls: Vec<&str> = register.controls().map(|(id, _)| id).collect();
    controls.sort_unstable();
    controls.dedup();
    if controls.len() != control_count {
        return Err("risks.toml: a control id is used twice".to_owned());
    }
    for (id, requirement) in &register.requirements {
        if let Some(control) = requirement
            .risk
            .iter()
            .find(|control| !controls.contains(&control.as_str()))
        {
            return Err(format!(
                "requirements.toml: {id} names {control}, which risks.toml does not have"
            ));
        }
    }
    let malformed = register
        .ids()
        .find(|id| super::links::ids(id) != [*id])
        .map(str::to_owned);
    match malformed {
        Some(id) => Err(format!("`{id}` is no id of the form SRS-001 or RC-001")),
        None => Ok(register),
    }
}

impl Register {
    /// All controls with their ids.
    pub fn controls(&self) -> impl Iterator<Item = (&str, &Control)> {
        self.risks.values().flat_map(|risk| {
            risk.control
                .iter()
                .map(|(id, control)| (id.as_str(), control))
        })
    }

    /// All ids a test may name.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.requirements
            .keys()
            .map(String::as_str)
            .chain(self.controls().map(|(id, _)| id))
    }

    /// True when a test may name this id.
    pub fn has(&self, id: &str) -> bool {
        self.ids().any(|known| known == id)
    }

    fn planned_titles(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let requirements = self
            .requirements
            .iter()
            .map(|(id, entry)| (id.as_str(), entry.planned.as_deref()));
        requirements.chain(
            self.controls()
                .map(|(id, control)| (id, control.planned.as_deref())),
        )
    }

    /// Ids without a test that nothing excuses.
    pub fn missing(&self, links: &Links) -> Vec<String> {
        self.planned_titles()
            .filter(|(id, planned)| planned.is_none() && !links.tests.contains_key(*id))
            .map(|(id, _)| {
                format!("{id} has no test: add `Verifies: {id}` or say `planned = \"work item\"`")
            })
            .collect()
    }

    /// Ids without a test whose test is planned.
    pub fn planned(&self, links: &Links) -> Vec<String> {
        let open = self
            .planned_titles()
            .filter(|(id, _)| !links.tests.contains_key(*id));
        open.filter_map(|(id, planned)| planned.map(|title| format!("{id} ({title})")))
            .collect()
    }
}
