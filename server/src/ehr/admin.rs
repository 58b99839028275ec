//! `/admin/tenants`: list, register, remove and run tenants; what they brought, what is complete, what to decide.
//!
//! Who may is decided by [`crate::admin::guard`]. Bodies are JSON, a tenant's file is TOML, errors are OperationOutcomes
//! like everywhere. Left out: changing a tenant in part; register its whole file again.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::BytesMut;
use ehr::port::SourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::EhrKey;
use futures_util::StreamExt;

use super::port::walk_of;
use super::runner::{self, Work};
use super::state::{number, record_key};
use super::tenants::{Entry, FILE_BYTES_MAX, Tenants};
use super::view;
use crate::app::{Server, store_problem};
use crate::http::call::parse_query;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Runs shown with a tenant.
const RUNS_SHOWN: usize = 10;
/// Searches on a page of the completeness unless asked otherwise, and at most.
const WALKS_SHOWN: usize = 200;
const WALKS_SHOWN_MAX: usize = 10_000;

/// Registers the URLs.
pub fn configure(urls: &mut web::ServiceConfig) {
    urls.route("/admin/tenants", web::get().to(list))
        .route("/admin/tenants", web::post().to(register))
        .route("/admin/tenants/{tenant}", web::get().to(show))
        .route("/admin/tenants/{tenant}", web::delete().to(remove))
        .route("/admin/tenants/{tenant}/run", web::post().to(run))
        .route(
            "/admin/tenants/{tenant}/normalise",
            web::post().to(normalise),
        )
        .configure(super::write_back::configure)
        .route(
            "/admin/tenants/{tenant}/completeness",
            web::get().to(completeness),
        )
        .route("/admin/tenants/{tenant}/reviews", web::get().to(reviews))
        .route(
            "/admin/tenants/{tenant}/reviews/{review}",
            web::delete().to(close_review),
        )
        .route("/admin/tenants/{tenant}/source", web::get().to(source))
        .route("/ehr/jwks.json", web::get().to(super::jwks::all))
        .route("/ehr/{tenant}/jwks.json", web::get().to(super::jwks::one));
}

pub(super) fn json(status: StatusCode, value: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("application/json")
        .body(value.to_bytes())
}

pub(super) fn rendered(result: Result<HttpResponse, Problem>) -> HttpResponse {
    result.unwrap_or_else(|problem| reply::problem(&problem, Format::Json))
}

/// The tenant of the URL.
pub(super) fn entry(server: &Server, request: &HttpRequest) -> Result<Arc<Entry>, Problem> {
    server.tenants.get(request.match_info().query("tenant"))
}

/// `GET /admin/tenants`
#[utoipa::path(get, path = "/admin/tenants", tag = "ehr", responses((status = 200, description = "All tenants and whether they run")))]
pub async fn list(server: web::Data<Server>) -> HttpResponse {
    let tenants = server.tenants.all();
    let shown = tenants.iter().map(|entry| view::tenant(entry)).collect();
    let list = Value::object([("tenants", Value::Array(shown))]);
    json(StatusCode::OK, &list)
}

/// `POST /admin/tenants`: the body is the tenant's file.
#[utoipa::path(
    post,
    path = "/admin/tenants",
    tag = "ehr",
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 201, description = "Registered; it is kept over a restart"),
        (status = 200, description = "Replaced"),
        (status = 400, description = "The file cannot be used; line and key are named"),
        (status = 409, description = "A file of the tenants folder has this name")
    )
)]
pub async fn register(server: web::Data<Server>, body: web::Payload) -> HttpResponse {
    let server = server.into_inner();
    let work = async {
        let toml = read_text(body).await?;
        let (entry, is_new) = Tenants::register(&server, &toml).await?;
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let mut response = json(status, &view::tenant(&entry));
        let location = format!("/admin/tenants/{}", entry.tenant.name);
        reply::set(&mut response, header::LOCATION, &location);
        Ok(response)
    };
    rendered(work.await)
}

pub(super) async fn read_text(mut body: web::Payload) -> Result<String, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "the body ended too early")
        })?;
        if bytes.len() + chunk.len() > FILE_BYTES_MAX {
            let text = format!("a tenant's file has {FILE_BYTES_MAX} bytes at most");
            return Err(Problem::new(ErrorKind::TOO_LARGE, text));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "the body is not UTF-8"))
}

/// `GET /admin/tenants/{tenant}`
#[utoipa::path(
    get,
    path = "/admin/tenants/{tenant}",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 200, description = "The tenant, its accounting over all runs, its last runs, how much is complete"),
        (status = 404, description = "No such tenant")
    )
)]
pub async fn show(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    rendered(state(&server, &request).await)
}

