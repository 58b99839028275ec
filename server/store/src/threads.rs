//! The store's threads: one writer, some readers, and for SQLite one that folds the log away.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::api::Committed;
use crate::db::{Db, Engine};
use crate::error::{CommitError, StoreError};
use crate::open::{PAGE_BYTES, Purpose, connect};
use crate::read::Reader;
use crate::shared::{Shared, thread_died};
use crate::write::{Group, PreparedCommit};

/// Something the writer does between groups.
pub(crate) type Task = Box<dyn FnOnce(&mut Group<'_>) + Send>;
/// Something a reader does.
pub(crate) type Query = Box<dyn FnOnce(&mut Reader<'_>) -> Outcome + Send>;

/// Whether a reader's connection can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Usable,
    Broken,
}

/// A commit that waits, with where to send the answer.
pub(crate) enum Job {
    Commit(
        Box<PreparedCommit>,
        oneshot::Sender<Result<Committed, CommitError>>,
    ),
    Task(Task),
}

/// With no commit for this long the log is folded away while nobody waits.
const IDLE: Duration = Duration::from_secs(5);

/// Times `checkpoint_bytes` after which the writer itself folds the log; commits wait meanwhile, so that this is rare.
const LOG_CHECKPOINTS_MAX: u64 = 4;

/// Starts a named thread.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let builder = std::thread::Builder::new().name(format!("store-{name}"));
    builder
        .spawn(work)
        .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))
}

