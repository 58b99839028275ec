//! Value sets: all codes, and whether one code is among them.
//!
//! Spec: <https://hl7.org/fhir/R4/valueset.html#compositions>. Left out: `compose.inactive`, designations.

use std::collections::HashSet;

use crate::datatype::ucum;
use crate::json::ValueRef;

use super::code_system::text_of;
use super::filter::passing;
use super::{Catalogue, Coded, EXPANSION_CODES_MAX, Kind, TerminologyError};

/// Code system of units, whose codes are a grammar and not a list.
const UCUM: &str = "http://unitsofmeasure.org";

/// All codes of a value set, in the order of its composition, each once.
#[derive(Debug, Default)]
pub struct Expansion {
    /// The codes.
    pub codes: Vec<Coded>,
    known: HashSet<(String, String)>,
}

impl Expansion {
    /// Whether a code is among them.
    pub fn contains(&self, system: Option<&str>, code: &str) -> bool {
        match system {
            Some(system) => self.known.contains(&(system.to_owned(), code.to_owned())),
            None => self.codes.iter().any(|known| known.code == code),
        }
    }

    fn add(&mut self, coded: Coded) -> Result<(), TerminologyError> {
        if self
            .known
            .insert((coded.system.clone(), coded.code.clone()))
        {
            if self.codes.len() >= EXPANSION_CODES_MAX {
                return Err(TerminologyError::TooManyCodes);
            }
            self.codes.push(coded);
        }
        Ok(())
    }
}

fn parts<'a>(root: ValueRef<'a>, name: &str) -> Vec<ValueRef<'a>> {
    let compose = root.get("compose").and_then(|compose| compose.get(name));
    compose.into_iter().flat_map(ValueRef::items).collect()
}

/// Computes the expansion of a value set.
pub(super) fn expand(
    catalogue: &Catalogue,
    root: ValueRef<'_>,
    depth: usize,
) -> Result<Expansion, TerminologyError> {
    let mut expansion = Expansion::default();
    if root.get("compose").is_none() {
        stored(root, &mut expansion)?;
        return Ok(expansion);
    }
    let mut excluded = HashSet::new();
    for part in parts(root, "exclude") {
        for coded in include(catalogue, part, depth)? {
            excluded.insert((coded.system, coded.code));
        }
    }
    for part in parts(root, "include") {
        for coded in include(catalogue, part, depth)? {
            if !excluded.contains(&(coded.system.clone(), coded.code.clone())) {
                expansion.add(coded)?;
            }
        }
    }
    Ok(expansion)
}

/// A value set without a composition may come expanded.
fn stored(root: ValueRef<'_>, expansion: &mut Expansion) -> Result<(), TerminologyError> {
    let top = root.get("expansion").and_then(|e| e.get("contains"));
    let mut open: Vec<ValueRef<'_>> = top.into_iter().flat_map(ValueRef::items).collect();
    open.reverse();
    while let Some(entry) = open.pop() {
        let below: Vec<ValueRef<'_>> = entry
            .get("contains")
            .into_iter()
            .flat_map(ValueRef::items)
            .collect();
        open.extend(below.into_iter().rev());
        let is_abstract = entry.get("abstract").and_then(ValueRef::as_bool) == Some(true);
        if let (Some(system), Some(code), false) = (
            text_of(entry, "system"),
            text_of(entry, "code"),
            is_abstract,
        ) {
            let display = text_of(entry, "display");
            expansion.add(Coded {
                system,
                code,
                display,
            })?;
        }
    }
    Ok(())
}

/// The codes of one `include` or `exclude`: "the intersection of the listed concepts and the value sets".
fn include(
    catalogue: &Catalogue,
    part: ValueRef<'_>,
    depth: usize,
) -> Result<Vec<Coded>, TerminologyError> {
    let sets: Vec<_> = part
        .get("valueSet")
        .into_iter()
        .flat_map(ValueRef::items)
        .collect();
    let mut imported = Vec::new();
    for set in sets {
        let url = set.as_str().unwrap_or_default();
        imported.push(catalogue.expansion_at(&url, depth + 1)?);
    }
    let in_all = |coded: &Coded| {
        imported
            .iter()
            .all(|e| e.contains(Some(&coded.system), &coded.code))
    };
    let Some(system) = text_of(part, "system") else {
        let first = imported
            .first()
            .map(|e| e.codes.clone())
            .unwrap_or_default();
        return Ok(first.into_iter().filter(in_all).collect());
    };
    let found = of_system(catalogue, part, &system)?;
    Ok(found.into_iter().filter(in_all).collect())
}

