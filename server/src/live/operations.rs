//! `$status`, `$events` and `$get-ws-binding-token` of Subscription.
//!
//! Spec: <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/operations.html>. Left out: `$resend`; `$events` gives what was
//! missed.

use conformance::ResourceTypeId;
use fhir_core::access::Act;
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_core::response::{self, BundleLink, SearchEntry, SearchMode};
use fhir_core::search::predicate::Predicate;
use fhir_store::{LiveSub, Only, SearchQuery, Stored, TotalMode};

use super::hook::with_bodies;
use super::model::{Channel, Content, Spec};
use super::notify::{self, Head};
use super::socket::{TOKEN_US, token};
use crate::app::{Server, store_problem};
use crate::http::call::Call;
use crate::interactions::{Answer, deleted, not_found};
use crate::operations::parameters::{self, bad, one, unknown};

/// Events of one answer of `$events` at most; the rest is asked for by number.
const EVENTS_MAX: usize = 1_000;
/// Subscriptions of one answer of `$status` at most.
const STATUSES_MAX: usize = 1_000;
/// Subscriptions of one binding token at most.
const IDS_MAX: usize = super::hub::BOUND_MAX;

struct Known {
    stored: Stored,
    spec: Spec,
    error: Option<String>,
    sub: Option<LiveSub>,
}

fn subscription(call: &Call) -> Result<ResourceTypeId, Problem> {
    let resource_type = call.resource_type()?;
    if resource_type.name() == "Subscription" {
        call.access.permit(Act::Read, resource_type)?;
        return Ok(resource_type);
    }
    let text = "this operation exists for Subscription";
    Err(Problem::new(ErrorKind::NO_ROUTE, text))
}

async fn one_of(server: &Server, key: &ResourceKey) -> Result<Known, Problem> {
    let stored = server.current(key).await?.ok_or_else(|| not_found(key))?;
    if stored.deleted {
        return Err(deleted(key));
    }
    known(server, stored).await
}

async fn known(server: &Server, stored: Stored) -> Result<Known, Problem> {
    let document = parameters::stored(&stored.json)?;
    let root = document.root();
    let error = root.get("error").and_then(|e| e.as_str());
    let error = error.map(|text| text.into_owned());
    let spec = Spec::read(root)?;
    let id = stored.key.id.as_str().to_owned();
    let sub = server.store.live_sub(id).await;
    Ok(Known {
        spec,
        error,
        sub: sub.map_err(|e| store_problem(&e))?,
        stored,
    })
}

fn head<'a>(
    server: &'a Server,
    known: &'a Known,
    topic: Option<&'a str>,
    kind: &'a str,
) -> Head<'a> {
    Head {
        base: &server.base_url,
        id: known.stored.key.id.as_str(),
        status: &known.spec.status,
        kind,
        events: known.sub.as_ref().map_or(0, |sub| sub.events),
        topic,
        error: known.error.as_deref(),
    }
}

/// `GET` and `POST [base]/Subscription/[id]/$status`
///
/// # Errors
/// `not-found`, `deleted`
pub async fn status(call: Call) -> Result<Answer, Problem> {
    subscription(&call)?;
    let known = one_of(&call.server, &call.key()?).await?;
    Ok(statuses(&call.server, "", &[known]))
}

/// `GET` and `POST [base]/Subscription/$status`
///
/// # Errors
/// `unknown-parameter`, `bad-parameter-value`
pub async fn status_of_type(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = subscription(&call)?;
    let (mut ids, mut wanted) = (Vec::new(), Vec::new());
    for (name, value) in parameters::simple(&mut call).await? {
        match name.as_str() {
            "id" => ids.extend(value.split(',').map(str::to_owned)),
            "status" => wanted.extend(value.split(',').map(str::to_owned)),
            _ => return Err(unknown(&name, "`id` and `status`")),
        }
    }
    let predicate = if ids.is_empty() {
        Predicate::Everything
    } else {
        Predicate::Id(ids.iter().filter_map(|id| ResourceId::parse(id)).collect())
    };
    let mut all = Vec::new();
    for stored in found(&call.server, resource_type, predicate).await? {
        // What cannot be read as a subscription has no status to tell.
        if let Ok(known) = known(&call.server, stored).await
            && (wanted.is_empty() || wanted.contains(&known.spec.status))
        {
            all.push(known);
        }
    }
    Ok(statuses(&call.server, "?", &all))
}

