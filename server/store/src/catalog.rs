//! How each search parameter is stored: under its own number, through other parameters, or in the clinical core.
//!
//! Nothing here names a resource type: all of it follows from the definitions.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use conformance::{Definitions, ParamId, ParamType, ResourceTypeId, SearchParam};

/// Added to a parameter's number for its wide ranges.
pub(crate) const WIDE: i64 = 0x8000;

/// Bits of `res.present`; the sign stays free.
const PRESENT_BITS: usize = 63;

/// What a parameter is in the clinical core of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    None,
    Token,
    Date,
    Subject,
}

/// How a parameter is stored.
#[derive(Debug, Clone)]
pub(crate) struct ParamPlan {
    pub(crate) kind: ParamType,
    /// Bit of `res.present`; `None` for a parameter that the definitions do not know.
    pub(crate) bit: Option<u32>,
    /// The parameters whose entries, together, are this one's. Its own number when it is stored itself.
    pub(crate) stored_as: Vec<u16>,
    /// Only references to this type count (`subject` read as `patient`).
    pub(crate) target: Option<ResourceTypeId>,
    pub(crate) core: Core,
    pub(crate) code: &'static str,
}

/// The clinical core of a type: its busiest searches answered by one clustered index.
#[derive(Debug, Clone)]
pub(crate) struct CorePlan {
    pub(crate) subject: u16,
    pub(crate) date: u16,
    pub(crate) tokens: Vec<u16>,
}

impl CorePlan {
    /// The key that stands for "any token" of the type.
    pub(crate) fn any_key(&self) -> i64 {
        i64::from(self.subject) << 32
    }
}

/// Every parameter's plan.
pub(crate) struct Catalog {
    params: HashMap<u16, ParamPlan>,
    cores: HashMap<u16, CorePlan>,
}

impl Catalog {
    pub(crate) fn r4() -> &'static Catalog {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(|| Catalog::new(Definitions::r4()))
    }

    fn new(definitions: &Definitions) -> Self {
        let mut catalog = Self {
            params: HashMap::new(),
            cores: HashMap::new(),
        };
        for resource_type in definitions.concrete_types() {
            let params = definitions.search_params(resource_type);
            let core = core_plan(params);
            for (position, param) in params.iter().enumerate() {
                let derived = derive(param, params, definitions);
                let (stored_as, target) = derived.unwrap_or_else(|| (vec![param.id.0], None));
                let role = core.as_ref().map_or(Core::None, |core| match param.id.0 {
                    id if id == core.subject => Core::Subject,
                    id if id == core.date => Core::Date,
                    id if core.tokens.contains(&id) => Core::Token,
                    _ => Core::None,
                });
                let bit = u32::try_from(position)
                    .ok()
                    .filter(|_| position < PRESENT_BITS);
                let plan = ParamPlan {
                    kind: param.kind,
                    bit,
                    stored_as,
                    target,
                    core: role,
                    code: param.code,
                };
                catalog.params.insert(param.id.0, plan);
            }
            if let Some(core) = core {
                catalog.cores.insert(resource_type.0, core);
            }
        }
        catalog
    }

    /// A parameter's plan; one that the definitions do not know is stored under its own number.
    pub(crate) fn param(&self, param: ParamId) -> Option<&ParamPlan> {
        self.params.get(&param.0)
    }

    /// The clinical core of a type, if it has one.
    pub(crate) fn core(&self, resource_type: ResourceTypeId) -> Option<&CorePlan> {
        self.cores.get(&resource_type.0)
    }
}

/// A type has a clinical core when it has all of a subject, a date, a code and a category.
fn core_plan(params: &[SearchParam]) -> Option<CorePlan> {
    let find = |code: &str, kind: ParamType| {
        params
            .iter()
            .find(|p| p.code == code && p.kind == kind)
            .map(|p| p.id.0)
    };
    Some(CorePlan {
        subject: find("subject", ParamType::Reference)?,
        date: find("date", ParamType::Date)?,
        tokens: vec![
            find("code", ParamType::Token)?,
            find("category", ParamType::Token)?,
        ],
    })
}

fn branches(expression: &str) -> BTreeSet<&str> {
    expression
        .split('|')
        .map(str::trim)
        .filter(|b| !b.is_empty())
        .collect()
}

