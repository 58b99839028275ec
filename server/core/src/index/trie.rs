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
    /// Sorted by length of name, then name.
    members: Vec<(Box<str>, usize)>,
    /// Bit `n` is set when a member has a name of `n` bytes (63 for longer ones): most members of a resource are
    /// of no interest, and this tells without a comparison.
    lengths: u64,
    filters: Vec<(Filter, usize)>,
    indices: Vec<(usize, usize)>,
    actions: Vec<A>,
}

impl<A> Node<A> {
    fn new() -> Self {
        Self {
            members: Vec::new(),
            lengths: 0,
            filters: Vec::new(),
            indices: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn member(&self, name: &str) -> Option<usize> {
        if self.lengths & length_bit(name) == 0 {
            return None;
        }
        self.members
            .iter()
            .find(|(n, _)| n.as_ref() == name)
            .map(|(_, node)| *node)
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
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

    /// Adds an action for the values at the end of `steps`.
    pub fn insert(&mut self, steps: &[Step], action: A) {
        let mut at = 0;
        for step in steps {
            at = self.child(at, step);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.actions.push(action);
        }
    }

    fn child(&mut self, parent: usize, step: &Step) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else {
            return parent;
        };
        let found = match step {
            Step::Member(name) => node
                .members
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, at)| *at),
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
                node.lengths |= length_bit(name);
                node.members.push((name.clone(), fresh));
                node.members
                    .sort_by(|a, b| a.0.len().cmp(&b.0.len()).then_with(|| a.0.cmp(&b.0)));
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
            let named = value.get("type").and_then(ValueRef::as_str);
            let is_named = named.is_some_and(|name| name == target.name());
            let Some(text) = value.get("reference").and_then(ValueRef::as_str) else {
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
