//! Finding patients by identifier, and asking a person about those of other tenants that are alike.

use std::sync::Arc;

use ehr::run::Run;
use ehr::tenant::{IdentifierKey, Tenant};
use ehr_simulators::{Vendor, World};

use crate::stage::Stage;

const SYSTEM: &str = "urn:oid:1.2.840.114350.1.13.0.1.7.2.698084";

fn identifier(value: &str) -> IdentifierKey {
    IdentifierKey {
        system: SYSTEM.to_owned(),
        value: value.to_owned(),
    }
}

/// Epic's search is fuzzy: `Z1` also finds `Z10`. Only the patient that carries the identifier is taken.
///
/// Verifies: SRS-362, RC-002
#[tokio::test]
async fn a_cohort_by_identifier_takes_exactly_who_carries_it() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let mut stage = Stage::open(vendor, 11, 2).await;
        let mut tenant: Tenant = (*stage.tenant).clone();
        tenant.cohort.patients.clear();
        tenant.cohort.identifiers = vec![identifier("Z1"), identifier("Z99")];
        stage.tenant = Arc::new(tenant);
        let report = stage.run().await;
        assert_eq!(report.counts.new, 1 + 2);
        assert_eq!(stage.memory.live("Patient").len(), 1);
        let told = (
            "cohort.identifiers[1]".to_owned(),
            "not exactly one patient carries it".to_owned(),
        );
        assert!(report.skipped.contains(&told), "{:?}", report.skipped);
    }
}

/// Verifies: SRS-362
#[tokio::test]
async fn one_patient_is_fetched_on_demand() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let stage = Stage::open(vendor, 3, 2).await;
        let run = stage.run_with(stage.memory.clone());
        let found = run.fetch_patient(&identifier("Z2")).await.unwrap();
        let live = stage.memory.live("Patient");
        assert_eq!(live.len(), 1);
        assert_eq!(found.as_ref(), Some(&live[0].0));
        assert_eq!(run.fetch_patient(&identifier("Z77")).await.unwrap(), None);
        assert_eq!(stage.memory.live("Patient").len(), 1);
        assert!(stage.memory.live("Observation").is_empty());
        stage.run().await;
        stage.assert_equal();
    }
}

/// Likeness asks, and links nobody. Below the points, and without the setting, nobody is asked.
///
/// Verifies: SRS-363, RC-002
#[tokio::test]
async fn alike_patients_of_another_tenant_are_a_question() {
    for (points, questions) in [(Some(20), 1), (Some(21), 0), (None, 0)] {
        let first = Stage::with(Vendor::Epic, World::synthetic(Vendor::Epic, 2, 1), "", 0).await;
        first.run().await;
        let second = World::synthetic(Vendor::Oracle, 1, 1);
        let second = Stage::with(Vendor::Oracle, second, "", 0).await;
        let mut tenant: Tenant = (*second.tenant).clone();
        tenant.name = "second".to_owned();
        tenant.identity.review_from = points;
        let run = Run::new(Arc::new(tenant), first.memory.clone(), first.clock.clone()).unwrap();
        let report = run.run().await.unwrap();
        assert_eq!(report.to_review, questions, "{points:?}");
        let patients = first.memory.live("Patient");
        assert_eq!(patients.len(), 3);
        assert!(patients.iter().all(|(_, body)| body.get("link").is_none()));
    }
}
