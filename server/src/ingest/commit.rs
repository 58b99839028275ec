//! The server's side of the devices' port: raw payload, resources, samples, Provenance and state are one commit.
//!
//! Contract: `adapters/README.md`. A payload nothing can be read from is kept with the reason.

use std::sync::Arc;

use adapters::{Disposition, Intake, IntakeError};
use device::contradiction::contradiction;
use device::ingest::{Dense, Fate, Ingest, Payload, Prepared, Reported};
use device::meeting::Reason;
use device::port::{DevicePort, Taken, Taking};
use fhir_core::access::{Access, Channel};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_store::{Bookkeeping, MessageState, NarrowSample, SampleFate, SeriesSamples};

use super::directory;
use super::plan::{Planned, deleted_here, not_stored, plan};
use crate::app::{Server, store_problem};
use crate::gateway;
use crate::interaction::Interaction;
use crate::metrics::MessageOutcome;
use crate::write::{self, Attempts, Draft, Failure, Need, Plan, Step};

/// Bytes of a payload above which reading it leaves the thread that serves requests: about 1 ms of work.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Takes payloads for a server.
#[derive(Clone)]
pub struct ServerPort {
    server: Arc<Server>,
}

impl ServerPort {
    /// The port of a server.
    pub fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

impl DevicePort for ServerPort {
    fn take(&self, ingest: Arc<Ingest>, payload: Payload) -> Taking {
        let server = Arc::clone(&self.server);
        Box::pin(async move { take(&server, ingest, payload, Reason::Received).await })
    }
}

/// Reads, judges and stores a payload.
///
/// # Errors
/// [`IntakeError::Overloaded`] and [`IntakeError::Unavailable`]: nothing was stored.
pub async fn take(
    server: &Arc<Server>,
    ingest: Arc<Ingest>,
    payload: Payload,
    reason: Reason,
) -> Result<Taken, IntakeError> {
    let result = store(server, ingest, payload, reason).await;
    server.metrics.message(match &result {
        Ok(taken) if taken.repeat => MessageOutcome::Repeated,
        Ok(taken) if taken.refused.is_none() => MessageOutcome::Processed,
        Ok(_) | Err(IntakeError::Invalid(_)) => MessageOutcome::Refused,
        Err(_) => MessageOutcome::NotStored,
    });
    result
}

async fn store(
    server: &Arc<Server>,
    ingest: Arc<Ingest>,
    payload: Payload,
    reason: Reason,
) -> Result<Taken, IntakeError> {
    let payload = Arc::new(payload);
    let own = ingest.source.dense;
    let first = store_as(server, &ingest, &payload, reason, own, None).await?;
    // What could not become a sample, because something else stands there, meets it as the resource it is.
    let (mut taken, refused) = first;
    if own == Dense::Resources || refused.is_empty() {
        return Ok(taken);
    }
    let dense = Dense::Resources;
    let second = store_as(server, &ingest, &payload, reason, dense, Some(&refused)).await?;
    let is_replayed = reason == Reason::Replayed;
    if is_replayed && second.0.refused.is_none() && !second.0.results.iter().any(waits) {
        // What the first half of the replay could not take, the second has taken.
        end_quarantine(server, &taken, &second.0).await?;
    }
    for index in refused {
        if let (Some(to), Some(from)) = (taken.results.get_mut(index), second.0.results.get(index))
        {
            *to = from.clone();
        }
    }
    Ok(taken)
}

async fn end_quarantine(
    server: &Arc<Server>,
    first: &Taken,
    second: &Taken,
) -> Result<(), IntakeError> {
    let Ok(message) = first.message_id.parse() else {
        return Ok(());
    };
    let (now, by) = ((server.clock)(), second.message_id.parse().ok());
    let ended = server.store.end_quarantine(message, now, "replayed", by);
    ended
        .await
        .map(|_| ())
        .map_err(|error| not_stored(&store_problem(&error)))
}

/// Stores a payload with dense measures going where told. `only`: the results whose resources are wanted. Answers also
/// which samples were not taken because something else stands there.
async fn store_as(
    server: &Arc<Server>,
    ingest: &Arc<Ingest>,
    payload: &Arc<Payload>,
    reason: Reason,
    dense: Dense,
    only: Option<&[usize]>,
) -> Result<(Taken, Vec<usize>), IntakeError> {
    let reading = {
        let (ingest, payload) = (Arc::clone(ingest), Arc::clone(payload));
        let is_short = payload.raw.len() <= INLINE_BYTES_MAX;
        on_time(is_short, move || ingest.read(&payload)).await?
    };
    let directory = directory::of(server, &ingest.source.device_system, reading.devices())
        .await
        .map_err(|problem| not_stored(&problem))?;
    let mut prepared = {
        let (ingest, payload) = (Arc::clone(ingest), Arc::clone(payload));
        let is_short = payload.raw.len() <= INLINE_BYTES_MAX;
        let judge = move || ingest.judge_as(reading, &payload, &directory, dense);
        on_time(is_short, judge).await?
    };
    if reason == Reason::Replayed {
        // Somebody asked for it: it is never a repeat, also when it leads back to what was before.
        prepared.intake.dedupe.control_id.clear();
    }
    if let Some(only) = only {
        let mut wanted = prepared.resource_results.iter().map(|r| only.contains(r));
        prepared
            .intake
            .resources
            .retain(|_| wanted.next().unwrap_or(false));
        prepared.resource_results.retain(|r| only.contains(r));
    }
    let mut attempts = Attempts::new(server);
    loop {
        // The second half of a payload that was received belongs to the message of the first.
        let is_half = only.is_some() && reason == Reason::Received;
        match attempt(server, ingest, &prepared, reason, is_half).await {
            Ok(taken) => return Ok(taken),
            Err(Failure::Moved) => attempts
                .again()
                .await
                .map_err(|problem| not_stored(&problem))?,
            Err(Failure::Repeated(receipt)) => {
                // Its first delivery may have ended between the two halves.
                let refused = match receipt.state {
                    MessageState::Warnings => samples_of(&prepared),
                    _ => Vec::new(),
                };
                let taken = Taken {
                    message_id: receipt.id.to_string(),
                    repeat: true,
                    refused: refusal(&prepared.intake),
                    results: prepared.results,
                };
                return Ok((taken, refused));
            }
            Err(Failure::Problem(problem)) if problem.status() < 500 => {
                let taken = invalid(server, &prepared, &problem).await?;
                return Ok((taken, Vec::new()));
            }
            Err(Failure::Problem(problem)) => return Err(not_stored(&problem)),
        }
    }
}

/// Which results are samples.
fn samples_of(prepared: &Prepared) -> Vec<usize> {
    let series = prepared.series.iter();
    series.flat_map(|series| series.results.clone()).collect()
}

async fn on_time<T: Send + 'static>(
    is_short: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, IntakeError> {
    if is_short {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading a payload ended unexpectedly");
        IntakeError::Unavailable("the payload could not be read".to_owned())
    })
}

