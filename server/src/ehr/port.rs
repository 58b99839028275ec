//! The server's side of the EHR adapter: cursors, crosswalk, raw pages and accounting in the commit of the resources.
//!
//! Contract: E-1 to E-6 of `adapters/ehr/README.md`; `ehr::contract::check` tests it. Everything is written through
//! the one write path.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conformance::Definitions;
use ehr::clock::Later;
use ehr::port::{
    Action, Known, Member, Outdated, PageCommit, Port, PortError, SourceKey, WalkKey, WalkState,
    Write,
};
use ehr::tenant::{IdentifierKey, Persona};
use fhir_core::access::{Access, Channel};
use fhir_core::datatype::date::{Zone, parse_search};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_core::search::predicate::{Comparison, DateTest, Predicate, TokenTest, ValueTest};
use fhir_store::{
    EhrKey, EhrPage, EhrRecord, EhrReview, EhrWalk, Only, SearchQuery, StoreError, TotalMode,
};

use super::state;
use crate::app::Server;
use crate::interaction::Interaction;
use crate::write::{self, Attempts, Draft, Failure, Need, Plan, Step};

/// Patients looked at for one identifier; more are "several" in any case.
const CANDIDATES_MAX: usize = 20;
/// Times a page waits for room in the write queue, [`ROOM_WAIT`] each: half a minute, then the run stops and goes on
/// later.
const ROOM_WAITS_MAX: usize = 300;
/// Patients looked at for one birth date; a city has more, and a person cannot decide about so many.
const BORN_MAX: usize = 200;
/// Checked resources held at once: the pages of a few searches at the same time.
const CHECKED_MAX: usize = 20_000;
/// Bytes of `YYYY-MM-DD`.
const DAY_BYTES: usize = 10;
/// Copies made again in one round.
const OUTDATED_MAX: usize = 1_000;
/// Faults of one resource that are told; the first ones show what is wrong.
const ISSUES_TOLD_MAX: usize = 5;
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// The port of one tenant.
pub struct ServerPort {
    server: Arc<Server>,
    access: Access,
    /// Resources that [`Port::accepts`] has read and checked, until they are stored: a first copy of an EHR would read
    /// and check everything twice otherwise.
    checked: Mutex<HashMap<ResourceKey, Arc<Document>>>,
}

