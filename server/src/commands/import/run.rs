//! The import itself: many pieces at a time, each a transaction of its own.

use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use conformance::Definitions;
use fhir_core::access::Access;
use fhir_core::body::resource_type_name;
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, ValueRef};
use fhir_store::StoreOptions;
use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::files::{self, Form, SourceFile};
use crate::app::Server;
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::interactions::batch;
use crate::interactions::transaction::{self, Unresolved};
use crate::write::{Attempts, Draft, Effect, Need, Plan, Step, check_resource};

/// Resources of one commit: large enough that the commit's own cost vanishes.
const CHUNK_RESOURCES: usize = 500;

/// Bytes of one commit, about: several are in memory at a time.
const CHUNK_BYTES: usize = 4 << 20;

/// Longest NDJSON line, in bytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Pieces in work: as many as the store gathers into one group, and as many again that are worked out meanwhile.
const PIECES: usize = 2 * StoreOptions::LOAD_CHANGES / CHUNK_RESOURCES;

/// Rounds for Bundles that refer to resources of other Bundles: each must bring at least one further.
const ROUNDS_MAX: usize = 16;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Resources carried out.
    pub resources: u64,
    /// Of these, the same as before.
    pub unchanged: u64,
    /// Place and reason of each failure.
    pub failures: Vec<String>,
}

/// An import under way.
pub struct Run {
    server: Arc<Server>,
    access: Access,
    progress: ProgressBar,
    resources: AtomicU64,
    unchanged: AtomicU64,
    failures: Mutex<Vec<String>>,
    deferred: Mutex<Vec<(SourceFile, String)>>,
    is_last_round: AtomicBool,
}

/// A resource and where it stood, for the report.
struct Item {
    place: String,
    document: Document,
}

impl Run {
    /// An import that has not begun.
    pub fn new(server: Arc<Server>, access: Access, progress: ProgressBar) -> Arc<Self> {
        Arc::new(Self {
            server,
            access,
            progress,
            resources: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            failures: Mutex::new(Vec::new()),
            deferred: Mutex::new(Vec::new()),
            is_last_round: AtomicBool::new(false),
        })
    }

    /// Imports the files. A transaction that fails because what it refers to is not there yet is tried again after the
    /// others, as long as each round brings one further.
    pub async fn import(self: &Arc<Self>, sources: Vec<SourceFile>) -> Report {
        let file_count = sources.len() as u64;
        let mut groups: BTreeMap<u8, Vec<SourceFile>> = BTreeMap::new();
        for file in sources {
            groups.entry(rank(&file)).or_default().push(file);
        }
        for (_, group) in groups {
            self.round(group).await;
        }
        for _ in 0..ROUNDS_MAX {
            let waiting = std::mem::take(&mut *lock(&self.deferred));
            if waiting.is_empty() {
                break;
            }
            let before = waiting.len();
            self.round(waiting.into_iter().map(|(file, _)| file).collect())
                .await;
            if lock(&self.deferred).len() == before {
                break;
            }
        }
        // What still finds nothing refers to resources of other files: their identifiers are kept.
        self.is_last_round.store(true, Ordering::Relaxed);
        let waiting = std::mem::take(&mut *lock(&self.deferred));
        self.round(waiting.into_iter().map(|(file, _)| file).collect())
            .await;
        for (file, why) in std::mem::take(&mut *lock(&self.deferred)) {
            self.fail(&file.path.display().to_string(), &why);
        }
        Report {
            files: file_count,
            resources: self.resources.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            failures: std::mem::take(&mut *lock(&self.failures)),
        }
    }

