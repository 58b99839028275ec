//! Runs a mapping: rules over places, templates over values, with lineage and issues as they arise.
//!
//! A run is total: it ends for every source, reports what it could not place, and refuses only when it could not say
//! whose a record is, or when a required element has no source.
//!
//! Left out on purpose: merging with what is stored.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use fhir_core::json::{Map, Value};

use crate::context::Context;
use crate::convert::{self, Tools};
use crate::decimal;
use crate::error::MapError;
use crate::identity::{Identity, derive_id};
use crate::language::{
    Body, Condition, Converter, Each, KeyPart, Member, MessageMapping, Need, Object, Piped, Read,
    Repeated, Rule, RuleEach, Start, Template, Term, Test, TypeTemplate, Way,
};
use crate::library::Catalog;
use crate::output::{Code, Ledger, LineageEntry, MapIssue, Output, Produced, Write};
use crate::path::{Base, Notation, Path};
use crate::scope::{Content, Place, Scope};
use crate::source::{Position, SegmentId, SourceTree};
use crate::time::{self, Clock};
use crate::{unit, uri};

/// Most resources one source may make. A batch of 10,000 results is a large message already.
pub const RESOURCES_MAX: usize = 50_000;
/// Most issues kept for one source; a fault in every field of a large message would bury the first ones.
pub const ISSUES_MAX: usize = 1_000;

/// Most units remembered during a run; results use a few dozen.
const UNITS_KEPT_MAX: usize = 64;

/// Runs a mapping on a source.
pub(crate) fn run(
    library: &Catalog,
    mapping: &MessageMapping,
    source: &SourceTree,
    context: &Context,
) -> Result<Output, MapError> {
    let fits = matches!(
        (mapping.input, source),
        (Notation::Hl7v2, SourceTree::Hl7v2(_)) | (Notation::Json, SourceTree::Json(_))
    );
    if !fits {
        return Err(MapError::WrongInput {
            mapping: mapping.id.to_string(),
        });
    }
    let mut run = Run::new(library, source, context);
    for rule in &mapping.rules {
        run.rule(rule)?;
    }
    let used = run.ledger(mapping);
    Ok(Output {
        resources: run.produced,
        issues: run.issues,
        used,
    })
}

/// Runs one template on one place, for the tests that templates carry.
pub(crate) fn run_template(
    library: &Catalog,
    template: &TypeTemplate,
    source: &SourceTree,
    place: &Place<'_>,
    context: &Context,
) -> (Option<Value>, Vec<MapIssue>) {
    let mut run = Run::new(library, source, context);
    run.target.push_str(&template.target);
    let place = match (place, source) {
        (Place::Hl7(place), _) => Place::Hl7(place.clone()),
        (Place::Json(_), SourceTree::Json(document)) => Place::Json(document.root()),
        (Place::Json(_), SourceTree::Hl7v2(_)) => return (None, Vec::new()),
    };
    let value = run.object(&template.body, &place).map(Value::Object);
    (value, run.issues)
}

struct Run<'a> {
    library: &'a Catalog,
    scope: Scope<'a>,
    tools: Tools<'a>,
    rule_name: &'a str,
    /// Where in the resource we are: `Patient.name[0].family`.
    target: String,
    lineage: Vec<LineageEntry>,
    cleared: Vec<Box<str>>,
    issues: Vec<MapIssue>,
    produced: Vec<Produced>,
    /// For references: which resource each rule made from which segment.
    made: Vec<Made<'a>>,
    /// Index of the resource by rule and id.
    ids: HashMap<(&'a str, String), usize>,
    /// How many values the source has given so far.
    hits: usize,
    /// What was told already: one fault of one place is one issue, however many elements it touches.
    told: HashSet<(Code, Option<Position>)>,
    units: RefCell<Vec<KnownUnit>>,
    /// True while a key is tried out: what is odd there is told by the element that holds it.
    quiet: bool,
}

/// A unit, whether it is UCUM and whether that is beyond doubt.
type KnownUnit = (Box<str>, (bool, bool));

struct Made<'a> {
    rule: &'a str,
    segment: u32,
    reference: String,
}

impl<'a> Run<'a> {
    fn new(library: &'a Catalog, source: &'a SourceTree, context: &'a Context) -> Self {
        let clock = Clock {
            message_offset: message_offset(source),
            zone: context.zone,
        };
        Self {
            library,
            scope: Scope::new(source),
            tools: Tools {
                clock,
                context,
                maps: library.maps(),
                table_0396: library.table_0396(),
            },
            rule_name: "",
            target: String::new(),
            lineage: Vec::new(),
            cleared: Vec::new(),
            issues: Vec::new(),
            produced: Vec::new(),
            made: Vec::new(),
            ids: HashMap::new(),
            hits: 0,
            told: HashSet::new(),
            units: RefCell::new(Vec::new()),
            quiet: false,
        }
    }

