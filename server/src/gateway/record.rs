//! The row of the message log: state, reason, issues, and what no rule has read.

use std::collections::BTreeSet;

use adapters::{Intake, Issue, Severity};
use fhir_core::ids::ResourceKey;
use fhir_core::json::Value;
use fhir_store::{Bookkeeping, MessageRecord, MessageState, UnmappedCode};
use mappings::Position;

use crate::messages::place;

/// Issues kept with a message at most; the mappings bound theirs lower.
const ISSUES_KEPT_MAX: usize = 1_000;
/// Unmapped codes of one message that enter the worklist.
const UNMAPPED_MAX: usize = 50;
/// Longest code in the worklist, in characters: a longer one is a text in the wrong field.
const CODE_LENGTH_MAX: usize = 64;
/// The issue that enters the worklist.
pub const UNMAPPED: &str = "unmapped-code";

/// The row of a message.
pub fn record(
    intake: &Intake,
    issues: &[Issue],
    state: MessageState,
    reason: Option<String>,
    made: Vec<ResourceKey>,
    mut bookkeeping: Bookkeeping,
) -> MessageRecord {
    bookkeeping.mapping.clone_from(&intake.mapping);
    bookkeeping.lost = lost(intake);
    bookkeeping.unmapped = unmapped(intake);
    MessageRecord {
        feed: intake.feed.clone(),
        media_type: intake.media_type.to_owned(),
        raw: intake.raw.clone(),
        sender: intake.dedupe.sender.clone(),
        control_id: intake.dedupe.control_id.clone(),
        message_type: intake.message_type.clone(),
        state,
        reason,
        issues_json: issues_json(intake, issues),
        made,
        bookkeeping,
    }
}

/// The state of a message that was carried out.
pub fn carried_out(intake: &Intake, issues: &[Issue]) -> MessageState {
    let is_clean = intake
        .issues
        .iter()
        .chain(issues)
        .all(|issue| issue.severity == Severity::Information);
    if is_clean && intake.unread_count == 0 {
        MessageState::Processed
    } else {
        MessageState::Warnings
    }
}

/// Places no rule has read, without occurrences and repetitions.
fn lost(intake: &Intake) -> Vec<String> {
    let places: BTreeSet<String> = intake.unread.iter().map(general).collect();
    places.into_iter().collect()
}

fn unmapped(intake: &Intake) -> Vec<UnmappedCode> {
    let mut found = BTreeSet::new();
    for issue in intake.issues.iter().filter(|issue| issue.code == UNMAPPED) {
        let Some(position) = &issue.position else {
            continue;
        };
        let code = place::text_at(&intake.raw, position).unwrap_or_default();
        found.insert(UnmappedCode {
            place: general(position),
            code: code.chars().take(CODE_LENGTH_MAX).collect(),
        });
    }
    found.into_iter().take(UNMAPPED_MAX).collect()
}

/// `PID[1]-3[2].1` as `PID-3.1`.
pub fn general(position: &Position) -> String {
    match position {
        Position::Json(pointer) => pointer.to_string(),
        Position::Hl7v2 { segment, at, .. } => {
            let mut text = format!("{segment}-{}", at.field);
            if at.component > 0 {
                text.push_str(&format!(".{}", at.component));
            }
            text
        }
    }
}

/// The issues and the loss report as JSON for the message log.
fn issues_json(intake: &Intake, issues: &[Issue]) -> String {
    let issues = intake.issues.iter().chain(issues);
    let issues = issues.take(ISSUES_KEPT_MAX).map(issue_value);
    let unread = intake
        .unread
        .iter()
        .map(|position| Value::from(position.to_string().as_str()));
    let log = Value::object([
        ("issues", Value::Array(issues.collect())),
        ("unread", Value::Array(unread.collect())),
        (
            "unreadCount",
            Value::from(i64::try_from(intake.unread_count).unwrap_or(i64::MAX)),
        ),
    ]);
    String::from_utf8(log.to_bytes()).unwrap_or_default()
}

/// One issue as JSON.
pub fn issue_value(issue: &Issue) -> Value {
    let mut members = vec![
        ("severity", Value::from(issue.severity.as_str())),
        ("code", Value::from(issue.code.as_ref())),
        ("text", Value::from(issue.text.as_ref())),
    ];
    if let Some(position) = &issue.position {
        members.push(("position", Value::from(position.to_string().as_str())));
    }
    if let Some(offset) = issue.offset {
        members.push(("offset", Value::from(i64::from(offset))));
    }
    Value::object(members)
}
