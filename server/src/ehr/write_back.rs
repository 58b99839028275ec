//! `/admin/tenants/{tenant}/observations`: Observations of ours that are written to an EHR, each with what became of it.
//!
//! What may be sent, and how, is [`ehr::write_back`]'s; here it is made sure that the intention is durable before the
//! request leaves, so that a crash or a lost answer never leads to a second one. Left out: changing what was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use ehr::EhrError;
use ehr::write_back::{Found, Letter, Sent, letter};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::StoreError;

use super::admin::{entry, json, read_text, rendered};
use super::runner;
use super::state::texts;
use super::tenants::Entry;
use crate::app::{Server, store_problem};
use crate::http::reply;

/// Begin of the notes that hold what became of a write.
const NOTE: &str = "write:";

/// Registers the URLs.
pub fn configure(urls: &mut web::ServiceConfig) {
    urls.route("/admin/tenants/{tenant}/observations", web::get().to(list))
        .route(
            "/admin/tenants/{tenant}/observations",
            web::post().to(write),
        )
        .route(
            "/admin/tenants/{tenant}/observations/{id}",
            web::delete().to(forget),
        );
}

/// `GET /admin/tenants/{tenant}/observations`
#[utoipa::path(
    get,
    path = "/admin/tenants/{tenant}/observations",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses((status = 200, description = "What was written to the EHR, what was refused, and what nobody knows"))
)]
pub async fn list(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let entry = entry(&server, &request)?;
        let notes = server.store.ehr_notes(&entry.tenant.name, NOTE).await;
        let notes = notes.map_err(|e| store_problem(&e))?;
        let shown = notes.iter().filter_map(|(_, at, bytes)| {
            let mut value = Value::parse(bytes).ok()?;
            value.as_object_mut()?.insert("at", at.to_fhir().into());
            Some(value)
        });
        let list = Value::object([("observations", Value::Array(shown.collect()))]);
        Ok(json(StatusCode::OK, &list))
    };
    rendered(work.await)
}

/// `POST /admin/tenants/{tenant}/observations`, the body `{"reference": "Observation/id"}`
#[utoipa::path(
    post,
    path = "/admin/tenants/{tenant}/observations",
    tag = "ehr",
    request_body(content = String, content_type = "application/json", description = "`{\"reference\": \"Observation/id\"}`"),
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 201, description = "Written; `source` is its id at the EHR, if the EHR told"),
        (status = 200, description = "This version was written before; nothing was sent"),
        (status = 403, description = "The tenant does not allow it, or the EHR did not grant it"),
        (status = 404, description = "No such tenant or Observation"),
        (status = 409, description = "Nobody knows whether an earlier request arrived; nothing was sent"),
        (status = 422, description = "It must not be written, or the EHR refused it; nothing is there"),
        (status = 503, description = "It was not sent; ask again later")
    )
)]
pub async fn write(
    server: web::Data<Server>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let server = server.into_inner();
    let work = async {
        let entry = entry(&server, &request)?;
        let text = read_text(body).await?;
        let reference = Value::parse(text.as_bytes()).ok().and_then(|value| {
            let text = value.get("reference")?.as_str()?;
            ResourceKey::parse(text).filter(|key| key.resource_type.name() == "Observation")
        });
        let key = reference.ok_or_else(|| {
            let text = "the body is `{\"reference\": \"Observation/id\"}`";
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
        })?;
        // One at a time: two requests about one Observation must not both find that nothing was sent yet.
        let _errand = entry.errand.acquire().await;
        write_one(&server, &entry, &key).await
    };
    rendered(work.await)
}

