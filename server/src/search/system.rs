//! A search of several types: the types one after the other, or merged when an order is asked for.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#search>: "parameters … common to all of them". An order across types exists for
//! `_id` and `_lastUpdated` only.

use std::cmp::Ordering;

use conformance::Definitions;
use fhir_core::access::{Access, Act};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::search::compartment;
use fhir_core::search::predicate::{Direction, Predicate, SortBy, SortKeySpec};
use fhir_core::search::query::{self, Handling, SearchRequest};
use fhir_core::search::result::Total;
use fhir_store::{Cursor, SearchPage, Stored};

use super::{Page, context, detail, include, page_size, store_query};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::encode_query;
use crate::http::paging::{CURSOR_PARAMETER, Trail};
use crate::interaction::Interaction;

/// Types that are merged into one order at most: each costs two searches for every page.
const MERGED_TYPES_MAX: usize = 20;

/// A page of a search of several types as a Bundle.
///
/// # Errors
/// What the parameters are refused for; `bad-cursor`, `too-costly`, `overloaded`
pub async fn run(
    server: &Server,
    access: &Access,
    owner: Option<&ResourceKey>,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Vec<u8>, Problem> {
    let (cursors, mut parameters): (Vec<_>, Vec<_>) = parameters
        .into_iter()
        .partition(|(name, _)| name == CURSOR_PARAMETER);
    let mut used: Vec<(String, String)> = parameters
        .iter()
        .filter(|(name, _)| name == "_type")
        .cloned()
        .collect();
    super::freshen(server, &parameters).await?;
    let own_bases = server.own_bases();
    if let Some(owner) = owner {
        limit_to_compartment(owner, &mut parameters);
    }
    let mut requests = query::parse_system(
        &parameters,
        handling,
        &context(server, &own_bases, &super::Knowledge::of(server)),
    )?;
    for request in &mut requests {
        access.permit(Act::Search, request.resource_type)?;
        if let Some(owner) = owner {
            let predicate = std::mem::replace(&mut request.predicate, Predicate::Nothing);
            request.predicate = compartment::search(owner, request.resource_type, predicate)?;
        }
    }
    let Some(first) = requests.first().cloned() else {
        return Err(
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "`_type` names no type").at("_type"),
        );
    };
    used.extend(used_by_any(&requests));
    let path = owner.map_or(String::new(), |owner| format!("{owner}/*"));
    let search = format!("{path}?{}", encode_query(&used));
    let trail = match cursors.first() {
        Some((_, token)) => Trail::parse(&server.signer.open(&search, token)?)?,
        None => Trail::default(),
    };
    let place = trail.current().map(Places::parse).transpose()?;
    let is_first = place.is_none();
    let mut place = place.unwrap_or_else(|| Places::start(requests.len()));
    if place.0.len() != requests.len() {
        return Err(damaged());
    }
    super::ensure_words(server, &requests).await?;
    let total = total(server, access, &mut requests).await?;
    let limit = page_size(server, &first);
    let sort = first.sort.clone();
    let mut matches = Vec::new();
    if !first.is_count_only() {
        matches = if sort.is_empty() {
            one_by_one(server, access, &requests, &mut place, limit).await?
        } else {
            merged(server, access, &requests, &mut place, &sort, limit).await?
        };
    }
    let has_more = !first.is_count_only() && !place.is_at_end();
    let included = include_all(server, access, &requests, &matches).await?;
    server.reads.push(fhir_store::AuditRecord {
        detail: Some(detail(&used)),
        ..audit::record(access, Interaction::SearchSystem, 'E', None)
    });
    let mut shown = first;
    shown.warnings = requests.iter().flat_map(|r| r.warnings.clone()).collect();
    shown.warnings.dedup();
    let page = SearchPage {
        matches,
        next: has_more.then(|| Cursor(place.to_bytes())),
        total,
    };
    Ok(super::bundle(
        server,
        &Page {
            request: &shown,
            search: &search,
            found: &page,
            included: &included,
            trail: &trail,
            is_whole: is_first && !has_more,
        },
    ))
}

