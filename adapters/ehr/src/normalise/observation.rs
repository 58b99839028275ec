//! Rules for Observation.
//!
//! Spec: <https://hl7.org/fhir/R4/observation.html>.
//! Leaves out de-duplication: rows with equal values and different ids are different rows.

use std::collections::BTreeSet;

use fhir_core::ids::Instant;
use fhir_core::json::Value;

use super::{Context, code, items_mut, member_mut, quantity, retain, string, text};
use crate::clock::plus_seconds;
use crate::time;

/// From when on a row counts as filed late, in seconds: one year after it was true.
const LATE_S: i64 = 365 * 86_400;
/// How far in the future a row may lie before it is tagged, in seconds: clocks of a hospital disagree.
const FUTURE_S: i64 = 86_400;

pub(super) fn apply(resource: &mut Value, context: &mut Context<'_>) {
    let component_codes = codes_of_components(resource);
    let panel_codes = resource.get("code").map(code::loinc_codes);
    let panel_codes: BTreeSet<String> = panel_codes
        .unwrap_or_default()
        .difference(&component_codes)
        .cloned()
        .collect();
    if let Some(concept) = member_mut(resource, "code") {
        // A panel code repeated inside the components is the panel's, not theirs.
        let components: BTreeSet<String> = component_codes
            .difference(&context.tenant.rules.first_codes)
            .cloned()
            .collect();
        code::of_observation(concept, &components, context);
    }
    let panel: BTreeSet<String> = resource
        .get("code")
        .map(code::loinc_codes)
        .unwrap_or_default()
        .union(&panel_codes)
        .cloned()
        .collect();
    measured(resource, context);
    for component in items_mut(resource, "component") {
        if let Some(concept) = member_mut(component, "code") {
            code::of_component(concept, &panel, context);
        }
        if component.get("dataAbsentReason").is_some() {
            context.note("component-absent");
        }
        measured(component, context);
    }
    interpretation(resource, context);
    text::notes(resource, context);
    timing(resource, context);
}

fn codes_of_components(resource: &Value) -> BTreeSet<String> {
    let components = resource.get("component").and_then(Value::as_array);
    let components = components.unwrap_or_default().iter();
    components
        .filter_map(|component| component.get("code"))
        .flat_map(code::loinc_codes)
        .collect()
}

/// Value and reference ranges of an Observation or a component.
fn measured(element: &mut Value, context: &mut Context<'_>) {
    let codings = element
        .get("code")
        .and_then(|concept| concept.get("coding"))
        .and_then(Value::as_array);
    let codes: Vec<String> = codings
        .unwrap_or_default()
        .iter()
        .filter_map(|coding| string(coding, "code").map(str::to_owned))
        .collect();
    if let Some(value) = member_mut(element, "valueQuantity") {
        quantity::value(value, &codes, context);
    }
    for range in items_mut(element, "referenceRange") {
        for bound in ["low", "high"] {
            if let Some(bound) = member_mut(range, bound) {
                quantity::unit(bound, context);
            }
        }
    }
    null_word(element, context);
}

/// A word that stands where a value should be becomes a reason for its absence, with the word as text.
fn null_word(element: &mut Value, context: &mut Context<'_>) {
    let Some(word) = string(element, "valueString").map(str::to_owned) else {
        return;
    };
    if !context.tenant.rules.null_words.contains(word.trim()) {
        return;
    }
    let Some(members) = element.as_object_mut() else {
        return;
    };
    members.remove("valueString");
    if members.get("dataAbsentReason").is_none() {
        let coding = Value::object([
            (
                "system",
                Value::from("http://terminology.hl7.org/CodeSystem/data-absent-reason"),
            ),
            ("code", "unknown".into()),
        ]);
        let reason = Value::object([
            ("coding", Value::Array(vec![coding])),
            ("text", word.into()),
        ]);
        members.insert("dataAbsentReason", reason);
    }
    context.note("null-word-value");
}

fn interpretation(resource: &mut Value, context: &mut Context<'_>) {
    let words = &context.tenant.rules.null_words;
    let gone = retain(resource, "interpretation", |concept| {
        let empty = concept.get("coding").is_none();
        !(empty && string(concept, "text").is_some_and(|text| words.contains(text.trim())))
    });
    if gone > 0 {
        context.note("null-word-interpretation");
    }
}

/// Tags only: a wrong date is shown as it is.
fn timing(resource: &Value, context: &mut Context<'_>) {
    let Some(effective) = effective(resource) else {
        return;
    };
    if plus_seconds(context.now, FUTURE_S) < effective {
        context.note("effective-in-future");
    }
    if filed(resource).is_some_and(|filed| plus_seconds(effective, LATE_S) <= filed) {
        context.note("late-filed");
    }
}

/// When the observation was true.
fn effective(resource: &Value) -> Option<Instant> {
    let text = string(resource, "effectiveDateTime")
        .or_else(|| string(resource, "effectiveInstant"))
        .or_else(|| string(resource.get("effectivePeriod")?, "start"))?;
    time::parse_fhir(text)
}

/// When it was filed.
fn filed(resource: &Value) -> Option<Instant> {
    time::parse_fhir(string(resource, "issued")?)
}

/// The source shows that there is a value, and keeps it.
pub(super) fn is_masked(resource: &Value) -> bool {
    let reason = resource
        .get("dataAbsentReason")
        .and_then(|reason| reason.get("coding"))
        .and_then(Value::as_array);
    reason
        .unwrap_or_default()
        .iter()
        .any(|coding| string(coding, "code") == Some("masked"))
}
