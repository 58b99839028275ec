//! Epic: no versions, no `_lastUpdated`, page sessions, data kept back.

use ehr_simulators::{Vendor, World};
use fhir_core::json::Value;

use crate::stage::{Stage, quirks, source_id};

#[tokio::test]
async fn first_run_copies_everything_and_the_second_changes_nothing() {
    let stage = Stage::open(Vendor::Epic, 3, 40).await;
    let report = stage.run().await;
    stage.assert_equal();
    assert_eq!(report.counts.new, 3 + 120);
    assert_eq!(report.failed, []);
    let (_, writes, _) = stage.memory.totals();
    stage.advance_s(60);
    let report = stage.run().await;
    stage.assert_equal();
    assert_eq!((report.counts.new, report.counts.changed), (0, 0));
    assert_eq!(
        stage.memory.totals().1,
        writes,
        "an unchanged row is not written again"
    );
}

/// An ES384 assertion passes the strict check, and `client_id` is left out; the clock skew of ten minutes is learnt.
#[tokio::test]
async fn a_skewed_clock_does_not_spoil_assertions_or_windows() {
    let world = World::synthetic(Vendor::Epic, 1, 10);
    let stage = Stage::with(Vendor::Epic, world, "", 600).await;
    stage.run().await;
    stage.assert_equal();
    let id = patient(&stage);
    stage.advance_s(30);
    stage.simulator.with(|state| {
        let now = state.world.now_s();
        state.world.add_number(&id, 0, now, now);
    });
    stage.advance_s(30);
    assert_eq!(stage.run().await.counts.new, 1);
    stage.assert_equal();
}

/// Filed years after it was true: a cursor over the effective date would miss it.
///
/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn late_filed_rows_are_found_without_a_sweep() {
    let stage = Stage::open(Vendor::Epic, 1, 10).await;
    stage.run().await;
    stage.advance_s(86_400);
    let id = patient(&stage);
    let row = stage.simulator.with(|state| {
        let now = state.world.now_s();
        state.world.add_number(&id, 2, now - 7 * 365 * 86_400, now)
    });
    stage.advance_s(10);
    let report = stage.run().await;
    stage.assert_equal();
    assert_eq!((report.counts.new, report.counts.late_filed), (1, 1));
    let live = stage.memory.live("Observation");
    let (_, body) = live
        .iter()
        .find(|(_, body)| source_id(body) == row)
        .unwrap();
    assert!(quirks(body).contains(&"late-filed".to_owned()));
}

