//! Faults of line structure that are tolerated, each reported once with its first place and how often.

use super::charset::{Offsets, to_u32};
use crate::issue::{Issue, Severity};

/// A tolerated fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    CrLf,
    LfCr,
    Lf,
    LfInText,
    BlankLine,
    BlankBeforeSegment,
    LocalLine,
    LowerCase,
    NoFields,
}

/// Code, severity and sentence of each fault, in the order of [`Fault`].
const FAULTS: [(&str, Severity, &str); 9] = [
    (
        "crlf-ends-segments",
        Severity::Information,
        "CR LF ends segments instead of CR",
    ),
    (
        "lfcr-ends-segments",
        Severity::Warning,
        "LF CR ends segments instead of CR",
    ),
    (
        "lf-ends-segments",
        Severity::Information,
        "LF ends segments instead of CR",
    ),
    (
        "line-feed-in-text",
        Severity::Warning,
        "a raw line feed stands in a field and was kept as text",
    ),
    (
        "blank-line",
        Severity::Information,
        "a blank line was left out",
    ),
    (
        "blank-before-segment",
        Severity::Warning,
        "blanks before a segment were left out",
    ),
    (
        "local-line",
        Severity::Warning,
        "a local line without three-character identifier is kept, and no mapping reads it",
    ),
    (
        "segment-lower-case",
        Severity::Warning,
        "a segment identifier in lower case was read in upper case",
    ),
    (
        "segment-without-fields",
        Severity::Information,
        "a segment has no fields",
    ),
];

/// The faults of one message.
#[derive(Debug, Default)]
pub(super) struct Tolerated([Option<(u32, u32)>; FAULTS.len()]);

impl Tolerated {
    pub(super) fn note(&mut self, fault: Fault, at: usize) {
        if let Some(slot) = self.0.get_mut(fault as usize) {
            let (_, count) = slot.get_or_insert((to_u32(at), 0));
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn report(&self, offsets: &Offsets, issues: &mut Vec<Issue>) {
        for ((code, severity, text), slot) in FAULTS.iter().zip(&self.0) {
            if let Some((at, count)) = slot {
                let text = if *count == 1 {
                    (*text).to_owned()
                } else {
                    format!("{text} ({count} times)")
                };
                issues.push(Issue::new(*severity, code, text).at_byte(offsets.raw(*at)));
            }
        }
    }
}
