//! Every URL of the server.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#summary>. Left out: nothing.

use std::future::Future;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};
use fhir_core::issue::{ErrorKind, Problem};

use crate::admin;
use crate::app::Server;
use crate::feeds;
use crate::health;
use crate::http::call::Call;
use crate::http::negotiate::Format;
use crate::http::reply::{self, REQUEST_ID};
use crate::ingest;
use crate::interaction::Interaction;
use crate::interactions::{
    Answer, audit_trail, batch, binary, capabilities, create, delete, history, patch, read,
    search_system, search_type, update, vread,
};
use crate::live::operations as live;
use crate::metrics::Metrics;
use crate::openapi;
use crate::operations::{
    bulk_import, convert, everything, explain, export, hourly, lastn, lineage, match_, meta, stats,
    status, terminology, translate, validate, value_set,
};

/// Longest request id taken over from a client, in characters.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// Registers every URL.
pub fn configure(urls: &mut web::ServiceConfig, state: Option<web::Data<Server>>) {
    if let Some(state) = state {
        urls.app_data(state);
    }
    let (get, head, post, put, del) = (web::get, web::head, web::post, web::put, web::delete);
    urls.service(
        web::scope("/fhir")
            .configure(operations_on_definitions)
            // First, since `$` names no type and no resource.
            .configure(operation_urls)
            .service(at(
                "",
                "GET, HEAD, POST",
                [
                    on(post(), Interaction::Batch, batch::handle),
                    on(get(), Interaction::SearchSystem, search_system::handle),
                    on(head(), Interaction::SearchSystem, search_system::handle),
                ],
            ))
            .service(at(
                "/",
                "GET, HEAD, POST",
                [
                    on(post(), Interaction::Batch, batch::handle),
                    on(get(), Interaction::SearchSystem, search_system::handle),
                    on(head(), Interaction::SearchSystem, search_system::handle),
                ],
            ))
            .service(at(
                "/_search",
                "GET, HEAD, POST",
                [
                    on(
                        post(),
                        Interaction::SearchSystem,
                        search_system::handle_form,
                    ),
                    on(get(), Interaction::SearchSystem, search_system::handle),
                    on(head(), Interaction::SearchSystem, search_system::handle),
                ],
            ))
            .service(at(
                "/metadata",
                "GET, HEAD",
                [
                    on(get(), Interaction::Capabilities, capabilities::handle),
                    on(head(), Interaction::Capabilities, capabilities::handle),
                ],
            ))
            .service(at(
                "/$convert",
                "POST",
                [on(post(), Interaction::Operation, convert::handle)],
            ))
            .service(at(
                "/{type}/{id}/$lineage",
                "GET",
                [on(get(), Interaction::Operation, lineage::handle)],
            ))
            .service(at(
                "/AuditEvent/$trail",
                "GET",
                [on(get(), Interaction::AuditTrail, audit_trail::handle)],
            ))
            .service(at(
                "/_history",
                "GET, HEAD",
                [
                    on(get(), Interaction::HistorySystem, history::handle_system),
                    on(head(), Interaction::HistorySystem, history::handle_system),
                ],
            ))
            .service(at(
                "/{type}/_history",
                "GET, HEAD",
                [
                    on(get(), Interaction::HistoryType, history::handle_type),
                    on(head(), Interaction::HistoryType, history::handle_type),
                ],
            ))
            .service(at(
                "/{type}",
                "GET, HEAD, POST, PUT, PATCH, DELETE",
                [
                    on(web::patch(), Interaction::Patch, patch::handle_conditional),
                    on(get(), Interaction::SearchType, search_type::handle),
                    on(head(), Interaction::SearchType, search_type::handle),
                    on(post(), Interaction::Create, create::handle),
                    on(put(), Interaction::Update, update::handle_conditional),
                    on(del(), Interaction::Delete, delete::handle_conditional),
                ],
            ))
            .service(at(
                "/{type}/_search",
                "GET, HEAD, POST",
                [
                    on(head(), Interaction::SearchType, search_type::handle),
                    on(post(), Interaction::SearchType, search_type::handle_form),
                    on(get(), Interaction::SearchType, search_type::handle),
                ],
            ))
            .service(at(
                "/{type}/$validate",
                "POST",
                [on(post(), Interaction::Operation, validate::handle)],
            ))
            .service(at(
                "/{type}/{id}/$validate",
                "GET, HEAD, POST",
                [
                    on(get(), Interaction::Operation, validate::handle),
                    on(head(), Interaction::Operation, validate::handle),
                    on(post(), Interaction::Operation, validate::handle),
                ],
            ))
            .service(at(
                "/{type}/{id}",
                "GET, HEAD, PUT, PATCH, DELETE",
                [
                    on(web::patch(), Interaction::Patch, patch::handle),
                    on(get(), Interaction::Read, read::handle),
                    on(head(), Interaction::Read, read::handle),
                    on(put(), Interaction::Update, update::handle),
                    on(del(), Interaction::Delete, delete::handle),
                ],
            ))
            .service(at(
                "/{type}/{id}/_history",
                "GET, HEAD",
                [
                    on(get(), Interaction::HistoryInstance, history::handle),
                    on(head(), Interaction::HistoryInstance, history::handle),
                ],
            ))
            .service(at(
                "/{type}/{id}/_history/{version}",
                "GET, HEAD",
                [
                    on(get(), Interaction::Vread, vread::handle),
                    on(head(), Interaction::Vread, vread::handle),
                ],
            ))
            .service(at(
                "/{type}/{id}/$everything",
                "GET",
                [on(get(), Interaction::Operation, everything::handle)],
            ))
            .service(at(
                r"/{type}/{id}/{all:\*}",
                "GET, HEAD",
                [
                    on(
                        get(),
                        Interaction::SearchSystem,
                        search_system::handle_compartment,
                    ),
                    on(
                        head(),
                        Interaction::SearchSystem,
                        search_system::handle_compartment,
                    ),
                ],
            ))
            .service(at(
                "/{type}/{id}/{member}",
                "GET, HEAD",
                [
                    on(
                        get(),
                        Interaction::SearchType,
                        search_type::handle_compartment,
                    ),
                    on(
                        head(),
                        Interaction::SearchType,
                        search_type::handle_compartment,
                    ),
                ],
            )),
    )
    .configure(ingest::quarantine::routes)
    .configure(crate::admin::messages::configure)
    .route("/health/live", get().to(health::live))
    .route("/health/ready", get().to(health::ready))
    .route("/metrics", get().to(health::metrics))
    .configure(admin::feeds::configure)
    .route("/hl7/{feed}", post().to(feeds::receive))
    .route("/openapi.json", get().to(openapi::document))
    .configure(crate::ehr::admin::configure)
    .configure(crate::live::configure)
    .service(openapi::pages())
    .default_service(web::to(|call: Call| {
        observe(Interaction::Unknown, call, no_route)
    }));
}

