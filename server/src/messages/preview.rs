//! What a message would change, compared with what is stored now; nothing is written.

use adapters::{Disposition, Intake};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_core::validate::structure;

use crate::app::Server;
use crate::gateway::{Manner, Planned, Sheet, Waiting, issue_value, plan};

/// Differences named for one resource at most.
const DIFFERENCES_MAX: usize = 500;
/// Deepest element compared by member; FHIR resources are not deeper.
const DEPTH_MAX: usize = 64;

/// The preview as JSON.
///
/// # Errors
/// What planning answers
pub async fn preview(server: &Server, intake: &Intake) -> Result<Value, Problem> {
    let mut issues: Vec<Value> = intake.issues.iter().map(issue_value).collect();
    let mut members = vec![
        ("messageType", Value::from(intake.message_type.as_str())),
        (
            "mapping",
            intake.mapping.as_deref().map_or(Value::Null, Value::from),
        ),
    ];
    let mut changes = Vec::new();
    let outcome = match &intake.disposition {
        Disposition::Refuse { code, reason } => format!("{} {reason}", code.as_str()),
        Disposition::Process => {
            let planned = plan(server, intake, &Manner::default()).await?;
            issues.extend(planned.issues.iter().map(issue_value));
            changes.extend(
                planned
                    .desk
                    .sheets()
                    .iter()
                    .filter(|sheet| sheet.is_changed)
                    .map(change),
            );
            outcome(&planned)
        }
    };
    members.push(("outcome", Value::from(outcome)));
    members.push(("issues", Value::Array(issues)));
    let unread = intake
        .unread
        .iter()
        .map(|position| Value::from(position.to_string()));
    members.push(("unread", Value::Array(unread.collect())));
    members.push(("changes", Value::Array(changes)));
    Ok(Value::object(members))
}

fn outcome(planned: &Planned<'_>) -> String {
    match &planned.wait {
        Some(Waiting::ForDecision(text)) => format!("parked: {text}"),
        Some(Waiting::ForMessage(id)) => format!("parked: waits for message {id}"),
        Some(Waiting::ForFeed(id)) => format!("received: the feed is halted by message {id}"),
        None => "would be carried out".to_owned(),
    }
}

/// One resource: what happens to it, element by element, and whether it is valid.
fn change(sheet: &Sheet) -> Value {
    let before = sheet
        .stored
        .as_ref()
        .filter(|stored| !stored.deleted)
        .and_then(|stored| Value::parse(&stored.json).ok());
    let after = sheet.value.clone().unwrap_or_default();
    let mut differences = Vec::new();
    if let Some(before) = &before {
        compare(
            &bare(before),
            &bare(&after),
            sheet.key.resource_type.name(),
            0,
            &mut differences,
        );
    }
    let action = match (&before, differences.is_empty()) {
        (None, _) => "create",
        (Some(_), true) => "unchanged",
        (Some(_), false) => "update",
    };
    let mut members = vec![
        ("resource", Value::from(sheet.key.to_string())),
        ("action", Value::from(action)),
    ];
    if let Some(stored) = &sheet.stored {
        members.push(("version", Value::from(stored.version.0)));
    }
    if before.is_none() {
        members.push(("content", after.clone()));
    } else {
        members.push(("differences", Value::Array(differences)));
    }
    members.push(("invalid", Value::Array(faults(sheet, &after))));
    Value::object(members)
}

/// What a store would refuse.
fn faults(sheet: &Sheet, value: &Value) -> Vec<Value> {
    let Ok(document) = fhir_core::json::Document::parse(&value.to_bytes()) else {
        return vec![Value::from("the output is no JSON that can be read")];
    };
    structure::check(sheet.key.resource_type, document.root())
        .iter()
        .map(|issue| {
            let place = issue.expression.as_deref().unwrap_or_default();
            Value::from(format!("{place}: {}", issue.diagnostics))
        })
        .collect()
}

/// Without what the server itself sets.
fn bare(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(Value::Object(meta)) = value.as_object_mut().and_then(|map| map.get_mut("meta")) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
    let is_empty = value
        .get("meta")
        .and_then(Value::as_object)
        .is_some_and(fhir_core::json::Map::is_empty);
    if let (true, Some(map)) = (is_empty, value.as_object_mut()) {
        map.remove("meta");
    }
    value
}

/// The elements that differ, each with its FHIR path, before and after.
pub fn compare(before: &Value, after: &Value, path: &str, depth: usize, out: &mut Vec<Value>) {
    if before == after || out.len() >= DIFFERENCES_MAX {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if depth < DEPTH_MAX => {
            for (name, value) in old.iter() {
                let place = format!("{path}.{name}");
                match new.get(name) {
                    Some(other) => compare(value, other, &place, depth + 1, out),
                    None => out.push(difference(&place, Some(value), None)),
                }
            }
            for (name, value) in new.iter() {
                if old.get(name).is_none() {
                    out.push(difference(&format!("{path}.{name}"), None, Some(value)));
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if depth < DEPTH_MAX => {
            for index in 0..old.len().max(new.len()) {
                let place = format!("{path}[{index}]");
                match (old.get(index), new.get(index)) {
                    (Some(one), Some(other)) => compare(one, other, &place, depth + 1, out),
                    (one, other) => out.push(difference(&place, one, other)),
                }
            }
        }
        _ => out.push(difference(path, Some(before), Some(after))),
    }
}

fn difference(path: &str, before: Option<&Value>, after: Option<&Value>) -> Value {
    let mut members = vec![("path", Value::from(path))];
    if let Some(before) = before {
        members.push(("before", before.clone()));
    }
    if let Some(after) = after {
        members.push(("after", after.clone()));
    }
    Value::object(members)
}

/// The Bundle that a message becomes by its mapping alone, for `$convert`.
///
/// # Errors
/// `invalid-resource` with the reason when the message is refused
pub fn bundle(intake: &Intake) -> Result<Value, Problem> {
    if let Disposition::Refuse { code, reason } = &intake.disposition {
        let text = format!("the message is refused ({}): {reason}", code.as_str());
        return Err(Problem::new(ErrorKind::INVALID_RESOURCE, text));
    }
    let entries = intake.resources.iter().map(|produced| {
        let reference = produced.identity.reference();
        let request = Value::object([
            ("method", Value::from("PUT")),
            ("url", Value::from(reference.as_str())),
        ]);
        Value::object([("resource", produced.value.clone()), ("request", request)])
    });
    Ok(Value::object([
        ("resourceType", Value::from("Bundle")),
        ("type", Value::from("batch")),
        ("entry", Value::Array(entries.collect())),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_path_before_and_after() {
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let before = value(r#"{"a":1,"b":[{"c":"x"},2],"d":true}"#);
        let after = value(r#"{"a":1.0,"b":[{"c":"y"}],"e":null}"#);
        let mut found = Vec::new();
        compare(&before, &after, "T", 0, &mut found);
        let text: Vec<String> = found
            .iter()
            .map(|d| String::from_utf8(d.to_bytes()).unwrap())
            .collect();
        assert_eq!(
            text,
            [
                r#"{"path":"T.a","before":1,"after":1.0}"#,
                r#"{"path":"T.b[0].c","before":"x","after":"y"}"#,
                r#"{"path":"T.b[1]","before":2}"#,
                r#"{"path":"T.d","before":true}"#,
                r#"{"path":"T.e","after":null}"#,
            ]
        );
    }
}
