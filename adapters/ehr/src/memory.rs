//! The port in memory: for tests, dry runs and as the exact meaning of [`crate::port`].
//!
//! Spec: none. Leaves out durability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use conformance::Definitions;
use fhir_core::json::{Document, Value};
use fhir_core::validate::structure;

use crate::clock::Later;
use crate::port::{
    Action, Known, Member, Outdated, PageCommit, Port, PortError, SourceKey, WalkKey, WalkState,
};
use crate::tenant::{IdentifierKey, Persona};

/// Everything in maps.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    walks: BTreeMap<WalkKey, WalkState>,
    rows: BTreeMap<SourceKey, Row>,
    members: BTreeMap<WalkKey, BTreeMap<SourceKey, (u64, u32)>>,
    walks_of: BTreeMap<SourceKey, BTreeSet<WalkKey>>,
    bodies: BTreeMap<(String, String), Body>,
    raw_bytes: u64,
    commits: u64,
    writes: u64,
    refuse_after: Option<u64>,
}

struct Row {
    known: Known,
    replaced_by: Option<SourceKey>,
    /// The bytes of the source; empty when none are kept.
    raw: Bytes,
}

/// Copies handed out at once to be made again.
const OUTDATED_MAX: usize = 50;

/// A resource in memory.
struct Body {
    current: Option<Value>,
    versions: u32,
}

impl Memory {
    /// Refuses every commit after `commits` more, as a killed process would.
    pub fn fail_after(&self, commits: Option<u64>) {
        let mut inner = self.lock();
        inner.refuse_after = commits.map(|more| inner.commits + more);
    }

    /// Live resources of a type, by local id.
    pub fn live(&self, resource_type: &str) -> Vec<(String, Value)> {
        let inner = self.lock();
        let bodies = inner.bodies.iter();
        bodies
            .filter(|((of, _), _)| of == resource_type)
            .filter_map(|((_, id), body)| Some((id.clone(), body.current.clone()?)))
            .collect()
    }

    /// Versions ever written of a resource.
    pub fn versions(&self, resource_type: &str, local_id: &str) -> u32 {
        let inner = self.lock();
        let body = inner
            .bodies
            .get(&(resource_type.to_owned(), local_id.to_owned()));
        body.map_or(0, |body| body.versions)
    }

