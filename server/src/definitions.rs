//! The profiles and the terminology in force: R4's own, those of packages, those stored here.
//!
//! Spec: <https://hl7.org/fhir/R4/terminology-service.html>. What is stored wins over packages, packages over R4. Left
//! out: `resource.experimental` and `status`: whoever stores a definition means it, also as a draft.

mod package;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::issue::Problem;
use fhir_core::json::Document;
use fhir_core::search::predicate::Predicate;
use fhir_core::terminology::{Catalogue, Kind};
use fhir_store::{Only, SearchQuery, Store, TotalMode};

use crate::app::store_problem;

/// Stored definitions read at once.
const PAGE_RESOURCES: usize = 500;

/// Stored definitions of one type that are used at most; a whole national guide has some thousand.
const DEFINITIONS_MAX: usize = 20_000;

/// How long another process's changes to definitions may stay unseen here (PostgreSQL), in milliseconds.
const REREAD_AFTER_MS: u64 = 30_000;

/// What is known, and whether it may be out of date.
pub struct KnownDefinitions {
    current: RwLock<Arc<Catalogue>>,
    packages: Vec<Arc<Document>>,
    is_stale: AtomicBool,
    started: Instant,
    /// When what is stored was read last, in milliseconds after `started`.
    read_at_ms: AtomicU64,
    /// Held while reading, so that many requests read once.
    reading: tokio::sync::Mutex<()>,
}

/// R4's own, and what is stored.
impl Default for KnownDefinitions {
    fn default() -> Self {
        Self {
            current: RwLock::default(),
            packages: Vec::new(),
            is_stale: AtomicBool::new(true),
            started: Instant::now(),
            read_at_ms: AtomicU64::new(0),
            reading: tokio::sync::Mutex::default(),
        }
    }
}

impl KnownDefinitions {
    /// Reads the packages; what is stored is read when it is first asked for.
    ///
    /// # Errors
    /// A package that is missing or cannot be read, by its path.
    pub fn open(packages: &[PathBuf]) -> Result<Self, String> {
        let mut documents = Vec::new();
        for path in packages {
            let before = documents.len();
            package::read(path, &mut documents).map_err(|e| format!("{}: {e}", path.display()))?;
            tracing::info!(package = %path.display(), definitions = documents.len() - before, "read definitions");
        }
        let mut catalogue = Catalogue::default();
        for document in &documents {
            catalogue.load(Arc::clone(document));
        }
        Ok(Self {
            current: RwLock::new(Arc::new(catalogue)),
            packages: documents,
            ..Self::default()
        })
    }

    /// What is known now, without looking whether it is out of date.
    pub fn current(&self) -> Arc<Catalogue> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// To be told of every resource written.
    pub fn written(&self, resource_type: ResourceTypeId) {
        if Kind::named(resource_type.name()).is_some() {
            self.is_stale.store(true, Ordering::Release);
        }
    }

    /// What is known, everything stored before this call included.
    ///
    /// # Errors
    /// `unavailable`, `overloaded`, `internal`
    pub async fn fresh(&self, store: &Store) -> Result<Arc<Catalogue>, Problem> {
        if !self.is_due(store) {
            return Ok(self.current());
        }
        let _reading = self.reading.lock().await;
        if !self.is_due(store) {
            return Ok(self.current());
        }
        // Before reading: what is written meanwhile makes it stale again.
        self.is_stale.store(false, Ordering::Release);
        match self.read(store).await {
            Ok(catalogue) => {
                let catalogue = Arc::new(catalogue);
                self.read_at_ms.store(self.now_ms(), Ordering::Release);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    Arc::clone(&catalogue);
                Ok(catalogue)
            }
            Err(problem) => {
                self.is_stale.store(true, Ordering::Release);
                Err(problem)
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether something was written since the last reading, or, where others write too, enough time has passed.
    fn is_due(&self, store: &Store) -> bool {
        let is_shared = matches!(store, Store::Postgres(_));
        let age_ms = self
            .now_ms()
            .saturating_sub(self.read_at_ms.load(Ordering::Acquire));
        self.is_stale.load(Ordering::Acquire) || is_shared && age_ms > REREAD_AFTER_MS
    }

    async fn read(&self, store: &Store) -> Result<Catalogue, Problem> {
        let mut catalogue = Catalogue::default();
        for document in &self.packages {
            catalogue.load(Arc::clone(document));
        }
        for kind in Kind::ALL {
            let Some(resource_type) = Definitions::r4().resource_type(kind.name()) else {
                continue;
            };
            let (mut after, mut count) = (None, 0);
            loop {
                let query = SearchQuery {
                    resource_type,
                    predicate: Predicate::Everything,
                    sort: Vec::new(),
                    limit: PAGE_RESOURCES,
                    after,
                    total: TotalMode::None,
                    only: Only::Bodies,
                };
                let page = store.search(query).await.map_err(|e| store_problem(&e))?;
                count += page.matches.len();
                for stored in &page.matches {
                    if let Ok(document) = Document::parse(&stored.json) {
                        catalogue.load(Arc::new(document));
                    }
                }
                after = page.next;
                if after.is_none() || count >= DEFINITIONS_MAX {
                    break;
                }
            }
            if count >= DEFINITIONS_MAX {
                tracing::warn!(
                    kind = kind.name(),
                    limit = DEFINITIONS_MAX,
                    "more definitions are stored than are used"
                );
            }
        }
        Ok(catalogue)
    }
}
