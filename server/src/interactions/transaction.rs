//! A Bundle of requests that are carried out together or not at all, in one commit.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#trules>

mod logical;

use std::collections::HashMap;
use std::sync::Arc;

use fhir_core::access::Access;
use fhir_core::bundle::{self, Action, BUNDLE_ENTRIES_MAX, PlanContext};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value, ValueRef};
use fhir_store::Expectation;

use logical::Logical;

use super::read::ReadCondition;
use super::{Answer, entry, patch};
use crate::app::Server;
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::search::condition::{self, Found};
use crate::write::{Attempts, Draft, Need, Plan, Step, Written, in_entry};

/// What an entry is once its conditions are resolved.
#[derive(Debug, Clone)]
enum Slot {
    /// It is written as the draft with this number.
    Draft(usize),
    /// A conditional create found this resource: nothing to do.
    Exists(ResourceKey),
    /// A conditional delete found nothing.
    Nothing,
    /// It is read after the writes: the URL.
    Get(String),
}

/// What happens to a conditional reference that does not find exactly one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// The transaction fails.
    Refuse,
    /// The identifier it searches for is kept as a logical reference.
    KeepIdentifier,
}

/// Carries out a transaction; the answers stand in the order of the entries.
///
/// # Errors
/// The first problem of any entry; nothing was written then
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    root: ValueRef<'_>,
    return_: Return,
) -> Result<Vec<Answer>, Problem> {
    let (slots, written) = run(server, access, root, Unresolved::Refuse).await?;
    let mut answers = Vec::with_capacity(slots.len());
    for slot in &slots {
        let answer = match slot {
            Slot::Draft(number) => {
                let written = written.get(*number);
                written
                    .map(|written| Answer::written(server, written, return_))
                    .unwrap_or_default()
            }
            Slot::Exists(key) => {
                let stored = server
                    .current(key)
                    .await?
                    .ok_or_else(|| super::not_found(key))?;
                let location = Some(super::location(server, key, stored.version));
                let body = if return_ == Return::Representation {
                    stored.json.clone()
                } else {
                    bytes::Bytes::new()
                };
                Answer {
                    location,
                    body,
                    ..Answer::resource(stored)
                }
            }
            Slot::Nothing => Answer {
                status: 204,
                ..Answer::default()
            },
            Slot::Get(url) => entry::get(server, access, url, &ReadCondition::default()).await?,
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// Carries out the writes of a transaction.
///
/// # Errors
/// The first problem of any entry; nothing was written then
pub async fn carry_out(
    server: &Arc<Server>,
    access: &Access,
    root: ValueRef<'_>,
    unresolved: Unresolved,
) -> Result<Vec<Written>, Problem> {
    run(server, access, root, unresolved)
        .await
        .map(|(_, written)| written)
}

async fn run(
    server: &Arc<Server>,
    access: &Access,
    root: ValueRef<'_>,
    unresolved: Unresolved,
) -> Result<(Vec<Slot>, Vec<Written>), Problem> {
    let mut attempts = Attempts::new(server);
    loop {
        let (plan, slots) = plan(server, access, root, unresolved).await?;
        if let Some(written) = attempts.submit(access, plan).await? {
            return Ok((slots, written));
        }
    }
}

/// Reads the Bundle, resolves every condition and writes down what shall happen.
async fn plan(
    server: &Arc<Server>,
    access: &Access,
    root: ValueRef<'_>,
    unresolved: Unresolved,
) -> Result<(Plan, Vec<Slot>), Problem> {
    let own_bases = server.own_bases();
    let context = PlanContext {
        base_urls: &own_bases,
        entries_max: BUNDLE_ENTRIES_MAX,
    };
    let mut bundle = bundle::plan(root, &context, &mut || (server.ids)())?;
    let (found, expects) = resolve_conditions(server, access, &mut bundle).await?;
    bundle.refuse_duplicates()?;
    let logical = resolve_references(server, access, &mut bundle, unresolved).await?;
    let mut patched = patches(server, &bundle).await?;
    let mut slots = vec![Slot::Nothing; bundle.entries.len()];
    let mut drafts = Vec::with_capacity(bundle.entries.len());
    let mut entries = Vec::with_capacity(bundle.entries.len());
    for index in bundle.order.clone() {
        let resolved = match patched.remove(&index) {
            Some(draft) => Resolved::Draft(Box::new(draft)),
            None => draft(&bundle, index, &found, &logical)?,
        };
        let slot = match resolved {
            Resolved::Draft(draft) => {
                drafts.push(*draft);
                entries.push(index);
                Slot::Draft(drafts.len() - 1)
            }
            Resolved::Other(slot) => slot,
        };
        if let Some(place) = slots.get_mut(index) {
            *place = slot;
        }
    }
    Ok((
        Plan {
            drafts,
            expects,
            entries,
            ..Plan::default()
        },
        slots,
    ))
}

/// What conditional entries found, by index.
type FoundKeys = HashMap<usize, Option<ResourceKey>>;

async fn resolve_conditions(
    server: &Server,
    access: &Access,
    bundle: &mut bundle::Plan<'_>,
) -> Result<(FoundKeys, Vec<Expectation>), Problem> {
    let mut keys = HashMap::new();
    let mut expects = Vec::new();
    for index in 0..bundle.entries.len() {
        let Some(entry) = bundle.entries.get(index) else {
            continue;
        };
        let (resource_type, criteria) = match &entry.action {
            Action::Create {
                key,
                if_none_exist: Some(criteria),
            } => (key.resource_type, criteria),
            Action::ConditionalUpdate { key, condition, .. } => (key.resource_type, condition),
            Action::ConditionalDelete {
                resource_type,
                condition,
            }
            | Action::ConditionalPatch {
                resource_type,
                condition,
                ..
            } => (*resource_type, condition),
            _ => continue,
        };
        let must_exist = matches!(entry.action, Action::ConditionalPatch { .. });
        let found = condition::resolve(server, access, resource_type, criteria).await;
        let found = found.map_err(|problem| in_entry(index, problem))?;
        let key = found.one().map_err(|problem| in_entry(index, problem))?;
        if must_exist && key.is_none() {
            return Err(in_entry(index, patch::no_match()));
        }
        expects.push(Found::expectation(&found));
        if let Some(key) = &key {
            bundle.resolve_entry(index, key.clone());
        }
        keys.insert(index, key);
    }
    Ok((keys, expects))
}

async fn resolve_references(
    server: &Server,
    access: &Access,
    bundle: &mut bundle::Plan<'_>,
    unresolved: Unresolved,
) -> Result<Vec<Logical>, Problem> {
    let mut kept = Vec::new();
    for reference in bundle.conditional_references()? {
        let found =
            condition::resolve(server, access, reference.resource_type, &reference.params).await;
        let found = found.and_then(|found| found.one());
        if !matches!(found, Ok(Some(_)))
            && unresolved == Unresolved::KeepIdentifier
            && let Some(logical) = Logical::of(&reference)
        {
            kept.push(logical);
            continue;
        }
        let Some(key) = found.map_err(|problem| in_entry(reference.index, problem))? else {
            let text = format!(
                "entry {}: a conditional reference to `{}` finds no resource; send that resource first",
                reference.index,
                reference.resource_type.name()
            );
            let problem = Problem::new(ErrorKind::BAD_ENTRY, text);
            return Err(problem.at(format!("Bundle.entry[{}].resource", reference.index)));
        };
        bundle.resolve_reference(&reference.text, key);
    }
    Ok(kept)
}

/// What patches make of the current versions, by index.
async fn patches(
    server: &Server,
    bundle: &bundle::Plan<'_>,
) -> Result<HashMap<usize, Draft>, Problem> {
    let mut drafts = HashMap::new();
    for (index, bundle_entry) in bundle.entries.iter().enumerate() {
        let Action::Patch { key, if_match } = &bundle_entry.action else {
            continue;
        };
        let body = patch::of_entry(index, entry::content(bundle, index)?.root())?;
        let applied = patch::apply(server, key, &body, if_match.as_ref()).await;
        let (document, version) = applied.map_err(|problem| in_entry(index, problem))?;
        let draft = Draft {
            key: key.clone(),
            step: Step::Put(Arc::new(document)),
            need: Need::Snapshot(version),
            interaction: Interaction::Patch,
        };
        drafts.insert(index, draft);
    }
    Ok(drafts)
}

/// The resource of an entry with all references final.
fn content(
    bundle: &bundle::Plan<'_>,
    index: usize,
    logical: &[Logical],
) -> Result<Document, Problem> {
    let document = entry::content(bundle, index)?;
    if logical.is_empty() {
        return Ok(document);
    }
    let mut value: Value = document.root().to_value();
    if logical::rewrite(&mut value, logical) == 0 {
        return Ok(document);
    }
    Document::parse(&value.to_bytes()).map_err(|error| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("entry {index} cannot be read: {error}"),
        )
    })
}

enum Resolved {
    Draft(Box<Draft>),
    Other(Slot),
}

fn draft(
    bundle: &bundle::Plan<'_>,
    index: usize,
    found: &FoundKeys,
    logical: &[Logical],
) -> Result<Resolved, Problem> {
    let Some(bundle_entry) = bundle.entries.get(index) else {
        return Ok(Resolved::Other(Slot::Nothing));
    };
    let put = |key: &ResourceKey, need: Need, interaction| -> Result<Resolved, Problem> {
        let step = Step::Put(Arc::new(content(bundle, index, logical)?));
        Ok(Resolved::Draft(Box::new(Draft {
            key: key.clone(),
            step,
            need,
            interaction,
        })))
    };
    let delete = |key: &ResourceKey, need: Need| {
        let interaction = Interaction::Delete;
        Resolved::Draft(Box::new(Draft {
            key: key.clone(),
            step: Step::Delete,
            need,
            interaction,
        }))
    };
    let found = found.get(&index).cloned().flatten();
    let need = |tags: &Option<_>, other: Need| tags.clone().map_or(other, Need::Match);
    match &bundle_entry.action {
        Action::Create { key, .. } => match found {
            Some(existing) => Ok(Resolved::Other(Slot::Exists(existing))),
            None => put(key, Need::NewId, Interaction::Create),
        },
        Action::Update { key, if_match } => {
            put(key, need(if_match, Need::Nothing), Interaction::Update)
        }
        Action::ConditionalUpdate { key, if_match, .. } => {
            put(key, need(if_match, Need::Nothing), Interaction::Update)
        }
        Action::Delete { key, if_match } => Ok(delete(key, need(if_match, Need::Nothing))),
        Action::ConditionalDelete { .. } => Ok(found
            .map_or(Resolved::Other(Slot::Nothing), |key| {
                delete(&key, Need::Nothing)
            })),
        Action::Get { url, .. } => Ok(Resolved::Other(Slot::Get(url.clone()))),
        // Patches have become drafts already, and conditional ones patches.
        Action::Patch { .. } | Action::ConditionalPatch { .. } => {
            Ok(Resolved::Other(Slot::Nothing))
        }
        Action::Refused(problem) => Err(problem.clone()),
    }
}
