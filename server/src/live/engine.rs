//! The one task that reads the log of changes: it makes events, moves alerts, and follows subscriptions and topics as they
//! change, all in the order of the commits.
//!
//! Its place is stored together with what follows from it, so a crash repeats nothing and leaves nothing out. Whatever
//! fails, it begins anew from the stored place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant as Watch};

use conformance::{Definitions, ResourceTypeId};
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::search::predicate::Predicate;
use fhir_store::{
    HistoryOrder, HistoryQuery, HistoryScope, LiveEvent, LiveStep, LiveSub, Only, SearchQuery,
    Store, Stored, TotalMode,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::alerts::Alerts;
use super::hook::{self, Delivery};
use super::matcher::{Matcher, Seen};
use super::model::{Channel, Spec};
use super::status::{self, Next};
use super::topic::{self, Topic};
use crate::app::{Server, store_problem};
use crate::operations::parameters;

/// Time in which commits gather before the log is read: subscribers need not be told faster, and one read serves many.
const GATHER_MS: u64 = 5;
/// Longest time between looks at the log: other processes may commit to the same PostgreSQL.
const LOOK_MS: u64 = 1_000;
/// Wait after a failure.
const RETRY_MS: u64 = 1_000;
/// Changes read at a time.
const PAGE_CHANGES: usize = 500;
/// Time a process may go on without renewing that it is the one that reads, in microseconds.
const LEASE_US: i64 = 15_000_000;
/// Time after which it renews.
const RENEW: Duration = Duration::from_secs(5);
/// Time after which a place is stored even when nothing came of it.
const STORE_PLACE: Duration = Duration::from_secs(5);
/// Time between clean-ups.
const TRIM: Duration = Duration::from_secs(60);
/// Time in which streams for dashboards can go on with samples, in microseconds.
const SPANS_KEPT_US: i64 = 600_000_000;
/// Resources read at a time at the start.
const LOAD_RESOURCES: usize = 500;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Reads until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut stopping = server.live.stopping();
    let mut woken = server.live.watch();
    let holder = (server.ids)().to_string();
    let mut round = Round {
        holder,
        renewed: None,
        engine: None,
    };
    while !*stopping.borrow() {
        let mut pause = Duration::from_millis(LOOK_MS);
        if let Err(problem) = round.go(&server).await {
            if !*stopping.borrow() {
                tracing::warn!(%problem, "subscribers cannot be told yet");
            }
            round.engine = None;
            pause = Duration::from_millis(RETRY_MS);
        }
        let is_broken = round.engine.is_none();
        tokio::select! {
            _ = woken.changed(), if !is_broken => {
                tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
                woken.mark_unchanged();
            }
            () = tokio::time::sleep(pause) => {}
            _ = stopping.changed() => {}
        }
    }
    if let Some(mut engine) = round.engine.take()
        && let Err(problem) = engine.store_place(&server, &round.holder).await
    {
        tracing::warn!(%problem, "the place in the log was not stored; a part of it is read again");
    }
    server.live.flush(&server).await;
}

struct Round {
    holder: String,
    renewed: Option<Watch>,
    engine: Option<Engine>,
}

impl Round {
    async fn go(&mut self, server: &Arc<Server>) -> Result<(), Problem> {
        if !self.may_read(server).await? {
            self.engine = None;
            return server.live.hub.tail(server).await;
        }
        if self.engine.is_none() {
            self.engine = Some(Engine::open(server).await?);
        }
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        loop {
            let has_more = engine.advance(server, &self.holder).await?;
            server.live.hub.tail(server).await?;
            if !has_more || *server.live.stopping().borrow() {
                break;
            }
        }
        engine.keep_house(server).await
    }

    /// Whether this process is the one that reads.
    async fn may_read(&mut self, server: &Server) -> Result<bool, Problem> {
        let is_sqlite = matches!(server.store, Store::Sqlite(_));
        let is_fresh = self
            .renewed
            .is_some_and(|at| is_sqlite || at.elapsed() < RENEW);
        if is_fresh {
            return Ok(true);
        }
        let now = (server.clock)().0;
        let held = server
            .store
            .live_lease(self.holder.clone(), now, now.saturating_add(LEASE_US))
            .await
            .map_err(|e| store_problem(&e))?;
        self.renewed = held.then(Watch::now);
        Ok(held)
    }
}

