//! The neutral source tree a mapping reads: an HL7 v2 message by position, or a JSON document.
//!
//! HL7 v2 chapter 2 (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>) names positions `OBX[3]-5[1].2`; so do we,
//! in lineage, issues and errors. An adapter builds the tree with [`Hl7Builder`]; this crate never sees a protocol.
//!
//! Left out on purpose: delimiters, escapes and character sets. Texts arrive decoded and unescaped.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use fhir_core::json::Document;

/// What a mapping reads.
#[derive(Debug, Clone)]
pub enum SourceTree {
    /// An HL7 v2 message, grouped by its message structure.
    Hl7v2(Hl7Tree),
    /// A JSON document: a device payload or a FHIR resource of another server.
    Json(Document),
}

/// A segment identifier: three characters, `PID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId([u8; 3]);

impl SegmentId {
    /// The identifier, when `text` is an ASCII letter followed by two ASCII letters or digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 3] = text.as_bytes().try_into().ok()?;
        let [first, second, third] = bytes;
        let fits = first.is_ascii_uppercase()
            && [second, third]
                .iter()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        fits.then_some(Self(bytes))
    }

    /// The three characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a leaf stands in its segment. All numbers count from 1 as HL7 does; MSH-1 is the field separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// Field number.
    pub field: u16,
    /// Repetition of the field.
    pub repetition: u16,
    /// Component of the repetition; 1 when the sender wrote no component separator.
    pub component: u16,
    /// Sub-component of the component; 1 when the sender wrote no sub-component separator.
    pub subcomponent: u16,
}

impl At {
    /// The position of field, repetition, component, sub-component.
    pub fn new(field: u16, repetition: u16, component: u16, subcomponent: u16) -> Self {
        Self {
            field,
            repetition,
            component,
            subcomponent,
        }
    }
}

