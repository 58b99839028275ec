//! Messages run against a draft of the mappings: what would come out differently, before the draft is used.
//!
//! Nothing is stored, and nothing that is stored is looked at: only the mappings differ.

use std::collections::BTreeMap;

use adapters::pipeline::Pipeline;
use adapters::{Disposition, Intake};
use bytes::Bytes;
use fhir_core::json::Value;

use super::preview::compare;

/// Messages with differences that are named; the others are counted.
pub const NAMED_MAX: usize = 1_000;

/// What differs, over all messages.
#[derive(Default)]
pub struct Report {
    /// Messages run.
    pub messages: usize,
    /// Messages with any difference.
    pub changed: usize,
    /// The differences of each, at most [`NAMED_MAX`].
    pub named: Vec<Value>,
}

impl Report {
    /// Runs one message through both.
    pub fn run(&mut self, name: &str, raw: Bytes, current: &Pipeline, draft: &Pipeline) {
        self.messages += 1;
        let (before, after) = (current.read(raw.clone()).intake, draft.read(raw).intake);
        let differences = differences(&before, &after);
        if differences.is_empty() {
            return;
        }
        self.changed += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(Value::object([
                ("message", Value::from(name)),
                ("type", Value::from(after.message_type.as_str())),
                ("differences", Value::Array(differences)),
            ]));
        }
    }

    /// The report as JSON.
    pub fn to_value(&self) -> Value {
        let number = |n: usize| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
        Value::object([
            ("messages", number(self.messages)),
            ("changed", number(self.changed)),
            ("differences", Value::Array(self.named.clone())),
        ])
    }
}

fn differences(before: &Intake, after: &Intake) -> Vec<Value> {
    let mut out = Vec::new();
    for (path, of) in [
        ("outcome", outcome as fn(&Intake) -> Value),
        ("mapping", mapping),
        ("issues", issues),
        ("unread", unread),
        ("actions", actions),
    ] {
        compare(&of(before), &of(after), path, 0, &mut out);
    }
    let (old, new) = (resources(before), resources(after));
    for (key, value) in &old {
        match new.get(key) {
            Some(other) => compare(value, other, key, 0, &mut out),
            None => compare(value, &Value::Null, key, 0, &mut out),
        }
    }
    for (key, value) in &new {
        if !old.contains_key(key) {
            compare(&Value::Null, value, key, 0, &mut out);
        }
    }
    out
}

fn outcome(intake: &Intake) -> Value {
    match &intake.disposition {
        Disposition::Process => Value::from("AA"),
        Disposition::Refuse { code, reason } => Value::from(format!("{} {reason}", code.as_str())),
    }
}

fn mapping(intake: &Intake) -> Value {
    intake.mapping.as_deref().map_or(Value::Null, Value::from)
}

fn issues(intake: &Intake) -> Value {
    let issues = intake
        .issues
        .iter()
        .map(|issue| Value::from(issue.to_string()));
    Value::Array(issues.collect())
}

fn unread(intake: &Intake) -> Value {
    let places = intake
        .unread
        .iter()
        .map(|place| Value::from(place.to_string()));
    Value::Array(places.collect())
}

fn actions(intake: &Intake) -> Value {
    let actions = intake.actions.iter().map(|action| {
        let from = action.from.as_ref().map(mappings::Identity::reference);
        Value::from(format!(
            "{} {} into {}",
            action.kind.as_str(),
            from.unwrap_or_default(),
            action.into.reference()
        ))
    });
    Value::Array(actions.collect())
}

/// The resources by type and id.
fn resources(intake: &Intake) -> BTreeMap<String, Value> {
    let each = intake.resources.iter();
    each.map(|produced| (produced.identity.reference(), produced.value.clone()))
        .collect()
}
