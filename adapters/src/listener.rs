//! The MLLP adapter: listens on TCP or TLS, bounds connections, stops without losing or cutting an answer.
//!
//! HL7 v2 transport: see [`crate::mllp`]. When all connections are taken new ones wait in the system's queue, and
//! while messages are under way nothing is read: senders feel back-pressure, the server's memory does not grow.
//!
//! Left out on purpose: who a client certificate names. It must be signed by the feed's authority; that is all.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connection::serve;
use crate::counters::{Counters, add};
use crate::hl7v2::datetime::Dtm;
use crate::mllp::FRAME_BYTES_MAX;
use crate::network::{Network, is_allowed};
use crate::pipeline::Pipeline;
use crate::port::{Adapter, Gateway, Running};
use crate::shared::Shared;
use crate::stop::Stop;
use crate::tls::Acceptor;

/// Messages of one connection under way at once. Original mode senders wait for each answer, so 1 is the usual; 16
/// lets a pipelining sender fill one group commit.
pub const WINDOW: usize = 16;
/// Connections open at once; a hospital's interface engine opens a few dozen.
pub const CONNECTIONS_MAX: usize = 256;
/// Messages of all connections committing at once: enough to fill group commits, less than the store's queue.
pub const COMMITS_MAX: usize = 256;
/// Large messages received at once; the others wait, so that the memory of a feed stays bounded.
pub const LARGE_FRAMES_MAX: usize = 4;
/// Seconds of silence between frames before a connection is closed: senders keep connections open all day.
pub const IDLE_TIMEOUT_S: u64 = 24 * 60 * 60;
/// Seconds of silence inside a frame, or of an answer not taken, before the connection is closed.
pub const FRAME_TIMEOUT_S: u64 = 30;
/// Seconds to finish what was received when the server stops.
pub const STOP_TIMEOUT_S: u64 = 20;
/// Pause after the system refuses a connection, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Settings of the listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Largest frame, bytes.
    pub frame_bytes_max: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Messages of one connection under way at once.
    pub window: usize,
    /// Messages of all connections committing at once.
    pub commits_max: usize,
    /// Large messages received at once.
    pub large_frames_max: usize,
    /// Who may connect; everybody when empty.
    pub allow: Vec<Network>,
    /// Seconds of silence between frames before a connection is closed.
    pub idle_timeout_s: u64,
    /// Seconds of silence inside a frame before a connection is closed.
    pub frame_timeout_s: u64,
    /// Seconds to finish what was received when the server stops.
    pub stop_timeout_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 2575)),
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            window: WINDOW,
            commits_max: COMMITS_MAX,
            large_frames_max: LARGE_FRAMES_MAX,
            allow: Vec::new(),
            idle_timeout_s: IDLE_TIMEOUT_S,
            frame_timeout_s: FRAME_TIMEOUT_S,
            stop_timeout_s: STOP_TIMEOUT_S,
        }
    }
}

/// Clock and ids, passed in so that tests repeat.
#[derive(Clone)]
pub struct Surroundings {
    /// The time now.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// A control id, MSH-10, never used before; at most 20 characters for old receivers.
    pub control_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Surroundings {
    /// MSH-7 and MSH-10 of an answer.
    pub(crate) fn stamp(&self) -> (Dtm, String) {
        (Dtm::of((self.now)()), (self.control_id)())
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// The adapter, before it listens.
#[derive(Debug)]
pub struct Mllp {
    settings: Settings,
    pipeline: Pipeline,
    surroundings: Surroundings,
    counters: Arc<Counters>,
    tls: Option<Acceptor>,
}

impl Mllp {
    /// An adapter that is not listening yet.
    pub fn new(settings: Settings, pipeline: Pipeline, surroundings: Surroundings) -> Self {
        Self {
            settings,
            pipeline,
            surroundings,
            counters: Arc::default(),
            tls: None,
        }
    }

    /// The same, counting on where another one of the same feed has ended.
    #[must_use]
    pub fn with_counters(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(self, acceptor: Acceptor) -> Self {
        Self {
            tls: Some(acceptor),
            ..self
        }
    }

    /// Its counts, which go on after the start.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Adapter for Mllp {
    fn kind(&self) -> &'static str {
        "mllp"
    }

    fn start(
        self: Box<Self>,
        gateway: Arc<dyn Gateway>,
        stop: Stop,
    ) -> Pin<Box<dyn Future<Output = io::Result<Running>> + Send>> {
        Box::pin(async move {
            let listener = TcpListener::bind(self.settings.address).await?;
            let address = Some(listener.local_addr()?);
            let shared = Shared::new(
                self.settings,
                Arc::new(self.pipeline),
                gateway,
                self.surroundings,
                self.counters,
            );
            Ok(Running {
                address,
                finished: tokio::spawn(accept(listener, self.tls, shared, stop)),
            })
        })
    }
}

async fn accept(listener: TcpListener, tls: Option<Acceptor>, shared: Arc<Shared>, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(shared.settings.connections_max.max(1)));
    let mut connections = JoinSet::new();
    while !stop.is_asked() {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stop.asked() => break,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Ok((_, peer)) if !is_allowed(&shared.settings.allow, peer.ip()) => {
                add(&shared.counters.connections_refused, 1);
                tracing::warn!(%peer, "a connection was refused: its address is not in `allow`");
            }
            Ok((stream, _)) => {
                let (tls, shared, stop) = (tls.clone(), Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    add(&shared.counters.connections, 1);
                    let _open = OpenConnection::new(Arc::clone(&shared.counters));
                    greet(stream, tls, shared, stop).await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    let patience = Duration::from_secs(shared.settings.stop_timeout_s);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, finished).await.is_err() {
        let open = connections.len();
        tracing::warn!(
            open,
            "connections did not finish in time and were closed; their senders send again"
        );
    }
}

/// Makes the connection secure where it has to be, and serves it.
async fn greet(stream: TcpStream, tls: Option<Acceptor>, shared: Arc<Shared>, mut stop: Stop) {
    // Answers are short and waited for; holding them back for fuller packets only costs time.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve(stream, shared, stop).await;
    };
    let patience = Duration::from_secs(shared.settings.frame_timeout_s);
    let accepted = tokio::select! {
        biased;
        () = stop.asked() => return,
        accepted = tokio::time::timeout(patience, tls.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => serve(stream, shared, stop).await,
        Ok(Err(error)) => {
            add(&shared.counters.connections_refused, 1);
            tracing::warn!(%error, "a connection was refused: TLS failed");
        }
        Err(_) => {
            add(&shared.counters.connections_refused, 1);
            tracing::warn!("a connection was refused: TLS was not begun in time");
        }
    }
}

/// Counts a connection while it is open, also when its task panics.
struct OpenConnection(Arc<Counters>);

impl OpenConnection {
    fn new(counters: Arc<Counters>) -> Self {
        add(&counters.connections_open, 1);
        Self(counters)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}
