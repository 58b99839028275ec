//! Politeness, scopes that change, Basic secrets, and patients of two tenants.

use std::sync::Arc;

use ehr::EhrError;
use ehr::run::Run;
use ehr::tenant::Tenant;
use ehr_simulators::{Vendor, World};
use fhir_core::json::Value;

use crate::stage::Stage;

fn with(tenant: &Arc<Tenant>, change: impl FnOnce(&mut Tenant)) -> Arc<Tenant> {
    let mut tenant = (**tenant).clone();
    change(&mut tenant);
    Arc::new(tenant)
}

/// Waits grow, carry jitter and stay bounded; after enough failures the EHR is left alone.
///
/// Verifies: SRS-364, RC-201
#[tokio::test]
async fn a_server_that_only_throttles_is_left_alone() {
    let stage = Stage::open(Vendor::Epic, 8, 1).await;
    stage
        .simulator
        .with(|state| state.faults.throttle_every = 1);
    let run = stage.run_with(stage.memory.clone());
    let error = run.run().await.unwrap_err();
    assert!(matches!(error, EhrError::Paused(_)), "{error}");
    let slept = stage.clock.slept.lock().unwrap().clone();
    assert!(slept.iter().all(|wait| (1..=60).contains(&wait.as_secs())));
    assert!(stage.simulator.requests() <= 8 * 6);
    // A run that begins a minute later knows it, and asks for nothing.
    let asked = stage.simulator.requests();
    stage.advance_s(60);
    let next = stage.run_with(stage.memory.clone());
    next.polite().set_breaker(run.polite().breaker());
    let error = next.run().await.unwrap_err();
    assert!(matches!(error, EhrError::Paused(_)), "{error}");
    assert_eq!(stage.simulator.requests(), asked);
    stage
        .simulator
        .with(|state| state.faults.throttle_every = 0);
    stage.advance_s(1_000);
    stage.run().await;
    stage.assert_equal();
}

/// The day's budget stops a run; the next day goes on where it stopped.
#[tokio::test]
async fn the_daily_budget_is_kept_and_the_next_day_goes_on() {
    let mut stage = Stage::open(Vendor::Oracle, 2, 40).await;
    stage.tenant = with(&stage.tenant, |tenant| tenant.profile.requests_per_day = 6);
    for day in 1..=4 {
        let run = stage.run_with(stage.memory.clone()).run().await;
        assert!(run.is_err(), "16 pages never fit into one day");
        assert!(stage.simulator.requests() <= 6 * day);
        stage.advance_s(43_200);
        stage.advance_s(43_200);
    }
    stage.assert_equal();
}

#[tokio::test]
async fn quiet_hours_ask_nothing() {
    let mut stage = Stage::open(Vendor::Epic, 1, 1).await;
    // The simulated day begins at 08:00 UTC.
    stage.tenant = with(&stage.tenant, |tenant| {
        tenant.profile.quiet_hours_utc = Some([22, 9])
    });
    let error = stage
        .run_with(stage.memory.clone())
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("quiet hours"));
    assert_eq!(stage.simulator.requests(), 0);
    stage.advance_s(3_600);
    stage.run().await;
    stage.assert_equal();
}

/// A scope that goes away makes a named gap in the plan and deletes nothing; when it comes back the window covers it.
#[tokio::test]
async fn scopes_may_change_between_runs() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let stage = Stage::open(vendor, 1, 20).await;
        stage.run().await;
        let all = stage.simulator.with(|state| state.client.scopes.clone());
        stage
            .simulator
            .with(|state| state.client.scopes = vec!["system/Patient.rs".to_owned()]);
        stage.advance_s(8 * 86_400);
        let report = stage.run().await;
        assert!(
            report
                .skipped
                .iter()
                .any(|(what, _)| what.contains("Observation"))
        );
        assert_eq!(report.counts.tombstoned, 0);
        let id = stage.simulator.with(|state| {
            let id = state.world.people.keys().next().cloned().unwrap();
            let now = state.world.now_s();
            state.world.add_number(&id, 0, now, now);
            state.client.scopes = all;
            id
        });
        stage.advance_s(8 * 86_400);
        assert_eq!(stage.run().await.counts.new, 1, "{id}");
        stage.assert_equal();
    }
}

