//! Rest-hooks: events delivered in order by requests to the subscriber's server, repeated until one is answered with 2xx.
//!
//! Spec: <https://hl7.org/fhir/R4/subscription.html#2.46.7.1>,
//! <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/channels.html#rest-hook>. Each subscription has a task of its
//! own, so that a receiver that is down or slow holds up nobody else. What was delivered is noted after the answer:
//! after a crash the last notification may come again, with the same event numbers.
//!
//! Left out: redirects; they are failures, since headers must not go elsewhere.

use std::sync::Arc;
use std::time::Duration;

use ehr::http::{Method, Request, Url};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{LiveEvent, LiveSub};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::model::{Channel, Content, Spec, Style};
use super::notify::{self, Head, Told};
use super::status::{self, Next};
use crate::app::{Server, store_problem};

/// The key that signs where a subscription names none.
const SECRET_DEFAULT: &str = "default";
/// Bytes of resources in one notification, after which the next one begins.
const BODIES_BYTES_MAX: usize = 1 << 20;
/// Seconds without an event after which a task looks whether it missed a call.
const LOOK_SECONDS: u64 = 60;

/// Whether this server may call an endpoint.
///
/// # Errors
/// `invalid-resource`
pub fn permit(server: &Server, endpoint: &str) -> Result<(), Problem> {
    let settings = &server.config.live;
    let refuse = |text: &str| {
        Err(Problem::new(ErrorKind::INVALID_RESOURCE, text).at("Subscription.channel.endpoint"))
    };
    let Ok(url) = Url::parse(endpoint) else {
        return refuse("the endpoint is no URL");
    };
    if !settings.endpoints.is_empty() {
        // Compared as the URL is written in full, so that `https://a.example` does not let `https://a.example.org` in.
        let is_listed = settings.endpoints.iter().any(|prefix| {
            Url::parse(prefix).is_ok_and(|prefix| {
                prefix.origin() == url.origin() && url.path().starts_with(prefix.path())
            })
        });
        return match is_listed {
            true => Ok(()),
            false => refuse("the settings (`live.endpoints`) do not list this endpoint"),
        };
    }
    match url.scheme() {
        "https" => Ok(()),
        _ if is_loopback(&url) && server.config.http.ip().is_loopback() => Ok(()),
        _ => refuse("the endpoint must be https; `live.endpoints` in the settings can list others"),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// `Stoker-Signature`: the time, and the HMAC-SHA256 of the time, a full stop and the body.
fn signature(key: &[u8], seconds: i64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits = mac.finalize().into_bytes();
    let hex: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={seconds},v1={hex}"))
}

/// One request; the reason when it was not answered with 2xx.
async fn send(
    server: &Server,
    spec: &Spec,
    method: Method,
    suffix: &str,
    body: Vec<u8>,
) -> Result<(), String> {
    let Channel::Hook {
        endpoint,
        headers,
        secret,
        ..
    } = &spec.channel
    else {
        return Ok(());
    };
    let address = format!("{}{suffix}", endpoint.trim_end_matches('/'));
    let address = if suffix.is_empty() {
        endpoint
    } else {
        &address
    };
    let url = Url::parse(address).map_err(|_| "the endpoint is no URL".to_owned())?;
    let mut headers = headers.clone();
    if !body.is_empty() {
        headers.push((
            "content-type".to_owned(),
            "application/fhir+json".to_owned(),
        ));
    }
    let name = secret.as_deref().unwrap_or(SECRET_DEFAULT);
    let key = server.live.secrets.get().and_then(|keys| keys.get(name));
    match key {
        Some(key) => {
            let seconds = (server.clock)().0 / 1_000_000;
            let value = signature(key, seconds, &body).ok_or("the signing key cannot be used")?;
            headers.push(("stoker-signature".to_owned(), value));
        }
        None if secret.is_some() => {
            return Err("the settings have no signing key of the name given".to_owned());
        }
        None => {}
    }
    let request = Request {
        method,
        url,
        headers,
        body,
    };
    let http = server.live.http.get().ok_or("the server is starting")?;
    let most = server.config.live.answer_seconds_max.max(1);
    let seconds = spec.answer_seconds.unwrap_or(most).min(most);
    match tokio::time::timeout(Duration::from_secs(seconds), http.send(request)).await {
        Err(_) => Err(format!("the receiver did not answer within {seconds} s")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(answer)) if (200..300).contains(&answer.status) => Ok(()),
        Ok(Ok(answer)) => Err(format!("the receiver answered with {}", answer.status)),
    }
}

/// Waits before attempt `failed + 1`: doubling, between half and the whole of it, so that receivers that come back are
/// not called by all at once.
fn wait(server: &Server, failed: u32) -> Duration {
    let settings = &server.config.live;
    let most = settings.retry_seconds_max.saturating_mul(1_000);
    let whole = settings
        .retry_first_ms
        .saturating_mul(
            1_u64
                .checked_shl(failed.saturating_sub(1))
                .unwrap_or(u64::MAX),
        )
        .min(most);
    let mut random = [0_u8; 2];
    // Without randomness the wait is the whole one.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u64::from(u16::from_be_bytes(random)),
        Err(_) => u64::from(u16::MAX),
    };
    let half = whole / 2;
    Duration::from_millis(half + half.saturating_mul(share) / u64::from(u16::MAX))
}

/// Asks the receiver whether it listens.
///
/// # Errors
/// Why it does not.
pub async fn handshake(server: &Server, key: &ResourceKey, spec: &Spec) -> Result<(), String> {
    let topic = spec.topic();
    let head = Head {
        base: &server.base_url,
        id: key.id.as_str(),
        status: "requested",
        kind: "handshake",
        events: 0,
        topic: topic.as_deref(),
        error: None,
    };
    let mut failed = 0;
    loop {
        let body = notify::bundle(&head, &[], Content::Empty, (server.clock)());
        let why = match send(server, spec, Method::POST, "", body).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        failed += 1;
        if failed >= server.config.live.attempts_max {
            return Err(format!("handshake failed {failed} times: {why}"));
        }
        tokio::time::sleep(wait(server, failed)).await;
    }
}

/// What a delivery task works for.
pub struct Delivery {
    /// The resource.
    pub key: ResourceKey,
    /// The version that says so.
    pub version: VersionId,
    /// What it says.
    pub spec: Arc<Spec>,
    /// Where it stood at the start.
    pub sub: LiveSub,
    /// Called when there are events.
    pub wake: Arc<Notify>,
}

/// Delivers until the subscription goes to error.
pub async fn run(server: Arc<Server>, delivery: Delivery) {
    let mut delivered = delivery.sub.delivered;
    let mut failed = 0;
    let mut last_sent = Instant::now();
    loop {
        let outcome = match pending(&server, &delivery, delivered).await {
            Ok(told) if told.is_empty() => {
                rest(&server, &delivery, delivered, &mut last_sent).await;
                continue;
            }
            Ok(told) => deliver(&server, &delivery, &told).await,
            Err(problem) => {
                // Our own database: no fault of the receiver.
                tracing::warn!(%problem, subscription = %delivery.key, "events cannot be read yet");
                tokio::time::sleep(wait(&server, 1)).await;
                continue;
            }
        };
        match outcome {
            Ok(number) => {
                failed = 0;
                last_sent = Instant::now();
                delivered = number;
                server.live.told(delivery.sub.no, number);
            }
            Err(why) => {
                failed += 1;
                if failed >= server.config.live.attempts_max {
                    return give_up(&server, &delivery, failed, &why).await;
                }
                tokio::time::sleep(wait(&server, failed)).await;
            }
        }
    }
}

async fn give_up(server: &Arc<Server>, delivery: &Delivery, failed: u32, why: &str) {
    let reason = format!(
        "delivery failed {failed} times: {why}; set the status to `requested` when the receiver is back, and what was missed is delivered"
    );
    tracing::warn!(subscription = %delivery.key, reason = %why, "a subscriber cannot be told");
    loop {
        let next = Next::Error(reason.clone());
        let moved = status::move_to(server, &delivery.key, delivery.version, next).await;
        if moved.is_ok() {
            return;
        }
        tokio::time::sleep(wait(server, 1)).await;
    }
}

/// The next events, with resources where they are told.
async fn pending(
    server: &Arc<Server>,
    delivery: &Delivery,
    delivered: i64,
) -> Result<Vec<Told>, Problem> {
    let spec = &delivery.spec;
    let limit = match spec.style {
        Style::Plain => 1,
        Style::Backport => spec.events_max,
    };
    let events = server
        .store
        .live_events_of(delivery.sub.no, delivered + 1, i64::MAX, limit)
        .await
        .map_err(|e| store_problem(&e))?;
    let is_full = spec.content == Content::Full
        || matches!(
            &spec.channel,
            Channel::Hook {
                payload: Some(_),
                ..
            }
        );
    with_bodies(server, events, is_full).await
}

/// Adds the resources as they were, until the notification is long.
///
/// # Errors
/// As of a read
pub async fn with_bodies(
    server: &Server,
    events: Vec<LiveEvent>,
    is_full: bool,
) -> Result<Vec<Told>, Problem> {
    let mut told = Vec::with_capacity(events.len());
    let mut bytes = 0;
    for event in events {
        let mut body = None;
        if is_full {
            if bytes >= BODIES_BYTES_MAX {
                break;
            }
            let stored = server.store.vread(&event.key, event.version).await;
            body = stored
                .map_err(|e| store_problem(&e))?
                .map(|stored| stored.json);
            bytes += body.as_ref().map_or(0, bytes::Bytes::len);
        }
        told.push((event, body));
    }
    Ok(told)
}

async fn deliver(server: &Arc<Server>, delivery: &Delivery, told: &[Told]) -> Result<i64, String> {
    let spec = &delivery.spec;
    let Some((last, body)) = told.last() else {
        return Err("there is nothing to deliver".to_owned());
    };
    if spec.style == Style::Plain {
        let has_payload = matches!(
            &spec.channel,
            Channel::Hook {
                payload: Some(_),
                ..
            }
        );
        let sent = match body.as_ref().filter(|body| has_payload && !body.is_empty()) {
            // "the server sends the resource as an update": PUT [endpoint]/[type]/[id]
            Some(body) => {
                let suffix = format!("/{}", last.key);
                send(server, spec, Method::PUT, &suffix, body.to_vec()).await
            }
            None => send(server, spec, Method::POST, "", Vec::new()).await,
        };
        return sent.map(|()| last.number);
    }
    let topic = spec.topic();
    let head = Head {
        base: &server.base_url,
        id: delivery.key.id.as_str(),
        status: "active",
        kind: "event-notification",
        events: last.number,
        topic: topic.as_deref(),
        error: None,
    };
    let body = notify::bundle(&head, told, spec.content, (server.clock)());
    send(server, spec, Method::POST, "", body).await?;
    Ok(last.number)
}

/// Waits for events; sends a heartbeat when there was silence for long enough.
async fn rest(server: &Arc<Server>, delivery: &Delivery, delivered: i64, last_sent: &mut Instant) {
    let look = Instant::now() + Duration::from_secs(LOOK_SECONDS);
    let beat = delivery
        .spec
        .heartbeat_seconds
        .filter(|_| delivery.spec.style == Style::Backport)
        .map(|seconds| *last_sent + Duration::from_secs(seconds));
    let until = beat.map_or(look, |beat| beat.min(look));
    tokio::select! {
        () = delivery.wake.notified() => return,
        () = tokio::time::sleep_until(until) => {}
    }
    if beat.is_some_and(|beat| beat <= Instant::now()) {
        let topic = delivery.spec.topic();
        let head = Head {
            base: &server.base_url,
            id: delivery.key.id.as_str(),
            status: "active",
            kind: "heartbeat",
            events: delivered,
            topic: topic.as_deref(),
            error: None,
        };
        let body = notify::bundle(&head, &[], Content::Empty, (server.clock)());
        // A heartbeat that is not taken says nothing lost; events are what counts.
        if let Err(why) = send(server, &delivery.spec, Method::POST, "", body).await {
            tracing::debug!(subscription = %delivery.key, reason = %why, "a heartbeat was not taken");
        }
        *last_sent = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-342
    #[test]
    fn a_signature_is_over_time_and_body() {
        // `printf '1.{}' | openssl dgst -sha256 -hmac key`
        let expected = "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224";
        let made = signature(b"key", 1, b"{}").unwrap();
        assert_eq!(made, expected);
        assert_ne!(made, signature(b"key", 2, b"{}").unwrap());
        assert_ne!(made, signature(b"other", 1, b"{}").unwrap());
        assert_ne!(made, signature(b"key", 1, b"{ }").unwrap());
    }
}
