//! Reading positions: from a place in the source to the places a path names.
//!
//! A segment path means the nearest segment of that name: the current one, else one of the same group, else one of the
//! groups around it, where groups that repeat beside our own (other OBSERVATIONs, other ORDER_OBSERVATIONs) are not
//! looked into, because what is said there is said about something else. Outside our own group only what stands before
//! us counts: an order that follows says nothing about us.
//!
//! Left out on purpose: conversion, and any mark of what was read. The ledger counts what arrived, not what was seen.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use fhir_core::json::ValueRef;

use crate::path::{Base, Hl7Path, Path};
use crate::source::{At, Hl7Tree, Leaf, Position, SegmentId, SourceTree};

/// Groups up to this many segments are searched directly; larger ones are indexed once per run.
const SCAN_SEGMENTS_MAX: u32 = 16;

/// A place in the source.
#[derive(Debug, Clone)]
pub(crate) enum Place<'a> {
    Hl7(Hl7Place),
    Json(ValueRef<'a>),
}

/// A segment (`at.field == 0`), a repetition (`at.component == 0`), a component or a sub-component, with its leaves.
#[derive(Debug, Clone)]
pub(crate) struct Hl7Place {
    pub segment: u32,
    pub at: At,
    pub leaves: Range<u32>,
}

/// What a place says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Nothing,
    Null,
    /// A text and the leaves it came from.
    Text(Cow<'a, str>, Range<u32>),
}

/// Resolves paths in one source.
pub(crate) struct Scope<'a> {
    pub source: &'a SourceTree,
    /// Segments by (identifier, group, name of the group we came from), for large groups.
    index: RefCell<Vec<IndexEntry>>,
}

struct IndexEntry {
    id: SegmentId,
    group: u32,
    came_from: Option<u32>,
    segments: Vec<u32>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(source: &'a SourceTree) -> Self {
        Self {
            source,
            index: RefCell::new(Vec::new()),
        }
    }

