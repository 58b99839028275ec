//! What everything that receives for one feed shares: how messages are read, where they go, how many at a time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::counters::{Counters, add};
use crate::hl7v2::datetime::Dtm;
use crate::issue::{Issue, Severity};
use crate::listener::{Settings, Surroundings};
use crate::pipeline::{Answer, Envelope, Pipeline, Reading};
use crate::port::{AckCode, Gateway, IntakeError};

/// Messages up to this size, bytes, are read and mapped on the receiver's own thread: some milliseconds at most.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Of one feed.
pub(crate) struct Shared {
    pub settings: Settings,
    pub pipeline: Arc<Pipeline>,
    pub gateway: Arc<dyn Gateway>,
    pub surroundings: Surroundings,
    pub counters: Arc<Counters>,
    /// Messages that may commit at the same time.
    pub commits: Arc<Semaphore>,
    /// Large frames that may be received at the same time.
    pub large: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        pipeline: Arc<Pipeline>,
        gateway: Arc<dyn Gateway>,
        surroundings: Surroundings,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        counters.begun((surroundings.now)());
        Arc::new(Self {
            commits: Arc::new(Semaphore::new(settings.commits_max.max(1))),
            large: Arc::new(Semaphore::new(settings.large_frames_max.max(1))),
            settings,
            pipeline,
            gateway,
            surroundings,
            counters,
        })
    }

    /// Reads and maps; `None` when that failed in a way that should not be possible.
    pub(crate) async fn read(&self, raw: Bytes) -> Option<Reading> {
        self.read_by(raw, Pipeline::read).await
    }

    /// Reads a message that must be refused for a reason outside of itself.
    pub(crate) async fn refuse(&self, raw: Bytes, reason: Issue) -> Option<Reading> {
        let refuse = move |pipeline: &Pipeline, raw| pipeline.refuse(raw, AckCode::Error, reason);
        self.read_by(raw, refuse).await
    }

    async fn read_by(
        &self,
        raw: Bytes,
        read: impl FnOnce(&Pipeline, Bytes) -> Reading + Send + 'static,
    ) -> Option<Reading> {
        add(&self.counters.received, 1);
        add(&self.counters.received_bytes, raw.len() as u64);
        self.counters.heard((self.surroundings.now)());
        let pipeline = Arc::clone(&self.pipeline);
        if raw.len() <= INLINE_BYTES_MAX {
            return Some(read(&pipeline, raw));
        }
        let read = tokio::task::spawn_blocking(move || read(&pipeline, raw)).await;
        read.inspect_err(|_| tracing::error!("reading a message panicked; it is not answered"))
            .ok()
    }

    /// Hands a message to the gateway and makes its answer.
    pub(crate) async fn commit(&self, reading: Reading) -> Answer {
        let Reading {
            intake, envelope, ..
        } = reading;
        let result = match self.commits.acquire().await {
            Ok(_permit) => self.gateway.commit(intake).await,
            Err(_) => Err(IntakeError::Overloaded),
        };
        envelope.answer(&result, &mut || self.stamp())
    }

    /// The answer to a message that is too large to be taken. Sending it again would not help, so that later messages
    /// need not wait for it.
    pub(crate) fn too_large(&self, bytes: usize, head: &[u8]) -> Answer {
        let max = self.settings.frame_bytes_max;
        tracing::warn!(bytes, max, "a message is too large and was left out");
        add(&self.counters.frames_too_large, 1);
        let envelope = Envelope::of_unread(head, self.pipeline.feed().acknowledge);
        let text = format!(
            "the message is larger than {max} bytes and was not stored; raise the feed's `message_bytes_max`"
        );
        let issue = Issue::new(Severity::Error, "frame-too-large", text);
        let reason = Some(issue.to_string());
        match envelope.not_stored(issue, &mut || self.stamp()) {
            Answer::NotStored(ack) => Answer::Kept {
                code: AckCode::Reject,
                acks: ack.into_iter().collect(),
                reason,
            },
            other => other,
        }
    }

    pub(crate) fn stamp(&self) -> (Dtm, String) {
        self.surroundings.stamp()
    }
}
