//! `:above` and `:below` on references: resources that are part of each other, such as wards of a hospital.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#recursive>: "a hierarchical reference … `Procedure?location:below=42`". Followed is the
//! parameter `partof` or `part-of` of the type referred to, [`LEVELS_MAX`] levels far.

use conformance::{Definitions, ParamType, ResourceTypeId, SearchParam};

use super::condition::any;
use super::path;
use super::predicate::{Predicate, ReferenceTest, ValueTest};
use crate::ids::ResourceKey;

/// Levels followed up or down: region, organization, site, building, wing, level, ward, room, bed, and one to spare.
pub const LEVELS_MAX: usize = 10;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The resource and what contains it.
    Above,
    /// The resource and its parts.
    Below,
}

/// The parameter by which resources of a type are parts of each other.
pub fn part_of(resource_type: ResourceTypeId) -> Option<&'static SearchParam> {
    let definitions = Definitions::r4();
    let find = |code| definitions.search_param(resource_type, code);
    find("partof")
        .or_else(|| find("part-of"))
        .filter(|param| param.kind == ParamType::Reference)
        .filter(|param| path::targets(param).contains(&resource_type))
}

/// Whether some type that the parameter leads to has parts.
pub fn is_hierarchical(param: &'static SearchParam) -> bool {
    path::targets(param)
        .into_iter()
        .any(|t| part_of(t).is_some())
}

/// Resources whose parameter leads to `key`, or to something above or below it.
pub fn condition(param: &SearchParam, key: &ResourceKey, way: Way) -> Predicate {
    let refers = |param: &SearchParam| Predicate::Value {
        param: param.id,
        test: ValueTest::Reference(ReferenceTest::Local(vec![key.clone()])),
    };
    let Some(part_of) = part_of(key.resource_type) else {
        return refers(param);
    };
    let target = key.resource_type;
    let mut inner = match way {
        Way::Below => refers(part_of),
        Way::Above => whole_of(part_of, target, Predicate::Id(vec![key.id.clone()])),
    };
    for _ in 1..LEVELS_MAX {
        inner = match way {
            Way::Below => any(vec![
                refers(part_of),
                Predicate::Chain {
                    param: part_of.id,
                    target,
                    inner: Box::new(inner),
                },
            ]),
            Way::Above => any(vec![
                whole_of(part_of, target, Predicate::Id(vec![key.id.clone()])),
                whole_of(part_of, target, inner),
            ]),
        };
    }
    let chained = Predicate::Chain {
        param: param.id,
        target,
        inner: Box::new(inner),
    };
    any(vec![refers(param), chained])
}

/// Resources that have a matching part.
fn whole_of(part_of: &SearchParam, source: ResourceTypeId, inner: Predicate) -> Predicate {
    Predicate::Has {
        source,
        param: part_of.id,
        inner: Box::new(inner),
    }
}
