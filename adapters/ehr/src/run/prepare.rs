//! From a page to the writes it calls for: check, compare, clean, point references, count.
//!
//! Spec: <https://hl7.org/fhir/R4/observation-definitions.html#Observation.subject>.
//! Leaves out storing: nothing here changes anything.

use std::collections::BTreeMap;

use fhir_core::ids::Instant;
use fhir_core::json::Value;

use super::{Run, store};
use crate::EhrError;
use crate::identity::{self, content_hash, earlier_ids, local_id};
use crate::likeness;
use crate::normalise::{Clean, QUIRK_SYSTEM, normalise, string};
use crate::page::Page;
use crate::plan::Task;
use crate::port::{Action, Counts, Known, Review, SourceKey, WalkKey, Write};
use crate::profile::Alias;
use crate::time;
use crate::write_back::OWN_SYSTEM;

/// Candidates named in one question; more do not help to decide.
const LIKELY_TOLD_MAX: usize = 10;

/// What a page calls for.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) writes: Vec<Write>,
    pub(super) seen: Vec<SourceKey>,
    pub(super) counts: Counts,
    pub(super) quirks: Vec<&'static str>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) reviews: Vec<Review>,
}

impl Prepared {
    /// Counts a resource that cannot be used, and asks a person about it.
    fn reject(&mut self, resource: String, why: &str) {
        self.counts.rejected += 1;
        self.reviews.push(Review {
            kind: "rejected",
            resource,
            detail: why.to_owned(),
        });
    }
}

/// A resource of the page that may be stored.
struct Incoming {
    source: SourceKey,
    raw: Value,
    raw_at: std::ops::Range<usize>,
    hash: String,
    version: Option<String>,
    last_updated: Option<Instant>,
}

/// What happens to a resource.
enum Fate {
    New,
    Changed { replaces: Option<SourceKey> },
    Unchanged,
    Stale,
    Masked,
}

impl Run {
    pub(super) async fn prepare(&self, task: &Task, page: &Page) -> Result<Prepared, EhrError> {
        let walk = &task.walk;
        let mut prepared = Prepared::default();
        let mut incoming = Vec::new();
        for span in &page.resources {
            prepared.counts.received += 1;
            match self.incoming(task, page, span.clone()) {
                Some((one, patient)) if self.belongs(&task.walk.subject, &patient).await? => {
                    incoming.push(one);
                }
                Some((one, _)) => {
                    let local = local_id(&self.tenant.name, &walk.resource_type, &one.source.id);
                    let resource = format!("{}/{local}", walk.resource_type);
                    prepared.reject(resource, "it names another patient than the one asked for");
                }
                None => {
                    let why = "it is not readable, of another type, or has no id or patient";
                    prepared.reject(self.label(task), why);
                }
            }
        }
        let mut known = self.look_up(&incoming).await?;
        let written = self.written().await?;
        let now = self.source_now();
        for one in incoming {
            prepared.seen.push(one.source.clone());
            let mut clean = normalise(&one.raw, &self.tenant, now);
            if let Some(own) = written.get(&one.source.id)
                && one.source.resource_type == "Observation"
            {
                name_own(&mut clean, own);
            }
            let fate = self.fate(&one, clean.masked, &known);
            let replaces = match fate {
                Fate::New => None,
                Fate::Changed { ref replaces } => replaces.clone(),
                Fate::Unchanged => {
                    prepared.counts.unchanged += 1;
                    self.merges_of(&one, &mut prepared);
                    continue;
                }
                Fate::Stale => {
                    prepared.counts.stale += 1;
                    continue;
                }
                Fate::Masked => {
                    prepared.counts.masked += 1;
                    continue;
                }
            };
            self.merges_of(&one, &mut prepared);
            let write = self
                .write(
                    one,
                    std::mem::take(&mut clean.resource),
                    clean.masked,
                    replaces,
                    &known,
                    &mut prepared,
                )
                .await?;
            if let Action::Put(resource) = &write.action
                && let Err(why) = self.port.accepts(resource)
            {
                let resource = format!("{}/{}", write.source.resource_type, write.local_id);
                prepared.reject(resource, &why);
                continue;
            }
            match fate {
                Fate::New => prepared.counts.new += 1,
                _ => prepared.counts.changed += 1,
            }
            if clean.quirks.contains("late-filed") {
                prepared.counts.late_filed += 1;
            }
            prepared.quirks.extend(clean.quirks.iter());
            known.insert(
                write.source.clone(),
                Known {
                    local_id: write.local_id.clone(),
                    hash: write.hash.clone(),
                    last_updated: write.last_updated,
                    rules: write.rules.clone(),
                    masked: write.masked,
                    deleted: false,
                    fuller_elsewhere: false,
                    other_persona: false,
                    replaced: false,
                },
            );
            prepared.writes.push(write);
        }
        Ok(prepared)
    }

