//! The port between device sources and the server: a payload goes in, and what became of each measurement comes back.
//!
//! Contract: `adapters/README.md`; resolves only when raw payload, resources and samples are durable together.
//!
//! Left out on purpose: ordering. The sources' revisions decide, so payloads may be taken side by side.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use adapters::IntakeError;

use crate::ingest::{Ingest, Payload, Reported};

/// The future a [`DevicePort`] answers with.
pub type Taking = Pin<Box<dyn Future<Output = Result<Taken, IntakeError>> + Send>>;

/// What device sources see of the server.
pub trait DevicePort: Send + Sync + 'static {
    /// Reads a payload and stores all of it in one durable transaction.
    ///
    /// With [`IntakeError::Overloaded`] and [`IntakeError::Unavailable`] nothing was stored.
    fn take(&self, ingest: Arc<Ingest>, payload: Payload) -> Taking;
}

/// What became of a payload that is durably kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Id of the kept message.
    pub message_id: String,
    /// True when the same payload gave the same before: nothing changed.
    pub repeat: bool,
    /// Why nothing of it could be read; it waits in quarantine.
    pub refused: Option<String>,
    /// One for every measurement, in payload order.
    pub results: Vec<Reported>,
}
