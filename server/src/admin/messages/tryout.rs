//! Messages tried out: what would change, and the Bundle a message becomes. Nothing is stored.

use actix_web::{HttpRequest, HttpResponse, web};
use adapters::pipeline::Pipeline;
use fhir_core::issue::{ErrorKind, Problem};

use super::{Asked, finish};
use crate::app::Server;
use crate::messages::{preview as tried, replay};

/// Compares what a message would make with what is stored, element by element.
#[utoipa::path(post, path = "/admin/preview", tag = "messages",
    params(("feed" = Option<String>, Query, description = "The feed that would receive it; may be left out when there is one")),
    request_body(content = String, content_type = "x-application/hl7-v2+er7", description = "One message"),
    responses(
        (status = 200, description = "Outcome, issues, places no rule reads, changes", content_type = "application/json"),
        (status = 404, description = "No such feed")
    )
)]
pub async fn preview(
    server: web::Data<Server>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let work = async {
        let asked = Asked::of(&request, &["feed"])?;
        let pipeline = chosen(&server, asked.text("feed"))?;
        let intake = pipeline.read(body).intake;
        tried::preview(&server, &intake).await
    };
    finish(work.await)
}

/// The pipeline of a feed, or of the only one.
///
/// # Errors
/// `not-found`, `bad-parameter-value`
pub fn chosen(server: &Server, feed: Option<&str>) -> Result<Pipeline, Problem> {
    if let Some(feed) = feed {
        return replay::pipeline_of(server, feed);
    }
    let feeds = server.messages.feeds();
    match feeds.as_slice() {
        [one] => replay::pipeline_of(server, one),
        _ => {
            let text = format!("say which `feed` reads it: {}", feeds.join(", "));
            Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("feed"))
        }
    }
}
