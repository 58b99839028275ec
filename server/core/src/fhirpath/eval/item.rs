//! What an expression works on: elements of a resource and computed values.
//!
//! Spec: <https://hl7.org/fhir/R4/fhirpath.html#types>

use std::borrow::Cow;
use std::cmp::Ordering;

use conformance::{Definitions, ResourceTypeId, TypeKind};

use crate::datatype::date::DateTime;
use crate::datatype::decimal::Decimal;
use crate::fhirpath::compile::{is_specialisation, is_type_or_base};
use crate::fhirpath::{Literal, TypeName};
use crate::json::{Kind, ValueRef};

use super::{moment, units};

/// An element of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// Its JSON value.
    pub value: ValueRef<'a>,
    /// For a primitive: the sibling `_name` that holds its id and extensions.
    pub sibling: Option<ValueRef<'a>>,
    /// Name of its datatype or resource type, or the path of a backbone element; empty when unknown.
    pub type_path: &'static str,
}

/// One item of a collection.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// An element of the resource.
    Element(Element<'a>),
    /// A computed boolean.
    Boolean(bool),
    /// A computed number.
    Number {
        /// Its value.
        value: Decimal,
        /// Whether its type is Integer.
        is_integer: bool,
    },
    /// A computed string.
    String(Cow<'a, str>),
    /// A Date.
    Date(DateTime),
    /// A DateTime, perhaps as short as a year.
    DateTime(DateTime),
    /// A Time, as text.
    Time(Cow<'a, str>),
    /// A Quantity.
    Quantity {
        /// Its value.
        value: Decimal,
        /// Its UCUM code or word of time.
        unit: Cow<'a, str>,
    },
    /// What a reference leads to, known by its type alone.
    Resolved(ResourceTypeId),
    /// What `type()` says.
    Type {
        /// `FHIR` or `System`.
        namespace: &'static str,
        /// The type's name.
        name: &'static str,
    },
}

impl<'a> Item<'a> {
    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self::Number {
            value: Decimal::from(value),
            is_integer: true,
        }
    }

    /// The value of a literal; `None` for `{}` and for dates and numbers out of bounds.
    pub fn of_literal(literal: &Literal) -> Option<Self> {
        Some(match literal {
            Literal::Empty => return None,
            Literal::Boolean(value) => Self::Boolean(*value),
            Literal::String(text) => Self::String(Cow::Owned(text.to_string())),
            Literal::Number(digits) => Self::Number {
                value: Decimal::parse(digits).ok()?,
                is_integer: !digits.contains('.'),
            },
            Literal::Date(text) | Literal::DateTime(text) => match moment::parse(text)? {
                (date, false) => Self::Date(date),
                (date, true) => Self::DateTime(date),
            },
            Literal::Time(text) => {
                moment::is_time(text).then(|| Self::Time(Cow::Owned(text.to_string())))?
            }
            Literal::Quantity(digits, unit) => Self::Quantity {
                value: Decimal::parse(digits).ok()?,
                unit: Cow::Owned(unit.to_string()),
            },
        })
    }

    /// The computed value an element of a primitive type or Quantity stands for; others stay as they are.
    /// Spec: <https://hl7.org/fhir/R4/fhirpath.html#types>
    pub fn to_system(&self) -> Item<'a> {
        let Self::Element(element) = self else {
            return self.clone();
        };
        let converted = match (element.value.kind(), element.type_path) {
            (Kind::True, _) => Some(Self::Boolean(true)),
            (Kind::False, _) => Some(Self::Boolean(false)),
            (Kind::Number, type_path) => {
                let digits = element.value.number_text().unwrap_or("");
                Decimal::parse(digits).ok().map(|value| Self::Number {
                    value,
                    is_integer: type_path != "decimal",
                })
            }
            (Kind::String | Kind::EscapedString, type_path) => {
                element.value.as_str().map(|text| match type_path {
                    "date" => match moment::parse(&text) {
                        Some((date, _)) => Self::Date(date),
                        None => Self::String(text),
                    },
                    "dateTime" | "instant" => match moment::parse(&text) {
                        Some((date, _)) => Self::DateTime(date),
                        None => Self::String(text),
                    },
                    "time" => Self::Time(text),
                    _ => Self::String(text),
                })
            }
            (
                Kind::Object,
                "Quantity" | "Age" | "Count" | "Distance" | "Duration" | "SimpleQuantity",
            ) if element.value.get("comparator").is_none() => {
                // With a comparator it is no single value: `>60` and `60` must not be taken for equal.
                let member = |name| element.value.get(name);
                let number = member("value").and_then(ValueRef::number_text);
                let unit = member("code")
                    .or_else(|| member("unit"))
                    .and_then(ValueRef::as_str);
                number
                    .and_then(|n| Decimal::parse(n).ok())
                    .map(|value| Self::Quantity {
                        value,
                        unit: unit.unwrap_or(Cow::Borrowed("1")),
                    })
            }
            _ => None,
        };
        converted.unwrap_or_else(|| self.clone())
    }

    /// The boolean it is.
    pub fn as_bool(&self) -> Option<bool> {
        match self.to_system() {
            Self::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// The text it is.
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        match self.to_system() {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number it is.
    pub fn as_number(&self) -> Option<Decimal> {
        match self.to_system() {
            Self::Number { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The text of `toString()`; `None` for what has none.
    pub fn to_text(&self) -> Option<Cow<'a, str>> {
        if let Self::Element(element) = self {
            return element.value.primitive_text();
        }
        Some(match self {
            Self::Boolean(value) => Cow::Owned(value.to_string()),
            Self::Number { value, .. } => Cow::Owned(value.to_string()),
            Self::String(text) | Self::Time(text) => text.clone(),
            Self::Quantity { value, unit } if units::is_calendar_word(unit) => {
                Cow::Owned(format!("{value} {unit}"))
            }
            Self::Quantity { value, unit } => Cow::Owned(format!("{value} '{unit}'")),
            Self::Date(date) | Self::DateTime(date) => Cow::Owned(moment::to_text(date)),
            Self::Type { namespace, name } => Cow::Owned(format!("{namespace}.{name}")),
            Self::Element(_) | Self::Resolved(_) => return None,
        })
    }

    /// Whether two items are equal; `None` when their precision does not allow to tell.
    /// Spec: <http://hl7.org/fhirpath/N1/#equality>
    pub fn equals(&self, other: &Item<'_>) -> Option<bool> {
        match (self.to_system(), other.to_system()) {
            (Self::Boolean(a), Item::Boolean(b)) => Some(a == b),
            (Self::Number { value: a, .. }, Item::Number { value: b, .. }) => Some(a == b),
            (Self::String(a), Item::String(b)) => Some(a == b),
            (Self::Time(a), Item::Time(b)) => moment::compare_times(&a, &b).map(Ordering::is_eq),
            (Self::Date(a) | Self::DateTime(a), Item::Date(b) | Item::DateTime(b)) => {
                moment::compare(&a, &b).map(Ordering::is_eq)
            }
            (Self::Quantity { value: a, unit: x }, Item::Quantity { value: b, unit: y }) => {
                units::compare(&a, &x, &b, &y).map(Ordering::is_eq)
            }
            (
                Self::Type { namespace, name },
                Item::Type {
                    namespace: other_namespace,
                    name: other_name,
                },
            ) => Some(namespace == other_namespace && name == other_name),
            (Self::Element(a), Item::Element(b)) => Some(a.value.same_as(b.value)),
            _ => Some(false),
        }
    }

    /// How two items compare; `None` inside where precision or units leave it open, outside where types do not compare.
    /// Spec: <http://hl7.org/fhirpath/N1/#comparison>
    pub fn compares(&self, other: &Item<'_>) -> Option<Option<Ordering>> {
        Some(match (self.to_system(), other.to_system()) {
            (Self::Number { value: a, .. }, Item::Number { value: b, .. }) => Some(a.cmp(&b)),
            (Self::String(a), Item::String(b)) => Some(a.cmp(&b)),
            (Self::Time(a), Item::Time(b)) => moment::compare_times(&a, &b),
            (Self::Date(a) | Self::DateTime(a), Item::Date(b) | Item::DateTime(b)) => {
                moment::compare(&a, &b)
            }
            (Self::Quantity { value: a, unit: x }, Item::Quantity { value: b, unit: y }) => {
                units::compare(&a, &x, &b, &y)
            }
            (Self::Quantity { value: a, unit }, Item::Number { value: b, .. }) => {
                units::compare(&a, &unit, &b, "1")
            }
            (Self::Number { value: a, .. }, Item::Quantity { value: b, unit }) => {
                units::compare(&a, "1", &b, &unit)
            }
            _ => return None,
        })
    }

    /// What `type()` says of it.
    pub fn type_of(&self) -> Item<'a> {
        let (namespace, name) = match self {
            Self::Element(element) => ("FHIR", element.type_path),
            Self::Resolved(resource_type) => ("FHIR", resource_type.name()),
            Self::Type { .. } => ("System", "SimpleTypeInfo"),
            _ => ("System", self.system_type()),
        };
        Item::Type { namespace, name }
    }

    fn system_type(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "Boolean",
            Self::Number {
                is_integer: true, ..
            } => "Integer",
            Self::Number { .. } => "Decimal",
            Self::String(_) => "String",
            Self::Date(_) => "Date",
            Self::DateTime(_) => "DateTime",
            Self::Time(_) => "Time",
            _ => "Quantity",
        }
    }

    /// Whether `as` and `ofType` select it: a primitive only by just its type.
    pub fn is_selected_by(&self, type_name: &TypeName) -> bool {
        match self {
            Self::Element(e) if e.type_path.starts_with(|c: char| c.is_ascii_lowercase()) => {
                e.type_path == type_name.name.as_ref()
                    && type_name.namespace.as_deref() != Some("System")
            }
            _ => self.is_of(type_name),
        }
    }

    /// Whether it is of a type or of a specialisation of it.
    pub fn is_of(&self, type_name: &TypeName) -> bool {
        let name = type_name.name.as_ref();
        if let Self::Element(element) = self {
            return type_name.namespace.as_deref() != Some("System")
                && is_of_fhir_type(element, name);
        }
        if let Self::Resolved(resource_type) = self {
            return is_type_or_base(resource_type.name(), name);
        }
        type_name.namespace.as_deref() != Some("FHIR") && self.system_type() == name
    }
}

fn is_of_fhir_type(element: &Element<'_>, name: &str) -> bool {
    let type_path = element.type_path;
    if type_path == name || is_specialisation(type_path, name) {
        return true;
    }
    match name {
        "BackboneElement" => type_path.contains('.'),
        "Resource" | "DomainResource" => {
            Definitions::r4().type_kind(type_path) == Some(TypeKind::Resource)
                && is_type_or_base(type_path, name)
        }
        _ => false,
    }
}
