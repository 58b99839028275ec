//! Where time and randomness come from, so that everything else is a function of its input.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fhir_core::ids::{Instant, ResourceId};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Makes ids nobody can guess or repeat.
pub type IdSource = Arc<dyn Fn() -> ResourceId + Send + Sync>;

/// Characters of a new logical id: 5 random bits each, 100 in all.
const ID_LENGTH: usize = 20;

/// Lower case letters and digits without those that are easily confused.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Ids a thread draws at a time: every request has one, and asking the system costs more than the rest of an id.
const IDS_DRAWN: usize = 32;

thread_local! {
    static DRAWN: RefCell<Vec<[u8; ID_LENGTH]>> = const { RefCell::new(Vec::new()) };
}

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Instant(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    })
}

/// Ids from the operating system's randomness.
///
/// # Panics
/// When the operating system has no randomness: then no id is safe.
pub fn random_ids() -> IdSource {
    Arc::new(|| {
        DRAWN.with_borrow_mut(|drawn| {
            if drawn.is_empty() {
                let mut bytes = [0u8; ID_LENGTH * IDS_DRAWN];
                let filled = getrandom::fill(&mut bytes);
                assert!(filled.is_ok(), "the operating system gives no random bytes");
                drawn.extend(bytes.as_chunks().0);
            }
            // Each draw is used once.
            id_from(&drawn.pop().unwrap_or_else(|| unreachable!("filled above")))
        })
    })
}

fn id_from(bytes: &[u8; ID_LENGTH]) -> ResourceId {
    let text: String = bytes
        .iter()
        .map(|b| char::from(ALPHABET[usize::from(b & 31)]))
        .collect();
    let id = ResourceId::parse(&text);
    assert!(id.is_some(), "the alphabet holds only characters of an id");
    id.unwrap_or_else(|| unreachable!("checked above"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_valid() {
        let ids = random_ids();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            assert!(seen.insert(ids()));
        }
        assert_eq!(ids().as_str().len(), ID_LENGTH);
    }
}
