//! What can be wrong with mapping files, and what can stop a run.
//!
//! Left out on purpose: what is merely odd about a message. That is a [`crate::MapIssue`] and stops nothing.

use std::fmt;

/// One fault of a mapping or code file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file, relative to the folder loaded.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl LoadError {
    pub(crate) fn at(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for LoadError {}

/// All faults found while loading; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

impl From<LoadError> for LoadErrors {
    fn from(error: LoadError) -> Self {
        Self(vec![error])
    }
}

/// Why a message gave no resources. The message must be kept and refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The mapping reads HL7 v2 and was given JSON, or the other way round.
    #[error("mapping `{mapping}` does not read this kind of source")]
    WrongInput {
        /// Id of the mapping.
        mapping: String,
    },
    /// Nothing in the message says whose or which record it is, so storing it would be a guess.
    #[error(
        "rule `{rule}`: no usable identifier for {place}: the segment that names it is missing or gives none, or the sender leaves the authority out and the feed has no default one"
    )]
    NoIdentity {
        /// Rule that could not name its resource.
        rule: String,
        /// Segment or element without identifier.
        place: String,
    },
    /// A required element stayed empty.
    #[error("rule `{rule}`: `{element}` is required and nothing at {place} gives it")]
    MissingElement {
        /// Rule that could not complete its resource.
        rule: String,
        /// The element.
        element: String,
        /// Segment or element it was made from.
        place: String,
    },
    /// The message would make more resources than [`crate::RESOURCES_MAX`].
    #[error("the message makes more than {max} resources")]
    TooManyResources {
        /// The limit.
        max: usize,
    },
}
