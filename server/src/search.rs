//! Searches: run for a client, or to resolve the criteria of a conditional interaction.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>

pub mod condition;
pub mod custom;
mod include;
pub mod system;
mod words;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use conformance::ResourceTypeId;
use fhir_core::access::{Access, Act};
use fhir_core::datatype::date::Zone;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{Problem, operation_outcome};
use fhir_core::json::Document;
use fhir_core::response::{self, BundleLink, SearchEntry, SearchMode};
use fhir_core::search::compartment;
use fhir_core::search::custom::CustomParams;
use fhir_core::search::limits::Limits;
use fhir_core::search::predicate::Predicate;
use fhir_core::search::query::{self, Context, Handling, SearchRequest};
use fhir_core::search::result::{Summary, Total};
use fhir_core::summary::{self, Subset};
use fhir_core::terminology::Catalogue;
use fhir_store::{Cursor, Only, SearchPage, SearchQuery, Stored, TotalMode};

use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::{Call, encode_query};
use crate::http::paging::{self, CURSOR_PARAMETER, Trail};
use crate::interaction::Interaction;

/// Bytes of an entry beside its resource, about; also of the Bundle's own members.
const ENTRY_BYTES: usize = 256;

/// What is searched.
#[derive(Debug, Clone)]
pub struct Target {
    /// The type.
    pub resource_type: ResourceTypeId,
    /// The resource whose compartment is searched; `None` for all of them.
    pub owner: Option<ResourceKey>,
}

impl Target {
    /// The URL's path below the base.
    fn path(&self) -> String {
        let name = self.resource_type.name();
        match &self.owner {
            Some(owner) => format!("{owner}/{name}"),
            None => name.to_owned(),
        }
    }
}

/// A page of a search as a Bundle.
///
/// # Errors
/// What the parameters are refused for; `bad-cursor`, `too-costly`, `overloaded`
pub async fn run(
    server: &Server,
    access: &Access,
    target: &Target,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Vec<u8>, Problem> {
    let resource_type = target.resource_type;
    access.permit(Act::Search, resource_type)?;
    let (cursors, parameters): (Vec<_>, Vec<_>) = parameters
        .into_iter()
        .partition(|(name, _)| name == CURSOR_PARAMETER);
    freshen(server, &parameters).await?;
    let own_bases = server.own_bases();
    let mut request = query::parse(
        resource_type,
        &parameters,
        handling,
        &context(server, &own_bases, &Knowledge::of(server)),
    )?;
    if let Some(owner) = &target.owner {
        let predicate = std::mem::replace(&mut request.predicate, Predicate::Nothing);
        request.predicate = compartment::search(owner, resource_type, predicate)?;
    }
    let search = format!("{}?{}", target.path(), encode_query(&request.used));
    let trail = match cursors.first() {
        Some((_, token)) => Trail::parse(&server.signer.open(&search, token)?)?,
        None => Trail::default(),
    };
    let after = trail.current().map(|cursor| Cursor(cursor.to_vec()));
    let is_first = after.is_none();
    ensure_words(server, [&request]).await?;
    let query = store_query(server, access, &mut request, after);
    let page = server
        .store
        .search(query)
        .await
        .map_err(|e| store_problem(&e))?;
    let included = include::follow(server, access, &request, &page.matches).await?;
    server.reads.push(fhir_store::AuditRecord {
        detail: Some(format!("{}{}", resource_type.name(), detail(&request.used))),
        ..audit::record(access, Interaction::SearchType, 'E', None)
    });
    Ok(bundle(
        server,
        &Page {
            request: &request,
            search: &search,
            found: &page,
            included: &included,
            trail: &trail,
            is_whole: is_first && page.next.is_none(),
        },
    ))
}

/// A page of results.
struct Page<'a> {
    request: &'a SearchRequest,
    /// Path and parameters below the base.
    search: &'a str,
    found: &'a SearchPage,
    included: &'a [Stored],
    trail: &'a Trail,
    /// Whether this page holds all matches.
    is_whole: bool,
}

/// Matches on a page.
fn page_size(server: &Server, request: &SearchRequest) -> usize {
    request
        .count
        .unwrap_or(server.config.page_entries)
        .clamp(1, server.config.page_entries_max)
}

