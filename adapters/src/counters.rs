//! What an adapter counts, for metrics. Numbers only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::port::AckCode;

/// Answers that the rate of errors looks at: as many as a word has bits.
pub const RECENT: u64 = u64::BITS as u64;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused: an address that is not allowed, or no TLS.
    pub connections_refused: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Messages received in whole frames.
    pub received: AtomicU64,
    /// Bytes of those messages.
    pub received_bytes: AtomicU64,
    /// When the last message was received, seconds since 1970; 0 for never.
    pub last_received_s: AtomicU64,
    /// Since when the feed runs, seconds since 1970; 0 while it has not run.
    pub since_s: AtomicU64,
    /// The last [`RECENT`] answers, the newest in the lowest bit: 1 for one that was not AA.
    pub recent: AtomicU64,
    /// Messages answered AA.
    pub accepted: AtomicU64,
    /// Messages answered AE; kept.
    pub errors: AtomicU64,
    /// Messages answered AR; kept.
    pub rejected: AtomicU64,
    /// Messages answered AR that were not stored.
    pub not_stored: AtomicU64,
    /// Frames that were started and never finished.
    pub frames_cut: AtomicU64,
    /// Frames over the limit.
    pub frames_too_large: AtomicU64,
    /// Bytes outside frames.
    pub garbage_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn heard(&self, now: SystemTime) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.last_received_s.store(seconds, Ordering::Relaxed);
    }

    /// The feed runs from here on, unless it did before.
    pub(crate) fn begun(&self, now: SystemTime) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let relaxed = Ordering::Relaxed;
        // Somebody was first: that time stands.
        let _ = self.since_s.compare_exchange(0, seconds, relaxed, relaxed);
    }

    /// Errors and rejections in a hundred of the last answers, at most [`RECENT`].
    pub fn error_percent(&self) -> u64 {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let answers = load(&self.accepted) + load(&self.errors) + load(&self.rejected);
        let wrong = u64::from(load(&self.recent).count_ones());
        wrong * 100 / answers.clamp(1, RECENT)
    }

    pub(crate) fn answered(&self, code: AckCode) {
        let counter = match code {
            AckCode::Accept => &self.accepted,
            AckCode::Error => &self.errors,
            AckCode::Reject => &self.rejected,
        };
        add(counter, 1);
        let bit = u64::from(code != AckCode::Accept);
        let shift = |recent: u64| Some(recent << 1 | bit);
        // The closure always gives a value.
        let _ = self
            .recent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-322, RC-322
    #[test]
    fn the_rate_of_errors_is_that_of_the_last_answers() {
        let counters = Counters::default();
        assert_eq!(counters.error_percent(), 0);
        counters.answered(AckCode::Accept);
        counters.answered(AckCode::Error);
        assert_eq!(counters.error_percent(), 50);
        (0..RECENT).for_each(|_| counters.answered(AckCode::Accept));
        assert_eq!(counters.error_percent(), 0);
        (0..RECENT * 2).for_each(|_| counters.answered(AckCode::Reject));
        assert_eq!(counters.error_percent(), 100);
    }
}

/// Counters are read by people now and then; they order nothing.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