async fn state(server: &Server, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let entry = entry(server, request)?;
    let name = &entry.tenant.name;
    let store = &server.store;
    let (pages, totals) = store
        .ehr_totals(name)
        .await
        .map_err(|e| store_problem(&e))?;
    let runs = store.ehr_runs(name, RUNS_SHOWN).await;
    let runs = runs.map_err(|e| store_problem(&e))?;
    let walks = walks(server, name).await?;
    let complete = walks.iter().filter(|(_, state)| view::is_complete(state));
    let (searches, complete) = (walks.len() as u64, complete.count() as u64);
    let oldest = walks
        .iter()
        .filter_map(|(_, state)| state.complete_to)
        .min();
    let questions = store
        .ehr_reviews(name)
        .await
        .map_err(|e| store_problem(&e))?;
    let mut value = view::tenant(&entry);
    if let Some(members) = value.as_object_mut() {
        members.insert("pages", number(pages));
        members.insert("counts", view::counts(&totals));
        members.insert("searches", number(searches));
        members.insert("searchesComplete", number(complete));
        if let Some(oldest) = oldest {
            members.insert("completeToAtLeast", oldest.to_fhir().into());
        }
        members.insert("questions", number(questions.len() as u64));
        let runs = runs.iter().map(view::run).collect();
        members.insert("runs", Value::Array(runs));
    }
    Ok(json(StatusCode::OK, &value))
}

async fn walks(
    server: &Server,
    tenant: &str,
) -> Result<Vec<(ehr::port::WalkKey, ehr::port::WalkState)>, Problem> {
    let rows = server.store.ehr_walks(tenant, None).await;
    let rows = rows.map_err(|e| store_problem(&e))?;
    let walks: Result<Vec<_>, _> = rows.iter().map(walk_of).collect();
    let mut walks = walks.map_err(|error| Problem::new(ErrorKind::INTERNAL, error.to_string()))?;
    walks.retain(|(key, _)| key.is_search());
    Ok(walks)
}

/// `DELETE /admin/tenants/{tenant}`
#[utoipa::path(
    delete,
    path = "/admin/tenants/{tenant}",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 204, description = "Forgotten; what it brought stays"),
        (status = 404, description = "No such tenant"),
        (status = 409, description = "It is a file of the tenants folder")
    )
)]
pub async fn remove(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let server = server.into_inner();
    let work = async {
        let entry = entry(&server, &request)?;
        Tenants::remove(&server, &entry.tenant.name).await?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    };
    rendered(work.await)
}

/// `POST /admin/tenants/{tenant}/run`
#[utoipa::path(
    post,
    path = "/admin/tenants/{tenant}/run",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 202, description = "The run has begun; the tenant shows its progress"),
        (status = 404, description = "No such tenant"),
        (status = 409, description = "A run is under way")
    )
)]
pub async fn run(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    begin(&server.into_inner(), &request, Work::Sync)
}

/// `POST /admin/tenants/{tenant}/normalise`
#[utoipa::path(
    post,
    path = "/admin/tenants/{tenant}/normalise",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 202, description = "Copies that other rules made are made again from what is kept; the tenant shows the progress"),
        (status = 404, description = "No such tenant"),
        (status = 409, description = "A run is under way")
    )
)]
pub async fn normalise(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    begin(&server.into_inner(), &request, Work::NormaliseAgain)
}

fn begin(server: &Arc<Server>, request: &HttpRequest, work: Work) -> HttpResponse {
    let begun = entry(server, request).and_then(|entry| {
        if runner::begin(server, &entry, work) {
            return Ok(json(StatusCode::ACCEPTED, &view::tenant(&entry)));
        }
        let text = "a run of this tenant is under way; `GET` the tenant to see its progress";
        Err(Problem::new(ErrorKind::WRITE_CONFLICT, text))
    });
    rendered(begun)
}

/// `GET /admin/tenants/{tenant}/completeness`
#[utoipa::path(
    get,
    path = "/admin/tenants/{tenant}/completeness",
    tag = "ehr",
    params(
        ("tenant" = String, Path, description = "Tenant"),
        ("patient" = Option<String>, Query, description = "Only this patient of ours, `Patient/id` or the id"),
        ("incomplete" = Option<bool>, Query, description = "Only what has a gap or never ended"),
        ("_count" = Option<usize>, Query, description = "Searches of a page"),
        ("_offset" = Option<usize>, Query, description = "Searches to leave out, as in `next`")
    ),
    responses((status = 200, description = "For every search: complete to when, except what, and why"))
)]
pub async fn completeness(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    rendered(complete_to(&server, &request).await)
}

