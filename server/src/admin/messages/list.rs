//! The message log: listed by filters in pages, one message with all that is known of it, its bytes.

use actix_web::{HttpRequest, HttpResponse, web};
use conformance::Definitions;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::{Message, MessageFilter, MessageState, Only, SearchQuery, TotalMode};

use super::{Asked, audit, failed, finish, number, text, time};
use crate::admin::guard::admit;
use crate::app::{Server, store_problem};
use crate::messages::replay;
use crate::search;

/// Messages of a page when the request names no number.
const PAGE: i64 = 50;
/// Messages of a page at most.
const PAGE_MAX: i64 = 1_000;
/// Parameters that choose messages.
pub const FILTERS: [&str; 11] = [
    "feed", "state", "type", "control", "patient", "resource", "code", "text", "since", "until",
    "count",
];

/// Messages, newest first. `next` is where the next page begins.
#[utoipa::path(get, path = "/admin/messages", tag = "messages",
    params(
        ("feed" = Option<String>, Query, description = "Name of the feed"),
        ("state" = Option<String>, Query, description = "received, processed, warnings, error, parked, discarded, replayed, superseded"),
        ("type" = Option<String>, Query, description = "MSH-9, or its first part: `ORU`"),
        ("control" = Option<String>, Query, description = "MSH-10"),
        ("patient" = Option<String>, Query, description = "Logical id, or an identifier's value"),
        ("resource" = Option<String>, Query, description = "A resource it made or changed: `Observation/1`"),
        ("code" = Option<String>, Query, description = "Code of an issue: `unmapped-code`"),
        ("text" = Option<String>, Query, description = "Part of the reason or an issue"),
        ("since" = Option<String>, Query, description = "Received at this instant or later"),
        ("until" = Option<String>, Query, description = "Received before this instant"),
        ("before" = Option<i64>, Query, description = "Only smaller numbers: `next` of the page before"),
        ("count" = Option<i64>, Query, description = "Messages of a page")
    ),
    responses(
        (status = 200, description = "A page of messages", content_type = "application/json"),
        (status = 400, description = "An unknown parameter or a value that cannot be read"),
        (status = 401, description = "The admin token is missing or wrong")
    )
)]
pub async fn list(server: web::Data<Server>, request: HttpRequest) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let known: Vec<&str> = FILTERS.iter().copied().chain(["before"]).collect();
        let asked = Asked::of(&request, &known)?;
        let mut filter = filter(&server, &asked).await?;
        filter.before = asked.number("before")?;
        let limit = page(&asked)?;
        let found = server.store.messages(filter, limit + 1).await;
        let mut found = found.map_err(|e| store_problem(&e))?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|last| last.id);
        let record = audit(agent, 'E', "messages-list", None);
        server.reads.push(record);
        Ok(Value::object([
            (
                "messages",
                Value::Array(found.iter().map(summary).collect()),
            ),
            ("next", next.map_or(Value::Null, Value::from)),
        ]))
    };
    finish(work.await)
}

/// The number of messages wanted.
///
/// # Errors
/// `bad-parameter-value`
pub fn page(asked: &Asked) -> Result<usize, Problem> {
    let count = asked.number("count")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    Ok(usize::try_from(count).unwrap_or(1))
}

/// The filter of a request.
///
/// # Errors
/// `bad-parameter-value`; `not-found` for a patient nobody knows
pub async fn filter(server: &Server, asked: &Asked) -> Result<MessageFilter, Problem> {
    let words = MessageState::ALL.map(MessageState::code).join(", ");
    let state = asked.parsed("state", &format!("one of {words}"), MessageState::of_code)?;
    let resource = asked.parsed(
        "resource",
        "a reference such as Patient/1",
        ResourceKey::parse,
    )?;
    let patient = match asked.text("patient") {
        Some(text) => Some(patient(server, text).await?),
        None => None,
    };
    let owned = |name: &str| asked.text(name).map(str::to_owned);
    Ok(MessageFilter {
        feed: owned("feed"),
        state,
        message_type: owned("type"),
        control_id: owned("control"),
        resource: resource.or(patient),
        code: owned("code"),
        text: owned("text"),
        since: asked.instant("since")?,
        until: asked.instant("until")?,
        ..MessageFilter::default()
    })
}

