//! What storage sees of a search: a tree free of URL syntax and of any database.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>

use conformance::{ParamId, ResourceTypeId};

use crate::datatype::decimal::SortKey;
use crate::ids::{ResourceId, ResourceKey};

/// Which resources of one type match. Everything is scoped to that type; parameter ids belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// Every resource of the type.
    Everything,
    /// None.
    Nothing,
    /// All of these.
    And(Vec<Predicate>),
    /// At least one of these.
    Or(Vec<Predicate>),
    /// Not this. A resource that lacks the parameter matches (`:not` includes resources without a value).
    Not(Box<Predicate>),
    /// One of these logical ids.
    Id(Vec<ResourceId>),
    /// `meta.lastUpdated`.
    LastUpdated(DateTest),
    /// At least one value of the parameter passes the test.
    Value {
        /// The parameter.
        param: ParamId,
        /// The test.
        test: ValueTest,
    },
    /// At least one composite value passes every test, position by position.
    Composite {
        /// The composite parameter.
        param: ParamId,
        /// One test for each component.
        tests: Vec<ValueTest>,
    },
    /// The text of the resource has words (`_text`, `_content`).
    Words {
        /// Which text.
        place: TextPlace,
        /// Alternatives; of each, all words must be there. Normalised.
        any_of: Vec<Vec<String>>,
    },
    /// The parameter has at least one value (`:missing=false`).
    Present(ParamId),
    /// A reference of this resource leads to a resource of `target` that matches `inner` (chaining).
    Chain {
        /// The reference parameter.
        param: ParamId,
        /// The type of the resource referred to.
        target: ResourceTypeId,
        /// What that resource must match, in terms of its own type.
        inner: Box<Predicate>,
    },
    /// A resource of `source` that matches `inner` refers to this one (`_has`, compartments).
    Has {
        /// The type that refers.
        source: ResourceTypeId,
        /// The reference parameter of `source`.
        param: ParamId,
        /// What the referring resource must match, in terms of its own type.
        inner: Box<Predicate>,
    },
}

/// A text of a resource that is searched by words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextPlace {
    /// The narrative.
    Narrative,
    /// All texts of the resource, the narrative as well.
    Content,
}

impl Predicate {
    /// The types whose text is searched by words, this being about resources of `resource_type`.
    pub fn types_with_words(&self, resource_type: ResourceTypeId, found: &mut Vec<ResourceTypeId>) {
        match self {
            Self::Words { .. } if !found.contains(&resource_type) => found.push(resource_type),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.types_with_words(resource_type, found);
                }
            }
            Self::Not(inner) => inner.types_with_words(resource_type, found),
            Self::Chain { target, inner, .. } => inner.types_with_words(*target, found),
            Self::Has { source, inner, .. } => inner.types_with_words(*source, found),
            _ => {}
        }
    }
}

/// A test of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueTest {
    /// On [`crate::index::IndexValue::Token`], and on `Identifier` values alike.
    Token(TokenTest),
    /// On `String` values.
    String(StringTest),
    /// On `Date` values.
    Date(DateTest),
    /// On `Number` values.
    Number(RangeTest),
    /// On `Quantity` values: any of these alternatives, each a unit with the range in that unit.
    Quantity(QuantityTest),
    /// On references.
    Reference(ReferenceTest),
    /// On `Uri` values.
    Uri(UriTest),
    /// Within a distance of a position.
    Near {
        /// Degrees × 10^7.
        latitude_e7: i64,
        /// Degrees × 10^7.
        longitude_e7: i64,
        /// Metres.
        distance_m: u32,
    },
}

/// A token test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenTest {
    /// `code`: whatever the system.
    Code(String),
    /// `system|code`
    SystemCode(String, String),
    /// `|code`: the data names no system.
    NoSystemCode(String),
    /// `system|`: whatever the code.
    System(String),
    /// `:text`: a display or text that starts with this, or has a word that does (normalised).
    Text(String),
    /// `:of-type`: type system, type code, value.
    OfType {
        /// `Identifier.type.coding.system`
        system: String,
        /// `Identifier.type.coding.code`
        code: String,
        /// `Identifier.value`
        value: String,
    },
}

/// A string test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringTest {
    /// Normalised value starts with this normalised text.
    StartsWith(String),
    /// Normalised value contains this normalised text.
    Contains(String),
    /// The value as in the data.
    Exact(String),
    /// Normalised value equals this normalised text.
    Equals(String),
    /// Normalised value ends with this normalised text.
    EndsWith(String),
}

/// A test of a half-open range `[start, end)` of microseconds against the value's own range.
/// <https://hl7.org/fhir/R4/search.html#prefix>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateTest {
    /// The comparison.
    pub comparison: Comparison,
    /// Searched range: first moment.
    pub start: i64,
    /// Searched range: moment after the last.
    pub end: i64,
}

/// How ranges compare. `S` is the searched range, `V` the value's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `eq`: S contains V wholly.
    Equal,
    /// `ne`: S does not contain V wholly.
    NotEqual,
    /// `gt`: V reaches beyond S's upper end.
    Greater,
    /// `lt`: V begins before S.
    Less,
    /// `ge`: `gt` or `eq`.
    GreaterOrEqual,
    /// `le`: `lt` or `eq`.
    LessOrEqual,
    /// `sa`: V begins after S ends.
    StartsAfter,
    /// `eb`: V ends before S begins.
    EndsBefore,
    /// `ap`: S (already widened) and V overlap.
    Approximate,
}

/// A test of a decimal. `low`..`high` is the searched value with its implicit precision, half-open;
/// for `gt lt ge le sa eb` both are the exact value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeTest {
    /// The comparison.
    pub comparison: Comparison,
    /// Lower end, inclusive.
    pub low: SortKey,
    /// Upper end, exclusive; equal to `low` for an exact value.
    pub high: SortKey,
}

/// A quantity test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityTest {
    /// The number as asked, with its digits; conversions between units start from this.
    pub number: String,
    /// The test in the unit as asked.
    pub range: RangeTest,
    /// The unit asked for.
    pub unit: UnitTest,
}

/// Which units a quantity may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitTest {
    /// `number`: any unit, numbers compared as they stand.
    Any,
    /// `number||code`: code or human unit equal to this.
    CodeOrUnit(String),
    /// `number|system|code`; for UCUM also every unit of the same dimension, converted.
    SystemCode(String, String),
    /// `number|system|`
    System(String),
}

/// A reference test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceTest {
    /// One of these resources of this server.
    Local(Vec<ResourceKey>),
    /// A reference that leads elsewhere, or a canonical.
    Url(String),
    /// `:identifier`; [`TokenTest::Code`], `SystemCode`, `NoSystemCode` or `System`.
    Identifier(TokenTest),
    /// Any reference to a resource of this type on this server (`:missing`-like type restriction).
    OfType(ResourceTypeId),
}

/// A uri test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UriTest {
    /// Equal.
    Exact(String),
    /// `:below`: starts with this.
    Below(String),
    /// `:above`: this starts with the value.
    Above(String),
}

/// What to sort by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortBy {
    /// `_id`
    Id,
    /// `_lastUpdated`
    LastUpdated,
    /// A parameter of the type; its kind decides which values are compared. Resources without a value come last.
    Param(ParamId),
}

/// One `_sort` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKeySpec {
    /// What to sort by.
    pub by: SortBy,
    /// Whether the largest comes first; then a resource counts with its largest value, else its smallest.
    pub direction: Direction,
}

/// Ascending or descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}