/// One attempt: decide by what is stored, write, and learn what became of the samples.
async fn attempt(
    server: &Arc<Server>,
    ingest: &Ingest,
    prepared: &Prepared,
    reason: Reason,
    is_half: bool,
) -> Result<(Taken, Vec<usize>), Failure> {
    let Planned {
        mut drafts,
        made,
        mut results,
    } = plan(server, ingest, prepared, reason).await?;
    let mut intake = Intake {
        resources: Vec::new(),
        ..prepared.intake.clone()
    };
    // Contradictions to what is stored are known only now, and the message tells of them too.
    let told = prepared.results.iter().zip(&results);
    let late = told.filter(|(before, after)| before.fate != after.fate);
    intake
        .issues
        .extend(late.filter_map(|(_, after)| ingest.issue(after)));
    let mut all = made.clone();
    if !made.is_empty() {
        let (key, resource) = gateway::provenance::build(&intake, &made, (server.clock)())?;
        drafts.push(put(key.clone(), &resource)?);
        all.push(key);
    }
    let refused = refusal(&intake);
    let state = match &refused {
        Some(_) => MessageState::Refused,
        None if results.iter().any(waits) => MessageState::Warnings,
        None => MessageState::Processed,
    };
    let message = (!is_half).then(|| {
        let (refused, none) = (refused.clone(), Bookkeeping::default());
        gateway::record::record(&intake, &[], state, refused, all, none)
    });
    let plan = Plan {
        drafts,
        message,
        ..Plan::default()
    };
    let access = Access::full(intake.feed.clone(), Channel::Feed(intake.feed.clone()));
    let samples = prepared.series.iter().map(narrow).collect();
    let done = write::submit_all(server, &access, plan, samples).await?;
    let mut refused_samples = Vec::new();
    for (series, fates) in prepared.series.iter().zip(&done.samples) {
        for (result, fate) in series.results.iter().zip(fates) {
            if let Some(reported) = results.get_mut(*result) {
                match fate {
                    SampleFate::New => {}
                    SampleFate::Same => reported.fate = Fate::Repeated,
                    SampleFate::Other => reported.fate = contradiction(),
                    SampleFate::Deleted => reported.fate = deleted_here(),
                }
                if matches!(fate, SampleFate::Other | SampleFate::Deleted) {
                    refused_samples.push(*result);
                }
            }
        }
    }
    let message_id = done.message.map(|receipt| receipt.id.to_string());
    let taken = Taken {
        message_id: message_id.unwrap_or_default(),
        repeat: false,
        refused,
        results,
    };
    Ok((taken, refused_samples))
}