/// The writer.
pub(crate) fn write(
    mut db: Db,
    shared: &Shared,
    jobs: &Receiver<Job>,
    checkpoints: Option<&SyncSender<()>>,
) {
    let (mut log_bytes, mut unfolded_bytes) = (0, 0);
    loop {
        let first = match jobs.recv_timeout(IDLE) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                if log_bytes > 0 {
                    log_bytes = 0;
                    ask(checkpoints);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut commits = Vec::new();
        let mut task = None;
        match first {
            Job::Commit(commit, answer) => commits.push((commit, answer)),
            Job::Task(work) => task = Some(work),
        }
        while task.is_none() && commits.len() < shared.options.group_commits_max {
            match jobs.try_recv() {
                Ok(Job::Commit(commit, answer)) => commits.push((commit, answer)),
                Ok(Job::Task(work)) => task = Some(work),
                Err(_) => break,
            }
        }
        if task.is_none() && !commits.is_empty() {
            task = gather(shared, jobs, &mut commits);
        }
        shared.counters.queue_commits.fetch_sub(
            (commits.len() + usize::from(task.is_some())) as u64,
            Ordering::Relaxed,
        );
        log_bytes += estimated_log_bytes(&commits);
        write_group(&mut db, shared, commits);
        if let Some(work) = task {
            reconnect_if_needed(&mut db, shared);
            work(&mut Group {
                db: &mut db,
                shared,
            });
            log_bytes += GROUP_PAGES * PAGE_BYTES;
        }
        if log_bytes > shared.options.checkpoint_bytes {
            unfolded_bytes += log_bytes;
            log_bytes = 0;
            ask(checkpoints);
        }
        if unfolded_bytes > LOG_CHECKPOINTS_MAX * shared.options.checkpoint_bytes
            && checkpoints.is_some()
        {
            // While groups follow each other, the other thread folds but never to the end, and the log only grows.
            // Here nothing is written meanwhile: the next group begins the log anew.
            unfolded_bytes = 0;
            let _ = db.batch("PRAGMA wal_checkpoint(PASSIVE)");
        }
    }
    if db.engine() == Engine::Sqlite {
        // Whatever stays in the log is found there at the next start.
        let _ = db.batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Waits for more commits where groups are wanted large; a task ends the wait and is answered.
fn gather(shared: &Shared, jobs: &Receiver<Job>, commits: &mut Vec<Waiting>) -> Option<Task> {
    let count = |commits: &[Waiting]| -> usize {
        commits.iter().map(|(commit, _)| commit.changes.len()).sum()
    };
    let mut changes = count(commits);
    while changes < shared.options.group_changes_min {
        match jobs.recv_timeout(crate::StoreOptions::GROUP_IDLE_MAX) {
            Ok(Job::Commit(commit, answer)) => {
                changes += commit.changes.len();
                commits.push((commit, answer));
            }
            Ok(Job::Task(work)) => return Some(work),
            Err(_) => break,
        }
    }
    None
}

type Waiting = (
    Box<PreparedCommit>,
    oneshot::Sender<Result<Committed, CommitError>>,
);

fn write_group(db: &mut Db, shared: &Shared, waiting: Vec<Waiting>) {
    if waiting.is_empty() {
        return;
    }
    reconnect_if_needed(db, shared);
    let commits: Vec<&PreparedCommit> = waiting.iter().map(|(commit, _)| commit.as_ref()).collect();
    let answers = Group { db, shared }.run(&commits);
    for ((_, sender), answer) in waiting.into_iter().zip(answers) {
        // A caller that went away does not need the answer.
        let _ = sender.send(answer);
    }
}

/// PostgreSQL's connection may have been closed while nobody wrote.
fn reconnect_if_needed(db: &mut Db, shared: &Shared) {
    if db.engine() == Engine::Postgres
        && db.batch("SELECT 1").is_err()
        && let Ok(fresh) = connect(Engine::Postgres, &shared.options, Purpose::Write)
    {
        *db = fresh;
    }
}

/// Pages of the log a group takes beside its commits.
const GROUP_PAGES: u64 = 8;

/// Pages of the log a change takes, measured with groups of some hundred.
const CHANGE_PAGES: u64 = 6;

fn estimated_log_bytes(waiting: &[Waiting]) -> u64 {
    let changes: usize = waiting
        .iter()
        .map(|(commit, _)| commit.changes.len() + commit.audit.len())
        .sum();
    (GROUP_PAGES + CHANGE_PAGES * changes as u64) * PAGE_BYTES
}

fn ask(checkpoints: Option<&SyncSender<()>>) {
    if let Some(checkpoints) = checkpoints {
        // A full channel means that one is under way.
        let _ = checkpoints.try_send(());
    }
}

/// Folds SQLite's log into the database when asked to.
pub(crate) fn checkpoint(shared: &Shared, asked: &Receiver<()>) {
    let Ok(mut db) = connect(Engine::Sqlite, &shared.options, Purpose::Write) else {
        return;
    };
    while asked.recv().is_ok() {
        if let Err(error) = db.batch("PRAGMA wal_checkpoint(PASSIVE)") {
            tracing::warn!(%error, "the write-ahead log could not be folded into the database");
        }
    }
}

/// The readers' queue.
pub(crate) struct Readers {
    queue: Mutex<Option<SyncSender<Query>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel::<Query>(shared.options.queue_reads_max.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for _ in 0..shared.options.reader_threads.max(1) {
            let (shared, receiver) = (shared.clone(), receiver.clone());
            threads.push(spawn("reader", move || read(&shared, &receiver))?);
        }
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })
    }

    /// Hands work to a reader.
    pub(crate) fn send(&self, query: Query) -> Result<(), StoreError> {
        let queue = self.queue.lock().map_err(|_| thread_died())?;
        let queue = queue
            .as_ref()
            .ok_or_else(|| StoreError::Unavailable("the store is closed".into()))?;
        queue.try_send(query).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => thread_died(),
        })
    }

    /// Lets the readers finish.
    pub(crate) fn stop(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
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

fn read(shared: &Shared, queue: &Mutex<Receiver<Query>>) {
    let mut db = None;
    loop {
        let query = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(query) = query else { return };
        if db.is_none() {
            db = connect(shared.engine, &shared.options, Purpose::Read).ok();
        }
        match &mut db {
            // Dropping the query tells its caller that nothing answers.
            None => drop(query),
            Some(connection) => {
                if query(&mut Reader {
                    db: connection,
                    shared,
                }) == Outcome::Broken
                {
                    db = None;
                }
            }
        }
    }
}
