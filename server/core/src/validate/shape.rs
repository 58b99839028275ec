//! The definitions laid out for one walk over a resource: for each type the JSON names it may have and what they hold.
//!
//! Spec: <https://hl7.org/fhir/R4/json.html>. Each type is laid out when a resource needs it first and then kept, so that a start
//! costs nothing for types that never come.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use conformance::{BindingStrength, CodeList, Definitions, Element, ElementType, Max, TypeKind};

pub use super::primitive::Primitive;

/// Most elements one type has, so that a set of them is one number; the tests hold the definitions to it.
pub const MEMBERS_MAX: usize = 128;

/// A type: a resource type, a data type, or a backbone element by its path.
#[derive(Debug)]
pub struct Shape {
    /// Its type path, such as `Observation.component` or `Quantity`.
    pub path: &'static str,
    /// Its elements in definition order.
    pub members: Vec<Member>,
    /// Bits of the members that must be present.
    pub required: u128,
    names: Vec<Name>,
}

/// An element of a type.
#[derive(Debug)]
pub struct Member {
    /// The definition.
    pub element: &'static Element,
    /// Whether JSON holds it in an array.
    pub is_array: bool,
}

/// A JSON name of an element; a choice has one for each type.
#[derive(Debug)]
pub struct Name {
    /// The name, such as `valueQuantity`.
    pub text: Box<str>,
    /// Which of [`Shape::members`] it belongs to.
    pub member: usize,
    /// The type of the value.
    pub type_code: &'static str,
    /// What the value is made of.
    pub content: Content,
}

/// What a value is made of.
#[derive(Debug)]
pub enum Content {
    /// A primitive, perhaps out of a required value set (sorted codes).
    Primitive(Primitive, Option<&'static [&'static str]>),
    /// An object of another shape, perhaps a concept out of a required value set.
    Complex(
        &'static str,
        OnceLock<&'static Shape>,
        Option<&'static CodeList>,
    ),
    /// Any resource.
    Resource,
}

impl Shape {
    /// The shape of a type path; `None` for a path that R4 does not have.
    pub fn of(path: &str) -> Option<&'static Shape> {
        static SHAPES: OnceLock<Mutex<HashMap<&'static str, &'static Shape>>> = OnceLock::new();
        let mut shapes = SHAPES
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = shapes.get(path) {
            return Some(shape);
        }
        let shape: &'static Shape = Box::leak(Box::new(lay_out(path)?));
        shapes.insert(shape.path, shape);
        Some(shape)
    }

    /// The entry for a JSON name. Members mostly come in definition order, so the look starts at `*hint`, behind the
    /// one found last.
    pub fn name(&self, text: &str, hint: &mut usize) -> Option<&Name> {
        let (before, after) = self.names.split_at((*hint).min(self.names.len()));
        let found = after
            .iter()
            .chain(before)
            .position(|name| &*name.text == text)?;
        let at = (found + before.len()) % self.names.len();
        *hint = at + 1;
        self.names.get(at)
    }

    /// The JSON names a choice may have, for an error text.
    pub fn names_of(&self, member: usize) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .filter(move |name| name.member == member)
            .map(|name| &*name.text)
    }
}

impl Content {
    /// The shape behind a complex value.
    pub fn shape(&self) -> Option<&'static Shape> {
        match self {
            Content::Complex(path, shape, _) => match shape.get() {
                Some(shape) => Some(shape),
                None => {
                    let found = Shape::of(path)?;
                    Some(shape.get_or_init(|| found))
                }
            },
            Content::Primitive(..) | Content::Resource => None,
        }
    }
}

fn lay_out(path: &str) -> Option<Shape> {
    let elements = Definitions::r4().elements(path);
    let first = elements.first()?;
    // The definitions own the path for good; the argument may not.
    let path = first.path.strip_suffix(first.name)?.strip_suffix('.')?;
    let mut shape = Shape {
        path,
        members: Vec::with_capacity(elements.len()),
        required: 0,
        names: Vec::new(),
    };
    for (at, element) in elements.iter().take(MEMBERS_MAX).enumerate() {
        shape.members.push(Member {
            element,
            is_array: element.max != Max::One,
        });
        if element.min > 0 {
            shape.required |= 1 << at;
        }
        if element.types.is_empty() {
            shape.names.push(name(element, at, element.name.into(), ""));
        }
        for ElementType { code, .. } in &element.types {
            let text = if element.is_choice() {
                format!("{}{}", element.base_name(), capital(code))
            } else {
                element.name.to_owned()
            };
            shape.names.push(name(element, at, text.into(), code));
        }
    }
    Some(shape)
}

fn capital(code: &str) -> String {
    let mut chars = code.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

fn name(element: &'static Element, member: usize, text: Box<str>, type_code: &'static str) -> Name {
    let definitions = Definitions::r4();
    let binding = element
        .binding
        .filter(|binding| binding.strength == BindingStrength::Required);
    let codes = binding.and_then(|binding| definitions.required_codes(binding.value_set));
    let content = match Primitive::named(type_code) {
        Some(primitive) => Content::Primitive(primitive, codes.map(sorted_codes)),
        None if definitions.type_kind(type_code) == Some(TypeKind::Resource) => Content::Resource,
        None => {
            let codes = codes.filter(|_| matches!(type_code, "CodeableConcept" | "Coding"));
            Content::Complex(element.children_path(type_code), OnceLock::new(), codes)
        }
    };
    Name {
        text,
        member,
        type_code,
        content,
    }
}

/// The codes of a value set sorted, made once for each value set.
fn sorted_codes(list: &'static CodeList) -> &'static [&'static str] {
    static SORTED: OnceLock<Mutex<HashMap<&'static str, &'static [&'static str]>>> =
        OnceLock::new();
    let mut sorted = SORTED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    sorted.entry(list.value_set).or_insert_with(|| {
        let mut codes: Vec<&'static str> = list.codes.iter().map(|code| code.code).collect();
        codes.sort_unstable();
        codes.dedup();
        Box::leak(codes.into())
    })
}
