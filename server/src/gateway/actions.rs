//! Carries out what a message says about identities: merges, moves, new numbers, links.
//!
//! Spec: HL7 v2 chapter 3, A18, A24, A34, A36, A37, A40 to A47; `Patient.link`,
//! <https://hl7.org/fhir/R4/patient.html#links>. What refers to the loser of a merge is made to refer to the survivor,
//! each with a new version and named by the message's Provenance. An FHIR id cannot be renamed, so a new number is a
//! merge into the record of that number, which takes over what it lacks.

use adapters::{Intake, Issue, Severity};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;
use fhir_core::json::Value;
use fhir_store::{Alias, AliasKind, NewReview, Owner};
use mappings::{Action, ActionKind, Revision};

use super::known::{self, repoint};
use super::links;
use super::plan::Planned;
use crate::app::{Server, store_problem};
use crate::write::HISTORICAL;

/// Resources made to refer to the survivor in the merge's own commit; the rest follows in commits of this size.
pub const REPOINTED_MAX: usize = 500;

/// Carries out one action on the desk.
///
/// # Errors
/// What reading answers
pub async fn carry_out(
    server: &Server,
    planned: &mut Planned<'_>,
    intake: &Intake,
    action: &Action,
) -> Result<(), Problem> {
    let into = known::key(&action.into)?;
    let from = action.from.as_ref().map(known::key).transpose()?;
    match (action.kind, from) {
        (ActionKind::Merge, Some(from)) => {
            unite(server, planned, action, &from, &into, AliasKind::Merged).await
        }
        (ActionKind::ChangeId, Some(from)) => {
            unite(server, planned, action, &from, &into, AliasKind::Renamed).await
        }
        (ActionKind::Move, from) => move_to(server, planned, action, from, &into).await,
        (ActionKind::Link | ActionKind::Unlink, Some(from)) => {
            link(server, planned, intake, action, &from, &into).await
        }
        (_, None) => {
            let text = "the message does not say which other record is meant; nothing was done";
            warn(planned, "other-record-missing", text);
            Ok(())
        }
    }
}

fn warn(planned: &mut Planned<'_>, code: &'static str, text: &str) {
    planned
        .issues
        .push(Issue::new(Severity::Warning, code, text.to_owned()));
}

fn ask(planned: &mut Planned<'_>, kind: &'static str, subjects: Vec<ResourceKey>, text: &str) {
    warn(planned, kind, text);
    planned.reviews.push(NewReview {
        kind,
        subjects,
        text: text.to_owned(),
    });
}

/// Two records become one.
async fn unite(
    server: &Server,
    planned: &mut Planned<'_>,
    action: &Action,
    from: &ResourceKey,
    into: &ResourceKey,
    kind: AliasKind,
) -> Result<(), Problem> {
    let loser = planned.known.record(from);
    let survivor = planned.known.meant(into);
    if survivor == loser {
        let text = "the survivor was merged into the loser before; the records stay as they are";
        ask(
            planned,
            "merge-cycle",
            vec![from.clone(), into.clone()],
            text,
        );
        return Ok(());
    }
    if planned.known.is_lost(&loser) {
        let earlier = planned.known.meant(&loser);
        if earlier != survivor {
            let text = "the loser was merged into another record before; it stays there";
            ask(planned, "merged-elsewhere", vec![loser, survivor], text);
        }
        return Ok(());
    }
    ensure(planned, &survivor, &[]).await?;
    let is_new_number = kind == AliasKind::Renamed;
    if !is_new_number {
        ensure(planned, &loser, &action.from_identifiers).await?;
    }
    let earlier = server.store.aliases_into(&loser).await;
    let earlier = earlier.map_err(|e| store_problem(&e))?;
    let mut losers: Vec<ResourceKey> = earlier
        .into_iter()
        .filter(|alias| alias.kind != AliasKind::Identifier)
        .map(|alias| alias.from)
        .collect();
    losers.push(loser.clone());
    let content = planned.desk.open(&loser).await?.value.clone();
    if let (true, Some(content)) = (is_new_number, &content) {
        fill(planned, &survivor, content).await?;
    }
    for lost in &losers {
        let sheet = planned.desk.open(lost).await?;
        sheet.change(|value| links::replaced_by(value, lost, &survivor));
        // A number that was never a record of its own is nothing a Provenance could name.
        if sheet.value.is_some() {
            touched(planned, lost);
        }
    }
    if survivor.resource_type.name() == "Patient" {
        // A number that was never a record of its own has nothing to be linked with.
        let mut shown = Vec::new();
        for lost in &losers {
            if planned.desk.open(lost).await?.value.is_some() {
                shown.push(lost.clone());
            }
        }
        let sheet = planned.desk.open(&survivor).await?;
        sheet.change(|value| links::replaces(value, &shown));
    }
    touched(planned, &survivor);
    let pending = repoint_all(server, planned, &loser, &survivor, &losers).await?;
    planned.known.add(Alias {
        from: loser,
        into: survivor,
        kind,
        revision: action.revision.as_ref().map(ToString::to_string),
        pending,
    });
    Ok(())
}