/// A subscription that counts.
struct Sub {
    key: ResourceKey,
    version: VersionId,
    spec: Arc<Spec>,
    matcher: Matcher,
    worker: Option<Worker>,
}

/// Its delivery task, which ends with it.
struct Worker {
    task: JoinHandle<()>,
    wake: Arc<Notify>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Engine {
    /// The log was read up to here.
    position: i64,
    /// As the database has it.
    stored: i64,
    stored_at: Watch,
    trimmed_at: Option<Watch>,
    /// Counts by logical id, of all that ever counted and were not deleted.
    rows: HashMap<String, LiveSub>,
    subs: BTreeMap<String, Sub>,
    by_type: HashMap<ResourceTypeId, Vec<String>>,
    topics: HashMap<String, Result<Arc<Topic>, String>>,
    /// Urls of topics by the resource that states them.
    topic_of: HashMap<ResourceKey, String>,
    alerts: Alerts,
    subscription: ResourceTypeId,
    basic: ResourceTypeId,
    observation: ResourceTypeId,
}

fn type_named(name: &str) -> Result<ResourceTypeId, Problem> {
    Definitions::r4()
        .resource_type(name)
        .ok_or_else(|| Problem::new(ErrorKind::INTERNAL, "the definitions lack a type"))
}

impl Engine {
    /// As everything stood at the stored place.
    async fn open(server: &Arc<Server>) -> Result<Self, Problem> {
        let store = &server.store;
        let position = store.live_cursor().await.map_err(|e| store_problem(&e))?;
        let rows = store.live_subs().await.map_err(|e| store_problem(&e))?;
        let mut engine = Self {
            position,
            stored: position,
            stored_at: Watch::now(),
            trimmed_at: None,
            rows: rows.into_iter().map(|row| (row.id.clone(), row)).collect(),
            subs: BTreeMap::new(),
            by_type: HashMap::new(),
            topics: HashMap::new(),
            topic_of: HashMap::new(),
            alerts: Alerts::open(server).await?,
            subscription: type_named("Subscription")?,
            basic: type_named("Basic")?,
            observation: type_named("Observation")?,
        };
        let code = [("code".to_owned(), topic::TOPIC_CODE.to_owned())];
        let topics = crate::search::condition_of(server, engine.basic, &code)?;
        for stored in all(server, engine.basic, topics).await? {
            engine.topic_changed(&stored);
        }
        let mut ignored = LiveStep::default();
        for stored in all(server, engine.subscription, Predicate::Everything).await? {
            if let Some(then) = as_of(server, &stored.key, position).await? {
                engine.subscription_changed(server, &then, &mut ignored);
            }
        }
        if ignored.started.is_empty() && engine.wants_samples() {
            let wanted = store.live_want_samples(true).await;
            wanted.map_err(|e| store_problem(&e))?;
        } else if !engine.wants_samples() {
            let wanted = store.live_want_samples(false).await;
            wanted.map_err(|e| store_problem(&e))?;
        }
        engine.tell_wanted(server);
        Ok(engine)
    }

    fn wants_samples(&self) -> bool {
        !self.alerts.is_empty() || self.by_type.contains_key(&self.observation)
    }

    fn tell_wanted(&self, server: &Server) {
        if !self.subs.is_empty() || !self.alerts.is_empty() {
            server.live.want();
        }
    }

    fn types(&self) -> Vec<ResourceTypeId> {
        let mut types: Vec<_> = self.by_type.keys().copied().collect();
        types.extend([self.subscription, self.basic]);
        if !self.alerts.is_empty() {
            types.push(self.observation);
        }
        types.sort_unstable_by_key(|t| t.0);
        types.dedup();
        types
    }

