//! Rules for texts: control characters, spaces around codes, line ends, derived narrative and extensions.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#string>, <https://hl7.org/fhir/R4/narrative.html>.
//! Leaves out RTF: it is tagged and kept, because decoding would guess.

use fhir_core::json::Value;

use super::{Context, items_mut, member_mut, retain, string};

/// Names whose values are codes or labels, where spaces around are never meant.
const TRIMMED: [&str; 2] = ["status", "text"];

/// Goes through the whole resource.
pub(super) fn everywhere(value: &mut Value, context: &mut Context<'_>) {
    match value {
        Value::Object(_) => {
            let derived = &context.tenant.rules.derived_extensions;
            let gone = retain(value, "extension", |extension| {
                !string(extension, "url").is_some_and(|url| derived.contains(url))
            });
            if gone > 0 {
                context.note("derived-translation-dropped");
            }
            add_urn_oid(value, context);
            let Some(members) = value.as_object_mut() else {
                return;
            };
            for (name, member) in members.iter_mut() {
                let trims = TRIMMED.contains(&name);
                match member {
                    Value::String(text) => string_rules(text, trims, context),
                    other => everywhere(other, context),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(text) => string_rules(text, false, context),
                    other => everywhere(other, context),
                }
            }
        }
        _ => {}
    }
}

fn string_rules(text: &mut String, trims: bool, context: &mut Context<'_>) {
    // PostgreSQL cannot store U+0000, and its six-character spelling is the same fault one layer up.
    if text.contains('\0') || text.contains("\\u0000") {
        *text = text.replace('\0', "").replace("\\u0000", "");
        context.note("control-character-removed");
    }
    if trims && text.trim() != text.as_str() {
        *text = text.trim().to_owned();
        context.note("text-trimmed");
    }
    if text.starts_with("{\\rtf") {
        context.note("rich-text");
    }
}

/// `1.2.3` → `urn:oid:1.2.3` in `system`.
fn add_urn_oid(value: &mut Value, context: &mut Context<'_>) {
    let Some(Value::String(system)) = member_mut(value, "system") else {
        return;
    };
    let is_oid = system.contains('.')
        && system.starts_with(['0', '1', '2'])
        && system.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_oid {
        *system = format!("urn:oid:{system}");
        context.note("oid-prefix-added");
    }
}

/// Drops narrative that the source generated from the elements: it would contradict the clean ones. Written
/// narrative (`additional`) stays.
pub(super) fn narrative(resource: &mut Value, context: &mut Context<'_>) {
    let status = resource.get("text").and_then(|text| string(text, "status"));
    if matches!(status, Some("generated" | "extensions"))
        && let Some(members) = resource.as_object_mut()
    {
        members.remove("text");
        context.note("narrative-dropped");
    }
}

/// Strips the control prefix that a flowsheet import leaves on notes.
pub(super) fn notes(resource: &mut Value, context: &mut Context<'_>) {
    for note in items_mut(resource, "note") {
        if let Some(Value::String(text)) = member_mut(note, "text")
            && let Some(rest) = text.strip_prefix("^~:!")
        {
            *text = rest.trim_start().to_owned();
            context.note("note-prefix-stripped");
        }
    }
}
