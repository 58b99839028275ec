//! Access tokens of a backend client: one request at a time, renewed before they expire, never logged.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html#obtain-access-token>.
//! Leaves out refresh tokens: backend clients have none.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fhir_core::ids::Instant;
use fhir_core::json::{Number, Value};
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, Scope,
    TokenResponse as _, TokenUrl,
};
use reqwest::{Method, Url};

use crate::EhrError;
use crate::auth::assertion::{self, Claims};
use crate::auth::discovery::{self, Discovery};
use crate::auth::keys::KeyRing;
use crate::auth::scopes::Granted;
use crate::clock::{Later, Surroundings, plus_seconds};
use crate::http::{Answer, Http, Request};
use crate::tenant::{Auth, Tenant};

/// Most attempts for one token. Sporadic bare 400 answers on re-authorisation are real.
const ATTEMPTS_MAX: u32 = 4;
/// Wait before another attempt, in milliseconds, doubled each time.
const ATTEMPT_WAIT_MS: u64 = 500;
/// A token this close to its end is renewed first, in seconds; a page may take that long.
const RENEW_BEFORE_S: i64 = 60;
/// Life assumed when the answer names none, in seconds: SMART recommends 300 at most.
const LIFE_DEFAULT_S: u64 = 300;

/// A token and what it allows. No `Debug`.
pub struct Token {
    secret: String,
    /// When it ends, by our clock.
    pub expires_at: Instant,
    /// What it grants.
    pub granted: Granted,
    /// Asked for and not granted, as text.
    pub missing: Vec<String>,
}

impl Token {
    /// The `Authorization` header; `None` on an open server.
    pub fn authorization(&self) -> Option<String> {
        (!self.secret.is_empty()).then(|| format!("Bearer {}", self.secret))
    }
}

/// Gets and keeps the token of one tenant.
pub struct TokenSource {
    tenant: Arc<Tenant>,
    http: Http,
    surroundings: Arc<dyn Surroundings>,
    held: tokio::sync::Mutex<Option<Arc<Token>>>,
    found: tokio::sync::OnceCell<Discovery>,
    skew: std::sync::Mutex<i64>,
}

impl TokenSource {
    /// A source without a token yet.
    pub fn new(tenant: Arc<Tenant>, http: Http, surroundings: Arc<dyn Surroundings>) -> Self {
        Self {
            tenant,
            http,
            surroundings,
            held: tokio::sync::Mutex::new(None),
            found: tokio::sync::OnceCell::new(),
            skew: std::sync::Mutex::new(0),
        }
    }