/// The parameters that together have the same entries, when the expressions say so.
fn derive(
    param: &SearchParam,
    params: &[SearchParam],
    definitions: &Definitions,
) -> Option<(Vec<u16>, Option<ResourceTypeId>)> {
    derive_target(param, params, definitions).or_else(|| derive_union(param, params))
}

/// `X.subject.where(resolve() is Patient)` is `X.subject` with targets of one type only.
fn derive_target(
    param: &SearchParam,
    params: &[SearchParam],
    definitions: &Definitions,
) -> Option<(Vec<u16>, Option<ResourceTypeId>)> {
    let (path, rest) = param.expression.split_once(".where(resolve() is ")?;
    let target = definitions.resource_type(rest.strip_suffix(')')?)?;
    let base = params
        .iter()
        .find(|p| p.kind == ParamType::Reference && p.expression == path)?;
    Some((vec![base.id.0], Some(target)))
}

/// A union is the parameters whose branches fill it.
fn derive_union(
    param: &SearchParam,
    params: &[SearchParam],
) -> Option<(Vec<u16>, Option<ResourceTypeId>)> {
    let whole = branches(param.expression);
    if whole.len() < 2 {
        return None;
    }
    let parts = |p: &SearchParam| -> Vec<(String, ParamType)> {
        let find = |code| {
            params
                .iter()
                .find(|q| q.code == code)
                .map_or(ParamType::Special, |q| q.kind)
        };
        p.components
            .iter()
            .map(|c| (c.expression.to_owned(), find(c.code)))
            .collect()
    };
    let mut covered = BTreeSet::new();
    let mut bases = Vec::new();
    for base in params {
        let own = branches(base.expression);
        let is_part = base.kind == param.kind
            && own.len() < whole.len()
            && own.is_subset(&whole)
            && !own.is_empty();
        if is_part && parts(base) == parts(param) {
            covered.extend(own);
            bases.push(base.id.0);
        }
    }
    (covered == whole).then_some((bases, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_as(type_name: &str, code: &str) -> Vec<&'static str> {
        let definitions = Definitions::r4();
        let resource_type = definitions.resource_type(type_name).unwrap();
        let id = definitions.search_param(resource_type, code).unwrap().id;
        let plan = Catalog::r4().param(id).unwrap();
        plan.stored_as
            .iter()
            .map(|id| definitions.search_param_by_id(ParamId(*id)).unwrap().code)
            .collect()
    }

    #[test]
    fn parameters_with_the_same_values_are_stored_once() {
        assert_eq!(stored_as("Observation", "patient"), ["subject"]);
        assert_eq!(
            stored_as("Observation", "combo-code"),
            ["code", "component-code"]
        );
        assert_eq!(
            stored_as("Observation", "combo-value-quantity"),
            ["component-value-quantity", "value-quantity"]
        );
        assert_eq!(
            stored_as("Observation", "combo-code-value-quantity"),
            ["code-value-quantity", "component-code-value-quantity"]
        );
        assert_eq!(stored_as("Observation", "code"), ["code"]);
        assert_eq!(stored_as("Patient", "name"), ["name"]);
    }

    #[test]
    fn types_with_subject_date_code_and_category_have_a_core() {
        let definitions = Definitions::r4();
        let has_core = |name: &str| {
            Catalog::r4()
                .core(definitions.resource_type(name).unwrap())
                .is_some()
        };
        assert!(has_core("Observation") && has_core("DiagnosticReport") && has_core("Procedure"));
        assert!(!has_core("Patient"));
    }

    #[test]
    fn every_parameter_has_a_bit() {
        for param in Definitions::r4().all_search_params() {
            assert!(
                Catalog::r4()
                    .param(param.id)
                    .is_some_and(|p| p.bit.is_some()),
                "{}",
                param.code
            );
        }
    }

    #[test]
    fn derived_parameters_lead_to_stored_ones() {
        for plan in Catalog::r4().params.values() {
            for base in &plan.stored_as {
                let base_plan = &Catalog::r4().params[base];
                assert_eq!(
                    base_plan.stored_as,
                    [*base],
                    "{} is stored through a derived one",
                    plan.code
                );
            }
        }
    }
}
