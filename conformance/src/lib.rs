//! The official FHIR R4 (4.0.1) definitions as small tables, read once at start.
//!
//! Spec: <https://hl7.org/fhir/R4/>. The tables in `generated/` are made by `cargo xtask codegen` and never edited.
//! Invariants, profiles and terminology are in [`artifacts`].

pub mod artifacts;
mod model;
mod search;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

pub use model::{
    Binding, BindingStrength, Code, CodeList, Element, ElementRef, ElementType, Max, ParamId,
    ResourceTypeDef, ResourceTypeId, TypeKind,
};
pub use search::{Component, ParamType, SearchParam};

/// All definitions. Built once; see [`Definitions::r4`].
#[derive(Debug)]
pub struct Definitions {
    resource_types: Vec<ResourceTypeDef>,
    /// Kind and base of every type.
    types: HashMap<&'static str, (TypeKind, &'static str)>,
    elements: Vec<Element>,
    /// Children of a type path, as a range of `elements`.
    children: HashMap<&'static str, Range<usize>>,
    search_params: Vec<SearchParam>,
    /// Parameters of a resource type, as a range of `search_params`; index = `ResourceTypeId`.
    params_of_type: Vec<Range<usize>>,
    compartments: Vec<&'static str>,
    compartment_params: HashMap<(&'static str, ResourceTypeId), Vec<&'static str>>,
    code_lists: HashMap<&'static str, CodeList>,
}

