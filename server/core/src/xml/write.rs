//! JSON to XML.

use conformance::{Definitions, Element, TypeKind};

use super::{FHIR_NAMESPACE, XmlError, tree};
use crate::body::resource_type_name;
use crate::json::{Kind, ValueRef};

/// Writes one resource as XML, elements in the order of the definitions.
///
/// # Errors
/// [`XmlError`] when the resource has a member that R4 does not define: nothing is left out silently.
pub fn write(resource: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), XmlError> {
    write_resource(resource, &format!(" xmlns=\"{FHIR_NAMESPACE}\""), "", out)
}

fn write_resource(
    resource: ValueRef<'_>,
    namespace: &str,
    place: &str,
    out: &mut Vec<u8>,
) -> Result<(), XmlError> {
    let name =
        resource_type_name(resource).ok_or_else(|| XmlError::new("not a resource", place))?;
    if Definitions::r4().resource_type(&name).is_none() {
        return Err(XmlError::new("not a resource type of R4", name));
    }
    let place = if place.is_empty() {
        name.to_string()
    } else {
        format!("{place}.{name}")
    };
    out.extend_from_slice(format!("<{name}{namespace}>").as_bytes());
    write_members(resource, &name, &place, &["resourceType"], out)?;
    out.extend_from_slice(format!("</{name}>").as_bytes());
    Ok(())
}

/// Writes the members of a complex value; `done` names those already written.
fn write_members(
    value: ValueRef<'_>,
    type_path: &str,
    place: &str,
    done: &[&str],
    out: &mut Vec<u8>,
) -> Result<(), XmlError> {
    let elements = Definitions::r4().elements(type_path);
    let mut written = value
        .members()
        .filter(|(name, _)| done.contains(&name.as_ref()))
        .count();
    for element in elements {
        for (name, type_code) in json_names(element) {
            if done.contains(&name.as_str()) {
                continue;
            }
            let (main, shadow) = (value.get(&name), value.get(&format!("_{name}")));
            written += usize::from(main.is_some()) + usize::from(shadow.is_some());
            if main.is_some() || shadow.is_some() {
                write_element(
                    &name,
                    element,
                    type_code,
                    main,
                    shadow,
                    &format!("{place}.{name}"),
                    out,
                )?;
            }
        }
    }
    if written == value.members().count() {
        return Ok(());
    }
    let is_known = |name: &str| {
        let name = name.strip_prefix('_').unwrap_or(name);
        done.contains(&name)
            || elements
                .iter()
                .any(|e| json_names(e).any(|(known, _)| known == name))
    };
    let unknown = value
        .members()
        .map(|(name, _)| name)
        .find(|name| !is_known(name))
        .unwrap_or_default();
    Err(XmlError::new(
        "not an element of this type",
        format!("{place}.{unknown}"),
    ))
}

