//! The tenants of this server: those of the settings' folder and those registered while it runs.
//!
//! A tenant is one TOML file, see `docs/guide/ehr-tenant.md`. Left out: noticing that a file of the folder changed; the
//! server reads the folder when it starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ehr::run::Run;
use ehr::tenant::Tenant;
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::runner;
use crate::app::{Server, store_problem};

/// Tenants of one server: more hospitals than a region has.
const TENANTS_MAX: usize = 1_000;
/// Largest tenant file, in bytes: a list of 100,000 patients with room around it.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Where a tenant comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file of the settings' folder.
    File(PathBuf),
    /// Registered while running; kept in the database.
    Registered,
}

/// A tenant at this server.
pub struct Entry {
    /// What its file says.
    pub tenant: Arc<Tenant>,
    /// Where it comes from.
    pub origin: Origin,
    pub(super) now: Mutex<Now>,
    /// Its one permit is held by the run under way until its record is kept and it is closed.
    pub(super) lane: Arc<Semaphore>,
    /// Its one permit is held while something is written to the EHR, or a single patient is fetched.
    pub(super) errand: Semaphore,
}

/// What a tenant is doing.
#[derive(Default)]
pub(super) struct Now {
    /// The run under way and when it began.
    pub(super) run: Option<(Arc<Run>, Instant)>,
    /// The UTC day of the budget and what was spent of it.
    pub(super) spent: (i64, u32),
    /// Pages that failed in a row, and until when the EHR is left alone.
    pub(super) breaker: (u32, i64),
    /// The schedule, or a run that was asked for.
    pub(super) tasks: Vec<JoinHandle<()>>,
}

impl Entry {
    fn new(tenant: Tenant, origin: Origin) -> Arc<Self> {
        Arc::new(Self {
            tenant: Arc::new(tenant),
            origin,
            now: Mutex::default(),
            lane: Arc::new(Semaphore::new(1)),
            errand: Semaphore::new(1),
        })
    }

    pub(super) fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another run can begin: none is under way, not even one that is being closed.
    pub fn is_free(&self) -> bool {
        self.lane.available_permits() > 0
    }

    /// The run under way and when it began.
    pub fn running(&self) -> Option<(Arc<Run>, Instant)> {
        self.now().run.clone()
    }

    /// Keeps a task with the tenant, and forgets those that ended.
    pub(super) fn keep(&self, task: JoinHandle<()>) {
        let mut now = self.now();
        now.tasks.retain(|task| !task.is_finished());
        now.tasks.push(task);
    }

    /// Stops schedule and run. Whatever is committed stays, and the next run goes on from there.
    fn stop(&self) {
        let mut now = self.now();
        now.tasks.drain(..).for_each(|task| task.abort());
        now.run = None;
    }
}

/// All tenants, by name.
#[derive(Default)]
pub struct Tenants {
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
}

