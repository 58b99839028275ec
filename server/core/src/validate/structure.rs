//! The check on every write: names, cardinality, JSON types, formats and required codes, in one walk.
//!
//! Spec: <https://hl7.org/fhir/R4/json.html>, <https://hl7.org/fhir/R4/validation.html> ("Structure", "Cardinality", "Value domains",
//! required bindings). Left out: invariants, profiles, targets of references.

use conformance::{CodeList, Definitions, ResourceTypeId};

use super::place::Place;
use super::reference::is_reference;
use super::seen::Seen;
use super::shape::{Content, Name, Primitive, Shape};
use crate::body::resource_type_name;
use crate::issue::{ErrorKind, Issue, Severity};
use crate::json::{Kind, ValueRef};

/// Issues reported for one resource; the rest is left unsaid, since whoever has fifty needs another look anyway.
pub const ISSUES_MAX: usize = 50;

/// Everything that is wrong with a resource of this type; empty when nothing is. Every issue names its element.
pub fn check(resource_type: ResourceTypeId, resource: ValueRef<'_>) -> Vec<Issue> {
    let mut walk = Walk {
        issues: Vec::new(),
        container: None,
    };
    let place = Place::root(resource_type.name());
    match resource_type_name(resource) {
        Some(name) if name == resource_type.name() => walk.resource(resource, &place),
        Some(_) => walk.report(
            ErrorKind::TYPE_MISMATCH,
            &place,
            "`resourceType` names another type than the URL",
        ),
        None => walk.report(
            ErrorKind::INVALID_RESOURCE,
            &place,
            "a JSON object with `resourceType` is expected",
        ),
    }
    walk.issues
}

struct Walk<'a> {
    issues: Vec<Issue>,
    /// The resource whose `contained` a `#id` means.
    container: Option<ValueRef<'a>>,
}

impl<'a> Walk<'a> {
    fn is_full(&self) -> bool {
        self.issues.len() > ISSUES_MAX
    }

    fn report(&mut self, kind: ErrorKind, place: &Place<'_>, text: impl Into<String>) {
        if self.issues.len() < ISSUES_MAX {
            let expression = Some(place.path());
            self.issues.push(Issue {
                severity: Severity::Error,
                kind,
                diagnostics: text.into(),
                expression,
            });
        } else if self.issues.len() == ISSUES_MAX {
            let diagnostics =
                format!("there are more than {ISSUES_MAX} issues; the rest was not looked at");
            self.issues.push(Issue {
                severity: Severity::Fatal,
                kind,
                diagnostics,
                expression: None,
            });
        }
    }

    fn resource(&mut self, value: ValueRef<'a>, place: &Place<'_>) {
        let shape = resource_type_name(value)
            .filter(|name| Definitions::r4().resource_type(name).is_some())
            .and_then(|name| Shape::of(&name));
        let Some(shape) = shape else {
            let text = "a resource is expected: an object whose `resourceType` is one of FHIR R4's resource types";
            return self.report(ErrorKind::INVALID_RESOURCE, place, text);
        };
        let outer = self.container;
        self.container = outer.or(Some(value));
        self.object(shape, value, place, true);
        self.container = outer;
    }

    fn object(
        &mut self,
        shape: &'static Shape,
        object: ValueRef<'a>,
        place: &Place<'_>,
        is_resource: bool,
    ) {
        if !object.is_object() {
            return self.report(
                ErrorKind::BAD_VALUE,
                place,
                format!("a JSON object is expected{}", instead(object)),
            );
        }
        let mut seen = Seen::default();
        let mut hint = 0;
        for (json_name, value) in object.members() {
            if self.is_full() {
                return;
            }
            if is_resource && json_name == "resourceType" {
                continue;
            }
            let member_place = place.member(&json_name);
            let plain = json_name.strip_prefix('_');
            let Some(name) = shape.name(plain.unwrap_or(&json_name), &mut hint) else {
                self.unknown(shape, plain.unwrap_or(&json_name), &member_place);
                continue;
            };
            if !seen.add(shape, name) {
                let text = "an element with a choice of types has one value, of one type; here is a second";
                self.report(ErrorKind::INVALID_RESOURCE, &member_place, text);
            }
            match plain {
                None => self.member(shape, object, name, value, &member_place),
                Some(_) => self.shadow(shape, object, name, value, &member_place),
            }
        }
        if !is_resource && object.members().next().is_none() {
            let text = "the object is empty; leave the element out";
            self.report(ErrorKind::BAD_VALUE, place, text);
        }
        self.required(shape, &seen, place);
        if shape.path == "Reference" {
            self.reference(object, place);
        }
    }

