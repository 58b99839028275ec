//! What a search may ask for at most, so that one request cannot occupy the server.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#errors>, which lets a server refuse what is too costly.

/// Parameters in one search: the largest seen from real clients stay under 30.
pub const SEARCH_PARAMETERS_MAX: usize = 200;

/// Alternatives `a,b,c` of one parameter: enough for a page of ids.
pub const ALTERNATIVES_MAX: usize = 1_000;

/// Links of a chain and of `_has` together; each is a join.
pub const CHAIN_DEPTH_MAX: usize = 6;

/// `_include` and `_revinclude` in one search.
pub const INCLUDES_MAX: usize = 50;

/// `_sort` keys.
pub const SORT_KEYS_MAX: usize = 8;

/// Names in `_elements`.
pub const ELEMENTS_MAX: usize = 100;

/// Bytes of one value between commas: longer than any identifier or canonical url.
pub const VALUE_BYTES_MAX: usize = 4_096;

/// Nodes of the resulting tree. A chain without a type multiplies by the possible types; this ends it.
pub const CONDITIONS_MAX: usize = 5_000;

/// The limits as one value, so that an installation or a test can narrow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`SEARCH_PARAMETERS_MAX`].
    pub parameters_max: usize,
    /// See [`ALTERNATIVES_MAX`].
    pub alternatives_max: usize,
    /// See [`CHAIN_DEPTH_MAX`].
    pub chain_depth_max: usize,
    /// See [`INCLUDES_MAX`].
    pub includes_max: usize,
    /// See [`SORT_KEYS_MAX`].
    pub sort_keys_max: usize,
    /// See [`ELEMENTS_MAX`].
    pub elements_max: usize,
    /// See [`VALUE_BYTES_MAX`].
    pub value_bytes_max: usize,
    /// See [`CONDITIONS_MAX`].
    pub conditions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parameters_max: SEARCH_PARAMETERS_MAX,
            alternatives_max: ALTERNATIVES_MAX,
            chain_depth_max: CHAIN_DEPTH_MAX,
            includes_max: INCLUDES_MAX,
            sort_keys_max: SORT_KEYS_MAX,
            elements_max: ELEMENTS_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
            conditions_max: CONDITIONS_MAX,
        }
    }
}
