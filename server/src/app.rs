//! The running server: what all requests share, how it starts and how it stops.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use actix_web::dev::ServerHandle;
use actix_web::{HttpServer, web};
use bytes::Bytes;
use conformance::ResourceTypeId;
use fhir_core::datatype::date::Zone;
use fhir_core::datatype::ucum;
use fhir_core::ids::ResourceKey;
use fhir_core::index::{Context, Extractor, IndexEntry};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::ValueRef;
use fhir_core::terminology::Catalogue;
use fhir_store::{Store, StoreError, StoreOptions, Stored};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::admin::guard::only_administrators;
use crate::audit::ReadTrail;
use crate::cache::BodyCache;
use crate::config::{Config, ConfigError};
use crate::definitions::KnownDefinitions;
use crate::ehr::tenants::Tenants;
use crate::feeds::{Feeds, Transport};
use crate::http::cors::{self, Origins};
use crate::http::paging::Signer;
use crate::ingest;
use crate::metrics::{Metrics, StoreFigures};
use crate::operations::export::Jobs;
use crate::routes;
use crate::search::custom::{self, Custom};
use crate::source::{Clock, IdSource, random_ids, system_clock};
use crate::write::validation::Rules;

/// What all requests share.
pub struct Server {
    /// The settings in force.
    pub config: Config,
    /// The FHIR base as clients see it, without a slash at the end.
    pub base_url: String,
    /// Bases that mean this server when they stand in a reference.
    pub own_bases: Vec<String>,
    /// The database.
    pub store: Store,
    /// Current resources in memory; `None` when off.
    pub cache: Option<BodyCache>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Collects the reads for the audit trail.
    pub reads: ReadTrail,
    /// Signs paging links.
    pub signer: Signer,
    /// What takes HL7 v2 messages.
    pub feeds: Feeds,
    /// The time.
    pub clock: Clock,
    /// Profiles and terminology.
    pub definitions: KnownDefinitions,
    /// How strictly what is checked.
    pub rules: Rules,
    /// New logical ids.
    pub ids: IdSource,
    /// Where work runs that must not hold up the threads that serve requests.
    pub runtime: tokio::runtime::Handle,
    /// Held by a write that lost against another one and tries again, so that it cannot lose for ever.
    pub retry_lane: Mutex<()>,
    /// Who makes references holds a share, who deletes holds it alone, while references must lead somewhere.
    pub references: Arc<tokio::sync::RwLock<()>>,
    /// What all feeds share about messages.
    pub messages: crate::messages::Shared,
    /// Search parameters added to the official ones.
    pub custom: Custom,
    statement: RwLock<Option<Bytes>>,
    /// Bulk exports.
    pub exports: Jobs,
    /// Held by who brings the index of words up to date.
    pub words_lane: Arc<Mutex<()>>,
    this: Weak<Server>,
    /// The EHR tenants.
    pub tenants: Tenants,
    /// Devices looked up before.
    pub devices: ingest::directory::DirectoryCache,
    /// Sources of device data, once the server serves.
    pub sources: OnceLock<ingest::Sources>,
    /// Subscribers and alerts.
    pub live: crate::live::Live,
    stopping: AtomicBool,
}

