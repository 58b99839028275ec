//! What a resource is found by: the values its search parameters have, free of any database.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>

use std::borrow::Cow;

use conformance::ParamId;

use crate::datatype::decimal::SortKey;
use crate::ids::ResourceKey;

mod convert;
mod extract;
mod program;
#[cfg(test)]
mod tests;
mod trie;

pub use extract::{COMPOSITE_VALUES_MAX, Context, Extractor};
pub use program::{ComponentDefinition, ParamDefinition, Problem};

/// One value of one search parameter of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexEntry<'a> {
    /// The search parameter; its id implies the resource type.
    pub param: ParamId,
    /// The value.
    pub value: IndexValue<'a>,
}

/// A searchable value in the form a comparison needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexValue<'a> {
    /// A code out of a vocabulary (Coding, CodeableConcept, code, boolean): few different ones, many uses.
    Token {
        /// `Coding.system`; `None` when the data names none. A `code` element takes none either.
        system: Option<Cow<'a, str>>,
        /// The code, case as in the data.
        code: Cow<'a, str>,
    },
    /// The texts and displays of one parameter's concepts, normalised like strings, for `:text`.
    TokenText(Vec<String>),
    /// An Identifier, ContactPoint or other value that is nearly unique.
    Identifier {
        /// `Identifier.system`.
        system: Option<Cow<'a, str>>,
        /// `Identifier.value`.
        value: Cow<'a, str>,
        /// System and code of `Identifier.type.coding`, for `:of-type`.
        types: Vec<(Option<Cow<'a, str>>, Cow<'a, str>)>,
    },
    /// A reference to a resource of this server, version left out.
    Reference(ResourceKey),
    /// A reference or canonical that leads elsewhere: absolute url, `urn:`, canonical (without `|version`).
    ReferenceUrl(Cow<'a, str>),
    /// `Reference.identifier`, for `:identifier`.
    ReferenceIdentifier {
        /// `Identifier.system`.
        system: Option<Cow<'a, str>>,
        /// `Identifier.value`.
        value: Cow<'a, str>,
    },
    /// A date, dateTime, instant, Period or Timing as a half-open range of microseconds since 1970 in UTC.
    Date {
        /// First moment; `i64::MIN` when open.
        start: i64,
        /// Moment after the last; `i64::MAX` when open.
        end: i64,
    },
    /// A number; a Range has different ends.
    Number {
        /// Lower end.
        low: SortKey,
        /// Upper end; equal to `low` for a single value.
        high: SortKey,
    },
    /// A Quantity, Money, Range or like, in its own unit.
    Quantity {
        /// `Quantity.system` (`Money`: `urn:iso:std:iso:4217`).
        system: Option<Cow<'a, str>>,
        /// `Quantity.code` (`Money.currency`).
        code: Option<Cow<'a, str>>,
        /// `Quantity.unit`, the human form.
        unit: Option<Cow<'a, str>>,
        /// Lower end; a comparator `<` makes it [`SortKey::min`].
        low: SortKey,
        /// Upper end; a comparator `>` makes it [`SortKey::max`].
        high: SortKey,
    },
    /// A string.
    String {
        /// Normalised: no case, no accents, no punctuation, white space folded.
        normal: String,
        /// As in the data, for `:exact`.
        exact: Cow<'a, str>,
    },
    /// A uri, url, canonical, oid or uuid.
    Uri(Cow<'a, str>),
    /// The parts of one composite, in the definition's order; each part is one of the simple values above.
    Composite(Vec<IndexValue<'a>>),
    /// A position, for `near`: degrees times 10^7, WGS84.
    Position {
        /// Latitude.
        latitude_e7: i64,
        /// Longitude.
        longitude_e7: i64,
    },
}
