//! Notifications: Bundles of type history whose first entry is the subscription's status as Parameters.
//!
//! Spec: <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html#fhir-r4>. Left out: `additional-context`.

use bytes::Bytes;
use fhir_core::ids::Instant;
use fhir_core::json::{Value, write_string};
use fhir_store::{LiveEvent, LiveOp};
use sha2::{Digest, Sha256};

use super::model::{BACKPORT, Content};
use crate::operations::parameters::one;

/// What a notification says about its subscription.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The FHIR base.
    pub base: &'a str,
    /// The subscription's logical id.
    pub id: &'a str,
    /// Its status.
    pub status: &'a str,
    /// `handshake`, `heartbeat`, `event-notification`, `query-status`, `query-event`.
    pub kind: &'a str,
    /// Events since it began.
    pub events: i64,
    /// The topic.
    pub topic: Option<&'a str>,
    /// Why it is in error.
    pub error: Option<&'a str>,
}

/// An event, and the resource as it was then where that is told.
pub type Told = (LiveEvent, Option<Bytes>);

/// The status as Parameters.
pub fn status(head: &Head<'_>, events: &[Told], content: Content) -> Value {
    let reference = Value::object([(
        "reference",
        Value::from(format!("{}/Subscription/{}", head.base, head.id)),
    )]);
    let mut all = vec![one("subscription", "valueReference", reference)];
    all.extend(
        head.topic
            .map(|topic| one("topic", "valueCanonical", Value::from(topic))),
    );
    all.push(one("status", "valueCode", Value::from(head.status)));
    all.push(one("type", "valueCode", Value::from(head.kind)));
    let count = Value::from(head.events.to_string());
    all.push(one("events-since-subscription-start", "valueString", count));
    for (event, _) in events {
        let number = Value::from(event.number.to_string());
        let mut parts = vec![
            one("event-number", "valueString", number),
            one(
                "timestamp",
                "valueInstant",
                Value::from(event.at().to_fhir()),
            ),
        ];
        if content != Content::Empty {
            let url = format!("{}/{}", head.base, event.key);
            let focus = Value::object([("reference", Value::from(url))]);
            parts.push(one("focus", "valueReference", focus));
        }
        all.push(Value::object([
            ("name", Value::from("notification-event")),
            ("part", Value::Array(parts)),
        ]));
    }
    if let Some(error) = head.error {
        let concept = Value::object([("text", Value::from(error))]);
        all.push(one("error", "valueCodeableConcept", concept));
    }
    let profile = Value::from(format!("{BACKPORT}backport-subscription-status-r4"));
    let last = events.last().map_or(0, |(event, _)| event.number);
    Value::object([
        ("resourceType", Value::from("Parameters")),
        ("id", Value::from(uuid(head, last))),
        (
            "meta",
            Value::object([("profile", Value::Array(vec![profile]))]),
        ),
        ("parameter", Value::Array(all)),
    ])
}

/// The same text for the same notification, so that a repeated delivery can be known by it.
fn uuid(head: &Head<'_>, last: i64) -> String {
    let text = format!(
        "{}|{}|{}|{}|{last}",
        head.base, head.id, head.kind, head.events
    );
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(Sha256::digest(text.as_bytes()))
        .for_each(|(to, from)| *to = from);
    // Version 8 of RFC 9562: made by a rule of our own.
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let at = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        at(0..8),
        at(8..12),
        at(12..16),
        at(16..20),
        at(20..32)
    )
}

/// A notification.
pub fn bundle(head: &Head<'_>, events: &[Told], content: Content, now: Instant) -> Vec<u8> {
    let status = status(head, events, content);
    let id = status.get("id").and_then(Value::as_str).unwrap_or_default();
    let mut out = Vec::with_capacity(1_024 + events.len() * 256);
    out.extend_from_slice(br#"{"resourceType":"Bundle","id":""#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#"","meta":{"profile":[""#);
    out.extend_from_slice(BACKPORT.as_bytes());
    out.extend_from_slice(
        br#"backport-subscription-notification-r4"]},"type":"history","timestamp":""#,
    );
    now.write_fhir(&mut out);
    out.extend_from_slice(br#"","entry":[{"fullUrl":"urn:uuid:"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#"","resource":"#);
    status.write(&mut out);
    out.extend_from_slice(br#","request":{"method":"GET","url":"#);
    write_string(
        &format!("{}/Subscription/{}/$status", head.base, head.id),
        &mut out,
    );
    out.extend_from_slice(br#"},"response":{"status":"200"}}"#);
    if content != Content::Empty {
        for told in events {
            entry(head, told, content, &mut out);
        }
    }
    out.extend_from_slice(b"]}");
    out
}

fn entry(head: &Head<'_>, (event, body): &Told, content: Content, out: &mut Vec<u8>) {
    out.extend_from_slice(br#",{"fullUrl":"#);
    write_string(&format!("{}/{}", head.base, event.key), out);
    if content == Content::Full
        && let Some(body) = body.as_ref().filter(|body| !body.is_empty())
    {
        out.extend_from_slice(br#","resource":"#);
        out.extend_from_slice(body);
    }
    let (method, url, status) = match event.op {
        LiveOp::Created => ("POST", event.key.resource_type.name().to_owned(), "201"),
        LiveOp::Updated => ("PUT", event.key.to_string(), "200"),
        LiveOp::Deleted => ("DELETE", event.key.to_string(), "204"),
    };
    out.extend_from_slice(br#","request":{"method":""#);
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(br#"","url":"#);
    write_string(&url, out);
    out.extend_from_slice(br#"},"response":{"status":""#);
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(br#"","etag":"W/\""#);
    out.extend_from_slice(event.version.to_string().as_bytes());
    out.extend_from_slice(br#"\"","lastModified":""#);
    event.at().write_fhir(out);
    out.extend_from_slice(br#""}}"#);
}
