//! Conditional references that find nothing, kept as logical references: the identifier is what the sender knows.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#logical>. Only on import, where the resource referred to may belong to a file
//! that is not there; a transaction over HTTP fails instead, as the specification demands.

use fhir_core::bundle::ConditionalReference;
use fhir_core::json::{Map, Value};

/// A conditional reference to be kept by its identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    text: String,
    resource_type: &'static str,
    system: String,
    value: String,
}

impl Logical {
    /// The logical form, if the condition is one identifier with system and value and nothing else.
    pub fn of(reference: &ConditionalReference) -> Option<Self> {
        let [(name, token)] = reference.params.as_slice() else {
            return None;
        };
        let (system, value) = token.split_once('|')?;
        let is_plain = name == "identifier"
            && !system.is_empty()
            && !value.is_empty()
            && !token.contains([',', '\\']);
        is_plain.then(|| Self {
            text: reference.text.clone(),
            resource_type: reference.resource_type.name(),
            system: system.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Rewrites the references of a resource that are in the list; answers how many.
pub fn rewrite(resource: &mut Value, list: &[Logical]) -> usize {
    match resource {
        Value::Object(object) => {
            let mut count = usize::from(rewrite_reference(object, list));
            for (_, value) in object.iter_mut() {
                count += rewrite(value, list);
            }
            count
        }
        Value::Array(items) => items.iter_mut().map(|item| rewrite(item, list)).sum(),
        _ => 0,
    }
}

fn rewrite_reference(object: &mut Map, list: &[Logical]) -> bool {
    let text = object.get("reference").and_then(Value::as_str);
    let Some(logical) = list
        .iter()
        .find(|logical| Some(logical.text.as_str()) == text)
    else {
        return false;
    };
    object.remove("reference");
    if object.get("type").is_none() {
        object.insert("type", Value::from(logical.resource_type));
    }
    if object.get("identifier").is_none() {
        let system = ("system", Value::from(logical.system.as_str()));
        let value = ("value", Value::from(logical.value.as_str()));
        object.insert("identifier", Value::object([system, value]));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str, name: &str, token: &str) -> ConditionalReference {
        let resource_type = conformance::Definitions::r4()
            .resource_type("Practitioner")
            .unwrap();
        let params = vec![(name.to_owned(), token.to_owned())];
        ConditionalReference {
            text: text.to_owned(),
            resource_type,
            params,
            index: 0,
        }
    }

    #[test]
    fn an_identifier_is_kept_and_the_rest_untouched() {
        let text = "Practitioner?identifier=urn:npi|7";
        let logical = Logical::of(&reference(text, "identifier", "urn:npi|7")).unwrap();
        let mut resource = Value::parse(
            br#"{"performer":[{"reference":"Practitioner?identifier=urn:npi|7","display":"Dr"}],"value":2.50}"#,
        )
        .unwrap();
        assert_eq!(rewrite(&mut resource, &[logical]), 1);
        let expected = r#"{"performer":[{"display":"Dr","type":"Practitioner","identifier":{"system":"urn:npi","value":"7"}}],"value":2.50}"#;
        assert_eq!(String::from_utf8(resource.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn any_other_condition_has_no_logical_form() {
        for (name, token) in [
            ("name", "urn:x|1"),
            ("identifier", "1"),
            ("identifier", "|1"),
            ("identifier", "a|1,b|2"),
        ] {
            assert_eq!(
                Logical::of(&reference("x", name, token)),
                None,
                "{name}={token}"
            );
        }
    }
}