async fn write_one(
    server: &Arc<Server>,
    entry: &Entry,
    key: &ResourceKey,
) -> Result<HttpResponse, Problem> {
    let tenant = &entry.tenant;
    if tenant.write_back.is_none() {
        let text = "the tenant's file has no `[write_back]`: nothing is written to this EHR";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    let missing = || Problem::new(ErrorKind::NOT_FOUND, "there is no such Observation");
    let stored = server.current(key).await?.filter(|stored| !stored.deleted);
    let stored = stored.ok_or_else(missing)?;
    let observation = Value::parse(&stored.json)
        .map_err(|error| Problem::new(ErrorKind::INTERNAL, error.to_string()))?;
    let letter = letter_of(server, entry, &observation).await?;
    let note = Note {
        name: format!("{NOTE}{}", key.id),
        reference: key.to_string(),
        version: stored.version.0.to_string(),
    };
    match read_note(server, entry, &note.name).await? {
        Some(before) if before.state == "written" && before.version == note.version => {
            return Ok(json(StatusCode::OK, &before.value));
        }
        Some(before) if before.state == "written" => {
            let text = "an earlier version was written; correct it at the EHR itself";
            return Err(Problem::new(ErrorKind::WRITE_CONFLICT, text));
        }
        Some(before) if matches!(before.state.as_str(), "sending" | "unknown") => {
            return look(server, entry, &letter, &note).await;
        }
        _ => {}
    }
    send(server, entry, &letter, &note).await
}

/// The body for the EHR, about its own patient.
async fn letter_of(server: &Server, entry: &Entry, observation: &Value) -> Result<Letter, Problem> {
    let tenant = &entry.tenant;
    let refuse = |text: String| Problem::new(ErrorKind::INVALID_RESOURCE, text);
    let subject = observation.get("subject").and_then(|s| s.get("reference"));
    let local = subject
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix("Patient/"));
    let local =
        local.ok_or_else(|| refuse("`Observation.subject` is no Patient of ours".into()))?;
    let source = server
        .store
        .ehr_source_of(&tenant.name, tenant.persona.as_str(), local);
    let patient = source.await.map_err(|e| store_problem(&e))?;
    let patient = patient.ok_or_else(|| {
        refuse("`Observation.subject` is no patient of this tenant; nothing is guessed".into())
    })?;
    letter(tenant, observation, &patient).map_err(refuse)
}

/// Sends it: the intention first, then the request, then what became of it.
async fn send(
    server: &Arc<Server>,
    entry: &Entry,
    letter: &Letter,
    note: &Note,
) -> Result<HttpResponse, Problem> {
    let run = runner::fresh(server, entry).await.map_err(|e| unsent(&e))?;
    keep(server, entry, note, "sending", &[]).await?;
    let sent = run.send(letter).await;
    runner::remember(entry, &run);
    let tenant = entry.tenant.name.as_str();
    let (state, why, problem) = match sent {
        Ok(Sent::Written(id)) => {
            let mut more = vec![("leftOut", texts(&letter.left_out))];
            more.extend(id.map(|id| ("source", Value::from(id))));
            let value = keep(server, entry, note, "written", &more).await?;
            tracing::info!(tenant, "an Observation was written to an EHR");
            return Ok(json(StatusCode::CREATED, &value));
        }
        Ok(Sent::Refused(why)) => {
            let text = format!("the EHR refused it: {why}");
            let problem = Problem::new(ErrorKind::INVALID_RESOURCE, text);
            ("refused", why, problem)
        }
        Ok(Sent::NotSent(why)) => {
            let problem = Problem::new(ErrorKind::UNAVAILABLE, format!("not sent: {why}"));
            ("not-sent", why, problem)
        }
        Ok(Sent::Unknown(why)) => {
            tracing::warn!(tenant, "nobody knows whether an Observation reached an EHR");
            let problem = open_question(&format!("the answer is missing ({why})"));
            ("unknown", why, problem)
        }
        Err(error) => ("not-sent", error.to_string(), unsent(&error)),
    };
    keep(server, entry, note, state, &[("why", why.into())]).await?;
    Err(problem)
}

/// An earlier request may have arrived: look, and never send again by ourselves.
async fn look(
    server: &Arc<Server>,
    entry: &Entry,
    letter: &Letter,
    note: &Note,
) -> Result<HttpResponse, Problem> {
    let run = runner::fresh(server, entry).await.map_err(|e| unsent(&e))?;
    run.polite().hurry();
    let found = run.look_for(letter).await;
    runner::remember(entry, &run);
    match found.map_err(|e| unsent(&e))? {
        Found::Ours(id) => {
            let value = keep(server, entry, note, "written", &[("source", id.into())]).await?;
            Ok(json(StatusCode::OK, &value))
        }
        Found::Alike(count) => Err(open_question(&format!(
            "the EHR has {count} like it (same code, time and digits), without our identifier"
        ))),
        Found::Nothing => Err(open_question("the EHR shows nothing like it now")),
    }
}

