//! `Patient.link` and `Patient.active`: the marks of merged, renamed and linked persons.
//!
//! Spec: <https://hl7.org/fhir/R4/patient.html#links>. Other types have no such element; there the loser is
//! `entered-in-error`, and the record of the message tells into what it was merged.

use fhir_core::ids::ResourceKey;
use fhir_core::json::{Map, Value};

/// Marks a record as replaced by another.
pub fn replaced_by(value: &mut Value, loser: &ResourceKey, survivor: &ResourceKey) {
    if loser.resource_type.name() != "Patient" {
        if let Some(map) = value.as_object_mut() {
            map.insert("status", Value::from("entered-in-error"));
        }
        return;
    }
    if let Some(map) = value.as_object_mut() {
        map.insert("active", Value::from(false));
    }
    edit(value, |links| {
        links.retain(|link| kind_of(link) != "replaced-by" && kind_of(link) != "replaces");
        links.push(link(survivor, "replaced-by"));
    });
}

/// Marks a record as the one that replaces others.
pub fn replaces(value: &mut Value, losers: &[ResourceKey]) {
    edit(value, |links| {
        for loser in losers {
            let new = link(loser, "replaces");
            // What was linked to a record that is now this one says nothing any more.
            links.retain(|old| other_of(old) != loser.to_string() || *old == new);
            if !links.contains(&new) {
                links.push(new);
            }
        }
    });
}

/// Marks two records as about one person.
pub fn see_also(value: &mut Value, other: &ResourceKey) {
    let new = link(other, "seealso");
    edit(value, |links| {
        if !links.contains(&new) {
            links.push(new);
        }
    });
}

/// Takes back [`see_also`].
pub fn not_see_also(value: &mut Value, other: &ResourceKey) {
    let old = link(other, "seealso");
    edit(value, |links| links.retain(|link| *link != old));
}

fn link(other: &ResourceKey, kind: &str) -> Value {
    let reference = Value::object([("reference", Value::from(other.to_string()))]);
    Value::object([("other", reference), ("type", Value::from(kind))])
}

fn kind_of(link: &Value) -> &str {
    link.get("type").and_then(Value::as_str).unwrap_or("")
}

fn other_of(link: &Value) -> &str {
    let reference = link.get("other").and_then(|other| other.get("reference"));
    reference.and_then(Value::as_str).unwrap_or("")
}

fn edit(value: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    let mut links = match map.get("link") {
        Some(Value::Array(links)) => links.clone(),
        _ => Vec::new(),
    };
    change(&mut links);
    // The same links in another order are no news.
    links.sort_by_cached_key(|link| (other_of(link).to_owned(), kind_of(link).to_owned()));
    links.dedup();
    put(map, links);
}

fn put(map: &mut Map, links: Vec<Value>) {
    if links.is_empty() {
        map.remove("link");
    } else {
        map.insert("link", Value::Array(links));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_the_same_whatever_the_order() {
        let patient = |id: &str| ResourceKey::parse(&format!("Patient/{id}")).unwrap();
        let new = || Value::parse(br#"{"resourceType":"Patient","id":"s"}"#).unwrap();
        let (mut one, mut other) = (new(), new());
        replaces(&mut one, &[patient("a"), patient("b")]);
        replaces(&mut other, &[patient("b")]);
        replaces(&mut other, &[patient("a"), patient("b")]);
        assert_eq!(one, other);
        see_also(&mut one, &patient("c"));
        not_see_also(&mut one, &patient("c"));
        assert_eq!(one, other);
        replaced_by(&mut one, &patient("s"), &patient("z"));
        assert_eq!(
            String::from_utf8(one.to_bytes()).unwrap(),
            r#"{"resourceType":"Patient","id":"s","link":[{"other":{"reference":"Patient/z"},"type":"replaced-by"}],"active":false}"#
        );
    }
}
