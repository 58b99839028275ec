//! A second opinion on every message: the hl7-parser crate must find the same segments and as many fields in each.
//!
//! Two readers that were written apart seldom make the same mistake; when they differ, the message is refused and
//! kept, because one of them would have lost something. hl7-parser is asked about text in the one form it reads
//! without fault: decoded, CR line ends, exactly four encoding characters. Only its raw places are used; what it
//! does with escapes, queries and times is not.
//!
//! Left out on purpose: local lines without identifier, which hl7-parser stops at.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mappings::At;

use super::charset::to_u32;
use super::tokenize::{Delimiters, Message, Segment};
use crate::issue::{Issue, Severity};

/// Compares both readings.
///
/// # Errors
/// An issue naming the first segment they differ in.
pub fn second_opinion(message: &Message<'_>) -> Result<(), Issue> {
    let text = plain_form(message);
    // hl7-parser has no unsafe code and keeps no state, so nothing is left broken behind a panic of it.
    let compared = catch_unwind(AssertUnwindSafe(|| compare(message, &text)));
    match compared {
        Ok(Agreement::Same) => Ok(()),
        Ok(Agreement::Differs(index)) => Err(differs(message, index)),
        Err(_) => Err(differs(message, 0)),
    }
}

enum Agreement {
    Same,
    /// In the segment of this index.
    Differs(usize),
}

fn compare(message: &Message<'_>, text: &str) -> Agreement {
    let Ok(parsed) = hl7_parser::Message::parse(text) else { return Agreement::Differs(0) };
    let mut other = parsed.segments();
    let mut consumed = 0;
    for (index, segment) in message.segments.iter().enumerate() {
        let Some(found) = other.next() else { return Agreement::Differs(index) };
        let expected = usize::try_from(segment.fields).unwrap_or(usize::MAX).max(fields_least(index));
        if found.name != segment.id.as_str() || found.fields().count() != expected {
            return Agreement::Differs(index);
        }
        consumed += found.raw_value().len() + 1;
    }
    // hl7-parser stops without a word at the first line it cannot read.
    let complete = other.next().is_none() && parsed.raw_value().len() == text.len() && consumed == text.len() + 1;
    if complete { Agreement::Same } else { Agreement::Differs(message.segments.len().saturating_sub(1)) }
}

/// Fields hl7-parser sees in a segment without any: MSH-1 to MSH-3, or one.
fn fields_least(index: usize) -> usize {
    if index == 0 { 3 } else { 1 }
}

/// The message as hl7-parser reads it without fault.
fn plain_form(message: &Message<'_>) -> String {
    let separator = char::from(message.delimiters.field);
    let mut text = String::with_capacity(message.text.len() + 16);
    for (index, segment) in message.segments.iter().enumerate() {
        if index > 0 {
            text.push('\r');
        }
        text.push_str(segment.id.as_str());
        let rest = if index == 0 {
            text.push(separator);
            text.extend(four(&message.delimiters).map(char::from));
            after_msh_2(message, segment)
        } else {
            message.text_at(&segment.span).get(3..).unwrap_or("")
        };
        text.push_str(rest);
        if rest.is_empty() {
            text.push(separator);
        }
    }
    text
}

/// MSH from the separator behind MSH-2.
fn after_msh_2<'t>(message: &Message<'t>, segment: &Segment) -> &'t str {
    let encoding = message.leaves_of(segment).get(1).map_or(segment.span.end, |leaf| leaf.span.end);
    message.text_at(&(encoding..segment.span.end))
}

/// Exactly four encoding characters: `#` is left out, missing ones are filled with characters that delimit no field.
fn four(delimiters: &Delimiters) -> [u8; 4] {
    let declared = [Some(delimiters.component), delimiters.repetition, delimiters.escape, delimiters.subcomponent];
    let mut free = b"^~\\&!$%*+;=?@"
        .iter()
        .copied()
        .filter(|b| *b != delimiters.field && !declared.contains(&Some(*b)));
    declared.map(|byte| byte.or_else(|| free.next()).unwrap_or(b'~'))
}

fn differs(message: &Message<'_>, index: usize) -> Issue {
    let text = "two readers of HL7 v2 do not agree on this segment; the message was kept and not processed";
    let issue = Issue::new(Severity::Error, "second-opinion", text);
    match message.segments.get(index) {
        None => issue,
        Some(segment) => {
            let same = message.segments.iter().take(index + 1).filter(|s| s.id == segment.id).count();
            issue.at_segment(segment.id.as_str(), to_u32(same), At::new(0, 0, 0, 0))
        }
    }
}
