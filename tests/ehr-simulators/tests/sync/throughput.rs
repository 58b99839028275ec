//! How fast a first copy goes, printed: set `EHR_THROUGHPUT=people,rows`.

use std::sync::Arc;

use std::time::Instant;

use ehr_simulators::Vendor;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_copy_of_many_rows() {
    let Ok(size) = std::env::var("EHR_THROUGHPUT") else {
        return;
    };
    let (people, rows) = size.split_once(',').unwrap();
    let (people, rows) = (people.parse().unwrap(), rows.parse().unwrap());
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let mut stage = Stage::open(vendor, people, rows).await;
        let mut tenant = (*stage.tenant).clone();
        tenant.profile.page_size = 200;
        stage.tenant = Arc::new(tenant);
        let start = Instant::now();
        let report = stage.run().await;
        let first = start.elapsed();
        assert_eq!(report.counts.new, people * (rows + 1));
        let start = Instant::now();
        stage.advance_s(60);
        let again = stage.run().await;
        println!(
            "{vendor:?}: {} resources in {first:?} ({} requests); nothing new in {:?} ({} requests)",
            report.counts.new,
            report.requests,
            start.elapsed(),
            again.requests
        );
    }
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    ehr::contract::check(&ehr::memory::Memory::default())
        .await
        .unwrap();
}
