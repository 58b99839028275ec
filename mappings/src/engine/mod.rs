//! Runs a mapping: rules over places, templates over values, with lineage and issues as they arise.
//!
//! A run is total: it ends for every source, reports what it could not place, and refuses only when it could not say
//! whose a record is, or when a required element has no source.
//!
//! Left out on purpose: merging with what is stored.

mod action;
mod condition;
mod identity;
mod ledger;
mod make;
mod render;
mod value;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use fhir_core::json::{Map, Value};

use crate::context::Context;
use crate::convert::Tools;
use crate::error::MapError;
use crate::identity::{Identity, derive_id};
use crate::language::{
    Body, Elements, MessageMapping, Need, Repeated, Rule, RuleEach, TypeTemplate,
};
use crate::library::Catalog;
use crate::output::{Code, LineageEntry, ListMerge, MapIssue, Output, Produced, Write};
use crate::path::{Notation, Path};
use crate::revision::Span;
use crate::scope::{Content, Place, Scope};
use crate::source::{Position, SourceTree};
use crate::time::{self, Clock};

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
    run.rules = &mapping.rules;
    for rule in &mapping.rules {
        run.rule(rule)?;
    }
    let actions = run.actions(&mapping.actions)?;
    let used = run.ledger(mapping);
    Ok(Output {
        resources: run.produced,
        actions,
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
    rules: &'a [Rule],
    /// The trigger event, `A01`; mappings read it as `@event`.
    event: String,
    /// Where in the resource we are: `Patient.name[0].family`.
    target: String,
    lineage: Vec<LineageEntry>,
    cleared: Vec<Box<str>>,
    issues: Vec<MapIssue>,
    produced: Vec<Produced>,
    /// What rules made only to be spoken about.
    referred: Vec<Produced>,
    /// When the message was sent.
    sent: Option<Span>,
    /// For references: which resources each rule made, by segment in message order.
    made: HashMap<&'a str, Vec<Made>>,
    /// The last resource of each rule and segment.
    made_at: HashMap<(&'a str, u32), Slot>,
    /// Index of the resource by rule and id.
    ids: HashMap<(&'a str, String), usize>,
    /// How often each identity was seen, where that is more than once.
    repeats: HashMap<(&'a str, String), usize>,
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

struct Made {
    segment: u32,
    slot: Slot,
}

/// Where a made resource stands.
#[derive(Clone, Copy)]
enum Slot {
    Produced(usize),
    Referred(usize),
}

impl<'a> Run<'a> {
    fn new(library: &'a Catalog, source: &'a SourceTree, context: &'a Context) -> Self {
        let msh_7 = message_time(source);
        let clock = Clock {
            message_offset: msh_7.as_deref().and_then(time::offset_of),
            zone: context.zone,
        };
        let sent = msh_7.and_then(|text| Span::of(&text, &clock));
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
            rules: &[],
            event: event(source),
            target: String::new(),
            lineage: Vec::new(),
            cleared: Vec::new(),
            issues: Vec::new(),
            produced: Vec::new(),
            referred: Vec::new(),
            sent,
            made: HashMap::new(),
            made_at: HashMap::new(),
            ids: HashMap::new(),
            repeats: HashMap::new(),
            hits: 0,
            told: HashSet::new(),
            units: RefCell::new(Vec::new()),
            quiet: false,
        }
    }

    fn rule(&mut self, rule: &'a Rule) -> Result<(), MapError> {
        self.rule_name = &rule.name;
        for place in self.rule_places(&rule.each) {
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

    fn rule_places(&self, each: &RuleEach) -> Vec<Place<'a>> {
        match (each, self.scope.source) {
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
        let (identity, aliases) = match self.identity(&rule.resource_type, ways, place) {
            Some(found) => found,
            None if rule.lacking_skips => {
                self.issue(Code::IdentityMissing, Some(place));
                return Ok(());
            }
            None => {
                return Err(MapError::NoIdentity {
                    rule: rule.name.to_string(),
                    place: self.name(place),
                });
            }
        };
        self.lineage = Vec::with_capacity(32);
        self.cleared.clear();
        let members = self.members(body, place);
        if let Some(need) = body.needs.iter().find(|need| !has(&members, need)) {
            if rule.lacking_skips {
                self.target = format!("{}.{}", rule.resource_type, need.name);
                self.issue(Code::ElementMissing, Some(place));
                return Ok(());
            }
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
        let produced = self.produced(rule, place, Value::Object(resource), identity, aliases);
        self.keep(rule, place, produced);
        Ok(())
    }

    /// A resource with all the rule says about writing it.
    fn produced(
        &mut self,
        rule: &'a Rule,
        place: &Place<'a>,
        value: Value,
        identity: Identity,
        aliases: Vec<Identity>,
    ) -> Produced {
        let mut cleared = std::mem::take(&mut self.cleared);
        let taken_back = self.elements(&rule.clears, place);
        let paths = taken_back
            .iter()
            .map(|e| format!("{}.{e}", rule.resource_type));
        cleared.extend(paths.map(Into::into));
        let initial = self.elements(&rule.initial, place);
        let initial = initial.into_iter().map(Into::into).collect();
        let keeps = rule.keeps.iter();
        let keeps = keeps.filter(|k| k.when.as_ref().is_none_or(|w| self.holds(w, place)));
        let lists = keeps.map(|k| ListMerge {
            element: k.element.clone(),
            key: k.key.clone(),
            others: k.others.clone(),
        });
        let lists = lists.collect();
        Produced {
            value,
            identity,
            write: self.write(rule, place),
            rule: rule.name.clone(),
            lineage: std::mem::take(&mut self.lineage),
            cleared,
            initial,
            shared: false,
            lists,
            revision: self.revision(&rule.revision, place),
            aliases,
        }
    }

    /// The elements of those rows whose condition holds.
    fn elements(&self, rows: &'a [Elements], place: &Place<'a>) -> Vec<&'a str> {
        rows.iter()
            .filter(|row| row.when.as_ref().is_none_or(|w| self.holds(w, place)))
            .flat_map(|row| row.elements.iter().map(AsRef::as_ref))
            .collect()
    }

    /// A setting of the feed, or what the message is.
    fn setting(&self, name: &str) -> Option<&str> {
        match name {
            "event" => Some(self.event.as_str()).filter(|e| !e.is_empty()),
            other => self.tools.context.setting(other),
        }
    }

    fn write(&self, rule: &'a Rule, place: &Place<'a>) -> Write {
        let row = rule
            .write
            .iter()
            .find(|(when, _)| when.as_ref().is_none_or(|w| self.holds(w, place)));
        row.map_or(Write::Replace, |(_, write)| *write)
    }

    /// Adds a resource, or decides about a second one with the same identity.
    fn keep(&mut self, rule: &'a Rule, place: &Place<'a>, mut produced: Produced) {
        let segment = if let Place::Hl7(place) = place {
            place.segment
        } else {
            0
        };
        let made = |run: &mut Self, slot| {
            run.made_at.insert((&rule.name, segment), slot);
            let made = run.made.entry(&rule.name).or_default();
            made.push(Made { segment, slot });
        };
        if rule.refers {
            made(self, Slot::Referred(self.referred.len()));
            self.referred.push(produced);
            return;
        }
        let key = (&*rule.name, produced.identity.id.to_string());
        if let Some(first) = self.ids.get(&key).copied() {
            if rule.repeated == Repeated::Same {
                match self.produced.get_mut(first) {
                    // The same facts twice: the first resource carries them, the second place is no loss.
                    Some(known) if known.value == produced.value => {
                        known.lineage.append(&mut produced.lineage);
                    }
                    _ => self.issue(Code::SamePersonTwice, Some(place)),
                }
                made(self, Slot::Produced(first));
                return;
            }
            self.issue(Code::IdentityRepeated, Some(place));
            let id = self.free_id(rule, &produced.identity);
            if let Some(resource) = produced.value.as_object_mut() {
                resource.insert("id", Value::from(&*id));
            }
            produced.identity.id = id.into();
        }
        let slot = self.produced.len();
        self.ids
            .insert((&rule.name, produced.identity.id.to_string()), slot);
        made(self, Slot::Produced(slot));
        self.produced.push(produced);
    }

    /// The id of the second, third … thing under one identity, in message order.
    fn free_id(&mut self, rule: &'a Rule, identity: &Identity) -> String {
        let count = self
            .repeats
            .entry((&rule.name, identity.id.to_string()))
            .or_insert(1);
        *count += 1;
        let parts = [&*identity.id, &count.to_string()];
        derive_id(
            &self.tools.context.id_namespace,
            &identity.resource_type,
            &parts,
        )
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
}

/// MSH-7 as sent.
fn message_time(source: &SourceTree) -> Option<String> {
    text_at(source, "MSH-7.1")
}

/// MSH-9.2; where older senders leave it out, EVN-1, and R01 for ORU, which had no other.
fn event(source: &SourceTree) -> String {
    let code = text_at(source, "MSH-9.1");
    text_at(source, "MSH-9.2")
        .or_else(|| text_at(source, "EVN-1"))
        .or_else(|| (code.as_deref() == Some("ORU")).then(|| "R01".to_owned()))
        .unwrap_or_default()
}

/// What stands at a path, read from the first segment of the message.
fn text_at(source: &SourceTree, path: &str) -> Option<String> {
    let scope = Scope::new(source);
    let path = Path::parse(path, Notation::Hl7v2).ok()?;
    let (at, _) = scope.one(&scope.segment_place(0), &path)?;
    match scope.content(&at) {
        Content::Text(text, _) => Some(text.trim().to_owned()),
        _ => None,
    }
}

pub(super) fn has(members: &Map, need: &Need) -> bool {
    members
        .iter()
        .any(|(name, _)| crate::compile::fits(need, name))
}

pub(super) fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.as_str().to_owned()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
