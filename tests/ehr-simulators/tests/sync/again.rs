//! A rule changes: copies are made again from what is kept, without a request, with the same digits.

use std::sync::Arc;

use ehr::tenant::Tenant;
use ehr_simulators::{Vendor, World};

use crate::stage::{Stage, quirks};

/// A heart rate's unit as sent. By the rules of old it gets the spelling of its code; by the new ones the text means
/// another code than the one beside it, so it stays as it is.
const SENT: &str = "\"unit\":\"bpm\"";

/// The tenant with a rule of its own; `version` stays what the file gives.
fn with_rule(stage: &mut Stage, unit: &str) {
    let mut tenant: Tenant = (*stage.tenant).clone();
    tenant.rules.version = format!("test {unit}");
    tenant.rules.units.insert("bpm".to_owned(), unit.to_owned());
    stage.tenant = Arc::new(tenant);
}

/// Verifies: SRS-361, RC-361
#[tokio::test]
async fn a_changed_rule_is_applied_without_asking_the_source() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let mut stage = Stage::open(vendor, 2, 20).await;
        stage.run().await;
        let asked = stage.simulator.requests();
        let rates = 2 * 4;
        with_rule(&mut stage, "{beats}/min");
        let run = stage.run_with(stage.memory.clone());
        let report = run.normalise_again().await.unwrap();
        assert!(report.counts.add_up(), "{report:?}");
        assert_eq!(
            stage.simulator.requests(),
            asked,
            "the source is left alone"
        );
        // Heart rates change; every other copy says what it said, and only its row learns of the new rules.
        assert_eq!(
            (report.counts.received, report.counts.changed),
            (2 + 40, rates)
        );
        assert_eq!(report.counts.unchanged, 2 + 40 - rates);
        stage.assert_equal();
        let live = stage.memory.live("Observation");
        let made = live
            .iter()
            .filter(|(_, body)| body.to_string().contains(SENT));
        assert_eq!(made.count() as u64, rates);
        for (id, body) in &live {
            let times = if body.to_string().contains(SENT) {
                2
            } else {
                1
            };
            assert_eq!(stage.memory.versions("Observation", id), times);
            assert!(!quirks(body).contains(&"written-by-us".to_owned()));
        }
        // Everything is up to date now, and a sweep finds nothing to do.
        let run = stage.run_with(stage.memory.clone());
        assert_eq!(run.normalise_again().await.unwrap().counts.received, 0);
        stage.advance_s(8 * 86_400);
        let report = stage.run().await;
        assert_eq!((report.counts.new, report.counts.changed), (0, 0));
        stage.assert_equal();
    }
}

/// Stopped after any commit, it goes on with the rest.
///
/// Verifies: SRS-361
#[tokio::test]
async fn making_copies_again_can_be_stopped_anywhere() {
    for stop in 0.. {
        let mut stage = Stage::open(Vendor::Oracle, 3, 40).await;
        stage.run().await;
        with_rule(&mut stage, "{beats}/min");
        stage.memory.fail_after(Some(stop));
        let first = stage.run_with(stage.memory.clone()).normalise_again().await;
        stage.memory.fail_after(None);
        let again = stage.run_with(stage.memory.clone());
        again.normalise_again().await.unwrap();
        stage.assert_equal();
        let made = stage.memory.live("Observation");
        let made = made
            .iter()
            .filter(|(_, body)| body.to_string().contains(SENT));
        assert_eq!(made.count(), 3 * 8);
        if first.is_ok() {
            assert!(stop >= 1, "it was stopped");
            break;
        }
    }
}

/// A patient merged by a refusal keeps bytes from before the merge: they must not bring it back.
///
/// Verifies: SRS-361, RC-002
#[tokio::test]
async fn a_merged_patient_stays_merged() {
    let world = World::synthetic(Vendor::Epic, 2, 5);
    let mut stage = Stage::with(Vendor::Epic, world, "", 0).await;
    stage.run().await;
    let ids: Vec<String> = stage
        .simulator
        .with(|state| state.world.people.keys().cloned().collect());
    stage.advance_s(60);
    stage
        .simulator
        .with(|state| state.world.merge(&ids[0], &ids[1]));
    stage.advance_s(60);
    stage.run().await;
    with_rule(&mut stage, "{beats}/min");
    let run = stage.run_with(stage.memory.clone());
    let report = run.normalise_again().await.unwrap();
    assert!(
        report
            .warnings
            .iter()
            .any(|text| text.starts_with("1 records"))
    );
    let old = ehr::identity::local_id("sim", "Patient", &ids[0]);
    let patients = stage.memory.live("Patient");
    let (_, body) = patients.iter().find(|(id, _)| *id == old).unwrap();
    assert!(body.to_string().contains("\"active\":false"), "{body}");
    stage.assert_equal();
}