/// A patient by logical id, or by the value of an identifier if it is one person's.
async fn patient(server: &Server, text: &str) -> Result<ResourceKey, Problem> {
    let bare = text.strip_prefix("Patient/").unwrap_or(text);
    if let Some(key) = ResourceKey::parse(&format!("Patient/{bare}"))
        && server.current(&key).await?.is_some()
    {
        return Ok(key);
    }
    let Some(resource_type) = Definitions::r4().resource_type("Patient") else {
        return Err(Problem::new(ErrorKind::INTERNAL, "there is no Patient"));
    };
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            value.push('\\');
        }
        value.push(c);
    }
    let criteria = [("identifier".to_owned(), value)];
    let query = SearchQuery {
        resource_type,
        predicate: search::condition_of(server, resource_type, &criteria)?,
        sort: Vec::new(),
        // Two are enough to know that it is not one.
        limit: 2,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let found = server.store.search(query).await;
    let found = found.map_err(|e| store_problem(&e))?.matches;
    match found.as_slice() {
        [one] => Ok(one.key.clone()),
        [] => Err(Problem::new(
            ErrorKind::NOT_FOUND,
            "no patient has this logical id or identifier",
        )
        .at("patient")),
        _ => Err(Problem::new(
            ErrorKind::MULTIPLE_MATCHES,
            "several patients have an identifier of this value; name the logical id",
        )
        .at("patient")),
    }
}

/// One message: state, reason, issues, places no rule read, the resources and versions it made.
#[utoipa::path(get, path = "/admin/messages/{id}", tag = "messages",
    params(("id" = i64, Path, description = "Number of the message")),
    responses(
        (status = 200, description = "The message", content_type = "application/json"),
        (status = 404, description = "There is no such message")
    )
)]
pub async fn one(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let message = replay::find(&server, number(&path)?).await?;
        let detail = Some(format!("message {}", message.id));
        server
            .reads
            .push(audit(agent, 'R', "messages-read", detail));
        Ok(whole(&message))
    };
    finish(work.await)
}

/// The message exactly as received.
#[utoipa::path(get, path = "/admin/messages/{id}/raw", tag = "messages",
    params(("id" = i64, Path, description = "Number of the message")),
    responses(
        (status = 200, description = "The bytes, with the media type they came with"),
        (status = 404, description = "There is no such message")
    )
)]
pub async fn raw(
    server: web::Data<Server>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let work = async {
        let agent = admit(&server, &request)?;
        let message = replay::find(&server, number(&path)?).await?;
        let raw = replay::raw(&server, &message).await?;
        let detail = Some(format!("message {}", message.id));
        server.reads.push(audit(agent, 'R', "messages-raw", detail));
        Ok((message.media_type, raw))
    };
    match work.await {
        Ok((media_type, raw)) => HttpResponse::Ok().content_type(media_type).body(raw),
        Err(problem) => failed(&problem),
    }
}

/// What a list shows of a message.
pub fn summary(message: &Message) -> Value {
    Value::object(head(message))
}

fn head(message: &Message) -> Vec<(&'static str, Value)> {
    vec![
        ("id", Value::from(message.id)),
        ("feed", Value::from(message.feed.as_str())),
        ("type", Value::from(message.message_type.as_str())),
        ("sender", Value::from(message.sender.as_str())),
        ("controlId", Value::from(message.control_id.as_str())),
        ("state", Value::from(message.state.code())),
        ("reason", text(message.reason.as_deref())),
        ("receivedAt", time(Some(message.received_at))),
        ("changedAt", time(message.changed_at)),
        ("replays", Value::from(i64::from(message.replays))),
        (
            "editedFrom",
            message.edited_from.map_or(Value::Null, Value::from),
        ),
    ]
}

fn whole(message: &Message) -> Value {
    let mut members = head(message);
    let hash: String = message
        .raw_hash
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    members.push(("mapping", text(message.mapping.as_deref())));
    members.push(("mediaType", Value::from(message.media_type.as_str())));
    members.push(("rawSha256", Value::from(hash)));
    members.push(("rawBytes", super::count(message.raw_bytes)));
    let made = message.made.iter().map(|(key, version)| {
        Value::object([
            ("resource", Value::from(key.to_string())),
            (
                "version",
                version.map_or(Value::Null, |version| Value::from(version.0)),
            ),
        ])
    });
    members.push(("resources", Value::Array(made.collect())));
    // `issues`, `unread`, `unreadCount`, as they were kept.
    let log = Value::parse(message.issues_json.as_bytes()).unwrap_or_default();
    let mut whole = Value::object(members);
    if let (Some(whole), Some(log)) = (whole.as_object_mut(), log.as_object()) {
        for (name, value) in log.iter() {
            whole.insert(name, value.clone());
        }
    }
    whole
}