fn of_system(
    catalogue: &Catalogue,
    part: ValueRef<'_>,
    system: &str,
) -> Result<Vec<Coded>, TerminologyError> {
    let known = catalogue.code_system(system);
    let coded = |code: String, display: Option<String>| Coded {
        system: system.to_owned(),
        code,
        display,
    };
    if let Some(concepts) = part.get("concept") {
        let listed = concepts.items().filter_map(|concept| {
            let code = text_of(concept, "code")?;
            let display = text_of(concept, "display")
                .or_else(|| known.as_ref()?.concept(&code)?.display.clone());
            Some(coded(code, display))
        });
        return Ok(listed.collect());
    }
    let known = catalogue.complete_system(system)?;
    let mut passes = vec![true; known.concepts.len()];
    for filter in part.get("filter").into_iter().flat_map(ValueRef::items) {
        for (kept, passed) in passes.iter_mut().zip(passing(&known, filter)?) {
            *kept &= passed;
        }
    }
    let kept = known
        .concepts
        .iter()
        .zip(passes)
        .filter(|(_, passes)| *passes);
    Ok(kept
        .map(|(c, _)| coded(c.code.clone(), c.display.clone()))
        .collect())
}

impl Catalogue {
    /// Whether a code is in a value set, without computing all of it; `None` when what is loaded does not tell.
    /// Without a system any system's code counts, as an element of type `code` needs it.
    pub fn is_member(&self, value_set: &str, system: Option<&str>, code: &str) -> Option<bool> {
        self.is_member_at(value_set, system, code, 0)
    }

    fn is_member_at(
        &self,
        value_set: &str,
        system: Option<&str>,
        code: &str,
        depth: usize,
    ) -> Option<bool> {
        if depth > super::VALUE_SET_DEPTH_MAX {
            return None;
        }
        let document = self.document(Kind::ValueSet, value_set)?;
        self.is_member_of_at(document.root(), system, code, depth)
    }

    /// The same of a value set that need not be known by a URL.
    pub fn is_member_of(
        &self,
        root: ValueRef<'_>,
        system: Option<&str>,
        code: &str,
    ) -> Option<bool> {
        self.is_member_of_at(root, system, code, 0)
    }

    fn is_member_of_at(
        &self,
        root: ValueRef<'_>,
        system: Option<&str>,
        code: &str,
        depth: usize,
    ) -> Option<bool> {
        if root.get("compose").is_none() {
            root.get("expansion")?;
            return Some(expand(self, root, depth).ok()?.contains(system, code));
        }
        let any = |parts: Vec<ValueRef<'_>>| {
            let mut is_open = false;
            for part in parts {
                match self.is_included(part, system, code, depth) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => is_open = true,
                }
            }
            (!is_open).then_some(false)
        };
        match (any(parts(root, "include")), any(parts(root, "exclude"))) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }

    fn is_included(
        &self,
        part: ValueRef<'_>,
        system: Option<&str>,
        code: &str,
        depth: usize,
    ) -> Option<bool> {
        let own = text_of(part, "system");
        if let (Some(asked), Some(own)) = (system, own.as_deref())
            && asked != own
        {
            return Some(false);
        }
        let mut is_open = false;
        for set in part.get("valueSet").into_iter().flat_map(ValueRef::items) {
            let url = set.as_str().unwrap_or_default();
            match self.is_member_at(&url, system, code, depth + 1) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => is_open = true,
            }
        }
        let in_system = match own.as_deref() {
            None => Some(true),
            Some(own) => self.is_of_system(part, own, code),
        };
        match in_system {
            Some(false) => Some(false),
            Some(true) if !is_open => Some(true),
            _ => None,
        }
    }

    fn is_of_system(&self, part: ValueRef<'_>, system: &str, code: &str) -> Option<bool> {
        if let Some(concepts) = part.get("concept") {
            let is_it = |concept: ValueRef<'_>| text_of(concept, "code").is_some_and(|c| c == code);
            return Some(concepts.items().any(is_it));
        }
        if system == UCUM && part.get("filter").is_none() {
            return Some(ucum::is_unit(code));
        }
        let known = self.code_system(system)?;
        let Some(index) = known.index_of(code) else {
            return known.is_complete.then_some(false);
        };
        for filter in part.get("filter").into_iter().flat_map(ValueRef::items) {
            if !*passing(&known, filter).ok()?.get(index)? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The display of a code, where it is known.
    pub fn display(&self, system: &str, code: &str) -> Option<String> {
        self.code_system(system)?.concept(code)?.display.clone()
    }
}
