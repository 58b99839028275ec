//! The parameters that shape a result: order, page, total and parts of resources.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#return>. Left out: `_score`, `_contained` other than `false`.

use conformance::{Definitions, ResourceTypeId};

use super::predicate::{Direction, SortBy, SortKeySpec};
use super::supported;
use super::text::shown;
use crate::issue::{ErrorKind, Problem};

/// How exact the total shall be. <https://hl7.org/fhir/R4/search.html#total>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// No total wanted.
    None,
    /// A rough one will do.
    Estimate,
    /// An exact one.
    Accurate,
}

/// Which part of each resource is wanted. <https://hl7.org/fhir/R4/search.html#summary>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Summary {
    /// All of it.
    #[default]
    False,
    /// The elements marked as summary.
    True,
    /// Narrative, id, meta and mandatory elements.
    Text,
    /// Everything but the narrative.
    Data,
    /// No resources, only their number.
    Count,
}

pub(super) fn bad(name: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`{name}` {text}")).at(name)
}

/// `_sort=-date,status`
pub(super) fn sort(
    resource_type: ResourceTypeId,
    text: &str,
    keys_max: usize,
) -> Result<Vec<SortKeySpec>, Problem> {
    let keys: Vec<&str> = text.split(',').collect();
    if keys.len() > keys_max {
        return Err(Problem::new(
            ErrorKind::TOO_COSTLY,
            format!("`_sort` has more than {keys_max} keys"),
        )
        .at("_sort"));
    }
    keys.into_iter()
        .map(|key| sort_key(resource_type, key.trim()))
        .collect()
}

fn sort_key(resource_type: ResourceTypeId, key: &str) -> Result<SortKeySpec, Problem> {
    let (direction, code) = key
        .strip_prefix('-')
        .map_or((Direction::Ascending, key), |code| {
            (Direction::Descending, code)
        });
    let by = match code {
        "_id" => SortBy::Id,
        "_lastUpdated" => SortBy::LastUpdated,
        _ => match supported::sortable(resource_type).find(|param| param.code == code) {
            Some(param) => SortBy::Param(param.id),
            None => return Err(unknown_sort(resource_type, code)),
        },
    };
    Ok(SortKeySpec { by, direction })
}

fn unknown_sort(resource_type: ResourceTypeId, code: &str) -> Problem {
    let names: Vec<&str> = supported::sortable(resource_type)
        .map(|param| param.code)
        .collect();
    let text = format!(
        "`{}` cannot be sorted by `{}`; it can by: {}",
        resource_type.name(),
        shown(code),
        names.join(", ")
    );
    Problem::new(ErrorKind::UNKNOWN_SORT, text).at("_sort")
}

/// `_count=50`. Larger than any page is fine: the server answers with its largest page.
pub(super) fn count(text: &str) -> Result<usize, Problem> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return Err(bad("_count", "is a whole number from 0"));
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}

pub(super) fn total(text: &str) -> Result<Total, Problem> {
    match text {
        "none" => Ok(Total::None),
        "estimate" => Ok(Total::Estimate),
        "accurate" => Ok(Total::Accurate),
        _ => Err(bad("_total", "is one of none, estimate, accurate")),
    }
}

pub(super) fn summary(text: &str) -> Result<Summary, Problem> {
    match text {
        "false" => Ok(Summary::False),
        "true" => Ok(Summary::True),
        "text" => Ok(Summary::Text),
        "data" => Ok(Summary::Data),
        "count" => Ok(Summary::Count),
        _ => Err(bad("_summary", "is one of true, text, data, count, false")),
    }
}

/// `_elements=name,birthDate`: "the base element names", as the definitions spell them, without `[x]`.
pub(super) fn elements(
    resource_type: ResourceTypeId,
    text: &str,
    names_max: usize,
) -> Result<Vec<String>, Problem> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if names.len() > names_max {
        let text = format!("`_elements` has more than {names_max} names");
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("_elements"));
    }
    let known = Definitions::r4().elements(resource_type.name());
    let check = |name: &str| {
        let is_known =
            name == "resourceType" || known.iter().any(|element| element.base_name() == name);
        if is_known {
            return Ok(name.to_owned());
        }
        let elements: Vec<&str> = known.iter().map(|element| element.base_name()).collect();
        let type_name = resource_type.name();
        Err(bad(
            "_elements",
            &format!(
                "names `{}`; `{type_name}` has: {}",
                shown(name),
                elements.join(", ")
            ),
        ))
    };
    names.into_iter().map(check).collect()
}

/// "false … do not return contained resources", which is the default.
pub(super) fn contained(text: &str) -> Result<(), Problem> {
    match text {
        "false" => Ok(()),
        _ => {
            let text = "`_contained`: searching inside contained resources is not supported yet";
            Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at("_contained"))
        }
    }
}
