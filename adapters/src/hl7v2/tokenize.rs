//! Splits segments into fields, repetitions, components and sub-components, each with its place in the text.
//!
//! HL7 v2 chapter 2, "Message delimiters". Works for v2.1 to v2.9 and any delimiters; escapes are left for `escape`,
//! since an escape sequence never contains a delimiter.
//!
//! Left out on purpose: empty places. They have no leaf, only the number of a segment's fields tells of them.

use std::ops::Range;

use mappings::SegmentId;
pub use mappings::At;

use super::charset::to_u32;
use super::normalise::Lines;
use crate::issue::{Issue, Severity};

/// Most filled places of one message; each costs some 50 bytes while the message is read.
pub const LEAVES_MAX: usize = 1_000_000;

/// A message's delimiters, all ASCII and different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    /// MSH-1, `|`.
    pub field: u8,
    /// First of MSH-2, `^`.
    pub component: u8,
    /// Second of MSH-2, `~`; v2.1 senders may leave it and all that follow out.
    pub repetition: Option<u8>,
    /// Third, `\`.
    pub escape: Option<u8>,
    /// Fourth, `&`.
    pub subcomponent: Option<u8>,
    /// Fifth, from v2.7: `#`, which marks a text cut by its sender.
    pub truncation: Option<u8>,
}

impl Delimiters {
    /// What HL7 v2 recommends, `|^~\&`.
    pub const STANDARD: Delimiters = Delimiters {
        field: b'|',
        component: b'^',
        repetition: Some(b'~'),
        escape: Some(b'\\'),
        subcomponent: Some(b'&'),
        truncation: None,
    };

    /// The delimiters that a text starting with MSH declares.
    ///
    /// # Errors
    /// An issue naming MSH-1 or MSH-2.
    pub fn of(text: &str, issues: &mut Vec<Issue>) -> Result<Delimiters, Issue> {
        let bytes = text.as_bytes();
        let wrong = |field: u16, text: &'static str| {
            Err(Issue::new(Severity::Error, "delimiters", text).at_field(field))
        };
        let Some(field) = bytes.get(3).copied().filter(|b| is_delimiter(*b)) else {
            return wrong(1, "MSH-1 is not a field separator; use |");
        };
        let rest = bytes.get(4..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == field || matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let mut all = [None; 5];
        let declared = rest.get(..end).unwrap_or_default();
        if declared.is_empty() || declared.len() > all.len() {
            return wrong(2, "MSH-2 has one to five encoding characters; use ^~\\&");
        }
        for (i, byte) in declared.iter().enumerate() {
            if !is_delimiter(*byte) || *byte == field || declared.iter().take(i).any(|other| other == byte) {
                return wrong(2, "the delimiters of MSH-1 and MSH-2 are not all different and printable; use |^~\\&");
            }
            if let Some(slot) = all.get_mut(i) {
                *slot = Some(*byte);
            }
        }
        let [component, repetition, escape, subcomponent, truncation] = all;
        if subcomponent.is_none() {
            let text = "MSH-2 declares fewer than four encoding characters; the others delimit nothing";
            issues.push(Issue::new(Severity::Warning, "delimiters-missing", text).at_field(2));
        }
        let component = component.unwrap_or(b'^');
        Ok(Delimiters { field, component, repetition, escape, subcomponent, truncation })
    }

    /// MSH-2.
    pub fn encoding_characters(&self) -> String {
        let rest = [self.repetition, self.escape, self.subcomponent, self.truncation];
        std::iter::once(self.component).chain(rest.into_iter().flatten()).map(char::from).collect()
    }
}

fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_punctuation()
}

/// A message split to its leaves.
#[derive(Debug)]
pub struct Message<'t> {
    /// The decoded text all places refer to.
    pub text: &'t str,
    /// The message's delimiters.
    pub delimiters: Delimiters,
    /// In message order, MSH first.
    pub segments: Vec<Segment>,
    /// In message order.
    pub leaves: Vec<Leaf>,
    /// Local lines that have no three-character identifier.
    pub local: Vec<Range<u32>>,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The identifier.
    pub id: SegmentId,
    /// From identifier to before the end.
    pub span: Range<u32>,
    /// How many fields the sender wrote, empty ones included; MSH-1 counts.
    pub fields: u32,
    /// Into [`Message::leaves`].
    pub leaves: Range<u32>,
}

/// A filled place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its numbers.
    pub at: At,
    /// Its text, still escaped.
    pub span: Range<u32>,
}