    /// The resource if it is of the type asked for and has an id, with the patient it is about.
    fn incoming(
        &self,
        task: &Task,
        page: &Page,
        raw_at: std::ops::Range<usize>,
    ) -> Option<(Incoming, String)> {
        let text = page.text.as_str().get(raw_at.clone())?;
        let raw = Value::parse(text.as_bytes()).ok()?;
        let walk = &task.walk;
        if string(&raw, "resourceType")? != walk.resource_type {
            return None;
        }
        let id = string(&raw, "id")?.to_owned();
        let patient = if walk.resource_type == "Patient" {
            id.clone()
        } else {
            patient_of(&raw)?
        };
        if id.is_empty() {
            return None;
        }
        let meta = raw.get("meta");
        let of_meta = |name: &str| meta.and_then(|meta| string(meta, name));
        let one = Incoming {
            source: self.source(&walk.resource_type, &id),
            hash: content_hash(&raw.to_bytes()),
            version: of_meta("versionId").map(str::to_owned),
            last_updated: of_meta("lastUpdated").and_then(time::parse_fhir),
            raw,
            raw_at,
        };
        Some((one, patient))
    }

    /// A row of another patient would be shown in the wrong record. Rows of a survivor may still name the patient
    /// that was merged into it; a group holds everybody.
    async fn belongs(&self, subject: &str, patient: &str) -> Result<bool, EhrError> {
        let holds_everybody =
            subject.starts_with(super::bulk::GROUP) || subject.starts_with(WalkKey::OWN_WORK);
        if holds_everybody || self.is_same_person(subject, patient) {
            return Ok(true);
        }
        let tenant = &self.tenant.name;
        let old = local_id(tenant, "Patient", patient);
        let survivor = format!("Patient/{}", local_id(tenant, "Patient", subject));
        let body = self.port.body("Patient", &old).await.map_err(store)?;
        let links = body.as_ref().and_then(|body| body.get("link"));
        let links = links.and_then(Value::as_array).unwrap_or_default();
        Ok(links.iter().any(|link| {
            let other = link
                .get("other")
                .and_then(|other| string(other, "reference"));
            string(link, "type") == Some("replaced-by") && other == Some(&survivor)
        }))
    }

    fn source(&self, resource_type: &str, id: &str) -> SourceKey {
        SourceKey {
            tenant: self.tenant.name.clone(),
            persona: self.tenant.persona,
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
        }
    }

    /// Everything known of the records of the page, of their earlier ids, and of records they point to whose ids
    /// may have changed.
    async fn look_up(&self, incoming: &[Incoming]) -> Result<BTreeMap<SourceKey, Known>, EhrError> {
        let alias = self.tenant.profile.alias;
        let mut keys: Vec<SourceKey> = Vec::new();
        for one in incoming {
            keys.push(one.source.clone());
            let earlier = earlier_ids(alias, &one.source.resource_type, &one.source.id);
            keys.extend(earlier.iter().map(|id| self.source("Observation", id)));
            if alias != Alias::None {
                let mut ids = Vec::new();
                observations_named(&one.raw, &mut ids);
                keys.extend(ids.iter().map(|id| self.source("Observation", id)));
            }
        }
        keys.sort();
        keys.dedup();
        let known = self.port.known(&keys).await.map_err(store)?;
        let pairs = keys.into_iter().zip(known);
        Ok(pairs
            .filter_map(|(key, known)| Some((key, known?)))
            .collect())
    }

