//! Which rules beyond the structure refuse a write, which only warn, and which are off.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>. Left out: warnings in the answer of a write; `$validate` lists them.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::issue::{Issue, Severity};
use fhir_core::json::ValueRef;
use fhir_core::profile::check_claims;
use fhir_core::terminology::Catalogue;
use fhir_core::validate::invariants;

use crate::app::Server;
use crate::config::Mode;

/// Modes that differ for some types and profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    types: Vec<(ResourceTypeId, Mode)>,
    profiles: Vec<(String, Mode)>,
}

impl Rules {
    /// Reads `Observation=off`, `http://…/StructureDefinition/x=reject`.
    ///
    /// # Errors
    /// Names the rule that cannot be read.
    pub fn parse(rules: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        for rule in rules {
            let bad = || format!("`{rule}` is not of the form WHAT=MODE with reject, warn or off");
            let (what, mode) = rule.rsplit_once('=').ok_or_else(bad)?;
            let mode = match mode.trim() {
                "reject" => Mode::Reject,
                "warn" => Mode::Warn,
                "off" => Mode::Off,
                _ => return Err(bad()),
            };
            let what = what.trim();
            match Definitions::r4().resource_type(what) {
                Some(resource_type) => parsed.types.push((resource_type, mode)),
                None if what.contains(':') => parsed.profiles.push((what.to_owned(), mode)),
                None => return Err(format!("`{what}` is neither a resource type nor a URL")),
            }
        }
        Ok(parsed)
    }

    fn of_type(&self, resource_type: ResourceTypeId) -> Option<Mode> {
        let found = self
            .types
            .iter()
            .rev()
            .find(|(known, _)| *known == resource_type);
        found.map(|(_, mode)| *mode)
    }

    fn of_profile(&self, url: &str) -> Option<Mode> {
        let found = self
            .profiles
            .iter()
            .rev()
            .find(|(known, _)| url.starts_with(known.as_str()));
        found.map(|(_, mode)| *mode)
    }

    /// Profiles that every resource of their type is held to.
    fn demanded(&self, catalogue: &Catalogue, resource_type: ResourceTypeId) -> Vec<String> {
        let demanded = self.profiles.iter().filter(|(_, mode)| *mode != Mode::Off);
        demanded
            .filter(|(url, _)| {
                catalogue
                    .profile(url)
                    .is_some_and(|profile| profile.type_name == resource_type.name())
            })
            .map(|(url, _)| url.clone())
            .collect()
    }
}

/// The faults that refuse a resource whose structure is right. Others are counted in the log.
pub fn refusals(
    server: &Server,
    resource_type: ResourceTypeId,
    resource: ValueRef<'_>,
) -> Vec<Issue> {
    let (rules, config) = (&server.rules, &server.config);
    let own = rules.of_type(resource_type);
    let catalogue = server.definitions.current();
    let now = Some((server.clock)());
    let (mut refused, mut warned) = (Vec::new(), 0_usize);
    let mut judge = |issue: Issue, mode: Mode| match mode {
        _ if issue.severity < Severity::Error => {}
        Mode::Reject => refused.push(issue),
        Mode::Warn => warned += 1,
        Mode::Off => {}
    };
    let mode = own.unwrap_or(config.invariants);
    if mode != Mode::Off {
        for issue in invariants::check(resource, Some(&*catalogue), now) {
            judge(issue, mode);
        }
    }
    let mode = own.unwrap_or(config.profiles);
    let demanded = rules.demanded(&catalogue, resource_type);
    if mode != Mode::Off || !rules.profiles.is_empty() {
        for found in check_claims(&catalogue, resource, &demanded, now) {
            judge(
                found.issue,
                rules.of_profile(&found.profile).unwrap_or(mode),
            );
        }
    }
    if warned > 0 {
        tracing::warn!(
            resource_type = resource_type.name(),
            faults = warned,
            "stored though rules are broken"
        );
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Result<Rules, String> {
        Rules::parse(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    }

    /// Verifies: SRS-185
    #[test]
    fn rules_are_read_and_the_last_one_counts() {
        let rules = rules(&[
            "Observation=off",
            "http://x.example/p=reject",
            "Observation=warn",
        ])
        .unwrap();
        let observation = Definitions::r4().resource_type("Observation").unwrap();
        assert_eq!(rules.of_type(observation), Some(Mode::Warn));
        assert_eq!(rules.of_profile("http://x.example/p"), Some(Mode::Reject));
        assert_eq!(rules.of_profile("http://x.example/q"), None);
    }

    #[test]
    fn wrong_rules_are_refused_by_name() {
        for text in ["Observation", "Observation=maybe", "Nothing=off"] {
            assert!(
                rules(&[text])
                    .unwrap_err()
                    .contains(text.split('=').next().unwrap())
            );
        }
    }
}
