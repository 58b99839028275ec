//! `/admin/feeds`: feeds listed, registered, changed, paused, resumed and removed while the server runs.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::issue::{ErrorKind, Problem};

use super::guard::{admit, refusal};
use crate::app::Server;
use crate::feeds::{FeedSettings, FeedView, Put, alerts};
use crate::http::reply;

/// Largest settings of a feed, bytes: some thousand names of authorities.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Registers the URLs.
pub fn configure(urls: &mut web::ServiceConfig) {
    urls.service(
        web::scope("/admin/feeds")
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("", web::get().to(list))
            .route("/{name}", web::get().to(get))
            .route("/{name}", web::put().to(put))
            .route("/{name}", web::delete().to(delete))
            .route("/{name}/pause", web::post().to(pause))
            .route("/{name}/resume", web::post().to(resume)),
    );
}

/// All feeds with state and counters.
#[utoipa::path(get, path = "/admin/feeds", tag = "feeds", responses(
    (status = 200, description = "All feeds by name", body = [FeedView]),
    (status = 401, description = "The admin token is missing or wrong"),
    (status = 403, description = "Administration over the network without a token")
))]
pub async fn list(server: web::Data<Server>) -> HttpResponse {
    let server = server.into_inner();
    let views = alerts::watched(&server).await;
    finish(views.map(|views| json(StatusCode::OK, &views)))
}

/// One feed with settings, state and counters.
#[utoipa::path(get, path = "/admin/feeds/{name}", tag = "feeds",
    params(("name" = String, Path, description = "Name of the feed")),
    responses(
        (status = 200, description = "The feed", body = FeedView),
        (status = 404, description = "There is no such feed")
    )
)]
pub async fn get(server: web::Data<Server>, name: web::Path<String>) -> HttpResponse {
    let server = server.into_inner();
    let found = async {
        let feed = server.feeds.get(&name)?;
        let watched = alerts::watched(&server).await?;
        let watched = watched.into_iter().find(|view| view.name == feed.name);
        Ok(watched.unwrap_or(feed))
    };
    finish(found.await.map(|feed| json(StatusCode::OK, &feed)))
}

/// Registers a feed or changes it; it runs when this answers. The name of the URL counts; one in the body must be the same.
#[utoipa::path(put, path = "/admin/feeds/{name}", tag = "feeds",
    params(("name" = String, Path, description = "Name of the feed")),
    request_body(content = FeedSettings, content_type = "application/json", description = "Keys left out have their defaults"),
    responses(
        (status = 200, description = "Changed", body = FeedView),
        (status = 201, description = "Registered", body = FeedView),
        (status = 400, description = "No JSON, an unknown key or a wrong type"),
        (status = 403, description = "The feed stands in the server's settings"),
        (status = 422, description = "A setting that cannot be used; an earlier feed of this name goes on as before")
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
        let settings = settings(&name, &body)?;
        let put = server.feeds.put(&server, agent, settings).await?;
        let status = match put {
            Put::Registered => StatusCode::CREATED,
            Put::Changed => StatusCode::OK,
        };
        Ok(json(status, &server.feeds.get(&name)?))
    };
    finish(work.await)
}

fn settings(name: &str, body: &[u8]) -> Result<FeedSettings, Problem> {
    let mut settings: FeedSettings = serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("the settings of the feed: {error}"),
        )
    })?;
    if settings.name.is_empty() {
        name.clone_into(&mut settings.name);
    }
    if settings.name != name {
        let text =
            "`name` must be the name in the URL; a feed is renamed by removing and registering it";
        return Err(Problem::new(ErrorKind::ID_MISMATCH, text));
    }
    Ok(settings)
}

/// Removes a feed after it has finished what it had received. Messages and resources stay.
#[utoipa::path(delete, path = "/admin/feeds/{name}", tag = "feeds",
    params(("name" = String, Path, description = "Name of the feed")),
    responses(
        (status = 204, description = "Removed"),
        (status = 403, description = "The feed stands in the server's settings"),
        (status = 404, description = "There is no such feed")
    )
)]
pub async fn delete(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        server.feeds.remove(&server, agent, &name).await?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    };
    finish(work.await)
}

/// Takes no message until resumed, also over a restart; what was received is finished first.
#[utoipa::path(post, path = "/admin/feeds/{name}/pause", tag = "feeds",
    params(("name" = String, Path, description = "Name of the feed")),
    responses(
        (status = 200, description = "Paused", body = FeedView),
        (status = 404, description = "There is no such feed")
    )
)]
pub async fn pause(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        server.feeds.pause(&server, agent, &name).await?;
        Ok(json(StatusCode::OK, &server.feeds.get(&name)?))
    };
    finish(work.await)
}

/// Takes messages again; certificates and mappings are read anew.
#[utoipa::path(post, path = "/admin/feeds/{name}/resume", tag = "feeds",
    params(("name" = String, Path, description = "Name of the feed")),
    responses(
        (status = 200, description = "Running", body = FeedView),
        (status = 404, description = "There is no such feed"),
        (status = 422, description = "It cannot be started; it stays as it was")
    )
)]
pub async fn resume(
    server: web::Data<Server>,
    name: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        server.feeds.resume(&server, agent, &name).await?;
        Ok(json(StatusCode::OK, &server.feeds.get(&name)?))
    };
    finish(work.await)
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
    HttpResponse::build(status).json(body)
}

fn finish(result: Result<HttpResponse, Problem>) -> HttpResponse {
    match result {
        Ok(response) => response,
        Err(problem) => refusal(&problem),
    }
}
