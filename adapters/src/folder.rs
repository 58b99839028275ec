//! The file drop: takes HL7 v2 files out of a folder, one message, several or batches, and leaves answers beside them.
//!
//! Contract: `adapters/README.md`, "HL7 v2 in files". A file is claimed by renaming it into `work/`, so that one process
//! has it; after a crash it is still there and is read from its start, and the store recognises what it has already.
//!
//! Left out on purpose: watching for events. Looking at intervals works on every file system, shares included.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::file_run::{Ended, FileRun};
use crate::listener::{Settings, Surroundings};
use crate::pipeline::Pipeline;
use crate::port::{Adapter, Gateway, Running};
use crate::shared::Shared;
use crate::stop::Stop;

/// Seconds between two looks.
pub const POLL_S: u64 = 5;
/// Files taken at one look; the others are taken at the next.
const FILES_MAX: usize = 10_000;
/// Ends of names that are not taken: their writers rename them when they are whole.
const UNFINISHED: [&str; 3] = [".tmp", ".part", ".filepart"];

/// Waits for a time; passed in so that tests need no clock.
pub type Pause = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Which messages of a file are acknowledged in its `.ack` file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchAcknowledge {
    /// Each that asks for it.
    #[default]
    All,
    /// Those that were not accepted.
    Errors,
    /// None; there is no `.ack` file.
    None,
}

/// Settings of a file drop.
#[derive(Debug, Clone)]
pub struct FolderSettings {
    /// Where files are put; `work`, `done` and `error` are made inside.
    pub folder: PathBuf,
    /// Time between two looks.
    pub poll: Duration,
    /// Which messages are acknowledged.
    pub acknowledge: BatchAcknowledge,
}

/// The places of a file drop.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub inbox: PathBuf,
    pub work: PathBuf,
    pub done: PathBuf,
    pub error: PathBuf,
}

impl Places {
    fn make(folder: &Path) -> io::Result<Self> {
        let places = Self {
            inbox: folder.to_owned(),
            work: folder.join("work"),
            done: folder.join("done"),
            error: folder.join("error"),
        };
        for place in [&places.inbox, &places.work, &places.done, &places.error] {
            fs::create_dir_all(place)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", place.display())))?;
        }
        Ok(places)
    }
}

/// The adapter, before it starts.
pub struct Folder {
    folder: FolderSettings,
    settings: Settings,
    pipeline: Pipeline,
    surroundings: Surroundings,
    pause: Pause,
    counters: Arc<Counters>,
}

impl Folder {
    /// An adapter that is not looking yet. Of `settings` the limits of size and number count.
    pub fn new(
        folder: FolderSettings,
        settings: Settings,
        pipeline: Pipeline,
        surroundings: Surroundings,
        pause: Pause,
    ) -> Self {
        Self {
            folder,
            settings,
            pipeline,
            surroundings,
            pause,
            counters: Arc::default(),
        }
    }

    /// The same, counting on where another one of the same feed has ended.
    #[must_use]
    pub fn with_counters(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// Its counts, which go on after the start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Adapter for Folder {
    fn kind(&self) -> &'static str {
        "folder"
    }

    fn start(
        self: Box<Self>,
        gateway: Arc<dyn Gateway>,
        stop: Stop,
    ) -> Pin<Box<dyn Future<Output = io::Result<Running>> + Send>> {
        Box::pin(async move {
            let places = Places::make(&self.folder.folder)?;
            let shared = Shared::new(
                self.settings,
                Arc::new(self.pipeline),
                gateway,
                self.surroundings,
                self.counters,
            );
            let watcher = Watcher {
                places,
                shared,
                acknowledge: self.folder.acknowledge,
                poll: self.folder.poll,
                pause: self.pause,
                seen: HashMap::new(),
                stop,
            };
            Ok(Running {
                address: None,
                finished: tokio::spawn(watcher.run()),
            })
        })
    }
}

/// Length and time of the last change: a file that keeps both between two looks is whole.
type Shape = (u64, Option<SystemTime>);

struct Watcher {
    places: Places,
    shared: Arc<Shared>,
    acknowledge: BatchAcknowledge,
    poll: Duration,
    pause: Pause,
    /// What lay in the folder at the last look.
    seen: HashMap<OsString, Shape>,
    stop: Stop,
}

impl Watcher {
    async fn run(mut self) {
        while !self.stop.is_asked() {
            if let Err(error) = self.look().await {
                tracing::error!(%error, folder = %self.places.inbox.display(), "the folder cannot be read");
            }
            let pause = (self.pause)(self.poll);
            tokio::select! {
                biased;
                () = self.stop.asked() => return,
                () = pause => {}
            }
        }
    }

    /// Finishes what was claimed, then claims what is whole, in the order of names.
    async fn look(&mut self) -> io::Result<()> {
        for (name, _) in self.list(|places| &places.work).await? {
            if !is_answer(&name) && !self.process(&name).await {
                return Ok(());
            }
        }
        let files = self.list(|places| &places.inbox).await?;
        let seen = std::mem::take(&mut self.seen);
        for (name, shape) in files {
            if seen.get(&name) != Some(&shape) {
                self.seen.insert(name, shape);
                continue;
            }
            if self.stop.is_asked() {
                return Ok(());
            }
            match fs::rename(self.places.inbox.join(&name), self.places.work.join(&name)) {
                Ok(()) => {}
                // Another process was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            }
            if !self.process(&name).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Off the threads that serve others: a share that is gone can hang.
    async fn list(
        &self,
        place: impl FnOnce(&Places) -> &PathBuf,
    ) -> io::Result<Vec<(OsString, Shape)>> {
        let folder = place(&self.places).clone();
        tokio::task::spawn_blocking(move || list(&folder))
            .await
            .map_err(io::Error::other)?
    }

    /// Whether the next file may follow.
    async fn process(&mut self, name: &OsString) -> bool {
        let mut run = FileRun::new(
            &self.places,
            name,
            Arc::clone(&self.shared),
            self.acknowledge,
        );
        loop {
            match run.go(&self.stop).await {
                Ok(Ended::Finished) => return true,
                Ok(Ended::Stopped) => return false,
                Ok(Ended::NotStored) => {
                    tracing::warn!("a file waits: the store takes nothing at the moment");
                    let pause = (self.pause)(self.poll);
                    tokio::select! {
                        biased;
                        () = self.stop.asked() => return false,
                        () = pause => {}
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a file cannot be read or moved; it stays in `work`");
                    return true;
                }
            }
        }
    }
}

/// Whether a file in `work` is one that we write.
fn is_answer(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.ends_with(".ack") || name.ends_with(".error")
}

/// Files of a folder by name.
fn list(folder: &Path) -> io::Result<Vec<(OsString, Shape)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with('.') || UNFINISHED.iter().any(|end| text.ends_with(end)) {
            continue;
        }
        // It may be gone by now.
        let Ok(data) = entry.metadata() else { continue };
        if data.is_file() {
            files.push((name, (data.len(), data.modified().ok())));
        }
    }
    files.sort();
    files.truncate(FILES_MAX);
    Ok(files)
}
