//! The paths of many expressions as one tree, so that each object of a resource is walked once.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>

use crate::datatype::reference::Reference;
use crate::fhirpath::compile::{Filter, Step};
use crate::fhirpath::eval::{self, Element};
use crate::json::ValueRef;

/// A tree of steps with actions `A` at the nodes.
#[derive(Debug)]
pub(super) struct Trie<A> {
    nodes: Vec<Node<A>>,
}

#[derive(Debug)]
struct Node<A> {
    members: Vec<(Box<str>, usize)>,
    /// Fingerprints and indices of `members`, open addressing: most members of a resource are of no interest, and
    /// one look tells.
    table: Vec<(u64, u16)>,
    filters: Vec<(Filter, usize)>,
    indices: Vec<(usize, usize)>,
    actions: Vec<A>,
}

impl<A> Node<A> {
    fn new() -> Self {
        Self {
            members: Vec::new(),
            table: Vec::new(),
            filters: Vec::new(),
            indices: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn member(&self, name: &str) -> Option<usize> {
        let print = fingerprint(name);
        let mask = self.table.len().wrapping_sub(1);
        let mut at = bucket(print) & mask;
        // The table is at most half full, so an empty place ends every search.
        while let Some((known, place)) = self.table.get(at) {
            let (other, node) = self.members.get(usize::from(*place))?;
            if *known == print && other.as_ref() == name {
                return Some(*node);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn add_member(&mut self, name: &str, node: usize) {
        self.members.push((name.into(), node));
        let size = (self.members.len() * 2).next_power_of_two();
        self.table = vec![(0, EMPTY); size];
        for ((name, _), index) in self.members.iter().zip(0..EMPTY) {
            let print = fingerprint(name);
            let mut at = bucket(print) & (size - 1);
            while self.table.get(at).is_some_and(|(_, place)| *place != EMPTY) {
                at = (at + 1) & (size - 1);
            }
            if let Some(place) = self.table.get_mut(at) {
                *place = (print, index);
            }
        }
    }
}

/// A place of the table without a member; more members than this no type has.
const EMPTY: u16 = u16::MAX;

/// A name as a number that seldom two members of one type share: its ends, or for short ones all of it.
fn fingerprint(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let length = (bytes.len() as u64) << 56;
    if let Some(end) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*end) ^ length;
    }
    if let (Some(start), Some(end)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (start, end) = (u32::from_le_bytes(*start), u32::from_le_bytes(*end));
        return (u64::from(start) << 32 | u64::from(end)) ^ length;
    }
    bytes.iter().fold(length, |sum, b| sum << 8 | u64::from(*b))
}

/// Spreads fingerprints over a table.
fn bucket(print: u64) -> usize {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    (print.wrapping_mul(SPREAD) >> 40) as usize
}

/// What filters need to know of the resource around a value.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a, 'c> {
    /// The whole resource.
    pub resource: ValueRef<'a>,
    /// The server's own bases.
    pub base_urls: &'c [&'c str],
}

impl<A> Trie<A> {
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::new()],
        }
    }

    /// True without any path.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes.iter().all(|n| n.actions.is_empty())
    }

    /// The actions for the values at the end of `steps`, to add to.
    pub fn actions(&mut self, steps: &[Step]) -> &mut Vec<A> {
        let mut at = 0;
        for step in steps {
            at = self.child(at, step);
        }
        // `child` answers an index of `nodes`, and there is always a first.
        &mut self.nodes[at].actions
    }

    fn child(&mut self, parent: usize, step: &Step) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else {
            return parent;
        };
        let found = match step {
            Step::Member(name) => node.member(name),
            Step::Filter(filter) => node
                .filters
                .iter()
                .find(|(f, _)| f == filter)
                .map(|(_, at)| *at),
            Step::Index(index) => node
                .indices
                .iter()
                .find(|(i, _)| i == index)
                .map(|(_, at)| *at),
        };
        if let Some(at) = found {
            return at;
        }
        match step {
            Step::Member(name) => {
                node.add_member(name, fresh);
            }
            Step::Filter(filter) => node.filters.push((filter.clone(), fresh)),
            Step::Index(index) => node.indices.push((*index, fresh)),
        }
        self.nodes.push(Node::new());
        fresh
    }

    /// Calls `act` for each value that a path leads to from `value`.
    pub fn walk<'t, 'a>(
        &'t self,
        value: ValueRef<'a>,
        around: Surroundings<'a, '_>,
        act: &mut impl FnMut(&'t A, ValueRef<'a>),
    ) {
        self.visit(0, value, around, act);
    }

    fn visit<'t, 'a>(
        &'t self,
        at: usize,
        value: ValueRef<'a>,
        around: Surroundings<'a, '_>,
        act: &mut impl FnMut(&'t A, ValueRef<'a>),
    ) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        for action in &node.actions {
            act(action, value);
        }
        for (filter, next) in &node.filters {
            if passes(filter, value, around) {
                self.visit(*next, value, around, act);
            }
        }
        if node.members.is_empty() {
            return;
        }
        for (name, value) in value.members() {
            if let Some(next) = node.member(&name) {
                self.enter(next, value, around, act);
            }
        }
    }

    /// Visits a member's value, or each of its items.
    fn enter<'t, 'a>(
        &'t self,
        at: usize,
        value: ValueRef<'a>,
        around: Surroundings<'a, '_>,
        act: &mut impl FnMut(&'t A, ValueRef<'a>),
    ) {
        let indices = self.nodes.get(at).map_or(&[][..], |n| n.indices.as_slice());
        for (position, item) in value.each().enumerate() {
            for (index, next) in indices {
                if *index == position {
                    self.visit(*next, item, around, act);
                }
            }
            self.visit(at, item, around, act);
        }
    }
}

fn passes(filter: &Filter, value: ValueRef<'_>, around: Surroundings<'_, '_>) -> bool {
    match filter {
        Filter::MemberIs { member, text } => value
            .get(member)
            .and_then(ValueRef::primitive_text)
            .is_some_and(|t| t == text.as_ref()),
        Filter::RefersTo(target) => {
            let (mut reference, mut is_named) = (None, false);
            for (name, member) in value.members() {
                match name.as_ref() {
                    "reference" => reference = member.as_str(),
                    "type" => is_named = member.as_str().is_some_and(|name| name == target.name()),
                    _ => {}
                }
            }
            let Some(text) = reference else {
                return is_named;
            };
            match Reference::parse(&text, around.base_urls) {
                Some(Reference::Local { key, .. }) => key.resource_type == *target,
                Some(Reference::Absolute {
                    resource_type: Some(found),
                    ..
                }) => found == *target,
                Some(Reference::Conditional { resource_type, .. }) => resource_type == *target,
                Some(Reference::Contained(id)) => {
                    contained_type(around.resource, id).is_some_and(|t| t == target.name())
                }
                Some(Reference::Absolute { .. } | Reference::Urn(_)) | None => is_named,
            }
        }
        Filter::Criteria {
            criteria,
            type_path,
        } => {
            let focus = Element {
                value,
                sibling: None,
                type_path,
            };
            eval::holds(criteria, focus, Element::resource(around.resource))
        }
    }
}

fn contained_type<'a>(resource: ValueRef<'a>, id: &str) -> Option<std::borrow::Cow<'a, str>> {
    let has_id = |r: &ValueRef<'a>| {
        r.get("id")
            .and_then(ValueRef::as_str)
            .is_some_and(|i| i == id)
    };
    let mut contained = resource
        .get("contained")
        .into_iter()
        .flat_map(ValueRef::each);
    contained.find(has_id)?.get("resourceType")?.as_str()
}