    fn rule(&mut self, rule: &'a Rule) -> Result<(), MapError> {
        self.rule_name = &rule.name;
        for place in self.rule_places(rule) {
            self.target.clear();
            self.target.push_str(&rule.resource_type);
            if rule
                .when
                .as_ref()
                .is_some_and(|when| !self.holds(when, &place))
            {
                continue;
            }
            if self.produced.len() >= RESOURCES_MAX {
                return Err(MapError::TooManyResources { max: RESOURCES_MAX });
            }
            self.resource(rule, &place)?;
        }
        Ok(())
    }

    fn rule_places(&self, rule: &Rule) -> Vec<Place<'a>> {
        match (&rule.each, self.scope.source) {
            (RuleEach::Segment(id), _) => self
                .scope
                .segments_everywhere(*id)
                .into_iter()
                .map(|s| self.scope.segment_place(s))
                .collect(),
            (RuleEach::Path(path), SourceTree::Json(document)) => {
                self.scope.many(&Place::Json(document.root()), path)
            }
            (RuleEach::Source, SourceTree::Json(document)) => vec![Place::Json(document.root())],
            _ => Vec::new(),
        }
    }

    fn resource(&mut self, rule: &'a Rule, place: &Place<'a>) -> Result<(), MapError> {
        let library = self.library;
        let (body, own_ways) = match &rule.body {
            Body::Inline(body) => (body, &[][..]),
            Body::Type(index) => match library.template(*index) {
                Some(template) => (&template.body, template.identity.as_slice()),
                None => return Ok(()),
            },
        };
        let ways = if rule.identity.is_empty() {
            own_ways
        } else {
            rule.identity.as_slice()
        };
        let identity = self.identity(rule, ways, place)?;
        self.lineage = Vec::with_capacity(32);
        self.cleared.clear();
        let members = self.members(body, place);
        if let Some(need) = body.needs.iter().find(|need| !has(&members, need)) {
            let element = format!("{}.{}", rule.resource_type, need.name);
            return Err(MapError::MissingElement {
                rule: rule.name.to_string(),
                element,
                place: self.name(place),
            });
        }
        let mut resource = Map::new();
        resource.insert("resourceType", Value::from(&*rule.resource_type));
        resource.insert("id", Value::from(&*identity.id));
        for (name, value) in members {
            resource.insert(name, value);
        }
        let write = self.write(rule, place);
        self.keep(rule, place, Value::Object(resource), identity, write);
        Ok(())
    }

    fn write(&self, rule: &'a Rule, place: &Place<'a>) -> Write {
        let row = rule
            .write
            .iter()
            .find(|(when, _)| when.as_ref().is_none_or(|w| self.holds(w, place)));
        row.map_or(Write::Replace, |(_, write)| *write)
    }

    /// Adds a resource, or decides about a second one with the same identity.
    fn keep(
        &mut self,
        rule: &'a Rule,
        place: &Place<'a>,
        value: Value,
        mut identity: Identity,
        write: Write,
    ) {
        let segment = if let Place::Hl7(place) = place {
            place.segment
        } else {
            0
        };
        let key = (&*rule.name, identity.id.to_string());
        let mut value = value;
        if let Some(first) = self.ids.get(&key).copied() {
            if rule.repeated == Repeated::Same {
                let same = self.produced.get(first).is_some_and(|p| p.value == value);
                if same {
                    // The same facts twice: the first resource carries them, the second place is no loss.
                    let lineage = std::mem::take(&mut self.lineage);
                    if let Some(first) = self.produced.get_mut(first) {
                        first.lineage.extend(lineage);
                    }
                } else {
                    self.issue(Code::SamePersonTwice, Some(place));
                }
                self.made.push(Made {
                    rule: &rule.name,
                    segment,
                    reference: identity.reference(),
                });
                return;
            }
            self.issue(Code::IdentityRepeated, Some(place));
            let (id, _) = self.free_id(rule, &identity);
            identity.id = id.into();
            if let Some(resource) = value.as_object_mut() {
                resource.insert("id", Value::from(&*identity.id));
            }
        }
        self.ids
            .insert((&rule.name, identity.id.to_string()), self.produced.len());
        self.made.push(Made {
            rule: &rule.name,
            segment,
            reference: identity.reference(),
        });
        self.produced.push(Produced {
            value,
            identity,
            write,
            rule: rule.name.clone(),
            lineage: std::mem::take(&mut self.lineage),
            cleared: std::mem::take(&mut self.cleared),
        });
    }

    /// The id of the second, third … thing under one identity, in message order.
    fn free_id(&self, rule: &'a Rule, identity: &Identity) -> (String, usize) {
        let mut number = 2;
        loop {
            let parts = [&*identity.id, &number.to_string()];
            let id = derive_id(
                &self.tools.context.id_namespace,
                &identity.resource_type,
                &parts,
            );
            if !self.ids.contains_key(&(&*rule.name, id.clone())) {
                return (id, number);
            }
            number += 1;
        }
    }

    fn identity(
        &mut self,
        rule: &'a Rule,
        ways: &'a [Way],
        place: &Place<'a>,
    ) -> Result<Identity, MapError> {
        for (index, way) in ways.iter().enumerate() {
            let places = match &way.each {
                Some(path) => self.scope.many(place, path),
                None => vec![place.clone()],
            };
            for at in places {
                if way.when.as_ref().is_some_and(|when| !self.holds(when, &at)) {
                    continue;
                }
                self.quiet = true;
                let parts = self.key(&way.key, &at);
                self.quiet = false;
                let Some(parts) = parts else { continue };
                if let Some(code) = way.issue {
                    self.issue(code, Some(&at));
                }
                let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
                let id = derive_id(
                    &self.tools.context.id_namespace,
                    &rule.resource_type,
                    &parts,
                );
                return Ok(Identity {
                    resource_type: rule.resource_type.clone(),
                    id: id.into(),
                    way: index,
                });
            }
        }
        Err(MapError::NoIdentity {
            rule: rule.name.to_string(),
            place: self.name(place),
        })
    }

    /// The parts of a key; `None` when one is missing.
    fn key(&mut self, key: &'a [KeyPart], place: &Place<'a>) -> Option<Vec<String>> {
        let lineage = self.lineage.len();
        let mut parts = Vec::with_capacity(key.len());
        for part in key {
            let value = match part {
                KeyPart::Reference(rule) => self.reference(rule, place),
                KeyPart::Here => Some(self.name(place)),
                KeyPart::Read(read) => self.read(read, place).and_then(|v| plain_text(&v)),
                KeyPart::Optional(read) => Some(
                    self.read(read, place)
                        .and_then(|v| plain_text(&v))
                        .unwrap_or_default(),
                ),
            };
            self.lineage.truncate(lineage);
            parts.push(value?);
        }
        Some(parts)
    }

    /// An object, or nothing when it lacks a need or nothing in it came from the source.
    fn object(&mut self, object: &'a Object, place: &Place<'a>) -> Option<Map> {
        let decided = match &object.when {
            None => &[][..],
            Some(when) => self.holding(when, place)?,
        };
        if let (Some(code), true) = (object.issue, object.members.is_empty()) {
            self.issue(code, Some(place));
            return None;
        }
        let (lineage, hits) = (self.lineage.len(), self.hits);
        let members = self.members(object, place);
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
    fn understood(&mut self, decided: &[Term], place: &Place<'a>) {
        for term in decided
            .iter()
            .filter(|t| matches!(t.test, Test::In(_)) && !t.negated)
        {
            let found = self.scope.one(place, &term.path);
            if let Some(Content::Text(_, leaves)) = found.map(|(at, _)| self.scope.content(&at)) {
                self.lineage.push(LineageEntry {
                    target: self.target.as_str().into(),
                    leaves,
                });
            }
        }
    }

    fn members(&mut self, object: &'a Object, place: &Place<'a>) -> Map {
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

    fn template(&mut self, template: &'a Template, place: &Place<'a>) -> Option<Value> {
        match template {
            Template::Constant(value) => Some(value.clone()),
            Template::Read(read) => self.read(read, place),
            Template::Object(object) => self.object(object, place).map(Value::Object),
            Template::Reference(rule) => {
                let reference = self.reference(rule, place)?;
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
    fn item(&mut self, item: &'a Template, place: &Place<'a>, values: &mut Vec<Value>) {
        let mark = self.target.len();
        match item {
            Template::Object(object) if object.each.is_some() => {
                for at in self.each_places(object, place) {
                    if self.clears(&at) {
                        continue;
                    }
                    self.enter(values.len());
                    values.extend(self.object(object, &at).map(Value::Object));
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

    fn each_places(&self, object: &Object, place: &Place<'a>) -> Vec<Place<'a>> {
        match &object.each {
            Some(Each::Path(path)) => self.scope.many(place, path),
            Some(Each::Following(id)) => {
                let segments = self.scope.segments_following(place, *id);
                segments
                    .into_iter()
                    .map(|s| self.scope.segment_place(s))
                    .collect()
            }
            None => Vec::new(),
        }
    }

    fn piped_each(&mut self, piped: &'a Piped, place: &Place<'a>, values: &mut Vec<Value>) {
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
            values.extend(self.lines(path, place));
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

    fn enter(&mut self, index: usize) {
        self.target.push('[');
        self.target.push_str(&index.to_string());
        self.target.push(']');
    }

    fn read(&mut self, read: &'a Read, place: &Place<'a>) -> Option<Value> {
        read.alternatives
            .iter()
            .find_map(|piped| self.piped(piped, place))
    }

    fn piped(&mut self, piped: &'a Piped, place: &Place<'a>) -> Option<Value> {
        match &piped.start {
            Start::Literal(text) => Some(Value::from(&**text)),
            Start::Setting(name) => self.tools.context.setting(name).map(Value::from),
            Start::Script(_) => self.script(piped, place),
            Start::Path(path) if piped.converters.first() == Some(&Converter::Lines) => {
                self.lines(path, place)
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
    fn clears(&mut self, place: &Place<'a>) -> bool {
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
    fn converted(&mut self, converters: &'a [Converter], place: &Place<'a>) -> Option<Value> {
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
    fn chain(
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
    fn lines(&mut self, path: &Path, place: &Place<'a>) -> Option<Value> {
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

    fn script(&mut self, piped: &'a Piped, place: &Place<'a>) -> Option<Value> {
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
    fn evaluate(
        &self,
        script: &crate::script::Script,
        place: &Place<'a>,
    ) -> (Result<Option<Value>, Code>, Vec<Range<u32>>) {
        if let Place::Json(value) = place {
            let named = script.paths.iter().filter_map(|(_, path)| self.scope.one(place, path));
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
    fn authority(&mut self, place: &Place<'a>, first: u16) -> Option<Value> {
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
    fn join(&mut self, components: &[u16], place: &Place<'a>) -> Option<Value> {
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
    fn part(&self, n: u16, place: &Place<'a>) -> Option<(Cow<'a, str>, Range<u32>)> {
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
    fn arrived(&mut self, leaves: Range<u32>) {
        self.hits += 1;
        self.lineage.push(LineageEntry {
            target: self.target.as_str().into(),
            leaves,
        });
    }

    /// The reference to what a rule made last before this place: HL7 v2 segments speak about what stands before them.
    fn reference(&self, rule: &str, place: &Place<'a>) -> Option<String> {
        let here = if let Place::Hl7(place) = place {
            place.segment
        } else {
            u32::MAX
        };
        let made = self
            .made
            .iter()
            .rev()
            .find(|m| m.rule == rule && m.segment <= here);
        made.map(|m| m.reference.clone())
    }

    fn holds(&self, condition: &'a Condition, place: &Place<'a>) -> bool {
        self.holding(condition, place).is_some()
    }

    /// The terms that make a condition true; `None` when it is not.
    fn holding(&self, condition: &'a Condition, place: &Place<'a>) -> Option<&'a [Term]> {
        match condition {
            Condition::AnyOf(groups) => groups
                .iter()
                .find(|group| group.iter().all(|term| self.term(term, place)))
                .map(Vec::as_slice),
            Condition::Script(script) => {
                matches!(self.evaluate(script, place).0, Ok(Some(Value::Bool(true)))).then_some(&[])
            }
        }
    }

    fn term(&self, term: &Term, place: &Place<'a>) -> bool {
        let found = self.scope.one(place, &term.path);
        let more = found.as_ref().is_some_and(|(_, more)| *more);
        let null = found.as_ref().is_some_and(|(at, _)| self.scope.is_null(at));
        // `is` tests read a value; "valued" asks whether anything at all stands there.
        let content = found
            .as_ref()
            .map_or(Content::Nothing, |(at, _)| match term.test {
                Test::Valued => self.scope.whole_text(at),
                _ => self.scope.content(at),
            });
        let text = if let Content::Text(text, _) = &content {
            text.trim()
        } else {
            ""
        };
        let holds = match &term.test {
            Test::Null => null,
            Test::Repeated => more,
            Test::Valued => !text.is_empty() && !null,
            Test::In(words) => words.iter().any(|w| **w == *text),
            Test::Decimal => decimal::parse(text).is_some(),
            Test::Comparison => decimal::comparison(text).is_some(),
            Test::HasLow => decimal::range(text).is_some_and(|(low, _)| low.is_some()),
            Test::HasHigh => decimal::range(text).is_some_and(|(_, high)| high.is_some()),
            Test::Timed => time::is_timed(text),
            Test::Date => time::date(text).is_ok(),
            Test::DateTime => time::date_time(text, &self.tools.clock).is_ok(),
            Test::Time => time::time(text).is_ok(),
            Test::Ucum => self.ucum(text).0,
            Test::UcumBeyondDoubt => self.ucum(text).1,
            Test::Map(index) => self
                .tools
                .maps
                .get(*index)
                .is_some_and(|(_, _, map)| map.get(text).is_some()),
        };
        holds != term.negated
    }

    /// Whether a text is UCUM, and beyond doubt. A message repeats its few units, so each is looked at once.
    fn ucum(&self, text: &str) -> (bool, bool) {
        let mut units = self.units.borrow_mut();
        if let Some((_, known)) = units.iter().find(|(unit, _)| **unit == *text) {
            return *known;
        }
        let found = (unit::is_ucum(text), unit::is_ucum_beyond_doubt(text));
        if units.len() < UNITS_KEPT_MAX {
            units.push((text.into(), found));
        }
        found
    }

    fn issue(&mut self, code: Code, place: Option<&Place<'a>>) {
        if self.quiet || self.issues.len() >= ISSUES_MAX {
            return;
        }
        let source = place.and_then(|p| self.scope.position(p));
        if !self.told.insert((code, source.clone())) {
            return;
        }
        self.issues.push(MapIssue {
            severity: code.severity(),
            code,
            source,
            target: self.target.as_str().into(),
            rule: self.rule_name.into(),
        });
    }

    fn name(&self, place: &Place<'a>) -> String {
        self.scope
            .position(place)
            .map_or_else(String::new, |p| p.to_string())
    }

    /// Everything that arrived, and everything ignored on purpose.
    fn ledger(&self, mapping: &MessageMapping) -> Ledger {
        let mut ledger = empty_ledger(self.scope.source);
        for entry in self.produced.iter().flat_map(|p| &p.lineage) {
            ledger.mark(entry.leaves.clone());
        }
        let templates = mapping.rules.iter().filter_map(|rule| match rule.body {
            Body::Type(index) => self.library.template(index),
            Body::Inline(_) => None,
        });
        for path in mapping
            .ignored
            .iter()
            .chain(templates.flat_map(|t| &t.ignored))
        {
            self.ignore(path, &mut ledger);
        }
        ledger
    }

    fn ignore(&self, path: &Path, ledger: &mut Ledger) {
        let places = match (path, self.scope.source) {
            (Path::Hl7(hl7), _) => match hl7.base {
                Base::Segment(id) => self.scope.segments_everywhere(id),
                Base::Value(_) => Vec::new(),
            }
            .into_iter()
            .map(|s| self.scope.segment_place(s))
            .collect(),
            (Path::Json(_), SourceTree::Json(document)) => vec![Place::Json(document.root())],
            (Path::Json(_), SourceTree::Hl7v2(_)) => Vec::new(),
        };
        for place in places {
            for found in self.scope.many(&place, path) {
                ledger.mark(self.scope.leaves(&found));
            }
        }
    }
}

fn empty_ledger(source: &SourceTree) -> Ledger {
    match source {
        SourceTree::Hl7v2(tree) => Ledger {
            used: vec![false; tree.leaf_count() as usize],
        },
        SourceTree::Json(document) => {
            // Only nodes with content can be lost; objects, arrays and names count as used.
            let mut used = Vec::new();
            crate::json::leaves(document.root(), &mut |node| {
                used.resize(node as usize, true);
                used.push(false);
            });
            Ledger { used }
        }
    }
}

/// The offset of MSH-7.
fn message_offset(source: &SourceTree) -> Option<Box<str>> {
    let scope = Scope::new(source);
    let msh =
        SegmentId::parse("MSH").and_then(|id| scope.segments_everywhere(id).into_iter().next())?;
    let path = Path::parse("MSH-7.1", Notation::Hl7v2).ok()?;
    let (at, _) = scope.one(&scope.segment_place(msh), &path)?;
    match scope.content(&at) {
        Content::Text(text, _) => time::offset_of(text.trim()),
        _ => None,
    }
}

fn has(members: &Map, need: &Need) -> bool {
    members
        .iter()
        .any(|(name, _)| crate::compile::fits(need, name))
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

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.as_str().to_owned()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
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
