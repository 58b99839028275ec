//! What searching asks of terminology: members of value sets, and what lies above and below a code.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#token>, modifiers `:in`, `:not-in`, `:above`, `:below`

use conformance::Definitions;

use crate::terminology::{Catalogue, Terminology};

/// Knowledge of codes. An error says what is not known; it is told to the client.
pub trait Codes: Sync {
    /// System and code of every member of a value set.
    ///
    /// # Errors
    /// The value set is not known, or cannot be expanded.
    fn expand(&self, value_set: &str) -> Result<Vec<(String, String)>, String>;

    /// The code and everything below it.
    ///
    /// # Errors
    /// The code system is not known, or has no such code.
    fn below(&self, system: &str, code: &str) -> Result<Vec<String>, String>;

    /// The code and everything above it.
    ///
    /// # Errors
    /// The code system is not known, or has no such code.
    fn above(&self, system: &str, code: &str) -> Result<Vec<String>, String>;
}

impl Codes for Catalogue {
    fn expand(&self, value_set: &str) -> Result<Vec<(String, String)>, String> {
        let found = Terminology::expand(self, value_set).map_err(|error| error.to_string())?;
        Ok(found
            .into_iter()
            .map(|coded| (coded.system, coded.code))
            .collect())
    }

    fn below(&self, system: &str, code: &str) -> Result<Vec<String>, String> {
        self.subsumed_by(system, code)
            .map_err(|error| error.to_string())
    }

    fn above(&self, system: &str, code: &str) -> Result<Vec<String>, String> {
        self.ancestors(system, code)
            .map_err(|error| error.to_string())
    }
}

/// The value sets that R4 requires somewhere, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Required;

impl Codes for Required {
    fn expand(&self, value_set: &str) -> Result<Vec<(String, String)>, String> {
        let list = Definitions::r4().required_codes(value_set);
        let list = list.ok_or_else(|| "the value set is not loaded here".to_owned())?;
        let pair = |code: &conformance::Code| (code.system.to_owned(), code.code.to_owned());
        Ok(list.codes.iter().map(pair).collect())
    }

    fn below(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Err("the code system is not loaded here".to_owned())
    }

    fn above(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Err("the code system is not loaded here".to_owned())
    }
}
