//! FHIRPath Patch: a Parameters resource whose operations name elements by FHIRPath.
//!
//! Spec: <https://hl7.org/fhir/R4/fhirpatch.html>. All operations apply or none; the caller keeps the original.

use conformance::{Definitions, Max};

use super::json_patch::OPERATIONS_MAX;
use super::pointer::{self, Step};
use crate::fhirpath::eval::{Element, Item, evaluate};
use crate::fhirpath::parse;
use crate::issue::{ErrorKind, Problem};
use crate::json::{Document, Map, Value};

/// Applies the operations of a Parameters resource.
///
/// # Errors
/// `bad-value` for an operation that cannot be carried out, naming it by index.
pub fn apply(resource: &Value, patch: &Value) -> Result<Value, Problem> {
    let is_parameters = patch.get("resourceType").and_then(Value::as_str) == Some("Parameters");
    let operations = patch
        .get("parameter")
        .and_then(Value::as_array)
        .filter(|_| is_parameters);
    let operations = operations.ok_or_else(|| {
        Problem::new(
            ErrorKind::INVALID_RESOURCE,
            "a FHIRPath Patch is a Parameters resource with `operation` parameters",
        )
    })?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Problem::new(
            ErrorKind::TOO_LARGE,
            format!("a patch has at most {OPERATIONS_MAX} operations"),
        ));
    }
    let mut patched = resource.clone();
    for (index, operation) in operations.iter().enumerate() {
        patched = step(patched, operation).map_err(|what| {
            Problem::new(ErrorKind::BAD_VALUE, what).at(format!("Parameters.parameter[{index}]"))
        })?;
    }
    Ok(patched)
}

/// The parts of one operation.
struct Operation<'p>(&'p Value);

impl<'p> Operation<'p> {
    fn part(&self, name: &str) -> Option<&'p Value> {
        let parts = self.0.get("part").and_then(Value::as_array)?;
        parts
            .iter()
            .find(|part| part.get("name").and_then(Value::as_str) == Some(name))
    }

    fn text(&self, name: &str) -> Result<&'p str, String> {
        let part = self
            .part(name)
            .and_then(part_value)
            .and_then(|(_, value)| value.as_str());
        part.ok_or_else(|| format!("the operation needs `{name}`"))
    }

    fn index(&self, name: &str) -> Result<usize, String> {
        let part = self
            .part(name)
            .and_then(part_value)
            .and_then(|(_, value)| value.number_text());
        part.and_then(|digits| digits.parse().ok())
            .ok_or_else(|| format!("the operation needs a whole number `{name}`"))
    }
}

/// The `value[x]` of a parameter: type suffix and value.
fn part_value(part: &Value) -> Option<(&str, &Value)> {
    part.as_object()?
        .iter()
        .find_map(|(name, value)| Some((name.strip_prefix("value")?, value)))
}

/// Where an element is, and what type it has.
struct Place {
    steps: Vec<Step>,
    type_path: &'static str,
}

fn places(document: &Document, path: &str) -> Result<Vec<Place>, String> {
    let expression = parse(path).map_err(|e| format!("`path` is no FHIRPath: {e}"))?;
    let root = Element::resource(document.root());
    let found = evaluate(&expression, root, root)
        .map_err(|e| format!("`path` cannot be evaluated: {e}"))?;
    found
        .into_iter()
        .map(|item| match item {
            Item::Element(element) => {
                let steps = pointer::to_position(document.root(), element.value.position());
                steps
                    .map(|steps| Place {
                        steps,
                        type_path: element.type_path,
                    })
                    .ok_or_else(|| "`path` names no element".to_owned())
            }
            _ => Err("`path` must name elements, not compute values".to_owned()),
        })
        .collect()
}

fn one(document: &Document, path: &str) -> Result<Place, String> {
    let mut found = places(document, path)?;
    match (found.pop(), found.is_empty()) {
        (Some(place), true) => Ok(place),
        (None, _) => Err("`path` matches nothing".to_owned()),
        _ => Err("`path` matches several elements".to_owned()),
    }
}

