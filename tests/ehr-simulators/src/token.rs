//! Discovery and the token endpoint, as strict as the vendors: signature, audience, life and `jti` of an assertion
//! are all checked, and every fault gets the same answer.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>.
//! User logins are cut short: `authorize` logs in at once, with PKCE checked at the token endpoint.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fhir_core::json::{Number, Value};
use ring::signature::{
    ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA384, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::wire::{Request, Response};
use crate::{State, Vendor, object};

/// Longest life of an assertion, in seconds.
const ASSERTION_LIFE_MAX_S: i64 = 300;

/// The registered client.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its key set, for `private_key_jwt`.
    pub jwks: Option<Value>,
    /// Its secret, for Basic.
    pub secret: Option<String>,
    /// What it may have.
    pub scopes: Vec<String>,
}

/// Tokens given out, and assertions seen.
#[derive(Default)]
pub(crate) struct Tokens {
    live: BTreeMap<String, i64>,
    seen: BTreeSet<String>,
    /// Code → challenge, redirect address.
    codes: BTreeMap<String, (String, String)>,
    count: u64,
}

impl Tokens {
    pub(crate) fn forget(&mut self) {
        self.live.clear();
    }
}

pub(crate) fn path(base: &str) -> String {
    let path = crate::base_path(base);
    let first = path.split('/').nth(1).unwrap_or_default();
    format!("/{first}/oauth2/token")
}

pub(crate) fn url(base: &str) -> String {
    let origin = base.strip_suffix(&crate::base_path(base)).unwrap_or(base);
    format!("{origin}{}", path(base))
}

/// The path where users log in.
pub(crate) fn authorize_path(base: &str) -> String {
    path(base).replace("/token", "/authorize")
}

/// A login without a page: back to the redirect address with a code, if `aud` and the challenge are right.
pub(crate) fn authorize(state: &mut State, request: &Request) -> Response {
    let field = |name: &str| request.parameter(name).unwrap_or_default().to_owned();
    let right = field("response_type") == "code"
        && field("aud").trim_end_matches('/') == state.base
        && field("code_challenge_method") == "S256"
        && field("client_id") == state.client.id;
    if !right {
        return Response::html(400);
    }
    state.tokens.count += 1;
    let code = format!("sim-code-{}", state.tokens.count);
    let redirect = field("redirect_uri");
    let place = format!("{redirect}?code={code}&state={}", field("state"));
    let held = (field("code_challenge"), redirect);
    state.tokens.codes.insert(code, held);
    Response::empty(302).header("Location", &place)
}

