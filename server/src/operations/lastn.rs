//! The latest observations of each kind.
//!
//! Spec: <https://hl7.org/fhir/R4/observation-operation-lastn.html>. Kinds are told apart by `Observation.code`: observations that
//! share a coding are of one kind, those without codings are grouped by their text. Left out: equivalence between code systems.

use std::collections::HashMap;

use conformance::ResourceTypeId;
use fhir_core::access::Act;
use fhir_core::datatype::date::{Zone, range_of};
use fhir_core::datatype::string::normalise;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::ValueRef;
use fhir_core::response::{self, BundleLink, SearchEntry, SearchMode};
use fhir_core::search::compartment;
use fhir_core::search::predicate::{Direction, SortBy, SortKeySpec};
use fhir_store::{Only, SearchQuery, Stored, TotalMode};

use super::parameters::{self, bad};
use crate::app::store_problem;
use crate::audit;
use crate::http::call::{Call, encode_query};
use crate::interaction::Interaction;
use crate::interactions::Answer;
use crate::search;

/// Observations looked through at most; a patient with ten years of intensive care has fewer of one category.
const LOOKED_THROUGH_MAX: usize = 50_000;

/// Observations read at a time.
const PAGE_RESOURCES: usize = 1_000;

/// `GET` and `POST [base]/Observation/$lastn`
///
/// # Errors
/// `no-route` for other types; `bad-parameter-value` without subject and code or category; `too-costly`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    if resource_type.name() != "Observation" {
        let text = "`$lastn` exists for Observation";
        return Err(Problem::new(ErrorKind::NO_ROUTE, text));
    }
    call.access.permit(Act::Search, resource_type)?;
    let all = parameters::simple(&mut call).await?;
    let (max, criteria) = read(&all)?;
    let found = latest(&call, resource_type, &criteria, max).await?;
    let server = &call.server;
    server.reads.push(audit::record(
        &call.access,
        Interaction::Operation,
        'E',
        None,
    ));
    let url = format!(
        "{}/Observation/$lastn?{}",
        server.base_url,
        encode_query(&all)
    );
    let links = [BundleLink {
        relation: "self",
        url: &url,
    }];
    let urls: Vec<String> = found
        .iter()
        .map(|stored| format!("{}/{}", server.base_url, stored.key))
        .collect();
    let entries = found.iter().zip(&urls).map(|(stored, url)| SearchEntry {
        full_url: url,
        resource: &stored.json,
        mode: SearchMode::Match,
    });
    let total = u64::try_from(found.len()).ok();
    let mut out = Vec::new();
    response::searchset(&links, total, entries, &mut out);
    Ok(Answer::ok(out))
}

type Pairs = Vec<(String, String)>;

/// `max` and the criteria.
fn read(all: &[(String, String)]) -> Result<(usize, Pairs), Problem> {
    let mut max = 1;
    let mut criteria = Vec::new();
    for (name, value) in all {
        if name == "max" {
            let number = value.parse().ok().filter(|max| *max > 0);
            max = number.ok_or_else(|| bad("max", "is a whole number above 0"))?;
        } else {
            criteria.push((name.clone(), value.clone()));
        }
    }
    let has = |names: &[&str]| {
        criteria.iter().any(|(name, _)| {
            let code = name.split([':', '.']).next().unwrap_or_default();
            names.contains(&code)
        })
    };
    if !has(&["patient", "subject"]) {
        return Err(bad("patient", "or `subject` is required"));
    }
    if !has(&["code", "category", "combo-code"]) {
        return Err(bad("category", "or `code` is required"));
    }
    Ok((max, criteria))
}

