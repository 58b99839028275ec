//! Many resources at once, one on each line.
//!
//! An operation of this server's own: NDJSON in the body, each resource put under its id or created when it has none. What is
//! wrong with a line is reported and does not stop the others. Left out: fetching files from elsewhere, which would let a
//! client make this server call other machines.

use actix_web::http::header;
use conformance::Definitions;
use fhir_core::body::resource_type_name;
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Number, Value};
use futures_util::StreamExt;

use super::parameters::{self, one};
use crate::http::call::Call;
use crate::http::prefer::Return;
use crate::interactions::{Answer, create, update};
use crate::write::Need;

/// Resources under way at a time: together they fill group commits.
const PARALLEL_MAX: usize = 32;

/// Failures told at most; the rest is counted.
const FAILURES_TOLD_MAX: usize = 100;

/// `POST [base]/$import`
///
/// # Errors
/// `unsupported-media-type`, `too-large`; faults of single lines are part of the answer
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let content_type = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !matches!(
        media_type,
        "application/fhir+ndjson" | "application/ndjson" | "application/x-ndjson"
    ) {
        let text = "send resources as `application/fhir+ndjson`, one on each line";
        return Err(Problem::new(ErrorKind::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let bytes = call.bytes().await?;
    let lines = bytes
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    let call = &call;
    let work = lines.map(|(number, line)| async move { (number + 1, put(call, line).await) });
    let results: Vec<_> = futures_util::stream::iter(work)
        .buffer_unordered(PARALLEL_MAX)
        .collect()
        .await;
    Ok(report(results))
}

async fn put(call: &Call, line: &[u8]) -> Result<u16, Problem> {
    let document = Document::parse(line).map_err(|error| {
        Problem::new(ErrorKind::BAD_JSON, format!("it cannot be read: {error}"))
    })?;
    let root = document.root();
    let name = resource_type_name(root);
    let resource_type = name.and_then(|name| Definitions::r4().resource_type(&name));
    let resource_type = resource_type.ok_or_else(|| {
        let text = "it is no resource of FHIR R4";
        Problem::new(ErrorKind::UNKNOWN_TYPE, text)
    })?;
    let id = root.get("id").and_then(|id| id.as_str()).map(|id| {
        ResourceId::parse(&id).ok_or_else(|| {
            let text = "its `id` is no logical id";
            Problem::new(ErrorKind::BAD_ID, text)
        })
    });
    let (server, access) = (&call.server, &call.access);
    let answer = match id.transpose()? {
        Some(id) => {
            let key = ResourceKey { resource_type, id };
            update::perform(
                server,
                access,
                key,
                document,
                Need::Nothing,
                Return::Minimal,
            )
            .await?
        }
        None => {
            create::perform(
                server,
                access,
                resource_type,
                document,
                None,
                Return::Minimal,
            )
            .await?
        }
    };
    Ok(answer.status)
}

fn report(mut results: Vec<(usize, Result<u16, Problem>)>) -> Answer {
    results.sort_by_key(|(number, _)| *number);
    let count = |status: u16| results.iter().filter(|(_, r)| *r == Ok(status)).count();
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    let number = |name: &str, count: usize| {
        let number = Number::parse(&count.to_string());
        number.map(|number| one(name, "valueInteger", Value::Number(number)))
    };
    let mut all: Vec<Value> = [
        number("created", count(201)),
        number("updated", count(200)),
        number("failed", failed),
    ]
    .into_iter()
    .flatten()
    .collect();
    let failures = results.iter().filter_map(|(line, result)| {
        let problem = result.as_ref().err()?;
        let text = format!("line {line}: {problem}");
        Some(one("failure", "valueString", Value::from(text.as_str())))
    });
    all.extend(failures.take(FAILURES_TOLD_MAX));
    Answer::ok(parameters::answer(all))
}