impl ServerPort {
    /// The port that a tenant writes through; its name is in the audit trail.
    pub fn new(server: Arc<Server>, tenant: &str) -> Self {
        let agent = format!("ehr:{tenant}");
        let access = Access::full(agent.clone(), Channel::Feed(agent));
        Self {
            server,
            access,
            checked: Mutex::default(),
        }
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<ResourceKey, Arc<Document>>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The write of a resource; checked already when its very text was.
    fn put(&self, key: ResourceKey, body: &Value, is_new: bool) -> Result<Draft, PortError> {
        let text = body.to_bytes();
        let checked = self.checked().remove(&key);
        let step = match checked.filter(|document| document.text().as_bytes() == text) {
            Some(document) => Step::PutChecked(document),
            None => Step::Put(Arc::new(Document::parse(&text).map_err(|error| {
                PortError::Invalid(format!("{}: {error}", key.resource_type.name()))
            })?)),
        };
        Ok(Draft {
            key,
            step,
            need: if is_new { Need::NewId } else { Need::Nothing },
            interaction: Interaction::Update,
        })
    }

    async fn read_walk(&self, key: &WalkKey) -> Result<WalkState, PortError> {
        let row = self.server.store.ehr_walk(state::walk_key(key)).await;
        match row.map_err(unavailable)? {
            Some(row) => state::read(row.revision, &row.state).map_err(PortError::Unavailable),
            None => Ok(WalkState::default()),
        }
    }

    /// The rows of records, of every persona, and the rows that replace them.
    async fn rows(&self, keys: &[SourceKey]) -> Result<HashMap<EhrKey, EhrRecord>, PortError> {
        let of_all = keys.iter().flat_map(|key| {
            state::PERSONAS.map(|persona| state::record_key(&with_persona(key, persona)))
        });
        let rows = self.server.store.ehr_known(of_all.collect()).await;
        let rows = rows.map_err(unavailable)?.into_iter();
        Ok(rows.map(|row| (row.key, row)).collect())
    }

    async fn read_known(&self, keys: &[SourceKey]) -> Result<Vec<Option<Known>>, PortError> {
        let rows = self.rows(keys).await?;
        Ok(keys.iter().map(|key| known(key, &rows)).collect())
    }

    async fn read_members(&self, key: &WalkKey) -> Result<Vec<Member>, PortError> {
        let rows = self.server.store.ehr_members(state::walk_key(key)).await;
        let member = |row: fhir_store::EhrMember| {
            let persona = state::persona(&row.persona);
            let persona = persona.ok_or_else(|| damaged("a persona"))?;
            Ok(Member {
                source: SourceKey {
                    tenant: row.tenant,
                    persona,
                    resource_type: row.resource_type,
                    id: row.source,
                },
                local_id: row.local,
                seen_in: u64::try_from(row.seen_in).unwrap_or(0),
                missed: u32::try_from(row.missed).unwrap_or(u32::MAX),
            })
        };
        rows.map_err(unavailable)?.into_iter().map(member).collect()
    }

    async fn read_body(&self, resource_type: &str, id: &str) -> Result<Option<Value>, PortError> {
        let key = resource_key(resource_type, id)?;
        let stored = self.server.current(&key).await.map_err(refused)?;
        let live = stored.filter(|stored| !stored.deleted);
        live.map(|stored| Value::parse(&stored.json))
            .transpose()
            .map_err(|_| damaged("a resource"))
    }

    async fn carriers(
        &self,
        identifier: &IdentifierKey,
        except_tenant: &str,
    ) -> Result<Vec<String>, PortError> {
        let found = carriers(&self.server, identifier).await?;
        let own = self
            .server
            .store
            .ehr_patients_of(except_tenant, found.clone());
        let own: HashSet<String> = own.await.map_err(unavailable)?.into_iter().collect();
        Ok(found.into_iter().filter(|id| !own.contains(id)).collect())
    }

    async fn read_born(
        &self,
        day: &str,
        except_tenant: &str,
    ) -> Result<Vec<(String, Value)>, PortError> {
        // A birth date of a year or a month only fits half a city.
        let Some(date) = parse_search(day).filter(|_| day.len() == DAY_BYTES) else {
            return Ok(Vec::new());
        };
        let range = date.range(Zone::UTC);
        let test = ValueTest::Date(DateTest {
            comparison: Comparison::Equal,
            start: range.start,
            end: range.end,
        });
        let found = search_patients(&self.server, "birthdate", test, BORN_MAX).await?;
        let ids = found.iter().map(|(id, _)| id.clone()).collect();
        let own = self.server.store.ehr_patients_of(except_tenant, ids);
        let own: HashSet<String> = own.await.map_err(unavailable)?.into_iter().collect();
        let others = found.into_iter().filter(|(id, _)| !own.contains(id));
        others
            .map(|(id, json)| Ok((id, Value::parse(&json).map_err(|_| damaged("a resource"))?)))
            .collect()
    }

    async fn store_page(&self, page: PageCommit) -> Result<(), PortError> {
        let sources: Vec<SourceKey> = page.writes.iter().map(|w| w.source.clone()).collect();
        let rows = self.rows(&sources).await?;
        let stored = stored_page(&page);
        let mut attempts = Attempts::new(&self.server);
        let mut is_first = true;
        let mut waits = 0;
        loop {
            let plan = self.plan(&page, &rows, is_first)?;
            is_first = false;
            match write::submit_page(&self.server, &self.access, plan, stored.clone()).await {
                Ok(_) => return Ok(()),
                Err(Failure::Moved) => {
                    let now = self.read_walk(&page.walk).await?;
                    if now.revision + 1 != page.state.revision {
                        return Err(PortError::Moved);
                    }
                    attempts.again().await.map_err(refused)?;
                }
                Err(Failure::Problem(problem)) if problem.kind() == ErrorKind::OVERLOADED => {
                    waits += 1;
                    if waits > ROOM_WAITS_MAX {
                        return Err(refused(problem));
                    }
                    tokio::time::sleep(ROOM_WAIT).await;
                }
                Err(Failure::Problem(problem)) => return Err(refused(problem)),
                Err(Failure::Repeated(_)) => return Err(damaged("a page")),
            }
        }
    }

    /// The resources of a page as drafts, the last word about each. What no row knows is taken for new at first, so that
    /// nothing is read for it; if it is there all the same, the commit is refused and the next attempt reads.
    fn plan(
        &self,
        page: &PageCommit,
        rows: &HashMap<EhrKey, EhrRecord>,
        is_first: bool,
    ) -> Result<Plan, PortError> {
        let is_known: HashSet<&str> = rows.values().map(|row| row.local.as_str()).collect();
        let mut last: BTreeMap<(&str, &str), &Write> = BTreeMap::new();
        for write in &page.writes {
            last.insert((&write.source.resource_type, &write.local_id), write);
        }
        let mut drafts = Vec::with_capacity(last.len() + 2);
        for write in &page.writes {
            // In the order of the page, each once.
            let Some(write) = last.remove(&(&*write.source.resource_type, &*write.local_id)) else {
                continue;
            };
            let key = resource_key(&write.source.resource_type, &write.local_id)?;
            let is_new = is_first && !is_known.contains(write.local_id.as_str());
            drafts.push(match &write.action {
                Action::Put(body) => self.put(key, body, is_new)?,
                Action::Keep => continue,
                Action::Delete => Draft {
                    key,
                    step: Step::Delete,
                    need: Need::Nothing,
                    interaction: Interaction::Delete,
                },
            });
        }
        for (about, is_new) in [(&page.provenance, is_first), (&page.evidence, false)] {
            let Some(about) = about else { continue };
            let text = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or_default();
            let key = resource_key(text("resourceType"), text("id"))?;
            drafts.push(self.put(key, about, is_new)?);
        }
        Ok(Plan {
            drafts,
            ..Plan::default()
        })
    }

    async fn read_walks(&self, tenant: &str) -> Result<Vec<(WalkKey, WalkState)>, PortError> {
        let rows = self.server.store.ehr_walks(tenant, None).await;
        rows.map_err(unavailable)?.iter().map(walk_of).collect()
    }
}

/// A walk and its state out of the row that holds them.
///
/// # Errors
/// A row that we did not write.
pub fn walk_of(row: &EhrWalk) -> Result<(WalkKey, WalkState), PortError> {
    let persona = state::persona(&row.persona).ok_or_else(|| damaged("a persona"))?;
    let key = WalkKey {
        tenant: row.tenant.clone(),
        persona,
        subject: row.subject.clone(),
        resource_type: row.resource_type.clone(),
        category: row.category.clone(),
    };
    let state = state::read(row.revision, &row.state).map_err(PortError::Unavailable)?;
    Ok((key, state))
}

/// What is known of a record out of the rows around it; the meaning of E-4 and E-5.
fn known(key: &SourceKey, rows: &HashMap<EhrKey, EhrRecord>) -> Option<Known> {
    let row_of = |persona| rows.get(&state::record_key(&with_persona(key, persona)));
    let is_full = |row: &&EhrRecord| !row.masked && !row.deleted;
    let others: Vec<&EhrRecord> = state::PERSONAS
        .into_iter()
        .filter(|persona| *persona != key.persona)
        .filter_map(row_of)
        .collect();
    let own = row_of(key.persona);
    let current = match own {
        Some(row) => match &row.replaced_by {
            Some(later) => rows.get(later)?,
            None => row,
        },
        None => others
            .iter()
            .copied()
            .find(|row| is_full(row))
            .or_else(|| others.first().copied())?,
    };
    Some(Known {
        local_id: current.local.clone(),
        hash: current.hash.clone(),
        last_updated: current.updated,
        rules: current.rules.clone(),
        masked: current.masked,
        deleted: current.deleted,
        fuller_elsewhere: others.iter().copied().any(|row| is_full(&row)),
        other_persona: own.is_none(),
        replaced: own.is_some_and(|row| row.replaced_by.is_some()),
    })
}

/// The page as the store keeps it.
fn stored_page(page: &PageCommit) -> EhrPage {
    let walk = &page.walk;
    let keys = |sources: &[SourceKey]| sources.iter().map(state::record_key).collect();
    let key = |write: &Write| state::record_key(&write.source);
    let replaced: Vec<_> = page
        .writes
        .iter()
        .filter_map(|w| Some((state::record_key(w.replaces.as_ref()?), key(w))))
        .collect();
    let deleted = page.writes.iter().filter(|w| w.action == Action::Delete);
    let gone = deleted.map(key).chain(replaced.iter().map(|(old, _)| *old));
    let review = |review: &ehr::port::Review| EhrReview {
        key: state::key(&["review", &walk.tenant, review.kind, &review.resource]),
        tenant: walk.tenant.clone(),
        kind: review.kind.to_owned(),
        resource: review.resource.clone(),
        detail: review.detail.clone(),
        at: fhir_core::ids::Instant(0),
    };
    EhrPage {
        walk: EhrWalk {
            key: state::walk_key(walk),
            tenant: walk.tenant.clone(),
            persona: walk.persona.as_str().to_owned(),
            subject: walk.subject.clone(),
            resource_type: walk.resource_type.clone(),
            category: walk.category.clone(),
            revision: i64::try_from(page.state.revision).unwrap_or(i64::MAX),
            state: state::write(&page.state),
        },
        raw: if is_worth_keeping(page) {
            page.raw.clone()
        } else {
            bytes::Bytes::new()
        },
        records: page.writes.iter().map(record).collect(),
        gone: gone.collect(),
        replaced,
        seen: keys(&page.seen),
        sweep: i64::try_from(page.state.sweep).unwrap_or(i64::MAX),
        missed: keys(&page.missed),
        counts: state::stored_counts(&page.counts),
        reviews: page.reviews.iter().map(review).collect(),
    }
}

/// A page that says again what earlier pages said is not kept a second time: sweeps bring thousands of them.
fn is_worth_keeping(page: &PageCommit) -> bool {
    let counts = &page.counts;
    let is_plain = page.state.failure.is_none() && page.state.gaps.is_empty();
    !(is_plain && page.writes.is_empty() && counts.received == counts.unchanged)
}

fn record(write: &Write) -> EhrRecord {
    let source = &write.source;
    EhrRecord {
        key: state::record_key(source),
        tenant: source.tenant.clone(),
        persona: source.persona.as_str().to_owned(),
        resource_type: source.resource_type.clone(),
        source: source.id.clone(),
        local: write.local_id.clone(),
        hash: write.hash.clone(),
        updated: write.last_updated,
        version: write.version.clone(),
        rules: write.rules.clone(),
        masked: write.masked,
        deleted: write.action == Action::Delete,
        replaced_by: None,
        raw_at: write.raw_at.clone(),
    }
}

/// Ids of local Patients that carry the identifier.
async fn carriers(server: &Server, identifier: &IdentifierKey) -> Result<Vec<String>, PortError> {
    let test = TokenTest::SystemCode(identifier.system.clone(), identifier.value.clone());
    let found = search_patients(server, "identifier", ValueTest::Token(test), CANDIDATES_MAX);
    Ok(found.await?.into_iter().map(|(id, _)| id).collect())
}

/// Patients that meet one test, with their bodies.
async fn search_patients(
    server: &Server,
    name: &str,
    test: ValueTest,
    limit: usize,
) -> Result<Vec<(String, bytes::Bytes)>, PortError> {
    let patient = resource_key("Patient", "x")?.resource_type;
    let param = Definitions::r4().search_param(patient, name);
    let param = param.ok_or_else(|| damaged("no such search parameter"))?;
    let predicate = Predicate::Value {
        param: param.id,
        test,
    };
    let page = server.store.search(SearchQuery {
        resource_type: patient,
        predicate,
        sort: Vec::new(),
        limit,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    });
    let page = page.await.map_err(unavailable)?;
    let matches = page.matches.into_iter();
    Ok(matches
        .map(|found| (found.key.id.to_string(), found.json))
        .collect())
}

/// What is wrong with a resource and where, without its values.
fn places(problem: &Problem) -> String {
    let issues = problem.issues.iter().take(ISSUES_TOLD_MAX).map(|issue| {
        let place = issue.expression.as_deref().unwrap_or("the resource");
        format!("{place}: {}", issue.diagnostics)
    });
    issues.collect::<Vec<_>>().join("; ")
}

fn with_persona(key: &SourceKey, persona: Persona) -> SourceKey {
    SourceKey {
        persona,
        ..key.clone()
    }
}

fn resource_key(resource_type: &str, id: &str) -> Result<ResourceKey, PortError> {
    let known = Definitions::r4().resource_type(resource_type);
    match (known, ResourceId::parse(id)) {
        (Some(resource_type), Some(id)) => Ok(ResourceKey { resource_type, id }),
        _ => Err(PortError::Invalid(
            "a resource has no R4 type or no id".to_owned(),
        )),
    }
}

fn damaged(what: &str) -> PortError {
    PortError::Unavailable(format!("the database holds {what} that cannot be read"))
}

fn unavailable(error: StoreError) -> PortError {
    PortError::Unavailable(error.to_string())
}

fn refused(problem: Problem) -> PortError {
    if problem.status() >= 500 {
        PortError::Unavailable(problem.to_string())
    } else {
        PortError::Invalid(problem.to_string())
    }
}

impl Port for ServerPort {
    fn walk(&self, key: &WalkKey) -> Later<'_, Result<WalkState, PortError>> {
        let key = key.clone();
        Box::pin(async move { self.read_walk(&key).await })
    }

