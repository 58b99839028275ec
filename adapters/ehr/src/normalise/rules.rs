//! The rules as data, with a tenant's overrides.
//!
//! Spec: none; each list says in `rules/common.toml` what it does.
//! Leaves out conversions: there is no place to write one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::EhrError;

const COMMON: &str = include_str!("../../rules/common.toml");

/// All lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Changes when a rule changes.
    pub version: String,
    /// Words that stand where a value should be.
    pub null_words: BTreeSet<String>,
    /// Systems that repeat LOINC codes.
    pub alias_systems: BTreeSet<String>,
    /// Codes that name a whole family.
    pub umbrella_codes: BTreeSet<String>,
    /// Codes that come first.
    pub first_codes: BTreeSet<String>,
    /// Identifier types that name no person.
    pub technical_identifier_types: BTreeSet<String>,
    /// Extensions whose content the source derived from the value beside it.
    pub derived_extensions: BTreeSet<String>,
    /// Spelling → UCUM code.
    pub units: BTreeMap<String, String>,
    /// UCUM codes given to texts spelt exactly so.
    pub ucum: Ucum,
    /// LOINC code → units that fit.
    pub plausible: BTreeMap<String, BTreeSet<String>>,
    /// Code → unit, by a tenant's decision.
    pub unit_of_code: BTreeMap<String, String>,
}

/// Known UCUM codes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ucum {
    /// The codes.
    pub codes: BTreeSet<String>,
}

impl Rules {
    /// The common rules with `overrides` laid over them: tables key by key, lists as a whole.
    ///
    /// # Errors
    /// [`EhrError::Config`] naming the unknown key.
    pub fn load(overrides: &toml::Table) -> Result<Self, EhrError> {
        let refuse =
            |error: toml::de::Error| EhrError::Config(format!("`[rules]`: {}", error.message()));
        let mut table: toml::Table = toml::from_str(COMMON).map_err(refuse)?;
        for (key, value) in overrides {
            match (table.get_mut(key), value) {
                (Some(toml::Value::Table(own)), toml::Value::Table(over)) => {
                    own.extend(over.clone());
                }
                _ => {
                    table.insert(key.clone(), value.clone());
                }
            }
        }
        let mut rules: Self = table.try_into().map_err(refuse)?;
        if !overrides.is_empty() {
            // Copies made with other overrides must be made again.
            let text = toml::to_string(overrides).unwrap_or_default();
            let hash = crate::identity::content_hash(text.as_bytes());
            rules.version = format!("{}+{}", rules.version, hash.get(..8).unwrap_or_default());
        }
        Ok(rules)
    }
}