/// Lets what refers to the loser refer to the survivor; true when there is more than one commit takes.
async fn repoint_all(
    server: &Server,
    planned: &mut Planned<'_>,
    loser: &ResourceKey,
    survivor: &ResourceKey,
    losers: &[ResourceKey],
) -> Result<bool, Problem> {
    let found = server
        .store
        .referrers(loser, &HISTORICAL, REPOINTED_MAX + 1)
        .await;
    let found = found.map_err(|e| store_problem(&e))?;
    let is_more = found.len() > REPOINTED_MAX;
    for key in found.into_iter().take(REPOINTED_MAX) {
        let is_party = key == *survivor || losers.contains(&key);
        if is_party {
            continue;
        }
        let sheet = planned.desk.open(&key).await?;
        sheet.change(|value| repoint(value, loser, survivor));
        touched(planned, &key);
    }
    // What this message itself brought.
    for sheet in planned.desk.sheets_mut() {
        let is_party = sheet.key == *survivor || losers.contains(&sheet.key);
        if sheet.is_changed && !is_party {
            sheet.change(|value| repoint(value, loser, survivor));
        }
    }
    Ok(is_more)
}

/// A record that nobody has heard of before, as the message states it and no more.
async fn ensure(
    planned: &mut Planned<'_>,
    key: &ResourceKey,
    identifiers: &[Value],
) -> Result<(), Problem> {
    let sheet = planned.desk.open(key).await?;
    if sheet.value.is_some() {
        return Ok(());
    }
    // Types that need more than an id cannot be made up.
    if key.resource_type.name() != "Patient" {
        return Ok(());
    }
    let mut value = Value::object([
        ("resourceType", Value::from("Patient")),
        ("id", Value::from(key.id.as_str())),
    ]);
    if let (false, Some(map)) = (identifiers.is_empty(), value.as_object_mut()) {
        map.insert("identifier", Value::Array(identifiers.to_vec()));
    }
    sheet.put(value);
    Ok(())
}

/// What the record of the new number lacks it takes from the one of the old.
async fn fill(
    planned: &mut Planned<'_>,
    survivor: &ResourceKey,
    content: &Value,
) -> Result<(), Problem> {
    let sheet = planned.desk.open(survivor).await?;
    sheet.change(|value| {
        let (Some(map), Some(content)) = (value.as_object_mut(), content.as_object()) else {
            return;
        };
        for (name, member) in content.iter() {
            let is_own = matches!(
                name,
                "resourceType" | "id" | "meta" | "identifier" | "link" | "active" | "text"
            );
            if !is_own && map.get(name).is_none() {
                map.insert(name, member.clone());
            }
        }
    });
    Ok(())
}

fn touched(planned: &mut Planned<'_>, key: &ResourceKey) {
    if !planned.made.contains(key) {
        planned.made.push(key.clone());
    }
}

