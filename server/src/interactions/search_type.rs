//! Resources of one type that meet criteria.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#search>

use conformance::ResourceTypeId;
use fhir_core::access::Access;
use fhir_core::issue::Problem;

use super::Answer;
use crate::app::Server;
use crate::http::call::Call;
use crate::http::prefer::Handling;
use crate::search::{self, Target};

/// `GET [base]/[type]?[parameters]` and `GET [base]/[type]/_search?[parameters]`
///
/// # Errors
/// What the parameters are refused for; `too-costly`, `overloaded`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let handling = call.prefer().handling;
    perform(
        &call.server,
        &call.access,
        call.resource_type()?,
        parameters,
        handling,
    )
    .await
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
