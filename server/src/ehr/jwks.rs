//! The public keys with which this server's tenants sign, for the EHRs to fetch.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#registering-a-client-communicating-public-keys>,
//! <https://www.rfc-editor.org/rfc/rfc7517#section-5>. Only public keys leave the key rings.

use std::collections::BTreeSet;
use std::path::PathBuf;

use actix_web::{HttpRequest, HttpResponse, web};
use ehr::auth::keys::KeyRing;
use ehr::tenant::Auth;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;

use crate::app::Server;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Seconds an EHR may keep the set; a rotated key starts to sign later than that.
const CACHE_SECONDS: u32 = 300;

/// `GET /ehr/jwks.json`: the keys of all tenants.
#[utoipa::path(get, path = "/ehr/jwks.json", tag = "ehr", responses((status = 200, description = "JSON Web Key Set of all tenants")))]
pub async fn all(server: web::Data<Server>) -> HttpResponse {
    let rings = server.tenants.all();
    let folders = rings.iter().filter_map(|entry| folder(&entry.tenant.auth));
    answer(folders.collect())
}

/// `GET /ehr/{tenant}/jwks.json`: the keys of one tenant.
#[utoipa::path(
    get,
    path = "/ehr/{tenant}/jwks.json",
    tag = "ehr",
    params(("tenant" = String, Path, description = "Tenant")),
    responses(
        (status = 200, description = "JSON Web Key Set of the tenant"),
        (status = 404, description = "No such tenant")
    )
)]
pub async fn one(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    match server.tenants.get(request.match_info().query("tenant")) {
        Ok(entry) => answer(folder(&entry.tenant.auth).into_iter().collect()),
        Err(problem) => reply::problem(&problem, Format::Json),
    }
}

fn folder(auth: &Auth) -> Option<PathBuf> {
    match auth {
        Auth::PrivateKeyJwt { keys, .. } => Some(keys.clone()),
        _ => None,
    }
}

fn answer(folders: BTreeSet<PathBuf>) -> HttpResponse {
    match key_set(&folders) {
        Ok(set) => HttpResponse::Ok()
            .content_type("application/json")
            .insert_header(("Cache-Control", format!("max-age={CACHE_SECONDS}")))
            .body(set.to_bytes()),
        Err(error) => {
            tracing::error!(%error, "a key ring cannot be read");
            let text = "a key ring of this server cannot be read; its log has more";
            reply::problem(&Problem::new(ErrorKind::INTERNAL, text), Format::Json)
        }
    }
}

fn key_set(folders: &BTreeSet<PathBuf>) -> Result<Value, ehr::EhrError> {
    let mut keys = Vec::new();
    for folder in folders {
        let set = KeyRing::open(folder)?.jwks()?;
        let items = set.get("keys").and_then(Value::as_array);
        keys.extend(items.unwrap_or_default().iter().cloned());
    }
    Ok(Value::object([("keys", Value::Array(keys))]))
}
