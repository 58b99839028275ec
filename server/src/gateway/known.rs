//! Which record an identity of a message means: merged, renamed and second identifiers lead to another.
//!
//! An identity is (authority, type, value), which mappings turn into an id; ids that lead elsewhere are kept as aliases.

use std::collections::HashMap;

use adapters::Intake;
use conformance::Definitions;
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{Alias, AliasKind, KnownIdentities};
use mappings::Identity;

/// Deepest value looked through for references; FHIR resources are not deeper.
const DEPTH_MAX: usize = 64;

/// What is known of the identities of one message, and what the message adds.
#[derive(Default)]
pub struct Known {
    aliases: HashMap<ResourceKey, Alias>,
    /// Whose things are that were moved.
    pub owners: HashMap<ResourceKey, (ResourceKey, Option<String>)>,
    /// Aliases this message adds.
    pub added: Vec<Alias>,
}

impl Known {
    /// From the store's answer.
    pub fn new(identities: &KnownIdentities) -> Self {
        let aliases = identities.aliases.iter();
        let owners = identities.owners.iter().map(|owner| {
            let to = (owner.owner.clone(), owner.revision.clone());
            (owner.what.clone(), to)
        });
        Self {
            aliases: aliases
                .map(|alias| (alias.from.clone(), alias.clone()))
                .collect(),
            owners: owners.collect(),
            added: Vec::new(),
        }
    }

    /// The alias of an identity.
    pub fn alias(&self, key: &ResourceKey) -> Option<&Alias> {
        self.aliases.get(key)
    }

    /// Adds an alias; it counts from here on.
    pub fn add(&mut self, alias: Alias) {
        for other in self.aliases.values_mut() {
            if other.into == alias.from {
                other.into = alias.into.clone();
            }
        }
        self.aliases.insert(alias.from.clone(), alias.clone());
        self.added.retain(|known| known.from != alias.from);
        self.added.push(alias);
    }

    /// Lets an identity lead to a record for this message only.
    pub fn choose(&mut self, from: &ResourceKey, into: &ResourceKey) {
        let alias = Alias {
            from: from.clone(),
            into: into.clone(),
            kind: AliasKind::Identifier,
            revision: None,
            pending: false,
        };
        self.aliases.insert(from.clone(), alias);
    }

    /// The record that holds the content of an identity: a merged record keeps its own.
    pub fn record(&self, key: &ResourceKey) -> ResourceKey {
        match self.aliases.get(key) {
            Some(alias) if alias.kind == AliasKind::Identifier => alias.into.clone(),
            _ => key.clone(),
        }
    }

    /// The record that is meant when others refer to an identity: the survivor.
    pub fn meant(&self, key: &ResourceKey) -> ResourceKey {
        let mut at = key;
        // One step is enough for what is stored; what this message adds may make it a few more.
        for _ in 0..=self.added.len() + 1 {
            match self.aliases.get(at) {
                Some(alias) => at = &alias.into,
                None => break,
            }
        }
        at.clone()
    }

    /// Whether a record was merged into another or renamed.
    pub fn is_lost(&self, key: &ResourceKey) -> bool {
        self.aliases
            .get(key)
            .is_some_and(|alias| alias.kind != AliasKind::Identifier)
    }

    /// Lets every reference in a resource lead to the record that is meant.
    pub fn rewrite(&self, value: &mut Value) {
        if self.aliases.is_empty() {
            return;
        }
        references(value, 0, &mut |text| {
            let key = ResourceKey::parse(text)?;
            let meant = self.meant(&key);
            (meant != key).then(|| meant.to_string())
        });
    }
}

/// Replaces one reference by another wherever it stands.
pub fn repoint(value: &mut Value, from: &ResourceKey, into: &ResourceKey) {
    let from = from.to_string();
    references(value, 0, &mut |text| {
        (text == from).then(|| into.to_string())
    });
}

/// Every literal reference of a resource; the new text where there is one.
fn references(value: &mut Value, depth: usize, change: &mut impl FnMut(&str) -> Option<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, member) in map.iter_mut() {
                match member {
                    Value::String(text) if name == "reference" => {
                        if let Some(new) = change(text) {
                            *text = new;
                        }
                    }
                    other => references(other, depth + 1, change),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                references(item, depth + 1, change);
            }
        }
        _ => {}
    }
}

/// Every literal reference of a resource, to look at.
fn each_reference(value: &Value, depth: usize, look: &mut impl FnMut(&str)) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, member) in map.iter() {
                match member {
                    Value::String(text) if name == "reference" => look(text),
                    other => each_reference(other, depth + 1, look),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                each_reference(item, depth + 1, look);
            }
        }
        _ => {}
    }
}

/// The key of an identity.
///
/// # Errors
/// `invalid-resource` when the mapping named no R4 type or no id
pub fn key(identity: &Identity) -> Result<ResourceKey, Problem> {
    let resource_type = Definitions::r4().resource_type(&identity.resource_type);
    match (resource_type, ResourceId::parse(&identity.id)) {
        (Some(resource_type), Some(id)) => Ok(ResourceKey { resource_type, id }),
        _ => Err(Problem::new(
            ErrorKind::INVALID_RESOURCE,
            "the mapping named no R4 type or no id",
        )),
    }
}

/// Every identity a message names or refers to.
///
/// # Errors
/// See [`key`].
pub fn identities(intake: &Intake) -> Result<Vec<ResourceKey>, Problem> {
    let mut keys = Vec::new();
    for produced in &intake.resources {
        keys.push(key(&produced.identity)?);
        for alias in &produced.aliases {
            keys.push(key(alias)?);
        }
        each_reference(&produced.value, 0, &mut |text| {
            keys.extend(ResourceKey::parse(text));
        });
    }
    for action in &intake.actions {
        let parties = [&action.what, &action.from].into_iter().flatten();
        for identity in parties.chain([&action.into]).chain(&action.from_aliases) {
            keys.push(key(identity)?);
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(id: &str) -> ResourceKey {
        ResourceKey::parse(&format!("Patient/{id}")).unwrap()
    }

    fn alias(from: &str, into: &str, kind: AliasKind) -> Alias {
        Alias {
            from: patient(from),
            into: patient(into),
            kind,
            revision: None,
            pending: false,
        }
    }

    /// Verifies: SRS-141, RC-141
    #[test]
    fn references_lead_to_the_survivor_of_a_chain() {
        let mut known = Known::default();
        known.add(alias("a", "b", AliasKind::Merged));
        known.add(alias("b", "c", AliasKind::Merged));
        known.add(alias("n", "a", AliasKind::Identifier));
        assert_eq!(known.meant(&patient("a")), patient("c"));
        assert_eq!(known.meant(&patient("n")), patient("c"));
        assert_eq!(known.record(&patient("a")), patient("a"));
        assert_eq!(known.record(&patient("n")), patient("a"));
        let text = r#"{"subject":{"reference":"Patient/a"},"member":[{"x":{"reference":"Patient/z"}},{"reference":"Patient/b"}],"note":[{"text":"Patient/a"}]}"#;
        let mut value = Value::parse(text.as_bytes()).unwrap();
        known.rewrite(&mut value);
        assert_eq!(
            String::from_utf8(value.to_bytes()).unwrap(),
            r#"{"subject":{"reference":"Patient/c"},"member":[{"x":{"reference":"Patient/z"}},{"reference":"Patient/c"}],"note":[{"text":"Patient/a"}]}"#
        );
    }
}