    fn unknown(&mut self, shape: &'static Shape, name: &str, place: &Place<'_>) {
        let choice = shape
            .members
            .iter()
            .position(|m| m.element.is_choice() && m.element.base_name() == name);
        let hint = choice.map_or_else(String::new, |member| {
            let names: Vec<&str> = shape.names_of(member).take(12).collect();
            format!("; its type belongs into the name: {}", names.join(", "))
        });
        self.report(
            ErrorKind::UNKNOWN_ELEMENT,
            place,
            format!("`{}` has no such element{hint}", shape.path),
        );
    }

    fn required(&mut self, shape: &'static Shape, seen: &Seen, place: &Place<'_>) {
        let missing = shape.required & !seen.members;
        if missing == 0 {
            return;
        }
        for (at, member) in shape
            .members
            .iter()
            .enumerate()
            .filter(|(at, _)| missing & (1 << at) != 0)
        {
            let name = member.element.base_name();
            let names: Vec<&str> = shape.names_of(at).take(12).collect();
            let text = format!("`{}` must have `{}`", shape.path, names.join("` or `"));
            self.report(ErrorKind::REQUIRED_ELEMENT, &place.member(name), text);
        }
    }

    fn member(
        &mut self,
        shape: &'static Shape,
        object: ValueRef<'a>,
        name: &'static Name,
        value: ValueRef<'a>,
        place: &Place<'_>,
    ) {
        let is_array = shape
            .members
            .get(name.member)
            .is_some_and(|member| member.is_array);
        if !is_array {
            return self.single(name, value, place);
        }
        if !value.is_array() {
            let text = format!(
                "`{}` may repeat, so a JSON array is expected{}",
                name.text,
                instead(value)
            );
            return self.report(ErrorKind::BAD_VALUE, place, text);
        }
        let mut is_empty = true;
        for (index, item) in value.items().enumerate() {
            if self.is_full() {
                return;
            }
            is_empty = false;
            // "null values" stand in for primitives that have an extension only.
            if item.kind() == Kind::Null && matches!(name.content, Content::Primitive(..)) {
                let shadow = object
                    .get(&format!("_{}", name.text))
                    .and_then(|shadow| shadow.items().nth(index));
                if shadow.is_some_and(|shadow| shadow.is_object()) {
                    continue;
                }
            }
            self.single(name, item, &place.item(index));
        }
        if is_empty {
            self.report(
                ErrorKind::BAD_VALUE,
                place,
                "the array is empty; leave the element out",
            );
        }
    }

    fn single(&mut self, name: &'static Name, value: ValueRef<'a>, place: &Place<'_>) {
        match &name.content {
            Content::Primitive(primitive, codes) => {
                if !primitive.accepts(value) {
                    let text = format!(
                        "a `{}` is expected: {}{}",
                        name.type_code,
                        primitive.form(),
                        instead_of_form(*primitive, value)
                    );
                    self.report(ErrorKind::BAD_VALUE, place, text);
                } else if let Some(codes) = codes {
                    self.code(codes, value, place);
                }
            }
            Content::Complex(_, _, codes) => {
                if let Some(shape) = name.content.shape() {
                    self.object(shape, value, place, false);
                }
                if let Some(codes) = codes {
                    self.concept(codes, value, place);
                }
            }
            Content::Resource => self.nested_resource(name, value, place),
        }
    }

    fn nested_resource(&mut self, name: &'static Name, value: ValueRef<'a>, place: &Place<'_>) {
        if &*name.text == "contained" {
            if value.get("contained").is_some() {
                let text = "a contained resource cannot contain another";
                self.report(
                    ErrorKind::INVALID_RESOURCE,
                    &place.member("contained"),
                    text,
                );
            }
            return self.resource(value, place);
        }
        // An entry of a Bundle and a parameter stand for themselves.
        let outer = self.container.take();
        self.resource(value, place);
        self.container = outer;
    }

    fn code(&mut self, codes: &[&str], value: ValueRef<'_>, place: &Place<'_>) {
        let is_known = value
            .as_str()
            .is_some_and(|code| codes.binary_search(&&*code).is_ok());
        if !is_known {
            let shown: Vec<&str> = codes.iter().copied().take(20).collect();
            let more = if codes.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            let text = format!(
                "the code is not in the required value set: {}{more}",
                shown.join(", ")
            );
            self.report(ErrorKind::BAD_CODE, place, text);
        }
    }

