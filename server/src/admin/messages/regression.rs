//! `POST /admin/regression`: the last messages run against a draft of the mappings.

use std::path::Path;

use actix_web::{HttpRequest, HttpResponse, web};
use adapters::pipeline::{MEDIA_TYPE, Pipeline};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::MessageFilter;
use mappings::Library;

use super::{Asked, audit, finish};
use crate::admin::guard::admit;
use crate::app::Server;
use crate::app::store_problem;
use crate::messages::regression::Report;
use crate::messages::replay;

/// Messages run when the request names no number.
const MESSAGES: i64 = 100;
/// Messages run at most.
const MESSAGES_MAX: i64 = 10_000;

/// Runs the last messages through the mappings in force and through a draft, and lists what differs. Nothing is stored.
#[utoipa::path(post, path = "/admin/regression", tag = "messages",
    params(
        ("mappings" = String, Query, description = "Folder of the draft, on the server"),
        ("last" = Option<i64>, Query, description = "How many messages"),
        ("feed" = Option<String>, Query, description = "Only those of this feed")
    ),
    responses(
        (status = 200, description = "What differs, message by message", content_type = "application/json"),
        (status = 422, description = "The draft does not load; every fault with file and line")
    )
)]
pub async fn run(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let asked = Asked::of(&request, &["mappings", "last", "feed"])?;
        let Some(folder) = asked.text("mappings") else {
            let text = "name the folder of the draft in `mappings`";
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("mappings"));
        };
        let library = Library::load(Path::new(folder))
            .map_err(|errors| Problem::new(ErrorKind::INVALID_RESOURCE, errors.to_string()))?;
        let last = asked
            .number("last")?
            .unwrap_or(MESSAGES)
            .clamp(1, MESSAGES_MAX);
        let filter = MessageFilter {
            feed: asked.text("feed").map(str::to_owned),
            ..MessageFilter::default()
        };
        let messages = server
            .store
            .messages(filter, usize::try_from(last).unwrap_or(1));
        let messages = messages.await.map_err(|e| store_problem(&e))?;
        let mut report = Report::default();
        for message in messages.iter().filter(|m| m.media_type == MEDIA_TYPE) {
            let current = replay::pipeline_of(&server, &message.feed)?;
            let draft = Pipeline::new(current.feed().clone(), library.clone());
            let raw = replay::raw(&server, message).await?;
            let name = message.id.to_string();
            // Mapping takes a processor for a while; the threads that serve requests go on.
            let work = move |mut report: Report| {
                report.run(&name, raw, &current, &draft);
                report
            };
            let taken = std::mem::take(&mut report);
            report = tokio::task::spawn_blocking(move || work(taken))
                .await
                .map_err(|_| Problem::new(ErrorKind::INTERNAL, "a message could not be run"))?;
        }
        server
            .reads
            .push(audit(agent, 'E', "messages-regression", None));
        Ok(report.to_value())
    };
    finish(work.await)
}
