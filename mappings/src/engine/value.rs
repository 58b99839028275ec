//! One value from one place: reading, converting, joining, expressions, authorities, references.
//!
//! Left out on purpose: what a converter does with a text; see [`crate::convert`].

use std::borrow::Cow;
use std::ops::Range;

use fhir_core::json::Value;

use super::{Run, plain_text};
use crate::convert;
use crate::language::{Condition, Converter, Piped, Read, Start};
use crate::output::{Code, LineageEntry};
use crate::path::{Base, Path};
use crate::scope::{Content, Place};
use crate::uri;

impl<'a> Run<'a> {
    pub(super) fn read(&mut self, read: &'a Read, place: &Place<'a>) -> Option<Value> {
        read.alternatives
            .iter()
            .find_map(|piped| self.piped(piped, place))
    }

    pub(super) fn piped(&mut self, piped: &'a Piped, place: &Place<'a>) -> Option<Value> {
        match &piped.start {
            Start::Literal(text) => Some(Value::from(&**text)),
            Start::Setting(name) => {
                let value = self.setting(name).map(Value::from)?;
                self.chain(&piped.converters, value, place)
            }
            Start::All(path, when) => {
                let text = self.all(path, when.as_ref(), place)?;
                self.chain(&piped.converters, text, place)
            }
            Start::Script(_) => self.script(piped, place),
            Start::Path(path) if piped.converters.first() == Some(&Converter::Lines) => {
                let text = self.lines(path, place)?;
                self.chain(piped.converters.get(1..).unwrap_or_default(), text, place)
            }
            Start::Path(path) => {
                let (at, more) = self.scope.one(place, path)?;
                if self.clears(&at) {
                    return None;
                }
                let value = self.converted(&piped.converters, &at)?;
                if more {
                    self.issue(Code::RepeatsLost, Some(&at));
                }
                Some(value)
            }
        }
    }

    /// Takes note of an HL7 null: the sender wants what is stored here gone.
    pub(super) fn clears(&mut self, place: &Place<'a>) -> bool {
        if !self.scope.is_null(place) {
            return false;
        }
        let path = without_indices(&self.target);
        if !self.cleared.iter().any(|c| **c == *path) {
            self.cleared.push(path.into());
        }
        self.arrived(self.scope.leaves(place));
        true
    }