    /// A token with some life left. Callers that come while one is fetched wait for that one.
    ///
    /// # Errors
    /// [`EhrError::Token`], [`EhrError::Discovery`] or [`EhrError::Key`].
    pub async fn token(&self) -> Result<Arc<Token>, EhrError> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.as_ref()
            && plus_seconds(self.surroundings.now(), RENEW_BEFORE_S) < token.expires_at
        {
            return Ok(token.clone());
        }
        let token = Arc::new(self.fetch().await?);
        *held = Some(token.clone());
        Ok(token)
    }

    /// Forgets a token the EHR refused. False when somebody has already replaced it.
    pub async fn refused(&self, token: &Arc<Token>) -> bool {
        let mut held = self.held.lock().await;
        let current = held.as_ref().is_some_and(|own| Arc::ptr_eq(own, token));
        if current {
            *held = None;
        }
        current
    }

    /// The EHR's clock minus ours, in microseconds, as far as seen.
    pub fn skew_micros(&self) -> i64 {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the EHR's clock from an answer.
    pub fn learn_clock(&self, server_time: Option<Instant>) {
        if let Some(server) = server_time {
            let skew = server.0.saturating_sub(self.surroundings.now().0);
            *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = skew;
        }
    }

    /// Where tokens come from.
    ///
    /// # Errors
    /// [`EhrError::Discovery`].
    pub async fn discovery(&self) -> Result<&Discovery, EhrError> {
        let tenant = &self.tenant;
        let ask = || discovery::discover(&self.http, &tenant.fhir_base, &[]);
        let headers = tenant.headers();
        let found = self
            .found
            .get_or_try_init(|| async {
                match &tenant.token_url {
                    Some(url) => Ok(Discovery {
                        token_endpoint: url.clone(),
                        authorization_endpoint: None,
                        capabilities: Vec::new(),
                        server_time: None,
                        found_in: "the tenant file",
                    }),
                    None if headers.is_empty() => ask().await,
                    None => discovery::discover(&self.http, &tenant.fhir_base, &headers).await,
                }
            })
            .await?;
        Ok(found)
    }

    /// The claims the next assertion would carry, for `doctor`.
    ///
    /// # Errors
    /// [`EhrError::Discovery`].
    pub async fn claims(&self) -> Result<Claims, EhrError> {
        let endpoint = self.discovery().await?.token_endpoint.clone();
        let now = Instant(self.surroundings.now().0.saturating_add(self.skew_micros()));
        let chance = self.surroundings.random();
        Ok(Claims::new(
            &self.tenant.client_id,
            endpoint.as_str(),
            now,
            chance,
        ))
    }

    async fn fetch(&self) -> Result<Token, EhrError> {
        if matches!(self.tenant.auth, Auth::None) {
            return Ok(Token {
                secret: String::new(),
                expires_at: Instant(i64::MAX),
                granted: Granted::parse("system/*.cruds"),
                missing: Vec::new(),
            });
        }
        let found = self.discovery().await?.clone();
        self.learn_clock(found.server_time);
        let mut wait = Duration::from_millis(ATTEMPT_WAIT_MS);
        let mut attempt = 1;
        loop {
            match self.request(&found.token_endpoint).await {
                Err(failure) if failure.again && attempt < ATTEMPTS_MAX => {
                    tracing::warn!(tenant = %self.tenant.name, attempt, "token request failed; trying again");
                    self.surroundings.sleep(failure.wait.unwrap_or(wait)).await;
                    wait = wait.saturating_mul(2);
                    attempt += 1;
                }
                Err(failure) => return Err(failure.error),
                Ok(token) => return Ok(token),
            }
        }
    }

    async fn request(&self, endpoint: &Url) -> Result<Token, Failure> {
        let tenant = &self.tenant;
        let final_error = |error| Failure {
            error,
            again: false,
            wait: None,
        };
        let token_url = TokenUrl::new(endpoint.to_string()).map_err(|_| {
            final_error(EhrError::Discovery(
                "the token endpoint is no URL".to_owned(),
            ))
        })?;
        let mut client =
            BasicClient::new(ClientId::new(tenant.client_id.clone())).set_token_uri(token_url);
        let mut extra = Vec::new();
        match &tenant.auth {
            Auth::Basic { secret } => {
                client = client
                    .set_auth_type(AuthType::BasicAuth)
                    .set_client_secret(ClientSecret::new(secret.read().map_err(final_error)?));
            }
            Auth::PrivateKeyJwt {
                keys,
                algorithm,
                jwks_url,
            } => {
                let ring = KeyRing::open(keys).map_err(final_error)?;
                let now = self.surroundings.now();
                let (entry, key) = ring.signing_key(now, *algorithm).map_err(final_error)?;
                let claims = self.claims().await.map_err(final_error)?;
                let assertion = claims
                    .sign(&entry, &key, jwks_url.as_deref())
                    .map_err(final_error)?;
                extra = vec![
                    ("client_assertion_type", assertion::TYPE.to_owned()),
                    ("client_assertion", assertion),
                ];
            }
            Auth::None => {}
        }
        let mut request = client.exchange_client_credentials();
        for (name, value) in extra {
            request = request.add_extra_param(name, value);
        }
        if tenant.profile.request_scopes {
            request = request.add_scopes(tenant.scopes.iter().cloned().map(Scope::new));
        }
        let seen = Arc::new(Seen::default());
        let bridge = self.bridge(seen.clone());
        let started = self.surroundings.now();
        let result = request.request_async(&bridge).await;
        match result {
            Ok(response) => Ok(self.keep(&response, started)),
            Err(error) => Err(explain(&error, &seen)),
        }
    }

    /// The oauth2 crate's way to the network: ours, with status and headers remembered and two repairs: an
    /// asymmetric client leaves out `client_id` (SMART), and odd token bodies are put right before they are parsed.
    fn bridge(
        &self,
        seen: Arc<Seen>,
    ) -> impl Fn(HttpRequest) -> Later<'static, Result<HttpResponse, EhrError>> + Send + Sync + use<>
    {
        let http = self.http.clone();
        let omit = self.tenant.profile.omit_client_id
            && matches!(self.tenant.auth, Auth::PrivateKeyJwt { .. });
        move |request| {
            let (http, seen) = (http.clone(), seen.clone());
            Box::pin(async move {
                let answer = http.send(outgoing(request, omit)?).await?;
                seen.set(&answer);
                let mut response = HttpResponse::new(repaired(&answer));
                *response.status_mut() = oauth2::http::StatusCode::from_u16(answer.status)
                    .map_err(|_| EhrError::Answer("no HTTP status".to_owned()))?;
                Ok(response)
            })
        }
    }

    fn keep(&self, response: &BasicTokenResponse, started: Instant) -> Token {
        let life = response
            .expires_in()
            .map_or(LIFE_DEFAULT_S, |life| life.as_secs());
        let asked = &self.tenant.scopes;
        // No `scope` in the answer means: as asked (RFC 6749 §5.1).
        let text = response.scopes().map_or_else(
            || asked.join(" "),
            |scopes| {
                let texts: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                texts.join(" ")
            },
        );
        let granted = Granted::parse(&text);
        let asked = Granted::parse(&asked.join(" "));
        let missing = asked.resources.iter().filter(|scope| {
            (scope.search && !granted.may_search(&scope.resource_type, None))
                || (scope.read && !granted.may_read(&scope.resource_type))
        });
        let missing = missing
            .map(|scope| format!("{}/{}", scope.context, scope.resource_type))
            .collect();
        Token {
            secret: response.access_token().secret().clone(),
            expires_at: plus_seconds(started, i64::try_from(life).unwrap_or(0)),
            granted,
            missing,
        }
    }
}