/// Everything in a compartment: the types that can be in it, or those of them that `_type` names.
fn limit_to_compartment(owner: &ResourceKey, parameters: &mut Vec<(String, String)>) {
    if parameters.iter().any(|(name, _)| name == "_type") {
        return;
    }
    let definitions = Definitions::r4();
    let name = owner.resource_type.name();
    let types: Vec<&str> = definitions
        .concrete_types()
        .filter(|t| {
            *t == owner.resource_type || !definitions.compartment_params(name, *t).is_empty()
        })
        .map(|t| t.name())
        .collect();
    parameters.push(("_type".to_owned(), types.join(",")));
}

/// The parameters that were obeyed, of whichever type obeyed most: an include belongs to some of the types only.
fn used_by_any(requests: &[SearchRequest]) -> Vec<(String, String)> {
    let mut used: Vec<(String, String)> = Vec::new();
    for pair in requests.iter().flat_map(|request| &request.used) {
        let count = |list: &[(String, String)]| list.iter().filter(|p| *p == pair).count();
        let wanted = requests.iter().map(|r| count(&r.used)).max().unwrap_or(0);
        if count(&used) < wanted {
            used.push(pair.clone());
        }
    }
    used
}

fn damaged() -> Problem {
    Problem::new(
        ErrorKind::BAD_CURSOR,
        "this paging link is damaged; start from the first page",
    )
}

/// The sum over all types, when asked for.
async fn total(
    server: &Server,
    access: &Access,
    requests: &mut [SearchRequest],
) -> Result<Option<u64>, Problem> {
    let mut sum = None;
    for request in requests.iter() {
        let mut counted = request.clone();
        if !(counted.is_count_only() || counted.total.is_some_and(|t| t != Total::None)) {
            return Ok(None);
        }
        counted.count = Some(0);
        let query = store_query(server, access, &mut counted, None);
        let page = server.store.search(query).await;
        let page = page.map_err(|e| store_problem(&e))?;
        sum = Some(sum.unwrap_or(0) + page.total.unwrap_or(0));
    }
    Ok(sum)
}

async fn search_one(
    server: &Server,
    access: &Access,
    request: &SearchRequest,
    after: Option<Cursor>,
    limit: usize,
) -> Result<SearchPage, Problem> {
    let mut request = request.clone();
    request.total = None;
    let mut query = store_query(server, access, &mut request, after);
    query.limit = limit;
    server
        .store
        .search(query)
        .await
        .map_err(|e| store_problem(&e))
}

/// Type by type, each in its own order.
async fn one_by_one(
    server: &Server,
    access: &Access,
    requests: &[SearchRequest],
    place: &mut Places,
    limit: usize,
) -> Result<Vec<Stored>, Problem> {
    let mut found = Vec::new();
    for (request, at) in requests.iter().zip(&mut place.0) {
        if found.len() == limit {
            break;
        }
        let after = match at {
            At::End => continue,
            At::Start => None,
            At::After(cursor) => Some(Cursor(cursor.clone())),
        };
        let page = search_one(server, access, request, after, limit - found.len()).await?;
        found.extend(page.matches);
        *at = page.next.map_or(At::End, |cursor| At::After(cursor.0));
    }
    Ok(found)
}

/// All types in one order: a page of each, merged, and every type's place moved behind what was taken of it.
async fn merged(
    server: &Server,
    access: &Access,
    requests: &[SearchRequest],
    place: &mut Places,
    sort: &[SortKeySpec],
    limit: usize,
) -> Result<Vec<Stored>, Problem> {
    let orders = sort.iter().map(Order::of).collect::<Option<Vec<_>>>();
    let orders = orders.ok_or_else(|| {
        let text = "a search of several types can be sorted by `_id` and `_lastUpdated` only";
        Problem::new(ErrorKind::UNKNOWN_SORT, text).at("_sort")
    })?;
    if requests.len() > MERGED_TYPES_MAX {
        let text =
            format!("a sorted search takes at most {MERGED_TYPES_MAX} types; name them in `_type`");
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("_sort"));
    }
    let mut all: Vec<(usize, Stored)> = Vec::new();
    let mut fetched = Vec::with_capacity(requests.len());
    for (number, (request, at)) in requests.iter().zip(&place.0).enumerate() {
        let after = match at {
            At::End => {
                fetched.push((0, None));
                continue;
            }
            At::Start => None,
            At::After(cursor) => Some(Cursor(cursor.clone())),
        };
        let page = search_one(server, access, request, after, limit).await?;
        fetched.push((page.matches.len(), page.next));
        all.extend(page.matches.into_iter().map(|stored| (number, stored)));
    }
    // Stable: what is equal stays in the order of types.
    all.sort_by(|(_, a), (_, b)| compare(&orders, a, b));
    all.truncate(limit);
    for (number, (request, (count, next))) in requests.iter().zip(fetched).enumerate() {
        let taken = all.iter().filter(|(from, _)| *from == number).count();
        let Some(at) = place.0.get_mut(number) else {
            continue;
        };
        *at = match (taken == count, next) {
            _ if *at == At::End => At::End,
            (true, None) => At::End,
            (true, Some(cursor)) => At::After(cursor.0),
            (false, _) if taken == 0 => std::mem::replace(at, At::End),
            (false, _) => {
                let after = match &at {
                    At::After(cursor) => Some(Cursor(cursor.clone())),
                    At::Start | At::End => None,
                };
                let page = search_one(server, access, request, after, taken).await?;
                page.next.map_or(At::End, |cursor| At::After(cursor.0))
            }
        };
    }
    Ok(all.into_iter().map(|(_, stored)| stored).collect())
}

