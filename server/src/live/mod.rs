//! Subscribers and alerts: whoever wants to know of changes is told, in the order they were committed.
//!
//! Guide: `docs/guide/subscriptions.md`. One task ([`engine`]) reads the log of changes behind a stored place, makes
//! events and moves alerts; what follows is stored together with the next place. Rest-hooks ([`hook`]) and websockets
//! ([`hub`], [`socket`]) read the stored events, so that neither a crash nor a slow receiver loses one.
//!
//! Left out: the channels `email`, `sms` and `message`.

pub mod admin;
pub mod alerts;
mod engine;
mod hook;
pub mod hub;
mod matcher;
pub mod model;
mod notify;
pub mod operations;
pub mod settings;
pub mod socket;
pub mod sse;
mod status;
mod topic;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use conformance::ResourceTypeId;
use ehr::http::Http;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::ValueRef;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::app::Server;
use hub::Hub;

/// Handshakes that wait for their receivers at a time.
const HANDSHAKES_MAX: usize = 32;
/// Pause after a failed note of deliveries, in milliseconds.
const NOTE_RETRY_MS: u64 = 500;
/// Bytes of a file with a signing key at most.
const SECRET_BYTES_MAX: u64 = 4_096;

/// What the server keeps about subscribers while it runs.
pub struct Live {
    woken: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    is_wanted: AtomicBool,
    rules_changed: AtomicBool,
    /// The websockets.
    pub hub: Hub,
    http: OnceLock<Http>,
    secrets: OnceLock<HashMap<String, Vec<u8>>>,
    handshakes: Semaphore,
    told: Mutex<HashMap<i64, i64>>,
    told_more: Notify,
    /// The streams of server-sent events.
    pub streams: Seats,
    /// The websockets that bring device data.
    pub ingests: Seats,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// The alert rules in force and where they stand, for people.
    pub alert_view: Mutex<Vec<alerts::View>>,
}

/// Places of which only so many are given.
#[derive(Default)]
pub struct Seats(std::sync::atomic::AtomicUsize);