struct Failure {
    error: EhrError,
    again: bool,
    wait: Option<Duration>,
}

/// What the crate hides: the status and the wait asked for.
#[derive(Default)]
struct Seen(std::sync::Mutex<(u16, Option<u64>, Option<String>)>);

impl Seen {
    fn set(&self, answer: &Answer) {
        let wait = answer
            .header("retry-after")
            .and_then(|text| text.parse().ok());
        let correlation = answer.correlation().map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (answer.status, wait, correlation);
    }

    fn get(&self) -> (u16, Option<u64>, Option<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) fn outgoing(request: HttpRequest, omit_client_id: bool) -> Result<Request, EhrError> {
    let (parts, body) = request.into_parts();
    let url = Url::parse(&parts.uri.to_string())
        .map_err(|_| EhrError::Token("the token endpoint is no URL".to_owned()))?;
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let body = if omit_client_id {
        let text = String::from_utf8_lossy(&body).into_owned();
        let kept: Vec<&str> = text
            .split('&')
            .filter(|pair| !pair.starts_with("client_id="))
            .collect();
        kept.join("&").into_bytes()
    } else {
        body
    };
    Ok(Request {
        method: Method::POST,
        url,
        headers: headers.collect(),
        body,
    })
}

/// Puts right what some servers send: `expires_in` as text, `token_type` or `error_description` missing or null.
/// Anything else stays as it is and fails in the parser.
pub(crate) fn repaired(answer: &Answer) -> Vec<u8> {
    let Ok(mut value) = Value::parse(&answer.body) else {
        return answer.body.to_vec();
    };
    let Some(members) = value.as_object_mut() else {
        return answer.body.to_vec();
    };
    let life = members
        .get("expires_in")
        .and_then(Value::as_str)
        .and_then(Number::parse);
    if let Some(number) = life {
        members.insert("expires_in", Value::Number(number));
    }
    if answer.status == 200 && members.get("token_type").is_none() {
        members.insert("token_type", "bearer".into());
    }
    value.to_bytes()
}

/// The crate's error in our words. Its `Debug` holds the raw body, that is the token: it is never printed.
fn explain(error: &RequestTokenError<EhrError, BasicErrorResponse>, seen: &Seen) -> Failure {
    let (status, wait, correlation) = seen.get();
    let case = correlation.map_or(String::new(), |id| format!(", their reference {id}"));
    let (text, again) = match error {
        RequestTokenError::ServerResponse(response) => {
            let code = response.error().as_ref().to_owned();
            let text = format!("refused with `{code}` (status {status}{case}); run `doctor`");
            (text, status >= 500 || status == 429)
        }
        RequestTokenError::Request(EhrError::Connection(text)) => (text.clone(), true),
        RequestTokenError::Request(error) => (error.to_string(), false),
        RequestTokenError::Parse(..) => (
            format!("the answer is not a token response (status {status}{case})"),
            status >= 500 || status == 429,
        ),
        RequestTokenError::Other(_) => (
            format!("empty answer (status {status}{case})"),
            status >= 400,
        ),
    };
    Failure {
        error: EhrError::Token(text),
        again,
        wait: wait.map(|seconds| Duration::from_secs(seconds.min(60))),
    }
}
