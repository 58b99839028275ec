//! Rules for quantities: units get their one certain UCUM code; numbers are never touched.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#Quantity>, <https://ucum.org>.
//! Leaves out conversion. A unit that does not fit its code is tagged, because the unit or the code may be wrong.

use std::collections::BTreeSet;

use fhir_core::json::Value;

use super::{Context, string};

const UCUM: &str = "http://unitsofmeasure.org";

/// A value, with the codes that say what it measures.
pub(super) fn value(quantity: &mut Value, codes: &[String], context: &mut Context<'_>) {
    if quantity.get("value").is_none() {
        return;
    }
    let given = codes
        .iter()
        .find_map(|code| context.tenant.rules.unit_of_code.get(code));
    if string(quantity, "unit").is_none() && string(quantity, "code").is_none() {
        match given.cloned() {
            Some(unit) => {
                set(quantity, &unit);
                context.note("unit-added-by-tenant");
            }
            None => context.note("unit-missing"),
        }
        return;
    }
    unit(quantity, context);
    implausible(quantity, codes, context);
}

/// Unit, system and code of any quantity, such as a bound of a reference range.
pub(super) fn unit(quantity: &mut Value, context: &mut Context<'_>) {
    let rules = &context.tenant.rules;
    let text = string(quantity, "unit").map(str::to_owned);
    let code = string(quantity, "code").map(str::to_owned);
    let is_ucum = string(quantity, "system").is_none_or(|system| system == UCUM);
    if !is_ucum {
        return;
    }
    match (text, code) {
        // The code says what is meant; the text only gets the code's spelling when it is a known spelling of it.
        (Some(text), Some(code)) => {
            if rules.units.get(&text) == Some(&code) {
                insert(quantity, "unit", &code);
                context.note("unit-text-normalised");
            } else if let Some(real) = rules.units.get(&code).cloned() {
                set(quantity, &real);
                context.note("unit-code-normalised");
            }
        }
        (Some(text), None) => {
            let known = rules.units.get(&text).cloned();
            let known = known.or_else(|| rules.ucum.codes.get(&text).cloned());
            match known {
                Some(code) => {
                    set(quantity, &code);
                    context.note("unit-code-derived");
                }
                None => {
                    if let Some(members) = quantity.as_object_mut() {
                        // A system without a code says nothing, and its placeholder extension even less.
                        members.remove("system");
                        members.remove("_code");
                    }
                    context.note("unit-unknown");
                }
            }
        }
        (None, Some(code)) => {
            if let Some(real) = rules.units.get(&code).cloned() {
                set(quantity, &real);
                context.note("unit-code-normalised");
            }
        }
        (None, None) => {}
    }
}

fn implausible(quantity: &Value, codes: &[String], context: &mut Context<'_>) {
    let unit = string(quantity, "code").or_else(|| string(quantity, "unit"));
    let lists: Vec<&BTreeSet<String>> = codes
        .iter()
        .filter_map(|code| context.tenant.rules.plausible.get(code))
        .collect();
    let wrong =
        unit.is_some_and(|unit| !lists.is_empty() && !lists.iter().any(|list| list.contains(unit)));
    if wrong {
        context.note("unit-implausible-for-code");
    }
}

fn set(quantity: &mut Value, code: &str) {
    insert(quantity, "unit", code);
    insert(quantity, "system", UCUM);
    insert(quantity, "code", code);
}

fn insert(quantity: &mut Value, name: &str, text: &str) {
    if let Some(members) = quantity.as_object_mut() {
        members.insert(name, text.into());
    }
}
