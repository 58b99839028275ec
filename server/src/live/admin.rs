//! `/admin/alerts`: alert rules listed, added, changed and removed while the server runs.
//!
//! Guide: `docs/guide/subscriptions.md`. Rules of the settings file are shown and stay as they are.

use std::sync::PoisonError;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::AuditRecord;

use super::alerts::{Compiled, View};
use super::settings::AlertRule;
use crate::admin::guard::{admit, refusal};
use crate::app::{Server, store_problem};
use crate::audit;
use crate::interaction::Interaction;
use fhir_core::access::{Access, Channel};

/// Largest rule, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Registers the URLs.
pub fn configure(urls: &mut web::ServiceConfig) {
    urls.service(
        web::scope("/admin/alerts")
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("", web::get().to(list))
            .route("/{name}", web::put().to(put))
            .route("/{name}", web::delete().to(delete)),
    );
}

/// All rules, and for how many subjects each is raised.
#[utoipa::path(get, path = "/admin/alerts", tag = "live", responses(
    (status = 200, description = "The rules", body = [View])
))]
pub async fn list(server: web::Data<Server>) -> HttpResponse {
    let shown = server
        .live
        .alert_view
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    HttpResponse::Ok().json(shown)
}

/// Adds a rule or changes it; values stored from now on move it.
#[utoipa::path(put, path = "/admin/alerts/{name}", tag = "live",
    params(("name" = String, Path, description = "Name of the rule")),
    request_body(content = AlertRule, content_type = "application/json"),
    responses(
        (status = 200, description = "Changed"),
        (status = 201, description = "Added"),
        (status = 400, description = "No JSON, an unknown key or a wrong type"),
        (status = 403, description = "The rule stands in the server's settings"),
        (status = 422, description = "A rule that cannot be used")
    )
)]
pub async fn put(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        own(&server, &name)?;
        let mut given: serde_json::Value = serde_json::from_slice(&body).map_err(bad_json)?;
        if let Some(map) = given.as_object_mut() {
            map.insert("name".to_owned(), name.as_str().into());
        }
        let rule: AlertRule = serde_json::from_value(given).map_err(bad_json)?;
        Compiled::of(&rule).map_err(|why| Problem::new(ErrorKind::INVALID_RESOURCE, why))?;
        let text = serde_json::to_string(&rule).map_err(bad_json)?;
        let was_there = store(&server, agent, &name, Some(text)).await?;
        Ok(match was_there {
            true => HttpResponse::Ok().json(rule),
            false => HttpResponse::Created().json(rule),
        })
    };
    work.await.unwrap_or_else(|problem| refusal(&problem))
}

/// Removes a rule; what it made stays as it is.
#[utoipa::path(delete, path = "/admin/alerts/{name}", tag = "live",
    params(("name" = String, Path, description = "Name of the rule")),
    responses(
        (status = 204, description = "Removed"),
        (status = 403, description = "The rule stands in the server's settings"),
        (status = 404, description = "There is no such rule")
    )
)]
pub async fn delete(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        own(&server, &name)?;
        if store(&server, agent, &name, None).await? {
            return Ok(HttpResponse::NoContent().finish());
        }
        Err(Problem::new(ErrorKind::NOT_FOUND, "there is no such rule"))
    };
    work.await.unwrap_or_else(|problem| refusal(&problem))
}

fn own(server: &Server, name: &str) -> Result<(), Problem> {
    if server.config.alert.iter().any(|rule| rule.name == name) {
        let text = "the rule stands in the server's settings; change it there";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    Ok(())
}

fn bad_json(error: serde_json::Error) -> Problem {
    Problem::new(ErrorKind::BAD_JSON, format!("the rule: {error}"))
}

async fn store(
    server: &Server,
    agent: &str,
    name: &str,
    settings: Option<String>,
) -> Result<bool, Problem> {
    let access = Access::full(agent, Channel::Rest);
    let action = if settings.is_some() { 'U' } else { 'D' };
    let record = AuditRecord {
        detail: Some(format!("alert rule {name}")),
        ..audit::record(&access, Interaction::Operation, action, None)
    };
    let done = server
        .store
        .live_put_rule(name.to_owned(), settings, record)
        .await;
    let was_there = done.map_err(|e| store_problem(&e))?;
    server.live.rules_changed();
    Ok(was_there)
}
