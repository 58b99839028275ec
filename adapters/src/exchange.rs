//! One message in, one answer out: for transports that carry a message and its answer together, such as HTTP.
//!
//! Contract: `adapters/README.md`. Each message is a sender of its own; who sends two at once asks for no order.

use std::sync::Arc;

use bytes::Bytes;

use crate::counters::{Counters, add};
use crate::listener::{Settings, Surroundings};
use crate::pipeline::{Answer, Pipeline};
use crate::port::Gateway;
use crate::shared::Shared;

/// Takes the messages of one feed.
#[derive(Clone)]
pub struct Exchange(Arc<Shared>);

impl Exchange {
    /// Of a feed, counting into `counters`.
    pub fn new(
        settings: Settings,
        pipeline: Pipeline,
        gateway: Arc<dyn Gateway>,
        surroundings: Surroundings,
        counters: Arc<Counters>,
    ) -> Self {
        Self(Shared::new(
            settings,
            Arc::new(pipeline),
            gateway,
            surroundings,
            counters,
        ))
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.0.counters)
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Reads, commits and answers; `None` when the outcome is not known. Goes on when the caller goes away.
    pub async fn receive(&self, raw: Bytes) -> Option<Answer> {
        let shared = Arc::clone(&self.0);
        let work = tokio::spawn(async move {
            let reading = shared.read(raw).await?;
            Some(shared.commit(reading).await)
        });
        let answer = work.await.ok().flatten();
        match &answer {
            Some(Answer::Kept { code, .. }) => self.0.counters.answered(*code),
            Some(Answer::NotStored(_)) => add(&self.0.counters.not_stored, 1),
            None => tracing::error!("a commit panicked; the message is not answered"),
        }
        answer
    }

    /// The answer to a message over the feed's limit, of which only the first bytes are known.
    pub fn too_large(&self, bytes: usize, head: &[u8]) -> Answer {
        self.0.too_large(bytes, head)
    }
}
