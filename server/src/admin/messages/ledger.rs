//! What was lost and what has no mapping, counted by feed.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::json::Value;

use super::{Asked, count, finish, time};
use crate::app::{Server, store_problem};

/// Rows of an answer at most.
const ROWS_MAX: usize = 1_000;

/// Places that no rule reads, with the number of messages that had something there.
#[utoipa::path(get, path = "/admin/loss", tag = "messages",
    params(("feed" = Option<String>, Query, description = "Name of the feed")),
    responses((status = 200, description = "Most frequent first", content_type = "application/json"))
)]
pub async fn loss(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let asked = Asked::of(&request, &["feed"])?;
        let feed = asked.text("feed").map(str::to_owned);
        let found = server.store.losses(feed, ROWS_MAX).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let rows = found.iter().map(|row| {
            let places = row.places.iter().map(|place| Value::from(place.as_str()));
            Value::object([
                ("feed", Value::from(row.feed.as_str())),
                ("type", Value::from(row.message_type.as_str())),
                ("places", Value::Array(places.collect())),
                ("messages", count(row.count)),
                ("firstAt", time(Some(row.first_at))),
                ("lastAt", time(Some(row.last_at))),
                ("lastMessage", Value::from(row.last_message)),
            ])
        });
        let rows: Vec<Value> = rows.collect();
        Ok(Value::object([("loss", Value::Array(rows))]))
    };
    finish(work.await)
}

/// Codes in no concept map, with the number of messages that had them: the list to map next.
#[utoipa::path(get, path = "/admin/unmapped", tag = "messages",
    params(("feed" = Option<String>, Query, description = "Name of the feed")),
    responses((status = 200, description = "Most frequent first", content_type = "application/json"))
)]
pub async fn unmapped(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let asked = Asked::of(&request, &["feed"])?;
        let feed = asked.text("feed").map(str::to_owned);
        let found = server.store.unmapped(feed, ROWS_MAX).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let rows = found.iter().map(|row| {
            Value::object([
                ("feed", Value::from(row.feed.as_str())),
                ("place", Value::from(row.what.place.as_str())),
                ("code", Value::from(row.what.code.as_str())),
                ("messages", count(row.count)),
                ("firstAt", time(Some(row.first_at))),
                ("lastAt", time(Some(row.last_at))),
                ("lastMessage", Value::from(row.last_message)),
            ])
        });
        let rows: Vec<Value> = rows.collect();
        Ok(Value::object([("unmapped", Value::Array(rows))]))
    };
    finish(work.await)
}