    fn tree(&self) -> Option<&'a Hl7Tree> {
        if let SourceTree::Hl7v2(tree) = self.source {
            Some(tree)
        } else {
            None
        }
    }

    /// The place of a whole segment.
    pub(crate) fn segment_place(&self, segment: u32) -> Place<'a> {
        let leaves = self.tree().map_or(0..0, |t| t.leaves_of(segment));
        Place::Hl7(Hl7Place {
            segment,
            at: At::new(0, 0, 0, 0),
            leaves,
        })
    }

    /// All places a path names that hold anything, one for each repetition when the path does not choose one.
    pub(crate) fn many(&self, from: &Place<'a>, path: &Path) -> Vec<Place<'a>> {
        match (from, path) {
            (Place::Hl7(place), Path::Hl7(path)) => self.hl7(place, path).map(Place::Hl7).collect(),
            (Place::Json(value), Path::Json(steps)) => {
                let found = crate::json::walk(*value, steps);
                found
                    .into_iter()
                    .flat_map(ValueRef::each)
                    .map(Place::Json)
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The first place a path names that holds anything, and whether there are more.
    pub(crate) fn one(&self, from: &Place<'a>, path: &Path) -> Option<(Place<'a>, bool)> {
        match (from, path) {
            (Place::Hl7(place), Path::Hl7(path)) => {
                let mut places = self.hl7(place, path);
                let first = places.next()?;
                Some((Place::Hl7(first), places.next().is_some()))
            }
            (Place::Json(value), Path::Json(steps)) => {
                let found = crate::json::walk(*value, steps)?;
                let mut items = found.each();
                let first = items.next()?;
                Some((Place::Json(first), items.next().is_some()))
            }
            _ => None,
        }
    }

    fn hl7<'p>(
        &self,
        from: &Hl7Place,
        path: &'p Hl7Path,
    ) -> impl Iterator<Item = Hl7Place> + use<'a, 'p> {
        let tree = self.tree();
        let start = match (&path.base, tree) {
            (Base::Value(_), Some(_)) => Some((from.clone(), false)),
            (Base::Segment(id), Some(tree)) => {
                self.nearest(tree, from.segment, *id).map(|segment| {
                    let leaves = tree.leaves_of_field(segment, path.field);
                    (
                        Hl7Place {
                            segment,
                            at: At::new(path.field, path.repetition, 0, 0),
                            leaves,
                        },
                        true,
                    )
                })
            }
            (_, None) => None,
        };
        let (field, value) = match start {
            Some((place, true)) => (Some(place), None),
            Some((place, false)) => (None, Some(place)),
            None => (None, None),
        };
        let repetitions = field
            .into_iter()
            .flat_map(move |field| Repetitions { tree, field });
        repetitions
            .chain(value)
            .filter_map(move |place| tree.and_then(|tree| descend(tree, place, path)))
    }

    /// The segment that a path into `id` means, seen from another segment.
    pub(crate) fn nearest_segment(&self, from: u32, id: SegmentId) -> Option<u32> {
        self.nearest(self.tree()?, from, id)
    }

    /// The segment a path means, seen from another segment.
    fn nearest(&self, tree: &Hl7Tree, from: u32, id: SegmentId) -> Option<u32> {
        if tree.segment_id(from) == Some(id) {
            return Some(from);
        }
        let mut group = tree.group_of(from);
        let mut came_from = None;
        loop {
            if let Some(found) = self.in_group(tree, from, id, group, came_from) {
                return Some(found);
            }
            came_from = Some(group);
            group = tree.parent_of(group)?;
        }
    }

    /// The last segment before ours in one group; in our own group else the first after it.
    fn in_group(
        &self,
        tree: &Hl7Tree,
        from: u32,
        id: SegmentId,
        group: u32,
        came_from: Option<u32>,
    ) -> Option<u32> {
        let range = tree.segments_within(group);
        if range.end - range.start <= SCAN_SEGMENTS_MAX {
            return nearest_of(
                candidates(tree, id, group, came_from),
                from,
                came_from.is_none(),
            );
        }
        let same_side = |entry: &IndexEntry| match (entry.came_from, came_from) {
            (None, None) => true,
            (Some(a), Some(b)) => tree.group_name(a) == tree.group_name(b),
            _ => false,
        };
        let mut index = self.index.borrow_mut();
        let known = index
            .iter()
            .position(|e| e.id == id && e.group == group && same_side(e));
        let at = known.unwrap_or_else(|| {
            let segments = candidates(tree, id, group, came_from).collect();
            index.push(IndexEntry {
                id,
                group,
                came_from,
                segments,
            });
            index.len() - 1
        });
        let segments = index.get(at).map_or(&[][..], |e| &e.segments);
        let after = segments.partition_point(|s| *s < from);
        let before = after.checked_sub(1).and_then(|i| segments.get(i));
        let next = segments.get(after).filter(|_| came_from.is_none());
        before.or(next).copied()
    }

    /// What a place says as one text: the first leaf, since a component without sub-components is its own first.
    pub(crate) fn content(&self, place: &Place<'a>) -> Content<'a> {
        match place {
            Place::Json(value) => json_content(*value),
            Place::Hl7(place) => self
                .tree()
                .map_or(Content::Nothing, |tree| first_leaf(tree, place)),
        }
    }

    /// What a place says as one text with the delimiters the sender wrote unescaped.
    pub(crate) fn whole_text(&self, place: &Place<'a>) -> Content<'a> {
        let (Place::Hl7(place), Some(tree)) = (place, self.tree()) else {
            return self.content(place);
        };
        if place.leaves.len() < 2 {
            return match place.leaves.clone().next().and_then(|l| tree.leaf(l)) {
                None => Content::Nothing,
                Some((_, Leaf::Null)) => Content::Null,
                Some((at, Leaf::Text(text))) if at.component == 1 && at.subcomponent == 1 => {
                    Content::Text(Cow::Borrowed(text), place.leaves.clone())
                }
                Some(_) => joined(tree, place),
            };
        }
        joined(tree, place)
    }

    /// True when nothing but HL7 null stands here.
    pub(crate) fn is_null(&self, place: &Place<'a>) -> bool {
        let (Place::Hl7(place), Some(tree)) = (place, self.tree()) else {
            return false;
        };
        place.leaves.len() == 1
            && place
                .leaves
                .clone()
                .next()
                .and_then(|l| tree.leaf(l))
                .is_some_and(|(_, leaf)| leaf == Leaf::Null)
    }

    /// The leaves of a place.
    pub(crate) fn leaves(&self, place: &Place<'a>) -> Range<u32> {
        match place {
            Place::Hl7(place) => place.leaves.clone(),
            Place::Json(value) => value.position()..value.position() + 1,
        }
    }

    /// The name of a place.
    pub(crate) fn position(&self, place: &Place<'a>) -> Option<Position> {
        match (place, self.source) {
            (Place::Hl7(place), SourceTree::Hl7v2(tree)) => tree.position(place.segment, place.at),
            (Place::Json(value), SourceTree::Json(document)) => {
                crate::json::pointer(document, value.position()).map(Position::Json)
            }
            _ => None,
        }
    }

    /// Segments with this identifier anywhere in the message, in message order.
    pub(crate) fn segments_everywhere(&self, id: SegmentId) -> Vec<u32> {
        let Some(tree) = self.tree() else {
            return Vec::new();
        };
        (0..tree.segment_count())
            .filter(|s| tree.segment_id(*s) == Some(id))
            .collect()
    }

    /// Segments with this identifier in our group and the groups in it.
    pub(crate) fn segments_within(&self, from: &Place<'a>, id: SegmentId) -> Vec<u32> {
        let (Place::Hl7(place), Some(tree)) = (from, self.tree()) else {
            return Vec::new();
        };
        tree.segments_within(tree.group_of(place.segment))
            .filter(|s| tree.segment_id(*s) == Some(id))
            .collect()
    }

    /// The segments of the group of that name around a segment.
    pub(crate) fn group_around(&self, from: u32, name: &str) -> Option<Range<u32>> {
        let tree = self.tree()?;
        let mut group = tree.group_of(from);
        while tree.group_name(group) != name {
            group = tree.parent_of(group)?;
        }
        Some(tree.segments_within(group))
    }

    /// Segments with this identifier that follow the current one before the next of its own kind, in its group.
    pub(crate) fn segments_following(&self, from: &Place<'a>, id: SegmentId) -> Vec<u32> {
        let (Place::Hl7(place), Some(tree)) = (from, self.tree()) else {
            return Vec::new();
        };
        let own = tree.segment_id(place.segment);
        let group = tree.group_of(place.segment);
        (place.segment + 1..tree.segments_within(group).end)
            .take_while(|s| tree.segment_id(*s) != own && tree.group_of(*s) == group)
            .filter(|s| tree.segment_id(*s) == Some(id))
            .collect()
    }
}

/// The last segment before `from`, else the first after it when that is allowed.
fn nearest_of(segments: impl Iterator<Item = u32>, from: u32, after_too: bool) -> Option<u32> {
    let mut before = None;
    for segment in segments {
        if segment >= from {
            return before.or(after_too.then_some(segment));
        }
        before = Some(segment);
    }
    before
}

/// Segments of a group that may be meant, leaving out groups that stand beside the one we came from under its name.
fn candidates(
    tree: &Hl7Tree,
    id: SegmentId,
    group: u32,
    came_from: Option<u32>,
) -> impl Iterator<Item = u32> {
    let beside = move |segment: u32| {
        let mut at = tree.group_of(segment);
        let mut child = None;
        while at != group {
            child = Some(at);
            match tree.parent_of(at) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        matches!((child, came_from), (Some(c), Some(f)) if tree.group_name(c) == tree.group_name(f))
    };
    tree.segments_within(group)
        .filter(move |s| tree.segment_id(*s) == Some(id) && !beside(*s))
}

/// The repetitions of a field, or the one asked for.
struct Repetitions<'a> {
    tree: Option<&'a Hl7Tree>,
    /// What is left of the field; `at.repetition` is the one asked for, zero for all.
    field: Hl7Place,
}

impl Iterator for Repetitions<'_> {
    type Item = Hl7Place;

    fn next(&mut self) -> Option<Hl7Place> {
        let tree = self.tree?;
        let asked = self.field.at.repetition;
        while let Some(start) = self.field.leaves.next() {
            let (at, _) = tree.leaf(start)?;
            if asked > 0 && at.repetition != asked {
                continue;
            }
            let same = |l: &u32| {
                tree.leaf(*l)
                    .is_some_and(|(other, _)| other.repetition == at.repetition)
            };
            let end = (start + 1..self.field.leaves.end)
                .find(|l| !same(l))
                .unwrap_or(self.field.leaves.end);
            self.field.leaves.start = end;
            let at = At::new(at.field, at.repetition, 0, 0);
            return Some(Hl7Place {
                segment: self.field.segment,
                at,
                leaves: start..end,
            });
        }
        None
    }
}

/// From a repetition or component down to what a path names in it. Nothing when nothing stands there.
fn descend(tree: &Hl7Tree, place: Hl7Place, path: &Hl7Path) -> Option<Hl7Place> {
    let mut place = place;
    for part in [path.component, path.subcomponent] {
        if part == 0 {
            break;
        }
        place = if place.at.component == 0 {
            narrow(
                tree,
                &place,
                At {
                    component: part,
                    ..place.at
                },
                |at| at.component == part,
            )?
        } else if place.at.subcomponent == 0 {
            narrow(
                tree,
                &place,
                At {
                    subcomponent: part,
                    ..place.at
                },
                |at| at.subcomponent == part,
            )?
        } else if part == 1 {
            place
        } else {
            return None;
        };
    }
    Some(place)
}

fn narrow(tree: &Hl7Tree, place: &Hl7Place, at: At, fits: impl Fn(At) -> bool) -> Option<Hl7Place> {
    let is_in = |leaf: &u32| tree.leaf(*leaf).is_some_and(|(at, _)| fits(at));
    let start = place.leaves.clone().find(is_in)?;
    let end = (start..place.leaves.end)
        .find(|l| !is_in(l))
        .unwrap_or(place.leaves.end);
    Some(Hl7Place {
        segment: place.segment,
        at,
        leaves: start..end,
    })
}

/// The leaf at the first component and sub-component of a place; blanks alone are nothing.
fn first_leaf<'a>(tree: &'a Hl7Tree, place: &Hl7Place) -> Content<'a> {
    let Some(leaf) = place.leaves.clone().next() else {
        return Content::Nothing;
    };
    let Some((at, content)) = tree.leaf(leaf) else {
        return Content::Nothing;
    };
    let first = (place.at.component > 0 || at.component == 1)
        && (place.at.subcomponent > 0 || at.subcomponent == 1);
    match content {
        _ if !first => Content::Nothing,
        Leaf::Null => Content::Null,
        Leaf::Text(text) if text.trim().is_empty() => Content::Nothing,
        Leaf::Text(text) => Content::Text(Cow::Borrowed(text), leaf..leaf + 1),
    }
}

fn joined<'a>(tree: &Hl7Tree, place: &Hl7Place) -> Content<'a> {
    let (component_mark, subcomponent_mark) = tree.delimiters();
    let mut text = String::new();
    let (mut component, mut subcomponent) =
        (place.at.component.max(1), place.at.subcomponent.max(1));
    for leaf in place.leaves.clone() {
        let Some((at, content)) = tree.leaf(leaf) else {
            continue;
        };
        while component < at.component {
            text.push(component_mark);
            component += 1;
            subcomponent = 1;
        }
        while subcomponent < at.subcomponent {
            text.push(subcomponent_mark);
            subcomponent += 1;
        }
        text.push_str(if let Leaf::Text(part) = content {
            part
        } else {
            "\"\""
        });
    }
    if text.trim().is_empty() {
        Content::Nothing
    } else {
        Content::Text(Cow::Owned(text), place.leaves.clone())
    }
}

fn json_content(value: ValueRef<'_>) -> Content<'_> {
    match value.primitive_text() {
        Some(text) if !text.trim().is_empty() => {
            Content::Text(text, value.position()..value.position() + 1)
        }
        _ => Content::Nothing,
    }
}