    async fn round(self: &Arc<Self>, sources: Vec<SourceFile>) {
        let permits = Arc::new(Semaphore::new(PIECES));
        let mut tasks = JoinSet::new();
        for file in sources {
            match file.form {
                Form::Json => {
                    let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                        break;
                    };
                    let run = Arc::clone(self);
                    tasks.spawn(async move {
                        run.json(&file).await;
                        run.progress.inc(file.bytes);
                        drop(permit);
                    });
                }
                Form::Ndjson => self.ndjson(&file, &permits, &mut tasks).await,
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Reads lines and hands them on in chunks.
    async fn ndjson(
        self: &Arc<Self>,
        file: &SourceFile,
        permits: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) {
        let name = file.path.display().to_string();
        let mut reader = match files::open(file) {
            Ok(reader) => reader,
            Err(error) => return self.fail(&name, &error.to_string()),
        };
        let mut number = 0usize;
        loop {
            let mut lines = Vec::new();
            let mut bytes = 0;
            let mut is_end = false;
            while lines.len() < CHUNK_RESOURCES && bytes < CHUNK_BYTES {
                number += 1;
                let mut line = Vec::new();
                match read_line(&mut *reader, &mut line) {
                    Ok(0) => is_end = true,
                    Ok(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
                    Ok(_) => {
                        bytes += line.len();
                        lines.push((number, line));
                        continue;
                    }
                    Err(error) => {
                        self.fail(&format!("{name}:{number}"), &error);
                        is_end = true;
                    }
                }
                break;
            }
            if !lines.is_empty() {
                let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
                    return;
                };
                let (run, name) = (Arc::clone(self), name.clone());
                tasks.spawn(async move {
                    run.lines(&name, lines).await;
                    run.progress.inc(bytes as u64);
                    drop(permit);
                });
            }
            if is_end {
                return;
            }
        }
    }

    async fn lines(&self, name: &str, lines: Vec<(usize, Vec<u8>)>) {
        let mut items = Vec::with_capacity(lines.len());
        for (number, line) in lines {
            let place = format!("{name}:{number}");
            match Document::parse(&line) {
                Ok(document) => items.push(Item { place, document }),
                Err(error) => self.fail(&place, &error.to_string()),
            }
        }
        self.put_all(items).await;
    }

    async fn json(&self, file: &SourceFile) {
        let name = file.path.display().to_string();
        let document = match files::read_whole(file) {
            Ok(text) => Document::parse_text(text).map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        let document = match document {
            Ok(document) => document,
            Err(error) => return self.fail(&name, &error),
        };
        let root = document.root();
        let bundle_type = match resource_type_name(root).as_deref() {
            Some("Bundle") => root
                .get("type")
                .and_then(|name| name.as_str())
                .map(|name| name.into_owned()),
            _ => None,
        };
        match bundle_type.as_deref() {
            Some("transaction") => self.transaction(file, &document).await,
            Some("batch") => self.batch(&name, &document).await,
            Some("collection" | "searchset" | "history" | "document") => {
                self.entries(&name, root).await
            }
            _ => {
                self.put_all(vec![Item {
                    place: name,
                    document,
                }])
                .await
            }
        }
    }

    async fn transaction(&self, file: &SourceFile, document: &Document) {
        let unresolved = if self.is_last_round.load(Ordering::Relaxed) {
            Unresolved::KeepIdentifier
        } else {
            Unresolved::Refuse
        };
        match transaction::carry_out(&self.server, &self.access, document.root(), unresolved).await
        {
            Ok(written) => self.count(written.iter().map(|written| written.effect)),
            Err(problem)
                if matches!(
                    problem.kind(),
                    ErrorKind::BAD_ENTRY | ErrorKind::MULTIPLE_MATCHES
                ) =>
            {
                lock(&self.deferred).push((file.clone(), problem.to_string()));
            }
            Err(problem) => self.fail(&file.path.display().to_string(), &problem.to_string()),
        }
    }

    async fn batch(&self, name: &str, document: &Document) {
        match batch::carry_out(&self.server, &self.access, document.root(), Return::Minimal).await {
            Ok(answers) => {
                for (index, answer) in answers.into_iter().enumerate() {
                    match answer {
                        Ok(_) => self.count([Effect::Updated]),
                        Err(problem) => {
                            self.fail(&format!("{name}: entry[{index}]"), &problem.to_string())
                        }
                    }
                }
            }
            Err(problem) => self.fail(name, &problem.to_string()),
        }
    }

    /// The entries of a Bundle that is data, not a request.
    async fn entries(&self, name: &str, bundle: ValueRef<'_>) {
        let mut items = Vec::new();
        let entries = bundle.get("entry").into_iter().flat_map(ValueRef::items);
        for (index, entry) in entries.enumerate() {
            let place = format!("{name}: entry[{index}]");
            let Some(resource) = entry.get("resource") else {
                self.fail(&place, "the entry has no resource");
                continue;
            };
            match Document::parse(resource.raw().as_bytes()) {
                Ok(document) => items.push(Item { place, document }),
                Err(error) => self.fail(&place, &error.to_string()),
            }
        }
        self.put_all(items).await;
    }

    /// Puts resources under their ids, in commits of bounded size; a resource occurs at most once in a commit.
    async fn put_all(&self, items: Vec<Item>) {
        let mut drafts: Vec<(String, Put)> = Vec::new();
        let mut keys = HashSet::new();
        for Item { place, document } in items {
            let put = match self.to_put(document) {
                Ok(put) => put,
                Err(problem) => {
                    self.fail(&place, &problem.to_string());
                    continue;
                }
            };
            if drafts.len() >= CHUNK_RESOURCES || !keys.insert(put.key.clone()) {
                self.commit(std::mem::take(&mut drafts)).await;
                keys = HashSet::from([put.key.clone()]);
            }
            drafts.push((place, put));
        }
        self.commit(drafts).await;
    }

    fn to_put(&self, document: Document) -> Result<Put, Problem> {
        let root = document.root();
        let name = resource_type_name(root).unwrap_or_default();
        let resource_type = Definitions::r4().resource_type(&name).ok_or_else(|| {
            Problem::new(
                ErrorKind::UNKNOWN_TYPE,
                "`resourceType` names no type of FHIR R4",
            )
        })?;
        check_resource(&self.server, resource_type, root)?;
        let given = root.get("id").and_then(|id| id.as_str());
        let (id, need) = match given.as_deref() {
            Some(id) => {
                let id = ResourceId::parse(id).ok_or_else(|| {
                    Problem::new(
                        ErrorKind::BAD_ID,
                        "`id` has 1 to 64 characters of A-Z a-z 0-9 - .",
                    )
                })?;
                (id, Need::Nothing)
            }
            None => ((self.server.ids)(), Need::NewId),
        };
        Ok(Put {
            key: ResourceKey { resource_type, id },
            need,
            document: Arc::new(document),
        })
    }

    async fn commit(&self, puts: Vec<(String, Put)>) {
        if puts.is_empty() {
            return;
        }
        let mut attempts = Attempts::new(&self.server);
        let result = loop {
            let drafts = puts.iter().map(|(_, put)| Draft {
                key: put.key.clone(),
                step: Step::PutChecked(Arc::clone(&put.document)),
                need: put.need.clone(),
                interaction: Interaction::Update,
            });
            let plan = Plan {
                drafts: drafts.collect(),
                ..Plan::default()
            };
            match attempts.submit(&self.access, plan).await {
                Ok(None) => {}
                Ok(Some(written)) => break Ok(written),
                Err(problem) => break Err(problem),
            }
        };
        match result {
            Ok(written) => self.count(written.iter().map(|written| written.effect)),
            Err(problem) => puts
                .iter()
                .for_each(|(place, _)| self.fail(place, &problem.to_string())),
        }
    }

    fn count(&self, effects: impl IntoIterator<Item = Effect>) {
        let (mut all, mut same) = (0, 0);
        for effect in effects {
            all += 1;
            same += u64::from(effect == Effect::Unchanged);
        }
        let total = self.resources.fetch_add(all, Ordering::Relaxed) + all;
        self.unchanged.fetch_add(same, Ordering::Relaxed);
        let seconds = self.progress.elapsed().as_secs().max(1);
        self.progress
            .set_message(format!("{total} resources, {} a second", total / seconds));
    }

    fn fail(&self, place: &str, why: &str) {
        lock(&self.failures).push(format!("{place}: {why}"));
    }
}

/// Which files come first. Patients' records refer by identifier to the organizations and practitioners that sample
/// data generators write into files of their own, with these names.
fn rank(file: &SourceFile) -> u8 {
    let name = file
        .path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    match () {
        () if name.contains("hospitalinformation") => 0,
        () if name.contains("practitionerinformation") => 1,
        () => 2,
    }
}

/// A resource ready to be put.
struct Put {
    key: ResourceKey,
    need: Need,
    document: Arc<Document>,
}

/// Reads one line, bounded.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<usize, String> {
    let count = std::io::Read::take(reader, LINE_BYTES_MAX as u64 + 1)
        .read_until(b'\n', line)
        .map_err(|e| e.to_string())?;
    if count > LINE_BYTES_MAX {
        return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
    }
    Ok(count)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
