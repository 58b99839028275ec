//! Writing an Observation to an EHR: sent once, digits intact; a lost answer is looked up, never repeated.

use std::sync::Arc;

use ehr::EhrError;
use ehr::tenant::{Tenant, WriteBack};
use ehr::write_back::{Found, Sent, letter};
use ehr_simulators::Vendor;
use fhir_core::json::Value;

use crate::stage::Stage;

const VENDORS: [Vendor; 2] = [Vendor::Epic, Vendor::Oracle];

async fn staged(vendor: Vendor, is_granted: bool) -> Stage {
    let mut stage = Stage::open(vendor, 1, 5).await;
    let mut tenant: Tenant = (*stage.tenant).clone();
    tenant.write_back = Some(WriteBack {
        loinc: ["8867-4".to_owned(), "9279-1".to_owned()].into(),
        performer: Some("Practitioner/p1".to_owned()),
    });
    tenant.scopes.push("system/Observation.c".to_owned());
    stage.tenant = Arc::new(tenant);
    if is_granted {
        stage.simulator.with(|state| {
            state.client.scopes.push("system/Observation.c".to_owned());
        });
    }
    stage
}

fn rate(code: &str, digits: &str) -> Value {
    let json = format!(
        r#"{{"resourceType":"Observation","id":"own-1","status":"final",
            "category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],
            "code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},
            "effectiveDateTime":"2026-05-04T07:30:00Z","valueQuantity":{{"value":{digits},"unit":"/min"}}}}"#
    );
    Value::parse(json.as_bytes()).unwrap()
}

fn patient(stage: &Stage) -> String {
    let first = |state: &mut ehr_simulators::State| state.world.people.keys().next().cloned();
    stage.simulator.with(first).unwrap()
}

/// Verifies: SRS-360, RC-360
#[tokio::test]
async fn a_row_is_written_once_and_comes_back_with_its_digits() {
    for vendor in VENDORS {
        let stage = staged(vendor, true).await;
        let made = letter(&stage.tenant, &rate("8867-4", "72.10"), &patient(&stage)).unwrap();
        let run = stage.run_with(stage.memory.clone());
        let Sent::Written(Some(id)) = run.send(&made).await.unwrap() else {
            panic!("not written");
        };
        stage.advance_s(60);
        stage.run().await;
        stage.assert_equal();
        let live = stage.memory.live("Observation");
        let back = live
            .iter()
            .find(|(_, body)| crate::stage::source_id(body) == id);
        let (_, body) = back.expect("what was written comes back with the next run");
        assert!(body.to_string().contains("\"value\":72.10"), "{body}");
    }
}

/// Verifies: SRS-360, RC-360
#[tokio::test]
async fn a_lost_answer_is_not_repeated_and_a_look_finds_the_row() {
    for vendor in VENDORS {
        let stage = staged(vendor, true).await;
        stage
            .simulator
            .with(|state| state.faults.lose_answer_of_write = true);
        let made = letter(&stage.tenant, &rate("8867-4", "72.10"), &patient(&stage)).unwrap();
        let run = stage.run_with(stage.memory.clone());
        assert_eq!(run.look_for(&made).await.unwrap(), Found::Nothing);
        let before = stage.simulator.with(|state| state.world.rows.len());
        let sent = run.send(&made).await.unwrap();
        assert_eq!(sent, Sent::Unknown("status 504".to_owned()));
        let after = stage.simulator.with(|state| state.world.rows.len());
        assert_eq!(after, before + 1, "one request, one row");
        // Identifiers do not come back, so the row is alike and not surely ours.
        assert_eq!(run.look_for(&made).await.unwrap(), Found::Alike(1));
        let other = letter(&stage.tenant, &rate("8867-4", "72.1"), &patient(&stage)).unwrap();
        assert_eq!(run.look_for(&other).await.unwrap(), Found::Nothing);
    }
}

/// Verifies: SRS-360
#[tokio::test]
async fn refusals_are_told_apart_from_silence() {
    for vendor in VENDORS {
        let stage = staged(vendor, true).await;
        let run = stage.run_with(stage.memory.clone());
        // The site has no place for respirations.
        let made = letter(&stage.tenant, &rate("9279-1", "16"), &patient(&stage)).unwrap();
        assert!(matches!(run.send(&made).await.unwrap(), Sent::Refused(_)));
        let made = letter(&stage.tenant, &rate("8867-4", "72"), &patient(&stage)).unwrap();
        stage
            .simulator
            .with(|state| state.faults.throttle_every = 1);
        assert!(matches!(run.send(&made).await.unwrap(), Sent::NotSent(_)));
        stage.simulator.with(|state| {
            state.faults.throttle_every = 0;
            state.faults.cut_every = 1;
        });
        assert!(matches!(run.send(&made).await.unwrap(), Sent::Unknown(_)));
        stage.simulator.with(|state| {
            state.faults.cut_every = 0;
            state.faults.expire_token_every = 1;
        });
        let rows = stage.simulator.with(|state| state.world.rows.len());
        assert!(matches!(run.send(&made).await, Err(EhrError::Token(_))));
        assert_eq!(stage.simulator.with(|state| state.world.rows.len()), rows);
    }
}

/// Verifies: SRS-360, RC-360
#[tokio::test]
async fn without_the_scope_nothing_is_sent() {
    for vendor in VENDORS {
        let stage = staged(vendor, false).await;
        let made = letter(&stage.tenant, &rate("8867-4", "72"), &patient(&stage)).unwrap();
        let error = stage.run_with(stage.memory.clone()).send(&made).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("system/Observation.c"), "{error}");
        assert_eq!(stage.simulator.requests(), 0);
    }
}
