//! The feeds of this server: from the settings file or registered while it runs; paused, resumed, changed, removed.
//!
//! A feed is started before its change is stored, and the old one is started again when either fails: what is listed is
//! what runs. Feeds of the settings file are changed there; pausing works for all and outlives a restart.

pub mod alerts;
mod http;
mod launch;
mod settings;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use adapters::Counters;
use adapters::exchange::Exchange;
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{AuditRecord, FeedRow};
use tokio::sync::Mutex;

use crate::app::{Server, store_problem};
use crate::interaction::Interaction;

pub(crate) use http::__path_receive;
pub use http::receive;
use launch::Launched;
pub use settings::{FeedSettings, Order, Transport};
pub use view::{FeedCounters, FeedView};

/// Feeds at most: a hospital has some dozens.
pub const FEEDS_MAX: usize = 1_000;
/// What the audit trail names as the channel of changes to feeds.
const CHANNEL: &str = "admin";

/// Where a feed's settings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// In the settings file or the command line.
    Settings,
    /// In the database.
    Registered,
}

/// What a feed does.
enum State {
    Running(Launched),
    Paused,
    /// It could not be started.
    Failed(String),
}

struct Entry {
    settings: FeedSettings,
    origin: Origin,
    state: State,
    /// Since the start of the server, over pauses and changes.
    counters: Arc<Counters>,
}

/// All feeds by name.
#[derive(Default)]
pub struct Feeds {
    entries: RwLock<BTreeMap<String, Entry>>,
    /// One change at a time; the list can be read meanwhile.
    changes: Mutex<()>,
}

/// What became of a feed that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not there before.
    Registered,
    /// It was there.
    Changed,
}

impl Feeds {
    /// Starts the feeds of the settings, then those registered before. Of the latter one that cannot start is listed
    /// with the reason, so that it can be mended.
    ///
    /// # Errors
    /// A feed of the settings that cannot be started, or a database that cannot be read.
    pub async fn start(&self, server: &Arc<Server>) -> Result<(), String> {
        let _change = self.changes.lock().await;
        let stored = server.store.feeds().await.map_err(|e| e.to_string())?;
        let is_paused = |name: &str| stored.iter().any(|row| row.name == name && row.paused);
        for settings in server.config.feeds() {
            let name = settings.name.clone();
            let counters = Arc::default();
            let state = if is_paused(&name) {
                launch::prepare(server, &settings).map_err(|e| format!("feed `{name}`: {e}"))?;
                State::Paused
            } else {
                let launched = launch::launch(server, &settings, &counters).await;
                State::Running(launched.map_err(|e| format!("feed `{name}`: {e}"))?)
            };
            self.insert(settings, Origin::Settings, state, counters);
        }
        for row in &stored {
            let Some(text) = &row.settings else { continue };
            if self.with(&row.name, |_| ()).is_some() {
                tracing::error!(
                    feed = row.name,
                    "a feed of this name is in the settings; the registered one is left out"
                );
                continue;
            }
            let counters = Arc::default();
            let (settings, read) = match serde_json::from_str::<FeedSettings>(text) {
                Ok(settings) => (settings, Ok(())),
                Err(error) => {
                    let settings = FeedSettings {
                        name: row.name.clone(),
                        ..FeedSettings::default()
                    };
                    (
                        settings,
                        Err(format!("its settings cannot be read: {error}")),
                    )
                }
            };
            let checked = read.and_then(|()| settings.check(server.config.insecure_open));
            let state = match checked {
                Err(reason) => State::Failed(reason),
                Ok(()) if row.paused => match launch::prepare(server, &settings) {
                    Ok(_) => State::Paused,
                    Err(reason) => State::Failed(reason),
                },
                Ok(()) => match launch::launch(server, &settings, &counters).await {
                    Ok(launched) => State::Running(launched),
                    Err(reason) => State::Failed(reason),
                },
            };
            if let State::Failed(reason) = &state {
                tracing::error!(feed = row.name, reason, "a feed was not started");
            }
            self.insert(settings, Origin::Registered, state, counters);
        }
        Ok(())
    }

    /// Stops all: what was received is committed and acknowledged, nothing new is read.
    pub async fn stop(&self) {
        let _change = self.changes.lock().await;
        let states: Vec<State> = {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            let states = entries.values_mut();
            states
                .map(|entry| std::mem::replace(&mut entry.state, State::Paused))
                .collect()
        };
        // All are asked first, so that they finish together.
        let stopping = states.into_iter().map(|state| match state {
            State::Running(launched) => Some(launched.ask()),
            State::Paused | State::Failed(_) => None,
        });
        for launched in stopping.collect::<Vec<_>>().into_iter().flatten() {
            launched.finished().await;
        }
    }

