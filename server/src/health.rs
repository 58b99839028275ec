//! Whether the process lives and whether it can take work.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::app::Server;
use crate::feeds::alerts;

/// `GET /health/live`: the process answers.
#[utoipa::path(get, path = "/health/live", tag = "administration", responses((status = 200, description = "The process lives")))]
pub async fn live() -> HttpResponse {
    answer(StatusCode::OK, "alive")
}

/// `GET /health/ready`: the database answers and the server is not stopping.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "administration",
    responses(
        (status = 200, description = "Requests are taken"),
        (status = 503, description = "The database does not answer, or the server is stopping")
    )
)]
pub async fn ready(server: web::Data<Server>) -> HttpResponse {
    if server.is_stopping() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match server.store.ping().await {
        Ok(()) => answer(StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(%error, "the database does not answer");
            answer(StatusCode::SERVICE_UNAVAILABLE, "database unavailable")
        }
    }
}

/// `GET /metrics`: counters for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "administration", responses((status = 200, description = "Counters as Prometheus text")))]
pub async fn metrics(server: web::Data<Server>) -> HttpResponse {
    let mut text = server.metrics.render(server.store_figures());
    text.push_str(&server.feeds.metrics());
    match alerts::watched(&server.clone().into_inner()).await {
        Ok(views) => text.push_str(&alerts::metrics(&views)),
        Err(problem) => tracing::warn!(%problem, "what waits in feeds cannot be counted"),
    }
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text)
}

fn answer(status: StatusCode, state: &str) -> HttpResponse {
    let body = serde_json::json!({ "status": state, "version": env!("CARGO_PKG_VERSION") });
    HttpResponse::build(status)
        .content_type("application/json")
        .body(body.to_string())
}
