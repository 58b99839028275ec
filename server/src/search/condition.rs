//! Criteria of conditional interactions: which resource they mean, and a promise that it is still so at commit time.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#ccreate>

use conformance::ResourceTypeId;
use fhir_core::access::Access;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::search::predicate::Predicate;
use fhir_core::search::{compartment, query};
use fhir_store::{Expectation, Only, SearchQuery, TotalMode};

use crate::app::{Server, store_problem};

/// What criteria found.
#[derive(Debug, Clone)]
pub struct Found {
    resource_type: ResourceTypeId,
    predicate: Predicate,
    keys: Vec<ResourceKey>,
}

impl Found {
    /// The one resource that meets the criteria, or none.
    ///
    /// # Errors
    /// `multiple-matches`
    pub fn one(&self) -> Result<Option<ResourceKey>, Problem> {
        match self.keys.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(key.clone())),
            _ => {
                let text = "several resources meet the criteria; make them narrower, for example by identifier";
                Err(Problem::new(ErrorKind::MULTIPLE_MATCHES, text))
            }
        }
    }

    /// All resources that meet the criteria, if there are no more than `count_max`.
    ///
    /// # Errors
    /// `multiple-matches`
    pub fn at_most(&self, count_max: usize) -> Result<&[ResourceKey], Problem> {
        if count_max == 1 {
            self.one()?;
        }
        if self.keys.len() > count_max {
            let text = format!(
                "more than {count_max} resources meet the criteria, the limit here; make them narrower"
            );
            return Err(Problem::new(ErrorKind::MULTIPLE_MATCHES, text));
        }
        Ok(&self.keys)
    }

    /// What must still be found at commit time.
    pub fn expectation(&self) -> Expectation {
        Expectation::Matches {
            resource_type: self.resource_type,
            predicate: self.predicate.clone(),
            keys: self.keys.clone(),
        }
    }
}

/// Finds what the criteria mean: decoded search parameters.
///
/// # Errors
/// What the parameters are refused for; `too-costly`, `overloaded`
pub async fn resolve(
    server: &Server,
    access: &Access,
    resource_type: ResourceTypeId,
    criteria: &[(String, String)],
) -> Result<Found, Problem> {
    // Two are enough to know that it is not one.
    resolve_some(server, access, resource_type, criteria, 2).await
}

/// The same, looking for up to `limit` resources.
///
/// # Errors
/// As [`resolve`]
pub async fn resolve_some(
    server: &Server,
    access: &Access,
    resource_type: ResourceTypeId,
    criteria: &[(String, String)],
    limit: usize,
) -> Result<Found, Problem> {
    super::freshen(server, criteria).await?;
    let own_bases = server.own_bases();
    let predicate = query::parse_condition(
        resource_type,
        criteria,
        &super::context(server, &own_bases, &super::Knowledge::of(server)),
    )?;
    let mut with_words = Vec::new();
    predicate.types_with_words(resource_type, &mut with_words);
    if !with_words.is_empty() {
        // What is promised at commit time must not depend on an index that is filled by searches.
        let text = "`_text` and `_content` have no place in a condition";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
    }
    let predicate = compartment::narrow(access, resource_type, predicate);
    let query = SearchQuery {
        resource_type,
        predicate: predicate.clone(),
        sort: Vec::new(),
        limit,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server
        .store
        .search(query)
        .await
        .map_err(|e| store_problem(&e))?;
    let keys = page.matches.into_iter().map(|stored| stored.key).collect();
    Ok(Found {
        resource_type,
        predicate,
        keys,
    })
}
