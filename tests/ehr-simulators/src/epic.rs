//! Epic's manners.
//!
//! Spec: fhir.epic.com documentation and captures. Leaves out every search but those of the adapter's profile.

use std::collections::BTreeMap;

use fhir_core::json::{Number, Value};

use crate::outcome::{epic_issue, outcome};
use crate::wire::{Request, Response};
use crate::world::{Row, instant};
use crate::{State, object, token, write};

const JSON: &str = "application/fhir+json";
/// Page size when none is asked for, and the largest.
const PAGE_MAX: usize = 1000;

/// Open page sessions: what is left of each, and its page size. Asked once, a session link is used up.
pub(crate) type Sessions = BTreeMap<String, (Vec<Row>, usize)>;

pub(crate) fn metadata(request: &Request) -> Response {
    if !wants_json(request) {
        return xml();
    }
    let parameters = |names: &[&str]| {
        let list = names.iter().map(|name| object([("name", (*name).into())]));
        Value::Array(list.collect())
    };
    let resource = |name: &str, names: &[&str]| {
        object([("type", name.into()), ("searchParam", parameters(names))])
    };
    let rest = object([
        ("mode", "server".into()),
        (
            "resource",
            Value::Array(vec![
                resource("Patient", &["_id", "identifier"]),
                resource(
                    "Observation",
                    &["patient", "category", "issued", "date", "code"],
                ),
            ]),
        ),
    ]);
    let body = object([
        ("resourceType", "CapabilityStatement".into()),
        ("fhirVersion", "4.0.1".into()),
        ("software", object([("name", "Epic".into())])),
        ("rest", Value::Array(vec![rest])),
    ]);
    Response::json(200, JSON, &body)
}

fn wants_json(request: &Request) -> bool {
    let accept = request.header("accept").unwrap_or_default();
    accept.contains("application/fhir+json") || accept.contains("application/json")
}

fn xml() -> Response {
    Response::text(
        200,
        "application/xml; charset=utf-8",
        "<Bundle xmlns=\"http://hl7.org/fhir\"/>",
    )
}

pub(crate) fn answer(state: &mut State, request: &Request, path: &str) -> Response {
    if !token::is_authorised(state, request) {
        // The body is two quotes, and that is JSON.
        return Response::text(401, "application/json; charset=utf-8", "\"\"").header(
            "WWW-Authenticate",
            "Bearer error=\"invalid_token\", error_description=\"The access token provided is not valid\"",
        );
    }
    let kind = path.split('/').next().unwrap_or_default();
    if state.faults.forbidden.iter().any(|own| own == kind) {
        return Response::empty(403)
            .header("WWW-Authenticate", "Bearer error=\"insufficient_scope\"");
    }
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("Observation"), None, None) if request.method == "POST" => {
            write::create(state, request)
        }
        (Some("Patient"), None, None) => patients(state, request),
        (Some("Patient"), Some(id), None) => patient(state, request, id),
        (Some("Observation"), None, None) => observations(state, request),
        _ => Response::html(404),
    }
}

fn patient(state: &State, request: &Request, id: &str) -> Response {
    let Some(person) = state.world.people.get(id) else {
        return fail(
            404,
            epic_issue("fatal", "not-found", "59008", "Invalid FHIR ID provided"),
        );
    };
    if let Some(survivor) = &person.merged_into {
        return fail(301, epic_issue("fatal", "processing", "4107", ""))
            .header("Location", &format!("{}/Patient/{survivor}", state.base));
    }
    if !wants_json(request) {
        return xml();
    }
    Response::json(200, JSON, &person.body)
}

/// By identifier only; the search is fuzzy, so somebody whose identifier begins alike is a hit, too.
fn patients(state: &State, request: &Request) -> Response {
    let Some(wanted) = request.parameter("identifier") else {
        return fail(400, epic_issue("fatal", "business-rule", "59159", ""));
    };
    let hits: Vec<Value> = state.world.with_identifier(wanted, true);
    let total = i64::try_from(hits.len()).unwrap_or(0);
    let mut entries: Vec<Value> = hits
        .into_iter()
        .map(|body| object([("resource", body)]))
        .collect();
    if entries.is_empty() {
        let issue = epic_issue("warning", "processing", "4101", "");
        entries.push(object([
            ("resource", outcome(vec![issue])),
            ("search", object([("mode", "outcome".into())])),
        ]));
    }
    let bundle = object([
        ("resourceType", "Bundle".into()),
        ("type", "searchset".into()),
        ("total", Value::Number(Number::from(total))),
        ("entry", Value::Array(entries)),
    ]);
    Response::json(200, JSON, &bundle)
}

fn fail(status: u16, issue: Value) -> Response {
    Response::json(status, JSON, &outcome(vec![issue]))
}

