//! Objects and lists of a template over a place.
//!
//! An object in which nothing came from the source, or which lacks what it needs, is left out with all its lineage.
//! Left out on purpose: single values; see [`super::value`].

use fhir_core::json::{Map, Value};

use super::{Run, has};
use crate::language::{
    Converter, Each, Member, Object, Piped, Start, Subject, Template, Term, Test,
};
use crate::output::LineageEntry;
use crate::scope::{Content, Place};

impl<'a> Run<'a> {
    /// An object, or nothing when it lacks a need or nothing in it came from the source.
    pub(super) fn object(&mut self, object: &'a Object, place: &Place<'a>) -> Option<Map> {
        let decided = match &object.when {
            None => &[][..],
            Some(when) => self.holding(when, place)?,
        };
        if let (Some(code), true) = (object.issue, object.members.is_empty()) {
            self.issue(code, Some(place));
            return None;
        }
        let (lineage, hits) = (self.lineage.len(), self.hits);
        let mut members = self.members(object, place);
        if let Some(reference) = object.make.and_then(|index| self.make(index, place)) {
            members.insert("reference", Value::from(reference));
        }
        if let Some(reference) = object
            .refer
            .as_ref()
            .and_then(|to| self.referred(to, place))
        {
            members.insert("reference", Value::from(reference));
            self.hits += 1;
        }
        let empty = members.is_empty() || (object.dynamic && self.hits == hits);
        if empty || object.needs.iter().any(|need| !has(&members, need)) {
            self.lineage.truncate(lineage);
            return None;
        }
        if let Some(code) = object.issue {
            self.issue(code, Some(place));
        }
        self.understood(decided, place);
        Some(members)
    }

    /// A word that a condition asked for has arrived in the choice it made: `-` in a range, `UCUM` in a unit's system.
    pub(super) fn understood(&mut self, decided: &[Term], place: &Place<'a>) {
        for term in decided
            .iter()
            .filter(|t| matches!(t.test, Test::In(_)) && !t.negated)
        {
            let Subject::Path(path) = &term.subject else {
                continue;
            };
            let found = self.scope.one(place, path);
            if let Some(Content::Text(_, leaves)) = found.map(|(at, _)| self.scope.content(&at)) {
                self.lineage.push(LineageEntry {
                    target: self.target.as_str().into(),
                    leaves,
                });
            }
        }
    }

    pub(super) fn members(&mut self, object: &'a Object, place: &Place<'a>) -> Map {
        let mut members = Map::new();
        for member in &object.members {
            match member {
                Member::Element(name, template) => {
                    let mark = self.target.len();
                    self.target.push('.');
                    self.target.push_str(name);
                    if let Some(value) = self.template(template, place) {
                        members.insert(&**name, value);
                    }
                    self.target.truncate(mark);
                }
                Member::First(alternatives) => {
                    let found = alternatives.iter().find_map(|a| self.object(a, place));
                    members = extended(members, found);
                }
                Member::Merge(read) => {
                    let found = match self.read(read, place) {
                        Some(Value::Object(found)) => Some(found),
                        _ => None,
                    };
                    members = extended(members, found);
                }
            }
        }
        members
    }

    pub(super) fn template(&mut self, template: &'a Template, place: &Place<'a>) -> Option<Value> {
        match template {
            Template::Constant(value) => Some(value.clone()),
            Template::Read(read) => self.read(read, place),
            Template::Object(object) => self.object(object, place).map(Value::Object),
            Template::Reference(to) => {
                let reference = self.referred(to, place)?;
                Some(Value::object([("reference", Value::from(reference))]))
            }
            Template::List(items) => {
                let mut values = Vec::new();
                for item in items {
                    self.item(item, place, &mut values);
                }
                if values.is_empty() {
                    None
                } else {
                    Some(Value::Array(values))
                }
            }
        }
    }

    /// Adds what one item of a list gives: a value for each place.
    pub(super) fn item(&mut self, item: &'a Template, place: &Place<'a>, values: &mut Vec<Value>) {
        let mark = self.target.len();
        match item {
            Template::Object(object) if object.each.is_some() => {
                for at in self.each_places(object, place) {
                    if self.clears(&at) {
                        continue;
                    }
                    self.enter(values.len());
                    let value = match &object.reference {
                        Some(reference) => self.template(reference, &at),
                        None => self.object(object, &at).map(Value::Object),
                    };
                    values.extend(value);
                    self.target.truncate(mark);
                }
            }
            Template::Read(read) => {
                for piped in &read.alternatives {
                    let before = values.len();
                    self.piped_each(piped, place, values);
                    if values.len() > before {
                        break;
                    }
                }
            }
            other => {
                self.enter(values.len());
                values.extend(self.template(other, place));
                self.target.truncate(mark);
            }
        }
    }

    pub(super) fn each_places(&self, object: &Object, place: &Place<'a>) -> Vec<Place<'a>> {
        match &object.each {
            Some(Each::Paths(paths)) => paths
                .iter()
                .flat_map(|path| self.scope.many(place, path))
                .collect(),
            Some(Each::Following(id)) => {
                let segments = self.scope.segments_following(place, *id);
                segments
                    .into_iter()
                    .map(|s| self.scope.segment_place(s))
                    .collect()
            }
            Some(Each::Within(id)) => {
                let segments = self.scope.segments_within(place, *id);
                segments
                    .into_iter()
                    .map(|s| self.scope.segment_place(s))
                    .collect()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn piped_each(
        &mut self,
        piped: &'a Piped,
        place: &Place<'a>,
        values: &mut Vec<Value>,
    ) {
        let mark = self.target.len();
        let at_once = piped.converters.first() == Some(&Converter::Lines);
        let Start::Path(path) = &piped.start else {
            self.enter(values.len());
            values.extend(self.piped(piped, place));
            self.target.truncate(mark);
            return;
        };
        if at_once {
            self.enter(values.len());
            values.extend(self.piped(piped, place));
            self.target.truncate(mark);
            return;
        }
        for at in self.scope.many(place, path) {
            if self.clears(&at) {
                continue;
            }
            self.enter(values.len());
            values.extend(self.converted(&piped.converters, &at));
            self.target.truncate(mark);
        }
    }

    pub(super) fn enter(&mut self, index: usize) {
        self.target.push('[');
        self.target.push_str(&index.to_string());
        self.target.push(']');
    }
}

/// Adds members that are not there yet.
fn extended(mut members: Map, more: Option<Map>) -> Map {
    for (name, value) in more.into_iter().flatten() {
        if members.get(&name).is_none() {
            members.insert(name, value);
        }
    }
    members
}
