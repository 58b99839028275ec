//! Bulk export: many resources as NDJSON files, made behind the request.
//!
//! Spec: <https://hl7.org/fhir/uv/bulkdata/STU2/export.html>. A finished export is a folder with a manifest, so it outlives a
//! restart; an interrupted one is gone. Left out: `_typeFilter`, `_elements` and `patient`, which are refused.

mod job;
mod write;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::Act;
use fhir_core::datatype::date::{self, Zone};
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::search::compartment;

use super::parameters::{self, bad};
use crate::http::call::Call;
use crate::interactions::{Answer, deleted, not_found};
pub use job::Jobs;

/// Media types of NDJSON that `_outputFormat` may name.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Patients of a Group at most.
const GROUP_PATIENTS_MAX: usize = 10_000;

/// Whose resources are exported.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Everything.
    System,
    /// What belongs to any patient.
    Patients,
    /// What belongs to these patients.
    Members(Vec<ResourceKey>),
}

/// What is exported.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub scope: Scope,
    /// Of which types.
    pub types: Vec<ResourceTypeId>,
    /// Only what changed at or after this.
    pub since: Option<Instant>,
    /// The URL that was asked, for the manifest.
    pub url: String,
}

/// `GET` and `POST [base]/$export`
///
/// # Errors
/// `bad-parameter-value`, `unknown-parameter`; `overloaded` when too many exports are under way
pub async fn of_system(call: Call) -> Result<Answer, Problem> {
    begin(call, Scope::System).await
}

/// `GET` and `POST [base]/Patient/$export`
///
/// # Errors
/// As [`of_system`]; `no-route` for other types
pub async fn of_type(call: Call) -> Result<Answer, Problem> {
    if call.resource_type()?.name() != "Patient" {
        return Err(no_route());
    }
    begin(call, Scope::Patients).await
}

/// `GET` and `POST [base]/Group/[id]/$export`
///
/// # Errors
/// As [`of_system`]; `no-route` for other types, `not-found`, `deleted`
pub async fn of_group(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    if key.resource_type.name() != "Group" {
        return Err(no_route());
    }
    call.access.permit(Act::Read, key.resource_type)?;
    let group = call.server.current(&key).await?;
    let group = group.ok_or_else(|| not_found(&key))?;
    if group.deleted {
        return Err(deleted(&key));
    }
    let document = parameters::stored(&group.json)?;
    let entries = call.server.extract(key.resource_type, document.root());
    let member = Definitions::r4().search_param(key.resource_type, "member");
    let mut members: Vec<ResourceKey> = entries
        .iter()
        .filter(|entry| member.is_some_and(|member| member.id == entry.param))
        .filter_map(|entry| match &entry.value {
            fhir_core::index::IndexValue::Reference(key) => Some(key.clone()),
            _ => None,
        })
        .filter(|key| key.resource_type.name() == "Patient")
        .collect();
    members.sort();
    members.dedup();
    if members.len() > GROUP_PATIENTS_MAX {
        let text = format!("the Group has more than {GROUP_PATIENTS_MAX} patients");
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
    }
    begin(call, Scope::Members(members)).await
}

fn no_route() -> Problem {
    let text = "`$export` exists for the system, for Patient and for a Group";
    Problem::new(ErrorKind::NO_ROUTE, text)
}

async fn begin(mut call: Call, scope: Scope) -> Result<Answer, Problem> {
    let prefer = call.fhir_header("prefer").unwrap_or_default();
    if !prefer.contains("respond-async") {
        let text = "an export takes its time: send `Prefer: respond-async`";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("Prefer"));
    }
    let all = parameters::simple(&mut call).await?;
    let mut types = possible_types(&scope);
    let mut since = None;
    for (name, value) in &all {
        match name.as_str() {
            "_outputFormat" if FORMATS.contains(&value.as_str()) => {}
            "_outputFormat" => {
                return Err(bad("_outputFormat", "is `application/fhir+ndjson`"));
            }
            "_since" => {
                let moment = date::parse_search(value).map(|moment| moment.start(Zone::UTC));
                since = Some(moment.ok_or_else(|| {
                    bad("_since", "must be an instant such as 2026-01-01T00:00:00Z")
                })?);
            }
            "_type" => types = chosen(&types, value)?,
            other => {
                return Err(parameters::unknown(
                    other,
                    "`_type`, `_since` and `_outputFormat`",
                ));
            }
        }
    }
    for resource_type in &types {
        call.access.permit(Act::Search, *resource_type)?;
    }
    let url = format!("{}{}", call.server.base_url, below_base(&call));
    let request = Request {
        scope,
        types,
        since,
        url,
    };
    let server = std::sync::Arc::clone(&call.server);
    let id = server
        .exports
        .begin(&server, call.access.clone(), request)?;
    Ok(Answer {
        status: 202,
        content_location: Some(format!("{}/$export-status/{id}", server.base_url)),
        ..Answer::default()
    })
}

/// Path and query of the request below the FHIR base.
fn below_base(call: &Call) -> String {
    let uri = call.request().uri().to_string();
    uri.split_once("/fhir")
        .map_or(uri.clone(), |(_, rest)| rest.to_owned())
}

fn possible_types(scope: &Scope) -> Vec<ResourceTypeId> {
    let definitions = Definitions::r4();
    let all = definitions.concrete_types();
    match scope {
        Scope::System => all.collect(),
        Scope::Patients | Scope::Members(_) => all
            .filter(|t| {
                t.name() == "Patient" || !definitions.compartment_params("Patient", *t).is_empty()
            })
            .collect(),
    }
}

fn chosen(possible: &[ResourceTypeId], value: &str) -> Result<Vec<ResourceTypeId>, Problem> {
    let mut chosen = Vec::new();
    for name in value.split(',') {
        let known = Definitions::r4().resource_type(name.trim());
        let known = known.filter(|t| possible.contains(t));
        chosen
            .push(known.ok_or_else(|| bad("_type", "names a type that cannot be exported here"))?);
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// `GET [base]/$export-status/[job]`: 202 with progress, or 200 with the manifest.
///
/// # Errors
/// `not-found`
pub async fn status(call: Call) -> Result<Answer, Problem> {
    let server = &call.server;
    let id = call.request().match_info().query("job");
    match server.exports.status(id)? {
        job::Status::Running(progress) => Ok(Answer {
            status: 202,
            progress: Some(progress),
            ..Answer::default()
        }),
        job::Status::Done(manifest) => Ok(Answer {
            media_type: Some("application/json".to_owned()),
            ..Answer::ok(manifest)
        }),
        job::Status::Failed(problem) => Err(problem),
    }
}

/// `DELETE [base]/$export-status/[job]`: stops the export and removes its files.
///
/// # Errors
/// `not-found`
pub async fn delete(call: Call) -> Result<Answer, Problem> {
    let id = call.request().match_info().query("job");
    call.server.exports.delete(id)?;
    Ok(Answer {
        status: 202,
        ..Answer::default()
    })
}

/// `GET [base]/$export-status/[job]/[file]`
///
/// # Errors
/// `not-found`, `not-acceptable`
pub async fn file(call: Call) -> Result<Answer, Problem> {
    let info = call.request().match_info();
    let bytes = call
        .server
        .exports
        .file(info.query("job"), info.query("file"))?;
    Ok(Answer {
        media_type: Some("application/fhir+ndjson".to_owned()),
        ..Answer::ok(bytes)
    })
}

/// Whether a type can be narrowed to patients.
pub fn members_of_any(resource_type: ResourceTypeId) -> fhir_core::search::predicate::Predicate {
    compartment::members_of_any("Patient", resource_type)
}
