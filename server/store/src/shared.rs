//! What all threads of a store have in common.

use std::sync::atomic::{AtomicBool, AtomicU64};

use conformance::{Definitions, ResourceTypeId};

use crate::body::Bodies;
use crate::catalog::Catalog;
use crate::db::{Db, Engine};
use crate::error::StoreError;
use crate::hash::KeyHasher;
use crate::index::Preparer;
use crate::options::StoreOptions;
use crate::search::Compiler;
use crate::terms::Terms;

/// Counters behind [`crate::StoreMetrics`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) queue_commits: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) overloads: AtomicU64,
    pub(crate) searches: AtomicU64,
    pub(crate) searches_stopped: AtomicU64,
    /// Searches answered on the thread that asked.
    pub(crate) searches_short: AtomicU64,
}

/// Shared by the callers, the readers and the writer.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) options: StoreOptions,
    pub(crate) catalog: &'static Catalog,
    pub(crate) hasher: KeyHasher,
    pub(crate) terms: Terms,
    pub(crate) bodies: Bodies,
    /// For each type, whether it has or had resources outside of its clinical core.
    pub(crate) plain: Vec<AtomicBool>,
    /// Whether samples may be stored. Set before the commit that stores the first; a database that other processes
    /// write to has it set from the start.
    pub(crate) samples: AtomicBool,
    pub(crate) secret: [u8; 32],
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        options: StoreOptions,
        seed: [u8; 16],
        secret: [u8; 32],
    ) -> Self {
        let hasher = KeyHasher::new(seed);
        Self {
            engine,
            options,
            catalog: Catalog::r4(),
            hasher,
            terms: Terms::new(hasher),
            bodies: Bodies::new(),
            plain: Definitions::r4()
                .resource_types()
                .iter()
                .map(|_| AtomicBool::new(false))
                .collect(),
            samples: AtomicBool::new(engine == Engine::Postgres),
            secret,
            counters: Counters::default(),
        }
    }

    pub(crate) fn preparer(&self) -> Preparer<'_> {
        Preparer {
            catalog: self.catalog,
            hasher: self.hasher,
            terms: &self.terms,
        }
    }

    pub(crate) fn has_plain(&self, resource_type: ResourceTypeId) -> bool {
        let flag = self.plain.get(usize::from(resource_type.0));
        flag.is_some_and(|flag| flag.load(std::sync::atomic::Ordering::Acquire))
    }

    /// Whether a read or search has to look among samples, too.
    pub(crate) fn has_samples(&self) -> bool {
        self.samples.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn compiler<'a>(
        &'a self,
        db: &'a mut Db,
        has_plain: &'a dyn Fn(ResourceTypeId) -> bool,
    ) -> Compiler<'a> {
        Compiler {
            db,
            catalog: self.catalog,
            hasher: self.hasher,
            terms: &self.terms,
            conversion: self.options.unit_conversion.as_ref(),
            has_plain,
        }
    }
}

/// Poisoned locks and closed channels: a thread of ours died.
pub(crate) fn thread_died() -> StoreError {
    StoreError::Internal("a thread of the store has ended".into())
}