async fn complete_to(server: &Server, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let entry = entry(server, request)?;
    let (mut patient, mut only_gaps, mut count, mut offset) = (None, false, WALKS_SHOWN, 0);
    for (name, value) in parse_query(request.query_string())? {
        let refuse = |text: &str| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(&*name);
        match name.as_str() {
            "patient" => {
                let id = value.strip_prefix("Patient/").unwrap_or(&value);
                patient = Some(id.to_owned());
            }
            "incomplete" => {
                only_gaps = value.parse().map_err(|_| refuse("`true` or `false`"))?;
            }
            "_count" => count = value.parse().map_err(|_| refuse("a whole number"))?,
            "_offset" => offset = value.parse().map_err(|_| refuse("a whole number"))?,
            _ => {
                let text = "known are `patient`, `incomplete`, `_count` and `_offset`";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(&*name));
            }
        }
    }
    let count = count.clamp(1, WALKS_SHOWN_MAX);
    let name = &entry.tenant.name;
    let mut all = walks(server, name).await?;
    all.sort_by(|(left, _), (right, _)| left.cmp(right));
    let is_wanted = |(key, state): &&(ehr::port::WalkKey, ehr::port::WalkState)| {
        let id = || ehr::identity::local_id(name, "Patient", &key.subject);
        let is_of_patient = patient.as_ref().is_none_or(|patient| *patient == id());
        is_of_patient && !(only_gaps && view::is_complete(state))
    };
    let wanted: Vec<_> = all.iter().filter(is_wanted).collect();
    let page = wanted.iter().skip(offset).take(count);
    let entries = page.map(|(key, state)| view::walk(key, state)).collect();
    let mut members = vec![
        ("tenant", Value::from(name.as_str())),
        ("total", number(wanted.len() as u64)),
        ("entries", Value::Array(entries)),
    ];
    if wanted.len() > offset.saturating_add(count) {
        members.push(("next", number((offset + count) as u64)));
    }
    Ok(json(StatusCode::OK, &Value::object(members)))
}

/// `GET /admin/tenants/{tenant}/reviews`
#[utoipa::path(
    get,
    path = "/admin/tenants/{tenant}/reviews",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses((status = 200, description = "What a person has to decide, newest first"))
)]
pub async fn reviews(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let entry = entry(&server, &request)?;
        let found = server.store.ehr_reviews(&entry.tenant.name).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let shown = found.iter().map(view::review).collect();
        let list = Value::object([("reviews", Value::Array(shown))]);
        Ok(json(StatusCode::OK, &list))
    };
    rendered(work.await)
}

/// `DELETE /admin/tenants/{tenant}/reviews/{review}`
#[utoipa::path(
    delete,
    path = "/admin/tenants/{tenant}/reviews/{review}",
    tag = "ehr",
    params(
        ("tenant" = String, Path, description = "Tenant"),
        ("review" = String, Path, description = "`id` of the list")
    ),
    responses(
        (status = 204, description = "Off the list; it comes back if it is found again"),
        (status = 404, description = "Not on the list")
    )
)]
pub async fn close_review(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let entry = entry(&server, &request)?;
        let wanted = request.match_info().query("review");
        let missing = || Problem::new(ErrorKind::NOT_FOUND, "no question has this id");
        let found = server.store.ehr_reviews(&entry.tenant.name).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let key: EhrKey = found
            .iter()
            .map(|review| review.key)
            .find(|key| format!("{key:?}") == wanted)
            .ok_or_else(missing)?;
        let gone = server.store.ehr_close_review(key).await;
        if gone.map_err(|e| store_problem(&e))? {
            Ok(reply::empty(StatusCode::NO_CONTENT))
        } else {
            Err(missing())
        }
    };
    rendered(work.await)
}

/// `GET /admin/tenants/{tenant}/source?type=Observation&id=…`
#[utoipa::path(
    get,
    path = "/admin/tenants/{tenant}/source",
    tag = "ehr",
    params(
        ("tenant" = String, Path, description = "Tenant"),
        ("type" = String, Query, description = "Resource type"),
        ("id" = String, Query, description = "The source's id, the last part of `meta.source`")
    ),
    responses(
        (status = 200, description = "The resource byte for byte as the EHR sent it"),
        (status = 404, description = "Not fetched through this tenant, or its page is not kept")
    )
)]
pub async fn source(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let entry = entry(&server, &request)?;
        let parameters = parse_query(request.query_string())?;
        let value = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            let found = found.map(|(_, value)| value.clone());
            let text = "the parameters `type` and `id` are needed";
            found.ok_or_else(|| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(wanted))
        };
        let key = record_key(&SourceKey {
            tenant: entry.tenant.name.clone(),
            persona: entry.tenant.persona,
            resource_type: value("type")?,
            id: value("id")?,
        });
        let raw = server.store.ehr_raw(key).await;
        let raw = raw.map_err(|e| store_problem(&e))?;
        let raw = raw.filter(|raw| !raw.is_empty()).ok_or_else(|| {
            let text = "no record with this id was fetched, or its page is not kept";
            Problem::new(ErrorKind::NOT_FOUND, text)
        })?;
        let response = HttpResponse::Ok()
            .content_type("application/fhir+json")
            .body(raw);
        Ok(response)
    };
    rendered(work.await)
}