/// Something gets another owner, and all that belongs to it.
async fn move_to(
    server: &Server,
    planned: &mut Planned<'_>,
    action: &Action,
    from: Option<ResourceKey>,
    into: &ResourceKey,
) -> Result<(), Problem> {
    let owner = planned.known.meant(into);
    let Some(what) = &action.what else {
        let subjects = from.into_iter().chain([owner]).collect();
        let text = "identifiers are to be moved from one person to another; a person must decide what belongs to them";
        ask(planned, "move-identifiers", subjects, text);
        return Ok(());
    };
    let what = planned.known.record(&known::key(what)?);
    if let Some((_, Some(known))) = planned.known.owners.get(&what)
        && let (Some(known), Some(given)) = (Revision::parse(known), &action.revision)
        && given.is_older_than(&known)
    {
        let text = format!("{what}: it was moved later by the source's own time; it stays");
        planned
            .issues
            .push(Issue::new(Severity::Information, "superseded", text));
        return Ok(());
    }
    ensure(planned, &owner, &[]).await?;
    let sheet = planned.desk.open(&what).await?;
    sheet.change(|value| set_subject(value, &owner));
    touched(planned, &what);
    let found = server
        .store
        .referrers(&what, &HISTORICAL, REPOINTED_MAX + 1)
        .await;
    let found = found.map_err(|e| store_problem(&e))?;
    if found.len() > REPOINTED_MAX {
        let text = "too much belongs to what is moved for one commit; the rest keeps its person until a person decides";
        ask(
            planned,
            "move-incomplete",
            vec![what.clone(), owner.clone()],
            text,
        );
    }
    for key in found.into_iter().take(REPOINTED_MAX) {
        let sheet = planned.desk.open(&key).await?;
        sheet.change(|value| set_subject(value, &owner));
        touched(planned, &key);
    }
    let revision = action.revision.as_ref().map(ToString::to_string);
    planned
        .known
        .owners
        .insert(what.clone(), (owner.clone(), revision.clone()));
    planned.owners.push(Owner {
        what,
        owner,
        revision,
    });
    Ok(())
}

/// Whose something is: the person in `subject`, `patient` or `beneficiary`.
pub fn set_subject(value: &mut Value, owner: &ResourceKey) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    for name in ["subject", "patient", "beneficiary"] {
        match map.get_mut(name) {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| point(item, owner)),
            Some(item) => point(item, owner),
            None => {}
        }
    }
}

fn point(reference: &mut Value, owner: &ResourceKey) {
    let is_person = reference
        .get("reference")
        .and_then(Value::as_str)
        .and_then(ResourceKey::parse)
        .is_some_and(|key| key.resource_type == owner.resource_type);
    if let (true, Some(map)) = (is_person, reference.as_object_mut()) {
        map.insert("reference", Value::from(owner.to_string()));
    }
}

/// Two records are, or are not, about one person.
async fn link(
    server: &Server,
    planned: &mut Planned<'_>,
    intake: &Intake,
    action: &Action,
    from: &ResourceKey,
    into: &ResourceKey,
) -> Result<(), Problem> {
    let (one, other) = (planned.known.record(from), planned.known.record(into));
    if planned.known.meant(&one) == planned.known.meant(&other) {
        if action.kind == ActionKind::Unlink {
            let text = "the two records were merged; which of the merged results belong to whom only a person can tell";
            ask(planned, "unlink-after-merge", vec![one, other], text);
        }
        return Ok(());
    }
    // The pair has a time of its own, kept under the smaller of the two.
    let (low, high) = if one <= other {
        (&one, &other)
    } else {
        (&other, &one)
    };
    let pair = format!("{} link {high}", intake.feed);
    let known = server.store.known_revisions(&pair, vec![low.clone()]).await;
    let known = known.map_err(|e| store_problem(&e))?;
    let known = known
        .first()
        .and_then(|known| Revision::parse(&known.revision));
    if let (Some(known), Some(given)) = (known, &action.revision)
        && given.is_older_than(&known)
    {
        let text = "the two records were linked or unlinked later by the source's own time";
        planned
            .issues
            .push(Issue::new(Severity::Information, "superseded", text));
        return Ok(());
    }
    for (key, to) in [(&one, &other), (&other, &one)] {
        ensure(planned, key, &[]).await?;
        let sheet = planned.desk.open(key).await?;
        sheet.change(|value| match action.kind {
            ActionKind::Link => links::see_also(value, to),
            _ => links::not_see_also(value, to),
        });
        touched(planned, key);
    }
    if let Some(revision) = &action.revision {
        let time = (low.clone(), pair, revision.to_string());
        planned.pair_times.push(time);
    }
    Ok(())
}
