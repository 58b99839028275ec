//! How a search is understood, where it would begin, and how many rows that means; nothing is searched but a count.
//!
//! An operation of this server's own, for people who wonder about a result or a slow search. Its answer names parameters
//! and plans; it is not meant to be read by programs.

use fhir_core::access::Act;
use fhir_core::issue::Problem;
use fhir_core::json::Value;
use fhir_core::search::describe;
use fhir_core::search::query;

use super::parameters::{self, one};
use crate::app::store_problem;
use crate::http::call::Call;
use crate::interactions::Answer;
use crate::search;

/// `GET [base]/[type]/$explain?[parameters of a search]`
///
/// # Errors
/// What the parameters are refused for
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Search, resource_type)?;
    let server = &call.server;
    let handling: query::Handling = call.prefer().handling.into();
    let request = search::parse(server, resource_type, &call.query()?, handling)?;
    let text = |text: String| Value::from(text.as_str());
    let mut found = vec![
        one(
            "understood",
            "valueString",
            text(describe::predicate(&request.predicate)),
        ),
        one("sort", "valueString", text(describe::sort(&request.sort))),
    ];
    let query = search::count_query(server, &call.access, &request);
    let total = server.store.search(query.clone()).await;
    let total = total.map_err(|e| store_problem(&e))?.total;
    if let Some(total) = total {
        let number = fhir_core::json::Number::parse(&total.to_string());
        found.extend(number.map(|n| one("estimatedMatches", "valueDecimal", Value::Number(n))));
    }
    let plan = server.store.explain(query).await;
    let plan = plan.map_err(|e| store_problem(&e))?;
    found.push(one("plan", "valueString", text(plan)));
    found.extend(
        request
            .warnings
            .iter()
            .map(|issue| one("warning", "valueString", text(issue.diagnostics.clone()))),
    );
    Ok(Answer::ok(parameters::answer(found)))
}
