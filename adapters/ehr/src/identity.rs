//! Who is who: our ids for source records, references between them, and links between patients of several tenants.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html>, <https://hl7.org/fhir/R4/patient.html#links>.
//! Leaves out scored matching: only an identifier of a configured system links, and a link is only a link. Two
//! records are never merged by us, so every link can be taken back.

use std::collections::BTreeMap;

use fhir_core::json::Value;
use sha2::{Digest, Sha256};

use crate::port::{Known, SourceKey};
use crate::profile::Alias;
use crate::tenant::{IdentifierKey, Tenant};

/// Our id of a source record: always the same one, made from tenant, type and source id. The persona is left out,
/// because both views are of one record.
pub fn local_id(tenant: &str, resource_type: &str, id: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["ehr", tenant, resource_type, id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hex = hex(&hash.finalize());
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    // A UUID of version 8 (own scheme), RFC 9562 §5.8.
    format!(
        "{}-{}-8{}-8{}-{}",
        part(0..8),
        part(8..12),
        part(13..16),
        part(17..20),
        part(20..32)
    )
}

/// SHA-256 in hexadecimal.
pub fn content_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Earlier ids the same record may have had.
pub fn earlier_ids(alias: Alias, resource_type: &str, id: &str) -> Vec<String> {
    if alias != Alias::OracleBloodPressure || resource_type != "Observation" {
        return Vec::new();
    }
    let Some((systolic, diastolic)) = id
        .strip_prefix("BP-")
        .and_then(|events| events.split_once('-'))
    else {
        return Vec::new();
    };
    if systolic == "0" || diastolic == "0" {
        return Vec::new();
    }
    vec![format!("BP-{systolic}-0"), format!("BP-0-{diastolic}")]
}

/// Points references at our copies where we keep one, and at the source elsewhere. Contained and logical references
/// stay. `local` holds ids that differ from [`local_id`].
pub fn rewrite_references(value: &mut Value, tenant: &Tenant, local: &BTreeMap<SourceKey, Known>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if name == "reference" => {
                        if let Some(new) = rewritten(text, tenant, local) {
                            *text = new;
                        }
                    }
                    other => rewrite_references(other, tenant, local),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                rewrite_references(item, tenant, local);
            }
        }
        _ => {}
    }
}

fn rewritten(text: &str, tenant: &Tenant, local: &BTreeMap<SourceKey, Known>) -> Option<String> {
    let base = tenant.fhir_base.as_str().trim_end_matches('/');
    let relative = match text.strip_prefix(base) {
        Some(rest) => rest.strip_prefix('/')?,
        None if text.contains(':') || text.starts_with('#') => return None,
        None => text,
    };
    let mut parts = relative.split('/');
    let (resource_type, id) = (parts.next()?, parts.next()?);
    if id.is_empty() || !resource_type.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    if !tenant.types.iter().any(|kept| kept == resource_type) {
        return Some(format!("{base}/{relative}"));
    }
    let key = SourceKey {
        tenant: tenant.name.clone(),
        persona: tenant.persona,
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
    };
    let id = local.get(&key).map_or_else(
        || local_id(&tenant.name, resource_type, id),
        |known| known.local_id.clone(),
    );
    Some(format!("{resource_type}/{id}"))
}

/// Identifiers of a patient that name a person for certain: of a configured system, with a value, and in use.
pub fn certain_identifiers(patient: &Value, tenant: &Tenant) -> Vec<IdentifierKey> {
    let all = patient.get("identifier").and_then(Value::as_array);
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
    let certain = all.unwrap_or_default().iter().filter_map(|one| {
        let system = text(one, "system")?;
        let wanted = tenant.identity.match_systems.contains(&system);
        let old = text(one, "use").as_deref() == Some("old");
        (wanted && !old).then_some(IdentifierKey {
            system,
            value: text(one, "value")?,
        })
    });
    certain.collect()
}

/// Adds `link` (`seealso`) to another local Patient, once.
pub fn link(patient: &mut Value, other: &str, kind: &str) {
    let reference = format!("Patient/{other}");
    let Some(members) = patient.as_object_mut() else {
        return;
    };
    if members.get("link").is_none() {
        members.insert("link", Value::Array(Vec::new()));
    }
    let links = members.get_mut("link").and_then(Value::as_array_mut);
    let Some(links) = links else { return };
    let same = |link: &Value| {
        let other = link.get("other").and_then(|other| other.get("reference"));
        other.and_then(Value::as_str) == Some(&reference)
    };
    if links.iter().any(same) {
        return;
    }
    links.push(Value::object([
        (
            "other",
            Value::object([("reference", Value::from(reference.as_str()))]),
        ),
        ("type", kind.into()),
    ]));
}
