//! Group export: 202, a wait, a manifest, and files that redirect to another server which refuses our token.
//!
//! Spec: <https://hl7.org/fhir/uv/bulkdata/export.html>. Leaves out cancelling half-way and error files.

use fhir_core::json::Value;

use crate::wire::{Request, Response};
use crate::world::instant;
use crate::{State, object, token};

/// Rows in one file.
const ROWS_PER_FILE: usize = 40;

/// One export.
#[derive(Default)]
pub(crate) struct Job {
    /// Lines of each file.
    files: Vec<(String, Vec<String>)>,
    looks: u32,
    at: String,
}

pub(crate) fn answer(state: &mut State, request: &Request, path: &str) -> Option<Response> {
    if !path.ends_with("/$export") && !path.starts_with("bulk/") {
        return None;
    }
    if !token::is_authorised(state, request) {
        return Some(Response::empty(401));
    }
    if path.ends_with("/$export") {
        return Some(kick_off(state, request));
    }
    if request.method == "DELETE" {
        state.job = None;
        return Some(Response::empty(202));
    }
    Some(match path.strip_prefix("bulk/file/") {
        // The presigned address of another origin.
        Some(file) => Response::empty(307).header("Location", &format!("{}/{file}", state.storage)),
        None => status(state),
    })
}

fn kick_off(state: &mut State, request: &Request) -> Response {
    let since = request.parameter("_since").unwrap_or_default().to_owned();
    let mut files = Vec::new();
    let people: Vec<String> = state
        .world
        .people
        .values()
        .filter(|person| person.merged_into.is_none() && *since <= *instant(person.filed_s))
        .map(|person| person.body.to_string())
        .collect();
    files.push(("Patient".to_owned(), people));
    let rows: Vec<String> = state
        .world
        .rows
        .iter()
        .filter(|row| *since <= *instant(row.filed_s))
        .map(|row| state.world.render(row, &state.base, false).to_string())
        .collect();
    for chunk in rows.chunks(ROWS_PER_FILE) {
        files.push(("Observation".to_owned(), chunk.to_vec()));
    }
    state.job = Some(Job {
        files,
        looks: 0,
        at: instant(state.world.now_s()),
    });
    Response::empty(202).header("Content-Location", &format!("{}/bulk/status", state.base))
}

fn status(state: &mut State) -> Response {
    let base = state.base.clone();
    let Some(job) = &mut state.job else {
        return Response::empty(404);
    };
    job.looks += 1;
    if job.looks == 1 {
        // Hours were seen asked for.
        return Response::empty(202)
            .header("Retry-After", "18000")
            .header("X-Progress", "in-progress");
    }
    let files = job.files.iter().enumerate().map(|(number, (of, _))| {
        object([
            ("type", of.as_str().into()),
            ("url", format!("{base}/bulk/file/{number}").into()),
        ])
    });
    let body = object([
        ("transactionTime", job.at.as_str().into()),
        ("request", base.as_str().into()),
        ("requiresAccessToken", Value::Bool(true)),
        ("output", Value::Array(files.collect())),
        ("error", Value::Array(Vec::new())),
    ]);
    Response::json(200, "application/json", &body)
}

/// The file store.
pub(crate) fn storage(state: &mut State, request: &Request) -> Response {
    if request.header("authorization").is_some() {
        return Response::text(400, "application/xml", "<Error>one mechanism only</Error>");
    }
    let number: Option<usize> = request.path.trim_start_matches('/').parse().ok();
    let file = number.and_then(|number| state.job.as_ref()?.files.get(number));
    match file {
        Some((_, lines)) => Response::text(200, "application/fhir+ndjson", &lines.join("\n")),
        None => Response::empty(404),
    }
}