impl Server {
    /// Opens the database and makes ready what requests share. `base_url` is where clients will find the server.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(config: Config, http: SocketAddr) -> Result<Arc<Self>, StartError> {
        Self::open_with(config, http, 0).await
    }

    /// The same for loading much at once: commits wait for each other, so that each costs less.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open_to_load(config: Config, http: SocketAddr) -> Result<Arc<Self>, StartError> {
        Self::open_with(config, http, StoreOptions::LOAD_CHANGES).await
    }

    async fn open_with(
        config: Config,
        http: SocketAddr,
        group_changes_min: usize,
    ) -> Result<Arc<Self>, StartError> {
        let clock = system_clock();
        let store = Store::open(StoreOptions {
            unit_conversion: Some(Arc::new(ucum::convert)),
            group_changes_min,
            ..StoreOptions::new(config.database.clone(), Arc::clone(&clock))
        })
        .await?;
        let definitions = KnownDefinitions::open(&config.packages).map_err(StartError::Package)?;
        let server = Self::with_definitions(config, http, store, clock, random_ids(), definitions);
        // Definitions whose index is complete are there at once; others are indexed first, without holding up the start.
        if let Err(error) = custom::load(&server).await {
            tracing::error!(%error, "added search parameters cannot be taken up");
        }
        custom::refresh_soon(&server);
        Ok(server)
    }

    /// The same with a store that is already open, a clock and a source of ids. To be called inside a runtime.
    pub fn with_store(
        config: Config,
        http: SocketAddr,
        store: Store,
        clock: Clock,
        ids: IdSource,
    ) -> Arc<Self> {
        let definitions = KnownDefinitions::default();
        Self::with_definitions(config, http, store, clock, ids, definitions)
    }

    fn with_definitions(
        config: Config,
        http: SocketAddr,
        store: Store,
        clock: Clock,
        ids: IdSource,
        definitions: KnownDefinitions,
    ) -> Arc<Self> {
        let (base_url, own_bases) = bases(&config, http);
        let metrics = Arc::new(Metrics::default());
        // Other processes may write to PostgreSQL; what they write would not be seen here.
        let is_cached = config.cache_bytes > 0 && matches!(store, Store::Sqlite(_));
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            custom: Custom::default(),
            statement: RwLock::default(),
            words_lane: Arc::default(),
            exports: Jobs::new(export_folder(&config)),
            cache: is_cached.then(|| BodyCache::new(config.cache_bytes)),
            reads: ReadTrail::new(Arc::clone(&metrics)),
            signer: Signer::new(store.secret()),
            feeds: Feeds::default(),
            retry_lane: Mutex::new(()),
            references: Arc::default(),
            devices: ingest::directory::DirectoryCache::default(),
            sources: OnceLock::new(),
            messages: crate::messages::Shared::default(),
            runtime: tokio::runtime::Handle::current(),
            tenants: Tenants::default(),
            live: crate::live::Live::default(),
            stopping: AtomicBool::new(false),
            definitions,
            // `Config::check` has read them once already.
            rules: Rules::parse(&config.validation_rules).unwrap_or_default(),
            config,
            base_url,
            own_bases,
            store,
            metrics,
            clock,
            ids,
        })
    }

    /// The current version of a resource, also of a deleted one, out of memory or the database.
    ///
    /// # Errors
    /// `unavailable`, `overloaded`, `internal`
    pub async fn current(&self, key: &ResourceKey) -> Result<Option<Stored>, Problem> {
        let Some(cache) = &self.cache else {
            return self.store.read(key).await.map_err(|e| store_problem(&e));
        };
        if let Some(stored) = cache.get(key) {
            return Ok(Some(stored));
        }
        let ticket = cache.ticket(key);
        let stored = self.store.read(key).await.map_err(|e| store_problem(&e))?;
        if let Some(stored) = &stored {
            cache.fill(ticket, stored);
        }
        Ok(stored)
    }

    /// The server as work that goes on behind a request holds it.
    pub fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// The CapabilityStatement, made when it is not there.
    pub fn statement(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        let kept = self
            .statement
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        kept.unwrap_or_else(|| {
            let made = make();
            let mut slot = self
                .statement
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *slot = Some(made.clone());
            made
        })
    }

    /// What the server can do has changed.
    pub fn forget_statement(&self) {
        *self
            .statement
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is known of value sets and code systems.
    pub fn codes(&self) -> Arc<Catalogue> {
        self.definitions.current()
    }

    /// Whether the server has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The store's counters for the metrics text.
    pub fn store_figures(&self) -> StoreFigures {
        let figures = self.store.metrics();
        StoreFigures {
            queue_depth: figures.queue_commits,
            groups: figures.groups,
            commits: figures.commits,
            refused: figures.overloads,
        }
    }

    /// The index entries of a resource.
    pub fn extract<'a>(
        &self,
        resource_type: ResourceTypeId,
        resource: ValueRef<'a>,
    ) -> Vec<IndexEntry<'a>> {
        let own_bases = self.own_bases();
        let context = Context {
            base_urls: &own_bases,
            zone: Zone::UTC,
        };
        match self.custom.extractor() {
            Some(extractor) => extractor.extract(resource_type, resource, &context),
            None => Extractor::r4().extract(resource_type, resource, &context),
        }
    }

    /// What the own bases are, as the reading of references wants them.
    pub fn own_bases(&self) -> Vec<&str> {
        self.own_bases.iter().map(String::as_str).collect()
    }
}

