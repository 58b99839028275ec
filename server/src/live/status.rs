//! The life of a subscription: requested, active after the handshake, error with a reason, off at its end.
//!
//! Spec: <https://hl7.org/fhir/R4/subscription.html#status>. Every change is a version through the one write path, and
//! holds only if nobody else changed the resource meanwhile.

use std::sync::Arc;

use fhir_core::access::{Access, Channel as Door};
use fhir_core::ids::{ResourceKey, VersionId};
use fhir_core::issue::Problem;
use fhir_core::json::{Document, Value};

use super::hook;
use super::model::{Channel, Spec, Style};
use crate::app::{Server, store_problem};
use crate::interaction::Interaction;
use crate::operations::parameters;
use crate::write::{self, Draft, Failure, Need, Plan, Step};

/// The name in the audit trail.
pub const AGENT: &str = "subscriptions";

/// Longest reason kept in `Subscription.error`, in characters.
const REASON_CHARS_MAX: usize = 500;
/// Attempts to write a status, each after another write came between.
const ATTEMPTS_MAX: usize = 5;

/// What a status changes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It works.
    Active,
    /// It does not, and why.
    Error(String),
    /// It has ended, and why.
    Off(String),
}

/// Moves a version's status; does nothing when another version is there already.
///
/// # Errors
/// `unavailable`, `overloaded`, `internal`
pub async fn move_to(
    server: &Arc<Server>,
    key: &ResourceKey,
    version: VersionId,
    next: Next,
) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = server
            .store
            .read(key)
            .await
            .map_err(|e| store_problem(&e))?;
        let Some(stored) = stored.filter(|s| !s.deleted && s.version == version) else {
            return Ok(());
        };
        let mut value = parameters::stored(&stored.json)?.root().to_value();
        let (status, error) = match &next {
            Next::Active => ("active", None),
            Next::Error(why) => ("error", Some(why)),
            Next::Off(why) => ("off", Some(why)),
        };
        if let Some(map) = value.as_object_mut() {
            map.insert("status", Value::from(status));
            match error {
                Some(why) => {
                    let why: String = why.chars().take(REASON_CHARS_MAX).collect();
                    map.insert("error", Value::from(why));
                }
                None => {
                    map.remove("error");
                }
            }
        }
        let Ok(document) = Document::parse(&value.to_bytes()) else {
            return Ok(());
        };
        let draft = Draft {
            key: key.clone(),
            step: Step::PutChecked(Arc::new(document)),
            need: Need::Snapshot(version),
            interaction: Interaction::Update,
        };
        let plan = Plan {
            drafts: vec![draft],
            ..Plan::default()
        };
        let access = Access::full(AGENT, Door::Feed(AGENT.to_owned()));
        match write::submit(server, &access, plan).await {
            Ok(_) => return Ok(()),
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(Failure::Moved | Failure::Repeated(_)) => {}
        }
    }
    Ok(())
}

/// Brings a requested subscription to life: `problem` is what is known already to stand in its way.
pub async fn activate(
    server: Arc<Server>,
    key: ResourceKey,
    version: VersionId,
    spec: Arc<Spec>,
    problem: Option<String>,
    wants_samples: bool,
) {
    let now = (server.clock)();
    let next = if spec.end.is_some_and(|end| end <= now) {
        Next::Off("its end has passed".to_owned())
    } else if let Some(why) = problem {
        Next::Error(why)
    } else {
        match greet(&server, &key, &spec).await {
            Ok(()) => Next::Active,
            Err(why) => Next::Error(why),
        }
    };
    // From here on commits tell which samples they brought; before, nobody is promised to hear of them.
    if next == Next::Active
        && wants_samples
        && let Err(error) = server.store.live_want_samples(true).await
    {
        tracing::warn!(%error, subscription = %key, "a subscription cannot be made active yet");
        return;
    }
    if let Err(problem) = move_to(&server, &key, version, next).await {
        tracing::warn!(%problem, subscription = %key, "the status of a subscription cannot be stored");
    }
}

/// The handshake, where the channel has one.
async fn greet(server: &Arc<Server>, key: &ResourceKey, spec: &Spec) -> Result<(), String> {
    let Channel::Hook { endpoint, .. } = &spec.channel else {
        return Ok(());
    };
    hook::permit(server, endpoint).map_err(|problem| problem.to_string())?;
    if spec.style == Style::Plain {
        return Ok(());
    }
    let _permit = server.live.handshakes.acquire().await;
    hook::handshake(server, key, spec).await
}
