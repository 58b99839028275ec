//! The simulators keep to the captures: each line of the list is a quirk nobody may make kinder.

use std::sync::Arc;

use ehr::clock::Machine;
use ehr::http::{Answer, Http, Request, Url};
use ehr_simulators::{Client, Simulator, Vendor, World};

use crate::stage::Stage;

async fn ask(address: &str, headers: &[(&str, &str)]) -> Answer {
    let http = Http::new().unwrap();
    let mut request = Request::get(Url::parse(address).unwrap());
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    http.send(request).await.unwrap()
}

async fn token(stage: &Stage) -> String {
    let source = ehr::auth::token::TokenSource::new(
        stage.tenant.clone(),
        Http::new().unwrap(),
        stage.clock.clone(),
    );
    source.token().await.unwrap().authorization().unwrap()
}

#[tokio::test]
async fn epic_answers_as_captured() {
    let stage = Stage::open(Vendor::Epic, 1, 20).await;
    let base = stage.simulator.base().to_owned();
    let patient = stage
        .simulator
        .with(|s| s.world.people.keys().next().cloned().unwrap());
    let token = token(&stage).await;
    let json = ("accept", "application/fhir+json");
    let auth = ("authorization", token.as_str());

    let bad = ask(
        &format!("{base}/Patient/x"),
        &[json, ("authorization", "Bearer no")],
    )
    .await;
    assert_eq!((bad.status, bad.body.as_ref()), (401, b"\"\"".as_slice()));
    let xml = ask(
        &format!("{base}/Patient/{patient}"),
        &[("accept", "*/*"), auth],
    )
    .await;
    assert_eq!(
        (xml.status, xml.media_type().as_str()),
        (200, "application/xml")
    );
    let html = ask(&format!("{base}/Unknown?_count=1"), &[json, auth]).await;
    assert_eq!(
        (html.status, html.media_type().as_str()),
        (404, "text/html")
    );
    for (query, code) in [("patient=p", "59108"), ("category=laboratory", "59159")] {
        let refused = ask(&format!("{base}/Observation?{query}"), &[json, auth]).await;
        assert_eq!(refused.status, 400);
        assert!(String::from_utf8_lossy(&refused.body).contains(code));
    }
    let empty = ask(
        &format!("{base}/Observation?patient={patient}&category=survey"),
        &[json, auth],
    )
    .await;
    let text = String::from_utf8_lossy(&empty.body).into_owned();
    assert!(text.contains("\"total\":0") && text.contains("4101"));
    let page = ask(
        &format!("{base}/Observation?patient={patient}&category=laboratory&_count=3"),
        &[json, auth],
    )
    .await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("\"total\":3"), "total is the page's count");
    let next = text
        .split("sessionID=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let next = format!("{base}/Observation?sessionID={next}");
    assert_eq!(ask(&next, &[json, auth]).await.status, 200);
    let again = ask(&next, &[json, auth]).await;
    assert!(
        String::from_utf8_lossy(&again.body).contains("4113"),
        "a session link works once"
    );
}

#[tokio::test]
async fn oracle_answers_as_captured() {
    let stage = Stage::open(Vendor::Oracle, 1, 40).await;
    let base = stage.simulator.base().to_owned();
    let patient = stage
        .simulator
        .with(|s| s.world.people.keys().next().cloned().unwrap());
    let token = token(&stage).await;
    let json = ("accept", "application/fhir+json");
    let auth = ("authorization", token.as_str());

    let xml = ask(
        &format!("{base}/Patient/{patient}"),
        &[("accept", "application/xml"), auth],
    )
    .await;
    assert_eq!((xml.status, xml.body.len()), (406, 0));
    let open = ask(
        &format!("{base}/Observation?patient={patient}&_lastUpdated=ge2026-01-01T00:00:00Z"),
        &[json, auth],
    )
    .await;
    assert_eq!(open.status, 400);
    assert!(open.correlation().is_some());
    let page = ask(
        &format!("{base}/Observation?patient={patient}&category=laboratory&_count=3"),
        &[json, auth],
    )
    .await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("&-pageContext=") && text.contains("&-pageDirection=NEXT"));
    assert!(!text.contains("\"total\""));
    assert!(
        text.matches("fullUrl").count() > 3,
        "the first page ignores `_count`"
    );
}

/// A replayed `jti`, a wrong audience and a long life get the same answer.
#[tokio::test]
async fn the_token_endpoint_is_strict_and_says_nothing() {
    use ehr::auth::assertion::{Claims, TYPE};
    use ehr::auth::keys::KeyRing;
    use ehr::clock::Surroundings as _;

    let folder = tempfile::tempdir().unwrap();
    let mut ring = KeyRing::open(folder.path()).unwrap();
    let now = Machine.now();
    ring.rotate(now, 1).unwrap();
    let client = Client {
        id: "c".to_owned(),
        jwks: Some(ring.jwks().unwrap()),
        secret: None,
        scopes: vec!["system/Patient.rs".to_owned()],
    };
    let simulator = Simulator::start(Vendor::Epic, 0, World::new(Vendor::Epic), client)
        .await
        .unwrap();
    let (entry, key) = ring.signing_key(now, None).unwrap();
    let start = fhir_core::ids::Instant(ehr_simulators::world::START_S * 1_000_000);
    let good = Claims::new("c", &simulator.token_url(), start, 5);
    let late = Claims {
        expires: good.expires + 400,
        jti: "late".to_owned(),
        ..good.clone()
    };
    let wrong = Claims {
        audience: "https://example.org".to_owned(),
        jti: "aud".to_owned(),
        ..good.clone()
    };
    let http = Arc::new(Http::new().unwrap());
    let mut statuses = Vec::new();
    for claims in [&good, &good, &late, &wrong] {
        let assertion = claims.sign(&entry, &key, None).unwrap();
        let body = format!(
            "grant_type=client_credentials&client_assertion_type={TYPE}&client_assertion={assertion}"
        );
        let mut request = Request::get(Url::parse(&simulator.token_url()).unwrap());
        request.method = ehr::http::Method::POST;
        request.body = body.into_bytes();
        let answer = http.send(request).await.unwrap();
        if answer.status != 200 {
            assert!(String::from_utf8_lossy(&answer.body).contains("\"error_description\":null"));
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 400, 400, 400]);
}
