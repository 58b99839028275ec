//! What a SearchParameter says, narrowed to one concrete resource type.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>, <https://hl7.org/fhir/R4/search.html>. Leaves out the
//! parameters for all resources that have no definition (`_has`, `_list`, `_type`) and the result parameters.

use crate::model::{ParamId, ResourceTypeId};

/// The type of a search parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParamType {
    /// A number.
    Number,
    /// A date, dateTime, instant, Period or Timing.
    Date,
    /// A text compared without case and accents.
    String,
    /// A code, identifier or boolean.
    Token,
    /// A reference to another resource.
    Reference,
    /// A value with a unit.
    Quantity,
    /// A URI compared exactly.
    Uri,
    /// Several parameters that apply to the same element.
    Composite,
    /// A parameter with its own rules (`near`).
    Special,
}

impl ParamType {
    /// The code of `SearchParameter.type`.
    pub fn code(self) -> &'static str {
        match self {
            ParamType::Number => "number",
            ParamType::Date => "date",
            ParamType::String => "string",
            ParamType::Token => "token",
            ParamType::Reference => "reference",
            ParamType::Quantity => "quantity",
            ParamType::Uri => "uri",
            ParamType::Composite => "composite",
            ParamType::Special => "special",
        }
    }

    /// Reads a code of `SearchParameter.type`.
    pub fn from_code(code: &str) -> Option<ParamType> {
        Some(match code {
            "number" => ParamType::Number,
            "date" => ParamType::Date,
            "string" => ParamType::String,
            "token" => ParamType::Token,
            "reference" => ParamType::Reference,
            "quantity" => ParamType::Quantity,
            "uri" => ParamType::Uri,
            "composite" => ParamType::Composite,
            "special" => ParamType::Special,
            _ => return None,
        })
    }

    /// The modifiers <https://hl7.org/fhir/R4/search.html#modifiers> defines for this type.
    ///
    /// The definitions of R4 name none per parameter. A reference may also be modified by a resource type.
    pub fn modifiers(self) -> &'static [&'static str] {
        match self {
            ParamType::String => &["missing", "exact", "contains"],
            ParamType::Token => &[
                "missing", "text", "not", "above", "below", "in", "not-in", "of-type",
            ],
            ParamType::Reference => &["missing", "identifier", "above", "below"],
            ParamType::Uri => &["missing", "above", "below"],
            ParamType::Number | ParamType::Date | ParamType::Quantity | ParamType::Special => {
                &["missing"]
            }
            ParamType::Composite => &[],
        }
    }
}

/// One part of a composite parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Canonical URL of the parameter that defines the part.
    pub url: &'static str,
    /// The code of that parameter on the same base.
    pub code: &'static str,
    /// FHIRPath relative to the element the composite selects.
    pub expression: &'static str,
}

/// A search parameter of one concrete resource type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchParam {
    /// Stable number, see [`ParamId`].
    pub id: ParamId,
    /// The concrete resource type.
    pub base: ResourceTypeId,
    /// The name in the URL: `code`, `_id`, `birthdate`.
    pub code: &'static str,
    /// Canonical URL of the definition.
    pub url: &'static str,
    /// Its type.
    pub kind: ParamType,
    /// FHIRPath with only the union branches of `base`; empty when the definition has none (`_text`).
    pub expression: &'static str,
    /// For references: resource types it may point to.
    pub targets: Vec<ResourceTypeId>,
    /// For composites: the parts in order.
    pub components: Vec<Component>,
    /// Prefixes such as `ge`; empty when the type has none.
    pub comparators: Vec<&'static str>,
    /// Modifiers of its type, without colon.
    pub modifiers: &'static [&'static str],
    /// False when the definition forbids `a,b`; the default is true.
    pub multiple_or: bool,
    /// False when the definition forbids repeating the parameter; the default is true.
    pub multiple_and: bool,
    /// What it is for.
    pub description: &'static str,
}

impl SearchParam {
    /// Where the specification lists the parameter.
    pub fn spec_url(&self) -> String {
        if self.code.starts_with('_') {
            return "https://hl7.org/fhir/R4/search.html#all".to_owned();
        }
        format!(
            "https://hl7.org/fhir/R4/{}.html#search",
            self.base.name().to_ascii_lowercase()
        )
    }
}
