//! Messages of one sender on their way: committed together where they may be, answered in the order received.
//!
//! Contract: `adapters/README.md`. Messages that share a resource are committed one after the other, so that
//! a patient's later message never overtakes an earlier one; others are committed together.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::pipeline::{Answer, Reading};
use crate::shared::Shared;

/// A message whose commit has begun. Its task goes on even when its sender is gone: what is stored is stored, and the
/// sender's second copy is recognised.
struct InFlight {
    keys: HashSet<String>,
    bytes: usize,
    answer: JoinHandle<Answer>,
}

/// The messages of one sender.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    in_flight: VecDeque<InFlight>,
    /// Read and mapped, waiting for an earlier message about the same resource.
    held: Option<Reading>,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            in_flight: VecDeque::new(),
            held: None,
        }
    }

    /// Whether nothing waits to be answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.held.is_none()
    }

    /// Whether a message's commit is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Whether one more may be taken: reading stops, and with it the sender, while there is none.
    pub(crate) fn has_room(&self) -> bool {
        let bytes: usize = self.in_flight.iter().map(|m| m.bytes).sum();
        self.held.is_none()
            && self.in_flight.len() < self.shared.settings.window.max(1)
            && bytes <= self.shared.settings.frame_bytes_max
    }

    /// Begins the message that had to wait, if it may begin now.
    pub(crate) fn release(&mut self) {
        if let Some(reading) = self.held.take() {
            self.submit(reading);
        }
    }

    /// Begins a message's commit, or holds it. To be called only when there is room.
    pub(crate) fn submit(&mut self, reading: Reading) {
        // A refused message has no resources and waits for nothing.
        let shares = |m: &InFlight| !m.keys.is_disjoint(&reading.keys);
        if self.in_flight.iter().any(shares) {
            self.held = Some(reading);
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.in_flight.push_back(InFlight {
            keys: reading.keys.clone(),
            bytes: reading.intake.raw.len(),
            answer: tokio::spawn(async move { shared.commit(reading).await }),
        });
    }

    /// Puts an answer that is known already into the order.
    pub(crate) fn submit_answer(&mut self, answer: Answer) {
        self.in_flight.push_back(InFlight {
            keys: HashSet::new(),
            bytes: 0,
            answer: tokio::spawn(async move { answer }),
        });
    }

    /// The answer of the oldest message; waits for ever when there is none. `None` when its commit panicked: whether it
    /// was stored is not known then, so nothing may be said about it.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        let answer = match self.in_flight.front_mut() {
            Some(message) => (&mut message.answer).await.ok(),
            None => return std::future::pending().await,
        };
        self.in_flight.pop_front();
        answer
    }

    /// The answer of the oldest message if it is there.
    pub(crate) async fn next_finished(&mut self) -> Option<Option<Answer>> {
        match self.in_flight.front() {
            Some(message) if message.answer.is_finished() => Some(self.next().await),
            _ => None,
        }
    }
}
