//! MQTT 3.1.1 in: subscriptions at quality of service 1, and a PUBACK only after the durable commit.
//!
//! OASIS MQTT 3.1.1 (<https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html>). The session is persistent: what
//! was not acknowledged comes again after a lost connection or a restart, and the store recognises the repeat. Commits
//! run side by side up to a window; acknowledgements leave in the order of arrival (MQTT-4.6.0-2).
//!
//! Left out on purpose: MQTT 5, publishing, and quality of service 2, whose handshake adds nothing to a store that
//! recognises repeats.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adapters::{IntakeError, Running, Stop};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use rumqttc::{
    AsyncClient, ConnectReturnCode, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::ingest::{Ingest, Payload};
use crate::port::DevicePort;

pub use crate::mqtt_tls::tls;

/// Largest message taken, in bytes: a day of a dense series.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages received and not yet looked at; when full the connection is not read.
const QUEUE_MESSAGES_MAX: usize = 1_024;
/// Packet identifiers are sixteen bits, so more acknowledgements than this can never wait.
const REQUESTS_MAX: usize = 65_536 + 1_024;
/// First and longest pause before connecting or committing again, in milliseconds.
const PAUSE_MS: u64 = 100;
const PAUSE_MS_MAX: u64 = 30_000;
/// Messages that commit side by side unless configured.
pub const WINDOW_DEFAULT: usize = 64;

/// Topics of one sender.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Topic filter, `ward/+/vitals`, or shared, `$share/stoker/ward/+/vitals`.
    pub filter: String,
    /// How its payloads are read.
    pub ingest: Arc<Ingest>,
}

/// Where and what to subscribe.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// Names the session at the broker: unique, and the same after every restart.
    pub client_id: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Seconds between pings.
    pub keep_alive_s: u64,
    /// TLS, with a client certificate when the broker asks for one.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// What to subscribe to.
    pub subscriptions: Vec<Subscription>,
    /// Messages that commit side by side.
    pub window: usize,
}

/// Gives the time in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Receives from one broker.
pub struct MqttAdapter {
    /// Where and what.
    pub settings: Settings,
    /// The server's clock.
    pub clock: Clock,
}

impl MqttAdapter {
    /// Starts receiving and goes on, connecting again after every loss, until it is stopped. A broker that is away when
    /// the server starts is a broker that is away: it is tried again.
    pub fn start(self, port: Arc<dyn DevicePort>, stop: Stop) -> Running {
        let (client, events) = AsyncClient::new(self.settings.options(), REQUESTS_MAX);
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let reading = tokio::spawn(read(events, sender, stop.clone()));
        let worker = Worker {
            adapter: self,
            port,
            client,
            generation: 0,
        };
        let finished = tokio::spawn(async move {
            worker.run(receiver, stop).await;
            let _ = reading.await;
        });
        Running {
            address: None,
            finished,
        }
    }
}

impl Settings {
    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(&self.client_id, &self.host, self.port);
        options.set_clean_session(false);
        options.set_manual_acks(true);
        options.set_keep_alive(Duration::from_secs(self.keep_alive_s.max(5)));
        options.set_max_packet_size(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::clone(tls),
            )));
        }
        options
    }

    fn ingest_for(&self, topic: &str) -> Option<&Arc<Ingest>> {
        let fits = |s: &&Subscription| rumqttc::matches(topic, plain_filter(&s.filter));
        self.subscriptions.iter().find(fits).map(|s| &s.ingest)
    }
}

/// The topic filter of a shared subscription.
fn plain_filter(filter: &str) -> &str {
    let shared = filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

/// What the connection tells the worker.
enum Told {
    Connected,
    Received(Publish),
    SubscriptionRefused,
}

/// Drives the connection, connecting again after every loss, until the worker is gone or has said goodbye.
async fn read(mut events: EventLoop, sender: mpsc::Sender<Told>, mut stop: Stop) {
    let mut pause_ms = PAUSE_MS;
    loop {
        let told = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if ack.code == ConnectReturnCode::Success => {
                pause_ms = PAUSE_MS;
                Told::Connected
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Told::Received(publish),
            Ok(Event::Incoming(Packet::SubAck(ack)))
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                Told::SubscriptionRefused
            }
            Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
            Ok(_) => continue,
            Err(_) if sender.is_closed() => return,
            Err(error) => {
                warn!(error.kind = kind(&error), pause_ms, "MQTT connection lost");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                    () = stop.asked() => return,
                }
                pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
                continue;
            }
        };
        // Once the worker has finished, what still arrives stays unacknowledged and comes again.
        let _ = sender.send(told).await;
    }
}

