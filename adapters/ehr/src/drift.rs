//! Has the site changed? CapabilityStatement and smart-configuration as a set of facts, to be compared with the last.
//!
//! Spec: <https://hl7.org/fhir/R4/capabilitystatement.html>, <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>.
//! Leaves out dates, texts and order, which change without meaning.

use std::collections::BTreeSet;

use fhir_core::json::{Document, ValueRef};

use crate::EhrError;

/// Most facts kept of one site; Oracle lists about 4,000.
const FACTS_MAX: usize = 50_000;

/// The facts of both documents; either may be missing.
///
/// # Errors
/// [`EhrError::Answer`] when a document is not JSON or beyond measure.
pub fn facts(
    smart: Option<&[u8]>,
    capability: Option<&[u8]>,
) -> Result<BTreeSet<String>, EhrError> {
    let mut facts = BTreeSet::new();
    let parse = |bytes: &[u8]| {
        Document::parse(bytes)
            .map_err(|_| EhrError::Answer("a conformance document is not JSON".to_owned()))
    };
    if let Some(bytes) = smart {
        collect("smart", parse(bytes)?.root(), &mut facts);
    }
    if let Some(bytes) = capability {
        let document = parse(bytes)?;
        let root = document.root();
        for name in ["fhirVersion", "software", "publisher", "format"] {
            if let Some(value) = root.get(name) {
                collect(&format!("capability.{name}"), value, &mut facts);
            }
        }
        for rest in root.get("rest").into_iter().flat_map(ValueRef::items) {
            for resource in rest.get("resource").into_iter().flat_map(ValueRef::items) {
                let name = text(resource, "type");
                for (list, key) in [
                    ("searchParam", "name"),
                    ("interaction", "code"),
                    ("operation", "name"),
                ] {
                    for item in resource.get(list).into_iter().flat_map(ValueRef::items) {
                        facts.insert(format!("capability.{name}.{list} {}", text(item, key)));
                    }
                }
            }
        }
    }
    if facts.len() > FACTS_MAX {
        return Err(EhrError::Answer(format!(
            "conformance documents with more than {FACTS_MAX} facts"
        )));
    }
    Ok(facts)
}

/// What went and what came, as lines that begin with `-` or `+`.
pub fn changes(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let gone = before.difference(after).map(|fact| format!("- {fact}"));
    let new = after.difference(before).map(|fact| format!("+ {fact}"));
    gone.chain(new).collect()
}

fn text(value: ValueRef<'_>, name: &str) -> String {
    let found = value.get(name).and_then(ValueRef::as_str);
    found.map_or_else(String::new, |text| text.into_owned())
}

/// Leaves as `path value`; items of lists carry no position.
fn collect(path: &str, value: ValueRef<'_>, facts: &mut BTreeSet<String>) {
    if value.is_object() {
        for (name, member) in value.members() {
            if name != "date" {
                collect(&format!("{path}.{name}"), member, facts);
            }
        }
    } else if value.is_array() {
        for item in value.items() {
            collect(path, item, facts);
        }
    } else if let Some(text) = value.primitive_text() {
        facts.insert(format!("{path} {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_meaning_counts() {
        let before = facts(
            Some(br#"{"token_endpoint":"https://a/t","capabilities":["x","y"]}"#),
            Some(br#"{"date":"2026-01-01","rest":[{"resource":[{"type":"Observation","searchParam":[{"name":"issued"}]}]}]}"#),
        )
        .unwrap();
        let same = facts(
            Some(br#"{"capabilities":["y","x"],"token_endpoint":"https://a/t"}"#),
            Some(br#"{"date":"2026-02-02","rest":[{"resource":[{"type":"Observation","searchParam":[{"name":"issued"}]}]}]}"#),
        )
        .unwrap();
        assert_eq!(changes(&before, &same), Vec::<String>::new());
        let gone = facts(
            Some(br#"{"token_endpoint":"https://b/t","capabilities":["x","y"]}"#),
            Some(br#"{"rest":[{"resource":[{"type":"Observation"}]}]}"#),
        )
        .unwrap();
        assert_eq!(
            changes(&before, &gone),
            [
                "- capability.Observation.searchParam issued",
                "- smart.token_endpoint https://a/t",
                "+ smart.token_endpoint https://b/t",
            ]
        );
    }
}