    /// Where each running feed listens, by name.
    pub fn addresses(&self) -> Vec<(String, Transport, SocketAddr)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let running = entries.values().filter_map(|entry| match &entry.state {
            State::Running(launched) => {
                let settings = &entry.settings;
                launched
                    .address()
                    .map(|address| (settings.name.clone(), settings.transport, address))
            }
            State::Paused | State::Failed(_) => None,
        });
        running.collect()
    }

    /// When each feed received its last message, seconds since 1970; 0 for never since the start.
    fn last_received(&self) -> Vec<(String, u64)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let last = |entry: &Entry| entry.counters.last_received_s.load(Ordering::Relaxed);
        entries
            .iter()
            .map(|(name, entry)| (name.clone(), last(entry)))
            .collect()
    }

    /// All feeds as shown.
    pub fn list(&self) -> Vec<FeedView> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(view::of).collect()
    }

    /// One feed as shown.
    ///
    /// # Errors
    /// `not-found`
    pub fn get(&self, name: &str) -> Result<FeedView, Problem> {
        self.with(name, view::of).ok_or_else(no_such_feed)
    }

    /// The receiver of an HTTP feed, and its settings.
    ///
    /// # Errors
    /// `not-found`; `unavailable` while it does not run.
    fn exchange(&self, name: &str) -> Result<(Exchange, Transport), Problem> {
        let found = self.with(name, |entry| match &entry.state {
            State::Running(launched) => match launched.exchange() {
                Some(exchange) => Ok((exchange, entry.settings.transport)),
                None => Err(no_such_feed()),
            },
            State::Paused | State::Failed(_) if entry.settings.transport == Transport::Http => {
                let text = "the feed is paused; send the message again later";
                Err(Problem::new(ErrorKind::UNAVAILABLE, text))
            }
            State::Paused | State::Failed(_) => Err(no_such_feed()),
        });
        found.unwrap_or_else(|| Err(no_such_feed()))
    }

    /// Registers a feed, or changes one that was registered, and starts it unless it is paused.
    ///
    /// # Errors
    /// `bad-value` with the key that cannot be used; `forbidden` for a feed of the settings; what the store says.
    pub async fn put(
        &self,
        server: &Arc<Server>,
        agent: &str,
        settings: FeedSettings,
    ) -> Result<Put, Problem> {
        settings
            .check(server.config.insecure_open)
            .map_err(|text| Problem::new(ErrorKind::BAD_VALUE, text))?;
        let _change = self.changes.lock().await;
        self.owned_here(&settings.name)?;
        let old = self.take(&settings.name);
        if old.is_none() && self.count() >= FEEDS_MAX {
            let text = format!("there are {FEEDS_MAX} feeds already; remove one first");
            return Err(Problem::new(ErrorKind::BAD_VALUE, text));
        }
        let (put, is_paused, counters) = match &old {
            None => (Put::Registered, false, Arc::default()),
            Some(old) => {
                let is_paused = matches!(old.state, State::Paused);
                (Put::Changed, is_paused, Arc::clone(&old.counters))
            }
        };
        let before = old.as_ref().map(|old| old.settings.clone());
        let mut was_running = false;
        if let Some(State::Running(launched)) = old.map(|old| old.state) {
            // Two cannot listen on one address.
            launched.ask().finished().await;
            was_running = true;
        }
        let result = self
            .replace(server, agent, &settings, is_paused, &counters, put)
            .await;
        match (result, before) {
            (Ok(state), _) => {
                self.insert(settings, Origin::Registered, state, counters);
                Ok(put)
            }
            (Err(problem), None) => Err(problem),
            (Err(problem), Some(before)) => {
                let state = if was_running {
                    relaunch(server, &before, &counters).await
                } else {
                    State::Paused
                };
                self.insert(before, Origin::Registered, state, counters);
                Err(problem)
            }
        }
    }

    /// Starts under new settings and stores them.
    async fn replace(
        &self,
        server: &Arc<Server>,
        agent: &str,
        settings: &FeedSettings,
        is_paused: bool,
        counters: &Arc<Counters>,
        put: Put,
    ) -> Result<State, Problem> {
        let refuse = |text| Problem::new(ErrorKind::BAD_VALUE, text);
        let state = if is_paused {
            // What can be known without listening is said now, not when it is resumed.
            launch::prepare(server, settings).map_err(refuse)?;
            State::Paused
        } else {
            let launched = launch::launch(server, settings, counters).await;
            State::Running(launched.map_err(refuse)?)
        };
        let (action, what) = match put {
            Put::Registered => ('C', "registered"),
            Put::Changed => ('U', "changed"),
        };
        let text = serde_json::to_string(settings).map_err(|e| refuse(e.to_string()))?;
        let row = row(&settings.name, Some(text), is_paused);
        let audit = audit(agent, action, &settings.name, what);
        match server.store.put_feed(row, audit).await {
            Ok(()) => Ok(state),
            Err(error) => {
                if let State::Running(launched) = state {
                    launched.ask().finished().await;
                }
                Err(store_problem(&error))
            }
        }
    }

    /// Forgets a registered feed after it has finished what it had received. What it brought stays.
    ///
    /// # Errors
    /// `not-found`; `forbidden` for a feed of the settings; what the store says.
    pub async fn remove(
        &self,
        server: &Arc<Server>,
        agent: &str,
        name: &str,
    ) -> Result<(), Problem> {
        let _change = self.changes.lock().await;
        self.owned_here(name)?;
        if self.with(name, |_| ()).is_none() {
            return Err(no_such_feed());
        }
        let audit = audit(agent, 'D', name, "removed");
        let removed = server.store.remove_feed(name.to_owned(), audit).await;
        removed.map_err(|e| store_problem(&e))?;
        if let Some(Entry {
            state: State::Running(launched),
            ..
        }) = self.take(name)
        {
            launched.ask().finished().await;
        }
        Ok(())
    }

    /// Stops taking messages until resumed, also over a restart; what was received is finished first.
    ///
    /// # Errors
    /// `not-found`; what the store says.
    pub async fn pause(
        &self,
        server: &Arc<Server>,
        agent: &str,
        name: &str,
    ) -> Result<(), Problem> {
        let _change = self.changes.lock().await;
        self.keep_pause(server, agent, name, true).await?;
        let state = self.swap(name, State::Paused);
        if let Some(State::Running(launched)) = state {
            launched.ask().finished().await;
        }
        Ok(())
    }

    /// Takes messages again. Certificates and mappings are read anew.
    ///
    /// # Errors
    /// `not-found`; `bad-value` when it cannot be started: it stays paused then; what the store says.
    pub async fn resume(
        &self,
        server: &Arc<Server>,
        agent: &str,
        name: &str,
    ) -> Result<(), Problem> {
        let _change = self.changes.lock().await;
        let found = self.with(name, |entry| {
            let is_running = matches!(entry.state, State::Running(_));
            (
                is_running,
                entry.settings.clone(),
                Arc::clone(&entry.counters),
            )
        });
        let (is_running, settings, counters) = found.ok_or_else(no_such_feed)?;
        if is_running {
            return Ok(());
        }
        let refuse = |text| Problem::new(ErrorKind::BAD_VALUE, text);
        settings
            .check(server.config.insecure_open)
            .map_err(refuse)?;
        let launched = launch::launch(server, &settings, &counters)
            .await
            .map_err(refuse)?;
        match self.keep_pause(server, agent, name, false).await {
            Ok(()) => {
                self.swap(name, State::Running(launched));
                Ok(())
            }
            Err(problem) => {
                launched.ask().finished().await;
                Err(problem)
            }
        }
    }

    async fn keep_pause(
        &self,
        server: &Arc<Server>,
        agent: &str,
        name: &str,
        is_paused: bool,
    ) -> Result<(), Problem> {
        let settings = self.with(name, |entry| match entry.origin {
            Origin::Settings => Ok(None),
            Origin::Registered => serde_json::to_string(&entry.settings).map(Some),
        });
        let settings = settings.ok_or_else(no_such_feed)?.map_err(|e| {
            Problem::new(
                ErrorKind::INTERNAL,
                format!("the settings cannot be written: {e}"),
            )
        })?;
        let what = if is_paused { "paused" } else { "resumed" };
        let stored = server
            .store
            .put_feed(
                row(name, settings, is_paused),
                audit(agent, 'E', name, what),
            )
            .await;
        stored.map_err(|e| store_problem(&e))
    }

    fn insert(
        &self,
        settings: FeedSettings,
        origin: Origin,
        state: State,
        counters: Arc<Counters>,
    ) {
        let entry = Entry {
            settings,
            origin,
            state,
            counters,
        };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(entry.settings.name.clone(), entry);
    }

    fn count(&self) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.len()
    }

    fn with<T>(&self, name: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(name).map(look)
    }

    fn take(&self, name: &str) -> Option<Entry> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.remove(name)
    }

    fn swap(&self, name: &str, state: State) -> Option<State> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(name)?;
        Some(std::mem::replace(&mut entry.state, state))
    }

    fn owned_here(&self, name: &str) -> Result<(), Problem> {
        match self.with(name, |entry| entry.origin) {
            Some(Origin::Settings) => {
                let text = "this feed stands in the server's settings; change it there and restart, or pause it here";
                Err(Problem::new(ErrorKind::FORBIDDEN, text))
            }
            Some(Origin::Registered) | None => Ok(()),
        }
    }
}

/// The feed as it was before a change that failed.
async fn relaunch(
    server: &Arc<Server>,
    settings: &FeedSettings,
    counters: &Arc<Counters>,
) -> State {
    match launch::launch(server, settings, counters).await {
        Ok(launched) => State::Running(launched),
        Err(reason) => {
            tracing::error!(feed = settings.name, reason, "a feed did not start again");
            State::Failed(reason)
        }
    }
}

fn row(name: &str, settings: Option<String>, paused: bool) -> FeedRow {
    FeedRow {
        name: name.to_owned(),
        settings,
        paused,
        // The store writes its own time.
        changed_at: Instant(0),
    }
}

fn audit(agent: &str, action: char, name: &str, what: &str) -> AuditRecord {
    AuditRecord {
        agent: agent.to_owned(),
        channel: CHANNEL.to_owned(),
        action,
        interaction: Interaction::Administration.code(),
        entity: None,
        detail: Some(format!("feed {name} {what}")),
        outcome: 0,
    }
}

fn no_such_feed() -> Problem {
    Problem::new(ErrorKind::NOT_FOUND, "there is no such feed")
}