/// Throttling, HTML errors, cut answers, forgotten tokens and dead sessions, all at once.
///
/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn with_every_fault_on_the_copy_still_equals_the_source() {
    let stage = Stage::open(Vendor::Epic, 4, 60).await;
    stage.simulator.with(|state| {
        state.faults.throttle_every = 5;
        state.faults.html_503_every = 7;
        state.faults.expire_token_every = 17;
        state.faults.kill_pages_every = 41;
        state.faults.cut_every = 13;
        state.faults.withheld = vec!["Observation - Outside Record Results".to_owned()];
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

/// A stop at every page boundary: the next run goes on at the page, nothing is doubled.
///
/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn a_stop_at_any_page_boundary_loses_and_doubles_nothing() {
    for stop in 0.. {
        let stage = Stage::open(Vendor::Epic, 2, 30).await;
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

/// A row of somebody else on a page is rejected, counted and named as a gap; it is stored with its own patient only.
///
/// Verifies: RC-002
#[tokio::test]
async fn rows_of_another_patient_are_rejected() {
    let stage = Stage::open(Vendor::Epic, 2, 12).await;
    stage
        .simulator
        .with(|state| state.faults.foreign_rows = true);
    let report = stage.run().await;
    assert!(report.counts.rejected > 0);
    assert_eq!(report.counts.new, 2 + 24);
    stage.assert_equal();
    let evidence = stage.memory.live("Basic");
    let named = evidence.iter().any(|(_, body)| {
        body.to_string()
            .contains("resources that could not be used")
    });
    assert!(named);
}

/// A row that vanished is kept after one sweep and deleted after two.
#[tokio::test]
async fn vanished_rows_become_tombstones_after_two_sweeps() {
    let stage = Stage::open(Vendor::Epic, 1, 20).await;
    stage.run().await;
    let gone = stage.simulator.with(|state| state.world.rows[3].id.clone());
    stage.simulator.with(|state| state.world.delete(&gone));
    stage.advance_s(8 * 86_400);
    let report = stage.run().await;
    assert_eq!((report.counts.vanished, report.counts.tombstoned), (1, 0));
    assert_eq!(stage.memory.live("Observation").len(), 20);
    stage.advance_s(8 * 86_400);
    let report = stage.run().await;
    assert_eq!((report.counts.vanished, report.counts.tombstoned), (0, 1));
    stage.assert_equal();
}

/// Newly withheld data is a gap, not a deletion.
#[tokio::test]
async fn a_refused_category_is_a_named_gap_and_deletes_nothing() {
    let stage = Stage::open(Vendor::Epic, 1, 20).await;
    stage.run().await;
    stage
        .simulator
        .with(|state| state.faults.forbidden = vec!["laboratory".to_owned()]);
    for _ in 0..3 {
        stage.advance_s(8 * 86_400);
        let report = stage.run().await;
        assert_eq!(report.counts.tombstoned, 0);
        assert_eq!(report.counts.withheld, 1);
        assert!(
            report
                .skipped
                .iter()
                .any(|(what, _)| what.contains("laboratory"))
        );
    }
    stage.assert_equal();
}

/// Rows that the source begins to keep back look like deleted ones, sweep after sweep; they stay. What is deleted while
/// something else is kept back is still found.
///
/// Verifies: SRS-202, RC-202
#[tokio::test]
async fn rows_that_are_kept_back_are_never_taken_for_deleted() {
    // The warning may come up in a sweep or in a walk for changes.
    for first_s in [8 * 86_400, 60] {
        let stage = Stage::open(Vendor::Epic, 1, 20).await;
        stage.run().await;
        let rows: Vec<String> = stage.simulator.with(|state| {
            let rows = state.world.rows.iter();
            rows.map(|row| row.id.clone()).collect()
        });
        let hidden = rows[3].clone();
        stage.simulator.with(|state| {
            state.faults.withheld = vec!["Observation - Outside Record Results".to_owned()];
            state.faults.hidden = vec![hidden.clone()];
        });
        stage.advance_s(first_s);
        stage.run().await;
        for _ in 0..3 {
            stage.advance_s(8 * 86_400);
            let counts = stage.run().await.counts;
            assert_eq!((counts.vanished, counts.tombstoned), (0, 0));
        }
        stage.assert_equal();
        stage.simulator.with(|state| state.world.delete(&rows[8]));
        for expected in [(1, 0), (0, 1)] {
            stage.advance_s(8 * 86_400);
            let counts = stage.run().await.counts;
            assert_eq!((counts.vanished, counts.tombstoned), expected);
        }
        stage.assert_equal();
        // Nothing is kept back any more, and the row is gone: now it counts.
        stage.simulator.with(|state| {
            state.faults.withheld.clear();
            state.world.delete(&hidden);
        });
        for expected in [(1, 0), (0, 1)] {
            stage.advance_s(8 * 86_400);
            let counts = stage.run().await.counts;
            assert_eq!((counts.vanished, counts.tombstoned), expected);
        }
        stage.assert_equal();
    }
}

/// 4107: the old patient becomes inactive with a link, the rows move; and back.
///
/// Verifies: RC-002
#[tokio::test]
async fn merges_and_unmerges_follow_the_source() {
    let stage = Stage::open(Vendor::Epic, 2, 10).await;
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
    let report = stage.run().await;
    assert_eq!(report.merged, 1);
    stage.assert_equal();
    let old = ehr::identity::local_id("sim", "Patient", &ids[0]);
    let patients = stage.memory.live("Patient");
    let (_, body) = patients.iter().find(|(id, _)| *id == old).unwrap();
    assert_eq!(body.get("active").and_then(Value::as_bool), Some(false));
    assert!(body.get("link").is_some());
    stage
        .simulator
        .with(|state| state.world.unmerge(&ids[0], &moved));
    stage.advance_s(60);
    stage.run().await;
    stage.assert_equal();
    let patients = stage.memory.live("Patient");
    let (_, body) = patients.iter().find(|(id, _)| *id == old).unwrap();
    assert_eq!(body.get("active").and_then(Value::as_bool), Some(true));
    assert!(body.get("link").is_none());
}

/// Making a plan asks for no patient data and writes nothing.
#[tokio::test]
async fn a_plan_names_exact_searches_and_touches_nothing() {
    let stage = Stage::open(Vendor::Epic, 2, 5).await;
    let plan = stage.run_with(stage.memory.clone()).plan().await.unwrap();
    assert_eq!(plan.tasks.len(), 2 + 2 * 5);
    assert_eq!(stage.simulator.requests(), 0);
    assert_eq!(stage.memory.totals(), (0, 0, 0));
}

fn patient(stage: &Stage) -> String {
    let first = |state: &mut ehr_simulators::State| state.world.people.keys().next().cloned();
    stage.simulator.with(first).unwrap()
}
