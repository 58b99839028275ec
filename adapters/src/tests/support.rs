//! What the tests share: synthetic messages, a gateway in memory, a small random number generator.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mappings::Library;
use tokio::sync::Semaphore;

use crate::feed::{Feed, FeedSettings};
use crate::hl7v2::charset::{Decoded, Fallback, decode};
use crate::hl7v2::normalise::normalise;
use crate::hl7v2::tokenize::{Message, tokenize};
use crate::issue::Issue;
use crate::listener::{Settings, Surroundings};
use crate::pipeline::Pipeline;
use crate::port::{Commit, Disposition, Gateway, Intake, IntakeError, Outcome, Receipt};

/// An admission, with control id and medical record number put in.
pub fn adt(control_id: &str, mrn: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|REG|HILL|STOKER|HUB|20240310120000+0100||ADT^A01^ADT_A01|{control_id}|P|2.5.1\r\
         EVN|A01|20240310120000+0100\r\
         PID|1||{mrn}^^^HILL&2.999.1&ISO^MR||Beispiel^Anna^Maria||19711203|F\r\
         PV1|1|I\r"
    )
    .into_bytes()
}

/// A result with one numeric value.
pub fn oru(control_id: &str, mrn: &str, value: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|LAB|HILL|STOKER|HUB|20240310120000+0100||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
         PID|1||{mrn}^^^HILL&2.999.1&ISO^MR||Beispiel^Anna||19711203|F\r\
         ORC|RE|P1|F1\r\
         OBR|1|P1|F1|24323-8^CMP^LN|||20240310021500+0100\r\
         OBX|1|NM|2345-7^Glucose^LN||{value}|mg/dL^^UCUM|70-105||||F\r"
    )
    .into_bytes()
}

/// A pipeline that takes production and training messages.
pub fn pipeline() -> Pipeline {
    let settings = FeedSettings {
        processing_ids: vec!["P".into(), "T".into()],
        mapping: [("zone".into(), "Europe/Berlin".into())].into(),
        ..FeedSettings::default()
    };
    Pipeline::new(Feed::new(&settings).unwrap(), Library::embedded().unwrap())
}

/// Decodes, finds segments and splits, then hands the message to `look`.
pub fn with_message<T>(
    raw: &[u8],
    look: impl FnOnce(&Message<'_>, &Decoded<'_>, &[Issue]) -> T,
) -> Result<T, Issue> {
    let mut issues = Vec::new();
    let decoded = decode(raw, &Fallback::default(), &mut issues)?;
    let lines = normalise(&decoded.text, &decoded.offsets, &mut issues)?;
    let message = tokenize(&decoded.text, lines)?;
    Ok(look(&message, &decoded, &issues))
}

/// A fixed clock and counted ids.
pub fn surroundings() -> Surroundings {
    let next = AtomicU64::new(1);
    Surroundings {
        now: Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_710_072_000)),
        control_id: Arc::new(move || format!("S{}", next.fetch_add(1, Ordering::Relaxed))),
    }
}

/// Settings for tests: any free port, no patience where none is needed.
pub fn settings() -> Settings {
    Settings {
        address: ([127, 0, 0, 1], 0).into(),
        ..Settings::default()
    }
}

/// A gateway in memory that knows repeats, and can be told to wait or to fail.
#[derive(Default)]
pub struct MemoryGateway {
    /// What was committed, in order of completion.
    pub committed: Mutex<Vec<Intake>>,
    seen: Mutex<HashMap<(String, String, Bytes), Receipt>>,
    /// When set, each commit takes a permit first.
    pub gate: Option<Arc<Semaphore>>,
    /// Answers of the next commits, before any real one.
    pub failures: Mutex<Vec<Failure>>,
    /// Commits under way, and the most there were at once.
    pub running: AtomicUsize,
    pub running_max: AtomicUsize,
}

/// A way to fail.
pub enum Failure {
    Error(IntakeError),
    Panic,
}

impl MemoryGateway {
    pub fn gated() -> (Arc<Self>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        (
            Arc::new(Self {
                gate: Some(Arc::clone(&gate)),
                ..Self::default()
            }),
            gate,
        )
    }

    pub fn failing(failures: Vec<Failure>) -> Arc<Self> {
        Arc::new(Self {
            failures: Mutex::new(failures),
            ..Self::default()
        })
    }

    pub fn control_ids(&self) -> Vec<String> {
        self.committed
            .lock()
            .unwrap()
            .iter()
            .map(|i| i.dedupe.control_id.clone())
            .collect()
    }

    fn store(&self, intake: Intake) -> Receipt {
        let key = (
            intake.dedupe.sender.clone(),
            intake.dedupe.control_id.clone(),
            intake.raw.clone(),
        );
        if let Some(receipt) = self.seen.lock().unwrap().get(&key) {
            return Receipt {
                repeat: true,
                ..receipt.clone()
            };
        }
        let outcome = match &intake.disposition {
            Disposition::Process => Outcome::Processed,
            Disposition::Refuse { code, reason } => Outcome::Refused {
                code: *code,
                reason: reason.clone(),
            },
        };
        let mut committed = self.committed.lock().unwrap();
        let receipt = Receipt {
            message_id: format!("m{}", committed.len() + 1),
            repeat: false,
            outcome,
        };
        committed.push(intake);
        self.seen.lock().unwrap().insert(key, receipt.clone());
        receipt
    }
}

impl Gateway for MemoryGateway {
    fn commit(&self, intake: Intake) -> Commit<'_> {
        Box::pin(async move {
            let failure = {
                let mut failures = self.failures.lock().unwrap();
                if failures.is_empty() {
                    None
                } else {
                    Some(failures.remove(0))
                }
            };
            match failure {
                Some(Failure::Error(error)) => return Err(error),
                Some(Failure::Panic) => panic!("a commit that panics, on purpose"),
                None => {}
            }
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.running_max.fetch_max(running, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.acquire().await.unwrap().forget();
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            Ok(self.store(intake))
        })
    }
}

/// xorshift64*: small, seeded, and the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % n.max(1)
    }
}
