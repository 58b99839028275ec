//! The values of search parameters, one file for each type, and the table that leads there.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#ptypes>

mod composite;
mod date;
mod number;
mod prefix;
mod quantity;
mod reference;
mod special;
mod string;
mod token;
mod uri;

use conformance::{ParamType, ResourceTypeId, SearchParam};

use super::query::Context;
use super::text::shown;
use crate::issue::{ErrorKind, Issue, Problem, Severity};
use crate::search::predicate::ValueTest;

pub use prefix::PREFIXES;

/// How the text after the colon changes a parameter. `:missing` is dealt with before values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// None.
    Plain,
    /// `:exact`
    Exact,
    /// `:contains`
    Contains,
    /// `:text`
    Text,
    /// `:not`; the caller turns the result around.
    Not,
    /// `:of-type`
    OfType,
    /// `:identifier`
    Identifier,
    /// `:above`
    Above,
    /// `:below`
    Below,
    /// `:in`
    In,
    /// `:not-in`; the caller turns the result around.
    NotIn,
    /// Equal without case and accents; only inside `_filter`.
    Equals,
    /// Ends with; only inside `_filter`.
    EndsWith,
    /// Overlaps; only inside `_filter`.
    Overlaps,
    /// `:Patient`
    Type(ResourceTypeId),
}

/// What is known about the parameter whose value is read.
pub struct Reading<'a> {
    /// Its definition.
    pub param: &'static SearchParam,
    /// Its modifier, one of those in its row of the table.
    pub modifier: Modifier,
    /// Base urls, clock, limits.
    pub context: &'a Context<'a>,
    /// Where warnings go.
    pub warnings: &'a mut Vec<Issue>,
}

impl Reading<'_> {
    /// A value that cannot be read; `form` says how it should look.
    pub fn bad_value(&self, form: &str) -> Problem {
        let text = format!("a value of `{}` cannot be read: {form}", self.param.code);
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(self.param.code)
    }

    /// Something the answer disregards.
    pub fn warn(&mut self, text: String) {
        self.warnings.push(Issue {
            severity: Severity::Warning,
            kind: ErrorKind::BAD_PARAMETER_VALUE,
            diagnostics: text,
            expression: Some(self.param.code.to_owned()),
        });
    }
}

/// One parameter type: what it takes and who reads it.
pub struct TypeRow {
    /// The type.
    pub kind: ParamType,
    /// Modifiers by name, `:missing` and types aside.
    pub modifiers: &'static [(&'static str, Modifier)],
    /// Whether values may start with a prefix.
    pub takes_prefix: bool,
    /// Reads one value, still escaped, into tests of which at least one must hold.
    pub read: fn(&mut Reading<'_>, &str) -> Result<Vec<ValueTest>, Problem>,
}

const NONE: &[(&str, Modifier)] = &[];

/// Every parameter type. Parsing, error texts and the CapabilityStatement all look here.
pub static TYPE_ROWS: [TypeRow; 9] = [
    TypeRow {
        kind: ParamType::Number,
        modifiers: NONE,
        takes_prefix: true,
        read: number::read,
    },
    TypeRow {
        kind: ParamType::Date,
        modifiers: NONE,
        takes_prefix: true,
        read: date::read,
    },
    TypeRow {
        kind: ParamType::String,
        modifiers: &[("exact", Modifier::Exact), ("contains", Modifier::Contains)],
        takes_prefix: false,
        read: string::read,
    },
    TypeRow {
        kind: ParamType::Token,
        modifiers: &[
            ("not", Modifier::Not),
            ("text", Modifier::Text),
            ("above", Modifier::Above),
            ("below", Modifier::Below),
            ("in", Modifier::In),
            ("not-in", Modifier::NotIn),
            ("of-type", Modifier::OfType),
        ],
        takes_prefix: false,
        read: token::read,
    },
    TypeRow {
        kind: ParamType::Reference,
        modifiers: &[
            ("identifier", Modifier::Identifier),
            ("above", Modifier::Above),
            ("below", Modifier::Below),
        ],
        takes_prefix: false,
        read: reference::read,
    },
    TypeRow {
        kind: ParamType::Quantity,
        modifiers: NONE,
        takes_prefix: true,
        read: quantity::read,
    },
    TypeRow {
        kind: ParamType::Uri,
        modifiers: &[("above", Modifier::Above), ("below", Modifier::Below)],
        takes_prefix: false,
        read: uri::read,
    },
    TypeRow {
        kind: ParamType::Composite,
        modifiers: NONE,
        takes_prefix: false,
        read: composite::read,
    },
    TypeRow {
        kind: ParamType::Special,
        modifiers: NONE,
        takes_prefix: false,
        read: special::read,
    },
];

/// The row of a type.
pub fn type_row(kind: ParamType) -> &'static TypeRow {
    let [
        number,
        date,
        string,
        token,
        reference,
        quantity,
        uri,
        composite,
        special,
    ] = &TYPE_ROWS;
    match kind {
        ParamType::Number => number,
        ParamType::Date => date,
        ParamType::String => string,
        ParamType::Token => token,
        ParamType::Reference => reference,
        ParamType::Quantity => quantity,
        ParamType::Uri => uri,
        ParamType::Composite => composite,
        ParamType::Special => special,
    }
}

/// Reads one value of a parameter.
///
/// # Errors
/// `bad-parameter-value`, `unknown-prefix`, `unknown-modifier`, `too-costly`
pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    if text.len() > reading.context.limits.value_bytes_max {
        let limit = reading.context.limits.value_bytes_max;
        let text = format!(
            "a value of `{}` is longer than {limit} bytes",
            reading.param.code
        );
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at(reading.param.code));
    }
    if text.is_empty() {
        return Err(reading.bad_value("it is empty; leave the parameter out, or use `:missing`"));
    }
    (type_row(reading.param.kind).read)(reading, text)
}

/// The text of a name that errors repeat, in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", shown(name))
}
