//! What a message would change: identities first, then its resources, then what it says about identities.
//!
//! Nothing is written here, so that a preview shows exactly what carrying out would do.

use adapters::{Intake, Issue, Severity};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;
use fhir_core::json::Value;
use fhir_store::{MessagePlace, NewReview, Owner};
use mappings::{Produced, Revision, Write, derive_id};

use super::actions;
use super::desk::Desk;
use super::identity::{self, Decision};
use super::known::{self, Known};
use super::links;
use super::merge;
use crate::app::{Server, store_problem};

/// How a message is planned.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Which row of the log it is.
    pub place: MessagePlace,
    /// The record a person has chosen for it.
    pub chosen: Option<ResourceKey>,
}

/// What a message would change.
pub struct Planned<'a> {
    /// The resources.
    pub desk: Desk<'a>,
    /// Those it gave or touched, in order.
    pub made: Vec<ResourceKey>,
    /// Of the produced resources, which key each got; `None` for one that is older than what is stored.
    pub written: Vec<(ResourceKey, Wrote)>,
    /// What was found on the way.
    pub issues: Vec<Issue>,
    /// Identities.
    pub known: Known,
    /// Whose things are from now on.
    pub owners: Vec<Owner>,
    /// The source's times.
    pub revisions: Vec<(ResourceKey, String)>,
    /// The source's times of what holds between two resources.
    pub pair_times: Vec<(ResourceKey, String, String)>,
    /// Decisions a person must make.
    pub reviews: Vec<NewReview>,
    /// Why the message must wait, if it must.
    pub wait: Option<Waiting>,
}

/// What became of a produced resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It is on the desk.
    Given,
    /// What is stored knows better, or is newer.
    Kept,
    /// It is older than what is stored.
    Superseded,
}

/// Why a message must wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A person must decide.
    ForDecision(String),
    /// An earlier message of the same subject.
    ForMessage(i64),
    /// The feed is halted by a message.
    ForFeed(i64),
}

/// Subject of a hold that stops a whole feed.
pub const EVERYBODY: &str = "*";

/// Plans a message.
///
/// # Errors
/// What reading answers; `invalid-resource` for output that is none
pub async fn plan<'a>(
    server: &'a Server,
    intake: &Intake,
    manner: &Manner,
) -> Result<Planned<'a>, Problem> {
    let keys = known::identities(intake)?;
    let stored = server.store.known_identities(&intake.feed, keys).await;
    let stored = stored.map_err(|e| store_problem(&e))?;
    let mut planned = Planned {
        desk: Desk::new(server),
        made: Vec::new(),
        written: Vec::new(),
        issues: Vec::new(),
        known: Known::new(&stored),
        owners: Vec::new(),
        revisions: Vec::new(),
        pair_times: Vec::new(),
        reviews: Vec::new(),
        wait: None,
    };
    planned.wait = wait(intake, &planned.known, &stored.holds, manner)?;
    if planned.wait.is_some() {
        return Ok(planned);
    }
    let Some(targets) = targets(&mut planned, intake, manner).await? else {
        return Ok(planned);
    };
    resources(server, &mut planned, intake, manner, &targets).await?;
    for action in &intake.actions {
        actions::carry_out(server, &mut planned, intake, action).await?;
    }
    Ok(planned)
}

/// Whether an earlier message stands in the way.
fn wait(
    intake: &Intake,
    known: &Known,
    holds: &[(String, i64)],
    manner: &Manner,
) -> Result<Option<Waiting>, Problem> {
    let own = match manner.place {
        MessagePlace::Again(id) | MessagePlace::CopyOf(id) => Some(id),
        MessagePlace::New => None,
    };
    // A message waits for earlier ones only.
    let holds = || {
        holds
            .iter()
            .filter(|(_, message)| own.is_none_or(|own| *message < own))
    };
    if let Some((_, message)) = holds().find(|(subject, _)| subject == EVERYBODY) {
        return Ok(Some(Waiting::ForFeed(*message)));
    }
    let subjects = subjects(intake, known)?;
    let found = holds().find(|(subject, _)| subjects.contains(subject));
    Ok(found.map(|(_, message)| Waiting::ForMessage(*message)))
}

/// The persons a message is about.
///
/// # Errors
/// `invalid-resource` for output that is none
pub fn subjects(intake: &Intake, known: &Known) -> Result<Vec<String>, Problem> {
    let mut subjects = Vec::new();
    for produced in &intake.resources {
        if &*produced.identity.resource_type == "Patient" {
            let key = known::key(&produced.identity)?;
            subjects.push(known.meant(&key).to_string());
        }
    }
    Ok(subjects)
}

/// The record of each produced resource; `None` when a person must decide first.
async fn targets(
    planned: &mut Planned<'_>,
    intake: &Intake,
    manner: &Manner,
) -> Result<Option<Vec<ResourceKey>>, Problem> {
    let mut targets = Vec::with_capacity(intake.resources.len());
    for produced in &intake.resources {
        let own = known::key(&produced.identity)?;
        let decision = identity::decide(
            &mut planned.desk,
            &mut planned.known,
            produced,
            manner.chosen.as_ref(),
            &mut planned.reviews,
            &mut planned.issues,
        );
        match decision.await? {
            Decision::Record(record) => {
                if record != own && planned.known.alias(&own).is_none() {
                    // For this message only: a person's choice is no rule for the next.
                    planned.known.choose(&own, &record);
                }
                targets.push(record);
            }
            Decision::Ask(review) => {
                planned.wait = Some(Waiting::ForDecision(review.text.clone()));
                planned.reviews = vec![review];
                planned.issues.clear();
                planned.known.added.clear();
                return Ok(None);
            }
        }
    }
    Ok(Some(targets))
}

