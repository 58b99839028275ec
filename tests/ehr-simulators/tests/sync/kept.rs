//! Where this suite keeps its copy: in memory. `tests/ehr` runs the same suite on the server's store.

use std::sync::Arc;

pub use ehr::memory::Memory as Kept;

/// An empty one.
pub async fn open() -> Arc<Kept> {
    Arc::new(Kept::default())
}
