//! Compartments: the resources that belong to one patient, encounter, practitioner, related person or device.
//!
//! Spec: <https://hl7.org/fhir/R4/compartmentdefinition.html>, <https://hl7.org/fhir/R4/search.html#2.21.1.2>. The same function serves
//! the search of a compartment and the narrowing of what an access may see.

use conformance::{Definitions, ResourceTypeId};

use super::condition::{all, any};
use super::predicate::{Predicate, ReferenceTest, ValueTest};
use crate::access::{Access, Grants};
use crate::ids::ResourceKey;
use crate::issue::{ErrorKind, Problem};

/// The definitions' mark for the resource that the compartment belongs to.
const THE_RESOURCE_ITSELF: &str = "{def}";

/// Which resources of a type are in the compartment of `owner`; `Nothing` for types that are never in it.
pub fn members(owner: &ResourceKey, resource_type: ResourceTypeId) -> Predicate {
    let definitions = Definitions::r4();
    let mut conditions = Vec::new();
    if owner.resource_type == resource_type {
        conditions.push(Predicate::Id(vec![owner.id.clone()]));
    }
    for code in definitions.compartment_params(owner.resource_type.name(), resource_type) {
        if *code == THE_RESOURCE_ITSELF {
            continue;
        }
        if let Some(param) = definitions.search_param(resource_type, code) {
            let test = ValueTest::Reference(ReferenceTest::Local(vec![owner.clone()]));
            conditions.push(Predicate::Value {
                param: param.id,
                test,
            });
        }
    }
    any(conditions)
}

/// Which resources of a type are in the compartment of some resource of `owner_type`.
pub fn members_of_any(owner_type: &str, resource_type: ResourceTypeId) -> Predicate {
    let definitions = Definitions::r4();
    if owner_type == resource_type.name() {
        return Predicate::Everything;
    }
    let Some(owner) = definitions.resource_type(owner_type) else {
        return Predicate::Nothing;
    };
    let params = definitions.compartment_params(owner_type, resource_type);
    let conditions = params
        .iter()
        .filter(|code| **code != THE_RESOURCE_ITSELF)
        .filter_map(|code| definitions.search_param(resource_type, code))
        .map(|param| Predicate::Value {
            param: param.id,
            test: ValueTest::Reference(ReferenceTest::OfType(owner)),
        });
    any(conditions.collect())
}

/// The search `Patient/1/Observation`: what `predicate` finds inside the compartment of `owner`.
///
/// # Errors
/// `no-route` when FHIR has no such compartment
pub fn search(
    owner: &ResourceKey,
    resource_type: ResourceTypeId,
    predicate: Predicate,
) -> Result<Predicate, Problem> {
    let compartments = Definitions::r4().compartments();
    let name = owner.resource_type.name();
    if !compartments.contains(&name) {
        let text = format!(
            "there is no compartment `{name}`; there are: {}",
            compartments.join(", ")
        );
        return Err(Problem::new(ErrorKind::NO_ROUTE, text));
    }
    Ok(all(vec![members(owner, resource_type), predicate]))
}

/// What is left of a search under an access. Chains and `_has` are narrowed at every link, so that nothing can be
/// learned about resources outside by asking for those that lead to them.
pub fn narrow(access: &Access, resource_type: ResourceTypeId, predicate: Predicate) -> Predicate {
    match &access.grants {
        Grants::Full | Grants::ReadOnly => predicate,
        Grants::Compartment(owner) => all(vec![
            members(owner, resource_type),
            narrow_links(owner, predicate),
        ]),
    }
}

fn narrow_links(owner: &ResourceKey, predicate: Predicate) -> Predicate {
    let each = |conditions: Vec<Predicate>| {
        conditions
            .into_iter()
            .map(|c| narrow_links(owner, c))
            .collect()
    };
    let inside = |resource_type, inner: Predicate| {
        Box::new(all(vec![
            members(owner, resource_type),
            narrow_links(owner, inner),
        ]))
    };
    match predicate {
        Predicate::And(conditions) => Predicate::And(each(conditions)),
        Predicate::Or(conditions) => Predicate::Or(each(conditions)),
        Predicate::Not(condition) => Predicate::Not(Box::new(narrow_links(owner, *condition))),
        Predicate::Chain {
            param,
            target,
            inner,
        } => Predicate::Chain {
            param,
            target,
            inner: inside(target, *inner),
        },
        Predicate::Has {
            source,
            param,
            inner,
        } => Predicate::Has {
            source,
            param,
            inner: inside(source, *inner),
        },
        other => other,
    }
}