fn step(mut resource: Value, operation: &Value) -> Result<Value, String> {
    let operation = Operation(operation);
    let document = Document::parse(&resource.to_bytes()).map_err(|e| e.to_string())?;
    let path = operation.text("path")?;
    match operation.text("type")? {
        "add" => add(&mut resource, &one(&document, path)?, &operation)?,
        "insert" => {
            let (list, _) = list_of(&document, path)?;
            let type_path = places(&document, path)?.first().map_or("", |p| p.type_path);
            let value = value_of(&operation, type_path)?;
            let index = operation.index("index")?;
            let items = items_mut(&mut resource, &list)?;
            if index > items.len() {
                return Err("`index` lies outside the list".to_owned());
            }
            items.insert(index, value);
        }
        "delete" => match places(&document, path)?.as_slice() {
            [] => {}
            [place] => delete(&mut resource, &place.steps)?,
            _ => return Err("`path` matches several elements".to_owned()),
        },
        "replace" => {
            let place = one(&document, path)?;
            let value = value_of(&operation, place.type_path)?;
            replace(&mut resource, &place, value, &operation)?;
        }
        "move" => {
            let (list, length) = list_of(&document, path)?;
            let (source, destination) =
                (operation.index("source")?, operation.index("destination")?);
            if source >= length || destination >= length {
                return Err("`source` or `destination` lies outside the list".to_owned());
            }
            let items = items_mut(&mut resource, &list)?;
            let moved = items.remove(source);
            items.insert(destination, moved);
        }
        _ => return Err("`type` is one of add, insert, delete, replace, move".to_owned()),
    }
    Ok(resource)
}

fn add(resource: &mut Value, place: &Place, operation: &Operation<'_>) -> Result<(), String> {
    let definitions = Definitions::r4();
    let name = operation.text("name")?;
    let suffix = operation
        .part("value")
        .and_then(part_value)
        .map_or("", |(suffix, _)| suffix);
    let choice = definitions
        .choice(place.type_path, name)
        .map(|_| format!("{name}{suffix}"));
    let name = choice.unwrap_or_else(|| name.to_owned());
    let element = definitions.element(place.type_path, &name);
    let element =
        element.ok_or_else(|| format!("`{name}` is no element of `{}`", place.type_path))?;
    let value = value_of(operation, element.type_path())?;
    let parent = pointer::get_mut(resource, &place.steps).and_then(Value::as_object_mut);
    let parent = parent.ok_or("`path` names no element that has children")?;
    match (element.element.max, parent.get_mut(&name)) {
        (Max::One, None) => parent.insert(name, value),
        (Max::One, Some(_)) => return Err(format!("`{name}` has a value already; use replace")),
        (_, Some(Value::Array(items))) => items.push(value),
        (_, Some(_)) => return Err(format!("`{name}` is no list")),
        (_, None) => parent.insert(name, Value::Array(vec![value])),
    }
    Ok(())
}

/// Replaces a value; a choice that gets another type changes its name with it.
fn replace(
    resource: &mut Value,
    place: &Place,
    value: Value,
    operation: &Operation<'_>,
) -> Result<(), String> {
    let slot = pointer::get_mut(resource, &place.steps).ok_or("`path` matches nothing")?;
    let suffix = operation
        .part("value")
        .and_then(part_value)
        .map_or("", |(suffix, _)| suffix);
    let Some((Step::Member(name), parent)) = place.steps.split_last() else {
        *slot = value;
        return Ok(());
    };
    let old_suffix = capital(place.type_path);
    let renamed = match name.strip_suffix(&old_suffix) {
        Some(base) if !suffix.is_empty() && suffix != old_suffix && !base.is_empty() => {
            format!("{base}{suffix}")
        }
        _ => {
            *slot = value;
            return Ok(());
        }
    };
    delete(resource, &place.steps)?;
    let parent = pointer::get_mut(resource, parent)
        .and_then(Value::as_object_mut)
        .ok_or("`path` matches nothing")?;
    parent.insert(renamed, value);
    Ok(())
}

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    format!("{}{rest}", first.to_ascii_uppercase())
}

