//! What a message says, put over what is stored: elements given replace, elements cleared go, all others stay.
//!
//! Spec: HL7 v2 chapter 2, "not present" against "null"; choice elements <https://hl7.org/fhir/R4/formats.html#choice>.

use conformance::{Definitions, Max, ResourceTypeId};
use fhir_core::json::{Map, Value};
use mappings::{ListMerge, Others};

/// The stored resource with the message's elements in it. Periods and groups of elements are merged member by member: a
/// start says nothing about the end. `lists` are merged item by item, all others replaced.
pub fn merge(
    resource_type: ResourceTypeId,
    stored: Value,
    given: &Value,
    cleared: &[Box<str>],
    lists: &[ListMerge],
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
        if let Some(bare) = name.strip_prefix('_') {
            // Why a value is absent is of no interest where it is known.
            if given.get(bare).is_none() && merged.get(bare).is_some() {
                continue;
            }
        } else {
            let shadow = format!("_{name}");
            if given.get(&shadow).is_none() {
                merged.remove(&shadow);
            }
        }
        remove_other_choices(resource_type, name, &mut merged);
        let list = lists.iter().find(|list| *list.element == *name);
        match (merged.get_mut(name), list) {
            (Some(stored), Some(list)) => merge_list(stored, value, list),
            (Some(stored), None) if has_own_members(resource_type, name) => over(stored, value),
            _ => {
                merged.insert(name, value.clone());
            }
        }
    }
    Value::Object(merged)
}

/// True for a single Period or group of elements, whose members are facts of their own.
fn has_own_members(resource_type: ResourceTypeId, name: &str) -> bool {
    let found = Definitions::r4().element(resource_type.name(), name);
    found.is_some_and(|found| {
        found.element.max == Max::One && matches!(found.chosen_type, "Period" | "BackboneElement")
    })
}

/// Members given over members stored, periods inside too.
fn over(stored: &mut Value, given: &Value) {
    let (Some(stored), Some(given)) = (stored.as_object_mut(), given.as_object()) else {
        *stored = given.clone();
        return;
    };
    for (name, value) in given.iter() {
        match stored.get_mut(name) {
            Some(period) if name == "period" => over(period, value),
            _ => {
                stored.insert(name, value.clone());
            }
        }
    }
}

/// Items given over stored items of the same key; new ones behind; the others as the list says.
fn merge_list(stored: &mut Value, given: &Value, list: &ListMerge) {
    let (Value::Array(items), Value::Array(given)) = (&mut *stored, given) else {
        *stored = given.clone();
        return;
    };
    let key = |item: &Value| {
        let mut at = Some(item);
        for name in list.key.split('.') {
            at = at.and_then(|value| value.get(name));
        }
        at.cloned()
    };
    let is_given = |item: &Value| {
        given
            .iter()
            .any(|g| key(g).is_some() && key(g) == key(item))
    };
    match &list.others {
        Others::Stay => {}
        Others::Set(name, value) => {
            for item in items.iter_mut().filter(|item| !is_given(item)) {
                if let Some(item) = item.as_object_mut() {
                    item.insert(&**name, value.clone());
                }
            }
        }
        Others::Drop(name, value) => {
            items.retain(|item| is_given(item) || item.get(name) != Some(value));
        }
    }
    for new in given {
        let same = |item: &&mut Value| key(item).is_some() && key(item) == key(new);
        // The last of several stays at one place is the one a message speaks of.
        match items.iter_mut().rev().find(same) {
            Some(item) => over(item, new),
            None => items.push(new.clone()),
        }
    }
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
    // FHIR has no empty objects and no empty lists.
    let is_empty = match object.get_mut(first) {
        Some(Value::Object(inner)) => {
            clear(inner, rest);
            inner.is_empty()
        }
        Some(Value::Array(items)) => {
            for item in items.iter_mut() {
                if let Some(inner) = item.as_object_mut() {
                    clear(inner, rest);
                }
            }
            items.retain(|item| item.as_object().is_none_or(|inner| !inner.is_empty()));
            items.is_empty()
        }
        _ => false,
    };
    if is_empty {
        object.remove(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stored: &str, given: &str, cleared: &[&str], expected: &str) {
        let patient = Definitions::r4().resource_type("Patient").unwrap();
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let cleared: Vec<Box<str>> = cleared.iter().map(|path| (*path).into()).collect();
        let merged = merge(patient, value(stored), &value(given), &cleared, &[]);
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

    /// Verifies: SRS-320, RC-320
    #[test]
    fn what_is_left_empty_goes_too() {
        check(
            r#"{"resourceType":"Patient","contact":[{"gender":"male"},{"name":{"family":"B"},"gender":"female"}],"maritalStatus":{"text":"M"}}"#,
            r#"{"resourceType":"Patient"}"#,
            &["Patient.contact.gender", "Patient.maritalStatus.text"],
            r#"{"resourceType":"Patient","contact":[{"name":{"family":"B"}}]}"#,
        );
    }

    /// Verifies: SRS-320, RC-320
    #[test]
    fn why_a_value_is_absent_goes_when_it_is_known() {
        let absent = r#"{"resourceType":"Patient","_birthDate":{"id":"absent"}}"#;
        let known = r#"{"resourceType":"Patient","birthDate":"1970"}"#;
        check(absent, known, &[], known);
        check(known, absent, &[], known);
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

    fn visit(stored: &str, given: &str, others: Others, expected: &str) {
        let encounter = Definitions::r4().resource_type("Encounter").unwrap();
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let lists = [ListMerge {
            element: "location".into(),
            key: "location.reference".into(),
            others,
        }];
        let merged = merge(encounter, value(stored), &value(given), &[], &lists);
        assert_eq!(String::from_utf8(merged.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn places_of_a_visit_are_kept_and_left() {
        visit(
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"active","period":{"start":"2024"}}]}"#,
            r#"{"location":[{"location":{"reference":"Location/b"},"status":"active"}]}"#,
            Others::Set("status".into(), Value::from("completed")),
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"completed","period":{"start":"2024"}},{"location":{"reference":"Location/b"},"status":"active"}]}"#,
        );
        visit(
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"active","period":{"start":"2024"}}]}"#,
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"completed","period":{"end":"2025"}}]}"#,
            Others::Stay,
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"completed","period":{"start":"2024","end":"2025"}}]}"#,
        );
    }

    #[test]
    fn a_transfer_taken_back_goes() {
        visit(
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"completed"},{"location":{"reference":"Location/b"},"status":"active"}]}"#,
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"active"}]}"#,
            Others::Drop("status".into(), Value::from("active")),
            r#"{"location":[{"location":{"reference":"Location/a"},"status":"active"}]}"#,
        );
    }

    #[test]
    fn a_start_says_nothing_about_the_end() {
        visit(
            r#"{"period":{"start":"2024","end":"2025"}}"#,
            r#"{"period":{"start":"2023"}}"#,
            Others::Stay,
            r#"{"period":{"start":"2023","end":"2025"}}"#,
        );
    }
}
