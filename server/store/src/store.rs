//! The store: one value for both databases.

mod messages;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::index::IndexEntry;
use tokio::sync::oneshot;

use crate::api::{
    Commit, Committed, HistoryPage, HistoryQuery, ReindexRow, Rid, SearchPage, SearchQuery,
    StoreCounts, StoreMetrics, Stored,
};
use crate::audit::{AuditPage, AuditQuery, AuditRecord};
use crate::db::{Db, Engine};
use crate::ehr::{EhrPage, PreparedPage};
use crate::error::{CommitError, StoreError};
use crate::index::PreparedIndex;
use crate::log;
use crate::message::{Message, MessageFilter};
use crate::open::{Purpose, connect, open};
use crate::options::StoreOptions;
use crate::read::Reader;
use crate::shared::{Shared, thread_died};
use crate::sql::Sql;
use crate::threads::{Job, Outcome, Readers, checkpoint, spawn, write};
use crate::write::{Group, PreparedCommit};

/// A database of resources. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub enum Store {
    /// A file of this process.
    Sqlite(Arc<Inner>),
    /// A PostgreSQL server.
    Postgres(Arc<Inner>),
}

/// What both engines share.
pub struct Inner {
    serial: u64,
    shared: Arc<Shared>,
    readers: Readers,
    jobs: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

thread_local! {
    /// Read-only connections of this thread, for reads that are answered where they are asked (SQLite).
    static INLINE: RefCell<HashMap<u64, (Weak<Inner>, Db)>> = RefCell::default();
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

impl Store {
    /// Opens a database, creates or updates its tables, and starts its threads.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer release wrote it; [`StoreError::Unavailable`] when it cannot be opened.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let (answer, wait) = oneshot::channel();
        spawn("open", move || {
            let _ = answer.send(open_here(options));
        })?;
        wait.await.map_err(|_| thread_died())?
    }

    fn inner(&self) -> &Arc<Inner> {
        match self {
            Self::Sqlite(inner) | Self::Postgres(inner) => inner,
        }
    }

    /// Runs a read on one of the reader threads.
    pub(crate) async fn on_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.inner().readers.send(Box::new(move |reader| {
            let result = work(reader);
            let outcome = match &result {
                Err(StoreError::Unavailable(_)) => Outcome::Broken,
                _ => Outcome::Usable,
            };
            // A caller that went away does not need the answer.
            let _ = answer.send(result);
            outcome
        }))?;
        wait.await
            .map_err(|_| StoreError::Unavailable("no connection to the database".into()))?
    }

