//! A tenant, a simulator and a copy, and the comparison of what is here with what is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::kept::{self, Kept};
use ehr::auth::keys::KeyRing;
use ehr::clock::{Later, Surroundings};
use ehr::error::EhrError;
use ehr::identity::local_id;
use ehr::port::{Port, PortError};
use ehr::run::{Run, RunReport};
use ehr::tenant::Tenant;
use ehr_simulators::world::START_S;
use ehr_simulators::{Client, Simulator, Vendor, World};
use fhir_core::ids::Instant;
use fhir_core::json::Value;

/// A clock that only moves when somebody sleeps or a test says so, and chance that counts.
pub struct Still {
    now: AtomicI64,
    chance: AtomicU64,
    pub slept: Mutex<Vec<Duration>>,
}

impl Surroundings for Still {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Later<'_, ()> {
        let micros = i64::try_from(duration.as_micros()).unwrap();
        self.now.fetch_add(micros, Ordering::SeqCst);
        self.slept.lock().unwrap().push(duration);
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        u128::from(self.chance.fetch_add(1, Ordering::SeqCst)) * 0x9E37_79B9_7F4A_7C15
    }
}

pub struct Stage {
    pub simulator: Simulator,
    pub memory: Arc<Kept>,
    pub clock: Arc<Still>,
    pub tenant: Arc<Tenant>,
    _keys: tempfile::TempDir,
}

impl Stage {
    pub async fn open(vendor: Vendor, people: u64, rows: u64) -> Self {
        Self::with(vendor, World::synthetic(vendor, people, rows), "", 0).await
    }

    /// `skew_s` is how far our clock is behind the source's.
    pub async fn with(vendor: Vendor, world: World, extra: &str, skew_s: i64) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let now = Instant((START_S - skew_s) * 1_000_000);
        let mut ring = KeyRing::open(keys.path()).unwrap();
        ring.rotate(now, 7).unwrap();
        let name = match vendor {
            Vendor::Epic => "epic",
            Vendor::Oracle => "oracle",
        };
        let scopes = ["Patient", "Observation"].map(|of| format!("system/{of}.rs"));
        let client = Client {
            id: "client-1".to_owned(),
            jwks: Some(ring.jwks().unwrap()),
            secret: None,
            scopes: scopes.to_vec(),
        };
        let patients: Vec<String> = world.people.keys().map(|id| format!("\"{id}\"")).collect();
        let simulator = Simulator::start(vendor, 0, world, client).await.unwrap();
        let text = format!(
            r#"
tenant = "sim"
vendor = "{name}"
fhir_base = "{}"
client_id = "client-1"
types = ["Patient", "Observation"]
auth = {{ method = "private-key-jwt", keys = "{}" }}
cohort = {{ patients = [{}] }}
[profile]
page_size = 7
{extra}
"#,
            simulator.base(),
            keys.path().display(),
            patients.join(", "),
        );
        let clock = Arc::new(Still {
            now: AtomicI64::new(now.0),
            chance: AtomicU64::new(1),
            slept: Mutex::new(Vec::new()),
        });
        Self {
            simulator,
            memory: kept::open().await,
            clock,
            tenant: Arc::new(Tenant::parse(&text).unwrap()),
            _keys: keys,
        }
    }

    pub fn run_with(&self, port: Arc<dyn Port>) -> Run {
        Run::new(self.tenant.clone(), port, self.clock.clone()).unwrap()
    }

    /// A run after one that was dropped. A page of that one may still have been on its way to the store: it moves the
    /// cursor, this run is refused as it must be, and the next goes on.
    pub async fn run_after_a_drop(&self) -> RunReport {
        let mut result = self.run_with(self.memory.clone()).run().await;
        if result == Err(EhrError::Store(PortError::Moved.to_string())) {
            result = self.run_with(self.memory.clone()).run().await;
        }
        let report = result.unwrap();
        assert!(report.counts.add_up(), "{report:?}");
        report
    }

    pub async fn run(&self) -> RunReport {
        let report = self.run_with(self.memory.clone()).run().await.unwrap();
        assert!(report.counts.add_up(), "{report:?}");
        report
    }

    /// Both clocks.
    pub fn advance_s(&self, seconds: i64) {
        self.clock
            .now
            .fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.simulator.with(|state| state.world.advance_s(seconds));
    }

    /// Local copy = source: the same rows, the same digits, the right patient; nothing more.
    pub fn assert_equal(&self) {
        let there: BTreeMap<String, String> = self.simulator.with(|state| {
            let world = &state.world;
            let rows = world.rows.iter().map(|row| {
                let body = world.render(row, "", false);
                let patient = local_id("sim", "Patient", &row.patient);
                (
                    row.id.clone(),
                    essence(&body, &format!("Patient/{patient}")),
                )
            });
            rows.collect()
        });
        let live = self.memory.live("Observation");
        let here: BTreeMap<String, String> = live
            .iter()
            .map(|(_, body)| {
                let subject = body.get("subject").and_then(|s| s.get("reference"));
                let subject = subject.and_then(Value::as_str).unwrap().to_owned();
                (source_id(body), essence(body, &subject))
            })
            .collect();
        assert_eq!(live.len(), here.len(), "a source id twice");
        assert_eq!(here, there);
    }
}

/// The source's id of a clean copy.
pub fn source_id(body: &Value) -> String {
    let source = body.get("meta").unwrap().get("source").unwrap();
    source
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

/// What must be equal: subject, status, time, and every value as its digits.
fn essence(body: &Value, subject: &str) -> String {
    let mut digits = Vec::new();
    numbers(body, &mut digits);
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{subject} {} {} {digits:?}",
        text("status"),
        text("effectiveDateTime")
    )
}

fn numbers(value: &Value, digits: &mut Vec<String>) {
    match value {
        Value::Number(number) => digits.push(number.as_str().to_owned()),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, digits)),
        Value::Object(members) => members.iter().for_each(|(_, item)| numbers(item, digits)),
        _ => {}
    }
}

/// Codes of the quirk tags.
pub fn quirks(body: &Value) -> Vec<String> {
    let tags = body
        .get("meta")
        .unwrap()
        .get("tag")
        .unwrap()
        .as_array()
        .unwrap();
    tags.iter()
        .filter_map(|tag| Some(tag.get("code")?.as_str()?.to_owned()))
        .collect()
}
