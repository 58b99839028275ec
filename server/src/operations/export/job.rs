//! Exports under way and finished ones: their folders, limits and end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fhir_core::access::Access;
use fhir_core::issue::{ErrorKind, Problem};

use super::{Request, write};
use crate::app::Server;

/// Exports under way at a time: each reads as fast as it can.
const RUNNING_MAX: usize = 4;

/// Finished exports kept; the oldest is removed for a new one.
const KEPT_MAX: usize = 16;

/// The file that marks a finished export.
const MANIFEST: &str = "manifest.json";

/// How far an export is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Resources written.
    pub resources: AtomicU64,
    /// Whether it shall stop.
    pub is_stopped: AtomicBool,
    failure: Mutex<Option<Problem>>,
}

/// What is told of an export.
pub enum Status {
    /// It goes on; text for people.
    Running(String),
    /// It is done: the manifest.
    Done(Bytes),
    /// It could not be done.
    Failed(Problem),
}

/// All exports.
#[derive(Debug)]
pub struct Jobs {
    folder: PathBuf,
    running: Mutex<HashMap<String, Arc<Progress>>>,
}

impl Jobs {
    /// The exports of a folder; it is made when the first begins.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an export; answers its id.
    ///
    /// # Errors
    /// `overloaded` when too many are under way; `unavailable` when there is no room for files
    pub fn begin(
        &self,
        server: &Arc<Server>,
        access: Access,
        request: Request,
    ) -> Result<String, Problem> {
        let id = (server.ids)().to_string();
        let progress = Arc::new(Progress::default());
        {
            let mut running = self.running();
            let busy = running.values().filter(|p| p.failure().is_none()).count();
            if busy >= RUNNING_MAX {
                let text = format!("{RUNNING_MAX} exports are under way; try again later");
                return Err(Problem::new(ErrorKind::OVERLOADED, text));
            }
            running.insert(id.clone(), Arc::clone(&progress));
        }
        self.make_room();
        let folder = self.folder.join(&id);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            self.running().remove(&id);
            return Err(no_room(&error));
        }
        let (server, job) = (Arc::clone(server), id.clone());
        let runtime = server.runtime.clone();
        runtime.spawn(async move {
            let result = write::all(&server, &access, &request, &job, &folder, &progress).await;
            let result = result.and_then(|manifest| {
                std::fs::write(folder.join(MANIFEST), manifest).map_err(|e| no_room(&e))
            });
            if let Err(problem) = result {
                let _ = std::fs::remove_dir_all(&folder);
                if !progress.is_stopped.load(Ordering::Relaxed) {
                    tracing::warn!(export.id = %job, %problem, "an export failed");
                    *progress.failure_slot() = Some(problem);
                    return;
                }
            }
            server.exports.running().remove(&job);
        });
        Ok(id)
    }

    /// How far an export is.
    ///
    /// # Errors
    /// `not-found`
    pub fn status(&self, id: &str) -> Result<Status, Problem> {
        if let Some(progress) = self.running().get(id) {
            if let Some(problem) = progress.failure() {
                return Ok(Status::Failed(problem));
            }
            let count = progress.resources.load(Ordering::Relaxed);
            return Ok(Status::Running(format!("{count} resources written")));
        }
        let manifest = std::fs::read(self.folder_of(id)?.join(MANIFEST));
        manifest
            .map(|bytes| Status::Done(bytes.into()))
            .map_err(|_| not_found())
    }

    /// Stops an export and removes its files.
    ///
    /// # Errors
    /// `not-found`
    pub fn delete(&self, id: &str) -> Result<(), Problem> {
        let folder = self.folder_of(id)?;
        let was_running = self.running().remove(id);
        if let Some(progress) = &was_running {
            progress.is_stopped.store(true, Ordering::Relaxed);
        }
        match std::fs::remove_dir_all(folder) {
            Err(_) if was_running.is_none() => Err(not_found()),
            _ => Ok(()),
        }
    }

    /// A file of a finished export.
    ///
    /// # Errors
    /// `not-found`
    pub fn file(&self, id: &str, name: &str) -> Result<Bytes, Problem> {
        let is_plain = name.ends_with(".ndjson")
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
            && !name.contains("..");
        let folder = self.folder_of(id)?;
        if !is_plain || !folder.join(MANIFEST).is_file() {
            return Err(not_found());
        }
        std::fs::read(folder.join(name))
            .map(Bytes::from)
            .map_err(|_| not_found())
    }

    /// The folder of an id; what is no id has none, so that no other file can be reached.
    fn folder_of(&self, id: &str) -> Result<PathBuf, Problem> {
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if is_id {
            Ok(self.folder.join(id))
        } else {
            Err(not_found())
        }
    }

    /// Removes the oldest finished exports.
    fn make_room(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let made = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
        let mut finished: Vec<(Option<std::time::SystemTime>, PathBuf)> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.join(MANIFEST).is_file())
            .map(|path| (made(&path.join(MANIFEST)), path))
            .collect();
        finished.sort();
        let surplus = (finished.len() + 1).saturating_sub(KEPT_MAX);
        for (_, path) in finished.into_iter().take(surplus) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl Progress {
    fn failure_slot(&self) -> MutexGuard<'_, Option<Problem>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> Option<Problem> {
        self.failure_slot().clone()
    }
}

fn not_found() -> Problem {
    let text = "there is no such export; finished ones are removed when newer ones need the room";
    Problem::new(ErrorKind::NOT_FOUND, text)
}

pub(super) fn no_room(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "an export cannot be written");
    let text = "the export's files cannot be written; the server's log has more";
    Problem::new(ErrorKind::UNAVAILABLE, text)
}
