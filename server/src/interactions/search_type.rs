//! Resources of one type that meet criteria.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#search>

use conformance::ResourceTypeId;
use fhir_core::access::Access;
use fhir_core::issue::{ErrorKind, Problem};

use super::Answer;
use crate::app::Server;
use crate::ehr::read_through;
use crate::http::call::Call;
use crate::http::prefer::Handling;
use crate::search::{self, Target, condition};

/// `GET [base]/[type]?[parameters]` and `GET [base]/[type]/_search?[parameters]`
///
/// # Errors
/// What the parameters are refused for; `too-costly`, `overloaded`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let handling = call.prefer().handling;
    let resource_type = call.resource_type()?;
    if let Some(tenant) = call.fhir_header(read_through::HEADER) {
        return through(&call, tenant, resource_type, parameters, handling).await;
    }
    perform(
        &call.server,
        &call.access,
        resource_type,
        parameters,
        handling,
    )
    .await
}

/// A search for one patient by identifier that may fetch it from an EHR first.
async fn through(
    call: &Call,
    tenant: &str,
    resource_type: ResourceTypeId,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Answer, Problem> {
    let is_criterion = |(name, _): &&(String, String)| name != "_format" && name != "_pretty";
    let criteria: Vec<_> = parameters.iter().filter(is_criterion).cloned().collect();
    let [(name, identifier)] = criteria.as_slice() else {
        return Err(only_by_identifier());
    };
    if resource_type.name() != "Patient" || name != "identifier" {
        return Err(only_by_identifier());
    }
    read_through::key(identifier)?;
    let known = condition::resolve(&call.server, &call.access, resource_type, &criteria);
    if matches!(known.await?.one(), Ok(None)) {
        read_through::fetch(&call.server, tenant, identifier).await?;
    }
    perform(
        &call.server,
        &call.access,
        resource_type,
        parameters,
        handling,
    )
    .await
}

fn only_by_identifier() -> Problem {
    let text = "with `Stoker-Tenant`, a Patient is searched by `identifier` and nothing else";
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(read_through::HEADER)
}

/// `GET [base]/[compartment]/[id]/[type]?[parameters]`: what belongs to one patient, encounter, practitioner, related
/// person or device. <https://hl7.org/fhir/R4/http.html#vsearch>
///
/// # Errors
/// As [`handle`]; `no-route` for a type that has no compartment
pub async fn handle_compartment(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let handling = call.prefer().handling;
    let target = Target {
        resource_type: call.member_type()?,
        owner: Some(call.key()?),
    };
    run(&call.server, &call.access, &target, parameters, handling).await
}

/// `POST [base]/[type]/_search`: parameters of URL and form together.
///
/// # Errors
/// As [`handle`]; `unsupported-media-type`
pub async fn handle_form(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    let mut parameters = call.query()?;
    parameters.extend(call.form().await?);
    let handling = call.prefer().handling;
    perform(
        &call.server,
        &call.access,
        resource_type,
        parameters,
        handling,
    )
    .await
}

/// One page of a search.
///
/// # Errors
/// As [`handle`]
pub async fn perform(
    server: &Server,
    access: &Access,
    resource_type: ResourceTypeId,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Answer, Problem> {
    let target = Target {
        resource_type,
        owner: None,
    };
    run(server, access, &target, parameters, handling).await
}

/// One page of what is searched.
///
/// # Errors
/// As [`handle`]
pub async fn run(
    server: &Server,
    access: &Access,
    target: &Target,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Answer, Problem> {
    search::run(server, access, target, parameters, handling.into())
        .await
        .map(Answer::ok)
}