impl<'t> Message<'t> {
    /// The leaves of a segment.
    pub fn leaves_of(&self, segment: &Segment) -> &[Leaf] {
        self.leaves.get(segment.leaves.start as usize..segment.leaves.end as usize).unwrap_or_default()
    }

    /// The text of a place, still escaped.
    pub fn text_at(&self, span: &Range<u32>) -> &'t str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The text of the first leaf at a place of the first segment with this identifier, still escaped.
    pub fn first(&self, id: &str, at: At) -> Option<&'t str> {
        let segment = self.segments.iter().find(|s| s.id.as_str() == id)?;
        let leaf = self.leaves_of(segment).iter().find(|l| l.at == at)?;
        Some(self.text_at(&leaf.span))
    }
}

/// What a byte means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Field,
    Repetition,
    Component,
    Subcomponent,
}

/// Splits the segments.
///
/// # Errors
/// An issue naming the segment when a limit is passed.
pub fn tokenize<'t>(text: &'t str, lines: Lines) -> Result<Message<'t>, Issue> {
    let delimiters = lines.delimiters;
    let classes = classes(&delimiters);
    let mut message = Message {
        text,
        delimiters,
        segments: Vec::with_capacity(lines.segments.len()),
        leaves: Vec::with_capacity(text.len() / 8),
        local: lines.local,
    };
    for line in lines.segments {
        let first = to_u32(message.leaves.len());
        let header = message.segments.is_empty();
        let Some(fields) = split(text, &line.span, header, &classes, &mut message.leaves) else {
            let text = format!("more than {LEAVES_MAX} filled places, or 65,535 of one kind");
            let issue = Issue::new(Severity::Error, "too-many-fields", text);
            return Err(issue.at_segment(line.id.as_str(), 1, At::new(0, 0, 0, 0)));
        };
        let leaves = first..to_u32(message.leaves.len());
        message.segments.push(Segment { id: line.id, span: line.span, fields, leaves });
    }
    Ok(message)
}

fn classes(delimiters: &Delimiters) -> [Class; 256] {
    let mut classes = [Class::Text; 256];
    let mut set = |byte: Option<u8>, class: Class| {
        if let Some(slot) = byte.and_then(|b| classes.get_mut(usize::from(b))) {
            *slot = class;
        }
    };
    set(Some(delimiters.component), Class::Component);
    set(delimiters.repetition, Class::Repetition);
    set(delimiters.subcomponent, Class::Subcomponent);
    set(Some(delimiters.field), Class::Field);
    classes
}

/// Splits one segment and gives the number of its fields; `None` when a limit is passed.
fn split(
    text: &str,
    span: &Range<u32>,
    header: bool,
    classes: &[Class; 256],
    leaves: &mut Vec<Leaf>,
) -> Option<u32> {
    /// Identifier, then separator.
    const FIELDS_START: u32 = 4;
    let mut start = span.start + FIELDS_START;
    if start > span.end {
        return Some(0);
    }
    let mut at = At::new(1, 1, 1, 1);
    if header {
        // MSH-1 is the separator itself and MSH-2 holds delimiters as text: neither is split.
        let rest = text.as_bytes().get(start as usize..span.end as usize).unwrap_or_default();
        let length = rest.iter().position(|b| class(classes, *b) == Class::Field).unwrap_or(rest.len());
        let end = start + to_u32(length);
        leaves.push(Leaf { at, span: start - 1..start });
        at.field = 2;
        leaves.push(Leaf { at, span: start..end });
        if end == span.end {
            return Some(2);
        }
        at.field = 3;
        start = end + 1;
    }
    let bytes = text.as_bytes().get(start as usize..span.end as usize).unwrap_or_default();
    let mut from = start;
    for (offset, byte) in (start..).zip(bytes) {
        let class = class(classes, *byte);
        if class == Class::Text {
            continue;
        }
        if offset > from {
            leaves.push(Leaf { at, span: from..offset });
        }
        from = offset + 1;
        at = match class {
            Class::Field => At::new(at.field.checked_add(1)?, 1, 1, 1),
            Class::Repetition => At::new(at.field, at.repetition.checked_add(1)?, 1, 1),
            Class::Component => At::new(at.field, at.repetition, at.component.checked_add(1)?, 1),
            _ => At::new(at.field, at.repetition, at.component, at.subcomponent.checked_add(1)?),
        };
    }
    if span.end > from {
        leaves.push(Leaf { at, span: from..span.end });
    }
    (leaves.len() <= LEAVES_MAX).then_some(u32::from(at.field))
}

fn class(classes: &[Class; 256], byte: u8) -> Class {
    classes.get(usize::from(byte)).copied().unwrap_or(Class::Text)
}
