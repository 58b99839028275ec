//! The rest of the list that the simulators keep to: what shows only over several requests or after an event.

use std::time::Duration;

use ehr::clock::Surroundings as _;
use ehr::http::{Answer, Http, Request, Url};
use ehr_simulators::world::START_S;
use ehr_simulators::{State, Vendor, World};
use fhir_core::json::Value;

use crate::stage::Stage;

/// A simulator asked with a fresh token, as JSON.
struct Asking {
    stage: Stage,
    patient: String,
}

impl Asking {
    async fn new(vendor: Vendor, rows: u64) -> Self {
        let stage = Stage::open(vendor, 2, rows).await;
        let first = |state: &mut State| state.world.people.keys().next().cloned();
        let patient = stage.simulator.with(first).unwrap();
        Self { stage, patient }
    }

    async fn token(&self) -> ehr::auth::token::TokenSource {
        let http = Http::new().unwrap();
        let clock = self.stage.clock.clone();
        ehr::auth::token::TokenSource::new(self.stage.tenant.clone(), http, clock)
    }

    async fn ask(&self, path: &str) -> Answer {
        let token = self.token().await.token().await.unwrap();
        self.ask_as(path, &token.authorization().unwrap()).await
    }

    async fn ask_as(&self, path: &str, authorization: &str) -> Answer {
        let address = if path.starts_with("http") {
            path.to_owned()
        } else {
            let path = path.replace("PATIENT", &self.patient);
            format!("{}/{path}", self.stage.simulator.base())
        };
        let request = Request::get(Url::parse(&address).unwrap())
            .header("accept", "application/fhir+json")
            .header("authorization", authorization);
        Http::new().unwrap().send(request).await.unwrap()
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn json(answer: &Answer) -> Value {
    Value::parse(&answer.body).unwrap()
}

/// The address of a link of a Bundle.
fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle.get("link")?.as_array()?;
    let is = |link: &&Value| link.get("relation").and_then(Value::as_str) == Some(relation);
    Some(links.iter().find(is)?.get("url")?.as_str()?.to_owned())
}

/// Resources of a Bundle: id and version.
fn rows(bundle: &Value) -> Vec<(String, String)> {
    let entries = bundle.get("entry").and_then(Value::as_array);
    let resources = entries.unwrap_or_default().iter();
    let of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    resources
        .filter_map(|entry| {
            let resource = entry.get("resource")?;
            let version = resource.get("meta").and_then(|meta| of(meta, "versionId"));
            Some((of(resource, "id")?, version.unwrap_or_default()))
        })
        .collect()
}

#[tokio::test]
async fn one_type_may_be_forbidden_whatever_was_granted() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let asking = Asking::new(vendor, 5).await;
        let change = |state: &mut State| state.faults.forbidden = vec!["Patient".to_owned()];
        asking.stage.simulator.with(change);
        assert_eq!(asking.ask("Patient/PATIENT").await.status, 403);
        let search = "Observation?patient=PATIENT&category=laboratory";
        assert_eq!(asking.ask(search).await.status, 200);
    }
}

/// What is granted differs from what was asked for: Epic splits rights, Oracle drops what it does not know.
#[tokio::test]
async fn granted_scopes_differ_from_those_asked_for() {
    for (vendor, expected) in [(Vendor::Epic, 2), (Vendor::Oracle, 1)] {
        let asking = Asking::new(vendor, 1).await;
        let only = vec!["system/Patient.rs".to_owned()];
        asking
            .stage
            .simulator
            .with(|state| state.client.scopes = only);
        let token = asking.token().await.token().await.unwrap();
        assert_eq!(token.granted.resources.len(), expected);
        assert_eq!(token.missing, ["system/Observation"]);
    }
}

/// 570 seconds at Oracle, an hour at Epic; then 401, also in the middle of a walk.
#[tokio::test]
async fn tokens_end_in_the_middle_of_a_walk() {
    for (vendor, life) in [(Vendor::Epic, 3_600), (Vendor::Oracle, 570)] {
        let asking = Asking::new(vendor, 60).await;
        let token = asking.token().await.token().await.unwrap();
        let authorization = token.authorization().unwrap();
        let first = "Observation?patient=PATIENT&category=laboratory&_count=3";
        let first = json(&asking.ask_as(first, &authorization).await);
        let next = link(&first, "next").unwrap();
        asking
            .stage
            .simulator
            .with(|state| state.world.advance_s(life - 1));
        let seconds = u64::try_from(life - 1).unwrap();
        asking.stage.clock.sleep(Duration::from_secs(seconds)).await;
        let second = asking.ask_as(&next, &authorization).await;
        assert_eq!(second.status, 200, "{vendor:?}");
        let next = link(&json(&second), "next").unwrap();
        asking
            .stage
            .simulator
            .with(|state| state.world.advance_s(1));
        let late = asking.ask_as(&next, &authorization).await;
        assert_eq!(late.status, 401, "{vendor:?}");
        asking.stage.clock.sleep(Duration::from_secs(61)).await;
        assert_eq!(
            asking.ask(&next).await.status,
            200,
            "a fresh token goes on: {vendor:?}"
        );
    }
}

