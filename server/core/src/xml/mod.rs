//! The XML form of resources, converted to and from JSON without loss.
//!
//! Spec: <https://hl7.org/fhir/R4/xml.html>, <https://hl7.org/fhir/R4/json.html>. Element order, arrays and the JSON type
//! of a primitive come from the definitions. Left out: comments and processing instructions, which are not FHIR data;
//! a DOCTYPE is refused, so there are no entities to expand.

mod read;
mod tree;
mod write;

pub use read::read;
pub use write::write;

/// Deepest nesting of elements accepted, in levels; the same bound as for JSON.
pub const XML_DEPTH_MAX: usize = crate::json::JSON_DEPTH_MAX;

/// Namespace of every FHIR element.
pub const FHIR_NAMESPACE: &str = "http://hl7.org/fhir";

/// Why a text is no FHIR XML, or a resource cannot be written as XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmlError {
    /// What is wrong, without content of the text.
    pub what: String,
    /// The element: a path such as `Patient.name.given`, or a line for a text that is not well-formed.
    pub place: String,
}

impl XmlError {
    fn new(what: impl Into<String>, place: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: place.into(),
        }
    }
}

impl std::fmt::Display for XmlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.place)
    }
}

impl std::error::Error for XmlError {}

/// The types whose JSON form is a number.
fn is_number_type(type_code: &str) -> bool {
    matches!(
        type_code,
        "decimal" | "integer" | "unsignedInt" | "positiveInt"
    )
}

#[cfg(test)]
mod tests;
