//! The files of an export: one for each type that has resources.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use conformance::ResourceTypeId;
use fhir_core::access::Access;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Number, Value};
use fhir_core::search::compartment;
use fhir_core::search::predicate::{Comparison, DateTest, Predicate};
use fhir_store::{Only, SearchQuery, TotalMode};

use super::job::{Progress, no_room};
use super::{Request, Scope};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::interaction::Interaction;

/// Resources read at a time: a few MiB.
const PAGE_RESOURCES: usize = 1_000;

/// Patients whose resources are looked for together.
const PATIENTS_TOGETHER: usize = 50;

/// Writes all files; answers the manifest.
///
/// # Errors
/// The database or the disk fails; `not-found` when it was stopped
pub async fn all(
    server: &Server,
    access: &Access,
    request: &Request,
    job: &str,
    folder: &Path,
    progress: &Progress,
) -> Result<Vec<u8>, Problem> {
    let started_at = (server.clock)();
    let mut output = Vec::new();
    for resource_type in &request.types {
        let count = one_type(server, access, request, *resource_type, folder, progress).await?;
        if count == 0 {
            continue;
        }
        let name = resource_type.name();
        let url = format!("{}/$export-status/{job}/{name}.ndjson", server.base_url);
        let mut members = vec![
            ("type", Value::from(name)),
            ("url", Value::from(url.as_str())),
        ];
        let number = Number::parse(&count.to_string());
        members.extend(number.map(|number| ("count", Value::Number(number))));
        output.push(Value::object(members));
    }
    server
        .reads
        .push(audit::record(access, Interaction::Operation, 'R', None));
    let manifest = Value::object([
        (
            "transactionTime",
            Value::from(started_at.to_fhir().as_str()),
        ),
        ("request", Value::from(request.url.as_str())),
        ("requiresAccessToken", Value::Bool(false)),
        ("output", Value::Array(output)),
        ("error", Value::Array(Vec::new())),
    ]);
    Ok(manifest.to_bytes())
}

/// Writes the file of one type; answers how many resources it has. Without any there is no file.
async fn one_type(
    server: &Server,
    access: &Access,
    request: &Request,
    resource_type: ResourceTypeId,
    folder: &Path,
    progress: &Progress,
) -> Result<u64, Problem> {
    let path = folder.join(format!("{}.ndjson", resource_type.name()));
    let (mut file, mut count) = (None, 0);
    for predicate in parts(&request.scope, resource_type) {
        let predicate = Predicate::And(vec![predicate, since(request)]);
        let predicate = compartment::narrow(access, resource_type, predicate);
        let mut after = None;
        loop {
            if progress.is_stopped.load(Ordering::Relaxed) || server.is_stopping() {
                return Err(Problem::new(ErrorKind::NOT_FOUND, "the export was stopped"));
            }
            let query = SearchQuery {
                resource_type,
                predicate: predicate.clone(),
                sort: Vec::new(),
                limit: PAGE_RESOURCES,
                after,
                total: TotalMode::None,
                only: Only::Bodies,
            };
            let page = server.store.search(query).await;
            let page = page.map_err(|e| store_problem(&e))?;
            if file.is_none() && !page.matches.is_empty() {
                let made = File::create(&path).map_err(|e| no_room(&e))?;
                file = Some(BufWriter::new(made));
            }
            if let Some(file) = &mut file {
                for stored in &page.matches {
                    file.write_all(&stored.json).map_err(|e| no_room(&e))?;
                    file.write_all(b"\n").map_err(|e| no_room(&e))?;
                }
            }
            let found = u64::try_from(page.matches.len()).unwrap_or(u64::MAX);
            count += found;
            progress.resources.fetch_add(found, Ordering::Relaxed);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    if let Some(mut file) = file {
        file.flush().map_err(|e| no_room(&e))?;
    }
    Ok(count)
}

/// The searches that together find what is wanted of a type.
fn parts(scope: &Scope, resource_type: ResourceTypeId) -> Vec<Predicate> {
    match scope {
        Scope::System => vec![Predicate::Everything],
        Scope::Patients => vec![super::members_of_any(resource_type)],
        Scope::Members(keys) => keys
            .chunks(PATIENTS_TOGETHER)
            .map(|keys| {
                let members = keys
                    .iter()
                    .map(|key| compartment::members(key, resource_type));
                Predicate::Or(members.collect())
            })
            .collect(),
    }
}

fn since(request: &Request) -> Predicate {
    match request.since {
        None => Predicate::Everything,
        Some(since) => Predicate::LastUpdated(DateTest {
            comparison: Comparison::GreaterOrEqual,
            start: since.0,
            end: since.0.saturating_add(1),
        }),
    }
}
