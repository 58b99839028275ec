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
    let own_bases = server.own_bases();
    let predicate =
        query::parse_condition(resource_type, criteria, &super::context(server, &own_bases))?;
    let predicate = compartment::narrow(access, resource_type, predicate);
    let query = SearchQuery {
        resource_type,
        predicate: predicate.clone(),
        sort: Vec::new(),
        // Two are enough to know that it is not one.
        limit: 2,
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