/// The kind of a connection error; its text may hold what the broker sent.
fn kind(error: &rumqttc::ConnectionError) -> &'static str {
    match error {
        rumqttc::ConnectionError::Io(_) => "io",
        rumqttc::ConnectionError::Tls(_) => "tls",
        rumqttc::ConnectionError::ConnectionRefused(_) => "refused by the broker",
        rumqttc::ConnectionError::NetworkTimeout | rumqttc::ConnectionError::FlushTimeout => {
            "timeout"
        }
        _ => "protocol",
    }
}

struct Worker {
    adapter: MqttAdapter,
    port: Arc<dyn DevicePort>,
    client: AsyncClient,
    /// Which connection: an acknowledgement is for the connection its message came on, since another may use its
    /// packet identifier for another message. One that slips out before we learn of the new connection does no harm:
    /// a kept session keeps its identifiers, and in a new one nothing comes before the SUBSCRIBE that follows it.
    generation: u64,
}

/// A message that is durable, or never will be.
struct Done {
    publish: Publish,
    generation: u64,
    is_kept: bool,
}

type UnderWay = FuturesOrdered<Pin<Box<dyn Future<Output = Done> + Send>>>;

impl Worker {
    async fn run(mut self, mut receiver: mpsc::Receiver<Told>, mut stop: Stop) {
        let mut under_way = UnderWay::new();
        let window = self.adapter.settings.window.max(1);
        loop {
            tokio::select! {
                biased;
                Some(done) = under_way.next(), if !under_way.is_empty() => self.acknowledge(done).await,
                () = stop.asked() => break,
                told = receiver.recv(), if under_way.len() < window => match told {
                    None => break,
                    Some(told) => self.told(told, &mut under_way, &stop).await,
                },
            }
        }
        while let Some(done) = under_way.next().await {
            self.acknowledge(done).await;
        }
        let _ = self.client.disconnect().await;
    }

    async fn told(&mut self, told: Told, under_way: &mut UnderWay, stop: &Stop) {
        match told {
            Told::Connected => {
                self.generation += 1;
                info!("MQTT connected");
                for subscription in &self.adapter.settings.subscriptions {
                    if self
                        .client
                        .subscribe(&subscription.filter, QoS::AtLeastOnce)
                        .await
                        .is_err()
                    {
                        error!("MQTT subscription could not be sent");
                    }
                }
            }
            Told::SubscriptionRefused => {
                error!("the broker refuses a subscription; check the user's rights")
            }
            Told::Received(publish) => self.received(publish, under_way, stop).await,
        }
    }

    async fn received(&mut self, publish: Publish, under_way: &mut UnderWay, stop: &Stop) {
        let settings = &self.adapter.settings;
        let Some(ingest) = settings.ingest_for(&publish.topic) else {
            // A left-over of an earlier configuration: acknowledging would lose it, so it stays with the broker.
            error!("a message came on a topic no subscription names; it was not acknowledged");
            return;
        };
        let payload = Payload {
            raw: publish.payload.clone(),
            sender: format!("mqtt:{}:{}", settings.client_id, publish.topic),
            received_us: (self.adapter.clock)(),
            device: None,
        };
        let (ingest, port) = (Arc::clone(ingest), Arc::clone(&self.port));
        let (generation, stop) = (self.generation, stop.clone());
        // A task of its own, so that reading and judging use all cores; the order of the answers is kept.
        let committing = tokio::spawn(commit(port, ingest, payload, stop));
        under_way.push_back(Box::pin(async move {
            Done {
                publish,
                generation,
                is_kept: committing.await.unwrap_or(false),
            }
        }));
    }

    async fn acknowledge(&mut self, done: Done) {
        if done.is_kept && done.generation == self.generation {
            // An error means the connection's task is gone; the broker sends the message again.
            let _ = self.client.ack(&done.publish).await;
        }
    }
}

/// Commits until it is durable. While the store is full or away the message waits, and the broker holds what follows.
async fn commit(
    port: Arc<dyn DevicePort>,
    ingest: Arc<Ingest>,
    payload: Payload,
    mut stop: Stop,
) -> bool {
    let mut pause_ms = PAUSE_MS;
    loop {
        match port.take(Arc::clone(&ingest), payload.clone()).await {
            // Invalid: the server has kept the message with the reason, so sending it again would change nothing.
            Ok(_) | Err(IntakeError::Invalid(_)) => return true,
            Err(IntakeError::Overloaded | IntakeError::Unavailable(_)) => {
                warn!(
                    pause_ms,
                    "a message from MQTT waits: the store took nothing"
                );
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                    () = stop.asked() => return false,
                }
                pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
            }
        }
    }
}

#[cfg(test)]
#[path = "mqtt_tests.rs"]
mod tests;
