//! All resources of one patient or one encounter, type by type, in pages.
//!
//! Spec: <https://hl7.org/fhir/R4/patient-operation-everything.html>,
//! <https://hl7.org/fhir/R4/encounter-operation-everything.html>. What belongs to it is its compartment. Left out: `start` and `end`
//! (refused), and resources that are only referred to, such as practitioners: `_include` brings those.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::Act;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::response::{self, BundleLink, SearchEntry, SearchMode};
use fhir_core::search::compartment;
use fhir_core::search::predicate::Predicate;
use fhir_store::{Cursor, Only, SearchQuery, Stored, TotalMode};

use crate::app::{Server, store_problem};
use crate::audit;
use crate::http::call::Call;
use crate::http::paging::CURSOR_PARAMETER;
use crate::interaction::Interaction;
use crate::interactions::{Answer, deleted, not_found};
use crate::search;

/// The types the operation is defined for.
pub const OWNERS: [&str; 2] = ["Patient", "Encounter"];

/// What is asked for.
struct Asked {
    count: usize,
    types: Vec<ResourceTypeId>,
    condition: Predicate,
    cursor: Option<String>,
    /// The parameters but the cursor, in one form, for links and signature.
    query: String,
}

/// Where a page begins: a place in the list of types, and one in that type.
#[derive(Default)]
struct Place {
    index: usize,
    after: Option<Cursor>,
}

/// `GET [base]/Patient/[id]/$everything`, `GET [base]/Encounter/[id]/$everything`
///
/// # Errors
/// `no-route` for other types; `not-found`, `deleted`, `unknown-parameter`, `bad-cursor`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let owner = call.key()?;
    if !OWNERS.contains(&owner.resource_type.name()) {
        let text = format!("`$everything` exists for {}", OWNERS.join(" and "));
        return Err(Problem::new(ErrorKind::NO_ROUTE, text));
    }
    let server = &call.server;
    call.access.permit(Act::Read, owner.resource_type)?;
    let asked = read_parameters(&call, &owner)?;
    let current = server.current(&owner).await?;
    if current.ok_or_else(|| not_found(&owner))?.deleted {
        return Err(deleted(&owner));
    }
    let path = format!("{owner}/$everything?{}", asked.query);
    let place = match &asked.cursor {
        Some(token) => Place::parse(&server.signer.open(&path, token)?)?,
        None => Place::default(),
    };
    let (found, next) = page(&call, &owner, &asked, place).await?;
    server.reads.push(audit::record(
        &call.access,
        Interaction::Operation,
        'E',
        Some((owner, None)),
    ));
    Ok(Answer::ok(bundle(server, &path, &found, next.as_ref())))
}