    /// Reads a page of the log; answers whether there is more.
    async fn advance(&mut self, server: &Arc<Server>, holder: &str) -> Result<bool, Problem> {
        if self.alerts.are_outdated(server) {
            self.alerts = Alerts::open(server).await?;
            if !self.alerts.is_empty() {
                let wanted = server.store.live_want_samples(true).await;
                wanted.map_err(|e| store_problem(&e))?;
            }
            self.tell_wanted(server);
        }
        let types = self.types();
        let page = server
            .store
            .live_changes(Some(types.clone()), self.position, PAGE_CHANGES)
            .await
            .map_err(|e| store_problem(&e))?;
        let mut step = LiveStep {
            holder: holder.to_owned(),
            from: self.stored,
            to: page.upto,
            ..LiveStep::default()
        };
        let mut has_more = page.has_more;
        for (index, change) in page.changes.iter().enumerate() {
            self.make_events(server, change, &mut step).await?;
            let resource_type = change.key.resource_type;
            if resource_type == self.observation {
                self.alerts.see(server, change).await?;
            }
            let mut has_moved = false;
            if resource_type == self.subscription {
                self.subscription_changed(server, change, &mut step);
                has_moved = true;
            } else if resource_type == self.basic {
                has_moved = self.topic_changed(change);
            }
            // What lies behind was read without the types that count from here on.
            if has_moved && self.types() != types {
                step.to = change.updated.0;
                has_more = has_more || index + 1 < page.changes.len() || step.to < page.upto;
                break;
            }
        }
        self.position = step.to;
        step.alerts = self.alerts.changed();
        let has_followed = !step.events.is_empty()
            || !step.started.is_empty()
            || !step.ended.is_empty()
            || self.alerts.have_moved();
        let is_due = self.stored_at.elapsed() >= STORE_PLACE && self.position != self.stored;
        if has_followed || is_due {
            self.write(server, step).await?;
        }
        Ok(has_more)
    }

    async fn write(&mut self, server: &Arc<Server>, step: LiveStep) -> Result<(), Problem> {
        let to = step.to;
        let told: Vec<i64> = step.events.iter().map(|event| event.sub).collect();
        let done = server.store.live_step(step).await;
        if !done.map_err(|e| store_problem(&e))? {
            let text = "another process reads the log";
            return Err(Problem::new(ErrorKind::UNAVAILABLE, text));
        }
        self.alerts.written();
        self.stored = to;
        self.stored_at = Watch::now();
        if !told.is_empty() {
            let told: std::collections::HashSet<i64> = told.into_iter().collect();
            for (id, sub) in &self.subs {
                let is_told = self.rows.get(id).is_some_and(|row| told.contains(&row.no));
                if let Some(worker) = sub.worker.as_ref().filter(|_| is_told) {
                    worker.wake.notify_one();
                }
            }
        }
        Ok(())
    }

    async fn store_place(&mut self, server: &Arc<Server>, holder: &str) -> Result<(), Problem> {
        if self.position == self.stored {
            return Ok(());
        }
        let step = LiveStep {
            holder: holder.to_owned(),
            from: self.stored,
            to: self.position,
            alerts: self.alerts.changed(),
            ..LiveStep::default()
        };
        self.write(server, step).await
    }

    async fn make_events(
        &mut self,
        server: &Arc<Server>,
        change: &Stored,
        step: &mut LiveStep,
    ) -> Result<(), Problem> {
        let Some(ids) = self.by_type.get(&change.key.resource_type) else {
            return Ok(());
        };
        let mut seen = Seen::new(server, change);
        for id in ids {
            let (Some(sub), Some(row)) = (self.subs.get(id), self.rows.get_mut(id)) else {
                continue;
            };
            // It counts from where it became active.
            if change.updated.0 <= row.no {
                continue;
            }
            match sub.matcher.is_event(&mut seen).await {
                Ok(false) => {}
                Ok(true) => {
                    row.events += 1;
                    step.events.push(LiveEvent {
                        sub: row.no,
                        number: row.events,
                        seq: change.updated.0,
                        op: seen.op().await?,
                        key: change.key.clone(),
                        version: change.version,
                    });
                }
                Err(problem) if is_ours(&problem) => return Err(problem),
                Err(problem) => {
                    // Its criteria cannot be answered; the others go on.
                    let why = format!("the criteria cannot be evaluated: {problem}");
                    spawn_move(server, sub.key.clone(), sub.version, Next::Error(why));
                }
            }
        }
        Ok(())
    }

