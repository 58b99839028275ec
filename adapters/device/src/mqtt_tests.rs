//! Against a real broker, started by the test: nothing published is lost, and nothing is acknowledged too early.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use adapters::StopHandle;
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::ingest::{Dense, FUTURE_US_DEFAULT, Source};
use crate::observation::Observer;
use crate::payload;
use crate::port::{Taken, Taking};

const BROKER: &str = "/usr/sbin/mosquitto";
/// How long anything may take, in seconds, on a machine that is busy with other tests.
const PATIENCE_S: u64 = 60;
const RECEIVED: i64 = 1_772_438_400_000_000;

/// `None` when the test is skipped on purpose; a missing broker is a failure.
fn broker_wanted() -> bool {
    if std::env::var("STOKER_TEST_SKIP_MOSQUITTO").is_ok_and(|v| v == "1") {
        return false;
    }
    assert!(
        Path::new(BROKER).exists(),
        "{BROKER} is missing: install mosquitto or set STOKER_TEST_SKIP_MOSQUITTO=1"
    );
    true
}

struct Broker {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("port")
            .local_addr()
            .expect("address")
            .port();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nlog_dest stderr\nlog_type information\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).expect("configuration");
        let child = Self::spawn(&folder);
        Self {
            child,
            folder,
            port,
        }
    }

    fn spawn(folder: &tempfile::TempDir) -> Child {
        let mut command = Command::new(BROKER);
        command.arg("-c").arg(folder.path().join("mosquitto.conf"));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("broker starts");
        // The broker says when it has begun; what it says later is read so that it never waits for us.
        let mut lines = BufReader::new(child.stderr.take().expect("log")).lines();
        let is_running = lines.any(|line| line.is_ok_and(|line| line.contains("running")));
        assert!(is_running, "the broker did not start");
        std::thread::spawn(move || lines.for_each(drop));
        child
    }

    fn kill_and_restart(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.child = Self::spawn(&self.folder);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps messages by their key, as the store does, after as many failures and permits as a test asks for.
#[derive(Clone)]
struct MemoryPort(Arc<Memory>);

struct Memory {
    kept: Mutex<HashSet<bytes::Bytes>>,
    count: watch::Sender<usize>,
    failures: Mutex<usize>,
    permits: Semaphore,
}

impl MemoryPort {
    fn new(failures: usize, permits: usize) -> Self {
        let (count, _) = watch::channel(0);
        let (kept, failures) = (Mutex::default(), Mutex::new(failures));
        Self(Arc::new(Memory {
            kept,
            count,
            failures,
            permits: Semaphore::new(permits),
        }))
    }

    fn kept(&self) -> HashSet<bytes::Bytes> {
        self.0.kept.lock().expect("lock").clone()
    }

    async fn has(&self, wanted: usize) {
        let mut count = self.0.count.subscribe();
        let reached = count.wait_for(|count| *count >= wanted);
        tokio::time::timeout(Duration::from_secs(PATIENCE_S), reached)
            .await
            .expect("in time")
            .expect("counted");
    }
}

impl DevicePort for MemoryPort {
    fn take(&self, _: Arc<Ingest>, payload: Payload) -> Taking {
        let memory = Arc::clone(&self.0);
        Box::pin(async move {
            memory.permits.acquire().await.expect("open").forget();
            {
                let mut failures = memory.failures.lock().expect("lock");
                if *failures > 0 {
                    *failures -= 1;
                    memory.permits.add_permits(1);
                    return Err(IntakeError::Overloaded);
                }
            }
            let repeat = !memory.kept.lock().expect("lock").insert(payload.raw);
            let count = memory.kept.lock().expect("lock").len();
            memory.count.send_replace(count);
            Ok(Taken {
                message_id: "m".into(),
                repeat,
                refused: None,
                results: Vec::new(),
            })
        })
    }
}

fn adapter(port: u16) -> MqttAdapter {
    let library = mappings::Library::embedded().expect("library");
    let observer = Observer::new(&library, "test").expect("mapping");
    let mapping = payload::embedded()
        .expect("mappings")
        .into_iter()
        .find(|m| m.id == "generic-json")
        .expect("mapping");
    let source = Source {
        feed: "mqtt".into(),
        device_system: "urn:example:devices".into(),
        zone: None,
        future_us_max: FUTURE_US_DEFAULT,
        dense: Dense::Resources,
    };
    MqttAdapter {
        settings: Settings {
            host: "127.0.0.1".into(),
            port,
            client_id: "stoker-test".into(),
            credentials: None,
            keep_alive_s: 30,
            tls: None,
            subscriptions: vec![Subscription {
                filter: "ward/+/vitals".into(),
                ingest: Arc::new(Ingest::new(source, mapping, observer)),
            }],
            window: WINDOW_DEFAULT,
        },
        clock: Arc::new(|| RECEIVED),
    }
}

/// Publishes messages and waits until the broker has acknowledged each.
async fn publish(port: u16, numbers: std::ops::Range<usize>) {
    let wanted = numbers.len();
    let (client, mut events) =
        AsyncClient::new(MqttOptions::new("publisher", "127.0.0.1", port), 16);
    let sending = tokio::spawn(async move {
        for n in numbers {
            let text = format!(r#"{{"deviceId":"d1","t":"2026-03-01T09:00:00.{n:06}Z","hr":60}}"#);
            client
                .publish("ward/7/vitals", QoS::AtLeastOnce, false, text)
                .await
                .expect("sent");
        }
        client
    });
    acknowledged(&mut events, wanted).await;
    let client = sending.await.expect("sent");
    // This broker saves what changed when more than one change waits, and after it has answered. So the last message
    // is on its disk for certain only when a message that came two later is acknowledged.
    for _ in 0..3 {
        client
            .publish("companion", QoS::AtLeastOnce, true, "kept")
            .await
            .expect("sent");
        acknowledged(&mut events, 1).await;
    }
}

/// Waits for so many acknowledgements of the broker.
async fn acknowledged(events: &mut EventLoop, wanted: usize) {
    let mut acknowledged = 0;
    let all = async {
        while acknowledged < wanted {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => acknowledged += 1,
                Ok(_) => {}
                Err(error) => panic!("the broker went away: {error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE_S), all)
        .await
        .expect("published in time");
}

async fn finish(running: Running, handle: StopHandle) {
    handle.stop();
    tokio::time::timeout(Duration::from_secs(PATIENCE_S), running.finished)
        .await
        .expect("stops")
        .expect("ends well");
}

/// Subscribes once, so that the broker holds a session for what is published afterwards.
async fn session(port: u16) {
    let (client, mut events) = AsyncClient::new(adapter(port).settings.options(), 16);
    client
        .subscribe("ward/+/vitals", QoS::AtLeastOnce)
        .await
        .expect("asked");
    let subscribed = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(_))) => break,
                Ok(_) => {}
                Err(error) => panic!("the broker went away: {error}"),
            }
        }
        client.disconnect().await.expect("asked");
        while !matches!(
            events.poll().await,
            Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) | Err(_)
        ) {}
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE_S), subscribed)
        .await
        .expect("subscribed in time");
}