/// Where exports are written: as set, or beside a database file, or in the system's folder for passing files.
fn export_folder(config: &Config) -> PathBuf {
    if let Some(folder) = &config.export_folder {
        return folder.clone();
    }
    match config.database.strip_prefix("sqlite:") {
        Some(path) => PathBuf::from(format!("{path}.export")),
        None => std::env::temp_dir().join("stoker-export"),
    }
}

fn bases(config: &Config, http: SocketAddr) -> (String, Vec<String>) {
    let bound = format!("http://{http}/fhir");
    let by_name = format!("http://localhost:{}/fhir", http.port());
    let base_url = match &config.base_url {
        Some(url) => url.clone(),
        None if http.ip().is_unspecified() => by_name.clone(),
        None => bound.clone(),
    };
    let mut own = vec![base_url.clone()];
    for base in [bound, by_name] {
        if !own.contains(&base) {
            own.push(base);
        }
    }
    (base_url, own)
}

/// The answer to a store that could not.
pub fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::TooCostly(_) => Problem::new(
            ErrorKind::TOO_COSTLY,
            "the search takes too long; narrow it, for example by patient or date",
        ),
        StoreError::Overloaded => Problem::new(
            ErrorKind::OVERLOADED,
            "too many requests wait; try again later",
        ),
        StoreError::Unavailable(_) => {
            tracing::error!(%error, "the database is unavailable");
            Problem::new(
                ErrorKind::UNAVAILABLE,
                "the database is unavailable; try again later",
            )
        }
        StoreError::Invalid(_) => Problem::new(
            ErrorKind::BAD_CURSOR,
            "the paging link does not fit this database",
        ),
        StoreError::NewerSchema { .. } | StoreError::Internal(_) => {
            tracing::error!(%error, "the store failed");
            Problem::new(
                ErrorKind::INTERNAL,
                "something unexpected happened; the server's log has more",
            )
        }
    }
}

/// A server that answers.
pub struct App {
    /// What its requests share.
    pub server: Arc<Server>,
    /// Where HTTP is answered.
    pub http: SocketAddr,
    /// Where HL7 v2 messages are taken.
    pub mllp: Option<SocketAddr>,
    /// Where each feed listened at the start, by name.
    pub feeds: Vec<(String, Transport, SocketAddr)>,
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    recording: JoinHandle<()>,
    brokers: ingest::mqtt::Brokers,
}

impl App {
    /// Starts the server and returns when it answers.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        // The address is known only after binding, and the shared state needs it.
        let shared: Arc<OnceLock<web::Data<Server>>> = Arc::new(OnceLock::new());
        let for_workers = Arc::clone(&shared);
        let (workers, stop_seconds) = (config.workers, config.stop_seconds);
        let wanted = config.http;
        let origins = Origins::of(config.cors_origins.as_deref());
        let builder = HttpServer::new(move || {
            let state = for_workers.get().cloned();
            let origins = origins.clone();
            actix_web::App::new()
                .wrap(actix_web::middleware::from_fn(move |request, next| {
                    cors::around(origins.clone(), request, next)
                }))
                .wrap(actix_web::middleware::Compress::default())
                .wrap(actix_web::middleware::from_fn(only_administrators))
                .configure(move |urls| routes::configure(urls, state))
        })
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(stop_seconds)
        .bind(wanted)
        .map_err(|e| StartError::Bind("http", wanted, e.to_string()))?;
        let http = builder.addrs().first().copied().unwrap_or(wanted);