/// Terminology and statistics, each by GET and POST.
fn operations_on_definitions(urls: &mut web::ServiceConfig) {
    fn both<Handler, Answering>(path: &str, handler: Handler) -> Resource
    where
        Handler: Fn(Call) -> Answering + Clone + 'static,
        Answering: Future<Output = Result<Answer, Problem>> + 'static,
    {
        let get = on(web::get(), Interaction::Operation, handler.clone());
        let head = on(web::head(), Interaction::Operation, handler.clone());
        let post = on(web::post(), Interaction::Operation, handler);
        at(path, "GET, HEAD, POST", [get, head, post])
    }
    urls.service(both("/{type:ValueSet}/$expand", value_set::expand))
        .service(both("/{type:ValueSet}/{id}/$expand", value_set::expand))
        .service(both(
            "/{type:ValueSet}/$validate-code",
            value_set::validate_code,
        ))
        .service(both(
            "/{type:ValueSet}/{id}/$validate-code",
            value_set::validate_code,
        ))
        .service(both("/{type:CodeSystem}/$lookup", terminology::lookup))
        .service(both(
            "/{type:CodeSystem}/$validate-code",
            terminology::validate_code,
        ))
        .service(both(
            "/{type:CodeSystem}/{id}/$validate-code",
            terminology::validate_code,
        ))
        .service(both("/{type:CodeSystem}/$subsumes", terminology::subsumes))
        .service(both(
            "/{type:CodeSystem}/{id}/$subsumes",
            terminology::subsumes,
        ))
        .service(both("/{type:ConceptMap}/$translate", translate::handle))
        .service(both(
            "/{type:ConceptMap}/{id}/$translate",
            translate::handle,
        ))
        .service(both("/{type:Observation}/$hourly", hourly::handle))
        .service(both("/{type:Observation}/$stats", stats::handle));
}

