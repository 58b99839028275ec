//! One odd thing about a message: what, where, how bad. Never a value of the message.
//!
//! Severities are those of <https://hl7.org/fhir/R4/valueset-issue-severity.html> without `fatal`.

use std::borrow::Cow;
use std::fmt;

use mappings::{At, MapIssue, Position, SegmentId};

/// How much an issue matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A documented rule was applied; nothing was lost.
    Information,
    /// The message departs from the standard, or content could not be placed; the message was still processed.
    Warning,
    /// The message cannot be processed.
    Error,
}

impl Severity {
    /// The code of OperationOutcome.issue.severity.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Something odd about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How much it matters.
    pub severity: Severity,
    /// Stable id, `line-feed-ends-segments`.
    pub code: Cow<'static, str>,
    /// The element, when one can be named.
    pub position: Option<Position>,
    /// First byte of the place in the raw message, when known.
    pub offset: Option<u32>,
    /// One sentence for people: what is odd and what was done. No patient data.
    pub text: Cow<'static, str>,
}

impl Issue {
    /// An issue without a place.
    pub fn new(severity: Severity, code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { severity, code: Cow::Borrowed(code), position: None, offset: None, text: text.into() }
    }

    /// The same at an element.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// The same at a field of MSH.
    #[must_use]
    pub(crate) fn at_field(self, field: u16) -> Self {
        self.at_segment("MSH", 1, At::new(field, 0, 0, 0))
    }

    /// The same at a place of a segment.
    #[must_use]
    pub(crate) fn at_segment(mut self, segment: &str, occurrence: u32, at: At) -> Self {
        self.position = SegmentId::parse(segment).map(|segment| Position::Hl7v2 { segment, occurrence, at });
        self
    }

    /// The same at a byte of the raw message.
    #[must_use]
    pub fn at_byte(mut self, offset: u32) -> Self {
        self.offset = Some(offset);
        self
    }
}

impl From<&MapIssue> for Issue {
    fn from(issue: &MapIssue) -> Self {
        let severity = match issue.severity {
            mappings::Severity::Information => Severity::Information,
            mappings::Severity::Warning => Severity::Warning,
        };
        Self {
            severity,
            code: Cow::Borrowed(issue.code.id()),
            position: issue.source.clone(),
            offset: None,
            text: Cow::Owned(format!("{}, for {}", issue.code.text(), issue.target)),
        }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)?;
        if let Some(position) = &self.position {
            write!(f, " at {position}")?;
        }
        match self.offset {
            Some(offset) => write!(f, " (byte {offset})"),
            None => Ok(()),
        }
    }
}
