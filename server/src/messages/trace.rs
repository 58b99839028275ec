//! Where an element of a stored resource came from: message, segment, field, repetition, component, bytes, rule.
//!
//! Nothing of it is stored: the kept message is read again by the same mapping, which gives the same places. When the
//! mapping has another version by now, the answer says so.

use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{Message, MessageFilter, MessagePlace};
use mappings::{Position, Produced};

use super::place;
use super::replay::{pipeline_of, raw};
use crate::app::{Server, store_problem};
use crate::gateway::{Manner, plan};

/// Messages looked through for one element: a resource has a few versions.
const MESSAGES_MAX: usize = 200;
/// Places named in one answer.
const PLACES_MAX: usize = 1_000;

/// A place of a message that an element came from.
pub struct Origin {
    /// The element, `Observation.valueQuantity.value`.
    pub element: String,
    /// The message.
    pub message: i64,
    /// The version the message made; `None` when it changed nothing.
    pub version: Option<VersionId>,
    /// `OBX[1]-5[1].1`
    pub position: String,
    /// First byte, and the one after the last, in the raw message.
    pub bytes: Option<(usize, usize)>,
    /// The rule of the mapping.
    pub rule: String,
    /// The mapping and version that reads it now.
    pub mapping: String,
    /// The one that read it then, when it is another.
    pub mapping_then: Option<String>,
}

/// The origins of an element, or of all when `path` is empty, in the newest message that gave it.
///
/// # Errors
/// `not-found` when no message gave it
pub async fn trace(server: &Server, key: &ResourceKey, path: &str) -> Result<Vec<Origin>, Problem> {
    let filter = MessageFilter {
        resource: Some(key.clone()),
        ..MessageFilter::default()
    };
    let messages = server.store.messages(filter, MESSAGES_MAX).await;
    let mut messages = messages.map_err(|e| store_problem(&e))?;
    // Newest version first: a message read again may have made the newest.
    messages.sort_by_key(|message| std::cmp::Reverse(version_of(message, key)));
    let mut found: Vec<Origin> = Vec::new();
    for message in &messages {
        for origin in origins(server, message, key, path).await? {
            // Of each element the newest message counts.
            let is_known = found
                .iter()
                .any(|known| known.element == origin.element && known.message != origin.message);
            if !is_known && found.len() < PLACES_MAX {
                found.push(origin);
            }
        }
        if !path.is_empty() && !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        let text = "no kept message gave this element; it was written by a client, or follows from a rule of the mapping";
        return Err(Problem::new(ErrorKind::NOT_FOUND, text).at(path));
    }
    Ok(found)
}

fn version_of(message: &Message, key: &ResourceKey) -> (Option<VersionId>, i64) {
    let versions = message.made.iter().filter(|(made, _)| made == key);
    (
        versions.filter_map(|(_, version)| *version).max(),
        message.id,
    )
}

async fn origins(
    server: &Server,
    message: &Message,
    key: &ResourceKey,
    path: &str,
) -> Result<Vec<Origin>, Problem> {
    let (version, _) = version_of(message, key);
    // What changed nothing is not where the content comes from.
    let Some(version) = version else {
        return Ok(Vec::new());
    };
    let pipeline = pipeline_of(server, &message.feed)?;
    let raw = raw(server, message).await?;
    let (reading, source) = pipeline.read_with_source(raw.clone());
    let Some(source) = source else {
        return Ok(Vec::new());
    };
    let intake = reading.intake;
    // Which produced resource the record is, its person's merges included.
    let manner = Manner {
        // Before all others, so that it waits for nothing.
        place: MessagePlace::Again(0),
        chosen: None,
    };
    let planned = plan(server, &intake, &manner).await?;
    let targets = planned.written.iter().map(|(target, _)| target);
    let mapping = intake.mapping.clone().unwrap_or_default();
    let mapping_then = message.mapping.clone().filter(|then| *then != mapping);
    let mut found = Vec::new();
    for (produced, target) in intake.resources.iter().zip(targets) {
        if target != key {
            continue;
        }
        for entry in &produced.lineage {
            if !is_of(produced, &entry.target, path) {
                continue;
            }
            for position in entry.sources(&source) {
                found.push(Origin {
                    element: entry.target.to_string(),
                    message: message.id,
                    version: Some(version),
                    bytes: bytes(&raw, &position),
                    position: position.to_string(),
                    rule: produced.rule.to_string(),
                    mapping: mapping.clone(),
                    mapping_then: mapping_then.clone(),
                });
            }
        }
    }
    Ok(found)
}

fn bytes(raw: &[u8], position: &Position) -> Option<(usize, usize)> {
    place::range_at(raw, position).map(|range| (range.start, range.end))
}

/// Whether an element is the one asked for, or inside it. Paths may leave out the type and indices.
fn is_of(produced: &Produced, element: &str, path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    let resource_type = &*produced.identity.resource_type;
    let bare = |text: &str| {
        text.strip_prefix(resource_type)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(text)
            .to_owned()
    };
    let (element, path) = (bare(element), bare(path));
    starts(&element, &path) || starts(&without_indices(&element), &path)
}

fn starts(element: &str, path: &str) -> bool {
    element
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut is_inside = false;
    for c in path.chars() {
        match c {
            '[' => is_inside = true,
            ']' => is_inside = false,
            c if !is_inside => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_may_be_short() {
        assert_eq!(without_indices("name[0].given[1]"), "name.given");
        for (element, path, expected) in [
            ("valueQuantity.value", "valueQuantity", true),
            ("valueQuantity.value", "valueQuantity.value", true),
            ("valueQuantity.valueX", "valueQuantity.value", false),
            ("name[0].given[1]", "name[0].given", true),
        ] {
            assert_eq!(starts(element, path), expected, "{element} {path}");
        }
    }
}
