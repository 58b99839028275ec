//! What an adapter counts, for metrics. Numbers only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::port::AckCode;

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

    pub(crate) fn answered(&self, code: AckCode) {
        let counter = match code {
            AckCode::Accept => &self.accepted,
            AckCode::Error => &self.errors,
            AckCode::Reject => &self.rejected,
        };
        add(counter, 1);
    }
}

/// Counters are read by people now and then; they order nothing.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
