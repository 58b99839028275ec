//! Value sets, code systems and concept maps: what R4 brings along and what was loaded.
//!
//! Spec: <https://hl7.org/fhir/R4/terminology-service.html>. Left out: designations in other languages, versions of code
//! systems beyond the one loaded last, and code systems that nobody loaded (SNOMED CT, LOINC): questions about them are
//! answered with "not known", never with a guess.

mod catalogue;
mod code_system;
mod concept_map;
mod filter;
#[cfg(test)]
mod tests;
mod value_set;

use std::fmt;

pub use catalogue::{Catalogue, Kind, Loaded};
pub use code_system::{CodeSystem, Concept};
pub use concept_map::{Match, translate};
pub use value_set::Expansion;

/// Most codes an expansion may have; one has 20,000 codes already when it joins all of R4's own systems.
pub const EXPANSION_CODES_MAX: usize = 200_000;

/// Deepest chain of value sets that name value sets; a bound ends circles.
pub const VALUE_SET_DEPTH_MAX: usize = 20;

/// A code of a code system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coded {
    /// Canonical URL of the code system.
    pub system: String,
    /// The code.
    pub code: String,
    /// Its display, if one is known.
    pub display: Option<String>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminologyError {
    /// No such value set is loaded.
    UnknownValueSet(String),
    /// No such code system is loaded, or not all of it.
    UnknownCodeSystem(String),
    /// No such code in the code system.
    UnknownCode,
    /// A filter or form that is not computed here.
    Unsupported(String),
    /// More than [`EXPANSION_CODES_MAX`] codes.
    TooManyCodes,
    /// Value sets that name each other, or deeper than [`VALUE_SET_DEPTH_MAX`].
    TooDeep,
}

impl fmt::Display for TerminologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownValueSet(url) => write!(f, "the value set {url} is not loaded"),
            Self::UnknownCodeSystem(url) => {
                write!(f, "the code system {url} is not loaded, or not completely")
            }
            Self::UnknownCode => f.write_str("the code system has no such code"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::TooManyCodes => {
                write!(f, "the expansion has more than {EXPANSION_CODES_MAX} codes")
            }
            Self::TooDeep => write!(
                f,
                "value sets name each other in a circle, or more than {VALUE_SET_DEPTH_MAX} deep"
            ),
        }
    }
}

impl std::error::Error for TerminologyError {}

/// What searching asks of terminology, for `:in`, `:not-in`, `:below` and `:above`.
pub trait Terminology: Send + Sync {
    /// Every code of a value set.
    ///
    /// # Errors
    /// [`TerminologyError`]
    fn expand(&self, value_set: &str) -> Result<Vec<Coded>, TerminologyError>;

    /// The code and everything below it.
    ///
    /// # Errors
    /// [`TerminologyError`]
    fn subsumed_by(&self, system: &str, code: &str) -> Result<Vec<String>, TerminologyError>;

    /// The code and everything above it.
    ///
    /// # Errors
    /// [`TerminologyError`]
    fn ancestors(&self, system: &str, code: &str) -> Result<Vec<String>, TerminologyError>;
}

impl Terminology for Catalogue {
    fn expand(&self, value_set: &str) -> Result<Vec<Coded>, TerminologyError> {
        self.expansion(value_set)
            .map(|expansion| expansion.codes.clone())
    }

    fn subsumed_by(&self, system: &str, code: &str) -> Result<Vec<String>, TerminologyError> {
        let known = self.complete_system(system)?;
        let index = known.index_of(code).ok_or(TerminologyError::UnknownCode)?;
        Ok(known
            .below(index)
            .into_iter()
            .map(|at| known.code_at(at))
            .collect())
    }

    fn ancestors(&self, system: &str, code: &str) -> Result<Vec<String>, TerminologyError> {
        let known = self.complete_system(system)?;
        let index = known.index_of(code).ok_or(TerminologyError::UnknownCode)?;
        Ok(known
            .above(index)
            .into_iter()
            .map(|at| known.code_at(at))
            .collect())
    }
}