    fn fate(&self, one: &Incoming, masked: bool, known: &BTreeMap<SourceKey, Known>) -> Fate {
        let Some(own) = known.get(&one.source) else {
            let earlier = earlier_ids(
                self.tenant.profile.alias,
                &one.source.resource_type,
                &one.source.id,
            );
            let replaces = earlier
                .iter()
                .map(|id| self.source(&one.source.resource_type, id))
                .find(|key| known.get(key).is_some_and(|known| !known.replaced));
            return match replaces {
                Some(key) => Fate::Changed {
                    replaces: Some(key),
                },
                None => Fate::New,
            };
        };
        if own.replaced {
            return Fate::Stale;
        }
        if masked && own.fuller_elsewhere {
            return Fate::Masked;
        }
        if own.other_persona {
            return Fate::New;
        }
        if own.deleted {
            return Fate::Changed { replaces: None };
        }
        if masked && !own.masked {
            return Fate::Masked;
        }
        if let (Some(have), Some(got)) = (own.last_updated, one.last_updated)
            && got < have
        {
            return Fate::Stale;
        }
        if own.hash == one.hash && own.rules == self.tenant.rules.version {
            return Fate::Unchanged;
        }
        Fate::Changed { replaces: None }
    }

    async fn write(
        &self,
        one: Incoming,
        mut resource: Value,
        masked: bool,
        replaces: Option<SourceKey>,
        known: &BTreeMap<SourceKey, Known>,
        prepared: &mut Prepared,
    ) -> Result<Write, EhrError> {
        let tenant = &self.tenant;
        let own = known
            .get(&one.source)
            .or_else(|| known.get(replaces.as_ref()?));
        let id = own.map_or_else(
            || local_id(&tenant.name, &one.source.resource_type, &one.source.id),
            |known| known.local_id.clone(),
        );
        identity::rewrite_references(&mut resource, tenant, known);
        if one.source.resource_type == "Patient" {
            let reviews = self.link_certain(&mut resource, &id).await?;
            prepared.reviews.extend(reviews);
            let questions = self.likely_same(&resource, &id).await?;
            prepared.reviews.extend(questions);
        }
        if let Some(members) = resource.as_object_mut() {
            members.insert_first("id", id.as_str().into());
            members.insert_first("resourceType", one.source.resource_type.as_str().into());
        }
        Ok(Write {
            source: one.source,
            local_id: id,
            action: Action::Put(resource),
            hash: one.hash,
            version: one.version,
            last_updated: one.last_updated,
            rules: tenant.rules.version.clone(),
            masked,
            replaces,
            raw_at: one.raw_at,
        })
    }

