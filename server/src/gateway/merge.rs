//! What a message says, put over what is stored: elements given replace, elements cleared go, all others stay.
//!
//! Spec: HL7 v2 chapter 2, "not present" against "null"; choice elements <https://hl7.org/fhir/R4/formats.html#choice>.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::json::{Map, Value};

/// The stored resource with the message's elements in it.
pub fn merge(
    resource_type: ResourceTypeId,
    stored: Value,
    given: &Value,
    cleared: &[Box<str>],
) -> Value {
    let (Value::Object(mut merged), Some(given)) = (stored, given.as_object()) else {
        return given.clone();
    };
    for path in cleared {
        let path = path
            .strip_prefix(resource_type.name())
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(path);
        clear(&mut merged, path);
    }
    for (name, value) in given.iter() {
        if matches!(name, "resourceType" | "id") {
            continue;
        }
        remove_other_choices(resource_type, name, &mut merged);
        merged.insert(name, value.clone());
    }
    Value::Object(merged)
}

/// `deceasedDateTime` replaces `deceasedBoolean`: a choice has one value.
fn remove_other_choices(resource_type: ResourceTypeId, name: &str, merged: &mut Map) {
    let definitions = Definitions::r4();
    let bare = name.strip_prefix('_').unwrap_or(name);
    let Some(given) = definitions.element(resource_type.name(), bare) else {
        return;
    };
    if !given.element.is_choice() {
        return;
    }
    let is_other = |other: &str| {
        let other = other.strip_prefix('_').unwrap_or(other);
        let found = definitions.element(resource_type.name(), other);
        other != bare && found.is_some_and(|found| found.element.name == given.element.name)
    };
    let others: Vec<String> = merged
        .iter()
        .map(|(name, _)| name)
        .filter(|name| is_other(name))
        .map(str::to_owned)
        .collect();
    for other in others {
        merged.remove(&other);
    }
}

/// Removes the element at a path without indices, in every repetition.
fn clear(object: &mut Map, path: &str) {
    let Some((first, rest)) = path.split_once('.') else {
        object.remove(path);
        object.remove(&format!("_{path}"));
        return;
    };
    match object.get_mut(first) {
        Some(Value::Object(inner)) => clear(inner, rest),
        Some(Value::Array(items)) => {
            for item in items {
                if let Some(inner) = item.as_object_mut() {
                    clear(inner, rest);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stored: &str, given: &str, cleared: &[&str], expected: &str) {
        let patient = Definitions::r4().resource_type("Patient").unwrap();
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let cleared: Vec<Box<str>> = cleared.iter().map(|path| (*path).into()).collect();
        let merged = merge(patient, value(stored), &value(given), &cleared);
        assert_eq!(String::from_utf8(merged.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_the_message_is_silent_about_stays() {
        check(
            r#"{"resourceType":"Patient","id":"a","gender":"male","birthDate":"1970-01-01"}"#,
            r#"{"resourceType":"Patient","id":"a","gender":"female"}"#,
            &[],
            r#"{"resourceType":"Patient","id":"a","gender":"female","birthDate":"1970-01-01"}"#,
        );
    }

    #[test]
    fn null_deletes_the_element_and_its_shadow() {
        check(
            r#"{"resourceType":"Patient","birthDate":"1970","_birthDate":{"id":"x"},"name":[{"family":"A","given":["B"]}]}"#,
            r#"{"resourceType":"Patient"}"#,
            &["Patient.birthDate", "Patient.name.given"],
            r#"{"resourceType":"Patient","name":[{"family":"A"}]}"#,
        );
    }

    #[test]
    fn a_choice_has_one_value() {
        check(
            r#"{"resourceType":"Patient","deceasedBoolean":true,"active":true}"#,
            r#"{"resourceType":"Patient","deceasedDateTime":"2026-01-02"}"#,
            &[],
            r#"{"resourceType":"Patient","active":true,"deceasedDateTime":"2026-01-02"}"#,
        );
    }
}