    /// Commits, writes and raw bytes so far.
    pub fn totals(&self) -> (u64, u64, u64) {
        let inner = self.lock();
        (inner.commits, inner.writes, inner.raw_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn known(&self, key: &SourceKey) -> Option<Known> {
        let full = |row: &Row| !row.known.masked && !row.known.deleted;
        let others: Vec<&Row> = [Persona::System, Persona::Provider, Persona::Patient]
            .into_iter()
            .filter(|persona| *persona != key.persona)
            .filter_map(|persona| {
                let mut other = key.clone();
                other.persona = persona;
                self.rows.get(&other)
            })
            .collect();
        let own = self.rows.get(key);
        let current = match own {
            Some(row) => match &row.replaced_by {
                Some(later) => self.rows.get(later)?,
                None => row,
            },
            None => others
                .iter()
                .find(|row| full(row))
                .or_else(|| others.first())?,
        };
        let mut known = current.known.clone();
        known.fuller_elsewhere = others.iter().any(|row| full(row));
        known.other_persona = own.is_none();
        known.replaced = own.is_some_and(|row| row.replaced_by.is_some());
        Some(known)
    }

    /// Our ids of the tenant's records.
    fn locals_of(&self, tenant: &str) -> BTreeSet<&str> {
        let rows = self.rows.iter().filter(|(key, _)| key.tenant == tenant);
        rows.map(|(_, row)| row.known.local_id.as_str()).collect()
    }

    /// Takes the record out of the walks that `from` names.
    fn leave(&mut self, source: &SourceKey, from: impl Fn(&WalkKey) -> bool) {
        let Some(walks) = self.walks_of.get_mut(source) else {
            return;
        };
        for walk in walks.iter().filter(|walk| from(walk)) {
            if let Some(members) = self.members.get_mut(walk) {
                members.remove(source);
            }
        }
        walks.retain(|walk| !from(walk));
    }

    fn commit(&mut self, page: PageCommit) -> Result<(), PortError> {
        if self.refuse_after.is_some_and(|limit| self.commits >= limit) {
            return Err(PortError::Unavailable("stopped by the test".to_owned()));
        }
        let before = self.walks.get(&page.walk).map_or(0, |state| state.revision);
        if page.state.revision != before + 1 {
            return Err(PortError::Moved);
        }
        let sweep = page.state.sweep;
        for write in page.writes {
            let kept = page.raw.get(write.raw_at.clone()).unwrap_or_default();
            let raw = match self.rows.get(&write.source) {
                Some(row) if page.raw.is_empty() => row.raw.clone(),
                _ => page.raw.slice_ref(kept),
            };
            self.writes += u64::from(write.action != Action::Keep);
            let body = self
                .bodies
                .entry((write.source.resource_type.clone(), write.local_id.clone()))
                .or_insert(Body {
                    current: None,
                    versions: 0,
                });
            let deleted = write.action == Action::Delete;
            match write.action {
                Action::Put(value) => {
                    (body.current, body.versions) = (Some(value), body.versions + 1)
                }
                Action::Delete => (body.current, body.versions) = (None, body.versions + 1),
                Action::Keep => {}
            }
            if deleted {
                self.leave(&write.source, |_| true);
            }
            if let Some(old) = write.replaces {
                self.leave(&old, |_| true);
                if let Some(row) = self.rows.get_mut(&old) {
                    row.replaced_by = Some(write.source.clone());
                }
            }
            let known = Known {
                local_id: write.local_id,
                hash: write.hash,
                last_updated: write.last_updated,
                rules: write.rules,
                masked: write.masked,
                deleted,
                fuller_elsewhere: false,
                other_persona: false,
                replaced: false,
            };
            let row = Row {
                known,
                replaced_by: None,
                raw,
            };
            self.rows.insert(write.source, row);
        }
        for source in page.seen {
            self.leave(&source, |walk| walk.subject != page.walk.subject);
            let walks = self.walks_of.entry(source.clone()).or_default();
            walks.insert(page.walk.clone());
            let members = self.members.entry(page.walk.clone()).or_default();
            members.insert(source, (sweep, 0));
        }
        for source in page.missed {
            let members = self.members.get_mut(&page.walk);
            if let Some(member) = members.and_then(|members| members.get_mut(&source)) {
                member.1 += 1;
            }
        }
        for about in [page.provenance, page.evidence].into_iter().flatten() {
            let text = |name: &str| about.get(name).and_then(Value::as_str).map(str::to_owned);
            let key = (
                text("resourceType").unwrap_or_default(),
                text("id").unwrap_or_default(),
            );
            let body = Body {
                current: Some(about),
                versions: 1,
            };
            self.bodies.insert(key, body);
        }
        self.raw_bytes += page.raw.len() as u64;
        self.commits += 1;
        self.walks.insert(page.walk, page.state);
        Ok(())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Port for Memory {
    fn walk(&self, key: &WalkKey) -> Later<'_, Result<WalkState, PortError>> {
        ready(Ok(self.lock().walks.get(key).cloned().unwrap_or_default()))
    }

    fn known(&self, keys: &[SourceKey]) -> Later<'_, Result<Vec<Option<Known>>, PortError>> {
        let inner = self.lock();
        ready(Ok(keys.iter().map(|key| inner.known(key)).collect()))
    }

    fn members(&self, key: &WalkKey) -> Later<'_, Result<Vec<Member>, PortError>> {
        let inner = self.lock();
        let all = inner.members.get(key).into_iter().flatten();
        let members = all.filter_map(|(source, (seen_in, missed))| {
            Some(Member {
                source: source.clone(),
                local_id: inner.rows.get(source)?.known.local_id.clone(),
                seen_in: *seen_in,
                missed: *missed,
            })
        });
        ready(Ok(members.collect()))
    }

    fn body(
        &self,
        resource_type: &str,
        local_id: &str,
    ) -> Later<'_, Result<Option<Value>, PortError>> {
        let inner = self.lock();
        let key = (resource_type.to_owned(), local_id.to_owned());
        ready(Ok(inner
            .bodies
            .get(&key)
            .and_then(|body| body.current.clone())))
    }