#[tokio::test]
async fn an_outcome_comes_last_beside_matches_too() {
    let asking = Asking::new(Vendor::Epic, 10).await;
    let kind = vec!["Observation - Outside Record Results".to_owned()];
    asking
        .stage
        .simulator
        .with(|state| state.faults.withheld = kind);
    let page = asking
        .ask("Observation?patient=PATIENT&category=laboratory")
        .await;
    let page = json(&page);
    let entries = page.get("entry").and_then(Value::as_array).unwrap();
    let (last, matches) = entries.split_last().unwrap();
    assert!(last.to_string().contains("59204") && last.to_string().contains("\"outcome\""));
    let total = page.get("total").and_then(Value::number_text).unwrap();
    assert_eq!(
        total,
        matches.len().to_string(),
        "the outcome is not counted"
    );
}

#[tokio::test]
async fn a_page_session_dies() {
    let asking = Asking::new(Vendor::Epic, 30).await;
    let page = asking
        .ask("Observation?patient=PATIENT&category=laboratory&_count=2")
        .await;
    let next = link(&json(&page), "next").unwrap();
    asking
        .stage
        .simulator
        .with(|state| state.faults.kill_pages_every = 1);
    let dead = asking.ask(&next).await;
    assert!(dead.status == 400 && text(&dead).contains("4113"));
}

#[tokio::test]
async fn a_repeated_row_has_a_higher_version() {
    let asking = Asking::new(Vendor::Oracle, 60).await;
    asking
        .stage
        .simulator
        .with(|state| state.faults.repeat_rows = true);
    let first = asking
        .ask("Observation?patient=PATIENT&category=laboratory&_count=3")
        .await;
    let first = json(&first);
    let second = json(&asking.ask(&link(&first, "next").unwrap()).await);
    let before = rows(&first);
    let again = rows(&second).into_iter().find_map(|(id, version)| {
        let (_, earlier) = before.iter().find(|(own, _)| *own == id)?;
        Some((earlier.clone(), version))
    });
    assert_eq!(again, Some(("1".to_owned(), "2".to_owned())));
}

#[tokio::test]
async fn a_blood_pressure_changes_its_id_when_it_is_completed() {
    let asking = Asking::new(Vendor::Oracle, 0).await;
    let patient = asking.patient.clone();
    let half = asking
        .stage
        .simulator
        .with(|state| state.world.add_pressure(&patient, None));
    let search = "Observation?patient=PATIENT&category=vital-signs";
    assert_eq!(
        rows(&json(&asking.ask(search).await)),
        [(half.clone(), "1-".to_owned())]
    );
    assert!(half.starts_with("BP-") && half.ends_with("-0"));
    let whole = asking
        .stage
        .simulator
        .with(|state| state.world.complete_pressure(&half, "80"));
    let after = rows(&json(&asking.ask(search).await));
    assert_eq!(after, [(whole.clone(), "1-1".to_owned())]);
    assert_ne!(whole, half);
}

#[tokio::test]
async fn date_and_last_updated_exclude_each_other() {
    let asking = Asking::new(Vendor::Oracle, 1).await;
    let range = "_lastUpdated=ge2026-01-01T00:00:00Z&_lastUpdated=lt2027-01-01T00:00:00Z";
    let closed = asking
        .ask(&format!("Observation?patient=PATIENT&{range}"))
        .await;
    assert_eq!(closed.status, 200);
    let both = format!("Observation?patient=PATIENT&{range}&date=ge2026-01-01");
    assert_eq!(asking.ask(&both).await.status, 400);
}

#[tokio::test]
async fn the_patient_sees_masked_results() {
    let asking = Asking::new(Vendor::Oracle, 5).await;
    asking
        .stage
        .simulator
        .with(|state| state.faults.mask = true);
    let page = asking
        .ask("Observation?patient=PATIENT&category=laboratory")
        .await;
    assert!(text(&page).contains("\"masked\"") && !text(&page).contains("valueQuantity"));
}

