//! The text of a resource as it is stored and served: the client's digits, the server's `id` and `meta`.
//!
//! Spec: <https://hl7.org/fhir/R4/resource.html#Meta>. Only `id`, `meta.versionId` and `meta.lastUpdated` belong
//! to the server. They are known last (inside the commit), so the stored text has a gap where they go and reading
//! is three copies, without parsing.

use std::borrow::Cow;

use crate::ids::{Instant, ResourceId, VersionId};
use crate::json::{Kind, ValueRef, write_string};

/// A resource's compact JSON with a gap inside `meta` for version and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    text: Box<[u8]>,
    gap: u32,
}

impl Body {
    /// Takes a resource over: `resourceType`, `id` and `meta` first, then the members in their order, digits and
    /// escapes as written, insignificant white space gone. A `versionId` and `lastUpdated` in the data are dropped.
    pub fn new(resource: ValueRef<'_>, id: &ResourceId) -> Self {
        let mut text = Vec::with_capacity(resource.raw().len() + 64);
        text.extend_from_slice(b"{\"resourceType\":");
        match resource.get("resourceType") {
            Some(name) => text.extend_from_slice(name.raw().as_bytes()),
            None => text.extend_from_slice(b"\"\""),
        }
        text.extend_from_slice(b",\"id\":");
        write_string(id.as_str(), &mut text);
        text.extend_from_slice(b",\"meta\":{");
        let gap = text.len() as u32;
        let is_ours = |name: &str| {
            matches!(
                name,
                "versionId" | "lastUpdated" | "_versionId" | "_lastUpdated"
            )
        };
        for (name, value) in resource.get("meta").into_iter().flat_map(ValueRef::members) {
            if !is_ours(&name) {
                write_member(&name, value, &mut text);
            }
        }
        text.push(b'}');
        for (name, value) in resource.members() {
            if !matches!(name.as_ref(), "resourceType" | "id" | "meta") {
                write_member(&name, value, &mut text);
            }
        }
        text.push(b'}');
        Self {
            text: text.into(),
            gap,
        }
    }

    /// Puts a stored body together again. `None` when the gap lies outside the text.
    pub fn from_stored(text: impl Into<Box<[u8]>>, gap: u32) -> Option<Self> {
        let text = text.into();
        ((gap as usize) < text.len()).then_some(Self { text, gap })
    }

    /// What to store: the text without version and time. Not valid JSON by itself.
    pub fn stored_text(&self) -> &[u8] {
        &self.text
    }

    /// Where version and time go, in bytes.
    pub fn gap(&self) -> u32 {
        self.gap
    }

    /// Appends the complete resource.
    pub fn write(&self, version: VersionId, updated: Instant, out: &mut Vec<u8>) {
        write_stored(&self.text, self.gap, version, updated, out);
    }

    /// The complete resource.
    pub fn to_bytes(&self, version: VersionId, updated: Instant) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 80);
        self.write(version, updated, &mut out);
        out
    }
}

/// Appends a complete resource from its stored text, gap, version and time.
pub fn write_stored(
    text: &[u8],
    gap: u32,
    version: VersionId,
    updated: Instant,
    out: &mut Vec<u8>,
) {
    let (before, after) = text.split_at((gap as usize).min(text.len()));
    out.extend_from_slice(before);
    out.extend_from_slice(b"\"versionId\":\"");
    match u8::try_from(version.0) {
        Ok(digit @ 0..=9) => out.push(b'0' + digit),
        _ => out.extend_from_slice(version.to_string().as_bytes()),
    }
    out.extend_from_slice(b"\",\"lastUpdated\":\"");
    updated.write_fhir(out);
    out.push(b'"');
    out.extend_from_slice(after);
}

/// Every member stands behind another one (the gap's, or `meta`), so the comma comes first.
fn write_member(name: &str, value: ValueRef<'_>, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
    value.write_compact(out);
}

/// The `resourceType` a JSON value names.
pub fn resource_type_name(resource: ValueRef<'_>) -> Option<Cow<'_, str>> {
    if resource.kind() == Kind::Object {
        resource.get("resourceType")?.as_str()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn check(input: &str, expected: &str) {
        let document = Document::parse(input.as_bytes()).unwrap();
        let body = Body::new(document.root(), &ResourceId::parse("a1").unwrap());
        let stored = Body::from_stored(body.stored_text(), body.gap()).unwrap();
        let text = String::from_utf8(stored.to_bytes(VersionId(3), Instant(0))).unwrap();
        assert_eq!(text, expected);
        Document::parse(text.as_bytes()).expect("valid JSON");
    }

    const META: &str = r#""meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.000000Z""#;

    /// Verifies: SRS-001, RC-001
    #[test]
    fn content_survives_and_meta_is_the_servers() {
        check(
            r#"{ "resourceType":"Observation", "valueQuantity":{"value":2.50}, "id":"theirs" }"#,
            &format!(
                r#"{{"resourceType":"Observation","id":"a1",{META}}},"valueQuantity":{{"value":2.50}}}}"#
            ),
        );
        check(
            r#"{"resourceType":"Patient","meta":{"versionId":"9","profile":["p"],"lastUpdated":"2000-01-01T00:00:00Z"}}"#,
            &format!(r#"{{"resourceType":"Patient","id":"a1",{META},"profile":["p"]}}}}"#),
        );
        check(
            r#"{"resourceType":"Patient"}"#,
            &format!(r#"{{"resourceType":"Patient","id":"a1",{META}}}}}"#),
        );
    }

    #[test]
    fn a_gap_outside_the_text_is_refused() {
        assert_eq!(Body::from_stored(b"{}".as_slice(), 2), None);
    }
}
