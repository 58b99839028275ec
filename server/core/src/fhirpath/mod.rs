//! FHIRPath (Normative Release 1): parser, evaluator, and a compiler of search expressions to paths.
//!
//! Spec: <http://hl7.org/fhirpath/N1/>, <https://hl7.org/fhir/R4/fhirpath.html>
//!
//! The parser takes the whole grammar. The evaluator names what it leaves out in [`eval`].

use std::fmt;

mod ast;
pub mod compile;
pub mod eval;
mod lexer;
mod parser;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

pub use ast::{Expression, Literal, Operator, TypeName};
pub use parser::parse;

/// Longest expression in bytes. The longest invariant of R4 has under 2,000.
pub const EXPRESSION_BYTES_MAX: usize = 8_000;

/// Deepest nesting of an expression; a bound keeps recursion over it inside the stack.
pub const EXPRESSION_DEPTH_MAX: usize = 100;

/// Why a text is no FHIRPath expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Byte offset in the text.
    pub at: usize,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// A character that starts no token.
    UnexpectedCharacter,
    /// A token that cannot stand here, or the end.
    UnexpectedToken,
    /// A quote or comment that is never closed.
    Unterminated,
    /// Not an escape of FHIRPath.
    BadEscape,
    /// Longer than [`EXPRESSION_BYTES_MAX`].
    TooLong,
    /// Nested deeper than [`EXPRESSION_DEPTH_MAX`].
    TooDeep,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ParseErrorKind::UnexpectedCharacter => "a character that cannot stand here",
            ParseErrorKind::UnexpectedToken => "an expression that does not go on like this",
            ParseErrorKind::Unterminated => "a quote or comment that is not closed",
            ParseErrorKind::BadEscape => "not a FHIRPath escape",
            ParseErrorKind::TooLong => "an expression that is too long",
            ParseErrorKind::TooDeep => "an expression nested too deep",
        };
        write!(f, "{what} (at byte {})", self.at)
    }
}

impl std::error::Error for ParseError {}