/// The name of a place in a source: `OBX[3]-5[1].2` or `/body/weight`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Position {
    /// A leaf, or with `component == 0` a whole repetition, with `field == 0` a whole segment.
    Hl7v2 {
        /// Segment identifier.
        segment: SegmentId,
        /// The how-manieth segment of that identifier in the message, from 1.
        occurrence: u32,
        /// Where in the segment; zeros mean "all of it".
        at: At,
    },
    /// A JSON pointer.
    Json(Box<str>),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Json(pointer) => f.write_str(pointer),
            Position::Hl7v2 {
                segment,
                occurrence,
                at,
            } => {
                write!(f, "{segment}[{occurrence}]")?;
                if at.field > 0 {
                    write!(f, "-{}", at.field)?;
                }
                if at.repetition > 0 {
                    write!(f, "[{}]", at.repetition)?;
                }
                if at.component > 0 {
                    write!(f, ".{}", at.component)?;
                }
                // A lone sub-component is the component itself, so `.1` would only be noise.
                if at.subcomponent > 1 {
                    write!(f, ".{}", at.subcomponent)
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// What the sender put at a position. Positions the sender left empty or never reached have no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// Text, decoded and unescaped.
    Text(&'a str),
    /// HL7 null, `""`: the sender says "delete what you hold", which is neither absent nor an empty text.
    Null,
}

#[derive(Debug, Clone)]
struct LeafNode {
    at: At,
    /// Into `Hl7Tree::text`; `None` is HL7 null.
    text: Option<Range<u32>>,
    span: Range<u32>,
}

/// A segment of the tree.
#[derive(Debug, Clone)]
struct SegmentNode {
    id: SegmentId,
    occurrence: u32,
    group: u32,
    leaves: Range<u32>,
    span: Range<u32>,
}

#[derive(Debug, Clone)]
struct GroupNode {
    name: Box<str>,
    parent: u32,
    /// Segments of this group and of all groups inside it.
    segments: Range<u32>,
}

/// An HL7 v2 message as a flat list of leaves under segments under groups.
#[derive(Debug, Clone)]
pub struct Hl7Tree {
    /// Between components, sub-components: only to show a text with its delimiters again.
    delimiters: (char, char),
    text: String,
    leaves: Vec<LeafNode>,
    segments: Vec<SegmentNode>,
    groups: Vec<GroupNode>,
}

/// Index of a group; 0 is the message itself.
pub type GroupIndex = u32;
/// Index of a segment in the message, from 0.
pub type SegmentIndex = u32;
/// Index of a leaf in the message, from 0.
pub type LeafIndex = u32;

impl Hl7Tree {
    /// The message's component and sub-component separator.
    pub fn delimiters(&self) -> (char, char) {
        self.delimiters
    }

    /// Number of segments.
    pub fn segment_count(&self) -> u32 {
        u32::try_from(self.segments.len()).unwrap_or(u32::MAX)
    }

    /// Number of leaves.
    pub fn leaf_count(&self) -> u32 {
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// The identifier of a segment.
    pub fn segment_id(&self, segment: SegmentIndex) -> Option<SegmentId> {
        self.segments.get(segment as usize).map(|s| s.id)
    }

    /// The bytes of the received message the segment was read from.
    pub fn segment_span(&self, segment: SegmentIndex) -> Option<Range<u32>> {
        self.segments.get(segment as usize).map(|s| s.span.clone())
    }

    /// The group that holds the segment directly.
    pub fn group_of(&self, segment: SegmentIndex) -> GroupIndex {
        self.segments.get(segment as usize).map_or(0, |s| s.group)
    }

    /// The group around a group; `None` for the message itself.
    pub fn parent_of(&self, group: GroupIndex) -> Option<GroupIndex> {
        if group == 0 {
            None
        } else {
            self.groups.get(group as usize).map(|g| g.parent)
        }
    }

    /// The name of a group, `PATIENT_RESULT`; the message structure for group 0.
    pub fn group_name(&self, group: GroupIndex) -> &str {
        self.groups.get(group as usize).map_or("", |g| &g.name)
    }

    /// Segments of a group, with those of the groups inside it.
    pub fn segments_within(&self, group: GroupIndex) -> Range<SegmentIndex> {
        self.groups
            .get(group as usize)
            .map_or(0..0, |g| g.segments.clone())
    }

    /// Indices of a segment's leaves, in message order.
    pub fn leaves_of(&self, segment: SegmentIndex) -> Range<LeafIndex> {
        self.segments
            .get(segment as usize)
            .map_or(0..0, |s| s.leaves.clone())
    }

    /// What stands at a leaf.
    pub fn leaf(&self, leaf: LeafIndex) -> Option<(At, Leaf<'_>)> {
        let node = self.leaves.get(leaf as usize)?;
        let content = match &node.text {
            None => Leaf::Null,
            Some(range) => Leaf::Text(self.text.get(range.start as usize..range.end as usize)?),
        };
        Some((node.at, content))
    }

    /// The segment a leaf belongs to.
    pub fn segment_of(&self, leaf: LeafIndex) -> Option<SegmentIndex> {
        let after = self.segments.partition_point(|s| s.leaves.start <= leaf);
        // Segments without leaves share their start with the next, so the last that starts early enough holds it.
        let index = after.checked_sub(1)?;
        self.segments
            .get(index)
            .filter(|s| s.leaves.contains(&leaf))
            .map(|_| to_u32(index))
    }

    /// The bytes of the received message the leaf was read from.
    pub fn leaf_span(&self, leaf: LeafIndex) -> Option<Range<u32>> {
        self.leaves.get(leaf as usize).map(|n| n.span.clone())
    }

    /// The leaves of a segment's field from `from` on, as indices: a linear walk, since segments are short.
    pub fn leaves_of_field(&self, segment: SegmentIndex, field: u16) -> Range<LeafIndex> {
        let all = self.leaves_of(segment);
        let nodes = self
            .leaves
            .get(all.start as usize..all.end as usize)
            .unwrap_or_default();
        let start = nodes.partition_point(|n| n.at.field < field);
        let end = nodes.partition_point(|n| n.at.field <= field);
        let base = all.start as usize;
        to_u32(base + start)..to_u32(base + end)
    }

    /// The name of a leaf's place.
    pub fn position(&self, segment: SegmentIndex, at: At) -> Option<Position> {
        let node = self.segments.get(segment as usize)?;
        Some(Position::Hl7v2 {
            segment: node.id,
            occurrence: node.occurrence,
            at,
        })
    }
}

/// Builds an [`Hl7Tree`] from segments in message order.
///
/// ```text
/// let mut b = Hl7Builder::new("ORU_R01");
/// b.segment(msh, 0..70); b.leaf(At::new(9, 1, 1, 1), "ORU", 30..33); ...
/// b.open_group("PATIENT_RESULT"); b.open_group("PATIENT"); b.segment(pid, ..); ... b.close_group(); ...
/// ```
#[derive(Debug)]
pub struct Hl7Builder {
    tree: Hl7Tree,
    open: Vec<GroupIndex>,
    /// Segments so far by identifier.
    occurrences: HashMap<SegmentId, u32>,
}

impl Hl7Builder {
    /// Starts a message of a structure, `ORU_R01`.
    pub fn new(structure: &str) -> Self {
        let root = GroupNode {
            name: structure.into(),
            parent: 0,
            segments: 0..0,
        };
        Self {
            tree: Hl7Tree {
                delimiters: ('^', '&'),
                text: String::new(),
                leaves: Vec::new(),
                segments: Vec::new(),
                groups: vec![root],
            },
            open: vec![0],
            occurrences: HashMap::new(),
        }
    }

    /// Sets the message's component and sub-component separator when they are not `^` and `&`.
    pub fn delimiters(&mut self, component: char, subcomponent: char) {
        self.tree.delimiters = (component, subcomponent);
    }

    /// Opens a group inside the open one.
    pub fn open_group(&mut self, name: &str) {
        let parent = self.open.last().copied().unwrap_or(0);
        let start = self.tree.segment_count();
        let index = to_u32(self.tree.groups.len());
        self.tree.groups.push(GroupNode {
            name: name.into(),
            parent,
            segments: start..start,
        });
        self.open.push(index);
    }

    /// Closes the group opened last. The message itself stays open until [`Hl7Builder::finish`].
    pub fn close_group(&mut self) {
        if self.open.len() > 1
            && let Some(index) = self.open.pop()
        {
            self.end_group(index);
        }
    }

    /// Names of the open groups, outermost first, without the message itself.
    pub fn open_groups(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.open.iter().skip(1).map(|g| self.tree.group_name(*g))
    }

    /// Starts a segment in the open group; `span` are its bytes in the message as received.
    pub fn segment(&mut self, id: SegmentId, span: Range<u32>) {
        let count = self.occurrences.entry(id).or_insert(0);
        *count += 1;
        let occurrence = *count;
        let leaves = self.tree.leaf_count();
        let group = self.open.last().copied().unwrap_or(0);
        self.tree.segments.push(SegmentNode {
            id,
            occurrence,
            group,
            leaves: leaves..leaves,
            span,
        });
    }

    /// Adds a text to the segment started last. Positions must rise; an empty text adds nothing.
    pub fn leaf(&mut self, at: At, text: &str, span: Range<u32>) {
        if text.is_empty() {
            return;
        }
        let start = to_u32(self.tree.text.len());
        self.tree.text.push_str(text);
        let end = to_u32(self.tree.text.len());
        self.push(LeafNode {
            at,
            text: Some(start..end),
            span,
        });
    }

    /// Adds an HL7 null, `""`, to the segment started last.
    pub fn null(&mut self, at: At, span: Range<u32>) {
        self.push(LeafNode {
            at,
            text: None,
            span,
        });
    }

    /// The finished tree; groups still open are closed.
    pub fn finish(mut self) -> Hl7Tree {
        while let Some(index) = self.open.pop() {
            self.end_group(index);
        }
        self.tree
    }

    fn end_group(&mut self, index: GroupIndex) {
        let end = self.tree.segment_count();
        if let Some(group) = self.tree.groups.get_mut(index as usize) {
            group.segments.end = end;
        }
    }

    fn push(&mut self, node: LeafNode) {
        let Some(segment) = self.tree.segments.last_mut() else {
            return;
        };
        let leaves = self
            .tree
            .leaves
            .get(segment.leaves.start as usize..)
            .unwrap_or_default();
        // Readers search by position, so a leaf out of order goes to its place instead of being lost.
        let offset = leaves.partition_point(|l| l.at <= node.at);
        self.tree
            .leaves
            .insert(segment.leaves.start as usize + offset, node);
        segment.leaves.end += 1;
    }
}

/// A message is limited to far less than 4 GiB before it becomes a tree, so this never saturates in practice.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