/// An order that every resource has.
#[derive(Clone, Copy)]
struct Order {
    is_id: bool,
    is_descending: bool,
}

impl Order {
    fn of(spec: &SortKeySpec) -> Option<Self> {
        let is_id = match spec.by {
            SortBy::Id => true,
            SortBy::LastUpdated => false,
            SortBy::Param(_) => return None,
        };
        Some(Self {
            is_id,
            is_descending: spec.direction == Direction::Descending,
        })
    }
}

fn compare(orders: &[Order], a: &Stored, b: &Stored) -> Ordering {
    let one = |order: &Order| {
        let ordering = if order.is_id {
            a.key.id.as_str().cmp(b.key.id.as_str())
        } else {
            a.updated.cmp(&b.updated)
        };
        if order.is_descending {
            ordering.reverse()
        } else {
            ordering
        }
    };
    orders
        .iter()
        .map(one)
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

async fn include_all(
    server: &Server,
    access: &Access,
    requests: &[SearchRequest],
    matches: &[Stored],
) -> Result<Vec<Stored>, Problem> {
    let mut included: Vec<Stored> = Vec::new();
    for request in requests {
        let own: Vec<Stored> = matches
            .iter()
            .filter(|stored| stored.key.resource_type == request.resource_type)
            .cloned()
            .collect();
        for stored in include::follow(server, access, request, &own).await? {
            let is_known = |other: &Stored| other.key == stored.key;
            if !matches.iter().any(is_known) && !included.iter().any(is_known) {
                included.push(stored);
            }
        }
    }
    Ok(included)
}

/// Where one type is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Start,
    After(Vec<u8>),
    End,
}

/// Where all types are, in the order of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places(Vec<At>);

impl Places {
    fn start(types: usize) -> Self {
        Self(vec![At::Start; types])
    }

    fn is_at_end(&self) -> bool {
        self.0.iter().all(|at| *at == At::End)
    }

    /// A byte for each type; a cursor follows with its length. Types not yet begun at the end are left out.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = u16::try_from(self.0.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes()
            .to_vec();
        for at in &self.0 {
            match at {
                At::Start => out.push(0),
                At::End => out.push(1),
                At::After(cursor) => {
                    out.push(2);
                    out.extend(
                        u16::try_from(cursor.len())
                            .unwrap_or(u16::MAX)
                            .to_be_bytes(),
                    );
                    out.extend(cursor);
                }
            }
        }
        out
    }

    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let (count, mut rest) = bytes.split_first_chunk::<2>().ok_or_else(damaged)?;
        let mut places = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (kind, after) = rest.split_first().ok_or_else(damaged)?;
            rest = after;
            places.push(match kind {
                0 => At::Start,
                1 => At::End,
                _ => {
                    let (length, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    let (cursor, after) = after.split_at_checked(length).ok_or_else(damaged)?;
                    rest = after;
                    At::After(cursor.to_vec())
                }
            });
        }
        Ok(Self(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_a_link() {
        let places = Places(vec![At::Start, At::After(vec![1, 2, 3]), At::End]);
        assert_eq!(Places::parse(&places.to_bytes()).unwrap(), places);
        assert!(!places.is_at_end());
        for bytes in [&b""[..], b"\x00", b"\x00\x02\x01", b"\x00\x01\x02\x00\x05a"] {
            assert!(Places::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
