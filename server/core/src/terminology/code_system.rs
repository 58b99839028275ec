//! A code system: its codes and which stands above which.
//!
//! Spec: <https://hl7.org/fhir/R4/codesystem.html>. Left out: designations; supplements.

use std::collections::{HashMap, HashSet};

use crate::json::ValueRef;

/// A code system.
#[derive(Debug, Default)]
pub struct CodeSystem {
    /// Its canonical URL.
    pub url: String,
    /// Its business version.
    pub version: Option<String>,
    /// Its name for people: the title, else the name.
    pub name: Option<String>,
    /// Whether `A` and `a` differ. Assumed where nothing is said.
    pub is_case_sensitive: bool,
    /// Whether every code is here.
    pub is_complete: bool,
    /// Its codes in the order of the definition.
    pub concepts: Vec<Concept>,
    by_code: HashMap<String, usize>,
}

/// A code with what is said of it.
#[derive(Debug)]
pub struct Concept {
    /// The code.
    pub code: String,
    /// Its display.
    pub display: Option<String>,
    /// Its definition.
    pub definition: Option<String>,
    /// Values of its properties, by the property's code.
    pub properties: Vec<(String, String)>,
    /// Codes directly above it.
    parents: Vec<String>,
}

impl CodeSystem {
    /// A code system from its resource.
    pub fn of(root: ValueRef<'_>) -> Self {
        let text = |name| text_of(root, name);
        let mut system = Self {
            url: text("url").unwrap_or_default(),
            version: text("version"),
            name: text("title").or_else(|| text("name")),
            is_case_sensitive: root.get("caseSensitive").and_then(ValueRef::as_bool) != Some(false),
            is_complete: text("content").is_none_or(|content| content == "complete"),
            ..Self::default()
        };
        // "part-of": codes below are parts, not kinds.
        let is_part_of = text("hierarchyMeaning").is_some_and(|m| m == "part-of");
        let mut open: Vec<(ValueRef<'_>, Option<String>)> = Vec::new();
        open.extend(concepts(root).into_iter().rev().map(|c| (c, None)));
        while let Some((concept, parent)) = open.pop() {
            let code = text_of(concept, "code").unwrap_or_default();
            let below = concepts(concept).into_iter().rev();
            let own = (!is_part_of).then(|| code.clone());
            open.extend(below.map(|c| (c, own.clone())));
            system.add(concept, code, parent);
        }
        system
    }

    fn add(&mut self, concept: ValueRef<'_>, code: String, parent: Option<String>) {
        let properties: Vec<(String, String)> = concept
            .get("property")
            .into_iter()
            .flat_map(ValueRef::items)
            .filter_map(property)
            .collect();
        let mut parents: Vec<String> = parent.into_iter().collect();
        for (name, value) in &properties {
            if matches!(name.as_str(), "parent" | "subsumedBy") && !parents.contains(value) {
                parents.push(value.clone());
            }
        }
        let key = self.key(&code);
        self.by_code.entry(key).or_insert(self.concepts.len());
        self.concepts.push(Concept {
            display: text_of(concept, "display"),
            definition: text_of(concept, "definition"),
            properties,
            parents,
            code,
        });
    }

    fn key(&self, code: &str) -> String {
        if self.is_case_sensitive {
            code.to_owned()
        } else {
            code.to_lowercase()
        }
    }

    /// Where a code stands in `concepts`.
    pub fn index_of(&self, code: &str) -> Option<usize> {
        self.by_code.get(&self.key(code)).copied()
    }

    /// What is said of a code.
    pub fn concept(&self, code: &str) -> Option<&Concept> {
        self.concepts.get(self.index_of(code)?)
    }

    pub(super) fn code_at(&self, index: usize) -> String {
        self.concepts
            .get(index)
            .map_or_else(String::new, |c| c.code.clone())
    }

    /// The code and everything above it.
    pub(super) fn above(&self, index: usize) -> Vec<usize> {
        let (mut found, mut at) = (vec![index], 0);
        let mut seen = HashSet::from([index]);
        while let Some(concept) = found.get(at).and_then(|i| self.concepts.get(*i)) {
            at += 1;
            for parent in concept
                .parents
                .iter()
                .filter_map(|code| self.index_of(code))
            {
                if seen.insert(parent) {
                    found.push(parent);
                }
            }
        }
        found
    }

    /// The code and everything below it, in the order of the definition.
    pub(super) fn below(&self, index: usize) -> Vec<usize> {
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, concept) in self.concepts.iter().enumerate() {
            for parent in concept
                .parents
                .iter()
                .filter_map(|code| self.index_of(code))
            {
                children.entry(parent).or_default().push(at);
            }
        }
        let (mut seen, mut open) = (HashSet::from([index]), vec![index]);
        while let Some(at) = open.pop() {
            for child in children.get(&at).into_iter().flatten() {
                if seen.insert(*child) {
                    open.push(*child);
                }
            }
        }
        let mut found: Vec<usize> = seen.into_iter().collect();
        found.sort_unstable();
        found
    }

    /// Whether the first code is the second or above it; `None` when a code is not known.
    pub fn subsumes(&self, general: &str, special: &str) -> Option<bool> {
        let (general, special) = (self.index_of(general)?, self.index_of(special)?);
        Some(self.above(special).contains(&general))
    }

    /// Codes directly below a code.
    pub fn children(&self, code: &str) -> Vec<String> {
        let below = self
            .concepts
            .iter()
            .filter(|c| c.parents.iter().any(|parent| parent == code));
        below.map(|c| c.code.clone()).collect()
    }

    /// Codes directly above a code.
    pub fn parents(&self, code: &str) -> &[String] {
        self.concept(code).map_or(&[], |c| &c.parents)
    }
}

pub(super) fn text_of(value: ValueRef<'_>, name: &str) -> Option<String> {
    value
        .get(name)
        .and_then(ValueRef::as_str)
        .map(|text| text.into_owned())
}

fn concepts(of: ValueRef<'_>) -> Vec<ValueRef<'_>> {
    of.get("concept")
        .into_iter()
        .flat_map(ValueRef::items)
        .collect()
}

fn property(property: ValueRef<'_>) -> Option<(String, String)> {
    let code = text_of(property, "code")?;
    let value = property
        .members()
        .find(|(name, _)| name.starts_with("value"))?
        .1;
    let text = match value.primitive_text() {
        Some(text) => text.into_owned(),
        None => text_of(value, "code")?,
    };
    Some((code, text))
}
