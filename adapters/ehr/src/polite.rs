//! Asking politely: one place for back-off, budget, quiet hours, the circuit breaker and token renewal.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3> (Retry-After), RFC 6585 (429).
//! Leaves out parsing: an answer with a success status is handed on as it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fhir_core::ids::Instant;
use reqwest::Url;

use crate::EhrError;
use crate::auth::discovery::server_time;
use crate::auth::token::TokenSource;
use crate::clock::Surroundings;
use crate::http::{Answer, Http, Request};
use crate::outcome::{Notice, of_error};
use crate::profile::Reaction;
use crate::tenant::Tenant;
use crate::time;

/// Most attempts for one page.
const ATTEMPTS_MAX: u32 = 6;
/// First wait, in milliseconds; doubled each time.
const WAIT_FIRST_MS: u64 = 1_000;
/// Longest wait of our own, in milliseconds.
const WAIT_MAX_MS: u64 = 60_000;
/// Longest Retry-After we follow, in seconds. Hours were seen asked for; then the task is left for the next run.
const RETRY_AFTER_MAX_S: u64 = 300;
/// Tokens renewed for one page before we believe the refusal.
const RENEWALS_MAX: u32 = 3;
/// Pages in a row that failed after all attempts, before the tenant is left alone.
const BREAKER_FAILURES: u32 = 5;
/// How long the tenant is left alone, in seconds.
const BREAKER_OPEN_S: i64 = 900;

/// An answer, or the reason there is none to use.
pub enum Got {
    /// Success.
    Answer(Answer),
    /// Refused for good; what the refusal calls for, and the answer itself.
    Refused(Notice, Answer),
}

/// The way to one tenant's FHIR API.
pub struct Polite {
    tenant: Arc<Tenant>,
    http: Http,
    tokens: Arc<TokenSource>,
    surroundings: Arc<dyn Surroundings>,
    slots: tokio::sync::Semaphore,
    ledger: Mutex<Ledger>,
    attempts_max: AtomicU32,
}

#[derive(Default)]
struct Ledger {
    day: i64,
    today: u32,
    total: u64,
    failures: u32,
    open_until: i64,
}

impl Polite {
    /// A way that has asked nothing yet.
    pub fn new(
        tenant: Arc<Tenant>,
        http: Http,
        tokens: Arc<TokenSource>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Self {
        let slots = tokio::sync::Semaphore::new(tenant.profile.connections);
        Self {
            tenant,
            http,
            tokens,
            surroundings,
            slots,
            ledger: Mutex::new(Ledger::default()),
            attempts_max: AtomicU32::new(ATTEMPTS_MAX),
        }
    }

    /// Asks once from now on, because somebody waits for the answer.
    pub fn hurry(&self) {
        self.attempts_max.store(1, Ordering::Relaxed);
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.ledger().total
    }

    /// The UTC day and the requests of that day, for keeping the budget over a restart.
    pub fn spent(&self) -> (i64, u32) {
        let ledger = self.ledger();
        (ledger.day, ledger.today)
    }

    /// Takes over what an earlier process spent.
    pub fn set_spent(&self, day: i64, today: u32) {
        let mut ledger = self.ledger();
        ledger.day = day;
        ledger.today = today;
    }

    /// What the circuit breaker knows: pages that failed in a row, and until when the EHR is left alone (microseconds
    /// since 1970). A run that begins a minute later must not hammer where this one gave up.
    pub fn breaker(&self) -> (u32, i64) {
        let ledger = self.ledger();
        (ledger.failures, ledger.open_until)
    }

    /// Takes over what an earlier run's circuit breaker knew.
    pub fn set_breaker(&self, (failures, open_until): (u32, i64)) {
        let mut ledger = self.ledger();
        ledger.failures = failures;
        ledger.open_until = open_until;
    }

    /// The tenant's tokens.
    pub fn tokens(&self) -> &TokenSource {
        &self.tokens
    }

    /// Asks for a page or a resource.
    ///
    /// # Errors
    /// [`EhrError::Paused`] by our own limits, [`EhrError::Token`], or [`EhrError::Answer`] after all attempts.
    pub async fn get(&self, url: &Url) -> Result<Got, EhrError> {
        let accept = &self.tenant.profile.accept;
        self.ask(&Request::get(url.clone()).header("accept", accept))
            .await
    }

    /// Sends a request that may be repeated; 202 is success too.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn ask(&self, wanted: &Request) -> Result<Got, EhrError> {
        let _slot = self.slot().await?;
        let mut renewals = 0;
        let mut attempt = 1;
        loop {
            self.may_ask()?;
            let token = self.tokens.token().await?;
            let mut request = wanted.clone();
            request.headers.extend(self.tenant.headers());
            if let Some(authorization) = token.authorization() {
                request = request.header("authorization", authorization);
            }
            let (trouble, asked_wait) = match self.http.send(request).await {
                Ok(answer) => {
                    self.tokens.learn_clock(server_time(&answer));
                    if matches!(answer.status, 200 | 202) {
                        self.ledger().failures = 0;
                        return Ok(Got::Answer(answer));
                    }
                    if answer.status == 401 && renewals < RENEWALS_MAX {
                        // Another walk may have renewed it meanwhile; then this refusal says nothing about the new one.
                        renewals += u32::from(self.tokens.refused(&token).await);
                        continue;
                    }
                    if answer.status == 401 {
                        return Err(EhrError::Token(
                            "a fresh token was refused with 401; run `doctor`".to_owned(),
                        ));
                    }
                    let notice = of_error(&answer, &self.tenant.profile);
                    match notice.reaction {
                        Reaction::Retry => {
                            (notice.code, retry_after(&answer, self.surroundings.now()))
                        }
                        Reaction::Park => {
                            return Err(EhrError::Paused(
                                "the EHR's daily limit is reached; try tomorrow".to_owned(),
                            ));
                        }
                        _ => {
                            self.ledger().failures = 0;
                            return Ok(Got::Refused(notice, answer));
                        }
                    }
                }
                Err(EhrError::Connection(text)) => (text, None),
                Err(error) => return Err(error),
            };
            let attempts_max = self.attempts_max.load(Ordering::Relaxed);
            if attempt >= attempts_max || asked_wait.is_some_and(|s| s > RETRY_AFTER_MAX_S) {
                return Err(self.failed(&trouble, attempt));
            }
            self.surroundings
                .sleep(self.wait(attempt, asked_wait))
                .await;
            attempt += 1;
        }
    }