/// Oracle answers for a merged patient and never finds it; Epic refuses with 4107 and a redirect. Both can be taken back.
#[tokio::test]
async fn merged_patients_answer_in_the_vendors_way() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let asking = Asking::new(vendor, 3).await;
        let people = |state: &mut State| state.world.people.keys().cloned().collect::<Vec<_>>();
        let ids = asking.stage.simulator.with(people);
        asking
            .stage
            .simulator
            .with(|state| state.world.merge(&ids[0], &ids[1]));
        let merged = asking.ask("Patient/PATIENT").await;
        match vendor {
            Vendor::Epic => {
                assert!(merged.status == 301 && text(&merged).contains("4107"));
                assert!(merged.header("location").unwrap().ends_with(&ids[1]));
            }
            Vendor::Oracle => {
                let body = text(&merged);
                assert!(body.contains("\"active\":false") && body.contains("replaced-by"));
                assert!(body.contains("\"versionId\":\"0\"") && !body.contains("lastUpdated"));
            }
        }
        let found = asking.ask("Patient?identifier=Z0").await;
        assert!(!text(&found).contains(&format!("\"id\":\"{}\"", ids[0])));
        asking
            .stage
            .simulator
            .with(|state| state.world.unmerge(&ids[0], &[]));
        let back = asking.ask("Patient/PATIENT").await;
        assert!(text(&back).contains("\"active\":true"));
    }
}

/// A file of an export lies at another origin, which refuses our token.
#[tokio::test]
async fn export_files_redirect_to_a_store_that_refuses_our_token() {
    let asking = Asking::new(Vendor::Oracle, 5).await;
    let started = asking.ask("Group/g1/$export?_type=Patient").await;
    let status = started.header("content-location").unwrap().to_owned();
    assert_eq!(
        asking.ask(&status).await.header("retry-after"),
        Some("18000")
    );
    let manifest = json(&asking.ask(&status).await);
    let files = manifest.get("output").and_then(Value::as_array).unwrap();
    let file = files[0].get("url").and_then(Value::as_str).unwrap();
    let moved = asking.ask(file).await;
    assert_eq!(moved.status, 307);
    let place = moved.header("location").unwrap().to_owned();
    assert!(
        !place.starts_with(&asking.stage.simulator.base()[..21]),
        "{place}"
    );
    assert_eq!(asking.ask(&place).await.status, 400);
    let plain = Request::get(Url::parse(&place).unwrap());
    assert_eq!(Http::new().unwrap().send(plain).await.unwrap().status, 200);
}

#[tokio::test]
async fn discovery_names_no_pkce_methods() {
    for vendor in [Vendor::Epic, Vendor::Oracle] {
        let asking = Asking::new(vendor, 1).await;
        let found = asking.ask(".well-known/smart-configuration").await;
        assert!(text(&found).contains("token_endpoint"));
        assert!(!text(&found).contains("code_challenge_methods_supported"));
        assert!(
            !text(&found).contains("Observation"),
            "scopes are not listed"
        );
    }
}

#[tokio::test]
async fn ids_of_epic_pass_64_characters() {
    let world = World::synthetic(Vendor::Epic, 30, 1);
    let longest = world.people.keys().map(String::len).max();
    assert!(longest > Some(64), "{longest:?}");
}

/// Filed now, true years ago: found by `issued`, missed by `date`.
#[tokio::test]
async fn a_row_may_be_filed_years_late() {
    let asking = Asking::new(Vendor::Epic, 5).await;
    let patient = asking.patient.clone();
    let row = asking.stage.simulator.with(|state| {
        let years = 7 * 365 * 86_400;
        state
            .world
            .add_number(&patient, 2, START_S - years, START_S)
    });
    let issued = "Observation?patient=PATIENT&category=vital-signs&issued=ge2026-05-04T07:59:00Z";
    let found = rows(&json(&asking.ask(issued).await));
    assert!(found.iter().any(|(id, _)| *id == row), "{found:?}");
    let date = issued.replace("issued=", "date=");
    let found = rows(&json(&asking.ask(&date).await));
    assert!(!found.iter().any(|(id, _)| *id == row), "{found:?}");
}

#[tokio::test]
async fn an_id_that_nobody_has_is_refused_in_the_vendors_words() {
    for (vendor, words) in [(Vendor::Epic, "59008"), (Vendor::Oracle, "\"Not Found\"")] {
        let asking = Asking::new(vendor, 1).await;
        let missing = asking.ask("Patient/nobody").await;
        assert_eq!(missing.status, 404);
        assert!(text(&missing).contains(words));
    }
}
