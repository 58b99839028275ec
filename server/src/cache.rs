//! Current resources kept ready in memory, so that a read of a hot resource costs no database access.
//!
//! Never stale: a commit puts its version in before the client hears of it, an older version never replaces a newer
//! one, and what a slow reader fetched before a commit is not taken after it. Off where other processes write too.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use fhir_core::ids::ResourceKey;
use fhir_store::Stored;
use moka::ops::compute::Op;
use moka::sync::Cache;

/// Counters that tell a slow reader that its key was written meanwhile; keys share them by hash.
const EPOCHS: usize = 1024;

/// Memory an entry takes beside its body, in bytes, estimated.
const ENTRY_BYTES: u32 = 300;

/// Largest body kept, in bytes: one huge resource must not push a thousand hot ones out.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// The cache.
pub struct BodyCache {
    entries: Cache<ResourceKey, Stored>,
    epochs: Vec<AtomicU64>,
}

/// Taken before a read of the database, given back with what was read.
#[derive(Debug, Clone, Copy)]
pub struct Ticket(u64);

impl BodyCache {
    /// A cache of about this size.
    pub fn new(bytes_max: u64) -> Self {
        let weight = |_: &ResourceKey, stored: &Stored| {
            u32::try_from(stored.json.len())
                .unwrap_or(u32::MAX)
                .saturating_add(ENTRY_BYTES)
        };
        Self {
            entries: Cache::builder()
                .max_capacity(bytes_max)
                .weigher(weight)
                .build(),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The current version, also of a deleted resource, if it is here.
    pub fn get(&self, key: &ResourceKey) -> Option<Stored> {
        self.entries.get(key)
    }

    /// To be taken before the database is read.
    pub fn ticket(&self, key: &ResourceKey) -> Ticket {
        Ticket(
            self.epoch(key)
                .map_or(0, |epoch| epoch.load(Ordering::Acquire)),
        )
    }

    /// Keeps what a reader fetched, unless the key was written since the ticket was taken.
    pub fn fill(&self, ticket: Ticket, stored: &Stored) {
        self.put(stored, Some(ticket));
    }

    /// Keeps what was committed just now.
    pub fn committed(&self, stored: &Stored) {
        if let Some(epoch) = self.epoch(&stored.key) {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.put(stored, None);
    }

    fn put(&self, stored: &Stored, ticket: Option<Ticket>) {
        if stored.json.len() > BODY_BYTES_MAX {
            // Whatever is there is older than this.
            self.entries.invalidate(&stored.key);
            return;
        }
        self.entries
            .entry_by_ref(&stored.key)
            .and_compute_with(|present| {
                // Checked under the key's lock: a commit that bumps the epoch after this check also puts after it.
                let is_late = ticket.is_some_and(|ticket| self.ticket(&stored.key).0 != ticket.0);
                let is_older = present.is_some_and(|entry| entry.value().version >= stored.version);
                if is_late || is_older {
                    Op::Nop
                } else {
                    Op::Put(stored.clone())
                }
            });
    }

    fn epoch(&self, key: &ResourceKey) -> Option<&AtomicU64> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % EPOCHS as u64).ok()?;
        self.epochs.get(slot)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fhir_core::ids::{Instant, VersionId};

    use super::*;

    fn stored(version: i64) -> Stored {
        Stored {
            key: ResourceKey::parse("Patient/a").unwrap(),
            version: VersionId(version),
            updated: Instant(version),
            deleted: false,
            json: Bytes::from_static(b"{}"),
        }
    }

    /// Verifies: SRS-026, RC-014
    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let cache = BodyCache::new(1 << 20);
        cache.committed(&stored(2));
        cache.committed(&stored(1));
        cache.fill(cache.ticket(&stored(1).key), &stored(1));
        assert_eq!(cache.get(&stored(1).key).unwrap().version, VersionId(2));
    }

    /// Verifies: SRS-026, RC-014
    #[test]
    fn what_was_read_before_a_commit_is_not_taken_after_it() {
        let cache = BodyCache::new(1 << 20);
        let ticket = cache.ticket(&stored(1).key);
        cache.committed(&stored(2));
        cache.entries.invalidate(&stored(2).key); // as an eviction would
        cache.fill(ticket, &stored(1));
        assert!(cache.get(&stored(1).key).is_none());
    }

    #[test]
    fn a_huge_body_is_not_kept_and_hides_nothing() {
        let cache = BodyCache::new(1 << 20);
        cache.committed(&stored(1));
        let huge = Stored {
            json: vec![b' '; BODY_BYTES_MAX + 1].into(),
            ..stored(2)
        };
        cache.committed(&huge);
        assert!(cache.get(&huge.key).is_none());
    }
}
