//! Rules for codings: real LOINC first, copies and umbrellas out, vendor codes kept.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#CodeableConcept>.
//! Leaves out translations: no code is added that the source did not send.

use std::collections::BTreeSet;

use fhir_core::json::Value;

use super::{Context, member_mut, retain, string};

pub(super) const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";

/// LOINC codes of a concept.
pub(crate) fn loinc_codes(concept: &Value) -> BTreeSet<String> {
    let codings = concept.get("coding").and_then(Value::as_array);
    let codings = codings.unwrap_or_default().iter();
    codings
        .filter(|coding| string(coding, "system") == Some(LOINC))
        .filter_map(|coding| string(coding, "code").map(str::to_owned))
        .collect()
}

/// `Observation.code`, knowing the codes of its components.
pub(super) fn of_observation(
    concept: &mut Value,
    component_codes: &BTreeSet<String>,
    context: &mut Context<'_>,
) {
    let rules = &context.tenant.rules;
    let own = loinc_codes(concept);
    let has_other = |code: &str| own.iter().any(|other| other != code);
    let mut notes = Vec::new();
    retain(concept, "coding", |coding| {
        let code = string(coding, "code").unwrap_or_default();
        let system = string(coding, "system").unwrap_or_default();
        let alias = rules.alias_systems.contains(system);
        let loinc = system == LOINC;
        if alias && (own.contains(code) || component_codes.contains(code)) {
            notes.push("alias-coding-dropped");
            return false;
        }
        if (loinc || alias) && rules.umbrella_codes.contains(code) && has_other(code) {
            notes.push("umbrella-coding-dropped");
            return false;
        }
        if loinc && component_codes.contains(code) && !own.is_subset(component_codes) {
            notes.push("component-coding-dropped");
            return false;
        }
        true
    });
    for note in notes {
        context.note(note);
    }
    order(concept, context);
    if loinc_codes(concept).is_empty() {
        context.note("no-loinc");
    }
}

/// `component.code`: the panel's own code is not the component's.
pub(super) fn of_component(
    concept: &mut Value,
    panel_codes: &BTreeSet<String>,
    context: &mut Context<'_>,
) {
    let own = loinc_codes(concept);
    let gone = retain(concept, "coding", |coding| {
        let code = string(coding, "code").unwrap_or_default();
        let is_panel = string(coding, "system") == Some(LOINC) && panel_codes.contains(code);
        !(is_panel && own.iter().any(|other| !panel_codes.contains(other)))
    });
    if gone > 0 {
        context.note("panel-coding-in-component-dropped");
    }
    order(concept, context);
}

/// Codings a profile asks for, then LOINC, SNOMED CT, the rest; equal ones keep their order.
fn order(concept: &mut Value, context: &Context<'_>) {
    let first = &context.tenant.rules.first_codes;
    let rank = |coding: &Value| match string(coding, "system") {
        Some(LOINC) if string(coding, "code").is_some_and(|code| first.contains(code)) => 0,
        Some(LOINC) => 1,
        Some(SNOMED) => 2,
        _ => 3,
    };
    if let Some(codings) = member_mut(concept, "coding").and_then(Value::as_array_mut) {
        codings.sort_by_key(rank);
    }
}