/// A code is good once, for its verifier and redirect address.
fn code_answer(state: &mut State, form: &[(String, String)]) -> Response {
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let held = state.tokens.codes.remove(field("code"));
    let verifier = ring::digest::digest(&ring::digest::SHA256, field("code_verifier").as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(verifier);
    let redirect = field("redirect_uri").to_owned();
    if held != Some((challenge, redirect)) {
        return refuse(400, "invalid_grant");
    }
    user_token(state, true)
}

/// The token of a user, with launch context; Oracle sends a refresh token with the first one only.
fn user_token(state: &mut State, first: bool) -> Response {
    state.tokens.count += 1;
    let token = format!("sim-user-{}", state.tokens.count);
    let expires = state.world.now_s() + 570;
    state.tokens.live.insert(token.clone(), expires);
    let patient = state
        .world
        .people
        .keys()
        .next()
        .cloned()
        .unwrap_or_default();
    let mut members = vec![
        ("access_token", Value::from(token)),
        ("token_type", "Bearer".into()),
        ("expires_in", Value::Number(Number::from(570))),
        ("scope", "launch patient/Observation.rs".into()),
        ("patient", patient.into()),
        ("need_patient_banner", "true".into()),
    ];
    if first {
        members.push(("refresh_token", "sim-refresh".into()));
    }
    Response::json(200, "application/json", &Value::object(members))
}

pub(crate) fn discovery(state: &State) -> Value {
    let list = |words: &[&str]| Value::Array(words.iter().map(|word| (*word).into()).collect());
    // As production sites do: no PKCE methods, no grant types that matter, and FHIR scopes are not listed.
    object([
        ("token_endpoint", url(&state.base).into()),
        (
            "authorization_endpoint",
            url(&state.base).replace("/token", "/authorize").into(),
        ),
        (
            "token_endpoint_auth_methods_supported",
            list(&["client_secret_basic", "private_key_jwt"]),
        ),
        ("scopes_supported", list(&["launch", "openid"])),
        (
            "capabilities",
            list(&["client-confidential-asymmetric", "permission-v2"]),
        ),
    ])
}

/// True when the request carries a live token.
pub(crate) fn is_authorised(state: &State, request: &Request) -> bool {
    let token = request
        .header("authorization")
        .and_then(|text| text.strip_prefix("Bearer "));
    let expires = token.and_then(|token| state.tokens.live.get(token));
    expires.is_some_and(|expires| state.world.now_s() < *expires)
}

pub(crate) fn answer(state: &mut State, request: &Request) -> Response {
    let form = request.form();
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    match field("grant_type") {
        Some("client_credentials") => {}
        Some("authorization_code") => return code_answer(state, &form),
        Some("refresh_token") if field("refresh_token") == Some("sim-refresh") => {
            return user_token(state, false);
        }
        _ => return refuse(400, "unsupported_grant_type"),
    }
    let known = match field("client_assertion") {
        // A confidential asymmetric client leaves `client_id` out.
        Some(assertion) => field("client_id").is_none() && is_valid(state, assertion),
        None => has_secret(state, request),
    };
    if !known {
        return refuse(400, "invalid_client");
    }
    let granted: Vec<String> = match state.vendor {
        // Epic gives what is registered, whatever was asked for, each right on its own.
        Vendor::Epic => state.client.scopes.iter().flat_map(|s| split(s)).collect(),
        Vendor::Oracle => {
            let asked = field("scope").unwrap_or_default().split(' ');
            let known = asked.filter(|scope| state.client.scopes.iter().any(|own| own == scope));
            known.map(str::to_owned).collect()
        }
    };
    if granted.is_empty() {
        return empty_scopes();
    }
    let life = match state.vendor {
        Vendor::Epic => 3600,
        Vendor::Oracle => 570,
    };
    state.tokens.count += 1;
    let token = format!("sim-token-{}", state.tokens.count);
    let expires = state.world.now_s() + life;
    state.tokens.live.insert(token.clone(), expires);
    let body = object([
        ("access_token", token.into()),
        ("token_type", "Bearer".into()),
        ("expires_in", Value::Number(Number::from(life))),
        ("scope", granted.join(" ").into()),
    ]);
    Response::json(200, "application/json", &body)
        .header("Cache-Control", "no-store")
        .header("Pragma", "no-cache")
}

/// `system/X.rs` → `system/X.r`, `system/X.s`.
fn split(scope: &str) -> Vec<String> {
    match scope.strip_suffix(".rs") {
        Some(stem) => vec![format!("{stem}.r"), format!("{stem}.s")],
        None => vec![scope.to_owned()],
    }
}

fn has_secret(state: &State, request: &Request) -> bool {
    let Some(secret) = &state.client.secret else {
        return false;
    };
    let expected = STANDARD.encode(format!("{}:{secret}", state.client.id));
    request.header("authorization") == Some(&format!("Basic {expected}"))
}

/// Every rule of the assertion; which one failed is not told.
fn is_valid(state: &mut State, assertion: &str) -> bool {
    let now = state.world.now_s();
    let audience = url(&state.base);
    let Some(claims) = verified(state, assertion) else {
        return false;
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let expires: Option<i64> = claims
        .get("exp")
        .and_then(Value::number_text)
        .and_then(|text| text.parse().ok());
    let named = text("iss") == Some(&state.client.id) && text("sub") == Some(&state.client.id);
    let timely = expires.is_some_and(|exp| exp > now && exp - now <= ASSERTION_LIFE_MAX_S);
    let fresh = text("jti").is_some_and(|jti| {
        !jti.is_empty() && jti.len() <= 151 && state.tokens.seen.insert(jti.to_owned())
    });
    named && timely && fresh && text("aud") == Some(&audience)
}

/// The claims, if the signature is by a registered key.
fn verified(state: &State, assertion: &str) -> Option<Value> {
    let mut parts = assertion.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let head = Value::parse(&decode(header)?).ok()?;
    let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    let kid = text(&head, "kid")?;
    let keys = state.client.jwks.as_ref()?.get("keys")?.as_array()?;
    let key = keys
        .iter()
        .find(|key| text(key, "kid").as_ref() == Some(&kid))?;
    let message = format!("{header}.{payload}");
    let signature = decode(signature)?;
    let part = |name: &str| decode(&text(key, name)?);
    match text(&head, "alg")?.as_str() {
        "RS384" => {
            let public = RsaPublicKeyComponents {
                n: part("n")?,
                e: part("e")?,
            };
            public
                .verify(&RSA_PKCS1_2048_8192_SHA384, message.as_bytes(), &signature)
                .ok()?;
        }
        "ES384" => {
            let mut point = vec![4];
            point.extend(part("x")?);
            point.extend(part("y")?);
            let public = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
            public.verify(message.as_bytes(), &signature).ok()?;
        }
        _ => return None,
    }
    Value::parse(&decode(payload)?).ok()
}

fn refuse(status: u16, error: &str) -> Response {
    let body = object([("error", error.into()), ("error_description", Value::Null)]);
    Response::json(status, "application/json", &body)
}

fn empty_scopes() -> Response {
    let body = object([
        ("error", "invalid_scope".into()),
        (
            "error_uri",
            "https://authorization.example.org/errors/oauth2:token:empty-scopes/instances/1".into(),
        ),
    ]);
    Response::json(400, "application/json", &body)
        .header(
            "Cerner-Correlation-ID",
            "00000000-0000-4000-8000-00000000000c",
        )
        .header("Cache-Control", "no-store")
}
