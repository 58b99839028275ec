//! The contract of [`Port`] as a check that every implementation must pass: the server's and the one in memory.
//!
//! Spec: E-1 to E-7 in `adapters/ehr/README.md`.
//! Leaves out durability, which only a killed process can show.

use bytes::Bytes;
use fhir_core::json::Value;

use crate::port::{
    Action, Counts, Known, PageCommit, Port, PortError, SourceKey, WalkKey, WalkState, Write,
};
use crate::tenant::Persona;

/// Checks an empty port.
///
/// # Errors
/// The promise that is broken, by its number.
pub async fn check(port: &dyn Port) -> Result<(), String> {
    let first = walk("p1");
    let wrong = |number: &str, what: &str| Err(format!("{number}: {what}"));
    if port.walk(&first).await != Ok(WalkState::default()) {
        return wrong("E-1", "a walk that never ran is the default");
    }
    let mut page = commit(&first, 1, vec![put("a", "1")], &["a"]);
    port.commit(page.clone()).await.map_err(|e| e.to_string())?;
    if port.walk(&first).await != Ok(page.state.clone()) {
        return wrong("E-1", "the cursor moves with the page");
    }
    let local = crate::identity::local_id("t", "Observation", "a");
    match port.body("Observation", &local).await {
        Ok(Some(_)) => {}
        _ => return wrong("E-1", "the resource is stored with the page"),
    }
    if port.commit(page.clone()).await != Err(PortError::Moved) {
        return wrong("E-2", "a commit on an old revision is refused");
    }
    // A second page misses `a`, a third one of another patient takes it.
    page = commit(&first, 2, Vec::new(), &[]);
    page.missed = vec![source("a")];
    port.commit(page).await.map_err(|e| e.to_string())?;
    if misses(port, &first).await != Some(1) {
        return wrong("E-3", "a miss is counted");
    }
    let other = walk("p2");
    let page = commit(&other, 1, Vec::new(), &["a"]);
    port.commit(page).await.map_err(|e| e.to_string())?;
    if misses(port, &first).await.is_some() || misses(port, &other).await != Some(0) {
        return wrong("E-3", "a record seen at another subject leaves the first");
    }
    let mut later = put("b", "2");
    later.replaces = Some(source("a"));
    later.local_id.clone_from(&local);
    let page = commit(&other, 2, vec![later], &["b"]);
    port.commit(page).await.map_err(|e| e.to_string())?;
    match one(port, &source("a")).await? {
        Some(known) if known.replaced && known.hash == "2" => {}
        _ => return wrong("E-4", "the old key answers with the new row, as replaced"),
    }
    let mut patient = source("b");
    patient.persona = Persona::Patient;
    match one(port, &patient).await? {
        Some(known) if known.other_persona && known.fuller_elsewhere => {}
        _ => return wrong("E-5", "another persona's row is shown as such"),
    }
    let mut gone = put("b", "");
    gone.local_id.clone_from(&local);
    gone.action = Action::Delete;
    let page = commit(&other, 3, vec![gone], &[]);
    port.commit(page).await.map_err(|e| e.to_string())?;
    match one(port, &source("b")).await? {
        Some(known) if known.deleted => {}
        _ => return wrong("E-6", "a deleted record keeps its row"),
    }
    if !matches!(port.body("Observation", &local).await, Ok(None)) {
        return wrong("E-6", "a deleted resource has no body");
    }
    if misses(port, &other).await.is_some() {
        return wrong("E-6", "a deleted record leaves its walks");
    }
    outdated(port, &other).await
}

/// E-7: copies of other rules are handed out with their bytes, and a row may learn of new rules without a new version.
async fn outdated(port: &dyn Port, walk: &WalkKey) -> Result<(), String> {
    let fail = |what: &str| Err(format!("E-7: {what}"));
    let mut write = put("c", "3");
    write.raw_at = 0..2;
    let page = commit(walk, 4, vec![write.clone()], &["c"]);
    port.commit(page).await.map_err(|e| e.to_string())?;
    let ask = |after| port.outdated("t", Persona::System, "2", after);
    let found = ask(None).await.map_err(|e| e.to_string())?;
    match found.as_slice() {
        [one] if one.source == source("c") && one.hash == "3" => match &one.raw {
            Some(raw) if **raw == *b"{}" => {}
            _ => return fail("the source's bytes are handed out"),
        },
        _ => return fail("copies of other rules that are live are found, and no others"),
    }
    let last = source("c");
    if ask(Some(&last)).await != Ok(Vec::new()) {
        return fail("nothing is found twice");
    }
    let before = port.body("Observation", &write.local_id).await;
    write.action = Action::Keep;
    write.rules = "2".to_owned();
    let mut page = commit(walk, 5, vec![write.clone()], &[]);
    page.raw = Bytes::new();
    port.commit(page).await.map_err(|e| e.to_string())?;
    if ask(None).await != Ok(Vec::new()) {
        return fail("a row that learnt of the new rules is not found again");
    }
    if port.body("Observation", &write.local_id).await != before {
        return fail("what is kept stays as it is");
    }
    match port.outdated("t", Persona::System, "3", None).await {
        Ok(found) if found.len() == 1 && found.iter().all(|one| one.raw.is_some()) => Ok(()),
        _ => fail("a commit without bytes keeps those that are there"),
    }
}

async fn one(port: &dyn Port, key: &SourceKey) -> Result<Option<Known>, String> {
    let known = port.known(std::slice::from_ref(key)).await;
    let known = known.map_err(|error| error.to_string())?;
    Ok(known.into_iter().next().flatten())
}

/// Misses of the only member, `None` without members.
async fn misses(port: &dyn Port, key: &WalkKey) -> Option<u32> {
    let members = port.members(key).await.ok()?;
    members.first().map(|member| member.missed)
}

fn walk(subject: &str) -> WalkKey {
    WalkKey {
        tenant: "t".to_owned(),
        persona: Persona::System,
        subject: subject.to_owned(),
        resource_type: "Observation".to_owned(),
        category: None,
    }
}

fn source(id: &str) -> SourceKey {
    SourceKey {
        tenant: "t".to_owned(),
        persona: Persona::System,
        resource_type: "Observation".to_owned(),
        id: id.to_owned(),
    }
}

fn put(id: &str, hash: &str) -> Write {
    let local_id = crate::identity::local_id("t", "Observation", id);
    let body = Value::object([
        ("resourceType", Value::from("Observation")),
        ("id", local_id.as_str().into()),
        ("status", "final".into()),
        ("code", Value::object([("text", Value::from("contract"))])),
    ]);
    Write {
        source: source(id),
        local_id,
        action: Action::Put(body),
        hash: hash.to_owned(),
        version: None,
        last_updated: None,
        rules: "1".to_owned(),
        masked: false,
        replaces: None,
        raw_at: 0..0,
    }
}

fn commit(walk: &WalkKey, revision: u64, writes: Vec<Write>, seen: &[&str]) -> PageCommit {
    PageCommit {
        walk: walk.clone(),
        state: WalkState {
            revision,
            sweep: revision,
            ..WalkState::default()
        },
        raw: Bytes::from_static(b"{}"),
        writes,
        seen: seen.iter().map(|id| source(id)).collect(),
        missed: Vec::new(),
        provenance: None,
        evidence: None,
        counts: Counts::default(),
        reviews: Vec::new(),
    }
}
