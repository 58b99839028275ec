//! The copy in the server's store, with the questions that the suite asks of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conformance::Definitions;
use ehr::clock::Later;
use ehr::port::{
    Known, Member, Outdated, PageCommit, Port, PortError, SourceKey, WalkKey, WalkState,
};
use ehr::tenant::{IdentifierKey, Persona};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::json::Value;
use fhir_core::search::predicate::Predicate;
use fhir_store::{Only, SearchQuery, TotalMode};
use stoker::app::Server;
use stoker::config::Config;
use stoker::ehr::port::ServerPort;
use system_tests::postgres::Postgres;

/// Resources looked at by one question.
const ROWS_MAX: usize = 100_000;

pub struct Kept {
    server: Arc<Server>,
    port: ServerPort,
    commits: AtomicU64,
    writes: AtomicU64,
    raw_bytes: AtomicU64,
    limit: AtomicU64,
    _folder: tempfile::TempDir,
}

/// An empty one.
pub async fn open() -> Arc<Kept> {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("kept.db").display());
    open_on(database, folder).await
}

async fn open_on(database: String, folder: tempfile::TempDir) -> Arc<Kept> {
    let config = Config {
        database,
        ..Config::default()
    };
    let http = config.http;
    let server = Server::open(config, http).await.unwrap();
    Arc::new(Kept {
        port: ServerPort::new(Arc::clone(&server), "sim"),
        server,
        commits: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        raw_bytes: AtomicU64::new(0),
        limit: AtomicU64::new(u64::MAX),
        _folder: folder,
    })
}

/// Verifies: SRS-200, SRS-361, RC-200
#[test]
fn the_store_on_postgres_keeps_the_contract() {
    let Some(postgres) = Postgres::start().unwrap() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let kept = open_on(postgres.url.clone(), folder).await;
        ehr::contract::check(&kept.port).await.unwrap();
        kept.server.store.close().await;
    });
}

/// Waits on a thread of its own: the suite asks in the middle of async tests.
fn wait<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = || tokio::runtime::Builder::new_current_thread().build();
        let thread = scope.spawn(move || runtime().unwrap().block_on(work));
        thread.join().unwrap()
    })
}

impl Kept {
    /// Refuses every commit after `commits` more.
    pub fn fail_after(&self, commits: Option<u64>) {
        let done = self.commits.load(Ordering::SeqCst);
        let limit = commits.map_or(u64::MAX, |more| done + more);
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// Live resources of a type, by id.
    pub fn live(&self, resource_type: &str) -> Vec<(String, Value)> {
        let query = SearchQuery {
            resource_type: Definitions::r4().resource_type(resource_type).unwrap(),
            predicate: Predicate::Everything,
            sort: Vec::new(),
            limit: ROWS_MAX,
            after: None,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = wait(self.server.store.search(query)).unwrap();
        let live = page.matches.iter().map(|stored| {
            let body = Value::parse(&stored.json).unwrap();
            (stored.key.id.to_string(), body)
        });
        live.collect()
    }

    /// Versions ever written of a resource.
    pub fn versions(&self, resource_type: &str, id: &str) -> u32 {
        let key = ResourceKey {
            resource_type: Definitions::r4().resource_type(resource_type).unwrap(),
            id: ResourceId::parse(id).unwrap(),
        };
        let stored = wait(self.server.store.read(&key)).unwrap();
        stored.map_or(0, |stored| u32::try_from(stored.version.0).unwrap())
    }

    /// Commits, writes and raw bytes handed over so far.
    pub fn totals(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.commits), of(&self.writes), of(&self.raw_bytes))
    }
}

impl Port for Kept {
    fn walk(&self, key: &WalkKey) -> Later<'_, Result<WalkState, PortError>> {
        self.port.walk(key)
    }

    fn known(&self, keys: &[SourceKey]) -> Later<'_, Result<Vec<Option<Known>>, PortError>> {
        self.port.known(keys)
    }

    fn members(&self, key: &WalkKey) -> Later<'_, Result<Vec<Member>, PortError>> {
        self.port.members(key)
    }

    fn body(&self, of: &str, id: &str) -> Later<'_, Result<Option<Value>, PortError>> {
        self.port.body(of, id)
    }

    fn patients_with(
        &self,
        identifier: &IdentifierKey,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<String>, PortError>> {
        self.port.patients_with(identifier, except_tenant)
    }

    fn patients_born(
        &self,
        day: &str,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<(String, Value)>, PortError>> {
        self.port.patients_born(day, except_tenant)
    }

    fn outdated(
        &self,
        tenant: &str,
        persona: Persona,
        rules: &str,
        after: Option<&SourceKey>,
    ) -> Later<'_, Result<Vec<Outdated>, PortError>> {
        self.port.outdated(tenant, persona, rules, after)
    }

    fn written(&self, tenant: &str) -> Later<'_, Result<BTreeMap<String, String>, PortError>> {
        self.port.written(tenant)
    }

    fn accepts(&self, resource: &Value) -> Result<(), String> {
        self.port.accepts(resource)
    }

    fn commit(&self, page: PageCommit) -> Later<'_, Result<(), PortError>> {
        if self.commits.load(Ordering::SeqCst) >= self.limit.load(Ordering::SeqCst) {
            let error = PortError::Unavailable("stopped by the test".to_owned());
            return Box::pin(std::future::ready(Err(error)));
        }
        let (writes, bytes) = (page.writes.len() as u64, page.raw.len() as u64);
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.writes.fetch_add(writes, Ordering::SeqCst);
        self.raw_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.port.commit(page)
    }

    fn walks(&self, tenant: &str) -> Later<'_, Result<Vec<(WalkKey, WalkState)>, PortError>> {
        self.port.walks(tenant)
    }
}
