//! Resources of several types, or of all, that meet criteria.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#search>, <https://hl7.org/fhir/R4/search.html#all>

use std::sync::Arc;

use fhir_core::access::Access;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;

use super::Answer;
use crate::app::Server;
use crate::http::call::Call;
use crate::http::prefer::Handling;
use crate::search::system;

/// `GET [base]?[parameters]` and `GET [base]/_search?[parameters]`
///
/// # Errors
/// What the parameters are refused for; `too-costly`, `overloaded`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let handling = call.prefer().handling;
    perform(&call.server, &call.access, None, parameters, handling).await
}

/// `POST [base]/_search`: parameters of URL and form together.
///
/// # Errors
/// As [`handle`]; `unsupported-media-type`
pub async fn handle_form(mut call: Call) -> Result<Answer, Problem> {
    let mut parameters = call.query()?;
    parameters.extend(call.form().await?);
    let handling = call.prefer().handling;
    perform(&call.server, &call.access, None, parameters, handling).await
}

/// `GET [base]/[compartment]/[id]/*?[parameters]`: all that is in a compartment.
/// <https://hl7.org/fhir/R4/http.html#vsearch>
///
/// # Errors
/// As [`handle`]; `no-route` for a type that has no compartment
pub async fn handle_compartment(call: Call) -> Result<Answer, Problem> {
    let parameters = call.query()?;
    let handling = call.prefer().handling;
    let owner = call.key()?;
    perform(
        &call.server,
        &call.access,
        Some(&owner),
        parameters,
        handling,
    )
    .await
}

/// One page.
///
/// # Errors
/// As [`handle`]
pub async fn perform(
    server: &Arc<Server>,
    access: &Access,
    owner: Option<&ResourceKey>,
    parameters: Vec<(String, String)>,
    handling: Handling,
) -> Result<Answer, Problem> {
    system::run(server, access, owner, parameters, handling.into())
        .await
        .map(Answer::ok)
}
