//! Decisions about identity that nobody may guess: listed, looked at, made.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{MessageState, Review, ReviewState};

use super::act::answer;
use super::{Asked, audit, finish, number, text, time};
use crate::admin::guard::admit;
use crate::app::{Server, store_problem};
use crate::messages::replay;

/// Reviews of a page.
const PAGE: usize = 100;
/// Longest note, in characters.
const NOTE_LENGTH_MAX: usize = 1_000;

/// Reviews, newest first; the open ones when `state` is left out.
#[utoipa::path(get, path = "/admin/reviews", tag = "messages",
    params(
        ("state" = Option<String>, Query, description = "open, resolved, dismissed or all"),
        ("before" = Option<i64>, Query, description = "Only smaller numbers: `next` of the page before")
    ),
    responses((status = 200, description = "A page of reviews", content_type = "application/json"))
)]
pub async fn list(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let asked = Asked::of(&request, &["state", "before"])?;
        let state = asked.parsed(
            "state",
            "open, resolved, dismissed or all",
            |text| match text {
                "all" => Some(None),
                "open" => Some(Some(ReviewState::Open)),
                "resolved" => Some(Some(ReviewState::Resolved)),
                "dismissed" => Some(Some(ReviewState::Dismissed)),
                _ => None,
            },
        )?;
        let state = state.unwrap_or(Some(ReviewState::Open));
        let found = server
            .store
            .reviews(state, asked.number("before")?, PAGE)
            .await;
        let found = found.map_err(|e| store_problem(&e))?;
        let next = found.last().filter(|_| found.len() == PAGE).map(|r| r.id);
        Ok(Value::object([
            ("reviews", Value::Array(found.iter().map(shown).collect())),
            ("next", next.map_or(Value::Null, Value::from)),
        ]))
    };
    finish(work.await)
}

/// One review.
#[utoipa::path(get, path = "/admin/reviews/{id}", tag = "messages",
    params(("id" = i64, Path, description = "Number of the review")),
    responses(
        (status = 200, description = "The review", content_type = "application/json"),
        (status = 404, description = "There is no such review")
    )
)]
pub async fn one(server: web::Data<Server>, path: web::Path<String>) -> HttpResponse {
    let work = async {
        find(&server, number(&path)?)
            .await
            .map(|review| shown(&review))
    };
    finish(work.await)
}

/// Decides: `choose` names the record that is meant, and the message is carried out for it; `dismiss` closes the review
/// and changes nothing.
#[utoipa::path(post, path = "/admin/reviews/{id}", tag = "messages",
    params(
        ("id" = i64, Path, description = "Number of the review"),
        ("choose" = Option<String>, Query, description = "One of its subjects, such as `Patient/1`"),
        ("dismiss" = Option<String>, Query, description = "Why nothing is to be done, without patient data")
    ),
    responses(
        (status = 200, description = "Decided; what became of the message", content_type = "application/json"),
        (status = 409, description = "It was decided before")
    )
)]
pub async fn decide(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let review = find(&server, number(&path)?).await?;
        let asked = Asked::of(&request, &["choose", "dismiss"])?;
        let choose = asked.parsed(
            "choose",
            "a reference such as Patient/1",
            ResourceKey::parse,
        )?;
        let server = server.into_inner();
        let (state, how) = match (&choose, asked.text("dismiss")) {
            (Some(record), None) => {
                if !review.subjects.contains(record) {
                    let text = "`choose` must be one of the review's subjects";
                    return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("choose"));
                }
                (ReviewState::Resolved, format!("chosen: {record}"))
            }
            (None, Some(why)) if (1..=NOTE_LENGTH_MAX).contains(&why.chars().count()) => {
                (ReviewState::Dismissed, why.to_owned())
            }
            _ => {
                let text = "give `choose` with one of the subjects, or `dismiss` with the reason";
                return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
            }
        };
        let detail = Some(format!("review {}", review.id));
        let record = audit(agent, 'U', "reviews-decide", detail);
        let closed = server.store.close_review(review.id, state, how, record);
        if !closed.await.map_err(|e| store_problem(&e))? {
            let text = "this review was decided before";
            return Err(Problem::new(ErrorKind::MESSAGE_CONFLICT, text));
        }
        let message = replay::find(&server, review.message).await?;
        let done = match choose {
            // Only what waits is carried out: other reviews are about messages that were.
            Some(record) if message.state == MessageState::Parked => {
                replay::again(&server, review.message, Some(record)).await?
            }
            _ => Vec::new(),
        };
        Ok(answer(&done, None))
    };
    finish(work.await)
}

async fn find(server: &Server, id: i64) -> Result<Review, Problem> {
    let found = server.store.review(id).await;
    found
        .map_err(|e| store_problem(&e))?
        .ok_or_else(|| Problem::new(ErrorKind::NOT_FOUND, "there is no review of this number"))
}

fn shown(review: &Review) -> Value {
    let subjects = review
        .subjects
        .iter()
        .map(|key| Value::from(key.to_string()));
    let state = match review.state {
        ReviewState::Open => "open",
        ReviewState::Resolved => "resolved",
        ReviewState::Dismissed => "dismissed",
    };
    let closed = review.closed.as_ref();
    Value::object([
        ("id", Value::from(review.id)),
        ("feed", Value::from(review.feed.as_str())),
        ("message", Value::from(review.message)),
        ("kind", Value::from(review.kind.as_str())),
        ("subjects", Value::Array(subjects.collect())),
        ("text", Value::from(review.text.as_str())),
        ("state", Value::from(state)),
        ("openedAt", time(Some(review.opened_at))),
        ("closedAt", time(closed.map(|closed| closed.0))),
        ("closedBy", text(closed.map(|closed| closed.1.as_str()))),
        ("resolution", text(closed.map(|closed| closed.2.as_str()))),
    ])
}