    /// Runs a short read: at once on this thread for SQLite, else on a reader thread.
    pub(crate) async fn inline<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self {
            Self::Postgres(_) => self.on_reader(work).await,
            Self::Sqlite(inner) => inner.here(work),
        }
    }

    /// The current version; a deleted resource is `Some` with `deleted`.
    pub async fn read(&self, key: &ResourceKey) -> Result<Option<Stored>, StoreError> {
        let key = key.clone();
        self.inline(move |reader| reader.read(&key)).await
    }

    /// One version, current or not.
    pub async fn vread(
        &self,
        key: &ResourceKey,
        version: VersionId,
    ) -> Result<Option<Stored>, StoreError> {
        let key = key.clone();
        self.inline(move |reader| reader.vread(&key, version)).await
    }

    /// The live ones of these resources, in the order of the keys.
    pub async fn read_many(&self, keys: &[ResourceKey]) -> Result<Vec<Stored>, StoreError> {
        let keys = keys.to_vec();
        self.on_reader(move |reader| reader.read_many(&keys)).await
    }

    /// Versions, newest first.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, StoreError> {
        self.on_reader(move |reader| reader.history(&query)).await
    }

    /// Finds resources. What one statement with few rows answers runs at once on this thread for SQLite, anything else
    /// on a reader thread.
    ///
    /// # Errors
    /// [`StoreError::TooCostly`] after the time limit, [`StoreError::Overloaded`] when too many searches wait.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchPage, StoreError> {
        let counters = &self.inner().shared.counters;
        counters.searches.fetch_add(1, Ordering::Relaxed);
        if let Self::Sqlite(inner) = self
            && let Some(page) = inner.here(|reader| reader.short_search(&query))?
        {
            counters.searches_short.fetch_add(1, Ordering::Relaxed);
            return Ok(page);
        }
        let result = self.on_reader(move |reader| reader.search(&query)).await;
        if matches!(result, Err(StoreError::TooCostly(_))) {
            counters.searches_stopped.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    #[cfg(test)]
    pub(crate) fn short_searches(&self) -> u64 {
        let counters = &self.inner().shared.counters;
        counters.searches_short.load(Ordering::Relaxed)
    }

    /// How a search would be run, for people.
    pub async fn explain(&self, query: SearchQuery) -> Result<String, StoreError> {
        self.on_reader(move |reader| reader.explain(&query)).await
    }

    /// Turns index entries into rows. `remove` are the current version's entries, `add` the next one's; what both have
    /// stays as it is.
    pub fn prepare(
        &self,
        key: &ResourceKey,
        remove: &[IndexEntry<'_>],
        add: &[IndexEntry<'_>],
    ) -> PreparedIndex {
        self.inner()
            .shared
            .preparer()
            .prepare(key.resource_type, remove, add)
    }

    /// Carries out changes; answers after they are durable.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing was written then.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let inner = self.inner();
        let prepared = PreparedCommit::new(&inner.shared, commit)?;
        let (answer, wait) = oneshot::channel();
        inner.submit(Job::Commit(Box::new(prepared), answer), Wait::No)?;
        wait.await.map_err(|_| thread_died())?
    }

    /// Carries out changes together with the page of an EHR walk that brought them; answers after both are durable.
    ///
    /// # Errors
    /// See [`CommitError`]; [`CommitError::WalkMoved`] when another run moved the walk. Nothing was written then.
    pub async fn commit_page(
        &self,
        commit: Commit,
        page: EhrPage,
    ) -> Result<Committed, CommitError> {
        let inner = self.inner();
        let mut prepared = PreparedCommit::new(&inner.shared, commit)?;
        prepared.page = Some(PreparedPage::new(page)?);
        let (answer, wait) = oneshot::channel();
        inner.submit(Job::Commit(Box::new(prepared), answer), Wait::No)?;
        wait.await.map_err(|_| thread_died())?
    }

    /// Like [`Self::commit`] for threads outside of an async runtime (import, adapters); waits for room in the queue.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing was written then.
    pub fn commit_blocking(&self, commit: Commit) -> Result<Committed, CommitError> {
        let inner = self.inner();
        let prepared = PreparedCommit::new(&inner.shared, commit)?;
        let (answer, wait) = oneshot::channel();
        inner.submit(Job::Commit(Box::new(prepared), answer), Wait::ForRoom)?;
        wait.blocking_recv().map_err(|_| thread_died())?
    }

    /// Runs work on the writer's thread.
    pub(crate) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let task = move |group: &mut Group<'_>| {
            let _ = answer.send(work(group));
        };
        self.inner().submit(Job::Task(Box::new(task)), Wait::No)?;
        wait.await.map_err(|_| thread_died())?
    }

    /// One message of the log.
    pub async fn message_by_id(&self, id: i64) -> Result<Option<Message>, StoreError> {
        self.on_reader(move |reader| log::message_by_id(reader.db, id))
            .await
    }

    /// Messages of the log, newest first.
    pub async fn messages(
        &self,
        filter: MessageFilter,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.on_reader(move |reader| log::messages(reader.db, reader.shared.hasher, &filter, limit))
            .await
    }

    /// A message's raw bytes by the SHA-256 of them.
    pub async fn message_raw(&self, hash: [u8; 32]) -> Result<Option<Bytes>, StoreError> {
        self.on_reader(move |reader| log::message_raw(reader.db, &hash))
            .await
    }

    /// Rows of the audit trail, newest first.
    pub async fn audit_page(&self, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.on_reader(move |reader| log::audit_page(reader.db, &query))
            .await
    }

    /// Writes audit rows that belong to no change (reads, refusals); answers when they are durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn record_reads(&self, records: Vec<AuditRecord>) -> Result<(), CommitError> {
        self.commit(Commit {
            audit: records,
            ..Commit::default()
        })
        .await
        .map(|_| ())
    }

    /// Live resources in the order of their numbers, for the reindex command.
    pub async fn reindex_page(
        &self,
        after: Option<Rid>,
        limit: usize,
    ) -> Result<Vec<ReindexRow>, StoreError> {
        self.on_reader(move |reader| reader.reindex_page(after, limit))
            .await
    }

    /// Empties the index, for a reindex that does not know what was indexed before. Searches find nothing until
    /// [`Self::replace_index`] has been called for every resource.
    pub async fn clear_index(&self) -> Result<(), StoreError> {
        self.on_writer(|group| {
            group.within(|transaction| {
                for table in ["post", "ref", "dat", "num", "str", "comp", "sd"] {
                    let mut sql = Sql::new("DELETE FROM ");
                    sql.push(table);
                    transaction.db.run(sql)?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Replaces the index rows of a resource if `version` is still current; answers whether it was.
    pub async fn replace_index(
        &self,
        rid: Rid,
        version: VersionId,
        index: PreparedIndex,
    ) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| transaction.replace_index(rid.0, version, &index))
        })
        .await
    }

    /// Sizes. Walks indexes; not for every request.
    pub async fn counts(&self) -> Result<StoreCounts, StoreError> {
        self.on_reader(|reader| reader.counts()).await
    }

    /// Counters.
    pub fn metrics(&self) -> StoreMetrics {
        let counters = &self.inner().shared.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreMetrics {
            queue_commits: load(&counters.queue_commits),
            commits: load(&counters.commits),
            groups: load(&counters.groups),
            overloads: load(&counters.overloads),
            searches: load(&counters.searches),
            searches_stopped: load(&counters.searches_stopped),
        }
    }

    /// A random secret of this database, for signing cursors: the same after a restart.
    pub fn secret(&self) -> [u8; 32] {
        self.inner().shared.secret
    }

    /// Checks the database file and that every index row belongs to a live resource.
    pub async fn integrity_check(&self) -> Result<(), StoreError> {
        self.on_reader(|reader| reader.integrity_check()).await
    }

    /// Whether the database answers; for readiness probes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.on_reader(|reader| {
            reader
                .db
                .number(Sql::new("SELECT count(*) FROM live"))
                .map(|_| ())
        })
        .await
    }

    /// Stops taking commits, writes those that wait, folds the log away.
    pub async fn close(&self) {
        let inner = self.inner().clone();
        let (answer, wait) = oneshot::channel();
        let closing = spawn("close", move || {
            inner.close();
            let _ = answer.send(());
        });
        if closing.is_ok() {
            let _ = wait.await;
        }
    }
}

