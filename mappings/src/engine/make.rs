//! References: to what rules made, and to what is made on the way because a field names it.
//!
//! Left out on purpose: references to what only the store knows. Ids follow from identifiers, so both sides meet.

use fhir_core::json::{Map, Value};

use super::{Run, has};
use crate::language::{ReferenceScope, ReferenceTo, RuleEach};
use crate::output::{Produced, Write};
use crate::scope::Place;

impl<'a> Run<'a> {
    /// The reference to what a rule made, as seen from a place.
    pub(super) fn referred(&self, to: &ReferenceTo, place: &Place<'a>) -> Option<String> {
        let Place::Hl7(here) = place else {
            return self.last_of(&to.rule).map(|p| p.identity.reference());
        };
        let found = match &to.scope {
            ReferenceScope::Nearest => self.nearest(&to.rule, here.segment),
            ReferenceScope::Own => self.made_from(&to.rule, here.segment),
            ReferenceScope::OnlyOf(groups) => {
                let around = |name| self.scope.group_around(here.segment, name);
                let range = groups.iter().find_map(|name| around(name))?;
                let made = self.made.get(&*to.rule)?;
                let start = made.partition_point(|m| m.segment < range.start);
                let mut inside = made
                    .iter()
                    .skip(start)
                    .take_while(|m| m.segment < range.end)
                    .filter_map(|m| self.at(m.slot));
                let first = inside.next()?;
                // Several of them: which one is meant is not said.
                inside
                    .all(|other| other.identity == first.identity)
                    .then_some(first)
            }
        };
        found.map(|produced| produced.identity.reference())
    }

    /// What a rule made from the segment of its kind that a path would mean here.
    pub(super) fn nearest(&self, rule: &str, here: u32) -> Option<&Produced> {
        let segment = match self.rules.iter().find(|r| &*r.name == rule)?.each {
            RuleEach::Segment(id) => self.scope.nearest_segment(here, id)?,
            RuleEach::Path(_) | RuleEach::Source => 0,
        };
        self.made_from(rule, segment)
    }

    fn made_from(&self, rule: &str, segment: u32) -> Option<&Produced> {
        self.made_at
            .get(&(rule, segment))
            .and_then(|slot| self.at(*slot))
    }

    fn last_of(&self, rule: &str) -> Option<&Produced> {
        let made = self.made.get(rule)?.last()?;
        self.at(made.slot)
    }

    /// Makes a resource from a place, once for each identity, and gives the reference to it.
    ///
    /// Nothing when the place does not say which one it is: a name alone names nobody.
    pub(super) fn make(&mut self, index: usize, place: &Place<'a>) -> Option<String> {
        let template = self.library.template(index)?;
        let (identity, aliases) = self.identity(&template.target, &template.identity, place)?;
        let target = std::mem::replace(&mut self.target, template.target.to_string());
        let outer = std::mem::take(&mut self.lineage);
        let cleared = std::mem::take(&mut self.cleared);
        let members = self.members(&template.body, place);
        let lineage = std::mem::replace(&mut self.lineage, outer);
        self.cleared = cleared;
        self.target = target;
        if template.body.needs.iter().any(|need| !has(&members, need)) {
            return None;
        }
        let reference = identity.reference();
        let key = (&*template.name, identity.id.to_string());
        if let Some(slot) = self.ids.get(&key).copied() {
            let known = self.produced.get_mut(slot)?;
            complete(known, members, lineage);
            return Some(reference);
        }
        let mut resource = Map::new();
        resource.insert("resourceType", Value::from(&*template.target));
        resource.insert("id", Value::from(&*identity.id));
        for (name, value) in members {
            resource.insert(name, value);
        }
        self.ids.insert(key, self.produced.len());
        let revision = self.revision(&[], place);
        self.produced.push(Produced {
            value: Value::Object(resource),
            identity,
            write: Write::Create,
            rule: template.name.clone(),
            lineage,
            cleared: Vec::new(),
            initial: Vec::new(),
            shared: true,
            lists: Vec::new(),
            revision,
            aliases,
        });
        Some(reference)
    }
}

/// A second mention adds what the first left out; what both say must agree to count as arrived.
fn complete(known: &mut Produced, members: Map, lineage: Vec<crate::output::LineageEntry>) {
    let Some(resource) = known.value.as_object_mut() else {
        return;
    };
    let mut arrived: Vec<String> = Vec::new();
    for (name, value) in members {
        match resource.get(&name) {
            None => {
                resource.insert(name.clone(), value);
                arrived.push(name);
            }
            Some(same) if *same == value => arrived.push(name),
            Some(_) => {}
        }
    }
    let element = |target: &str| {
        let rest = target.split_once('.').map_or("", |(_, rest)| rest);
        rest.split(['.', '[']).next().unwrap_or_default().to_owned()
    };
    let lineage = lineage.into_iter();
    known
        .lineage
        .extend(lineage.filter(|entry| arrived.contains(&element(&entry.target))));
}
