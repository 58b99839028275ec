//! Where this suite keeps its copy: in memory. `tests/ehr` runs the same suite on the server's store.

use std::sync::Arc;

pub use ehr::memory::Memory as Kept;

/// An empty one.
pub async fn open() -> Arc<Kept> {
    Arc::new(Kept::default())
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    ehr::contract::check(&Kept::default()).await.unwrap();
}