fn observations(state: &mut State, request: &Request) -> Response {
    if let Some(session) = request.parameter("sessionID") {
        let Some((rows, size)) = state.sessions.remove(session) else {
            return fail(
                400,
                epic_issue(
                    "fatal",
                    "processing",
                    "4113",
                    "The paging session has expired.",
                ),
            );
        };
        return page(state, rows, size, request);
    }
    let Some(patient) = request.parameter("patient") else {
        return fail(400, epic_issue("fatal", "business-rule", "59159", ""));
    };
    let category = request.parameter("category");
    let code = request
        .parameter("code")
        .and_then(|code| code.rsplit('|').next());
    if category.is_none() && code.is_none() {
        return fail(400, epic_issue("fatal", "required", "59108", ""));
    }
    if let Some(person) = state.world.people.get(patient)
        && let Some(survivor) = &person.merged_into
    {
        return fail(301, epic_issue("fatal", "processing", "4107", ""))
            .header("Location", &format!("{}/Patient/{survivor}", state.base));
    }
    if category.is_some_and(|wanted| state.faults.forbidden.iter().any(|own| own == wanted)) {
        return Response::empty(403)
            .header("WWW-Authenticate", "Bearer error=\"insufficient_scope\"");
    }
    let from = request
        .parameter("issued")
        .and_then(|text| text.strip_prefix("ge"));
    let since = request
        .parameter("date")
        .and_then(|text| text.strip_prefix("ge"));
    let mut rows = state.world.rows_of(patient);
    rows.retain(|row| {
        category.is_none_or(|wanted| row.category == wanted)
            && code.is_none_or(|wanted| row.loinc() == wanted)
            && !state.faults.hidden.contains(&row.id)
            && since.is_none_or(|since| *since <= *instant(row.effective_s))
            && from.is_none_or(|from| *from <= *instant(row.filed_s))
    });
    let size = request
        .parameter("_count")
        .and_then(|text| text.parse().ok())
        .map_or(PAGE_MAX, |size: usize| size.clamp(1, PAGE_MAX));
    page(state, rows, size, request)
}

fn page(state: &mut State, mut rows: Vec<Row>, size: usize, request: &Request) -> Response {
    if !wants_json(request) {
        return xml();
    }
    let rest = rows.split_off(size.min(rows.len()));
    let mut links = vec![object([
        ("relation", "self".into()),
        (
            "url",
            format!("{}/Observation?category=x&patient=y", state.base).into(),
        ),
    ])];
    if !rest.is_empty() {
        state.pages += 1;
        let session = format!("17-SIM{:08X}", state.pages);
        links.insert(
            0,
            object([
                ("relation", "next".into()),
                (
                    "url",
                    format!("{}/Observation?sessionID={session}", state.base).into(),
                ),
            ]),
        );
        state.sessions.insert(session, (rest, size));
    }
    let asked = rows.first().map(|row| row.patient.clone());
    let foreign = state.world.rows.iter().find(|row| {
        state.faults.foreign_rows && asked.as_ref().is_some_and(|asked| *asked != row.patient)
    });
    let mut entries: Vec<Value> = rows
        .iter()
        .chain(foreign)
        .map(|row| {
            let body = state.world.render(row, &state.base, false);
            object([
                (
                    "fullUrl",
                    format!("{}/Observation/{}", state.base, row.id).into(),
                ),
                ("resource", body),
                ("search", object([("mode", "match".into())])),
            ])
        })
        .collect();
    entries.extend(outcome_entry(state, rows.is_empty()));
    let total = i64::try_from(rows.len()).unwrap_or(0);
    let bundle = object([
        ("resourceType", "Bundle".into()),
        ("type", "searchset".into()),
        // The page's count, not the search's.
        ("total", Value::Number(Number::from(total))),
        ("link", Value::Array(links)),
        ("entry", Value::Array(entries)),
    ]);
    Response::json(200, JSON, &bundle)
}

/// The outcome that comes last: with no results, and with something kept back.
fn outcome_entry(state: &State, empty: bool) -> Option<Value> {
    let mut issues: Vec<Value> = state
        .faults
        .withheld
        .iter()
        .map(|kind| {
            let text = format!(
                "Client not authorized for {kind}. Search results of this type have not been included."
            );
            epic_issue("warning", "suppressed", "59204", &text)
        })
        .collect();
    if empty {
        issues.push(epic_issue("warning", "processing", "4101", ""));
    }
    (!issues.is_empty()).then(|| {
        object([
            (
                "fullUrl",
                "urn:uuid:00000000-0000-4000-8000-00000000000e".into(),
            ),
            ("resource", outcome(issues)),
            ("search", object([("mode", "outcome".into())])),
        ])
    })
}