/// The resources of one page, and where the next begins.
async fn page(
    call: &Call,
    owner: &ResourceKey,
    asked: &Asked,
    mut place: Place,
) -> Result<(Vec<Stored>, Option<Place>), Problem> {
    let mut found: Vec<Stored> = Vec::new();
    while let Some(resource_type) = asked.types.get(place.index) {
        if found.len() == asked.count {
            return Ok((found, Some(place)));
        }
        call.access.permit(Act::Search, *resource_type)?;
        let members = compartment::members(owner, *resource_type);
        let predicate = Predicate::And(vec![members, asked.condition.clone()]);
        let query = SearchQuery {
            resource_type: *resource_type,
            predicate: compartment::narrow(&call.access, *resource_type, predicate),
            sort: Vec::new(),
            limit: asked.count - found.len(),
            after: place.after.take(),
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = call.server.store.search(query).await;
        let page = page.map_err(|e| store_problem(&e))?;
        found.extend(page.matches);
        place = match page.next {
            Some(cursor) => Place {
                index: place.index,
                after: Some(cursor),
            },
            None => Place {
                index: place.index + 1,
                after: None,
            },
        };
    }
    Ok((found, None))
}

fn bundle(server: &Server, path: &str, found: &[Stored], next: Option<&Place>) -> Vec<u8> {
    let url = format!("{}/{path}", server.base_url);
    let next = next.map(|place| {
        let token = server.signer.sign(path, &place.to_bytes());
        format!("{url}&{CURSOR_PARAMETER}={token}")
    });
    let mut links = vec![BundleLink {
        relation: "self",
        url: &url,
    }];
    links.extend(next.as_ref().map(|url| BundleLink {
        relation: "next",
        url,
    }));
    let urls: Vec<String> = found
        .iter()
        .map(|stored| format!("{}/{}", server.base_url, stored.key))
        .collect();
    let entries = found.iter().zip(&urls).map(|(stored, url)| SearchEntry {
        full_url: url,
        resource: &stored.json,
        mode: SearchMode::Match,
    });
    let mut out = Vec::new();
    response::searchset(&links, None, entries, &mut out);
    out
}

/// The owner's type first, then every other that can be in its compartment.
fn compartment_types(owner: ResourceTypeId) -> Vec<ResourceTypeId> {
    let definitions = Definitions::r4();
    let others = definitions
        .concrete_types()
        .filter(|t| *t != owner && !definitions.compartment_params(owner.name(), *t).is_empty());
    std::iter::once(owner).chain(others).collect()
}

fn read_parameters(call: &Call, owner: &ResourceKey) -> Result<Asked, Problem> {
    let config = &call.server.config;
    let all = compartment_types(owner.resource_type);
    let mut asked = Asked {
        count: config.page_entries,
        types: all.clone(),
        condition: Predicate::Everything,
        cursor: None,
        query: String::new(),
    };
    let mut kept = Vec::new();
    for (name, value) in call.query()? {
        match name.as_str() {
            "_count" => {
                let count = value.parse().ok().filter(|count: &usize| *count > 0);
                let count = count.ok_or_else(|| bad("_count", "must be a whole number above 0"))?;
                asked.count = count.min(config.page_entries_max);
            }
            "_type" => asked.types = chosen_types(&all, &value)?,
            "_since" => {
                let search = [("_lastUpdated".to_owned(), format!("ge{value}"))];
                asked.condition = search::condition_of(&call.server, owner.resource_type, &search)
                    .map_err(|_| {
                        bad("_since", "must be an instant such as 2026-01-01T00:00:00Z")
                    })?;
            }
            CURSOR_PARAMETER => {
                asked.cursor = Some(value);
                continue;
            }
            "_format" | "_pretty" => continue,
            other => {
                let text =
                    "`$everything` takes `_count`, `_type` and `_since`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
        kept.push((name, value));
    }
    kept.retain(|(name, _)| name != "_count");
    kept.push(("_count".to_owned(), asked.count.to_string()));
    asked.query = crate::http::call::encode_query(&kept);
    Ok(asked)
}

fn chosen_types(all: &[ResourceTypeId], value: &str) -> Result<Vec<ResourceTypeId>, Problem> {
    let mut chosen = Vec::new();
    for name in value.split(',') {
        let known = Definitions::r4().resource_type(name.trim());
        let known = known.filter(|t| all.contains(t));
        chosen.push(
            known.ok_or_else(|| bad("_type", "names a type that is never in this compartment"))?,
        );
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

fn bad(name: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`{name}` {text}")).at(name)
}

impl Place {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = u16::try_from(self.index)
            .unwrap_or(u16::MAX)
            .to_be_bytes()
            .to_vec();
        out.push(u8::from(self.after.is_some()));
        out.extend(
            self.after
                .iter()
                .flat_map(|cursor| cursor.0.iter().copied()),
        );
        out
    }

    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let refuse = || Problem::new(ErrorKind::BAD_CURSOR, "this paging link is damaged");
        let (head, rest) = bytes.split_first_chunk::<3>().ok_or_else(refuse)?;
        let [high, low, has_cursor] = *head;
        Ok(Self {
            index: usize::from(u16::from_be_bytes([high, low])),
            after: (has_cursor == 1).then(|| Cursor(rest.to_vec())),
        })
    }
}