/// Takes an element out, with the `_name` beside a primitive; a list that becomes empty goes too.
fn delete(resource: &mut Value, steps: &[Step]) -> Result<(), String> {
    let (last, parent) = steps
        .split_last()
        .ok_or("the whole resource cannot be deleted by a patch")?;
    match last {
        Step::Member(name) => {
            let map = pointer::get_mut(resource, parent)
                .and_then(Value::as_object_mut)
                .ok_or("nothing there")?;
            map.remove(name);
            map.remove(&format!("_{name}"));
        }
        Step::Item(index) => {
            let Some((Step::Member(name), above)) = parent.split_last() else {
                return Err("nothing there".to_owned());
            };
            let map = pointer::get_mut(resource, above)
                .and_then(Value::as_object_mut)
                .ok_or("nothing there")?;
            for name in [name.clone(), format!("_{name}")] {
                if let Some(items) = map.get_mut(&name).and_then(Value::as_array_mut)
                    && *index < items.len()
                {
                    items.remove(*index);
                    if items.is_empty() {
                        map.remove(&name);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The list whose items the path names, and its length.
fn list_of(document: &Document, path: &str) -> Result<(Vec<Step>, usize), String> {
    let found = places(document, path)?;
    let first = found.first().ok_or("`path` matches nothing")?;
    match first.steps.split_last() {
        Some((Step::Item(_), list))
            if found
                .iter()
                .all(|p| p.steps.len() == first.steps.len() && p.steps.starts_with(list)) =>
        {
            Ok((list.to_vec(), found.len()))
        }
        _ => Err("`path` must name the items of one list".to_owned()),
    }
}

fn items_mut<'v>(resource: &'v mut Value, list: &[Step]) -> Result<&'v mut Vec<Value>, String> {
    pointer::get_mut(resource, list)
        .and_then(Value::as_array_mut)
        .ok_or_else(|| "`path` names no list".to_owned())
}

/// The value of an operation: a `value[x]`, or parts that make up an element without a type of its own.
fn value_of(operation: &Operation<'_>, type_path: &str) -> Result<Value, String> {
    built(
        operation
            .part("value")
            .ok_or("the operation needs `value`")?,
        type_path,
    )
}

fn built(part: &Value, type_path: &str) -> Result<Value, String> {
    if let Some((_, value)) = part_value(part) {
        return Ok(value.clone());
    }
    let parts = part
        .get("part")
        .and_then(Value::as_array)
        .ok_or("`value` needs a value or parts")?;
    let mut map = Map::new();
    for part in parts {
        let name = part
            .get("name")
            .and_then(Value::as_str)
            .ok_or("a part needs a name")?;
        let suffix = part_value(part).map_or("", |(suffix, _)| suffix);
        let definitions = Definitions::r4();
        let choice = definitions
            .choice(type_path, name)
            .map(|_| format!("{name}{suffix}"));
        let name = choice.unwrap_or_else(|| name.to_owned());
        let element = definitions
            .element(type_path, &name)
            .ok_or_else(|| format!("`{name}` is no element of `{type_path}`"))?;
        let value = built(part, element.type_path())?;
        match (element.element.max, map.get_mut(&name)) {
            (Max::One, None) => map.insert(name, value),
            (Max::One, Some(_)) => return Err(format!("`{name}` may occur only once")),
            (_, Some(Value::Array(items))) => items.push(value),
            (_, _) => map.insert(name, Value::Array(vec![value])),
        }
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: &str = r#"{"resourceType":"Patient","active":true,"name":[{"family":"A","given":["x","y"]},{"family":"B"}],"birthDate":"1970-01-01","_birthDate":{"id":"b"},"multipleBirthInteger":2}"#;

    fn run(parts: &str) -> Result<String, String> {
        let parse =
            |text: &str| Value::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
        let patch = format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":[{parts}]}}]}}"#
        );
        apply(&parse(PATIENT), &parse(&patch))
            .map(|v| v.to_string())
            .map_err(|p| p.to_string())
    }

    fn operation(kind: &str, path: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!(
            r#"{{"name":"type","valueCode":"{kind}"}},{{"name":"path","valueString":"{path}"}}{comma}{more}"#
        )
    }

    /// Spec: <https://hl7.org/fhir/R4/fhirpatch.html#concept>
    #[test]
    fn operations_do_what_the_page_says() {
        let value = r#"{"name":"value","valueString":"z"}"#;
        for (kind, path, more, part) in [
            (
                "add",
                "Patient",
                r#"{"name":"name","valueString":"gender"},{"name":"value","valueCode":"female"}"#,
                r#""gender":"female"}"#,
            ),
            (
                "add",
                "Patient.name[0]",
                &format!(r#"{{"name":"name","valueString":"given"}},{value}"#),
                r#""given":["x","y","z"]"#,
            ),
            (
                "add",
                "Patient",
                r#"{"name":"name","valueString":"deceased"},{"name":"value","valueBoolean":false}"#,
                r#""deceasedBoolean":false}"#,
            ),
            (
                "add",
                "Patient",
                r#"{"name":"name","valueString":"contact"},{"name":"value","part":[{"name":"name","valueHumanName":{"text":"t"}}]}"#,
                r#""contact":[{"name":{"text":"t"}}]"#,
            ),
            (
                "insert",
                "Patient.name[0].given",
                &format!(r#"{{"name":"index","valueInteger":1}},{value}"#),
                r#""given":["x","z","y"]"#,
            ),
            ("delete", "Patient.name[0].given[0]", "", r#""given":["y"]"#),
            (
                "delete",
                "Patient.name.where(family='none')",
                "",
                r#""active":true"#,
            ),
            (
                "replace",
                "Patient.name[1].family",
                value,
                r#"{"family":"z"}"#,
            ),
            (
                "replace",
                "Patient.multipleBirth",
                r#"{"name":"value","valueBoolean":true}"#,
                r#""multipleBirthBoolean":true}"#,
            ),
            (
                "move",
                "Patient.name",
                r#"{"name":"source","valueInteger":1},{"name":"destination","valueInteger":0}"#,
                r#""name":[{"family":"B"},{"family":"A""#,
            ),
        ] {
            let patched =
                run(&operation(kind, path, more)).unwrap_or_else(|e| panic!("{kind} {path}: {e}"));
            assert!(patched.contains(part), "{kind} {path}: {patched}");
        }
        let deleted = run(&operation("delete", "Patient.birthDate", "")).unwrap();
        assert!(!deleted.contains("irthDate"), "{deleted}");
        let replaced = run(&operation(
            "replace",
            "Patient.multipleBirth",
            r#"{"name":"value","valueBoolean":true}"#,
        ))
        .unwrap();
        assert!(!replaced.contains("multipleBirthInteger"), "{replaced}");
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for parts in [
            operation(
                "add",
                "Patient",
                r#"{"name":"name","valueString":"colour"},{"name":"value","valueString":"x"}"#,
            ),
            operation(
                "add",
                "Patient",
                r#"{"name":"name","valueString":"active"},{"name":"value","valueBoolean":true}"#,
            ),
            operation(
                "add",
                "Patient.contact",
                r#"{"name":"name","valueString":"gender"},{"name":"value","valueCode":"male"}"#,
            ),
            operation("delete", "Patient.name", ""),
            operation(
                "replace",
                "Patient.name",
                r#"{"name":"value","valueString":"x"}"#,
            ),
            operation("replace", "Patient.active", ""),
            operation(
                "insert",
                "Patient.name",
                r#"{"name":"index","valueInteger":9},{"name":"value","valueHumanName":{}}"#,
            ),
            operation(
                "move",
                "Patient.name",
                r#"{"name":"source","valueInteger":5},{"name":"destination","valueInteger":0}"#,
            ),
            operation("explode", "Patient", ""),
            operation("delete", "Patient.(", ""),
            operation("delete", "1+1", ""),
            operation("delete", "Patient", ""),
        ] {
            assert!(run(&parts).is_err(), "{parts}");
        }
    }
}
