//! Everything in a resource that may lead to another entry of its Bundle.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#trules>: "resource references, elements of type uri, url, oid, uuid, and <a href="" & <img
//! src="" in the narrative. Elements of type canonical are not replaced".

use std::borrow::Cow;
use std::ops::Range;

use crate::body::resource_type_name;
use crate::json::{Kind, ValueRef};
use crate::validate::shape::{Content, Primitive, Shape};

/// A place that may need to be rewritten.
#[derive(Debug)]
pub struct Link<'a> {
    /// Its bytes in the document, quotes included.
    pub span: Range<usize>,
    /// What it is.
    pub role: Role,
    /// Its text.
    pub text: Cow<'a, str>,
}

/// What a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `Reference.reference`
    Reference,
    /// An element of type uri, url, oid or uuid.
    Uri,
    /// `Narrative.div`
    Narrative,
}

/// The links of a resource in document order. A Bundle inside is a document of its own and left alone.
pub fn of(resource: ValueRef<'_>) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    walk_resource(resource, &mut links);
    links
}

fn walk_resource<'a>(resource: ValueRef<'a>, links: &mut Vec<Link<'a>>) {
    let shape = resource_type_name(resource)
        .filter(|name| name != "Bundle")
        .and_then(|name| Shape::of(&name));
    if let Some(shape) = shape {
        walk(shape, resource, links);
    }
}

fn walk<'a>(shape: &'static Shape, object: ValueRef<'a>, links: &mut Vec<Link<'a>>) {
    let mut hint = 0;
    let element = || Shape::of("Element");
    for (name, value) in object.members() {
        if let Some(plain) = name.strip_prefix('_') {
            // Extensions of primitives hold references, too.
            if let (Some(_), Some(element)) = (shape.name(plain, &mut hint), element()) {
                value.each().for_each(|item| walk(element, item, links));
            }
            continue;
        }
        let Some(found) = shape.name(&name, &mut hint) else {
            continue;
        };
        let is_reference = shape.path == "Reference" && &*found.text == "reference";
        let role = match &found.content {
            Content::Primitive(_, _) if is_reference => Role::Reference,
            Content::Primitive(Primitive::Uri, _) if found.type_code == "canonical" => continue,
            Content::Primitive(Primitive::Uri | Primitive::Oid | Primitive::Uuid, _) => Role::Uri,
            Content::Primitive(Primitive::Xhtml, _) => Role::Narrative,
            Content::Primitive(_, _) => continue,
            Content::Complex(..) => {
                if let Some(shape) = found.content.shape() {
                    value.each().for_each(|item| walk(shape, item, links));
                }
                continue;
            }
            Content::Resource => {
                value.each().for_each(|item| walk_resource(item, links));
                continue;
            }
        };
        links.extend(value.each().filter_map(|item| link(role, item)));
    }
}

fn link(role: Role, value: ValueRef<'_>) -> Option<Link<'_>> {
    let is_text = matches!(value.kind(), Kind::String | Kind::EscapedString);
    if is_text {
        Some(Link {
            span: value.span(),
            role,
            text: value.as_str()?,
        })
    } else {
        None
    }
}
