//! Why a text is not acceptable JSON, and where.

use std::fmt;

/// What is wrong with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// The bytes are not UTF-8 (RFC 8259 §8.1).
    NotUtf8,
    /// The text ends inside a value.
    UnexpectedEnd,
    /// A character that cannot stand here.
    UnexpectedCharacter,
    /// A number that RFC 8259 §6 does not allow, such as `01`, `+1` or `1.`.
    BadNumber,
    /// An escape that RFC 8259 §7 does not allow, or half of a surrogate pair.
    BadEscape,
    /// A control character below U+0020 inside a string.
    ControlCharacter,
    /// An object names the same member twice; which one counts would be a guess.
    DuplicateMember,
    /// Deeper than [`super::JSON_DEPTH_MAX`].
    TooDeep,
    /// Longer than 4 GiB.
    TooLong,
    /// Something follows the value.
    TrailingCharacters,
}

/// A refused text: kind and place. Carries no content of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

impl JsonError {
    pub(super) fn at(kind: JsonErrorKind, text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        Self { kind, line, column }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::NotUtf8 => "the text is not UTF-8",
            JsonErrorKind::UnexpectedEnd => "the text ends inside a value",
            JsonErrorKind::UnexpectedCharacter => "a character that cannot stand here",
            JsonErrorKind::BadNumber => "not a JSON number",
            JsonErrorKind::BadEscape => "not a JSON escape",
            JsonErrorKind::ControlCharacter => "an unescaped control character in a string",
            JsonErrorKind::DuplicateMember => "an object names the same member twice",
            JsonErrorKind::TooDeep => "nested too deep",
            JsonErrorKind::TooLong => "longer than 4 GiB",
            JsonErrorKind::TrailingCharacters => "something follows the value",
        };
        write!(f, "{what} (line {}, column {})", self.line, self.column)
    }
}

impl std::error::Error for JsonError {}
