//! What a new content of an Observation is beside the stored one: newer, older, the same, or against it.
//!
//! The source's revision decides, never the order of arrival. Without revisions two values of one id contradict each
//! other, and [`crate::contradiction`] says what stands then. A replay is a correction: at the same revision it wins.
//!
//! Left out on purpose: reading and writing what is stored.

use fhir_core::json::Value;

use crate::batch::{newer, same_apart_from_offset};

/// The extension in `meta` that carries the source's revision.
pub const REVISION_URL: &str = "urn:stoker:device:source-revision";

/// Why a payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was received.
    Received,
    /// It is kept and read once more, after a mapping or an association was mended.
    Replayed,
}

/// The new content beside the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It replaces the stored one.
    Newer,
    /// The stored one stays.
    Older,
    /// Nothing to do.
    Same,
    /// Neither is newer and they differ: [`crate::contradiction::settle`] decides.
    Contradiction,
}

/// Decides between a stored content and a new one of the same id.
pub fn meet(stored: &Value, new: &Value, reason: Reason) -> Meeting {
    let (old_revision, new_revision) = (revision(stored), revision(new));
    match (old_revision, new_revision) {
        (Some(old), Some(new)) if newer(new, old) => return Meeting::Newer,
        (Some(old), Some(new)) if newer(old, new) => return Meeting::Older,
        _ => {}
    }
    if same_apart_from_offset(&without_server_parts(stored), &without_server_parts(new)) {
        Meeting::Same
    } else if reason == Reason::Replayed {
        Meeting::Newer
    } else {
        Meeting::Contradiction
    }
}

fn revision(resource: &Value) -> Option<&str> {
    let extensions = resource.get("meta")?.get("extension")?.as_array()?;
    extensions
        .iter()
        .find(|e| e.get("url").and_then(Value::as_str) == Some(REVISION_URL))?
        .get("valueString")?
        .as_str()
}

/// Version and time of storage belong to the server, and an empty `meta` says nothing.
pub(crate) fn without_server_parts(resource: &Value) -> Value {
    let mut value = resource.clone();
    let Some(map) = value.as_object_mut() else {
        return value;
    };
    map.remove("id");
    if let Some(meta) = map.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
        if meta.is_empty() {
            map.remove("meta");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(revision: &str, rest: &str) -> Value {
        let meta = if revision.is_empty() {
            r#"{"versionId":"3"}"#.to_owned()
        } else {
            format!(r#"{{"extension":[{{"url":"{REVISION_URL}","valueString":"{revision}"}}]}}"#)
        };
        let text = format!(
            r#"{{"resourceType":"Observation","meta":{meta},"effectiveDateTime":"2026-03-01T10:00:00Z","note":[{{"text":"{rest}"}}]}}"#
        );
        Value::parse(text.as_bytes()).expect("JSON")
    }

    /// Verifies: SRS-221, RC-221
    #[test]
    fn the_sources_revision_decides() {
        use Meeting::{Contradiction, Newer, Older, Same};
        for (old, new, received, replayed) in [
            (("1", "a"), ("2", "b"), Newer, Newer),
            (("2", "b"), ("1", "a"), Older, Older),
            (("10", "b"), ("9", "a"), Older, Older),
            (("2", "a"), ("2", "a"), Same, Same),
            (("2", "a"), ("2", "b"), Contradiction, Newer),
            (("", "a"), ("", "a"), Same, Same),
            (("", "a"), ("", "b"), Contradiction, Newer),
        ] {
            let (old, new) = (observation(old.0, old.1), observation(new.0, new.1));
            assert_eq!(meet(&old, &new, Reason::Received), received);
            assert_eq!(meet(&old, &new, Reason::Replayed), replayed);
        }
    }
}