fn put(key: ResourceKey, resource: &Value) -> Result<Draft, Problem> {
    let document = Document::parse(&resource.to_bytes()).map_err(|error| {
        let text = format!("the mapping's output: {error}");
        Problem::new(ErrorKind::BAD_JSON, text)
    })?;
    Ok(Draft {
        key,
        step: Step::Put(Arc::new(document)),
        need: Need::Nothing,
        interaction: Interaction::Update,
    })
}

/// Keeps a payload whose resources cannot be stored, and says why.
async fn invalid(
    server: &Arc<Server>,
    prepared: &Prepared,
    problem: &Problem,
) -> Result<Taken, IntakeError> {
    let intake = Intake {
        resources: Vec::new(),
        ..prepared.intake.clone()
    };
    let text = problem.to_string();
    let message = gateway::record::record(
        &intake,
        &[],
        MessageState::Refused,
        Some(text.clone()),
        Vec::new(),
        Bookkeeping::default(),
    );
    let plan = Plan {
        message: Some(message),
        ..Plan::default()
    };
    let access = Access::full(intake.feed.clone(), Channel::Feed(intake.feed.clone()));
    let results = prepared.results.iter().map(|reported| Reported {
        fate: Fate::Quarantined {
            code: "invalid",
            expression: None,
            message: text.clone(),
        },
        ..reported.clone()
    });
    let (message_id, repeat) = match write::submit_all(server, &access, plan, Vec::new()).await {
        Ok(done) => (done.message.map(|receipt| receipt.id), false),
        Err(Failure::Repeated(receipt)) => (Some(receipt.id), true),
        Err(Failure::Moved) => {
            return Err(IntakeError::Unavailable(
                "the payload could not be kept".to_owned(),
            ));
        }
        Err(Failure::Problem(problem)) => return Err(not_stored(&problem)),
    };
    Ok(Taken {
        message_id: message_id.map(|id| id.to_string()).unwrap_or_default(),
        repeat,
        refused: Some(text.clone()),
        results: results.collect(),
    })
}

/// Whether a measurement waits for something to be mended.
pub fn waits(reported: &Reported) -> bool {
    matches!(reported.fate, Fate::Quarantined { .. })
}

fn refusal(intake: &Intake) -> Option<String> {
    match &intake.disposition {
        Disposition::Process => None,
        Disposition::Refuse { reason, .. } => Some(reason.to_string()),
    }
}

fn narrow(series: &device::series::SeriesSamples) -> SeriesSamples {
    let samples = series.samples.iter().map(|sample| NarrowSample {
        at_us: sample.at_us,
        value: sample.value,
        shown: sample.shown,
    });
    SeriesSamples {
        channel: series.channel.clone(),
        template: series.template.clone(),
        samples: samples.collect(),
    }
}

/// The answer to a sender when nothing was stored.
pub fn problem_of(error: &IntakeError) -> Problem {
    match error {
        IntakeError::Overloaded => Problem::new(
            ErrorKind::OVERLOADED,
            "the write queue is full; nothing of this part was stored, send the payload again",
        ),
        IntakeError::Unavailable(_) | IntakeError::Invalid(_) => Problem::new(
            ErrorKind::UNAVAILABLE,
            "nothing of this part was stored; send the payload again",
        ),
    }
}