impl Definitions {
    /// The definitions of R4, parsed at the first call.
    pub fn r4() -> &'static Definitions {
        static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
        DEFINITIONS.get_or_init(table::load)
    }

    /// All 148 resource types sorted by name, the two abstract ones included; the index is the [`ResourceTypeId`].
    pub fn resource_types(&self) -> &[ResourceTypeDef] {
        &self.resource_types
    }

    /// The ids of the 146 concrete resource types, sorted by name.
    pub fn concrete_types(&self) -> impl Iterator<Item = ResourceTypeId> {
        let types = self.resource_types.iter().zip(0_u16..);
        types
            .filter(|(definition, _)| !definition.is_abstract)
            .map(|(_, index)| ResourceTypeId(index))
    }

    /// A concrete resource type by its name; `None` for `Resource`, `DomainResource` and unknown names.
    pub fn resource_type(&self, name: &str) -> Option<ResourceTypeId> {
        let index = self
            .resource_types
            .binary_search_by(|definition| definition.name.cmp(name))
            .ok()?;
        let is_concrete = self
            .resource_types
            .get(index)
            .is_some_and(|definition| !definition.is_abstract);
        if is_concrete {
            u16::try_from(index).ok().map(ResourceTypeId)
        } else {
            None
        }
    }

    /// The definition of a resource type.
    ///
    /// # Panics
    /// When the id was made by hand and is no resource type: ids come from [`Definitions::resource_type`].
    pub fn type_def(&self, resource_type: ResourceTypeId) -> &ResourceTypeDef {
        &self.resource_types[usize::from(resource_type.0)]
    }

    /// All parameters of a resource type sorted by code, those of `Resource` and `DomainResource` included.
    pub fn search_params(&self, resource_type: ResourceTypeId) -> &[SearchParam] {
        let range = self
            .params_of_type
            .get(usize::from(resource_type.0))
            .cloned()
            .unwrap_or_default();
        self.search_params.get(range).unwrap_or_default()
    }

    /// Every parameter of every resource type, in the order of [`ParamId`].
    pub fn all_search_params(&self) -> &[SearchParam] {
        &self.search_params
    }

    /// The parameter a resource type has under this code.
    pub fn search_param(&self, resource_type: ResourceTypeId, code: &str) -> Option<&SearchParam> {
        let params = self.search_params(resource_type);
        let index = params.binary_search_by(|param| param.code.cmp(code)).ok()?;
        params.get(index)
    }

    /// The parameter with this number; `None` for custom ones.
    pub fn search_param_by_id(&self, id: ParamId) -> Option<&SearchParam> {
        self.search_params.get(usize::from(id.0).checked_sub(1)?)
    }

    /// The parameter a resource type has under this canonical URL.
    pub fn search_param_by_url(
        &self,
        resource_type: ResourceTypeId,
        url: &str,
    ) -> Option<&SearchParam> {
        self.search_params(resource_type)
            .iter()
            .find(|param| param.url == url)
    }

    /// Direct children of a type path in definition order; empty for an unknown path or a type without children.
    ///
    /// Inherited elements (`id`, `extension`, `meta` ..) are included.
    pub fn elements(&self, parent: &str) -> &[Element] {
        let range = self.children.get(parent).cloned().unwrap_or_default();
        self.elements.get(range).unwrap_or_default()
    }

    /// The child with this JSON name: `valueQuantity` finds `value[x]` and chooses `Quantity`, `value` finds nothing.
    pub fn element<'a>(&'a self, parent: &str, name: &str) -> Option<ElementRef<'a>> {
        self.elements(parent).iter().find_map(|element| {
            if !element.is_choice() {
                let chosen_type = element.types.first().map_or("", |kind| kind.code);
                return (element.name == name).then_some(ElementRef {
                    element,
                    chosen_type,
                });
            }
            let suffix = name.strip_prefix(element.base_name())?;
            let chosen = element
                .types
                .iter()
                .find(|kind| is_choice_suffix(suffix, kind.code))?;
            Some(ElementRef {
                element,
                chosen_type: chosen.code,
            })
        })
    }

    /// The choice element with this base name: `value` finds `value[x]`.
    pub fn choice(&self, parent: &str, base_name: &str) -> Option<&Element> {
        self.elements(parent)
            .iter()
            .find(|element| element.is_choice() && element.base_name() == base_name)
    }

    /// What a type name stands for; `None` when R4 has no such type.
    pub fn type_kind(&self, type_name: &str) -> Option<TypeKind> {
        self.types.get(type_name).map(|(kind, _)| *kind)
    }

    /// The type a type specializes: `Quantity` for `Age`, `DomainResource` for `Patient`; `None` at the root.
    pub fn type_base(&self, type_name: &str) -> Option<&'static str> {
        let (_, base) = self.types.get(type_name)?;
        (!base.is_empty()).then_some(*base)
    }

    /// Codes of the parameters that put a resource into a compartment; empty when it is never in it.
    ///
    /// `{def}` stands for the resource the compartment belongs to.
    pub fn compartment_params(
        &self,
        compartment: &str,
        resource_type: ResourceTypeId,
    ) -> &[&'static str] {
        let known = self.compartments.iter().find(|name| **name == compartment);
        known
            .and_then(|name| self.compartment_params.get(&(*name, resource_type)))
            .map_or(&[], Vec::as_slice)
    }

    /// `Device`, `Encounter`, `Patient`, `Practitioner`, `RelatedPerson`.
    pub fn compartments(&self) -> &[&'static str] {
        &self.compartments
    }

    /// All codes of a value set that some element is required to use, asked with or without `|version`.
    ///
    /// `None` when no required binding names it, or the definitions cannot expand it (currencies, media types, units).
    pub fn required_codes(&self, value_set_url: &str) -> Option<&CodeList> {
        let url = value_set_url.split('|').next().unwrap_or_default();
        self.code_lists.get(url)
    }
}

/// `Quantity` for `Quantity`, `DateTime` for `dateTime`: the type name with its first letter capital.
fn is_choice_suffix(suffix: &str, type_code: &str) -> bool {
    let (Some(first), Some(expected)) = (suffix.bytes().next(), type_code.bytes().next()) else {
        return false;
    };
    first == expected.to_ascii_uppercase()
        && suffix.as_bytes().get(1..) == type_code.as_bytes().get(1..)
}
