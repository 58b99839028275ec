//! Search parameters that clients add by storing SearchParameter resources with status `active`.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>. A new one is indexed behind the request that stored it; it can be searched
//! by when every resource has been looked at, not before, since a search that misses resources is worse than none.
//! `GET [base]/SearchParameter/[id]/$status` tells how far it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use conformance::{Definitions, ParamId, ResourceTypeId, SearchParam};
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::index::Extractor;
use fhir_core::issue::Problem;
use fhir_core::json::Document;
use fhir_core::search::custom::{self, CustomParams, Definition};
use fhir_core::search::predicate::Predicate;
use fhir_store::{Only, SearchQuery, StoreError, TotalMode};

use crate::app::{Server, store_problem};

/// Search parameters that can be added; each makes every write a little dearer.
const DEFINITIONS_MAX: usize = 500;

/// Resources indexed at a time.
const PAGE_RESOURCES: usize = 1_000;

/// What became of a SearchParameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can be searched by.
    Active,
    /// Resources are being indexed for it.
    Indexing,
    /// It cannot be searched by, and why.
    Refused(String),
}

/// The added parameters of a server.
#[derive(Default)]
pub struct Custom {
    now: RwLock<Now>,
    /// Resources indexed by the work under way.
    pub indexed: AtomicU64,
    lane: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Now {
    params: Arc<CustomParams>,
    extractor: Option<Arc<Extractor>>,
    states: Arc<Vec<(ResourceKey, State)>>,
}

/// A definition with its number.
struct Numbered {
    key: ResourceKey,
    definition: Definition,
    number: u16,
    is_complete: bool,
}

impl Custom {
    fn now(&self) -> RwLockReadGuard<'_, Now> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Those that can be searched by.
    pub fn params(&self) -> Arc<CustomParams> {
        Arc::clone(&self.now().params)
    }

    /// What extracts index entries; `None` when there are only official parameters.
    pub fn extractor(&self) -> Option<Arc<Extractor>> {
        self.now().extractor.clone()
    }