    fn known(&self, keys: &[SourceKey]) -> Later<'_, Result<Vec<Option<Known>>, PortError>> {
        let keys = keys.to_vec();
        Box::pin(async move { self.read_known(&keys).await })
    }

    fn members(&self, key: &WalkKey) -> Later<'_, Result<Vec<Member>, PortError>> {
        let key = key.clone();
        Box::pin(async move { self.read_members(&key).await })
    }

    fn body(
        &self,
        resource_type: &str,
        local_id: &str,
    ) -> Later<'_, Result<Option<Value>, PortError>> {
        let (resource_type, local_id) = (resource_type.to_owned(), local_id.to_owned());
        Box::pin(async move { self.read_body(&resource_type, &local_id).await })
    }

    fn patients_with(
        &self,
        identifier: &IdentifierKey,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<String>, PortError>> {
        let (identifier, tenant) = (identifier.clone(), except_tenant.to_owned());
        Box::pin(async move { self.carriers(&identifier, &tenant).await })
    }

    fn patients_born(
        &self,
        day: &str,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<(String, Value)>, PortError>> {
        let (day, tenant) = (day.to_owned(), except_tenant.to_owned());
        Box::pin(async move { self.read_born(&day, &tenant).await })
    }

    fn outdated(
        &self,
        tenant: &str,
        persona: Persona,
        rules: &str,
        after: Option<&SourceKey>,
    ) -> Later<'_, Result<Vec<Outdated>, PortError>> {
        let (tenant, rules) = (tenant.to_owned(), rules.to_owned());
        let after = after.map(state::record_key);
        Box::pin(async move {
            let store = &self.server.store;
            let rows = store.ehr_outdated(&tenant, persona.as_str(), &rules, after, OUTDATED_MAX);
            let rows = rows.await.map_err(unavailable)?;
            let outdated = rows.into_iter().map(|(row, raw)| Outdated {
                source: SourceKey {
                    tenant: row.tenant,
                    persona,
                    resource_type: row.resource_type,
                    id: row.source,
                },
                hash: row.hash,
                raw,
            });
            Ok(outdated.collect())
        })
    }

    fn written(&self, tenant: &str) -> Later<'_, Result<BTreeMap<String, String>, PortError>> {
        let tenant = tenant.to_owned();
        Box::pin(async move {
            super::write_back::written(&self.server, &tenant)
                .await
                .map_err(unavailable)
        })
    }

    fn accepts(&self, resource: &Value) -> Result<(), String> {
        let name = resource.get("resourceType").and_then(Value::as_str);
        let id = resource.get("id").and_then(Value::as_str).unwrap_or("x");
        let key = resource_key(name.unwrap_or_default(), id).map_err(|e| e.to_string())?;
        let document = Document::parse(&resource.to_bytes()).map_err(|e| e.to_string())?;
        write::check_resource(&self.server, key.resource_type, document.root())
            .map_err(|problem| places(&problem))?;
        let mut checked = self.checked();
        if checked.len() >= CHECKED_MAX {
            // Pages that were never stored; theirs are read again.
            checked.clear();
        }
        checked.insert(key, Arc::new(document));
        Ok(())
    }

    fn commit(&self, page: PageCommit) -> Later<'_, Result<(), PortError>> {
        Box::pin(async move { self.store_page(page).await })
    }

    fn walks(&self, tenant: &str) -> Later<'_, Result<Vec<(WalkKey, WalkState)>, PortError>> {
        let tenant = tenant.to_owned();
        Box::pin(async move { self.read_walks(&tenant).await })
    }
}

#[cfg(test)]
mod tests;