fn open_question(found: &str) -> Problem {
    let text = format!(
        "an earlier request may have arrived; {found}. Nothing is sent again before somebody has looked at the EHR and \
         has removed the question by DELETE"
    );
    Problem::new(ErrorKind::WRITE_CONFLICT, text)
}

fn unsent(error: &EhrError) -> Problem {
    let kind = match error {
        EhrError::Withheld(_) => ErrorKind::FORBIDDEN,
        _ => ErrorKind::UNAVAILABLE,
    };
    Problem::new(kind, format!("nothing was sent: {error}"))
}

/// `DELETE /admin/tenants/{tenant}/observations/{id}`
#[utoipa::path(
    delete,
    path = "/admin/tenants/{tenant}/observations/{id}",
    tag = "ehr",
    params(
        ("tenant" = String, Path, description = "Tenant"),
        ("id" = String, Path, description = "Our Observation's id")
    ),
    responses(
        (status = 204, description = "Forgotten: it may be sent again. Look at the EHR first"),
        (status = 404, description = "Nothing is known of it"),
        (status = 409, description = "It was written; that is not forgotten")
    )
)]
pub async fn forget(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let entry = entry(&server, &request)?;
        let name = format!("{NOTE}{}", request.match_info().query("id"));
        let _errand = entry.errand.acquire().await;
        let before = read_note(&server, &entry, &name).await?;
        let missing = || Problem::new(ErrorKind::NOT_FOUND, "nothing is known of it");
        if before.ok_or_else(missing)?.state == "written" {
            let text = "it was written; forgetting that could write it twice";
            return Err(Problem::new(ErrorKind::WRITE_CONFLICT, text));
        }
        let store = &server.store;
        let gone = store.ehr_put_note(&entry.tenant.name, &name, bytes::Bytes::new());
        gone.await.map_err(|e| store_problem(&e))?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    };
    rendered(work.await)
}

/// What was written to a tenant and is known by its id there: that id and ours.
///
/// # Errors
/// What the store says.
pub(super) async fn written(
    server: &Server,
    tenant: &str,
) -> Result<BTreeMap<String, String>, StoreError> {
    let notes = server.store.ehr_notes(tenant, NOTE).await?;
    let pairs = notes.iter().filter_map(|(name, _, bytes)| {
        let value = Value::parse(bytes).ok()?;
        let source = value.get("source")?.as_str()?.to_owned();
        Some((source, name.strip_prefix(NOTE)?.to_owned()))
    });
    Ok(pairs.collect())
}

/// Which Observation a note is about.
struct Note {
    name: String,
    reference: String,
    version: String,
}

/// A note as kept.
struct Kept {
    state: String,
    version: String,
    value: Value,
}

async fn keep(
    server: &Server,
    entry: &Entry,
    note: &Note,
    state: &str,
    more: &[(&'static str, Value)],
) -> Result<Value, Problem> {
    let mut members = vec![
        ("reference", Value::from(note.reference.as_str())),
        ("version", note.version.as_str().into()),
        ("state", state.into()),
    ];
    members.extend(more.iter().cloned());
    let value = Value::object(members);
    let bytes = value.to_bytes().into();
    let kept = server
        .store
        .ehr_put_note(&entry.tenant.name, &note.name, bytes);
    kept.await.map_err(|e| store_problem(&e))?;
    Ok(value)
}

async fn read_note(server: &Server, entry: &Entry, name: &str) -> Result<Option<Kept>, Problem> {
    let kept = server.store.ehr_note(&entry.tenant.name, name).await;
    let Some(bytes) = kept.map_err(|e| store_problem(&e))? else {
        return Ok(None);
    };
    let damaged = || Problem::new(ErrorKind::INTERNAL, "a note of a write cannot be read");
    let value = Value::parse(&bytes).map_err(|_| damaged())?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (state, version) = text("state").zip(text("version")).ok_or_else(damaged)?;
    Ok(Some(Kept {
        state,
        version,
        value,
    }))
}
