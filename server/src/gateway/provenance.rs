//! Where the resources of a message come from, as a FHIR Provenance in the same commit.
//!
//! Spec: <https://hl7.org/fhir/R4/provenance.html>. One for each message, under an id that follows from the message.

use adapters::Intake;
use conformance::Definitions;
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use mappings::derive_id;
use sha2::{Digest, Sha256};

/// System of the identifier that names a raw message by the SHA-256 of its bytes, in hexadecimal.
pub const RAW_SYSTEM: &str = "urn:stoker:raw-sha-256";

/// The Provenance of what a message made.
///
/// # Errors
/// `internal` if the definitions lack Provenance, which a test excludes
pub fn build(
    intake: &Intake,
    made: &[ResourceKey],
    now: Instant,
) -> Result<(ResourceKey, Value), Problem> {
    let hash: String = Sha256::digest(&intake.raw)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let id = derive_id(
        &intake.feed,
        "Provenance",
        &[&intake.dedupe.sender, &intake.dedupe.control_id, &hash],
    );
    let resource_type = Definitions::r4().resource_type("Provenance");
    let (Some(resource_type), Some(id)) = (resource_type, ResourceId::parse(&id)) else {
        return Err(Problem::new(
            ErrorKind::INTERNAL,
            "the Provenance cannot be named",
        ));
    };
    let text = |text: &str| Value::from(text);
    let targets = made
        .iter()
        .map(|key| Value::object([("reference", text(&key.to_string()))]));
    let coding = |system: &str, code: &str| {
        let coding = Value::object([("system", text(system)), ("code", text(code))]);
        Value::object([("coding", Value::Array(vec![coding]))])
    };
    let who = Value::object([("display", text(&format!("feed {}", intake.feed)))]);
    let assembler = coding(
        "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
        "assembler",
    );
    let agent = Value::object([("type", assembler), ("who", who)]);
    let identifier = Value::object([("system", text(RAW_SYSTEM)), ("value", text(&hash))]);
    let what = Value::object([
        ("identifier", identifier),
        ("display", text(&source_name(intake))),
    ]);
    let entity = Value::object([("role", text("source")), ("what", what)]);
    let resource = Value::object([
        ("resourceType", text("Provenance")),
        ("id", text(id.as_str())),
        ("target", Value::Array(targets.collect())),
        ("recorded", text(&now.to_fhir())),
        ("agent", Value::Array(vec![agent])),
        ("entity", Value::Array(vec![entity])),
    ]);
    Ok((ResourceKey { resource_type, id }, resource))
}

/// True when two differ in nothing but the time they were recorded: the same message read again.
pub fn is_same(known: &Value, new: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.remove("recorded");
            map.remove("meta");
        }
        value
    };
    bare(known) == bare(new)
}

/// Type of the message and the mapping that read it.
fn source_name(intake: &Intake) -> String {
    let kind = if intake.message_type.is_empty() {
        "message"
    } else {
        &intake.message_type
    };
    match &intake.mapping {
        Some(mapping) => format!("{kind}, read by {mapping}"),
        None => kind.to_owned(),
    }
}
