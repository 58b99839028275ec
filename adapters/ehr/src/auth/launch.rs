//! User launches: EHR launch and standalone launch with an authorization code and PKCE, and refresh.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html>.
//! Leaves out the browser and the redirect listener, which are the server's.

use std::sync::Arc;

use fhir_core::json::{Document, Value};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use reqwest::{Method, Url};

use crate::EhrError;
use crate::auth::base64url;
use crate::auth::scopes::Granted;
use crate::clock::Surroundings;
use crate::http::{Answer, Http, Request};

/// How a launch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// From inside the EHR, with its opaque `launch` value.
    Ehr(String),
    /// From outside.
    Standalone,
}

/// A login under way. Keep it with the user's session: `state` and the verifier belong to that session only.
pub struct Pending {
    /// Where to send the browser.
    pub address: Url,
    state: String,
    verifier: PkceCodeVerifier,
    token_endpoint: Url,
    redirect: Url,
    client_id: String,
}

/// What a login gave. No `Debug`.
pub struct Session {
    /// The access token.
    pub access_token: String,
    /// The refresh token, if any.
    pub refresh_token: Option<String>,
    /// What was granted.
    pub granted: Granted,
    /// `patient`, `encounter`, `fhirContext` and every other member of the answer but the tokens, as sent.
    pub context: Value,
}

/// The address to send the user to.
///
/// # Errors
/// [`EhrError::Config`] when an address cannot carry parameters.
pub fn begin(
    surroundings: &Arc<dyn Surroundings>,
    endpoints: (&Url, &Url),
    base: &Url,
    client_id: &str,
    redirect: &Url,
    scopes: &[String],
    launch: &Launch,
) -> Pending {
    let chance = || {
        let mut bytes = [0_u8; 32];
        let (left, right) = bytes.split_at_mut(16);
        left.copy_from_slice(&surroundings.random().to_le_bytes());
        right.copy_from_slice(&surroundings.random().to_le_bytes());
        base64url(&bytes)
    };
    let (authorize, token_endpoint) = endpoints;
    let state = chance();
    let verifier = PkceCodeVerifier::new(chance());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let mut address = authorize.clone();
    {
        let mut query = address.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect.as_str())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("aud", base.as_str())
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        if let Launch::Ehr(value) = launch {
            query.append_pair("launch", value);
        }
    }
    Pending {
        address,
        state,
        verifier,
        token_endpoint: token_endpoint.clone(),
        redirect: redirect.clone(),
        client_id: client_id.to_owned(),
    }
}

impl Pending {
    /// Trades the code for tokens; `state` must be the one this login began with.
    ///
    /// # Errors
    /// [`EhrError::Token`].
    pub async fn finish(self, http: &Http, state: &str, code: &str) -> Result<Session, EhrError> {
        if state != self.state {
            return Err(EhrError::Token(
                "`state` belongs to another login; start again".to_owned(),
            ));
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect.as_str()),
            ("client_id", &self.client_id),
            ("code_verifier", self.verifier.secret()),
        ];
        let answer = post(http, &self.token_endpoint, &form).await?;
        session(&answer, None)
    }
}

/// A new access token. The old refresh token stays when no new one comes: Oracle sends none.
///
/// # Errors
/// [`EhrError::Token`].
pub async fn refresh(
    http: &Http,
    token_endpoint: &Url,
    client_id: &str,
    old: &Session,
) -> Result<Session, EhrError> {
    let held = old.refresh_token.as_deref();
    let held = held.ok_or_else(|| EhrError::Token("no refresh token; log in again".to_owned()))?;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", held),
        ("client_id", client_id),
    ];
    session(&post(http, token_endpoint, &form).await?, Some(held))
}

async fn post(http: &Http, url: &Url, form: &[(&str, &str)]) -> Result<Answer, EhrError> {
    let mut encoder = oauth2::url::form_urlencoded::Serializer::new(String::new());
    encoder.extend_pairs(form);
    http.send(Request {
        method: Method::POST,
        url: url.clone(),
        headers: vec![
            (
                "content-type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept".to_owned(), "application/json".to_owned()),
        ],
        body: encoder.finish().into_bytes(),
    })
    .await
}

fn session(answer: &Answer, old_refresh: Option<&str>) -> Result<Session, EhrError> {
    let refuse = |what: &str| EhrError::Token(format!("{what} (status {})", answer.status));
    if answer.status != 200 {
        return Err(refuse("refused"));
    }
    let document =
        Document::parse(&answer.body).map_err(|_| refuse("the answer is not a token response"))?;
    let root = document.root();
    let text = |name: &str| Some(root.get(name)?.as_str()?.into_owned());
    let mut context = root.to_value();
    if let Some(members) = context.as_object_mut() {
        for secret in ["access_token", "refresh_token", "id_token"] {
            members.remove(secret);
        }
    }
    Ok(Session {
        access_token: text("access_token").ok_or_else(|| refuse("no `access_token`"))?,
        refresh_token: text("refresh_token").or_else(|| old_refresh.map(str::to_owned)),
        granted: Granted::parse(&text("scope").unwrap_or_default()),
        context,
    })
}
