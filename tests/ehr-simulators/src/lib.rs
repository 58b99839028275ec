//! Loopback simulators of Epic's and Oracle Health's FHIR R4 APIs, with their quirks and with faults to switch on.
//!
//! Spec: the vendors' documentation and public captures of 2026-04/05, from which the shapes are derived; the people
//! and values are made up here. Passing against them proves agreement with those documents, not with a real EHR.
//! Leaves out changing and deleting over the API, and the pages of user logins.

mod bulk;
mod epic;
mod oracle;
mod outcome;
mod render;
mod server;
mod token;
pub mod wire;
pub mod world;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fhir_core::json::Value;

pub use token::Client;
pub use world::{Row, World};

/// Which EHR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Epic on FHIR.
    Epic,
    /// Oracle Health (Cerner Millennium).
    Oracle,
}

/// Faults, each as "every n-th FHIR request"; 0 is never.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// 429 with `Retry-After: 1`.
    pub throttle_every: u64,
    /// 503 with an HTML body.
    pub html_503_every: u64,
    /// The token is forgotten: 401.
    pub expire_token_every: u64,
    /// All page sessions (Epic) or page contexts (Oracle) die.
    pub kill_pages_every: u64,
    /// The connection is closed in the middle of the body.
    pub cut_every: u64,
    /// Categories and types refused with 403.
    pub forbidden: Vec<String>,
    /// Epic: kinds of data kept back, as a 59204 warning on every page.
    pub withheld: Vec<String>,
    /// Ids of rows that are not served, as if they were of such a kind.
    pub hidden: Vec<String>,
    /// Epic: every page also holds a row of somebody else.
    pub foreign_rows: bool,
    /// Oracle: a row is corrected during the walk, and shows up again on a later page with a higher version.
    pub repeat_rows: bool,
    /// Oracle: a row shows up again on a later page as it was before it was changed.
    pub stale_rows: bool,
    /// The next created row is stored, and its answer is lost (504).
    pub lose_answer_of_write: bool,
    /// Oracle: the patient's own view, with results masked.
    pub mask: bool,
}

/// Everything a simulator knows.
pub struct State {
    /// The record.
    pub world: World,
    /// The faults.
    pub faults: Faults,
    /// Registered client.
    pub client: Client,
    pub(crate) vendor: Vendor,
    pub(crate) base: String,
    pub(crate) tokens: token::Tokens,
    pub(crate) requests: u64,
    pub(crate) pages: u64,
    pub(crate) sessions: epic::Sessions,
    pub(crate) generation: u64,
    pub(crate) storage: String,
    pub(crate) job: Option<bulk::Job>,
}

/// A running simulator; it stops when dropped.
pub struct Simulator {
    state: Arc<Mutex<State>>,
    base: String,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Simulator {
    /// Starts on the loopback interface; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub async fn start(
        vendor: Vendor,
        port: u16,
        world: World,
        client: Client,
    ) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let storage = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let base = match vendor {
            Vendor::Epic => format!("{origin}/interconnect-sim/api/FHIR/R4"),
            Vendor::Oracle => format!("{origin}/r4/00000000-0000-4000-8000-000000000001"),
        };
        let state = Arc::new(Mutex::new(State {
            world,
            faults: Faults::default(),
            client,
            vendor,
            base: base.clone(),
            tokens: token::Tokens::default(),
            requests: 0,
            pages: 0,
            sessions: epic::Sessions::default(),
            generation: 0,
            storage: format!("http://{}", storage.local_addr()?),
            job: None,
        }));
        let shared = state.clone();
        let files = server::serve(storage, shared.clone(), bulk::storage);
        let tasks = [
            tokio::spawn(server::serve(listener, shared, State::answer)),
            tokio::spawn(files),
        ];
        Ok(Self { state, base, tasks })
    }

    /// The FHIR base.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        token::url(&self.base)
    }

    /// Keeps the record's clock at the machine's, for as long as it is polled.
    pub async fn keep_time(&self) {
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            second.tick().await;
            self.with(|state| {
                let behind = wall_clock_s() - state.world.now_s();
                state.world.advance_s(behind);
            });
        }
    }

    /// Looks at or changes the state.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// FHIR requests answered so far.
    pub fn requests(&self) -> u64 {
        lock(&self.state).requests
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Seconds since 1970 by the machine's clock.
pub fn wall_clock_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Answers one request.
    pub(crate) fn answer(&mut self, request: &wire::Request) -> wire::Response {
        if request.path == token::path(&self.base) {
            return token::answer(self, request);
        }
        if request.path == token::authorize_path(&self.base) {
            return token::authorize(self, request);
        }
        let Some(path) = request.path.strip_prefix(&base_path(&self.base)) else {
            return wire::Response::html(404);
        };
        let path = path.trim_start_matches('/').to_owned();
        if path == ".well-known/smart-configuration" {
            return wire::Response::json(200, "application/json", &token::discovery(self));
        }
        if path == "metadata" {
            return match self.vendor {
                Vendor::Epic => epic::metadata(request),
                Vendor::Oracle => oracle::metadata(),
            };
        }
        self.requests += 1;
        if let Some(response) = self.fault() {
            return response;
        }
        if let Some(response) = bulk::answer(self, request, &path) {
            return response;
        }
        match self.vendor {
            Vendor::Epic => epic::answer(self, request, &path),
            Vendor::Oracle => oracle::answer(self, request, &path),
        }
    }

    fn fault(&mut self) -> Option<wire::Response> {
        let due = |every: u64| every > 0 && self.requests.is_multiple_of(every);
        let (throttle, html) = (
            due(self.faults.throttle_every),
            due(self.faults.html_503_every),
        );
        let (expire, kill, cut) = (
            due(self.faults.expire_token_every),
            due(self.faults.kill_pages_every),
            due(self.faults.cut_every),
        );
        if kill {
            self.sessions = epic::Sessions::default();
            self.generation += 1;
        }
        if expire {
            self.tokens.forget();
        }
        if throttle {
            return Some(wire::Response::empty(429).header("Retry-After", "1"));
        }
        if html {
            return Some(wire::Response::html(503));
        }
        cut.then(|| {
            let mut response = wire::Response::html(200);
            response.cut = true;
            response
        })
    }
}

/// The path part of a base address.
pub(crate) fn base_path(base: &str) -> String {
    let after = base.split("//").nth(1).unwrap_or_default();
    after
        .find('/')
        .and_then(|at| after.get(at..))
        .unwrap_or_default()
        .to_owned()
}

/// Short hand for an object.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::object(members)
}