async fn found(
    server: &Server,
    resource_type: ResourceTypeId,
    predicate: Predicate,
) -> Result<Vec<Stored>, Problem> {
    let query = SearchQuery {
        resource_type,
        predicate,
        sort: Vec::new(),
        limit: STATUSES_MAX,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server.store.search(query).await;
    let page = page.map_err(|e| store_problem(&e))?;
    if page.next.is_some() {
        let text = format!("there are more than {STATUSES_MAX} subscriptions; name some with `id`");
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
    }
    Ok(page.matches)
}

fn statuses(server: &Server, rest: &str, all: &[Known]) -> Answer {
    let path = match (rest, all.first()) {
        ("", Some(known)) => format!("{}/$status", known.stored.key),
        _ => "Subscription/$status".to_owned(),
    };
    let url = format!("{}/{path}", server.base_url);
    let made: Vec<(String, Vec<u8>)> = all
        .iter()
        .map(|known| {
            let topic = known.spec.topic();
            let head = head(server, known, topic.as_deref(), "query-status");
            let value = notify::status(&head, &[], Content::Empty);
            let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
            (format!("urn:uuid:{id}"), value.to_bytes())
        })
        .collect();
    let links = [BundleLink {
        relation: "self",
        url: &url,
    }];
    let entries = made.iter().map(|(full_url, resource)| SearchEntry {
        full_url,
        resource,
        mode: SearchMode::Match,
    });
    let mut out = Vec::new();
    response::searchset(&links, u64::try_from(made.len()).ok(), entries, &mut out);
    Answer::ok(out)
}

/// `GET` and `POST [base]/Subscription/[id]/$events`
///
/// # Errors
/// `not-found`, `deleted`, `unknown-parameter`, `bad-parameter-value`
pub async fn events(mut call: Call) -> Result<Answer, Problem> {
    subscription(&call)?;
    let (mut since, mut until, mut content) = (1, i64::MAX, None);
    for (name, value) in parameters::simple(&mut call).await? {
        let number = || {
            let number = value.parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| bad(&name, "is the number of an event"))
        };
        match name.as_str() {
            "eventsSinceNumber" => since = number()?,
            "eventsUntilNumber" => until = number()?,
            "content" => {
                let code = Content::of(&value);
                let text = "is `empty`, `id-only` or `full-resource`";
                content = Some(code.ok_or_else(|| bad("content", text))?);
            }
            _ => {
                let known = "`eventsSinceNumber`, `eventsUntilNumber` and `content`";
                return Err(unknown(&name, known));
            }
        }
    }
    let server = &call.server;
    let known = one_of(server, &call.key()?).await?;
    let content = content.unwrap_or(match known.spec.content {
        Content::Empty => Content::IdOnly,
        other => other,
    });
    let events = match &known.sub {
        None => Vec::new(),
        Some(sub) => {
            let events = server
                .store
                .live_events_of(sub.no, since, until, EVENTS_MAX)
                .await;
            events.map_err(|e| store_problem(&e))?
        }
    };
    let told = with_bodies(server, events, content == Content::Full).await?;
    let topic = known.spec.topic();
    let head = head(server, &known, topic.as_deref(), "query-event");
    Ok(Answer::ok(notify::bundle(
        &head,
        &told,
        content,
        (server.clock)(),
    )))
}

/// `GET` and `POST [base]/Subscription/$get-ws-binding-token`, and for one.
///
/// # Errors
/// `not-found`, `deleted`, `bad-parameter-value`
pub async fn ws_binding_token(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = subscription(&call)?;
    let mut ids = Vec::new();
    if call.request().match_info().get("id").is_some() {
        ids.push(call.key()?.id.as_str().to_owned());
    } else {
        for (name, value) in parameters::simple(&mut call).await? {
            match name.as_str() {
                "id" => ids.extend(value.split(',').map(str::to_owned)),
                _ => return Err(unknown(&name, "`id`")),
            }
        }
    }
    if ids.is_empty() || ids.len() > IDS_MAX {
        let text = format!("is given once for each subscription, 1 to {IDS_MAX} times");
        return Err(bad("id", &text));
    }
    let server = &call.server;
    for id in &ids {
        let key = ResourceKey {
            resource_type,
            id: ResourceId::parse(id).ok_or_else(|| bad("id", "is a logical id"))?,
        };
        if one_of(server, &key).await?.spec.channel != Channel::Socket {
            return Err(bad("id", "names a subscription with another channel"));
        }
    }
    let until = Instant((server.clock)().0.saturating_add(TOKEN_US));
    let mut all = vec![
        one(
            "token",
            "valueString",
            Value::from(token(server, &ids, until)),
        ),
        one("expiration", "valueDateTime", Value::from(until.to_fhir())),
    ];
    all.extend(
        ids.iter()
            .map(|id| one("subscription", "valueString", Value::from(id.as_str()))),
    );
    let url = Value::from(websocket_url(server));
    all.push(one("websocket-url", "valueUrl", url));
    Ok(Answer::ok(parameters::answer(all)))
}

/// Where clients reach the websocket.
pub fn websocket_url(server: &Server) -> String {
    if let Some(url) = &server.config.live.websocket_url {
        return url.clone();
    }
    let origin: Vec<&str> = server.base_url.split('/').take(3).collect();
    let origin = origin.join("/");
    let origin = origin
        .strip_prefix("http")
        .map_or(origin.clone(), |rest| format!("ws{rest}"));
    format!("{origin}/websocket")
}