async fn latest(
    call: &Call,
    resource_type: ResourceTypeId,
    criteria: &[(String, String)],
    max: usize,
) -> Result<Vec<Stored>, Problem> {
    let predicate = search::condition_of(&call.server, resource_type, criteria)?;
    let predicate = compartment::narrow(&call.access, resource_type, predicate);
    let date = conformance::Definitions::r4().search_param(resource_type, "date");
    let sort = date.map(|date| SortKeySpec {
        by: SortBy::Param(date.id),
        direction: Direction::Descending,
    });
    let mut after = None;
    let mut groups = Groups::default();
    // Of a dense series only its latest samples are read: there may be millions behind them.
    let samples = call.server.store.latest_samples(
        SearchQuery {
            resource_type,
            predicate: predicate.clone(),
            sort: Vec::new(),
            limit: max,
            after: None,
            total: TotalMode::None,
            only: Only::Bodies,
        },
        max,
    );
    let samples = samples.await.map_err(|e| store_problem(&e))?;
    let mut samples = samples.into_iter().peekable();
    let mut looked_through = 0;
    loop {
        let query = SearchQuery {
            resource_type,
            predicate: predicate.clone(),
            sort: sort.clone().into_iter().collect(),
            limit: PAGE_RESOURCES,
            after,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = call.server.store.search_without_samples(query).await;
        let page = page.map_err(|e| store_problem(&e))?;
        looked_through += page.matches.len();
        for stored in page.matches {
            let at = when(&stored)?;
            while let Some(sample) = samples.peek() {
                if when(sample)? < at {
                    break;
                }
                if let Some(sample) = samples.next() {
                    groups.add(sample, max)?;
                }
            }
            groups.add(stored, max)?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        if looked_through >= LOOKED_THROUGH_MAX {
            let text = format!(
                "more than {LOOKED_THROUGH_MAX} observations meet the criteria; narrow them, for example by date"
            );
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
        }
    }
    for sample in samples {
        groups.add(sample, max)?;
    }
    Ok(groups.list.into_iter().flatten().collect())
}

/// When an observation was made, for the order among others; those without a date come last.
fn when(stored: &Stored) -> Result<i64, Problem> {
    let document = parameters::stored(&stored.json)?;
    let root = document.root();
    let effective = ["effectiveDateTime", "effectivePeriod", "effectiveInstant"];
    let given = effective.into_iter().find_map(|name| root.get(name));
    let range = given.and_then(|value| range_of(value, Zone::UTC));
    Ok(range.map_or(i64::MIN, |range| range.start))
}

/// Observations by kind, in the order in which the kinds were met: that of the latest.
#[derive(Default)]
struct Groups {
    by_code: HashMap<String, usize>,
    list: Vec<Vec<Stored>>,
}

impl Groups {
    fn add(&mut self, stored: Stored, max: usize) -> Result<(), Problem> {
        let document = parameters::stored(&stored.json)?;
        let keys = keys(document.root());
        let known = keys.iter().find_map(|key| self.by_code.get(key)).copied();
        let group = known.unwrap_or(self.list.len());
        if known.is_none() {
            self.list.push(Vec::new());
        }
        for key in keys {
            self.by_code.entry(key).or_insert(group);
        }
        if let Some(list) = self.list.get_mut(group).filter(|list| list.len() < max) {
            list.push(stored);
        }
        Ok(())
    }
}

/// What an observation's kind is known by.
fn keys(observation: ValueRef<'_>) -> Vec<String> {
    let Some(code) = observation.get("code") else {
        return vec![String::new()];
    };
    let text = |value: ValueRef<'_>, name: &str| {
        let text = value.get(name).and_then(ValueRef::as_str);
        text.map_or_else(String::new, |text| text.into_owned())
    };
    let codings: Vec<String> = code
        .get("coding")
        .into_iter()
        .flat_map(ValueRef::items)
        .map(|coding| format!("{}|{}", text(coding, "system"), text(coding, "code")))
        .filter(|key| !key.ends_with('|'))
        .collect();
    if codings.is_empty() {
        vec![normalise(&text(code, "text")).into_owned()]
    } else {
        codings
    }
}