/// Oracle's System Account: Basic secret and explicit scopes; a wrong secret stops with a word on what to do.
#[tokio::test]
async fn a_basic_secret_works_and_a_wrong_one_is_explained() {
    let mut stage = Stage::open(Vendor::Oracle, 1, 5).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cr3t\n").unwrap();
    stage
        .simulator
        .with(|state| state.client.secret = Some("s3cr3t".to_owned()));
    stage.tenant = with(&stage.tenant, |tenant| {
        tenant.auth = ehr::tenant::Auth::Basic {
            secret: ehr::tenant::Secret::File(file),
        };
    });
    stage.run().await;
    stage.assert_equal();
    stage
        .simulator
        .with(|state| state.client.secret = Some("other".to_owned()));
    let error = stage
        .run_with(stage.memory.clone())
        .run()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "token: refused with `invalid_client` (status 400); run `doctor`"
    );
}

/// Version 1 scopes are dropped by Oracle: the empty rest is an error with the EHR's reference.
#[tokio::test]
async fn version_1_scopes_end_in_a_clear_refusal() {
    let mut stage = Stage::open(Vendor::Oracle, 1, 1).await;
    stage.tenant = with(&stage.tenant, |tenant| {
        tenant.scopes = vec!["system/Patient.read".to_owned()];
    });
    let error = stage
        .run_with(stage.memory.clone())
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`invalid_scope`"), "{error}");
    assert!(error.to_string().contains("their reference"), "{error}");
}

/// The same MRN at two tenants: a link, no merge. Two candidates: nobody, and a count for review.
///
/// Verifies: SRS-017, RC-002
#[tokio::test]
async fn patients_of_two_tenants_are_linked_by_certain_identifiers_only() {
    const MRN: &str = "urn:oid:1.2.840.114350.1.13.0.1.7.2.698084";
    let first = Stage::with(Vendor::Epic, World::synthetic(Vendor::Epic, 1, 1), "", 0).await;
    first.run().await;
    let second = Stage::with(
        Vendor::Oracle,
        World::synthetic(Vendor::Oracle, 1, 1),
        "",
        0,
    )
    .await;
    let renamed = |name: &str, systems: &[&str]| {
        with(&second.tenant, |tenant| {
            tenant.name = name.to_owned();
            tenant.identity.match_systems = systems.iter().map(|s| (*s).to_owned()).collect();
        })
    };
    let run = |tenant| Run::new(tenant, first.memory.clone(), first.clock.clone()).unwrap();
    run(renamed("unlinked", &[])).run().await.unwrap();
    let links = |memory: &crate::kept::Kept| {
        let patients = memory.live("Patient");
        let linked = patients
            .iter()
            .filter(|(_, body)| body.get("link").is_some());
        linked.count()
    };
    assert_eq!(links(&first.memory), 0);
    let report = run(renamed("several", &[MRN])).run().await.unwrap();
    assert_eq!(
        (links(&first.memory), report.to_review),
        (0, 1),
        "two candidates"
    );
    let fresh = Stage::with(Vendor::Epic, World::synthetic(Vendor::Epic, 1, 1), "", 0).await;
    fresh.run().await;
    let tenant = renamed("linked", &[MRN]);
    Run::new(tenant, fresh.memory.clone(), first.clock.clone())
        .unwrap()
        .run()
        .await
        .unwrap();
    assert_eq!(links(&fresh.memory), 1);
    assert_eq!(
        fresh.memory.live("Patient").len(),
        2,
        "linked, never merged"
    );
}

/// Who is complete to when, and except what, is a resource of its own.
#[tokio::test]
async fn completeness_is_a_readable_resource() {
    let stage = Stage::open(Vendor::Epic, 1, 10).await;
    stage.simulator.with(|state| {
        state.faults.forbidden = vec!["laboratory".to_owned()];
        state.faults.withheld = vec!["Observation - Outside Record Vital Signs".to_owned()];
    });
    stage.run().await;
    let all: Vec<String> = stage
        .memory
        .live("Basic")
        .iter()
        .map(|(_, b)| b.to_string())
        .collect();
    assert_eq!(all.len(), 1 + 5);
    let of = |category: &str| all.iter().find(|text| text.contains(category)).unwrap();
    assert!(of("\"laboratory\"").contains("withheld by the source (status 403)"));
    assert!(!of("\"laboratory\"").contains("completeTo"));
    assert!(of("\"vital-signs\"").contains("completeTo"));
    assert!(of("\"vital-signs\"").contains("Outside Record Vital Signs"));
    let provenance = stage.memory.live("Provenance");
    assert!(provenance.iter().all(|(_, body)| {
        body.get("target")
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty())
    }));
}

