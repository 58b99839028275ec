//! What single values say: whether they hold a pattern, where a reference leads, whether a code is in a value set.
//!
//! Spec: <https://hl7.org/fhir/R4/elementdefinition.html>, <https://hl7.org/fhir/R4/terminologies.html#4.1>

use crate::datatype::reference::Reference;
use crate::fhirpath::eval::{Element, Knowledge};
use crate::json::{Kind, ValueRef};
use crate::terminology::Catalogue;

use super::conforms;

/// Whether a value holds everything a pattern holds.
/// Spec: <https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_>
pub(super) fn has_pattern(value: ValueRef<'_>, pattern: ValueRef<'_>) -> bool {
    match pattern.kind() {
        Kind::Object => pattern
            .members()
            .all(|(name, part)| value.get(&name).is_some_and(|own| has_pattern(own, part))),
        Kind::Array => pattern
            .items()
            .all(|part| value.items().any(|own| has_pattern(own, part))),
        _ => value.same_as(pattern),
    }
}

/// The type a reference leads to, where it tells.
pub(crate) fn target_type(reference: ValueRef<'_>, container: ValueRef<'_>) -> Option<String> {
    let named = || {
        reference
            .get("type")
            .and_then(ValueRef::as_str)
            .map(|t| t.into_owned())
    };
    let text = reference.get("reference").and_then(ValueRef::as_str);
    match Reference::parse(text.as_deref()?, &[]) {
        Some(Reference::Local { key, .. }) => Some(key.resource_type.name().to_owned()),
        Some(Reference::Absolute {
            resource_type: Some(resource_type),
            ..
        }) => Some(resource_type.name().to_owned()),
        Some(Reference::Contained(id)) => {
            let contained = container
                .get("contained")
                .into_iter()
                .flat_map(ValueRef::items);
            let is_it =
                |r: &ValueRef<'_>| r.get("id").and_then(|i| i.as_str()).as_deref() == Some(id);
            let found = contained.into_iter().find(is_it)?;
            found
                .get("resourceType")
                .and_then(ValueRef::as_str)
                .map(|t| t.into_owned())
        }
        _ => named(),
    }
}

impl Knowledge for Catalogue {
    fn member_of(&self, value: ValueRef<'_>, value_set: &str) -> Option<bool> {
        if let Some(code) = value.as_str() {
            return self.is_member(value_set, None, &code);
        }
        let coding = |coding: ValueRef<'_>| {
            let code = coding.get("code").and_then(ValueRef::as_str)?;
            let system = coding.get("system").and_then(ValueRef::as_str);
            self.is_member(
                value_set,
                Some(system.as_deref().unwrap_or_default()),
                &code,
            )
        };
        match value.get("coding") {
            Some(codings) => {
                let found: Vec<Option<bool>> = codings.items().map(coding).collect();
                if found.contains(&Some(true)) {
                    return Some(true);
                }
                (!found.contains(&None)).then_some(false)
            }
            // Words alone are no code; an extension may say why there is none.
            None if value.get("code").is_none() => {
                self.document(crate::terminology::Kind::ValueSet, value_set)?;
                value.get("extension").is_none().then_some(false)
            }
            None => coding(value),
        }
    }

    fn conforms_to(&self, element: Element<'_>, profile: &str) -> Option<bool> {
        conforms(self, element, profile)
    }

    fn subsumes(&self, system: &str, general: &str, special: &str) -> Option<bool> {
        self.code_system(system)?.subsumes(general, special)
    }
}