    /// Applies converters to a place.
    pub(super) fn converted(
        &mut self,
        converters: &'a [Converter],
        place: &Place<'a>,
    ) -> Option<Value> {
        let (first, rest) = match converters.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, &[][..]),
        };
        let content = match first {
            Some(Converter::Type(index)) => {
                let template = self.library.template(index)?;
                return self.object(&template.body, place).map(Value::Object);
            }
            Some(Converter::Authority) => return self.authority(place, 1),
            Some(Converter::EntityAuthority) => return self.authority(place, 2),
            Some(Converter::Join(components)) => {
                return self
                    .join(&components, place)
                    .and_then(|text| self.chain(rest, text, place));
            }
            Some(Converter::Text) => self.scope.whole_text(place),
            _ => self.scope.content(place),
        };
        let Content::Text(text, leaves) = content else {
            return None;
        };
        let converters = if first == Some(Converter::Text) {
            rest
        } else {
            converters
        };
        let value = self.chain(converters, Value::from(&*text), place)?;
        self.arrived(leaves);
        Some(value)
    }

    /// Applies converters one after the other; a failure is an issue and no value.
    pub(super) fn chain(
        &mut self,
        converters: &[Converter],
        start: Value,
        place: &Place<'a>,
    ) -> Option<Value> {
        let mut value = start;
        for converter in converters {
            let text = plain_text(&value)?;
            match convert::convert(*converter, &text, &self.tools) {
                Ok((converted, note)) => {
                    if let Some(code) = note {
                        self.issue(code, Some(place));
                    }
                    value = converted;
                }
                Err(code) => {
                    self.issue(code, Some(place));
                    return None;
                }
            }
        }
        Some(value)
    }

    /// All repetitions as lines of one text.
    pub(super) fn lines(&mut self, path: &Path, place: &Place<'a>) -> Option<Value> {
        let mut text = String::new();
        let mut leaves: Option<Range<u32>> = None;
        let mut previous = 0;
        for at in self.scope.many(place, path) {
            if self.clears(&at) {
                continue;
            }
            if let Content::Text(line, range) = self.scope.whole_text(&at) {
                let repetition = if let Place::Hl7(at) = &at {
                    at.at.repetition
                } else {
                    previous + 1
                };
                // A repetition left empty is a blank line of the text.
                for _ in previous.max(1)..repetition {
                    text.push('\n');
                }
                previous = repetition;
                text.push_str(&line);
                leaves = Some(leaves.map_or(range.start, |l| l.start)..range.end);
            }
        }
        self.arrived(leaves?);
        Some(Value::from(text))
    }

    /// The field of all segments in our group, each a line or more of one text.
    fn all(
        &mut self,
        path: &Path,
        when: Option<&'a Condition>,
        place: &Place<'a>,
    ) -> Option<Value> {
        let Path::Hl7(hl7) = path else { return None };
        let Base::Segment(id) = hl7.base else {
            return None;
        };
        let mut text = String::new();
        for segment in self.scope.segments_within(place, id) {
            let at = self.scope.segment_place(segment);
            if when.is_some_and(|when| !self.holds(when, &at)) {
                continue;
            }
            let line = self.lines(path, &at);
            if !text.is_empty() {
                text.push('\n');
            }
            // An empty segment is a blank line of the text.
            if let Some(Value::String(line)) = line {
                text.push_str(&line);
            }
        }
        (!text.trim().is_empty()).then(|| Value::from(text))
    }

    pub(super) fn script(&mut self, piped: &'a Piped, place: &Place<'a>) -> Option<Value> {
        let Start::Script(script) = &piped.start else {
            return None;
        };
        let (result, leaves) = self.evaluate(script, place);
        let value = match result {
            Ok(value) => value?,
            Err(code) => {
                self.issue(code, Some(place));
                return None;
            }
        };
        let value = self.chain(&piped.converters, value, place)?;
        leaves.into_iter().for_each(|range| self.arrived(range));
        Some(value)
    }

    /// Evaluates an expression and tells which leaves it was given.
    pub(super) fn evaluate(
        &self,
        script: &crate::script::Script,
        place: &Place<'a>,
    ) -> (Result<Option<Value>, Code>, Vec<Range<u32>>) {
        if let Place::Json(value) = place {
            let named = script
                .paths
                .iter()
                .filter_map(|(_, path)| self.scope.one(place, path));
            let leaves = named.map(|(at, _)| self.scope.leaves(&at)).collect();
            return (script.run_on_json(*value), leaves);
        }
        let mut leaves = Vec::new();
        let mut texts: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for (name, path) in &script.paths {
            let found = self.scope.one(place, path);
            if let Some(Content::Text(text, range)) = found.map(|(at, _)| self.scope.content(&at)) {
                texts.push((name, text));
                leaves.push(range);
            }
        }
        (
            script.run_on_texts(texts.iter().map(|(name, text)| (*name, &**text))),
            leaves,
        )
    }

    /// The URI of an HD, whose three parts start at component `first`.
    pub(super) fn authority(&mut self, place: &Place<'a>, first: u16) -> Option<Value> {
        let parts = [first, first + 1, first + 2].map(|n| self.part(n, place));
        let text = |n: usize| {
            parts
                .get(n)
                .and_then(|p| p.as_ref())
                .map(|(text, _)| text.trim())
        };
        let hd = uri::Hd {
            namespace: text(0),
            universal: text(1),
            kind: text(2),
        };
        let (uri, note) = uri::authority(&hd, self.tools.context)?;
        if let Some(code) = note {
            self.issue(code, Some(place));
        }
        let leaves: Vec<Range<u32>> = parts
            .iter()
            .flatten()
            .map(|(_, leaves)| leaves.clone())
            .collect();
        for range in leaves {
            self.arrived(range);
        }
        Some(Value::from(uri))
    }

    /// Components of a place as one text.
    pub(super) fn join(&mut self, components: &[u16], place: &Place<'a>) -> Option<Value> {
        let mut joined = String::new();
        for n in components.iter().filter(|n| **n > 0) {
            let Some((text, leaves)) = self.part(*n, place) else {
                continue;
            };
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(&text);
            self.arrived(leaves);
        }
        (!joined.is_empty()).then(|| Value::from(joined))
    }

    /// What stands in component `n` of a place.
    pub(super) fn part(&self, n: u16, place: &Place<'a>) -> Option<(Cow<'a, str>, Range<u32>)> {
        let base = Base::Value("".into());
        let path = crate::path::Hl7Path {
            base,
            field: 0,
            repetition: 0,
            component: n,
            subcomponent: 0,
        };
        let (at, _) = self.scope.one(place, &Path::Hl7(path))?;
        if let Content::Text(text, leaves) = self.scope.content(&at) {
            Some((text, leaves))
        } else {
            None
        }
    }

    /// Notes that leaves have arrived at the current element.
    pub(super) fn arrived(&mut self, leaves: Range<u32>) {
        self.hits += 1;
        self.lineage.push(LineageEntry {
            target: self.target.as_str().into(),
            leaves,
        });
    }
}

/// `Patient.name[0].given[1]` as `Patient.name.given`.
fn without_indices(path: &str) -> String {
    let mut depth = 0_usize;
    path.chars()
        .filter(|c| {
            depth += usize::from(*c == '[');
            let keep = depth == 0;
            depth -= usize::from(*c == ']' && depth > 0);
            keep
        })
        .collect()
}