        let server = Server::open(config, http).await?;
        if let Err(problem) = crate::gateway::finish_merges(&server).await {
            tracing::error!(%problem, "merges of an earlier run are not finished yet");
        }
        server
            .feeds
            .start(&server)
            .await
            .map_err(StartError::Feed)?;
        let feeds = server.feeds.addresses();
        let tenants = Tenants::start(&server).await;
        tenants.map_err(|e| StartError::Config(ConfigError(e)))?;
        let sources = ingest::Sources::load(&server.config);
        let sources = sources.map_err(|why| StartError::Config(ConfigError(why)))?;
        let brokers = ingest::mqtt::Brokers::start(&server, &sources);
        let brokers = brokers.map_err(|why| StartError::Config(ConfigError(why)))?;
        let _ = server.sources.set(sources);
        let live = crate::live::start(&server);
        live.map_err(|why| StartError::Config(ConfigError(why)))?;
        let _ = shared.set(web::Data::from(Arc::clone(&server)));
        let running = builder.run();
        let handle = running.handle();
        let serving = tokio::spawn(running);
        let recorder = Arc::clone(&server);
        let recording = tokio::spawn(async move { recorder.reads.run(&recorder.store).await });
        tracing::info!(%http, base_url = %server.base_url, feeds = feeds.len(), "the server answers");
        Ok(Self {
            mllp: feeds
                .iter()
                .find(|(name, ..)| *name == server.config.mllp_feed)
                .map(|(.., address)| *address),
            feeds,
            server,
            http,
            handle,
            serving,
            recording,
            brokers,
        })
    }

    /// Stops: what was received is finished and answered, nothing new is taken, the database is closed.
    pub async fn stop(self) {
        self.server.stopping.store(true, Ordering::Relaxed);
        self.server.tenants.stop();
        self.server.feeds.stop().await;
        self.brokers.stop().await;
        self.server.live.stop().await;
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.serving.await {
            tracing::error!(%error, "the HTTP server ended with an error");
        }
        self.recording.abort();
        self.server.reads.flush(&self.server.store).await;
        self.server.store.close().await;
        tracing::info!("the server has stopped");
    }
}

/// Why the server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The settings do not go together.
    Config(ConfigError),
    /// An address cannot be listened on: setting, address, reason.
    Bind(&'static str, SocketAddr, String),
    /// A package of definitions cannot be read: which and why.
    Package(String),
    /// A feed of the settings cannot be started.
    Feed(String),
    /// The database cannot be opened.
    Store(StoreError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Bind(setting, address, why) => {
                write!(
                    f,
                    "`{setting}` = {address} cannot be listened on: {why}; stop what uses it or choose another port"
                )
            }
            Self::Package(why) => write!(f, "a package cannot be read: {why}"),
            Self::Feed(why) => f.write_str(why),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_configured_one_or_made_from_the_address() {
        let config = Config::default();
        let (base, own) = bases(&config, "127.0.0.1:81".parse().unwrap());
        assert_eq!(base, "http://127.0.0.1:81/fhir");
        assert_eq!(
            own,
            ["http://127.0.0.1:81/fhir", "http://localhost:81/fhir"]
        );
        let (base, _) = bases(&config, "0.0.0.0:81".parse().unwrap());
        assert_eq!(base, "http://localhost:81/fhir");
        let config = Config {
            base_url: Some("https://fhir.example.org/r4".to_owned()),
            ..config
        };
        let (base, own) = bases(&config, "127.0.0.1:81".parse().unwrap());
        assert_eq!(base, "https://fhir.example.org/r4");
        assert_eq!(own.len(), 3);
    }
}
