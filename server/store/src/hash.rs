//! Keys that are hashes: of resources, identifiers and long texts.
//!
//! SipHash-2-4 with a secret of the database, so that nobody can make two things collide on purpose. 64 bits name a
//! resource (a new one whose hash is taken is refused); identifiers carry 32 bits more, which makes a wrong match
//! less likely than a failing disk.

use std::hash::Hasher as _;

use fhir_core::ids::ResourceKey;
use siphasher::sip128::{Hasher128, SipHasher24};

/// Makes keys.
#[derive(Clone, Copy)]
pub(crate) struct KeyHasher {
    seed: [u8; 16],
}

/// Keys of postings that a test looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashKey {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) check: i64,
}

impl From<(i64, i64)> for HashKey {
    fn from((k, check): (i64, i64)) -> Self {
        Self {
            from: k,
            to: k,
            check,
        }
    }
}

/// The bits of an identifier's key that tell systems of one value apart.
const VALUE_MASK: i64 = 0xFFFF;

/// What is hashed; different kinds never share a hash input.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Resource = 1,
    Url = 2,
    SystemValue = 3,
    Value = 4,
    System = 5,
    OfType = 6,
    Term = 7,
    ReferenceSystemValue = 8,
    ReferenceValue = 9,
    ReferenceSystem = 10,
    Text = 11,
}

impl KeyHasher {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        Self { seed }
    }

    /// 128 bits over a kind, a number and texts with their lengths.
    pub(crate) fn wide(&self, kind: Kind, number: u16, parts: &[&[u8]]) -> (u64, u64) {
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        hasher.write(&[kind as u8]);
        hasher.write(&number.to_le_bytes());
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The key of a resource in `res.h` and of references to it. Never 0, which stands for "any".
    pub(crate) fn resource(&self, key: &ResourceKey) -> i64 {
        let (h, _) = self.wide(
            Kind::Resource,
            key.resource_type.0,
            &[key.id.as_str().as_bytes()],
        );
        if h == 0 { 1 } else { h as i64 }
    }

    /// The key of a reference that leads elsewhere.
    pub(crate) fn url(&self, url: &str) -> i64 {
        let h = self.wide(Kind::Url, 0, &[url.as_bytes()]).0 as i64;
        if h == 0 { 1 } else { h }
    }

    /// The negative key of an identifier's posting and its check: 47 bits of the value, 16 of system and value, and
    /// 32 more of the value. One row is found by both, and by the value alone as a range.
    pub(crate) fn identifier(
        &self,
        kinds: [Kind; 3],
        param: u16,
        system: &[u8],
        value: &[u8],
    ) -> (i64, i64) {
        let HashKey { from, check, .. } = self.value(kinds, param, value);
        let (both, _) = self.wide(kinds[0], param, &[system, value]);
        (from | (both as i64 & VALUE_MASK), check)
    }

    /// The keys of all identifiers with a value.
    pub(crate) fn value(&self, kinds: [Kind; 3], param: u16, value: &[u8]) -> HashKey {
        let (k, check) = self.posting(kinds[1], param, &[value]);
        HashKey {
            from: k & !VALUE_MASK,
            to: k | VALUE_MASK,
            check,
        }
    }

    /// The negative key of a posting and its check.
    pub(crate) fn posting(&self, kind: Kind, param: u16, parts: &[&[u8]]) -> (i64, i64) {
        let (h, check) = self.wide(kind, param, parts);
        (h as i64 | i64::MIN, i64::from(check as u32))
    }

    /// 31 bits that tell texts of one place apart; never 0.
    pub(crate) fn short(&self, parts: &[&[u8]]) -> i64 {
        i64::from(self.wide(Kind::Text, 0, parts).0 as u32 >> 1).max(1)
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}
