//! Ids that follow from what a record is, so that the same message gives the same ids on every run.
//!
//! FHIR ids: <https://hl7.org/fhir/R4/datatypes.html#id>; UUID version 8, RFC 9562 §5.8.
//! Left out on purpose: randomness and time, and any look at what is already stored.

use sha2::{Digest, Sha256};

/// What an id was derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The resource type, `Patient`.
    pub resource_type: Box<str>,
    /// The id, a lower-case UUID.
    pub id: Box<str>,
    /// Which way of the mapping named it, from 0: 0 is the best. Others came with an issue.
    pub way: usize,
    /// The namespace of the site it was derived in.
    pub namespace: Box<str>,
    /// The parts it was derived from; references to other resources are `Patient/0b9c…`.
    pub parts: Box<[Box<str>]>,
}

impl Identity {
    /// The literal reference, `Patient/0b9c…`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }
}

/// The id of a resource: SHA-256 over namespace, resource type and key parts, each behind its length so that no two
/// lists of parts run together; the first sixteen bytes become a version 8 UUID.
pub fn derive_id(namespace: &str, resource_type: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"stoker-id-1");
    for part in [namespace, resource_type].iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut text = String::with_capacity(36);
    for (i, byte) in digest.iter().take(16).enumerate() {
        let byte = match i {
            6 => (byte & 0x0f) | 0x80,
            8 => (byte & 0x3f) | 0x80,
            _ => *byte,
        };
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-034
    #[test]
    fn ids_are_stable_and_keep_parts_apart() {
        let id = derive_id("feed", "Patient", &["urn:oid:1.2.3", "MR", "42"]);
        assert_eq!(
            id,
            derive_id("feed", "Patient", &["urn:oid:1.2.3", "MR", "42"])
        );
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes().get(14), Some(&b'8'));
        for other in [
            derive_id("feed", "Patient", &["urn:oid:1.2.3", "MR4", "2"]),
            derive_id("feed", "Patient", &["urn:oid:1.2.3MR", "42"]),
            derive_id("feed", "Patient", &["urn:oid:1.2.3", "MR", "42", ""]),
            derive_id("other", "Patient", &["urn:oid:1.2.3", "MR", "42"]),
            derive_id("feed", "Person", &["urn:oid:1.2.3", "MR", "42"]),
        ] {
            assert_ne!(id, other);
        }
    }
}
