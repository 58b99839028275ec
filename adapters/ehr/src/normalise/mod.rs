//! From the source's resource to a clean copy: declared, counted changes that never touch a number.
//!
//! Spec: <https://hl7.org/fhir/R4/observation.html>, <https://hl7.org/fhir/R4/patient.html>.
//! Leaves out everything without a rule: unknown members, extensions and codings stay as they are.

pub(crate) mod code;
mod observation;
mod patient;
mod quantity;
pub mod rules;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use fhir_core::ids::Instant;
use fhir_core::json::Value;

use crate::tenant::Tenant;

/// System of the tag that names the tenant.
pub const TENANT_SYSTEM: &str = "urn:stoker:ehr-tenant";
/// System of the tags that name what was changed or looks wrong.
pub const QUIRK_SYSTEM: &str = "urn:stoker:ehr-quirk";

/// A clean copy.
#[derive(Debug, Clone)]
pub struct Clean {
    /// The resource, still with the source's id and references.
    pub resource: Value,
    /// Rules that changed or tagged it.
    pub quirks: BTreeSet<&'static str>,
    /// The source kept the value from us.
    pub masked: bool,
}

/// What a rule needs to know.
pub(crate) struct Context<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) now: Instant,
    pub(crate) quirks: BTreeSet<&'static str>,
}

impl Context<'_> {
    /// Notes that a rule applied.
    pub(crate) fn note(&mut self, quirk: &'static str) {
        self.quirks.insert(quirk);
    }
}

/// Applies every rule to a copy of the resource. `now` is the source's time.
pub fn normalise(raw: &Value, tenant: &Tenant, now: Instant) -> Clean {
    let mut resource = raw.clone();
    let mut context = Context {
        tenant,
        now,
        quirks: BTreeSet::new(),
    };
    text::everywhere(&mut resource, &mut context);
    text::narrative(&mut resource, &mut context);
    match string(&resource, "resourceType") {
        Some("Observation") => observation::apply(&mut resource, &mut context),
        Some("Patient") => patient::apply(&mut resource, &mut context),
        _ => {}
    }
    let masked = observation::is_masked(&resource);
    if masked {
        context.note("masked");
    }
    let quirks = context.quirks;
    mark(&mut resource, raw, tenant, &quirks);
    Clean {
        resource,
        quirks,
        masked,
    }
}

/// Source key as first identifier, `meta.source` and the tags.
fn mark(resource: &mut Value, raw: &Value, tenant: &Tenant, quirks: &BTreeSet<&'static str>) {
    let base = tenant.fhir_base.as_str().trim_end_matches('/');
    let (Some(resource_type), Some(id)) = (string(raw, "resourceType"), string(raw, "id")) else {
        return;
    };
    let Some(members) = resource.as_object_mut() else {
        return;
    };
    let mut meta = members.remove("meta").unwrap_or_default();
    if meta.as_object().is_none() {
        meta = Value::Object(fhir_core::json::Map::new());
    }
    if let Some(meta) = meta.as_object_mut() {
        // The source's version is kept beside the copy; ours is given by the store.
        meta.remove("versionId");
        meta.remove("lastUpdated");
        meta.insert(
            "source",
            Value::from(format!("{base}/{resource_type}/{id}")),
        );
        let tag = |system: &str, code: &str| {
            Value::object([("system", Value::from(system)), ("code", code.into())])
        };
        let mut tags: Vec<Value> = meta
            .get("tag")
            .and_then(Value::as_array)
            .unwrap_or_default()
            .to_vec();
        tags.push(tag(TENANT_SYSTEM, &tenant.name));
        tags.extend(quirks.iter().map(|quirk| tag(QUIRK_SYSTEM, quirk)));
        meta.insert("tag", Value::Array(tags));
    }
    members.insert_first("meta", meta);
    if matches!(resource_type, "Bundle" | "Binary" | "Parameters") {
        return;
    }
    let own = Value::object([
        ("system", Value::from(format!("{base}/{resource_type}"))),
        ("value", id.into()),
    ]);
    match members.get_mut("identifier") {
        Some(Value::Array(all)) => all.insert(0, own),
        // `identifier` is a single element in a few types; then `meta.source` alone names the record.
        Some(_) => {}
        None if has_identifiers(resource_type) => {
            members.insert("identifier", Value::Array(vec![own]));
        }
        None => {}
    }
}

/// Types we fetch whose `identifier` repeats.
fn has_identifiers(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Patient"
            | "Observation"
            | "Condition"
            | "DiagnosticReport"
            | "MedicationRequest"
            | "AllergyIntolerance"
            | "Encounter"
            | "Immunization"
            | "Procedure"
    )
}

/// A text member.
pub(crate) fn string<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The items of a repeating member, to change.
pub(crate) fn items_mut<'a>(value: &'a mut Value, name: &str) -> &'a mut [Value] {
    let list = value
        .as_object_mut()
        .and_then(|members| members.get_mut(name))
        .and_then(Value::as_array_mut);
    list.map_or(&mut [], Vec::as_mut_slice)
}

/// A single member, to change.
pub(crate) fn member_mut<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    value.as_object_mut()?.get_mut(name)
}

/// Keeps the items of a repeating member that `keep` accepts; an emptied member goes, as FHIR forbids empty arrays.
/// Returns how many went.
pub(crate) fn retain(value: &mut Value, name: &str, keep: impl FnMut(&Value) -> bool) -> usize {
    let Some(members) = value.as_object_mut() else {
        return 0;
    };
    let Some(list) = members.get_mut(name).and_then(Value::as_array_mut) else {
        return 0;
    };
    let before = list.len();
    list.retain(keep);
    let gone = before - list.len();
    if list.is_empty() {
        members.remove(name);
    }
    gone
}
