//! `_filter`: a search written as one expression.
//!
//! Spec: <https://hl7.org/fhir/R4/search_filter.html>. `and` and `or` have the same rank and are taken from left to right, as the
//! specification says; parentheses group. `ne` on texts, codes and references means that no value is equal.

mod build;
mod parse;

#[cfg(test)]
mod tests;

pub use parse::parse;

/// A filter that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// At least one.
    Or(Box<Filter>, Box<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// A parameter compared with a value.
    Compare {
        /// The way there: the last step is compared, those before are references.
        path: Vec<Step>,
        /// How.
        operator: Operator,
        /// With what.
        value: String,
    },
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A search parameter, for references also with a type behind a colon.
    pub name: String,
    /// What the resource referred to must match besides.
    pub filter: Option<Filter>,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater.
    Gt,
    /// Less.
    Lt,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Approximately.
    Ap,
    /// Starts after.
    Sa,
    /// Ends before.
    Eb,
    /// Has a value, or has none.
    Pr,
    /// Overlaps.
    Po,
    /// The value given subsumes the one in the data.
    Ss,
    /// The value given is subsumed by the one in the data.
    Sb,
    /// In a value set.
    In,
    /// Not in a value set.
    Ni,
    /// Refers to.
    Re,
}

impl Operator {
    /// All of them by name.
    pub const ALL: [(&'static str, Operator); 19] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("co", Self::Co),
        ("sw", Self::Sw),
        ("ew", Self::Ew),
        ("gt", Self::Gt),
        ("lt", Self::Lt),
        ("ge", Self::Ge),
        ("le", Self::Le),
        ("ap", Self::Ap),
        ("sa", Self::Sa),
        ("eb", Self::Eb),
        ("pr", Self::Pr),
        ("po", Self::Po),
        ("ss", Self::Ss),
        ("sb", Self::Sb),
        ("in", Self::In),
        ("ni", Self::Ni),
        ("re", Self::Re),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, operator)| *operator == self)
            .map_or("", |(name, _)| name)
    }
}