    /// Links the patient to the one local patient of another tenant that carries the same certain identifier.
    /// Several are nobody: they are counted for review.
    async fn link_certain(
        &self,
        patient: &mut Value,
        local: &str,
    ) -> Result<Vec<Review>, EhrError> {
        let mut reviews = Vec::new();
        for identifier in identity::certain_identifiers(patient, &self.tenant) {
            let found = self
                .port
                .patients_with(&identifier, &self.tenant.name)
                .await;
            match found.map_err(store)?.as_slice() {
                [] => {}
                [one] => identity::link(patient, one, "seealso"),
                several => reviews.push(Review {
                    kind: "identifier-fits-several",
                    resource: format!("Patient/{local}"),
                    detail: format!(
                        "an identifier of {} is also carried by {} local patients: {}",
                        identifier.system,
                        several.len(),
                        several
                            .iter()
                            .map(|id| format!("Patient/{id}"))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                }),
            }
        }
        Ok(reviews)
    }

    /// Local patients of other tenants that are alike enough for a person to look at. Nothing is linked.
    async fn likely_same(&self, patient: &Value, local: &str) -> Result<Vec<Review>, EhrError> {
        let (Some(points_from), Some(day)) = (
            self.tenant.identity.review_from,
            string(patient, "birthDate"),
        ) else {
            return Ok(Vec::new());
        };
        let born = self.port.patients_born(day, &self.tenant.name).await;
        let mut found: Vec<(u32, String, Vec<&str>)> = born
            .map_err(store)?
            .into_iter()
            .filter(|(id, _)| !is_linked(patient, id))
            .map(|(id, other)| {
                let (points, agreed) = likeness::compare(patient, &other);
                (points, id, agreed)
            })
            .filter(|(points, ..)| *points >= points_from)
            .collect();
        found.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| left.1.cmp(&right.1)));
        let more = found.len().saturating_sub(LIKELY_TOLD_MAX);
        let mut told: Vec<String> = found
            .iter()
            .take(LIKELY_TOLD_MAX)
            .map(|(points, id, agreed)| {
                let agreed = agreed.join(", ");
                let of = likeness::POINTS_MAX;
                format!("Patient/{id} ({points} of {of} points: {agreed})")
            })
            .collect();
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        let question = (!told.is_empty()).then(|| Review {
            kind: "may-be-same-person",
            resource: format!("Patient/{local}"),
            detail: told.join("; "),
        });
        Ok(question.into_iter().collect())
    }

    /// A patient that says by itself that it was replaced.
    fn merges_of(&self, one: &Incoming, prepared: &mut Prepared) {
        if one.source.resource_type != "Patient" {
            return;
        }
        let links = one.raw.get("link").and_then(Value::as_array);
        for link in links.unwrap_or_default() {
            let other = link
                .get("other")
                .and_then(|other| string(other, "reference"));
            let survivor = other.and_then(|text| text.rsplit('/').next());
            if let (Some("replaced-by"), Some(survivor)) = (string(link, "type"), survivor) {
                let pair = (one.source.id.clone(), survivor.to_owned());
                prepared.merges.push(pair);
            }
        }
    }
}

/// The row is what we wrote: it carries the identifier of our own Observation, so that nobody counts it twice.
fn name_own(clean: &mut Clean, own: &str) {
    const QUIRK: &str = "written-by-us";
    clean.quirks.insert(QUIRK);
    let tag = Value::object([
        ("system", Value::from(QUIRK_SYSTEM)),
        ("code", QUIRK.into()),
    ]);
    let identifier = Value::object([("system", Value::from(OWN_SYSTEM)), ("value", own.into())]);
    let Some(members) = clean.resource.as_object_mut() else {
        return;
    };
    let meta = members.get_mut("meta").and_then(Value::as_object_mut);
    if let Some(Value::Array(tags)) = meta.and_then(|meta| meta.get_mut("tag")) {
        tags.push(tag);
    }
    if let Some(Value::Array(all)) = members.get_mut("identifier") {
        all.push(identifier);
    }
}

/// The patient is linked to this local one already.
fn is_linked(patient: &Value, id: &str) -> bool {
    let reference = format!("Patient/{id}");
    let links = patient.get("link").and_then(Value::as_array);
    links.unwrap_or_default().iter().any(|link| {
        let other = link
            .get("other")
            .and_then(|other| string(other, "reference"));
        other == Some(&reference)
    })
}

/// The patient a resource is about, as source id.
fn patient_of(raw: &Value) -> Option<String> {
    let subject = raw.get("subject").or_else(|| raw.get("patient"))?;
    let reference = string(subject, "reference")?;
    let mut parts = reference.rsplit('/');
    let id = parts.next()?;
    (parts.next() == Some("Patient")).then(|| id.to_owned())
}

/// Ids of Observations named anywhere in references.
fn observations_named(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter() {
                match member {
                    Value::String(text) if name == "reference" => {
                        let id = text.split("Observation/").nth(1);
                        ids.extend(id.map(str::to_owned));
                    }
                    other => observations_named(other, ids),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| observations_named(item, ids)),
        _ => {}
    }
}
