//! A user's login: PKCE, `state`, launch context and refresh.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html>.

use std::sync::Arc;

use ehr::auth::discovery::discover;
use ehr::auth::launch::{Launch, Pending, begin, refresh};
use ehr::clock::{Machine, Surroundings};
use ehr::http::{Http, Request, Url};
use ehr_simulators::Vendor;
use fhir_core::json::Value;

use crate::stage::Stage;

async fn login(stage: &Stage, http: &Http) -> (Pending, String, String, Url) {
    let base = Url::parse(stage.simulator.base()).unwrap();
    let found = discover(http, &base, &[]).await.unwrap();
    let authorize = found.authorization_endpoint.unwrap();
    let machine: Arc<dyn Surroundings> = Arc::new(Machine);
    let redirect = Url::parse("http://127.0.0.1:1/back").unwrap();
    let scopes = ["launch".to_owned(), "patient/Observation.rs".to_owned()];
    let launch = Launch::Ehr("opaque".to_owned());
    let endpoints = (&authorize, &found.token_endpoint);
    let pending = begin(
        &machine, endpoints, &base, "client-1", &redirect, &scopes, &launch,
    );
    let answer = http
        .send(Request::get(pending.address.clone()))
        .await
        .unwrap();
    assert_eq!(answer.status, 302);
    let back = Url::parse(answer.header("location").unwrap()).unwrap();
    let of = |name: &str| {
        let mut pairs = back.query_pairs();
        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    (pending, of("state"), of("code"), found.token_endpoint)
}

#[tokio::test]
async fn a_login_gives_tokens_context_and_a_refresh_that_keeps_its_token() {
    let stage = Stage::open(Vendor::Oracle, 1, 1).await;
    let http = Http::new().unwrap();
    let (pending, state, code, token_endpoint) = login(&stage, &http).await;
    let session = pending.finish(&http, &state, &code).await.unwrap();
    assert!(session.granted.may_search("Observation", None));
    assert!(
        session
            .context
            .get("patient")
            .and_then(Value::as_str)
            .is_some()
    );
    assert!(
        session.context.get("access_token").is_none(),
        "no secret in the context"
    );
    let renewed = refresh(&http, &token_endpoint, "client-1", &session)
        .await
        .unwrap();
    assert_ne!(renewed.access_token, session.access_token);
    assert_eq!(
        renewed.refresh_token, session.refresh_token,
        "none came, the old one stays"
    );
}

#[tokio::test]
async fn a_foreign_state_or_a_used_code_is_refused() {
    let stage = Stage::open(Vendor::Oracle, 1, 1).await;
    let http = Http::new().unwrap();
    let (pending, _, code, _) = login(&stage, &http).await;
    assert!(pending.finish(&http, "foreign", &code).await.is_err());
    let (first, state, code, _) = login(&stage, &http).await;
    first.finish(&http, &state, &code).await.unwrap();
    let (second, state, _, _) = login(&stage, &http).await;
    assert!(
        second.finish(&http, &state, &code).await.is_err(),
        "another login's code"
    );
}
