//! Where an element came from: message, segment, field, repetition, component, bytes, rule.
//!
//! No operation of the specification; defined in `docs/guide/messages.md`. Left out: elements that clients wrote.

use fhir_core::access::Act;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;

use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::interactions::{Answer, not_found};
use crate::messages::trace::{Origin, trace};

/// `GET [base]/[type]/[id]/$lineage?path=valueQuantity.value`
///
/// # Errors
/// `not-found` for a resource or element no message gave; `unknown-parameter`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Read, key.resource_type)?;
    let mut path = String::new();
    for (name, value) in call.query()? {
        match name.as_str() {
            "path" => path = value,
            "_format" | "_pretty" => {}
            other => {
                let text = "`$lineage` takes `path`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
    }
    let server = &call.server;
    server.current(&key).await?.ok_or_else(|| not_found(&key))?;
    let origins = trace(server, &key, &path).await?;
    server.reads.push(audit::record(
        &call.access,
        Interaction::Operation,
        'E',
        Some((key, None)),
    ));
    let parameters = Value::object([
        ("resourceType", Value::from("Parameters")),
        (
            "parameter",
            Value::Array(origins.iter().map(parameter).collect()),
        ),
    ]);
    Ok(Answer::ok(parameters.to_bytes()))
}

fn parameter(origin: &Origin) -> Value {
    let text = |name: &str, value: &str| {
        Value::object([
            ("name", Value::from(name)),
            ("valueString", Value::from(value)),
        ])
    };
    let number = |name: &str, value: i64| {
        Value::object([
            ("name", Value::from(name)),
            ("valueInteger", Value::from(value)),
        ])
    };
    let mut parts = vec![
        text("element", &origin.element),
        // Numbers of messages outgrow FHIR's integer one day.
        text("message", &origin.message.to_string()),
        text("place", &origin.position),
        text("rule", &origin.rule),
        text("mapping", &origin.mapping),
    ];
    if let Some(version) = origin.version {
        parts.push(text("version", &version.to_string()));
    }
    if let Some((start, end)) = origin.bytes {
        let offset = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
        parts.push(number("start", offset(start)));
        parts.push(number("end", offset(end)));
    }
    if let Some(then) = &origin.mapping_then {
        parts.push(text("mappingThen", then));
    }
    Value::object([
        ("name", Value::from("origin")),
        ("part", Value::Array(parts)),
    ])
}
