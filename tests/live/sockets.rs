//! Websockets: many subscribers, each told of every change.

use fhir_core::ids::Instant;
use system_tests::ws_client::{Message, WebSocket};

use super::alerts::now;
use super::{Ground, events_of, json, on_both, patient, socket, status_of, subscription, text};

/// Subscribers of the test; the benchmark has a thousand.
const SUBSCRIBERS: usize = 200;
/// How long a subscription lives that is seen to end, in microseconds: long enough to become active.
const LIFE_US: i64 = 2_000_000;
/// Changes they are told of.
const CHANGES: i64 = 25;

/// A websocket bound by token, after its handshake.
fn bound(ground: &Ground, id: &str) -> WebSocket {
    let token = ground.get(&format!("/fhir/Subscription/{id}/$get-ws-binding-token"));
    let parameters = token.get("parameter").and_then(|p| p.as_array()).unwrap();
    assert!(text(&parameters[3], &["valueUrl"]).starts_with("ws://"));
    let token = text(&parameters[0], &["valueString"]);
    let mut client = WebSocket::open(ground.address(), "/websocket", &[]).unwrap();
    client.send(&format!("bind-with-token {token}")).unwrap();
    let handshake = json(client.text().unwrap().as_bytes());
    assert_eq!(status_of(&handshake, "type"), "handshake", "{handshake}");
    client
}

/// Verifies: SRS-344, RC-342
#[test]
fn each_of_many_subscribers_is_told_of_every_change() {
    on_both("", |ground| {
        for n in 0..SUBSCRIBERS {
            let id = format!("s{n}");
            let body = subscription(&id, "Patient", &socket("id-only"));
            ground.stored(&format!("Subscription/{id}"), &body);
        }
        let mut clients: Vec<WebSocket> = (0..SUBSCRIBERS)
            .map(|n| {
                let id = format!("s{n}");
                ground.until_status(&id, "active");
                bound(ground, &id)
            })
            .collect();
        for n in 0..CHANGES {
            let id = format!("p{n}");
            ground.stored(&format!("Patient/{id}"), &patient(&id, "Aba"));
        }
        for client in &mut clients {
            let mut told = Vec::new();
            while told.last().is_none_or(|(n, _)| *n < CHANGES) {
                told.extend(events_of(&json(client.text().unwrap().as_bytes())));
            }
            let expected: Vec<_> = (1..=CHANGES)
                .map(|n| (n, format!("Patient/p{}", n - 1)))
                .collect();
            assert_eq!(told, expected);
        }
    });
}

/// Verifies: SRS-344
#[test]
fn plain_r4_pings() {
    let ground = Ground::start("");
    ground.subscribe("s", "Patient?family=Aba", r#"{"type":"websocket"}"#);
    let mut client = WebSocket::open(ground.address(), "/websocket", &[]).unwrap();
    client.send("bind s").unwrap();
    assert_eq!(client.text().unwrap(), "bound s");
    ground.stored("Patient/x", &patient("x", "Other"));
    ground.stored("Patient/a", &patient("a", "Aba"));
    assert_eq!(client.text().unwrap(), "ping s");
    // The end of the subscription is the end of the connection.
    let gone = ground
        .client()
        .request("DELETE", "/fhir/Subscription/s", &[], b"")
        .unwrap();
    assert!(gone.status < 300);
    let Message::Close(_, why) = client.message().unwrap() else {
        panic!("a close was expected");
    };
    assert!(why.contains("deleted"), "{why}");
}

#[test]
fn what_cannot_be_bound_is_told() {
    let ground = Ground::start("");
    let mut client = WebSocket::open(ground.address(), "/websocket", &[]).unwrap();
    for (sent, expected) in [
        ("bind none", "no Subscription"),
        ("bind-with-token abc", "token"),
        ("hello", "bind ID"),
        (
            r#"{"type":"bind-with-token","payload":{"token":"x"}}"#,
            "token",
        ),
    ] {
        client.send(sent).unwrap();
        let answer = client.text().unwrap();
        assert!(
            answer.starts_with("error:") && answer.contains(expected),
            "{answer}"
        );
    }
    let foreign = [("origin", "https://elsewhere.example.org")];
    let refused = WebSocket::open(ground.address(), "/websocket", &foreign);
    assert!(refused.err().unwrap().to_string().contains("403"));
    assert_eq!(ground.client().get("/websocket").unwrap().status, 400);
}

/// Verifies: RC-342
#[test]
fn a_client_that_takes_nothing_is_closed_and_misses_nothing() {
    let ground = Ground::start("");
    ground.subscribe("s", "Patient", &socket("full-resource"));
    let mut idle = bound(&ground, "s");
    let mut quick = bound(&ground, "s");
    // Far more than the queue and the buffers of the connection hold.
    let (count, padding) = (600, "x".repeat(100_000));
    for n in 0..count {
        let id = format!("p{n}");
        ground.stored(&format!("Patient/{id}"), &patient(&id, &padding));
        let mut is_told = false;
        while !is_told {
            let events = events_of(&json(quick.text().unwrap().as_bytes()));
            is_told = events.iter().any(|(number, _)| *number == n + 1);
        }
    }
    let mut last = 0;
    let why = loop {
        match idle.message() {
            Ok(Message::Text(text)) => {
                for (number, _) in events_of(&json(text.as_bytes())) {
                    assert_eq!(number, last + 1);
                    last = number;
                }
            }
            Ok(Message::Close(_, why)) => break why,
            Err(error) => break error.to_string(),
        }
    };
    assert!(last < count, "it was told all: {why}");
    let path = format!(
        "/fhir/Subscription/s/$events?eventsSinceNumber={}&content=id-only",
        last + 1
    );
    let missed = events_of(&ground.get(&path));
    let numbers: Vec<i64> = missed.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (last + 1..=count).collect::<Vec<i64>>());
}

/// Spec: <https://hl7.org/fhir/R4/subscription-definitions.html#Subscription.end>
/// Verifies: SRS-340
#[test]
fn a_socket_is_turned_off_when_its_end_has_passed() {
    on_both("", |ground| {
        let end = Instant(now() + LIFE_US).to_fhir();
        let body = subscription("e", "Patient", &socket("id-only"));
        let body = body.replacen('{', &format!(r#"{{"end":"{end}","#), 1);
        ground.stored("Subscription/e", &body);
        let off = ground.until_status("e", "off");
        assert_eq!(text(&off, &["error"]), "its end has passed");
    });
}
