//! What a prepared payload does to the stored resources: new ones are put, others meet what is there.
//!
//! Rules: [`device::meeting`]. Each decision names the version it was made from, so that nothing can come between.

use std::sync::Arc;

use adapters::IntakeError;
use conformance::Definitions;
use device::contradiction::{Settled, contradiction, is_withheld, settle};
use device::ingest::{Fate, Ingest, Prepared, Reported};
use device::meeting::{Meeting, Reason, meet};
use fhir_core::ids::{ResourceId, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_store::{Only, SearchQuery, Stored, TotalMode};
use mappings::Produced;

use super::directory::escaped;
use crate::app::{Server, store_problem};
use crate::interaction::Interaction;
use crate::search::condition_of;
use crate::write::{Draft, Need, Step};

/// Resources that one deleted record may have made: a record gives a few measurements.
const DELETED_MAX: usize = 100;

/// The drafts of a payload, and its results as far as they are known before the commit.
pub struct Planned {
    /// Resources to write.
    pub drafts: Vec<Draft>,
    /// Resources the payload speaks of that are there now, written or not.
    pub made: Vec<ResourceKey>,
    /// One for every measurement.
    pub results: Vec<Reported>,
}

/// Plans the writes of a payload.
///
/// # Errors
/// What the store answers; `internal` for a mapping without type or id
pub async fn plan(
    server: &Server,
    ingest: &Ingest,
    prepared: &Prepared,
    reason: Reason,
) -> Result<Planned, Problem> {
    let mut planned = Planned {
        drafts: Vec::with_capacity(prepared.intake.resources.len()),
        made: Vec::with_capacity(prepared.intake.resources.len()),
        results: prepared.results.clone(),
    };
    let pairs = prepared
        .intake
        .resources
        .iter()
        .zip(&prepared.resource_results);
    for (produced, result) in pairs {
        let key = key_of(produced)?;
        let current = server.store.read(&key).await;
        let current = current.map_err(|e| store_problem(&e))?;
        let (draft, fate) = match decide(&key, produced, current.as_ref(), reason)? {
            Decision::Write(need) => (Some(put(&key, &produced.value, need)?), None),
            Decision::Keep(fate) => (None, Some(fate)),
            Decision::Meet(stored, version) => {
                met(server, &key, produced, &stored, version).await?
            }
        };
        if let Some(draft) = draft {
            planned.drafts.push(draft);
            planned.made.push(key);
        }
        let mark = match (prepared.results.get(*result), is_withheld(&produced.value)) {
            // Two values of this payload contradict each other; what it is called does not change by where it is put.
            (Some(reported), true) => Some(reported.fate.clone()),
            _ => fate,
        };
        if let (Some(fate), Some(reported)) = (mark, planned.results.get_mut(*result)) {
            reported.fate = fate;
        }
    }
    for reported in &prepared.results {
        if let Fate::Deleted(record) = &reported.fate {
            let system = format!("{}:record", ingest.source.device_system);
            for stored in of_record(server, &system, record).await? {
                planned.drafts.push(Draft {
                    key: stored.key.clone(),
                    step: Step::Delete,
                    need: Need::Snapshot(stored.version),
                    interaction: Interaction::Delete,
                });
                planned.made.push(stored.key);
            }
        }
    }
    // A payload may both tell of a record and delete it; the deletion is later by its nature.
    let deleted: Vec<ResourceKey> = planned
        .drafts
        .iter()
        .filter(|draft| matches!(draft.step, Step::Delete))
        .map(|draft| draft.key.clone())
        .collect();
    planned
        .drafts
        .retain(|draft| matches!(draft.step, Step::Delete) || !deleted.contains(&draft.key));
    let mut seen = std::collections::HashSet::new();
    planned
        .drafts
        .retain(|draft| seen.insert(draft.key.clone()));
    Ok(planned)
}

/// What to do with one resource.
enum Decision {
    Write(Need),
    Keep(Fate),
    /// It contradicts this content, of this version.
    Meet(Value, VersionId),
}

fn put(key: &ResourceKey, value: &Value, need: Need) -> Result<Draft, Problem> {
    let document = Document::parse(&value.to_bytes()).map_err(|error| {
        let text = format!("the mapping's output: {error}");
        Problem::new(ErrorKind::BAD_JSON, text)
    })?;
    Ok(Draft {
        key: key.clone(),
        step: Step::Put(Arc::new(document)),
        need,
        interaction: Interaction::Update,
    })
}

fn decide(
    key: &ResourceKey,
    produced: &Produced,
    current: Option<&Stored>,
    reason: Reason,
) -> Result<Decision, Problem> {
    let Some(current) = current else {
        return Ok(Decision::Write(Need::NewId));
    };
    let snapshot = Need::Snapshot(current.version);
    if current.deleted {
        return Ok(if reason == Reason::Replayed {
            Decision::Write(snapshot)
        } else {
            Decision::Keep(deleted_here())
        });
    }
    let stored = Value::parse(&current.json).map_err(|_| {
        let text = format!("the stored {key} cannot be read");
        Problem::new(ErrorKind::INTERNAL, text)
    })?;
    Ok(match meet(&stored, &produced.value, reason) {
        Meeting::Newer => Decision::Write(snapshot),
        Meeting::Older | Meeting::Same => Decision::Keep(Fate::Repeated),
        Meeting::Contradiction => Decision::Meet(stored, current.version),
    })
}

/// Settles a contradiction to what is stored. What a person wrote stands; only what payloads said is weighed.
async fn met(
    server: &Server,
    key: &ResourceKey,
    produced: &Produced,
    stored: &Value,
    version: VersionId,
) -> Result<(Option<Draft>, Option<Fate>), Problem> {
    let is_of_payload = is_withheld(stored) || {
        let made = server.store.is_made_by_message(key.clone(), version).await;
        made.map_err(|e| store_problem(&e))?
    };
    if !is_of_payload {
        return Ok((None, Some(contradiction())));
    }
    let draft = |value: &Value| put(key, value, Need::Snapshot(version)).map(Some);
    Ok(match settle(stored, &produced.value) {
        Settled::Stays => (None, Some(Fate::Repeated)),
        Settled::Replaced => (draft(&produced.value)?, None),
        Settled::OtherPatient | Settled::Withheld(None) => (None, Some(contradiction())),
        Settled::Withheld(Some(value)) => (draft(&value)?, Some(contradiction())),
    })
}

/// What a measurement becomes whose Observation somebody deleted: that was a decision, and a payload does not undo it.
pub fn deleted_here() -> Fate {
    Fate::Quarantined {
        code: "deleted-here",
        expression: None,
        message: "the Observation was deleted here; replay to bring it back".to_owned(),
    }
}

fn key_of(produced: &Produced) -> Result<ResourceKey, Problem> {
    let identity = &produced.identity;
    Definitions::r4()
        .resource_type(&identity.resource_type)
        .zip(ResourceId::parse(&identity.id))
        .map(|(resource_type, id)| ResourceKey { resource_type, id })
        .ok_or_else(|| {
            Problem::new(
                ErrorKind::INTERNAL,
                "the mapping for measurements named no R4 type or no id",
            )
        })
}

async fn of_record(server: &Server, system: &str, record: &str) -> Result<Vec<Stored>, Problem> {
    let Some(resource_type) = Definitions::r4().resource_type("Observation") else {
        return Ok(Vec::new());
    };
    let token = format!("{}|{}", escaped(system), escaped(record));
    let query = SearchQuery {
        resource_type,
        predicate: condition_of(server, resource_type, &[("identifier".to_owned(), token)])?,
        sort: Vec::new(),
        limit: DELETED_MAX,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server.store.search(query).await;
    page.map(|page| page.matches).map_err(|e| store_problem(&e))
}

/// What the sender is told when nothing was stored.
pub fn not_stored(problem: &Problem) -> IntakeError {
    if problem.kind() == ErrorKind::OVERLOADED {
        IntakeError::Overloaded
    } else {
        IntakeError::Unavailable(problem.to_string())
    }
}
