//! Who wrote which resources, from which page, by which rules.
//!
//! Spec: <https://hl7.org/fhir/R4/provenance.html>.
//! Leaves out deletions: a deleted resource is no target; its history says when it went.

use fhir_core::json::Value;

use super::Run;
use crate::identity::{content_hash, local_id};
use crate::plan::Task;
use crate::port::{Action, WalkState, Write};

/// The Provenance of one commit; `None` when nothing was written.
pub(super) fn provenance(
    run: &Run,
    task: &Task,
    state: &WalkState,
    raw: &[u8],
    writes: &[Write],
) -> Option<Value> {
    let targets: Vec<Value> = writes
        .iter()
        .filter(|write| matches!(write.action, Action::Put(_)))
        .map(|write| {
            let reference = format!("{}/{}", write.source.resource_type, write.local_id);
            Value::object([("reference", Value::from(reference))])
        })
        .collect();
    if targets.is_empty() {
        return None;
    }
    let page = content_hash(raw);
    let walk = &task.walk;
    let category = walk.category.clone().unwrap_or_default();
    let revision = state.revision.to_string();
    let id = local_id(
        &walk.tenant,
        "Provenance",
        &[
            &walk.subject,
            &walk.resource_type,
            &category,
            &revision,
            &page,
        ]
        .map(String::as_str)
        .join("|"),
    );
    let text = |text: String| Value::object([("display", Value::from(text))]);
    let agent = Value::object([(
        "who",
        text(format!("stoker ehr adapter {}", env!("CARGO_PKG_VERSION"))),
    )]);
    let identifier = Value::object([
        ("system", Value::from("urn:stoker:ehr-page-sha256")),
        ("value", page.into()),
    ]);
    let entity = Value::object([
        ("role", Value::from("source")),
        ("what", Value::object([("identifier", identifier)])),
    ]);
    Some(Value::object([
        ("resourceType", Value::from("Provenance")),
        ("id", id.into()),
        ("target", Value::Array(targets)),
        ("recorded", run.surroundings.now().to_fhir().into()),
        (
            "activity",
            Value::object([(
                "text",
                Value::from(format!("normalised by rules {}", run.tenant.rules.version)),
            )]),
        ),
        ("agent", Value::Array(vec![agent])),
        ("entity", Value::Array(vec![entity])),
    ]))
}