impl Seats {
    /// Takes one, if there is one.
    pub fn enter(&self, most: usize) -> bool {
        let add = |count: usize| (count < most).then_some(count + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    /// Gives it back.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Live {
    fn default() -> Self {
        Self {
            woken: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            is_wanted: AtomicBool::new(false),
            rules_changed: AtomicBool::new(false),
            hub: Hub::default(),
            http: OnceLock::new(),
            secrets: OnceLock::new(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            told: Mutex::default(),
            told_more: Notify::new(),
            streams: Seats::default(),
            ingests: Seats::default(),
            tasks: Mutex::default(),
            alert_view: Mutex::default(),
        }
    }
}

/// Starts to tell subscribers.
///
/// # Errors
/// Alert rules or signing keys of the settings that cannot be used.
pub fn start(server: &Arc<Server>) -> Result<(), String> {
    for rule in &server.config.alert {
        alerts::Compiled::of(rule).map_err(|why| format!("`alert` `{}`: {why}", rule.name))?;
    }
    let live = &server.live;
    let http = Http::new().map_err(|error| format!("subscriptions: {error}"))?;
    let _ = live.http.set(http);
    let _ = live.secrets.set(secrets(server)?);
    let reader = Arc::clone(server);
    let noter = Arc::clone(server);
    let tasks = [
        tokio::spawn(async move { engine::run(reader).await }),
        tokio::spawn(async move { note(&noter).await }),
    ];
    live.lock_tasks().extend(tasks);
    Ok(())
}

fn secrets(server: &Server) -> Result<HashMap<String, Vec<u8>>, String> {
    let mut found = HashMap::new();
    for secret in &server.config.live.secret {
        let place = format!("`live.secret` `{}`: {}", secret.name, secret.file.display());
        let size = std::fs::metadata(&secret.file)
            .map_err(|e| format!("{place}: {e}"))?
            .len();
        if size > SECRET_BYTES_MAX {
            return Err(format!("{place}: longer than {SECRET_BYTES_MAX} bytes"));
        }
        let mut key = std::fs::read(&secret.file).map_err(|e| format!("{place}: {e}"))?;
        while key.last().is_some_and(u8::is_ascii_whitespace) {
            key.pop();
        }
        if key.is_empty() {
            return Err(format!("{place}: the file is empty"));
        }
        found.insert(secret.name.clone(), key);
    }
    Ok(found)
}

/// Notes how far subscriptions were told, all that came together in one go.
async fn note(server: &Arc<Server>) {
    loop {
        server.live.told_more.notified().await;
        loop {
            let batch = std::mem::take(&mut *server.live.lock_told());
            if batch.is_empty() {
                break;
            }
            let rows: Vec<(i64, i64)> = batch.iter().map(|(no, n)| (*no, *n)).collect();
            if let Err(error) = server.store.live_delivered(rows).await {
                tracing::warn!(%error, "how far subscribers were told cannot be noted yet");
                for (no, number) in batch {
                    server.live.told(no, number);
                }
                tokio::time::sleep(Duration::from_millis(NOTE_RETRY_MS)).await;
            }
        }
    }
}

impl Live {
    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_told(&self) -> std::sync::MutexGuard<'_, HashMap<i64, i64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subscription was told up to an event.
    fn told(&self, no: i64, number: i64) {
        let mut told = self.lock_told();
        let last = told.entry(no).or_insert(number);
        *last = (*last).max(number);
        self.told_more.notify_one();
    }

    /// To be called after every commit: what of is told when somebody wants it.
    pub fn committed(&self, types: impl IntoIterator<Item = ResourceTypeId>) {
        let is_wanted = self.is_wanted.load(Ordering::Relaxed)
            || types
                .into_iter()
                .any(|t| matches!(t.name(), "Subscription" | "Basic"));
        if is_wanted {
            self.wake();
        }
    }

    /// Has the log looked at again.
    pub fn wake(&self) {
        self.woken
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Told when there may be something new.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    /// Told when the server stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Somebody watches from now on.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Alert rules were added or removed.
    pub fn rules_changed(&self) {
        self.rules_changed.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Stops: connections are closed, the place reached is stored.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        self.wake();
        self.hub.close_all("the server is stopping");
        let tasks = std::mem::take(&mut *self.lock_tasks());
        let mut tasks = tasks.into_iter();
        if let Some(engine) = tasks.next() {
            let _ = engine.await;
        }
        for task in tasks {
            task.abort();
        }
    }

    /// Notes at once what was told and not yet noted.
    pub async fn flush(&self, server: &Server) {
        let batch: Vec<(i64, i64)> = std::mem::take(&mut *self.lock_told()).into_iter().collect();
        if !batch.is_empty()
            && let Err(error) = server.store.live_delivered(batch).await
        {
            tracing::warn!(%error, "how far subscribers were told was not noted; they are told again");
        }
    }
}

/// Whether a Subscription may be stored by whoever is not this server.
///
/// # Errors
/// `invalid-resource`
pub fn check(server: &Server, root: ValueRef<'_>) -> Result<(), Problem> {
    let spec = model::Spec::read(root);
    let status = root.get("status").and_then(ValueRef::as_str);
    match status.as_deref() {
        // Only the server makes a subscription active; what is off or in error does nothing here.
        Some("active") => {
            let text = "only the server makes a subscription `active`; store it as `requested`, or as `off`";
            return Err(Problem::new(ErrorKind::INVALID_RESOURCE, text).at("Subscription.status"));
        }
        Some("requested") => {}
        _ => return Ok(()),
    }
    let spec = spec?;
    if let model::Channel::Hook {
        endpoint, secret, ..
    } = &spec.channel
    {
        hook::permit(server, endpoint)?;
        if let Some(name) = secret
            && !server.config.live.secret.iter().any(|s| s.name == *name)
        {
            let text = "the settings have no signing key (`[[live.secret]]`) of this name";
            return Err(Problem::new(ErrorKind::INVALID_RESOURCE, text)
                .at("Subscription.channel.extension"));
        }
    }
    let criteria = match &spec.watch {
        model::Watch::Search(criteria) => std::slice::from_ref(criteria),
        model::Watch::Topic { filters, .. } => filters.as_slice(),
    };
    for criteria in criteria {
        matcher::Test::compile(server, criteria).map_err(|problem| {
            Problem::new(ErrorKind::INVALID_RESOURCE, problem.to_string())
                .at("Subscription.criteria")
        })?;
    }
    Ok(())
}

/// Registers the URLs beside those under `/fhir`.
pub fn configure(urls: &mut actix_web::web::ServiceConfig) {
    use actix_web::web::get;
    urls.route("/websocket", get().to(socket::handle))
        .route("/live", get().to(sse::handle))
        .configure(admin::configure);
}
