//! Our assertions before a verifier that nobody here wrote: `verify_assertions FOLDER PEM`.
//!
//! FOLDER is where npm has installed `oidc-provider`, PEM the file of a fresh RSA key (PKCS#8). `cargo xtask clients` prepares
//! both. Spec: <https://www.rfc-editor.org/rfc/rfc7523>. Ends with a panic that says what was taken or refused wrongly.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ehr::auth::assertion::{Claims, TYPE};
use ehr::auth::keys::{Algorithm, KeyRing};
use ehr::auth::token::TokenSource;
use ehr::clock::{Machine, Surroundings as _};
use ehr::http::{Http, Method, Request, Url};
use ehr::tenant::Tenant;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &str, jwks: &std::path::Path, algorithm: &str) -> (Server, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/token-server.mjs");
    let mut child = Command::new("node")
        .args([script, folder])
        .arg(jwks)
        .arg(algorithm)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines
        .find_map(|line| line.ok()?.trim().parse().ok())
        .expect("the server prints its port");
    (Server(child), port)
}

async fn check(folder: &str, algorithm: Algorithm, name: &str, pem: Option<&str>) {
    let keys = tempfile::tempdir().unwrap();
    let mut ring = KeyRing::open(keys.path()).unwrap();
    match pem {
        Some(pem) => ring.import(Machine.now(), 3, algorithm, pem).unwrap(),
        None => ring.rotate(Machine.now(), 3).unwrap(),
    };
    let jwks = keys.path().join("jwks.json");
    std::fs::write(&jwks, ring.jwks().unwrap().to_bytes()).unwrap();
    let (_server, port) = start(folder, &jwks, name);
    let base = format!("http://127.0.0.1:{port}");
    let text = format!(
        r#"
tenant = "foreign"
vendor = "oracle"
fhir_base = "{base}"
token_url = "{base}/token"
client_id = "client-1"
types = ["Patient", "Observation"]
auth = {{ method = "private-key-jwt", keys = "{}" }}
"#,
        keys.path().display()
    );
    let tenant = Arc::new(Tenant::parse(&text).unwrap());
    let source = || TokenSource::new(tenant.clone(), Http::new().unwrap(), Arc::new(Machine));
    for _ in 0..3 {
        let token = source().token().await.unwrap();
        assert!(token.granted.may_search("Observation", None), "{name}");
    }
    // The verifier is strict: a replayed `jti` and a foreign audience are refused.
    let claims = source().claims().await.unwrap();
    let foreign = Claims {
        audience: "https://example.org/token".to_owned(),
        jti: "other".to_owned(),
        ..claims.clone()
    };
    let (entry, key) = ring.signing_key(Machine.now(), None).unwrap();
    let mut statuses = Vec::new();
    for claims in [&claims, &claims, &foreign] {
        let assertion = claims.sign(&entry, &key, None).unwrap();
        let body = format!(
            "grant_type=client_credentials&scope=system%2FPatient.rs&client_assertion_type={}&client_assertion={assertion}",
            TYPE.replace(':', "%3A")
        );
        let mut request = Request::get(Url::parse(&format!("{base}/token")).unwrap())
            .header("content-type", "application/x-www-form-urlencoded");
        request.method = Method::POST;
        request.body = body.into_bytes();
        statuses.push(Http::new().unwrap().send(request).await.unwrap().status);
    }
    assert_eq!(statuses.first(), Some(&200), "{name}");
    assert!(
        statuses.iter().skip(1).all(|status| *status >= 400),
        "{name}: {statuses:?}"
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, pem] = words.as_slice() else {
        panic!("usage: verify_assertions FOLDER PEM");
    };
    let pem = std::fs::read_to_string(pem).expect("the key's file");
    check(folder, Algorithm::ES384, "ES384", None).await;
    check(folder, Algorithm::RS384, "RS384", Some(&pem)).await;
    println!(
        "oidc-provider: ES384 and RS384 assertions pass; a replayed jti and a foreign audience are refused"
    );
}
