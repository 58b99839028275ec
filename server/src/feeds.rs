//! The feeds of this server: started with it, stopped before it.
//!
//! Today one: HL7 v2 over MLLP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adapters::feed::{Feed, FeedSettings};
use adapters::listener::{Mllp, Settings, Surroundings};
use adapters::pipeline::Pipeline;
use adapters::{Adapter, Running, StopHandle};
use mappings::Library;

use crate::app::Server;
use crate::config::Config;
use crate::gateway::ServerGateway;

/// The feeds that run.
pub struct Feeds {
    address: Option<SocketAddr>,
    running: Mutex<Option<(StopHandle, Running)>>,
}

impl Feeds {
    /// No feed.
    pub fn none() -> Self {
        Self {
            address: None,
            running: Mutex::new(None),
        }
    }

    /// Starts to take HL7 v2 messages; returns when it listens.
    ///
    /// # Errors
    /// Mappings or settings that cannot be used, or an address that cannot be listened on.
    pub async fn start(server: &Arc<Server>, address: SocketAddr) -> Result<Self, String> {
        let feed = Feed::new(&settings(&server.config))?;
        let library = match &server.config.mappings {
            Some(folder) => Library::load(folder),
            None => Library::embedded(),
        };
        let pipeline = Pipeline::new(feed, library.map_err(|errors| errors.to_string())?);
        server.messages.register(pipeline.clone())?;
        let listener = Settings {
            address,
            ..Settings::default()
        };
        let adapter = Box::new(Mllp::new(listener, pipeline, surroundings(server)));
        let (handle, stop) = StopHandle::new();
        let gateway = ServerGateway::new(Arc::clone(server));
        let running = adapter
            .start(gateway, stop)
            .await
            .map_err(|e| e.to_string())?;
        Ok(Self {
            address: running.address,
            running: Mutex::new(Some((handle, running))),
        })
    }

    /// Where messages are taken.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops: what was received is committed and acknowledged, nothing new is read.
    pub async fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((handle, running)) = running else {
            return;
        };
        handle.stop();
        if let Err(error) = running.finished.await {
            tracing::error!(%error, "the MLLP listener ended unexpectedly");
        }
    }
}

fn settings(config: &Config) -> FeedSettings {
    let mut settings = FeedSettings {
        name: config.mllp_feed.clone(),
        ..FeedSettings::default()
    };
    if let Some(charset) = &config.mllp_charset {
        settings.charset.clone_from(charset);
    }
    settings.processing_ids = config
        .mllp_processing_ids
        .split(',')
        .map(|id| id.trim().to_owned())
        .collect();
    for (name, value) in [
        ("zone", &config.mllp_zone),
        ("default-authority", &config.mllp_default_authority),
        ("id-namespace", &config.mllp_id_namespace),
    ] {
        if let Some(value) = value {
            settings.mapping.insert(name.to_owned(), value.clone());
        }
    }
    settings
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
