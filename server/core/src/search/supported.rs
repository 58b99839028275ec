//! What can be searched: the same tables that dispatch, told to people and to the CapabilityStatement.
//!
//! Spec: <https://hl7.org/fhir/R4/capabilitystatement-definitions.html#CapabilityStatement.rest.resource.searchParam>

use conformance::{Definitions, ParamType, ResourceTypeId, SearchParam};

use super::hierarchy;
use super::path;
use super::text::shown;
use super::value::{PREFIXES, type_row};
use crate::issue::{ErrorKind, Problem};

/// Parameters the specification has and this server refuses, with the reason.
pub const REFUSED: [(&str, &str); 2] = [
    ("_query", "this server defines no named queries"),
    ("_type", "it belongs to a search of the whole system"),
];

/// Parameters that select resources of every type without being defined by an expression: code, type, definition.
pub const SPECIAL: [(&str, &str, &str); 2] = [
    (
        "_filter",
        "special",
        "http://hl7.org/fhir/SearchParameter/filter",
    ),
    (
        "_list",
        "special",
        "http://hl7.org/fhir/SearchParameter/list",
    ),
];

/// Parameters that search by words, where the type has them.
pub const WORDS: [&str; 2] = ["_content", "_text"];

/// Parameters that shape the result instead of selecting resources.
pub const RESULT_PARAMETERS: [&str; 11] = [
    "_sort",
    "_count",
    "_total",
    "_summary",
    "_elements",
    "_include",
    "_revinclude",
    "_contained",
    "_containedType",
    "_format",
    "_pretty",
];

/// A parameter as a client may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedParam {
    /// The definition.
    pub param: &'static SearchParam,
    /// Its modifiers, without colon.
    pub modifiers: Vec<&'static str>,
    /// Its prefixes.
    pub prefixes: Vec<&'static str>,
}

/// Every parameter of a type that works, sorted by code.
pub fn parameters(resource_type: ResourceTypeId) -> Vec<SupportedParam> {
    working(resource_type)
        .map(|param| SupportedParam {
            param,
            modifiers: modifier_names(param),
            prefixes: prefix_names(param),
        })
        .collect()
}

/// Modifiers of a parameter that work.
pub fn modifier_names(param: &'static SearchParam) -> Vec<&'static str> {
    let row = type_row(param.kind);
    let own = row
        .modifiers
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| param.code != "_id" || *name == "not")
        .filter(|name| {
            param.kind != ParamType::Reference
                || !matches!(*name, "above" | "below")
                || hierarchy::is_hierarchical(param)
        });
    let types = param
        .targets
        .iter()
        .map(|target| target.name())
        .filter(|_| param.kind == ParamType::Reference);
    std::iter::once("missing").chain(own).chain(types).collect()
}

/// Prefixes of a parameter.
pub fn prefix_names(param: &SearchParam) -> Vec<&'static str> {
    let takes_prefix = type_row(param.kind).takes_prefix;
    PREFIXES
        .iter()
        .map(|(name, _)| *name)
        .filter(|_| takes_prefix)
        .collect()
}

/// Parameters of a type that can be sorted by: those with an order of their own, so neither references nor identifiers.
pub fn sortable(resource_type: ResourceTypeId) -> impl Iterator<Item = &'static SearchParam> {
    working(resource_type).filter(|param| match param.kind {
        ParamType::Composite | ParamType::Special | ParamType::Reference => false,
        ParamType::Token => !path::leaves(param).is_some_and(|leaves| {
            leaves
                .iter()
                .any(|leaf| leaf.is_type("Identifier") || leaf.is_type("ContactPoint"))
        }),
        ParamType::Date
        | ParamType::Number
        | ParamType::Quantity
        | ParamType::String
        | ParamType::Uri => true,
    })
}

/// A parameter of a type by its code.
///
/// # Errors
/// `unknown-parameter`, naming what the type has
pub fn parameter(
    resource_type: ResourceTypeId,
    code: &str,
) -> Result<&'static SearchParam, Problem> {
    if let Some((name, reason)) = REFUSED.iter().find(|(name, _)| *name == code) {
        return Err(
            Problem::new(ErrorKind::UNKNOWN_PARAMETER, format!("`{name}`: {reason}")).at(*name),
        );
    }
    match Definitions::r4().search_param(resource_type, code) {
        Some(param) if is_working(param) => Ok(param),
        _ => Err(unknown(resource_type, code)),
    }
}

pub(super) fn unknown(resource_type: ResourceTypeId, code: &str) -> Problem {
    let names: Vec<&str> = working(resource_type).map(|param| param.code).collect();
    let code = shown(code);
    let text = format!(
        "`{}` has no search parameter `{code}`; it has: {}",
        resource_type.name(),
        names.join(", ")
    );
    Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(code)
}

fn working(resource_type: ResourceTypeId) -> impl Iterator<Item = &'static SearchParam> {
    Definitions::r4()
        .search_params(resource_type)
        .iter()
        .filter(|param| is_working(param))
}

/// A definition without expression has nothing to search in.
fn is_working(param: &SearchParam) -> bool {
    !param.expression.is_empty() && REFUSED.iter().all(|(name, _)| *name != param.code)
}