/// The JSON names an element may have, each with its type.
fn json_names(element: &Element) -> impl Iterator<Item = (String, &'static str)> + '_ {
    let plain = (!element.is_choice()).then(|| {
        (
            element.name.to_owned(),
            element.types.first().map_or("", |t| t.code),
        )
    });
    let choices = element
        .types
        .iter()
        .filter(|_| element.is_choice())
        .map(|kind| {
            let (first, rest) = kind.code.split_at(kind.code.len().min(1));
            (
                format!(
                    "{}{}{rest}",
                    element.base_name(),
                    first.to_ascii_uppercase()
                ),
                kind.code,
            )
        });
    plain.into_iter().chain(choices)
}

fn write_element(
    name: &str,
    element: &Element,
    type_code: &str,
    main: Option<ValueRef<'_>>,
    shadow: Option<ValueRef<'_>>,
    place: &str,
    out: &mut Vec<u8>,
) -> Result<(), XmlError> {
    if !main.or(shadow).is_some_and(ValueRef::is_array) {
        return write_one(name, element, type_code, main, shadow, place, out);
    }
    let length = |value: Option<ValueRef<'_>>| value.map_or(0, |v| v.items().count());
    for index in 0..length(main).max(length(shadow)) {
        let main = main.and_then(|v| v.items().nth(index));
        let shadow = shadow.and_then(|v| v.items().nth(index));
        write_one(name, element, type_code, main, shadow, place, out)?;
    }
    Ok(())
}

fn write_one(
    name: &str,
    element: &Element,
    type_code: &str,
    main: Option<ValueRef<'_>>,
    shadow: Option<ValueRef<'_>>,
    place: &str,
    out: &mut Vec<u8>,
) -> Result<(), XmlError> {
    if type_code == "xhtml" {
        return write_xhtml(main, place, out);
    }
    if matches!(
        Definitions::r4().type_kind(type_code),
        Some(TypeKind::Primitive { .. })
    ) {
        return write_primitive(name, main, shadow, place, out);
    }
    let Some(value) = main.filter(|v| v.is_object()) else {
        return Err(XmlError::new("must be an object", place));
    };
    out.extend_from_slice(format!("<{name}").as_bytes());
    if type_code == "Resource" {
        out.push(b'>');
        write_resource(value, "", place, out)?;
    } else {
        let mut done = Vec::new();
        for attribute in if type_code == "Extension" {
            ["id", "url"].as_slice()
        } else {
            &["id"]
        } {
            if let Some(text) = value.get(attribute).and_then(ValueRef::as_str) {
                write_attribute(attribute, &text, out);
                done.push(*attribute);
            }
        }
        out.push(b'>');
        write_members(value, element.children_path(type_code), place, &done, out)?;
    }
    out.extend_from_slice(format!("</{name}>").as_bytes());
    Ok(())
}

fn write_primitive(
    name: &str,
    main: Option<ValueRef<'_>>,
    shadow: Option<ValueRef<'_>>,
    place: &str,
    out: &mut Vec<u8>,
) -> Result<(), XmlError> {
    let shadow = shadow.filter(|s| s.kind() != Kind::Null);
    out.extend_from_slice(format!("<{name}").as_bytes());
    let id = shadow.and_then(|s| s.get("id")).and_then(ValueRef::as_str);
    if let Some(id) = &id {
        write_attribute("id", id, out);
    }
    if let Some(value) = main.filter(|m| m.kind() != Kind::Null) {
        let text = value
            .primitive_text()
            .ok_or_else(|| XmlError::new("must be a primitive", place))?;
        write_attribute("value", &text, out);
    }
    let Some(shadow) = shadow else {
        out.extend_from_slice(b"/>");
        return Ok(());
    };
    out.push(b'>');
    write_members(
        shadow,
        "Element",
        place,
        if id.is_some() { &["id"] } else { &[] },
        out,
    )?;
    out.extend_from_slice(format!("</{name}>").as_bytes());
    Ok(())
}

/// The narrative goes in as it is, once it is known to be one well-formed `div`.
fn write_xhtml(main: Option<ValueRef<'_>>, place: &str, out: &mut Vec<u8>) -> Result<(), XmlError> {
    let text = main
        .and_then(ValueRef::as_str)
        .ok_or_else(|| XmlError::new("must be a string", place))?;
    let div = tree::parse(text.trim())
        .map_err(|e| XmlError::new(format!("not well-formed XHTML: {}", e.what), place))?;
    if div.name != "div" {
        return Err(XmlError::new("must be a `div`", place));
    }
    out.extend_from_slice(text.trim().as_bytes());
    Ok(())
}

/// White space other than a blank is written as a reference: a reader would otherwise turn it into a blank.
fn write_attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for character in value.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\t' | '\n' | '\r' => {
                out.extend_from_slice(format!("&#{};", u32::from(character)).as_bytes())
            }
            other => {
                let mut buffer = [0; 4];
                out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    out.push(b'"');
}
