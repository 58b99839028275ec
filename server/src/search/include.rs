//! What comes along with the matches: `_include` and `_revinclude`, round by round.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#revinclude>. "The server … SHOULD NOT include additional resources more than once". Going
//! on without end is bounded by rounds and by a number of resources.

use std::collections::HashSet;

use fhir_core::access::Access;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::search::compartment;
use fhir_core::search::include::{Include, Target};
use fhir_core::search::query::SearchRequest;
use fhir_store::{Only, SearchQuery, Stored, TotalMode};

use crate::app::{Server, store_problem};

/// Rounds of `:iterate`: deeper than any chain of references that makes sense to people.
const ROUNDS_MAX: usize = 8;

/// Resources that come along with one page at most. More is refused, not cut: a client could not see that some are
/// missing.
const INCLUDED_MAX: usize = 5_000;

/// The resources that come along, each once, none that is a match.
///
/// # Errors
/// `too-costly`
pub async fn follow(
    server: &Server,
    access: &Access,
    request: &SearchRequest,
    matches: &[Stored],
) -> Result<Vec<Stored>, Problem> {
    if request.includes.is_empty() && request.revincludes.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen: HashSet<ResourceKey> = matches.iter().map(|stored| stored.key.clone()).collect();
    let mut included: Vec<Stored> = Vec::new();
    let mut from: Vec<Stored> = matches.to_vec();
    for round in 0..ROUNDS_MAX {
        let applies = |include: &&Include| round == 0 || include.iterate;
        let mut found = Vec::new();
        for include in request.includes.iter().filter(applies) {
            found.extend(forward(server, include, &from, &mut seen).await?);
        }
        for include in request.revincludes.iter().filter(applies) {
            found.extend(
                reverse(
                    server,
                    access,
                    include,
                    &from,
                    &mut seen,
                    INCLUDED_MAX - included.len(),
                )
                .await?,
            );
        }
        if found.is_empty() {
            break;
        }
        if included.len() + found.len() > INCLUDED_MAX {
            return Err(too_many());
        }
        included.extend(found.iter().cloned());
        from = found;
    }
    Ok(included)
}

fn too_many() -> Problem {
    let text = format!(
        "more than {INCLUDED_MAX} resources would come along with this page; ask for fewer by `_count`"
    );
    Problem::new(ErrorKind::TOO_COSTLY, text)
}

async fn forward(
    server: &Server,
    include: &Include,
    from: &[Stored],
    seen: &mut HashSet<ResourceKey>,
) -> Result<Vec<Stored>, Problem> {
    let mut targets = Vec::new();
    for stored in from {
        let resource_type = stored.key.resource_type;
        if include.source.is_some_and(|source| source != resource_type) {
            continue;
        }
        let Ok(document) = Document::parse(&stored.json) else {
            continue;
        };
        let entries = server.extract(resource_type, document.root());
        let found = include.targets(resource_type, &entries).into_iter();
        targets.extend(found.filter(|target| seen.insert(target.key.clone())));
    }
    if targets.len() > INCLUDED_MAX {
        return Err(too_many());
    }
    let mut keys = Vec::with_capacity(targets.len());
    let mut versions = Vec::new();
    for target in targets {
        match version_of(server, &target).await? {
            Some(stored) => versions.push(stored),
            None => keys.push(target.key),
        }
    }
    let current = server.store.read_many(&keys).await;
    versions.extend(current.map_err(|e| store_problem(&e))?);
    Ok(versions)
}

/// The version that a reference names; `None` when it names none, or one that is not here: the current one comes along then,
/// and says which version it is.
async fn version_of(server: &Server, target: &Target) -> Result<Option<Stored>, Problem> {
    let Some(version) = target.version else {
        return Ok(None);
    };
    let stored = server.store.vread(&target.key, version).await;
    let stored = stored.map_err(|e| store_problem(&e))?;
    Ok(stored.filter(|stored| !stored.deleted))
}

async fn reverse(
    server: &Server,
    access: &Access,
    include: &Include,
    from: &[Stored],
    seen: &mut HashSet<ResourceKey>,
    room: usize,
) -> Result<Vec<Stored>, Problem> {
    let Some(source) = include.source else {
        return Ok(Vec::new());
    };
    let keys: Vec<ResourceKey> = from.iter().map(|stored| stored.key.clone()).collect();
    let query = SearchQuery {
        resource_type: source,
        predicate: compartment::narrow(access, source, include.referrers(&keys)),
        sort: Vec::new(),
        limit: room.max(1),
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server
        .store
        .search(query)
        .await
        .map_err(|e| store_problem(&e))?;
    if page.next.is_some() {
        return Err(too_many());
    }
    Ok(page
        .matches
        .into_iter()
        .filter(|stored| seen.insert(stored.key.clone()))
        .collect())
}
