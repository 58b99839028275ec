//! Runs a mapping: rules over places, templates over values, with lineage and issues as they arise.
//!
//! A run is total: it ends for every source, reports what it could not place, and refuses only when it could not say
//! whose a record is, or when a required element has no source.
//!
//! Left out on purpose: merging with what is stored.

mod condition;
mod ledger;
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
    Body, KeyPart, MessageMapping, Need, Repeated, Rule, RuleEach, TypeTemplate, Way,
};
use crate::library::Catalog;
use crate::output::{Code, LineageEntry, MapIssue, Output, Produced, Write};
use crate::path::{Notation, Path};
use crate::scope::{Content, Place, Scope};
use crate::source::{Position, SegmentId, SourceTree};
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
            repeats: HashMap::new(),
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
            identity.id = self.free_id(rule, &identity).into();
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