/// Whether a commit waits for room in the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    ForRoom,
}

impl Inner {
    /// Reads on this thread with its own connection (SQLite).
    fn here<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        INLINE.with_borrow_mut(|connections| {
            if !connections.contains_key(&self.serial) {
                connections.retain(|_, (owner, _)| owner.strong_count() > 0);
                let db = connect(Engine::Sqlite, &self.shared.options, Purpose::Read)?;
                connections.insert(self.serial, (Arc::downgrade(self), db));
            }
            let (_, db) = connections.get_mut(&self.serial).ok_or_else(closed)?;
            work(&mut Reader {
                db,
                shared: &self.shared,
            })
        })
    }

    fn submit(&self, job: Job, wait: Wait) -> Result<(), StoreError> {
        let queue = self
            .jobs
            .lock()
            .map_err(|_| thread_died())?
            .clone()
            .ok_or_else(closed)?;
        let waiting = &self.shared.counters.queue_commits;
        waiting.fetch_add(1, Ordering::Relaxed);
        let result = match wait {
            Wait::ForRoom => queue.send(job).map_err(|_| thread_died()),
            Wait::No => queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => thread_died(),
            }),
        };
        if result.is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if result == Err(StoreError::Overloaded) {
            self.shared
                .counters
                .overloads
                .fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn close(&self) {
        self.readers.stop();
        if let Ok(mut jobs) = self.jobs.lock() {
            jobs.take();
        }
        let threads = self
            .threads
            .lock()
            .map(|mut threads| std::mem::take(&mut *threads))
            .unwrap_or_default();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn open_here(options: StoreOptions) -> Result<Store, StoreError> {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let (db, shared) = open(options)?;
    let shared = Arc::new(shared);
    let engine = shared.engine;
    let readers = Readers::start(&shared)?;
    let (jobs, waiting) = sync_channel(shared.options.queue_commits_max.max(1));
    let mut threads = Vec::new();
    let mut checkpoints = None;
    if engine == Engine::Sqlite {
        let (ask, asked): (SyncSender<()>, Receiver<()>) = sync_channel(1);
        let shared = shared.clone();
        threads.push(spawn("checkpoint", move || checkpoint(&shared, &asked))?);
        checkpoints = Some(ask);
    }
    let writer = shared.clone();
    threads.insert(
        0,
        spawn("writer", move || {
            write(db, &writer, &waiting, checkpoints.as_ref())
        })?,
    );
    let inner = Inner {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        shared,
        readers,
        jobs: Mutex::new(Some(jobs)),
        threads: Mutex::new(threads),
    };
    Ok(match engine {
        Engine::Sqlite => Store::Sqlite(Arc::new(inner)),
        Engine::Postgres => Store::Postgres(Arc::new(inner)),
    })
}
