//! The `Prefer` header: what to send back after a write, and how to treat unknown search parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#ops>, <https://hl7.org/fhir/R4/search.html#errors>, RFC 7240. Left out:
//! `respond-async`, which comes with bulk export.

/// What a write answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Return {
    /// The resource as stored. The default: a client sees what the server made of its data.
    #[default]
    Representation,
    /// Headers only.
    Minimal,
    /// An OperationOutcome.
    OperationOutcome,
}

/// How a search treats what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handling {
    /// It is an error. The default: a filter that is silently ignored returns other patients' data.
    #[default]
    Strict,
    /// It is ignored, with a warning.
    Lenient,
}

impl From<Handling> for fhir_core::search::query::Handling {
    fn from(handling: Handling) -> Self {
        match handling {
            Handling::Strict => Self::Strict,
            Handling::Lenient => Self::Lenient,
        }
    }
}

/// What the client prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `return=`; `None` when the client says nothing.
    pub return_: Option<Return>,
    /// `handling=`
    pub handling: Handling,
}

impl Prefer {
    /// Reads all `Prefer` headers. Unknown preferences and values are ignored, as RFC 7240 §2 demands; the first
    /// of several values for one preference counts.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut return_ = None;
        let mut handling = None;
        for preference in headers
            .into_iter()
            .flat_map(|header| header.split([',', ';']))
        {
            let Some((name, value)) = preference.split_once('=') else {
                continue;
            };
            match (
                name.trim().to_ascii_lowercase().as_str(),
                value.trim().trim_matches('"'),
            ) {
                ("return", "minimal") => return_ = return_.or(Some(Return::Minimal)),
                ("return", "representation") => return_ = return_.or(Some(Return::Representation)),
                ("return", "OperationOutcome") => {
                    return_ = return_.or(Some(Return::OperationOutcome))
                }
                ("handling", "strict") => handling = handling.or(Some(Handling::Strict)),
                ("handling", "lenient") => handling = handling.or(Some(Handling::Lenient)),
                _ => {}
            }
        }
        Self {
            return_,
            handling: handling.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_and_unknown_ones_ignored() {
        let read = |header: &str| Prefer::parse([header]);
        assert_eq!(read(""), Prefer::default());
        assert_eq!(read("return=minimal").return_, Some(Return::Minimal));
        assert_eq!(
            read("Return = \"OperationOutcome\"").return_,
            Some(Return::OperationOutcome)
        );
        assert_eq!(
            read("respond-async, handling=lenient, return=representation").handling,
            Handling::Lenient
        );
        assert_eq!(
            read("return=minimal; handling=lenient"),
            Prefer {
                return_: Some(Return::Minimal),
                handling: Handling::Lenient
            }
        );
        assert_eq!(
            read("handling=strict, handling=lenient").handling,
            Handling::Strict
        );
        assert_eq!(read("return=everything"), Prefer::default());
        assert_eq!(
            Prefer::parse(["wait=5", "return=minimal"]).return_,
            Some(Return::Minimal)
        );
    }
}
