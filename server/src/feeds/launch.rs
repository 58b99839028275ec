//! From the settings of a feed to something that runs, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adapters::exchange::Exchange;
use adapters::feed::Feed;
use adapters::folder::{Folder, Pause};
use adapters::listener::{Mllp, Surroundings};
use adapters::pipeline::Pipeline;
use adapters::tls::Acceptor;
use adapters::{Adapter, Counters, Running, StopHandle};
use mappings::Library;

use super::settings::{FeedSettings, Transport};
use crate::app::Server;
use crate::gateway::ServerGateway;
use crate::messages::shared::OnError;

/// A feed that runs.
pub(super) enum Launched {
    /// It has a task of its own.
    Adapter(StopHandle, Running),
    /// It is asked by the HTTP server.
    Exchange(Exchange),
}

/// A feed that was asked to stop.
pub(super) struct Stopping(Option<Running>);

impl Launched {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Adapter(_, running) => running.address,
            Self::Exchange(_) => None,
        }
    }

    pub(super) fn exchange(&self) -> Option<Exchange> {
        match self {
            Self::Adapter(..) => None,
            Self::Exchange(exchange) => Some(exchange.clone()),
        }
    }

    /// Asks it to finish what it has received.
    pub(super) fn ask(self) -> Stopping {
        match self {
            Self::Adapter(handle, running) => {
                handle.stop();
                Stopping(Some(running))
            }
            // Requests that are under way end with the HTTP server, which waits for them.
            Self::Exchange(_) => Stopping(None),
        }
    }
}

impl Stopping {
    /// Resolves when it has.
    pub(super) async fn finished(self) {
        if let Some(running) = self.0
            && let Err(error) = running.finished.await
        {
            tracing::error!(%error, "a feed ended unexpectedly");
        }
    }
}

/// What a feed needs of files: its mappings and its certificates.
pub(super) struct Prepared {
    pipeline: Pipeline,
    tls: Option<Acceptor>,
}

/// Reads mappings and certificates.
///
/// # Errors
/// A sentence naming setting or file.
pub(super) fn prepare(server: &Server, settings: &FeedSettings) -> Result<Prepared, String> {
    let feed = Feed::new(&settings.options())?;
    if let Some(policy) = &settings.on_error {
        OnError::parse(policy)?;
    }
    let folder = settings
        .mappings
        .as_ref()
        .or(server.config.mappings.as_ref());
    let library = match folder {
        Some(folder) => Library::load(folder)
            .map_err(|errors| format!("`mappings` {}: {errors}", folder.display())),
        None => Library::embedded().map_err(|errors| errors.to_string()),
    };
    let pipeline = Pipeline::new(feed, library?);
    // Messages of a feed are also read while it does not run: for replays and previews.
    server.messages.register(pipeline.clone())?;
    Ok(Prepared {
        pipeline,
        tls: settings.tls().as_ref().map(Acceptor::new).transpose()?,
    })
}

/// Starts a feed; it takes messages when this returns.
///
/// # Errors
/// A sentence naming setting, file or address.
pub(super) async fn launch(
    server: &Arc<Server>,
    settings: &FeedSettings,
    counters: &Arc<Counters>,
) -> Result<Launched, String> {
    let Prepared { pipeline, tls } = prepare(server, settings)?;
    let gateway = ServerGateway::new(Arc::clone(server));
    let (limits, surroundings) = (settings.limits(), surroundings(server));
    let counters = Arc::clone(counters);
    let adapter: Box<dyn Adapter> = match settings.transport {
        Transport::Http => {
            let exchange = Exchange::new(limits, pipeline, gateway, surroundings, counters);
            return Ok(Launched::Exchange(exchange));
        }
        Transport::Mllp | Transport::MllpTls => {
            let mllp = Mllp::new(limits, pipeline, surroundings).with_counters(counters);
            Box::new(match tls {
                Some(tls) => mllp.with_tls(tls),
                None => mllp,
            })
        }
        Transport::Folder => {
            let folder = settings
                .folder()
                .ok_or_else(|| "transport `folder` needs `folder`".to_owned())?;
            let folder = Folder::new(folder, limits, pipeline, surroundings, pause());
            Box::new(folder.with_counters(counters))
        }
    };
    let (handle, stop) = StopHandle::new();
    // The feed lives longer than the request that registers it, which may be served by a thread that ends earlier.
    let starting = server.runtime.spawn(adapter.start(gateway, stop));
    let running = starting.await.map_err(|e| e.to_string())?;
    let running = running.map_err(|e| match settings.address {
        Some(address) => format!("`address` {address} cannot be listened on: {e}"),
        None => e.to_string(),
    })?;
    Ok(Launched::Adapter(handle, running))
}

fn pause() -> Pause {
    Arc::new(|duration| Box::pin(tokio::time::sleep(duration)))
}

fn surroundings(server: &Arc<Server>) -> Surroundings {
    let (clock, ids) = (Arc::clone(&server.clock), Arc::clone(&server.ids));
    let now = move || -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(clock().0).unwrap_or(0))
    };
    Surroundings {
        now: Arc::new(now),
        control_id: Arc::new(move || ids().to_string()),
    }
}