    fn patients_with(
        &self,
        identifier: &IdentifierKey,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<String>, PortError>> {
        let inner = self.lock();
        let own = inner.locals_of(except_tenant);
        let found = inner.bodies.iter().filter(|((of, id), body)| {
            of == "Patient"
                && !own.contains(id.as_str())
                && body
                    .current
                    .as_ref()
                    .is_some_and(|patient| carries(patient, identifier))
        });
        ready(Ok(found.map(|((_, id), _)| id.clone()).collect()))
    }

    fn patients_born(
        &self,
        day: &str,
        except_tenant: &str,
    ) -> Later<'_, Result<Vec<(String, Value)>, PortError>> {
        let inner = self.lock();
        let own = inner.locals_of(except_tenant);
        let found = inner.bodies.iter().filter_map(|((of, id), body)| {
            let patient = body.current.as_ref()?;
            let born = patient.get("birthDate").and_then(Value::as_str) == Some(day);
            (of == "Patient" && born && !own.contains(id.as_str()))
                .then(|| (id.clone(), patient.clone()))
        });
        ready(Ok(found.collect()))
    }

    fn outdated(
        &self,
        tenant: &str,
        persona: Persona,
        rules: &str,
        after: Option<&SourceKey>,
    ) -> Later<'_, Result<Vec<Outdated>, PortError>> {
        let inner = self.lock();
        let found = inner.rows.iter().filter(|(key, row)| {
            key.tenant == tenant
                && key.persona == persona
                && row.known.rules != rules
                && !row.known.deleted
                && row.replaced_by.is_none()
                && after.is_none_or(|after| *key > after)
        });
        let outdated = found.map(|(key, row)| Outdated {
            source: key.clone(),
            hash: row.known.hash.clone(),
            raw: (!row.raw.is_empty()).then(|| row.raw.clone()),
        });
        ready(Ok(outdated.take(OUTDATED_MAX).collect()))
    }

    fn written(&self, _tenant: &str) -> Later<'_, Result<BTreeMap<String, String>, PortError>> {
        ready(Ok(BTreeMap::new()))
    }

    fn accepts(&self, resource: &Value) -> Result<(), String> {
        let name = resource.get("resourceType").and_then(Value::as_str);
        let resource_type = name.and_then(|name| Definitions::r4().resource_type(name));
        let resource_type = resource_type.ok_or("`resourceType` names no R4 type")?;
        let document = Document::parse(&resource.to_bytes()).map_err(|e| e.to_string())?;
        match structure::check(resource_type, document.root()).first() {
            None => Ok(()),
            Some(issue) => Err(format!(
                "{}: {}",
                issue.expression.as_deref().unwrap_or_default(),
                issue.diagnostics
            )),
        }
    }

    fn commit(&self, page: PageCommit) -> Later<'_, Result<(), PortError>> {
        ready(self.lock().commit(page))
    }

    fn walks(&self, tenant: &str) -> Later<'_, Result<Vec<(WalkKey, WalkState)>, PortError>> {
        let inner = self.lock();
        let walks = inner.walks.iter().filter(|(key, _)| key.tenant == tenant);
        ready(Ok(walks
            .map(|(key, state)| (key.clone(), state.clone()))
            .collect()))
    }
}

/// The patient has exactly this identifier.
fn carries(patient: &Value, identifier: &IdentifierKey) -> bool {
    let all = patient.get("identifier").and_then(Value::as_array);
    all.unwrap_or_default().iter().any(|one| {
        one.get("system").and_then(Value::as_str) == Some(&identifier.system)
            && one.get("value").and_then(Value::as_str) == Some(&identifier.value)
    })
}
