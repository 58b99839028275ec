//! Time and chance, passed in so that a run can be repeated exactly.
//!
//! Spec: none. Leaves out time zones: everything here is UTC.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fhir_core::ids::Instant;
use ring::rand::{SecureRandom, SystemRandom};

/// A boxed future, for traits that must stay usable as objects.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the adapter takes from its surroundings.
pub trait Surroundings: Send + Sync {
    /// The local clock.
    fn now(&self) -> Instant;
    /// Resolves after the duration.
    fn sleep(&self, duration: Duration) -> Later<'_, ()>;
    /// A fresh random number; used for jitter, `jti` and `state`.
    fn random(&self) -> u128;
}

/// The machine's clock and the operating system's random source.
#[derive(Debug, Default)]
pub struct Machine;

impl Surroundings for Machine {
    fn now(&self) -> Instant {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Instant(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) -> Later<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        // The operating system's source fails only when there is none; then no key or token is safe either.
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system has a random source");
        u128::from_le_bytes(bytes)
    }
}

/// `instant` moved by whole seconds, staying in range.
pub fn plus_seconds(instant: Instant, seconds: i64) -> Instant {
    Instant(instant.0.saturating_add(seconds.saturating_mul(1_000_000)))
}