/// `doctor` walks through every step and shows the claims, never the assertion; `plan` shows exact addresses.
#[tokio::test]
async fn doctor_and_plan_explain_without_secrets() {
    let world = World::synthetic(Vendor::Epic, 1, 1);
    let stage = Stage::with(Vendor::Epic, world, "", 600).await;
    let text = ehr::cli::doctor(stage.tenant.clone(), stage.clock.clone())
        .await
        .unwrap();
    for line in [
        "look their clock minus ours: 600 s",
        "ok   token endpoint",
        "ok   token for 60 min",
        "\"sub\":\"client-1\"",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(
        !text.contains("eyJ") && !text.contains("sim-token"),
        "{text}"
    );
    stage.simulator.with(|state| state.client.jwks = None);
    let text = ehr::cli::doctor(stage.tenant.clone(), stage.clock.clone())
        .await
        .unwrap();
    assert!(
        text.contains("FAIL token: refused with `invalid_client`"),
        "{text}"
    );
    assert!(text.contains("is `client_id` registered"), "{text}");
    let text = ehr::cli::plan(stage.tenant.clone(), stage.clock.clone()).await;
    assert!(text.is_err());
}

/// An id that the EHR does not know is told, and keeps nobody else from being copied.
#[tokio::test]
async fn an_unknown_patient_is_told() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let mut stage = Stage::open(vendor, 1, 5).await;
        stage.tenant = with(&stage.tenant, |tenant| {
            tenant.cohort.patients.push("nobody".to_owned());
        });
        let report = stage.run().await;
        let told = |(_, why): &(String, String)| why == "the source does not know the patient";
        assert!(report.skipped.iter().any(told), "{:?}", report.skipped);
        stage.assert_equal();
    }
}

/// `doctor` says what to look at when the vendor or the scopes are wrong.
#[tokio::test]
async fn doctor_names_a_wrong_vendor_and_wrong_scopes() {
    let mut stage = Stage::open(Vendor::Oracle, 1, 1).await;
    stage.tenant = with(&stage.tenant, |tenant| {
        tenant.profile.name = "epic".to_owned();
        tenant.scopes = vec!["system/Patient.read".to_owned()];
    });
    let text = ehr::cli::doctor(stage.tenant.clone(), stage.clock.clone());
    let text = text.await.unwrap();
    assert!(
        text.contains("look the server looks like `oracle`"),
        "{text}"
    );
    assert!(text.contains("asked for: system/Patient.read"), "{text}");
}

/// A process that dies in the middle of a request, at any request: the next run makes the copy whole.
///
/// Verifies: SRS-027, RC-009
#[tokio::test]
async fn a_run_dropped_at_any_request_loses_and_doubles_nothing() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        for limit in 1..16 {
            let stage = Stage::open(vendor, 2, 30).await;
            {
                let run = stage.run_with(stage.memory.clone());
                let reached = async {
                    while stage.simulator.requests() < limit {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    () = reached => {}
                    _ = run.run() => {}
                }
            }
            stage.run_after_a_drop().await;
            stage.assert_equal();
            for (id, _) in stage.memory.live("Observation") {
                assert_eq!(stage.memory.versions("Observation", &id), 1);
            }
        }
    }
}

/// When a rule changes, copies made by the older one are made again at the next sweep, with the same digits.
#[tokio::test]
async fn a_changed_rule_makes_copies_again() {
    let mut stage = Stage::open(Vendor::Oracle, 1, 20).await;
    stage.run().await;
    stage.tenant = with(&stage.tenant, |tenant| {
        tenant.rules.version = "2".to_owned();
    });
    stage.advance_s(8 * 86_400);
    let report = stage.run().await;
    assert_eq!((report.counts.new, report.counts.changed), (0, 1 + 20));
    stage.assert_equal();
}