    /// Sends a request that must not be repeated. A refused token is renewed once: the request was not looked at then.
    ///
    /// # Errors
    /// [`EhrError::Paused`] by our own limits, [`EhrError::Token`], or what happened on the way.
    pub async fn once(&self, wanted: &Request) -> Result<Answer, EhrError> {
        let _slot = self.slot().await?;
        let mut is_renewed = false;
        loop {
            self.may_ask()?;
            let token = self.tokens.token().await?;
            let mut request = wanted.clone();
            request.headers.extend(self.tenant.headers());
            if let Some(authorization) = token.authorization() {
                request = request.header("authorization", authorization);
            }
            let answer = self.http.send(request).await?;
            self.tokens.learn_clock(server_time(&answer));
            if answer.status != 401 {
                return Ok(answer);
            }
            if is_renewed {
                return Err(EhrError::Token(
                    "a fresh token was refused with 401; run `doctor`".to_owned(),
                ));
            }
            self.tokens.refused(&token).await;
            is_renewed = true;
        }
    }

    async fn slot(&self) -> Result<tokio::sync::SemaphorePermit<'_>, EhrError> {
        let slot = self.slots.acquire().await;
        slot.map_err(|_| EhrError::Paused("the run was stopped".to_owned()))
    }

    /// Full jitter: between half and the whole of a wait that doubles, and never shorter than asked for.
    fn wait(&self, attempt: u32, asked_s: Option<u64>) -> Duration {
        let whole = WAIT_FIRST_MS
            .saturating_mul(
                1_u64
                    .checked_shl(attempt.saturating_sub(1))
                    .unwrap_or(u64::MAX),
            )
            .min(WAIT_MAX_MS);
        let half = whole / 2;
        let chance =
            u64::try_from(self.surroundings.random() % u128::from(half.max(1))).unwrap_or(0);
        let own = Duration::from_millis(half.saturating_add(chance));
        own.max(Duration::from_secs(asked_s.unwrap_or(0)))
    }

    /// Checks quiet hours, breaker and budget, and books one request.
    fn may_ask(&self) -> Result<(), EhrError> {
        let now = self.surroundings.now();
        let profile = &self.tenant.profile;
        if let Some([from, to]) = profile.quiet_hours_utc {
            let hour = time::hour_utc(now);
            let quiet = if from < to {
                (from..to).contains(&hour)
            } else {
                hour >= from || hour < to
            };
            if quiet {
                return Err(EhrError::Paused(format!("quiet hours until {to}:00 UTC")));
            }
        }
        let mut ledger = self.ledger();
        if now.0 < ledger.open_until {
            return Err(EhrError::Paused(
                "the EHR failed repeatedly; it is left alone for a while".to_owned(),
            ));
        }
        let day = time::day_utc(now);
        if ledger.day != day {
            ledger.day = day;
            ledger.today = 0;
        }
        if ledger.today >= profile.requests_per_day {
            return Err(EhrError::Paused(format!(
                "`requests_per_day` ({}) is used up",
                profile.requests_per_day
            )));
        }
        ledger.today += 1;
        ledger.total += 1;
        Ok(())
    }

    fn failed(&self, trouble: &str, attempts: u32) -> EhrError {
        let mut ledger = self.ledger();
        ledger.failures += 1;
        if ledger.failures >= BREAKER_FAILURES {
            ledger.failures = 0;
            ledger.open_until = self
                .surroundings
                .now()
                .0
                .saturating_add(BREAKER_OPEN_S * 1_000_000);
        }
        EhrError::Answer(format!("{trouble}, after {attempts} attempts"))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds asked for; a date counts from the answer's own `Date`, or else from our clock.
fn retry_after(answer: &Answer, now: Instant) -> Option<u64> {
    let text = answer.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let at = time::parse_http_date(text)?;
    let wait = (at.0 - server_time(answer).unwrap_or(now).0).div_euclid(1_000_000);
    Some(u64::try_from(wait).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §10.2.3: a number of seconds or a date.
    #[test]
    fn retry_after_is_read_in_both_forms() {
        let date = ("date", "Mon, 04 May 2026 08:00:00 GMT");
        for (asked, expected) in [
            ("120", Some(120)),
            ("Mon, 04 May 2026 08:01:30 GMT", Some(90)),
            ("Mon, 04 May 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let headers = [date, ("retry-after", asked)];
            let answer = Answer {
                status: 429,
                headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
                body: bytes::Bytes::new(),
            };
            assert_eq!(retry_after(&answer, Instant(0)), expected, "{asked}");
        }
    }
}