async fn resources(
    server: &Server,
    planned: &mut Planned<'_>,
    intake: &Intake,
    manner: &Manner,
    targets: &[ResourceKey],
) -> Result<(), Problem> {
    let mut keys = Vec::with_capacity(targets.len());
    for (produced, target) in intake.resources.iter().zip(targets) {
        let key = former_id(planned, produced, target).await?;
        if key != *target {
            planned.known.choose(target, &key);
        }
        planned.desk.open(&key).await?;
        keys.push(key);
    }
    // After the resources were read: a newer time then means that the commit will find a newer version too.
    let times = server
        .store
        .known_revisions(&intake.feed, keys.clone())
        .await;
    let times = times.map_err(|e| store_problem(&e))?;
    for (produced, key) in intake.resources.iter().zip(keys) {
        let time = times.iter().find(|time| time.key == key);
        let is_older = match (&produced.revision, time) {
            (_, None) => false,
            (Some(revision), Some(time)) => {
                Revision::parse(&time.revision).is_some_and(|known| revision.is_older_than(&known))
            }
            // Without a time of the source's, the order of arrival is all there is; reading again must not disturb it.
            (None, Some(time)) => match manner.place {
                MessagePlace::Again(id) | MessagePlace::CopyOf(id) => id < time.message,
                MessagePlace::New => false,
            },
        };
        let wrote = if is_older && produced.write != Write::Create {
            let text = format!("{key}: what is stored is newer by the source's own time; it stays");
            planned
                .issues
                .push(Issue::new(Severity::Information, "superseded", text));
            Wrote::Superseded
        } else {
            give(planned, produced, &key).await?
        };
        if wrote == Wrote::Given && produced.write != Write::Create {
            // A time is kept for resources without one too: the message's number tells the order then.
            let text = produced.revision.as_ref().map(ToString::to_string);
            planned
                .revisions
                .push((key.clone(), text.unwrap_or_default()));
        }
        if !planned.made.contains(&key) {
            planned.made.push(key.clone());
        }
        planned.written.push((key, wrote));
    }
    Ok(())
}

/// Puts one resource on the desk.
async fn give(
    planned: &mut Planned<'_>,
    produced: &Produced,
    key: &ResourceKey,
) -> Result<Wrote, Problem> {
    let mut value = produced.value.clone();
    if let Some(map) = value.as_object_mut() {
        map.insert("id", Value::from(key.id.as_str()));
    }
    planned.known.rewrite(&mut value);
    owned(planned, &mut value, key, produced);
    let lost_to = planned.known.is_lost(key).then(|| planned.known.meant(key));
    let sheet = planned.desk.open(key).await?;
    let wrote = match (&sheet.value, produced.write) {
        (None, _) | (Some(_), Write::Replace) => {
            sheet.put(value);
            Wrote::Given
        }
        (Some(_), Write::Create) => Wrote::Kept,
        (Some(stored), Write::Merge) => {
            // What only says something about a new resource leaves a stored one as it is.
            if let Some(given) = value.as_object_mut() {
                for name in &produced.initial {
                    given.remove(name);
                }
            }
            let merged = merge::merge(
                key.resource_type,
                stored.clone(),
                &value,
                &produced.cleared,
                &produced.lists,
            );
            sheet.put(merged);
            Wrote::Given
        }
    };
    // A record that was merged into another keeps what is said about it, and stays merged.
    if let Some(survivor) = lost_to {
        sheet.change(|value| links::replaced_by(value, key, &survivor));
    }
    Ok(wrote)
}

/// What belongs to a visit that was moved is its new owner's.
fn owned(planned: &Planned<'_>, value: &mut Value, key: &ResourceKey, produced: &Produced) {
    let named = value
        .get("encounter")
        .and_then(|e| e.get("reference"))
        .and_then(Value::as_str)
        .and_then(ResourceKey::parse);
    for what in [Some(key.clone()), named].into_iter().flatten() {
        let Some((owner, revision)) = planned.known.owners.get(&what) else {
            continue;
        };
        let moved = revision.as_deref().and_then(Revision::parse);
        let is_later = match (&produced.revision, &moved) {
            (Some(given), Some(moved)) => moved.is_older_than(given),
            _ => false,
        };
        // Who sends the visit itself later than the move knows whose it is.
        if what == *key && is_later {
            continue;
        }
        actions::set_subject(value, &planned.known.meant(owner));
    }
}

/// The id a resource got before its person was merged: ids of results hold the person's, so after a merge the same
/// result would get another.
async fn former_id(
    planned: &mut Planned<'_>,
    produced: &Produced,
    target: &ResourceKey,
) -> Result<ResourceKey, Problem> {
    let parts: Vec<&str> = produced.identity.parts.iter().map(AsRef::as_ref).collect();
    let derived = derive_id(
        &produced.identity.namespace,
        &produced.identity.resource_type,
        &parts,
    );
    // An id that got a number because it came twice follows from more than its parts.
    if *derived != *produced.identity.id || planned.desk.open(target).await?.value.is_some() {
        return Ok(target.clone());
    }
    for (at, part) in parts.iter().enumerate() {
        let Some(person) = ResourceKey::parse(part).filter(|k| k.resource_type.name() == "Patient")
        else {
            continue;
        };
        for other in planned.desk.names_of(&planned.known, &person).await? {
            let mut named = parts.clone();
            let other = other.to_string();
            if let Some(slot) = named.get_mut(at) {
                *slot = &other;
            }
            let id = derive_id(
                &produced.identity.namespace,
                &produced.identity.resource_type,
                &named,
            );
            let key = known::key(&mappings::Identity {
                id: id.into(),
                ..produced.identity.clone()
            })?;
            if planned.desk.open(&key).await?.value.is_some() {
                return Ok(key);
            }
        }
    }
    Ok(target.clone())
}