/// Reads the parameters of a search.
///
/// # Errors
/// What they are refused for
pub fn parse(
    server: &Server,
    resource_type: ResourceTypeId,
    parameters: &[(String, String)],
    handling: Handling,
) -> Result<SearchRequest, Problem> {
    let own_bases = server.own_bases();
    query::parse(
        resource_type,
        parameters,
        handling,
        &context(server, &own_bases, &Knowledge::of(server)),
    )
}

/// The query that estimates how many resources a search finds.
pub fn count_query(server: &Server, access: &Access, request: &SearchRequest) -> SearchQuery {
    let mut query = store_query(server, access, &mut request.clone(), None);
    query.total = TotalMode::Estimate;
    query.only = Only::CountOnly;
    query
}

/// Makes ready the index of words, if these searches need it.
async fn ensure_words(
    server: &Server,
    requests: impl IntoIterator<Item = &SearchRequest>,
) -> Result<(), Problem> {
    let mut types = Vec::new();
    for request in requests {
        request
            .predicate
            .types_with_words(request.resource_type, &mut types);
    }
    if types.is_empty() {
        return Ok(());
    }
    words::ensure(server, &types).await
}

/// Takes up value sets and code systems written just now, if these parameters ask about codes.
async fn freshen(server: &Server, parameters: &[(String, String)]) -> Result<(), Problem> {
    let asks = |name: &str| {
        name == "_filter"
            || [":in", ":not-in", ":above", ":below"]
                .iter()
                .any(|modifier| name.ends_with(modifier))
    };
    if parameters.iter().any(|(name, _)| asks(name)) {
        server.definitions.fresh(&server.store).await?;
    }
    Ok(())
}

/// What is known now, beyond the definitions of R4.
struct Knowledge {
    custom: Arc<CustomParams>,
    codes: Arc<Catalogue>,
}

impl Knowledge {
    fn of(server: &Server) -> Self {
        Self {
            custom: server.custom.params(),
            codes: server.codes(),
        }
    }
}

/// What parsing a search needs to know.
fn context<'a>(
    server: &'a Server,
    own_bases: &'a [&'a str],
    knowledge: &'a Knowledge,
) -> Context<'a> {
    Context {
        base_urls: own_bases,
        now: (server.clock)(),
        zone: Zone::UTC,
        limits: Limits::default(),
        codes: &*knowledge.codes,
        custom: &knowledge.custom,
    }
}

fn store_query(
    server: &Server,
    access: &Access,
    request: &mut SearchRequest,
    after: Option<Cursor>,
) -> SearchQuery {
    let predicate = std::mem::replace(&mut request.predicate, Predicate::Nothing);
    let is_count = request.is_count_only();
    let limit = page_size(server, request);
    let total = match request.total {
        _ if is_count => TotalMode::Accurate,
        Some(Total::Accurate) => TotalMode::Accurate,
        Some(Total::Estimate) => TotalMode::Estimate,
        Some(Total::None) | None => TotalMode::None,
    };
    SearchQuery {
        resource_type: request.resource_type,
        predicate: compartment::narrow(access, request.resource_type, predicate),
        sort: request.sort.clone(),
        limit,
        after,
        total,
        only: if is_count {
            Only::CountOnly
        } else {
            Only::Bodies
        },
    }
}

