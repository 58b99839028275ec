//! Oracle Health: closed ranges, short tokens, oversized first pages, ids that change, the patient's masked view.

use std::sync::Arc;

use ehr::tenant::{Persona, Tenant};
use ehr_simulators::{Vendor, World};

use crate::stage::Stage;

#[tokio::test]
async fn first_run_copies_everything_and_the_second_changes_nothing() {
    let stage = Stage::open(Vendor::Oracle, 3, 40).await;
    let report = stage.run().await;
    stage.assert_equal();
    assert_eq!(report.counts.new, 3 + 120);
    stage.advance_s(60);
    let report = stage.run().await;
    assert_eq!((report.counts.new, report.counts.changed), (0, 0));
    stage.assert_equal();
}

/// Corrections arrive through `_lastUpdated` without a sweep, as a new version of the same resource.
#[tokio::test]
async fn corrections_replace_the_earlier_value_and_keep_history() {
    let stage = Stage::open(Vendor::Oracle, 1, 20).await;
    stage.run().await;
    stage.advance_s(7_200);
    let row = stage.simulator.with(|state| state.world.rows[2].id.clone());
    stage
        .simulator
        .with(|state| state.world.correct(&row, "4.10").is_some());
    stage.advance_s(10);
    let report = stage.run().await;
    assert_eq!((report.counts.new, report.counts.changed), (0, 1));
    stage.assert_equal();
    let local = ehr::identity::local_id("sim", "Observation", &row);
    assert_eq!(stage.memory.versions("Observation", &local), 2);
}

/// A copy from before the change that comes later must not bring the old value back.
///
/// Verifies: SRS-201, RC-201
#[tokio::test]
async fn an_older_version_that_comes_later_is_left_alone() {
    let stage = Stage::open(Vendor::Oracle, 2, 60).await;
    stage.simulator.with(|state| state.faults.stale_rows = true);
    let report = stage.run().await;
    assert!(report.counts.stale > 0, "{report:?}");
    assert_eq!(report.counts.new, 2 + 120);
    stage.assert_equal();
}

/// `BP-x-0` becomes `BP-x-y`: one row, not two.
#[tokio::test]
async fn a_blood_pressure_that_is_completed_stays_one_row() {
    let stage = Stage::open(Vendor::Oracle, 1, 5).await;
    let id = stage
        .simulator
        .with(|state| state.world.people.keys().next().cloned().unwrap());
    let half = stage
        .simulator
        .with(|state| state.world.add_pressure(&id, None));
    stage.advance_s(10);
    stage.run().await;
    stage.assert_equal();
    let local = ehr::identity::local_id("sim", "Observation", &half);
    stage.advance_s(60);
    stage
        .simulator
        .with(|state| state.world.complete_pressure(&half, "80"));
    stage.advance_s(10);
    stage.run().await;
    stage.assert_equal();
    assert_eq!(stage.memory.versions("Observation", &local), 2);
    for _ in 0..2 {
        stage.advance_s(8 * 86_400);
        assert_eq!(stage.run().await.counts.tombstoned, 0);
    }
    stage.assert_equal();
}

/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn with_every_fault_on_the_copy_still_equals_the_source() {
    let stage = Stage::open(Vendor::Oracle, 4, 60).await;
    stage.simulator.with(|state| {
        state.faults.throttle_every = 5;
        state.faults.html_503_every = 7;
        state.faults.expire_token_every = 17;
        state.faults.kill_pages_every = 41;
        state.faults.cut_every = 13;
        state.faults.repeat_rows = true;
    });
    for _ in 0..10 {
        let report = stage.run().await;
        stage.advance_s(1_000);
        if report.failed.is_empty() {
            break;
        }
    }
    stage.assert_equal();
}

/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn a_stop_at_any_page_boundary_loses_and_doubles_nothing() {
    for stop in 0.. {
        let stage = Stage::open(Vendor::Oracle, 2, 30).await;
        stage.memory.fail_after(Some(stop));
        if stage.run_with(stage.memory.clone()).run().await.is_ok() {
            assert!(stop > 10, "every boundary was tried");
            break;
        }
        stage.memory.fail_after(None);
        stage.run().await;
        stage.assert_equal();
        for (id, _) in stage.memory.live("Observation") {
            assert_eq!(stage.memory.versions("Observation", &id), 1);
        }
    }
}

/// The patient's own view is masked; it must not replace what a clinician's view gave.
#[tokio::test]
async fn a_masked_copy_never_overwrites_a_fuller_one() {
    let stage = Stage::open(Vendor::Oracle, 1, 15).await;
    stage.run().await;
    stage.simulator.with(|state| state.faults.mask = true);
    let masked = Tenant {
        persona: Persona::Patient,
        ..(*stage.tenant).clone()
    };
    let run =
        ehr::run::Run::new(Arc::new(masked), stage.memory.clone(), stage.clock.clone()).unwrap();
    let report = run.run().await.unwrap();
    assert!(report.counts.add_up());
    stage.simulator.with(|state| state.faults.mask = false);
    stage.assert_equal();
}

/// The merged id answers with an inactive patient that names its survivor.
///
/// Verifies: RC-002
#[tokio::test]
async fn merges_and_unmerges_follow_the_source() {
    let stage = Stage::with(
        Vendor::Oracle,
        World::synthetic(Vendor::Oracle, 2, 10),
        "",
        0,
    )
    .await;
    stage.run().await;
    let ids: Vec<String> = stage
        .simulator
        .with(|state| state.world.people.keys().cloned().collect());
    let moved: Vec<String> = stage.simulator.with(|state| {
        let rows = state.world.rows.iter().filter(|row| row.patient == ids[0]);
        rows.map(|row| row.id.clone()).collect()
    });
    stage.advance_s(60);
    stage
        .simulator
        .with(|state| state.world.merge(&ids[0], &ids[1]));
    stage.advance_s(60);
    assert_eq!(stage.run().await.merged, 1);
    stage.assert_equal();
    stage.advance_s(60);
    stage
        .simulator
        .with(|state| state.world.unmerge(&ids[0], &moved));
    stage.advance_s(60);
    stage.run().await;
    stage.assert_equal();
}