/// Verifies: SRS-002, SRS-016, RC-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_published_is_kept_once_through_overload() {
    if !broker_wanted() {
        return;
    }
    let broker = Broker::start();
    session(broker.port).await;
    let gateway = MemoryPort::new(3, 100_000);
    let (handle, stop) = StopHandle::new();
    let running = adapter(broker.port).start(Arc::new(gateway.clone()), stop);
    publish(broker.port, 0..2_000).await;
    gateway.has(2_000).await;
    finish(running, handle).await;
    assert_eq!(gateway.kept().len(), 2_000);
}

/// Verifies: SRS-002, RC-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_comes_again_after_a_crash() {
    if !broker_wanted() {
        return;
    }
    let mut broker = Broker::start();
    session(broker.port).await;
    // This store takes 10 messages and then hangs; its adapter is torn down as a crash would.
    let stuck = MemoryPort::new(0, 10);
    let (handle, stop) = StopHandle::new();
    let running = adapter(broker.port).start(Arc::new(stuck.clone()), stop);
    publish(broker.port, 0..50).await;
    stuck.has(10).await;
    running.finished.abort();
    drop(handle);
    // The broker dies too, and comes back with what it had promised to keep.
    broker.kill_and_restart();
    let healthy = MemoryPort::new(0, 100_000);
    let (handle, stop) = StopHandle::new();
    let running = adapter(broker.port).start(Arc::new(healthy.clone()), stop);
    publish(broker.port, 50..60).await;
    let all = async {
        loop {
            let mut count = healthy.0.count.subscribe();
            if stuck.kept().union(&healthy.kept()).count() >= 60 {
                break;
            }
            let _ = count.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE_S), all)
        .await
        .expect("all came again");
    finish(running, handle).await;
}

#[test]
fn topics_find_their_mapping() {
    let adapter = adapter(1);
    assert!(adapter.settings.ingest_for("ward/7/vitals").is_some());
    assert!(adapter.settings.ingest_for("ward/7/other").is_none());
    assert_eq!(plain_filter("$share/stoker/ward/+/vitals"), "ward/+/vitals");
    assert_eq!(plain_filter("ward/#"), "ward/#");
}