    /// What became of a SearchParameter; `None` when it is not active.
    pub fn state(&self, key: &ResourceKey) -> Option<State> {
        let states = Arc::clone(&self.now().states);
        let found = states.iter().find(|(known, _)| known == key);
        found.map(|(_, state)| state.clone())
    }
}

/// Takes up the definitions whose index is complete, so that a server that starts knows them before it answers.
///
/// # Errors
/// The database fails.
pub async fn load(server: &Server) -> Result<(), Problem> {
    let _lane = server.custom.lane.lock().await;
    let (all, mut states) = definitions(server).await?;
    install(server, &all, &mut states);
    Ok(())
}

/// Takes up the definitions as they are stored now; those that are not indexed yet are indexed before it returns.
///
/// # Errors
/// The database fails.
pub async fn refresh(server: &Server) -> Result<(), Problem> {
    let custom = &server.custom;
    let _lane = custom.lane.lock().await;
    let (all, mut states) = definitions(server).await?;
    let failed = |error: StoreError| store_problem(&error);
    let known = server.store.custom_params().await.map_err(failed)?;
    for (number, identity) in known {
        if !all.iter().any(|n| n.definition.identity() == identity) {
            server
                .store
                .retire_custom_param(number)
                .await
                .map_err(failed)?;
        }
    }
    let started_at = (server.clock)();
    install(server, &all, &mut states);
    let new: Vec<&Numbered> = all.iter().filter(|n| !n.is_complete).collect();
    if new.is_empty() {
        return Ok(());
    }
    let types: Vec<ResourceTypeId> = new.iter().map(|n| n.definition.resource_type).collect();
    custom.indexed.store(0, Ordering::Relaxed);
    index(server, &types, None).await?;
    // What was under way with the old definitions when the new ones came is committed by now.
    index(server, &types, Some(started_at)).await?;
    for numbered in &new {
        let number = numbered.number;
        server
            .store
            .set_custom_param(number, true)
            .await
            .map_err(failed)?;
    }
    let all: Vec<Numbered> = all
        .into_iter()
        .map(|numbered| Numbered {
            is_complete: true,
            ..numbered
        })
        .collect();
    states.retain(|(_, state)| *state != State::Indexing);
    install(server, &all, &mut states);
    Ok(())
}

/// Takes up the definitions in the background.
pub fn refresh_soon(server: &Arc<Server>) {
    let task = Arc::clone(server);
    server.runtime.spawn(async move {
        if let Err(error) = refresh(&task).await {
            tracing::error!(%error, "added search parameters cannot be taken up");
        }
    });
}

/// The definitions as stored, with their numbers; and why others are refused.
async fn definitions(
    server: &Server,
) -> Result<(Vec<Numbered>, Vec<(ResourceKey, State)>), Problem> {
    let Some(resource_type) = Definitions::r4().resource_type("SearchParameter") else {
        return Ok((Vec::new(), Vec::new()));
    };
    let criteria = [("status".to_owned(), "active".to_owned())];
    let query = SearchQuery {
        resource_type,
        predicate: super::condition_of(server, resource_type, &criteria)
            .unwrap_or(Predicate::Nothing),
        sort: Vec::new(),
        limit: DEFINITIONS_MAX,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server.store.search(query).await;
    let page = page.map_err(|e| store_problem(&e))?;
    let (mut all, mut states): (Vec<Numbered>, Vec<_>) = (Vec::new(), Vec::new());
    for stored in page.matches {
        let key = stored.key.clone();
        let read = Document::parse(&stored.json)
            .map_err(|error| error.to_string())
            .and_then(|document| custom::read(document.root()));
        let definitions = match read {
            Ok(definitions) => definitions,
            Err(why) => {
                states.push((key, State::Refused(why)));
                continue;
            }
        };
        let is_taken = |definition: &Definition| {
            all.iter().any(|n| {
                n.definition.resource_type == definition.resource_type
                    && n.definition.code == definition.code
            })
        };
        if definitions.iter().any(is_taken) {
            let why = "another active SearchParameter has the same `code`".to_owned();
            states.push((key, State::Refused(why)));
            continue;
        }
        for definition in definitions {
            let number = server.store.custom_param(definition.identity()).await;
            let number = number.map_err(|e| store_problem(&e))?;
            all.push(Numbered {
                key: key.clone(),
                definition,
                number: number.number,
                is_complete: number.is_complete,
            });
        }
    }
    Ok((all, states))
}

/// From now on writes are indexed by these definitions, and searches may use those that are complete.
fn install(server: &Server, all: &[Numbered], states: &mut Vec<(ResourceKey, State)>) {
    let old = server.custom.params();
    let mut params = CustomParams::default();
    for numbered in all {
        let (definition, id) = (&numbered.definition, ParamId(numbered.number));
        let state = if numbered.is_complete {
            let known = old.get(definition.resource_type, &definition.code);
            params.add(match known.filter(|param| param.id == id) {
                Some(param) => param,
                None => kept(definition.to_search_param(id)),
            });
            State::Active
        } else {
            State::Indexing
        };
        if !states
            .iter()
            .any(|(key, s)| *key == numbered.key && *s == state)
        {
            states.push((numbered.key.clone(), state));
        }
    }
    let extractor = (!all.is_empty()).then(|| {
        let all = all.iter().map(|numbered| {
            let param = numbered.definition.to_param(ParamId(numbered.number));
            (numbered.definition.resource_type, param)
        });
        Arc::new(Extractor::with_custom(all))
    });
    let states = Arc::new(states.clone());
    server.custom.set(|now| {
        *now = Now {
            params: Arc::new(params),
            extractor,
            states,
        };
    });
    server.forget_statement();
}

/// Definitions are few and live as long as the program, like the official ones.
fn kept(param: SearchParam) -> &'static SearchParam {
    Box::leak(Box::new(param))
}

/// Indexes the resources of some types anew; `since`: only those that changed at or after.
async fn index(
    server: &Server,
    types: &[ResourceTypeId],
    since: Option<Instant>,
) -> Result<(), Problem> {
    let failed = |error: StoreError| store_problem(&error);
    let mut after = None;
    loop {
        let page = server
            .store
            .reindex_page(after, PAGE_RESOURCES)
            .await
            .map_err(failed)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.rid);
        let is_meant = |row: &&fhir_store::ReindexRow| {
            types.contains(&row.stored.key.resource_type)
                && since.is_none_or(|since| row.stored.updated >= since)
        };
        for row in page.iter().filter(is_meant) {
            let key = &row.stored.key;
            let Ok(document) = Document::parse(&row.stored.json) else {
                continue;
            };
            let entries = server.extract(key.resource_type, document.root());
            let index = server.store.prepare(key, &[], &entries);
            let replaced = server
                .store
                .replace_index(row.rid, row.stored.version, index)
                .await;
            replaced.map_err(failed)?;
            server.custom.indexed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
