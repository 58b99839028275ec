//! Creating an Observation, as strict as the vendors and as silent: the body of a success is empty.
//!
//! Spec: vendor documentation, and a capture of what came back for what was posted.
//! Leaves out update and delete, and every type but Observation.

use fhir_core::json::Value;

use crate::outcome::{epic_issue, oracle_issue, outcome};
use crate::wire::{Request, Response};
use crate::world::{Row, What};
use crate::{State, Vendor};

/// LOINC codes that the simulated site has a place for.
const MAPPED: [&str; 6] = ["8867-4", "8310-5", "29463-7", "2823-3", "718-7", "85354-9"];
/// Categories rows can have.
const CATEGORIES: [&str; 4] = ["vital-signs", "laboratory", "social-history", "survey"];

pub(crate) fn create(state: &mut State, request: &Request) -> Response {
    let allowed = state.client.scopes.iter().any(|scope| {
        let rights = scope.strip_prefix("system/Observation.");
        rights.is_some_and(|rights| rights.starts_with('c'))
    });
    if !allowed {
        return Response::empty(403);
    }
    let Some((patient, category)) = places(state, &request.body) else {
        return refuse(state, "59102", "required");
    };
    let Ok(body) = Value::parse(&request.body) else {
        return refuse(state, "59102", "invalid");
    };
    if !is_mapped(&body) {
        return refuse(state, "59187", "business-rule");
    }
    if state.vendor == Vendor::Oracle
        && category == "vital-signs"
        && body.get("performer").is_none()
    {
        return refuse(state, "", "required");
    }
    let id = file(state, patient, category, body);
    if std::mem::take(&mut state.faults.lose_answer_of_write) {
        return Response::html(504);
    }
    let place = format!("{}/Observation/{id}", state.base);
    match state.vendor {
        Vendor::Epic => Response::empty(201).header("Location", &place),
        Vendor::Oracle => Response::text(201, "text/html", "")
            .header("Location", &place)
            .header("ETag", "W/\"1\""),
    }
}

fn refuse(state: &State, code: &str, kind: &str) -> Response {
    let issue = match state.vendor {
        Vendor::Epic => epic_issue("fatal", kind, code, ""),
        Vendor::Oracle => oracle_issue(kind, "Unprocessable"),
    };
    let status = if state.vendor == Vendor::Epic {
        400
    } else {
        422
    };
    Response::json(status, "application/fhir+json", &outcome(vec![issue]))
}

/// The patient and the one category, if both are known.
fn places(state: &State, body: &[u8]) -> Option<(String, &'static str)> {
    let body = Value::parse(body).ok()?;
    let subject = body.get("subject")?.get("reference")?.as_str()?;
    let patient = subject.strip_prefix("Patient/")?.to_owned();
    let person = state.world.people.get(&patient)?;
    if person.merged_into.is_some() {
        return None;
    }
    let categories = body.get("category")?.as_array()?;
    let [only] = categories else { return None };
    let code = codes(only).into_iter().next()?;
    let category = CATEGORIES.into_iter().find(|known| *known == code)?;
    Some((patient, category))
}

fn is_mapped(body: &Value) -> bool {
    let codes = body.get("code").map(codes).unwrap_or_default();
    codes.iter().any(|code| MAPPED.contains(&code.as_str()))
}

fn codes(concept: &Value) -> Vec<String> {
    let codings = concept.get("coding").and_then(Value::as_array);
    let codings = codings.unwrap_or_default().iter();
    codings
        .filter_map(|coding| coding.get("code")?.as_str().map(str::to_owned))
        .collect()
}

fn file(state: &mut State, patient: String, category: &'static str, body: Value) -> String {
    let now = state.world.now_s();
    let id = state.world.next_id(category);
    state.world.push(Row {
        id: id.clone(),
        patient,
        category,
        // Only for the order of rows; the text is served as posted.
        effective_s: now,
        filed_s: now,
        version: 1,
        what: What::Posted(body),
        status: "final",
    });
    id
}
