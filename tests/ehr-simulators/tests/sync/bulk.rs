//! Group export: redirects to a foreign file store, an absurd wait, a stop at every page, and `_since`.

use std::sync::Arc;

use ehr_simulators::Vendor;

use crate::stage::Stage;

async fn staged() -> Stage {
    let mut stage = Stage::open(Vendor::Oracle, 3, 40).await;
    let mut tenant = (*stage.tenant).clone();
    tenant.cohort.group = Some("g1".to_owned());
    stage.tenant = Arc::new(tenant);
    stage
}

#[tokio::test]
async fn an_export_copies_everything_and_the_next_only_what_changed() {
    let stage = staged().await;
    let report = stage.run_with(stage.memory.clone()).bulk().await.unwrap();
    assert_eq!(report.counts.new, 3 + 120);
    assert!(report.counts.add_up());
    stage.assert_equal();
    let slept = stage.clock.slept.lock().unwrap().clone();
    assert!(
        slept.iter().all(|wait| wait.as_secs() <= 300),
        "no wait of hours"
    );
    stage.advance_s(3_600);
    let row = stage.simulator.with(|state| state.world.rows[2].id.clone());
    stage
        .simulator
        .with(|state| state.world.correct(&row, "4.10").is_some());
    let report = stage.run_with(stage.memory.clone()).bulk().await.unwrap();
    assert_eq!((report.counts.received, report.counts.changed), (1, 1));
    stage.assert_equal();
}

/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn an_export_stopped_anywhere_goes_on() {
    for stop in 0.. {
        let stage = staged().await;
        stage.memory.fail_after(Some(stop));
        if stage.run_with(stage.memory.clone()).bulk().await.is_ok() {
            assert!(stop > 4, "every boundary was tried");
            break;
        }
        stage.memory.fail_after(None);
        stage.run_with(stage.memory.clone()).bulk().await.unwrap();
        stage.assert_equal();
        for (id, _) in stage.memory.live("Observation") {
            assert_eq!(stage.memory.versions("Observation", &id), 1);
        }
    }
}