impl Tenants {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tenants, by name.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().values().cloned().collect()
    }

    /// The tenant of a name.
    ///
    /// # Errors
    /// `not-found`
    pub fn get(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        let found = self.entries().get(name).cloned();
        found.ok_or_else(|| {
            let text = "there is no tenant of this name; `GET /admin/tenants` lists them";
            Problem::new(ErrorKind::NOT_FOUND, text)
        })
    }

    /// Reads folder and database, and starts the schedules.
    ///
    /// # Errors
    /// A file that cannot be used, with its line; two tenants of one name; a database that does not answer.
    pub async fn start(server: &Arc<Server>) -> Result<(), String> {
        let mut entries = BTreeMap::new();
        for (path, tenant) in read_folder(server.config.tenants.as_deref())? {
            let name = tenant.name.clone();
            let entry = Entry::new(tenant, Origin::File(path.clone()));
            if entries.insert(name, entry).is_some() {
                let text = "another file of the folder has the same `tenant`";
                return Err(format!("{}: {text}", path.display()));
            }
        }
        let registered = server
            .store
            .ehr_tenants()
            .await
            .map_err(|e| e.to_string())?;
        for row in registered {
            match Tenant::parse(&row.toml) {
                Ok(_) if entries.contains_key(&row.name) => {
                    tracing::warn!(tenant = %row.name, "registered and in the tenants folder; the file counts");
                }
                Ok(tenant) => {
                    entries.insert(row.name, Entry::new(tenant, Origin::Registered));
                }
                // One tenant of another release must not keep the server from starting.
                Err(error) => {
                    tracing::error!(tenant = %row.name, %error, "a registered tenant cannot be used; register it again");
                }
            }
        }
        for entry in entries.values() {
            runner::schedule(server, entry);
        }
        if !entries.is_empty() {
            tracing::info!(tenants = entries.len(), "EHR tenants are known");
        }
        *server.tenants.entries() = entries;
        Ok(())
    }

    /// Registers a tenant, or replaces a registered one of the same name; answers whether it is new.
    ///
    /// # Errors
    /// `bad-parameter-value` with the line of the file; `write-conflict` when a file of the folder has that name.
    pub async fn register(server: &Arc<Server>, toml: &str) -> Result<(Arc<Entry>, bool), Problem> {
        let tenant = Tenant::parse(toml)
            .map_err(|error| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, error.to_string()))?;
        let name = tenant.name.clone();
        {
            let entries = server.tenants.entries();
            match entries.get(&name).map(|entry| &entry.origin) {
                Some(Origin::File(_)) => {
                    let text = "a file of the tenants folder has this `tenant`; change the file";
                    return Err(Problem::new(ErrorKind::WRITE_CONFLICT, text));
                }
                None if entries.len() >= TENANTS_MAX => {
                    let text = format!("this server keeps {TENANTS_MAX} tenants at most");
                    return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
                }
                _ => {}
            }
        }
        let kept = server.store.ehr_put_tenant(&name, toml).await;
        kept.map_err(|e| store_problem(&e))?;
        let entry = Entry::new(tenant, Origin::Registered);
        let before = server.tenants.entries().insert(name, Arc::clone(&entry));
        if let Some(before) = &before {
            before.stop();
        }
        runner::schedule(server, &entry);
        tracing::info!(tenant = %entry.tenant.name, "EHR tenant registered");
        Ok((entry, before.is_none()))
    }

    /// Forgets a registered tenant. What it brought stays, with its cursors.
    ///
    /// # Errors
    /// `not-found`; `write-conflict` when it is a file of the folder
    pub async fn remove(server: &Arc<Server>, name: &str) -> Result<(), Problem> {
        let entry = server.tenants.get(name)?;
        if let Origin::File(_) = entry.origin {
            let text =
                "the tenant is a file of the tenants folder; remove the file and start again";
            return Err(Problem::new(ErrorKind::WRITE_CONFLICT, text));
        }
        let gone = server.store.ehr_delete_tenant(name).await;
        gone.map_err(|e| store_problem(&e))?;
        server.tenants.entries().remove(name);
        entry.stop();
        tracing::info!(tenant = name, "EHR tenant removed");
        Ok(())
    }

    /// Stops all schedules and runs, and lets go of the tenants.
    pub fn stop(&self) {
        let entries = std::mem::take(&mut *self.entries());
        entries.values().for_each(|entry| entry.stop());
    }
}

/// The tenants of a folder: every `*.toml` in it, by file name.
///
/// # Errors
/// A folder or file that cannot be read, a file that is no tenant; names file and line.
pub fn read_folder(folder: Option<&Path>) -> Result<Vec<(PathBuf, Tenant)>, String> {
    let Some(folder) = folder else {
        return Ok(Vec::new());
    };
    let fail = |e: std::io::Error| format!("`tenants` = {}: {e}", folder.display());
    let mut paths = Vec::new();
    for item in std::fs::read_dir(folder).map_err(fail)? {
        let path = item.map_err(fail)?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    if paths.len() > TENANTS_MAX {
        return Err(format!(
            "`tenants` = {}: {} files; at most {TENANTS_MAX} are read",
            folder.display(),
            paths.len()
        ));
    }
    paths.sort();
    let read = |path: PathBuf| {
        let tenant = Tenant::read(&path).map_err(|e| e.to_string())?;
        Ok((path, tenant))
    };
    paths.into_iter().map(read).collect()
}
