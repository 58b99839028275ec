//! Decimals compared by value without ever becoming binary fractions.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#decimal>, <https://hl7.org/fhir/R4/search.html#number>

/// A decimal as bytes whose order is the order of the numbers, exact for every number of digits.
///
/// Two texts of the same value (`2.5`, `2.50`, `25e-1`) give the same key. The layout is private to
/// `decimal.rs`; databases store it as an opaque blob and compare bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SortKey(pub(crate) Box<[u8]>);

impl SortKey {
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Below every number.
    pub fn min() -> Self {
        Self([0x00].into())
    }

    /// Above every number.
    pub fn max() -> Self {
        Self([0xFF].into())
    }
}