    /// "To be conformant, the concept in this element SHALL be from the specified value set": one coding at least.
    fn concept(&mut self, codes: &CodeList, value: ValueRef<'_>, place: &Place<'_>) {
        let is_known = |coding: ValueRef<'_>| {
            let system = coding.get("system").and_then(ValueRef::as_str);
            let code = coding.get("code").and_then(ValueRef::as_str);
            let (Some(system), Some(code)) = (system, code) else {
                return false;
            };
            codes
                .codes
                .iter()
                .any(|known| known.system == system && known.code == code)
        };
        let is_concept_known = match value.get("coding") {
            Some(codings) => codings.items().any(is_known),
            None => is_known(value),
        };
        // An extension may say why there is none (data-absent-reason).
        if !is_concept_known && value.get("extension").is_none() {
            let text = format!(
                "no coding is from the required value set {}",
                codes.value_set
            );
            self.report(ErrorKind::BAD_CODE, place, text);
        }
    }

    /// `_name`: id and extensions of a primitive. <https://hl7.org/fhir/R4/json.html#primitive>
    fn shadow(
        &mut self,
        shape: &'static Shape,
        object: ValueRef<'a>,
        name: &'static Name,
        value: ValueRef<'a>,
        place: &Place<'_>,
    ) {
        let (Content::Primitive(..), Some(element)) = (&name.content, Shape::of("Element")) else {
            let text = format!(
                "`{}` is no primitive, so there is no `_{0}`; id and extensions go inside",
                name.text
            );
            return self.report(ErrorKind::UNKNOWN_ELEMENT, place, text);
        };
        let is_array = shape
            .members
            .get(name.member)
            .is_some_and(|member| member.is_array);
        if !is_array {
            return self.object(element, value, place, false);
        }
        if !value.is_array() {
            return self.report(
                ErrorKind::BAD_VALUE,
                place,
                format!("a JSON array is expected{}", instead(value)),
            );
        }
        let values = object.get(&name.text);
        let (length, values_length) = (value.items().count(), values.map(|v| v.items().count()));
        if values_length.is_some_and(|values| values != length) {
            let text = format!(
                "`{}` and `_{0}` must have the same number of items, `null` where there is nothing",
                name.text
            );
            return self.report(ErrorKind::BAD_VALUE, place, text);
        }
        for (index, item) in value.items().enumerate() {
            if self.is_full() {
                return;
            }
            let has_value = values
                .and_then(|v| v.items().nth(index))
                .is_some_and(|v| v.kind() != Kind::Null);
            if item.kind() != Kind::Null || !has_value {
                self.object(element, item, &place.item(index), false);
            }
        }
    }

    /// "References SHALL be a reference to an actual FHIR resource": a form that can be one.
    fn reference(&mut self, object: ValueRef<'_>, place: &Place<'_>) {
        let Some(value) = object.get("reference") else {
            return;
        };
        let Some(text) = value.as_str() else { return };
        if let Some(id) = text.strip_prefix('#') {
            let contained = self
                .container
                .and_then(|container| container.get("contained"));
            let has_id = |resource: ValueRef<'_>| {
                resource
                    .get("id")
                    .and_then(ValueRef::as_str)
                    .is_some_and(|found| found == id)
            };
            if !id.is_empty() && !contained.is_some_and(|list| list.items().any(has_id)) {
                let text = "no contained resource has this id";
                self.report(ErrorKind::BAD_VALUE, &place.member("reference"), text);
            }
        } else if !is_reference(&text) {
            let text = "a reference is expected: `Type/id`, an absolute url, `urn:uuid:…` or `#id`";
            self.report(ErrorKind::BAD_VALUE, &place.member("reference"), text);
        }
    }
}

/// What stands there instead, by kind only.
fn instead(value: ValueRef<'_>) -> &'static str {
    match value.kind() {
        Kind::Null => "; here is `null`",
        Kind::True | Kind::False => "; here is a boolean",
        Kind::Number => "; here is a number",
        Kind::String | Kind::EscapedString => "; here is a string",
        Kind::Array => "; here is an array",
        Kind::Object => "; here is an object",
    }
}

fn instead_of_form(primitive: Primitive, value: ValueRef<'_>) -> &'static str {
    let is_text = matches!(value.kind(), Kind::String | Kind::EscapedString);
    let wants_text = !matches!(
        primitive,
        Primitive::Boolean
            | Primitive::Decimal
            | Primitive::Integer
            | Primitive::PositiveInt
            | Primitive::UnsignedInt
    );
    if is_text && wants_text {
        ""
    } else {
        instead(value)
    }
}