    /// Follows a topic; answers whether anything can have changed.
    fn topic_changed(&mut self, change: &Stored) -> bool {
        let known = self.topic_of.remove(&change.key);
        if let Some(url) = &known {
            self.topics.remove(url);
        }
        if change.deleted {
            return known.is_some();
        }
        let Ok(document) = parameters::stored(&change.json) else {
            return known.is_some();
        };
        if !topic::is_topic(document.root()) {
            return known.is_some();
        }
        match Topic::read(document.root()) {
            Ok(topic) => {
                self.topic_of.insert(change.key.clone(), topic.url.clone());
                self.topics.insert(topic.url.clone(), Ok(Arc::new(topic)));
            }
            Err(why) => {
                tracing::warn!(topic = %change.key, %why, "a topic cannot be served");
                if let Some(url) = topic::url_of(document.root()) {
                    self.topic_of.insert(change.key.clone(), url.clone());
                    self.topics.insert(url, Err(why));
                }
            }
        }
        true
    }

    fn matcher(&self, server: &Server, spec: &Spec) -> Result<Matcher, Problem> {
        Matcher::compile(server, spec, |url| {
            topic::built_in(url)
                .map(|topic| Ok(Arc::new(topic)))
                .or_else(|| self.topics.get(url).cloned())
        })
    }

    /// Follows a subscription's new version.
    fn subscription_changed(&mut self, server: &Arc<Server>, change: &Stored, step: &mut LiveStep) {
        let id = change.key.id.as_str().to_owned();
        if change.deleted {
            self.subs.remove(&id);
            if let Some(row) = self.rows.remove(&id) {
                step.ended.push(row.no);
                server
                    .live
                    .hub
                    .ended(row.no, "the subscription was deleted");
            }
            return self.sort();
        }
        let spec = parameters::stored(&change.json).and_then(|d| Spec::read(d.root()));
        let spec = match spec {
            Ok(spec) => Arc::new(spec),
            Err(problem) => {
                // Stored past the check, by an import for example; what is off already needs no word.
                self.subs.remove(&id);
                let why = Next::Error(problem.to_string());
                if is_requested(&change.json) {
                    spawn_move(server, change.key.clone(), change.version, why);
                }
                return self.sort();
            }
        };
        match spec.status.as_str() {
            "active" => self.count(server, change, spec, step),
            "requested" => self.request(server, change, spec),
            "error" => self.pause(server, change, spec),
            _ => {
                self.subs.remove(&id);
                if let Some(row) = self.rows.get(&id) {
                    server.live.hub.ended(row.no, "the subscription is off");
                }
            }
        }
        self.sort();
    }

    /// Active: events count from here on.
    fn count(
        &mut self,
        server: &Arc<Server>,
        change: &Stored,
        spec: Arc<Spec>,
        step: &mut LiveStep,
    ) {
        let id = change.key.id.as_str().to_owned();
        let matcher = match self.matcher(server, &spec) {
            Ok(matcher) => matcher,
            Err(problem) => {
                self.subs.remove(&id);
                let why = Next::Error(problem.to_string());
                return spawn_move(server, change.key.clone(), change.version, why);
            }
        };
        let row = self.rows.entry(id.clone()).or_insert_with(|| {
            let row = LiveSub {
                no: change.updated.0,
                id: id.clone(),
                events: 0,
                delivered: 0,
            };
            step.started.push(row.clone());
            row
        });
        // The old task ends before the new one begins, and what it told counts.
        self.subs.remove(&id);
        if let Some(told) = server.live.lock_told().get(&row.no) {
            row.delivered = row.delivered.max(*told);
        }
        let worker = matches!(spec.channel, Channel::Hook { .. }).then(|| {
            let wake = Arc::new(Notify::new());
            let delivery = Delivery {
                key: change.key.clone(),
                version: change.version,
                spec: Arc::clone(&spec),
                sub: row.clone(),
                wake: Arc::clone(&wake),
            };
            Worker {
                task: tokio::spawn(hook::run(Arc::clone(server), delivery)),
                wake,
            }
        });
        let sub = Sub {
            key: change.key.clone(),
            version: change.version,
            spec,
            matcher,
            worker,
        };
        self.subs.insert(id, sub);
    }

    /// Requested: the handshake begins; what counted before goes on counting meanwhile.
    fn request(&mut self, server: &Arc<Server>, change: &Stored, spec: Arc<Spec>) {
        let matcher = self.matcher(server, &spec);
        let most = server.config.live.subscriptions_max;
        let is_full = self.subs.len() >= most && !self.subs.contains_key(change.key.id.as_str());
        let problem = match &matcher {
            Err(problem) => Some(problem.to_string()),
            Ok(_) if is_full => Some(format!(
                "{most} subscriptions are active already, the limit here"
            )),
            Ok(_) => None,
        };
        let wants_samples = matcher.is_ok_and(|m| m.types().contains(&self.observation));
        self.pause(server, change, Arc::clone(&spec));
        server.live.want();
        tokio::spawn(status::activate(
            Arc::clone(server),
            change.key.clone(),
            change.version,
            spec,
            problem,
            wants_samples,
        ));
    }