fn bundle(server: &Server, page: &Page<'_>) -> Vec<u8> {
    let Page {
        request,
        search,
        found: page,
        included,
        trail,
        is_whole,
    } = *page;
    let url = match search.strip_prefix('?') {
        Some(_) => format!("{}{search}", server.base_url),
        None => format!("{}/{search}", server.base_url),
    };
    let next = page.next.as_ref().map(|next| next.0.as_slice());
    let links = paging::links(&server.signer, &url, search, trail, next);
    // When everything fits on the first page the total costs nothing.
    let is_whole = is_whole && !request.is_count_only();
    let total = page.total.or(if is_whole {
        u64::try_from(page.matches.len()).ok()
    } else {
        None
    });
    let (of_matches, of_included) = subsets(request);
    let matches = parts(&page.matches, of_matches.as_ref());
    let included = parts(included, of_included.as_ref());
    let resources = matches.iter().map(|stored| (stored, SearchMode::Match));
    let resources: Vec<(String, &Stored, SearchMode)> = resources
        .chain(included.iter().map(|stored| (stored, SearchMode::Include)))
        .map(|(stored, mode)| (format!("{}/{}", server.base_url, stored.key), stored, mode))
        .collect();
    let outcome = if request.warnings.is_empty() {
        Vec::new()
    } else {
        operation_outcome(&request.warnings).to_bytes()
    };
    let warned = (!outcome.is_empty()).then_some(SearchEntry {
        full_url: "",
        resource: &outcome,
        mode: SearchMode::Outcome,
    });
    let entries = resources
        .iter()
        .map(|(full_url, stored, mode)| SearchEntry {
            full_url,
            resource: &stored.json,
            mode: *mode,
        })
        .chain(warned);
    let bytes: usize = resources
        .iter()
        .map(|(_, stored, _)| stored.json.len() + ENTRY_BYTES)
        .sum();
    let mut out = Vec::with_capacity(bytes + ENTRY_BYTES + outcome.len());
    let links: Vec<BundleLink<'_>> = links
        .iter()
        .map(|(relation, url)| BundleLink { relation, url })
        .collect();
    response::searchset(&links, total, entries, &mut out);
    out
}

/// The part of a resource that a read asks for by `_summary` or `_elements`.
///
/// # Errors
/// `bad-parameter-value`
pub fn subset_of(call: &Call, resource_type: ResourceTypeId) -> Result<Option<Subset>, Problem> {
    let text = call.query_text();
    if !text.contains("_summary") && !text.contains("_elements") {
        return Ok(None);
    }
    let mut parameters = call.query()?;
    parameters.retain(|(name, _)| matches!(name.as_str(), "_summary" | "_elements"));
    let own_bases = call.server.own_bases();
    let knowledge = Knowledge::of(&call.server);
    let context = context(&call.server, &own_bases, &knowledge);
    let request = query::parse(resource_type, &parameters, Handling::Strict, &context)?;
    Ok(subsets(&request).0)
}

/// The condition that search parameters state.
///
/// # Errors
/// As of a search
pub fn condition_of(
    server: &Server,
    resource_type: ResourceTypeId,
    parameters: &[(String, String)],
) -> Result<Predicate, Problem> {
    let own_bases = server.own_bases();
    let knowledge = Knowledge::of(server);
    let context = context(server, &own_bases, &knowledge);
    query::parse(resource_type, parameters, Handling::Strict, &context).map(|r| r.predicate)
}

/// Which part of matches and of included resources is wanted: `_elements` speaks of the type searched only.
fn subsets(request: &SearchRequest) -> (Option<Subset>, Option<Subset>) {
    if !request.elements.is_empty() {
        return (Some(Subset::Elements(request.elements.clone())), None);
    }
    let subset = match request.summary {
        Summary::True => Some(Subset::Summary),
        Summary::Text => Some(Subset::Text),
        Summary::Data => Some(Subset::Data),
        Summary::False | Summary::Count => None,
    };
    (subset.clone(), subset)
}

/// The wanted part of each resource; the stored bytes where all is wanted.
fn parts<'a>(resources: &'a [Stored], subset: Option<&Subset>) -> Cow<'a, [Stored]> {
    let Some(subset) = subset else {
        return Cow::Borrowed(resources);
    };
    let cut = resources.iter().map(|stored| Stored {
        json: cut(&stored.json, subset),
        ..stored.clone()
    });
    Cow::Owned(cut.collect())
}

/// A part of a resource. What is stored can be read; if not, it is served as it is rather than not at all.
pub fn cut(json: &Bytes, subset: &Subset) -> Bytes {
    let Ok(document) = Document::parse(json) else {
        return json.clone();
    };
    let mut out = Vec::with_capacity(json.len());
    summary::write(document.root(), subset, &mut out);
    out.into()
}

/// The search as the audit trail keeps it: names of parameters, no values.
fn detail(used: &[(String, String)]) -> String {
    let names: Vec<&str> = used.iter().map(|(name, _)| name.as_str()).collect();
    format!("?{}", names.join("&"))
}
