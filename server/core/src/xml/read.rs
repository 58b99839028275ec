//! XML to JSON.

use conformance::{Definitions, Max, TypeKind};

use super::tree::{self, Node};
use super::{FHIR_NAMESPACE, XmlError, is_number_type};
use crate::json::{Map, Number, Value};

/// Reads one resource.
///
/// # Errors
/// [`XmlError`] for a text that is not well-formed, an unknown element or attribute, a value that its type cannot hold.
pub fn read(text: &str) -> Result<Value, XmlError> {
    let root = tree::parse(text)?;
    if root.attribute("xmlns") != Some(FHIR_NAMESPACE) {
        let what = format!("the root element must be in the namespace `{FHIR_NAMESPACE}`");
        return Err(XmlError::new(what, root.name));
    }
    resource(&root)
}

fn resource(node: &Node<'_>) -> Result<Value, XmlError> {
    if Definitions::r4().resource_type(&node.name).is_none() {
        return Err(XmlError::new(
            "not a resource type of R4",
            node.name.clone(),
        ));
    }
    let mut map = Map::new();
    map.insert("resourceType", Value::from(node.name.as_str()));
    members(node, &node.name, &node.name, &mut map)?;
    Ok(Value::Object(map))
}

/// Adds the members of a complex element.
fn members(node: &Node<'_>, type_path: &str, place: &str, map: &mut Map) -> Result<(), XmlError> {
    refuse_text(node, place)?;
    for (name, value) in &node.attributes {
        match name.as_str() {
            "id" => map.insert("id", Value::from(value.as_str())),
            "url" if type_path == "Extension" => map.insert("url", Value::from(value.as_str())),
            "xmlns" | "xsi:schemaLocation" => {}
            other if other.starts_with("xmlns:") => {}
            _ => {
                return Err(XmlError::new(
                    "an attribute FHIR does not have",
                    format!("{place}.{name}"),
                ));
            }
        }
    }
    for child in &node.children {
        element(child, type_path, &format!("{place}.{}", child.name), map)?;
    }
    Ok(())
}

fn element(node: &Node<'_>, type_path: &str, place: &str, map: &mut Map) -> Result<(), XmlError> {
    let found = Definitions::r4().element(type_path, &node.name);
    let found = found.ok_or_else(|| XmlError::new("not an element of this type", place))?;
    let is_list = found.element.max != Max::One;
    let kind = Definitions::r4().type_kind(found.chosen_type);
    if found.chosen_type == "xhtml" {
        return put(map, &node.name, Value::from(node.raw), is_list, place);
    }
    if matches!(kind, Some(TypeKind::Primitive { .. })) {
        return primitive(node, found.chosen_type, is_list, place, map);
    }
    let value = if found.chosen_type == "Resource" {
        refuse_text(node, place)?;
        match node.children.as_slice() {
            [one] => resource(one)?,
            _ => return Err(XmlError::new("must hold exactly one resource", place)),
        }
    } else {
        let mut child = Map::new();
        members(node, found.type_path(), place, &mut child)?;
        Value::Object(child)
    };
    put(map, &node.name, value, is_list, place)
}

/// A primitive: its value, and beside it under `_name` what else it carries.
fn primitive(
    node: &Node<'_>,
    type_code: &str,
    is_list: bool,
    place: &str,
    map: &mut Map,
) -> Result<(), XmlError> {
    refuse_text(node, place)?;
    let mut value = Value::Null;
    let mut rest = Map::new();
    for (name, text) in &node.attributes {
        match name.as_str() {
            "value" => value = primitive_value(text, type_code, place)?,
            "id" => rest.insert("id", Value::from(text.as_str())),
            _ => {
                return Err(XmlError::new(
                    "an attribute FHIR does not have",
                    format!("{place}.{name}"),
                ));
            }
        }
    }
    for child in &node.children {
        element(
            child,
            "Element",
            &format!("{place}.{}", child.name),
            &mut rest,
        )?;
    }
    let shadow = format!("_{}", node.name);
    if !is_list {
        if map.get(&node.name).is_some() || map.get(&shadow).is_some() {
            return Err(XmlError::new("may occur only once", place));
        }
        if value != Value::Null {
            map.insert(node.name.as_str(), value);
        }
        if !rest.is_empty() {
            map.insert(shadow, Value::Object(rest));
        }
        return Ok(());
    }
    // In a list, value and rest stand at the same place of two arrays; `null` fills the gaps.
    let before = list_length(map, &node.name).max(list_length(map, &shadow));
    if value != Value::Null || map.get(&node.name).is_some() {
        list(map, &node.name, before).push(value);
    }
    if !rest.is_empty() || map.get(&shadow).is_some() {
        let rest = if rest.is_empty() {
            Value::Null
        } else {
            Value::Object(rest)
        };
        list(map, &shadow, before).push(rest);
    } else if map.get(&node.name).is_none() {
        return Err(XmlError::new("has neither value nor extension", place));
    }
    Ok(())
}

fn primitive_value(text: &str, type_code: &str, place: &str) -> Result<Value, XmlError> {
    if is_number_type(type_code) {
        let number = Number::parse(text).ok_or_else(|| XmlError::new("must be a number", place))?;
        return Ok(Value::Number(number));
    }
    match (type_code, text) {
        ("boolean", "true") => Ok(Value::Bool(true)),
        ("boolean", "false") => Ok(Value::Bool(false)),
        ("boolean", _) => Err(XmlError::new("must be `true` or `false`", place)),
        _ => Ok(Value::from(text)),
    }
}

fn list_length(map: &Map, name: &str) -> usize {
    map.get(name)
        .and_then(Value::as_array)
        .map_or(0, <[Value]>::len)
}

/// The array called `name`, filled with `null` up to `length` when it is shorter.
fn list<'m>(map: &'m mut Map, name: &str, length: usize) -> &'m mut Vec<Value> {
    if map.get(name).and_then(Value::as_array).is_none() {
        map.insert(name, Value::Array(Vec::new()));
    }
    match map.get_mut(name) {
        Some(Value::Array(items)) => {
            while items.len() < length {
                items.push(Value::Null);
            }
            items
        }
        _ => unreachable!("the member was made an array above"),
    }
}

fn put(
    map: &mut Map,
    name: &str,
    value: Value,
    is_list: bool,
    place: &str,
) -> Result<(), XmlError> {
    if is_list {
        list(map, name, 0).push(value);
        return Ok(());
    }
    if map.get(name).is_some() {
        return Err(XmlError::new("may occur only once", place));
    }
    map.insert(name, value);
    Ok(())
}

fn refuse_text(node: &Node<'_>, place: &str) -> Result<(), XmlError> {
    if node.has_text {
        Err(XmlError::new("text between elements is not FHIR", place))
    } else {
        Ok(())
    }
}