/// The operations that stand in the way of nothing else: their names begin with `$`.
fn operation_urls(urls: &mut web::ServiceConfig) {
    let (get, head, post, del) = (web::get, web::head, web::post, web::delete);
    let operation = Interaction::Operation;
    macro_rules! both {
        ($path:literal, $handler:expr) => {
            urls.service(at(
                $path,
                "GET, HEAD, POST",
                [
                    on(get(), operation, $handler),
                    on(head(), operation, $handler),
                    on(post(), operation, $handler),
                ],
            ))
        };
    }
    macro_rules! reads {
        ($path:literal, $handler:expr) => {
            urls.service(at(
                $path,
                "GET, HEAD",
                [
                    on(get(), operation, $handler),
                    on(head(), operation, $handler),
                ],
            ))
        };
    }
    macro_rules! posts {
        ($path:literal, $handler:expr) => {
            urls.service(at($path, "POST", [on(post(), operation, $handler)]))
        };
    }
    both!("/$export", export::of_system);
    both!("/{type}/$export", export::of_type);
    both!("/{type}/{id}/$export", export::of_group);
    reads!("/$export-status/{job}/{file}", export::file);
    urls.service(at(
        "/$export-status/{job}",
        "GET, HEAD, DELETE",
        [
            on(get(), operation, export::status),
            on(head(), operation, export::status),
            on(del(), operation, export::delete),
        ],
    ));
    posts!("/$import", bulk_import::handle);
    both!("/{type}/$lastn", lastn::handle);
    posts!("/{type}/$match", match_::handle);
    reads!("/{type}/$explain", explain::handle);
    reads!("/{type}/$meta", meta::of_type);
    reads!("/{type}/{id}/$meta", meta::of_instance);
    both!("/{type}/{id}/$status", status::handle);
    both!("/{type}/$status", live::status_of_type);
    both!("/{type}/{id}/$events", live::events);
    both!("/{type}/$get-ws-binding-token", live::ws_binding_token);
    both!("/{type}/{id}/$get-ws-binding-token", live::ws_binding_token);
    posts!("/{type}/{id}/$meta-add", meta::handle_add);
    posts!("/{type}/{id}/$meta-delete", meta::handle_delete);
}

/// One URL with its methods; any other method is answered with 405 and the list.
fn at<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> Resource {
    let resource = routes
        .into_iter()
        .fold(web::resource(path), Resource::route);
    resource.default_service(web::to(move |call: Call| async move {
        let mut response = observe(Interaction::Unknown, call, method_not_allowed).await;
        reply::set(&mut response, actix_web::http::header::ALLOW, allow);
        response
    }))
}

fn on<Handler, Answering>(route: Route, interaction: Interaction, handler: Handler) -> Route
where
    Handler: Fn(Call) -> Answering + Clone + 'static,
    Answering: Future<Output = Result<Answer, Problem>> + 'static,
{
    route.to(move |call: Call| observe(interaction, call, handler.clone()))
}

/// What surrounds every FHIR request: its id, its time, its count, and the rendering of answer or error.
async fn observe<Handler, Answering>(
    interaction: Interaction,
    call: Call,
    handler: Handler,
) -> HttpResponse
where
    Handler: Fn(Call) -> Answering,
    Answering: Future<Output = Result<Answer, Problem>>,
{
    let server = std::sync::Arc::clone(&call.server);
    let mut count = Count::begin(&server.metrics, interaction);
    let request_id = request_id(call.request(), &server);
    let (format, result) = match call.accepted() {
        Ok(format) => (format, handler(call).await),
        // A Binary can be had as what it holds, whatever that is; writing one need not accept FHIR either.
        Err(_) if binary::is_content_request(&call) => (Format::Json, handler(call).await),
        Err(problem) => (Format::Json, Err(problem)),
    };
    let mut response = match &result {
        Ok(answer) => {
            count.interaction = answer.interaction.unwrap_or(interaction);
            reply::answer(answer, format)
        }
        Err(problem) => {
            tracing::debug!(interaction = interaction.code(), request.id = %request_id, error.id = problem.kind().id, "refused");
            reply::problem(problem, format)
        }
    };
    reply::set(&mut response, REQUEST_ID, &request_id);
    if server.is_stopping() {
        response
            .head_mut()
            .set_connection_type(actix_web::http::ConnectionType::Close);
    }
    count.status = response.status();
    response
}

/// Counts the request when it ends, however it ends: a client that goes away drops it.
struct Count<'a> {
    metrics: &'a Metrics,
    interaction: Interaction,
    started: Instant,
    status: StatusCode,
}

impl<'a> Count<'a> {
    fn begin(metrics: &'a Metrics, interaction: Interaction) -> Self {
        metrics.begin();
        Self {
            metrics,
            interaction,
            started: Instant::now(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.metrics.end(
            self.interaction,
            self.status.as_u16(),
            self.started.elapsed(),
        );
    }
}

/// The client's `X-Request-Id` if it is harmless, else a new one.
fn request_id(request: &HttpRequest, server: &Server) -> String {
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let is_harmless = |text: &&str| {
        (1..=REQUEST_ID_LENGTH_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    given
        .filter(is_harmless)
        .map_or_else(|| (server.ids)().to_string(), str::to_owned)
}

async fn no_route(_: Call) -> Result<Answer, Problem> {
    let text =
        "this server has no such URL; the FHIR API is under `/fhir`, documentation under `/docs`";
    Err(Problem::new(ErrorKind::NO_ROUTE, text))
}

async fn method_not_allowed(_: Call) -> Result<Answer, Problem> {
    let text = "this URL does not take this method; see `Allow`";
    Err(Problem::new(ErrorKind::METHOD_NOT_ALLOWED, text))
}
