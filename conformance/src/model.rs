//! What a definition says: resource types, elements, data types, search parameters, code lists.
//!
//! Spec: <https://hl7.org/fhir/R4/elementdefinition.html>, <https://hl7.org/fhir/R4/searchparameter.html>.
//! Leaves out invariants, slicing and everything else profiles add.

/// A resource type: its position among all resource types sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceTypeId(pub u16);

impl ResourceTypeId {
    /// The name, such as `Observation`; empty for a number that is no resource type.
    pub fn name(self) -> &'static str {
        let types = crate::Definitions::r4().resource_types();
        types
            .get(usize::from(self.0))
            .map_or("", |definition| definition.name)
    }
}

/// A search parameter of one concrete resource type: its row in `search_params.tsv`, counted from 1.
///
/// Custom parameters of an installation start at [`ParamId::CUSTOM_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub u16);

impl ParamId {
    /// The first id that no standard parameter ever has.
    pub const CUSTOM_MIN: u16 = 10_000;
}

/// One resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceTypeDef {
    /// Its name, such as `Patient`.
    pub name: &'static str,
    /// `DomainResource`, `Resource`, or empty for `Resource` itself.
    pub base: &'static str,
    /// True for `Resource` and `DomainResource`, which have no instances.
    pub is_abstract: bool,
}

/// What kind of type a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// A primitive data type.
    Primitive {
        /// The regular expression of its value, anchored by the reader; `None` for `boolean`-like text such as `xhtml`.
        regex: Option<&'static str>,
    },
    /// A data type with elements.
    Complex,
    /// A resource type, abstract ones included.
    Resource,
}

/// How often an element may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Max {
    /// `1`: a JSON property with one value.
    One,
    /// `*`: a JSON array.
    Many,
    /// Another number; the definitions of R4 have none.
    Exactly(u32),
}

/// How strictly a coded element keeps to its value set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingStrength {
    /// The code shall be from the value set.
    Required,
    /// The code shall be from the value set if one applies.
    Extensible,
    /// The code should be from the value set.
    Preferred,
    /// The value set is an illustration.
    Example,
}

/// The value set of a coded element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// How strictly it applies.
    pub strength: BindingStrength,
    /// Canonical URL of the value set, without version.
    pub value_set: &'static str,
}

/// One type an element may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementType {
    /// Type name such as `Quantity`, `Reference`, `BackboneElement`, `string` or `Resource`.
    pub code: &'static str,
    /// For `Reference` and `canonical`: names of the types it may point to; `Resource` or nothing means any.
    pub target_types: Vec<&'static str>,
}

/// An element of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name as defined: `status`, or `value[x]` for a choice.
    pub name: &'static str,
    /// Its path: `Observation.component`.
    pub path: &'static str,
    /// Least number of values.
    pub min: u32,
    /// Greatest number of values.
    pub max: Max,
    /// Possible types, in definition order; empty when `content_reference` says where the children are.
    pub types: Vec<ElementType>,
    /// The path whose children apply: `Questionnaire.item` for `Questionnaire.item.item`.
    pub content_reference: Option<&'static str>,
    /// The value set, when the element is coded.
    pub binding: Option<Binding>,
    /// Part of the summary view.
    pub is_summary: bool,
    /// Changes the meaning of what contains it.
    pub is_modifier: bool,
}

impl Element {
    /// True for `value[x]` and its like.
    pub fn is_choice(&self) -> bool {
        self.name.ends_with("[x]")
    }

    /// The name without `[x]`.
    pub fn base_name(&self) -> &'static str {
        self.name.strip_suffix("[x]").unwrap_or(self.name)
    }

    /// The type path that lists the children when the value has type `chosen_type`.
    pub fn children_path<'a>(&self, chosen_type: &'a str) -> &'a str
    where
        'static: 'a,
    {
        match (self.content_reference, chosen_type) {
            (Some(path), _) => path,
            (None, "BackboneElement" | "Element") => self.path,
            (None, data_type) => data_type,
        }
    }
}

/// An element found by its JSON name, with the type that name chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementRef<'a> {
    /// The element.
    pub element: &'a Element,
    /// `Quantity` for `valueQuantity`; empty for an element with a content reference.
    pub chosen_type: &'a str,
}

impl<'a> ElementRef<'a> {
    /// The type path that lists the children of this element.
    pub fn type_path(&self) -> &'a str {
        self.element.children_path(self.chosen_type)
    }
}

/// One code of an expanded value set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Canonical URL of the code system.
    pub system: &'static str,
    /// The code.
    pub code: &'static str,
    /// Its display; empty when the definitions give none.
    pub display: &'static str,
}

/// All codes of a value set, in definition order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeList {
    /// Canonical URL of the value set.
    pub value_set: &'static str,
    /// Its codes.
    pub codes: Vec<Code>,
}

impl CodeList {
    /// The first code with this text, in any system.
    pub fn get(&self, code: &str) -> Option<&Code> {
        self.codes.iter().find(|candidate| candidate.code == code)
    }

    /// True when the value set has this code, in any system: what an element of type `code` needs.
    pub fn contains(&self, code: &str) -> bool {
        self.get(code).is_some()
    }
}