    /// Nothing is delivered, but a subscription that was active goes on counting, so that nothing is missed.
    fn pause(&mut self, server: &Arc<Server>, change: &Stored, spec: Arc<Spec>) {
        let id = change.key.id.as_str().to_owned();
        if let Some(sub) = self.subs.get_mut(&id) {
            sub.worker = None;
            sub.version = change.version;
        } else if self.rows.contains_key(&id)
            && let Ok(matcher) = self.matcher(server, &spec)
        {
            let sub = Sub {
                key: change.key.clone(),
                version: change.version,
                spec,
                matcher,
                worker: None,
            };
            self.subs.insert(id, sub);
        }
    }

    fn sort(&mut self) {
        self.by_type.clear();
        for (id, sub) in &self.subs {
            let mut types = sub.matcher.types();
            types.sort_unstable_by_key(|t| t.0);
            types.dedup();
            for t in types {
                self.by_type.entry(t).or_default().push(id.clone());
            }
        }
    }

    /// Ends what has ended and forgets what is too old to be asked for.
    async fn keep_house(&mut self, server: &Arc<Server>) -> Result<(), Problem> {
        let now = (server.clock)();
        for sub in self.subs.values() {
            if sub.spec.end.is_some_and(|end| end <= now) {
                let why = Next::Off("its end has passed".to_owned());
                spawn_move(server, sub.key.clone(), sub.version, why);
            }
        }
        if self.trimmed_at.is_some_and(|at| at.elapsed() < TRIM) {
            return Ok(());
        }
        self.trimmed_at = Some(Watch::now());
        let settings = &server.config.live;
        let days = i64::try_from(settings.events_kept_days).unwrap_or(i64::MAX);
        let before = now.0.saturating_sub(days.saturating_mul(MICROS_PER_DAY));
        let kept = i64::try_from(settings.events_kept_max).unwrap_or(i64::MAX);
        let trimmed = server
            .store
            .live_trim(before, kept, now.0 - SPANS_KEPT_US)
            .await;
        trimmed.map_err(|e| store_problem(&e))
    }
}

/// Whether a failure is the database's, so that trying again may help.
fn is_ours(problem: &Problem) -> bool {
    matches!(
        problem.kind(),
        ErrorKind::UNAVAILABLE | ErrorKind::OVERLOADED | ErrorKind::INTERNAL
    )
}

fn is_requested(json: &[u8]) -> bool {
    parameters::stored(json).is_ok_and(|document| {
        let status = document.root().get("status").and_then(|s| s.as_str());
        matches!(status.as_deref(), Some("requested" | "active"))
    })
}

fn spawn_move(server: &Arc<Server>, key: ResourceKey, version: VersionId, next: Next) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        if let Err(problem) = status::move_to(&server, &key, version, next).await {
            tracing::warn!(%problem, subscription = %key, "the status of a subscription cannot be stored");
        }
    });
}

/// All live resources of a type that match.
async fn all(
    server: &Server,
    resource_type: ResourceTypeId,
    predicate: Predicate,
) -> Result<Vec<Stored>, Problem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SearchQuery {
            resource_type,
            predicate: predicate.clone(),
            sort: Vec::new(),
            limit: LOAD_RESOURCES,
            after,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = server
            .store
            .search(query)
            .await
            .map_err(|e| store_problem(&e))?;
        found.extend(page.matches);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// A resource as it was at a place of the log.
async fn as_of(server: &Server, key: &ResourceKey, seq: i64) -> Result<Option<Stored>, Problem> {
    let query = HistoryQuery {
        scope: HistoryScope::Instance(key.clone()),
        since: None,
        until: Some(Instant(seq)),
        at: None,
        order: HistoryOrder::NewestFirst,
        limit: 1,
        after: None,
        total: TotalMode::None,
    };
    let page = server.store.history(query).await;
    Ok(page
        .map_err(|e| store_problem(&e))?
        .versions
        .into_iter()
        .next()
        .filter(|stored| !stored.deleted))
}
