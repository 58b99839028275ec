//! Referential integrity, when the settings ask for it: over REST a resource refers only to what is here, and what others
//! refer to is not deleted.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#literal>, <https://hl7.org/fhir/R4/http.html#delete>
//! Leaves out: messages, device data and pages of EHRs, which come in an order that nobody here decides; referring elements
//! that no search parameter covers, which hold no deletion up; other servers on the same PostgreSQL database, which may
//! write between this check and its commit.

use std::collections::HashSet;

use fhir_core::access::{Access, Channel};
use fhir_core::datatype::reference::Reference;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::ValueRef;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::{Draft, Plan, Step, placed};
use crate::app::{Server, store_problem};
use crate::config::References;

/// Types that tell what happened to a resource then: they stay as they are and may outlive it.
pub const HISTORICAL: [&str; 2] = ["AuditEvent", "Provenance"];
/// Referring resources that a refusal names.
const NAMED_MAX: usize = 3;

/// Held from the check to the end of the commit, so that no deletion comes between.
pub struct Held {
    /// References are made.
    _shared: Option<OwnedRwLockReadGuard<()>>,
    /// Something is deleted.
    _alone: Option<OwnedRwLockWriteGuard<()>>,
}

/// Checks a plan against the resources that are here.
///
/// # Errors
/// `reference-missing`, `resource-in-use`; what reading answers
pub async fn check(server: &Server, access: &Access, plan: &Plan) -> Result<Option<Held>, Problem> {
    if server.config.references == References::Off || access.channel != Channel::Rest {
        return Ok(None);
    }
    let is_deletion = |draft: &Draft| matches!(draft.step, Step::Delete);
    let lock = server.references.clone();
    let (mut shared, mut alone) = (None, None);
    if plan.drafts.iter().any(is_deletion) {
        alone = Some(lock.write_owned().await);
    } else {
        shared = Some(lock.read_owned().await);
    }
    let (gone, put): (Vec<&Draft>, Vec<&Draft>) = plan.drafts.iter().partition(|d| is_deletion(d));
    let gone: HashSet<&ResourceKey> = gone.into_iter().map(|draft| &draft.key).collect();
    let put: HashSet<&ResourceKey> = put.into_iter().map(|draft| &draft.key).collect();
    for (number, draft) in plan.drafts.iter().enumerate() {
        let checked = match &draft.step {
            Step::Put(document) | Step::PutChecked(document) => {
                leads_somewhere(server, draft, document.root(), &put, &gone).await
            }
            Step::Delete => is_free(server, &draft.key, &put, &gone).await,
        };
        checked.map_err(|problem| placed(&plan.entries, number, problem))?;
    }
    Ok(Some(Held {
        _shared: shared,
        _alone: alone,
    }))
}

async fn leads_somewhere(
    server: &Server,
    draft: &Draft,
    root: ValueRef<'_>,
    put: &HashSet<&ResourceKey>,
    gone: &HashSet<&ResourceKey>,
) -> Result<(), Problem> {
    let bases = server.own_bases();
    let mut targets = Vec::new();
    collect(root, draft.key.resource_type.name(), &bases, &mut targets);
    for (at, target) in targets {
        let is_here = !gone.contains(&target)
            && (put.contains(&target)
                || server
                    .current(&target)
                    .await?
                    .is_some_and(|stored| !stored.deleted));
        if !is_here {
            let text = format!(
                "the reference leads to no {} of this server (setting `references`); send that resource first, or in the \
                 same transaction",
                target.resource_type.name()
            );
            return Err(Problem::new(ErrorKind::REFERENCE_MISSING, text).at(at));
        }
    }
    Ok(())
}

/// The resources of this server that a value refers to, and where.
fn collect(value: ValueRef<'_>, at: &str, bases: &[&str], found: &mut Vec<(String, ResourceKey)>) {
    for (number, item) in value.items().enumerate() {
        collect(item, &format!("{at}[{number}]"), bases, found);
    }
    for (name, member) in value.members() {
        let at = format!("{at}.{name}");
        let text = (name == "reference").then(|| member.as_str()).flatten();
        match text.as_deref().map(|text| Reference::parse(text, bases)) {
            Some(Some(Reference::Local { key, .. })) => found.push((at, key)),
            Some(_) => {}
            None => collect(member, &at, bases, found),
        }
    }
}

async fn is_free(
    server: &Server,
    key: &ResourceKey,
    put: &HashSet<&ResourceKey>,
    gone: &HashSet<&ResourceKey>,
) -> Result<(), Problem> {
    // What tells of the past may outlive it; what the plan itself changes or deletes counts as the plan leaves it.
    let limit = put.len() + gone.len() + NAMED_MAX;
    let found = server.store.referrers(key, &HISTORICAL, limit).await;
    let found = found.map_err(|e| store_problem(&e))?;
    let names: Vec<String> = found
        .iter()
        .filter(|other| !put.contains(other) && !gone.contains(other))
        .take(NAMED_MAX)
        .map(|other| format!("`{other}`"))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let text = format!(
        "other resources refer to it (setting `references`), {} among them; change or delete those first, or in the same \
         transaction",
        names.join(", ")
    );
    Err(Problem::new(ErrorKind::RESOURCE_IN_USE, text))
}
