//! Profiles, tags and security labels: read, added to and taken from resources.
//!
//! Spec: <https://hl7.org/fhir/R4/resource-operation-meta.html>, <https://hl7.org/fhir/R4/resource-operation-meta-add.html>,
//! <https://hl7.org/fhir/R4/resource-operation-meta-delete.html>. Adding and deleting make a new version, since what a version says
//! must not change. Left out: the whole system at once, and changing historical versions.

use std::sync::Arc;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::Act;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Map, Value, ValueRef};
use fhir_core::search::compartment;
use fhir_core::search::predicate::Predicate;
use fhir_store::{Only, SearchQuery, TotalMode};

use super::parameters;
use crate::app::store_problem;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::interactions::{Answer, deleted, not_found};
use crate::write::{Attempts, Draft, Need, Plan, Step};

/// The parts of a `Meta` that are lists of names.
const LISTS: [&str; 3] = ["profile", "security", "tag"];

/// Resources of a type looked through for what they are marked with.
const LOOKED_THROUGH_MAX: usize = 20_000;

/// Resources read at a time.
const PAGE_RESOURCES: usize = 1_000;

/// `GET [base]/[type]/[id]/$meta`
///
/// # Errors
/// `not-found`, `deleted`
pub async fn of_instance(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Read, key.resource_type)?;
    let current = call.server.current(&key).await?;
    let current = current.ok_or_else(|| not_found(&key))?;
    if current.deleted {
        return Err(deleted(&key));
    }
    let document = parameters::stored(&current.json)?;
    let meta = document.root().get("meta").map(ValueRef::to_value);
    Ok(answer(meta.unwrap_or_else(|| Value::Object(Map::new()))))
}

/// `GET [base]/[type]/$meta`: everything that resources of the type are marked with.
///
/// # Errors
/// `too-costly`
pub async fn of_type(call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    call.access.permit(Act::Search, resource_type)?;
    let predicate = compartment::narrow(&call.access, resource_type, is_marked(resource_type));
    let mut meta = Map::new();
    let (mut after, mut count) = (None, 0);
    loop {
        let query = SearchQuery {
            resource_type,
            predicate: predicate.clone(),
            sort: Vec::new(),
            limit: PAGE_RESOURCES,
            after,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = call.server.store.search(query).await;
        let page = page.map_err(|e| store_problem(&e))?;
        count += page.matches.len();
        for stored in &page.matches {
            let document = parameters::stored(&stored.json)?;
            if let Some(more) = document.root().get("meta") {
                add(&mut meta, &more.to_value());
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(answer(Value::Object(meta)));
        }
        if count >= LOOKED_THROUGH_MAX {
            let text = format!(
                "more than {LOOKED_THROUGH_MAX} resources of this type are marked; ask for single ones"
            );
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
        }
    }
}

fn is_marked(resource_type: ResourceTypeId) -> Predicate {
    let params = ["_profile", "_security", "_tag"];
    let present = params
        .iter()
        .filter_map(|code| Definitions::r4().search_param(resource_type, code))
        .map(|param| Predicate::Present(param.id));
    Predicate::Or(present.collect())
}

/// `POST [base]/[type]/[id]/$meta-add`
///
/// # Errors
/// `bad-parameter-value` without a `meta`; those of the write path
pub async fn handle_add(call: Call) -> Result<Answer, Problem> {
    change(call, add).await
}

/// `POST [base]/[type]/[id]/$meta-delete`
///
/// # Errors
/// As [`handle_add`]
pub async fn handle_delete(call: Call) -> Result<Answer, Problem> {
    change(call, delete).await
}

async fn change(mut call: Call, how: fn(&mut Map, &Value)) -> Result<Answer, Problem> {
    let key = call.key()?;
    call.access.permit(Act::Update, key.resource_type)?;
    let body = call.json().await?;
    let given = parameters::list(body.root())?
        .into_iter()
        .find(|parameter| parameters::name_of(*parameter) == "meta")
        .and_then(|parameter| parameter.get("valueMeta"));
    let given = given.ok_or_else(|| {
        let text = "a parameter `meta` with a `valueMeta` is expected";
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("Parameters.parameter")
    })?;
    let given = given.to_value();
    let mut attempts = Attempts::new(&call.server);
    loop {
        let (document, meta, need) = changed(&call, &key, &given, how).await?;
        let draft = Draft {
            key: key.clone(),
            step: Step::Put(Arc::new(document)),
            need,
            interaction: Interaction::Update,
        };
        let plan = Plan {
            drafts: vec![draft],
            ..Plan::default()
        };
        if let Some(written) = attempts.submit(&call.access, plan).await? {
            let stored = written.first().map(|written| written.json());
            let stored = stored.and_then(|json| Document::parse(&json).ok());
            let now = stored.and_then(|d| d.root().get("meta").map(ValueRef::to_value));
            return Ok(answer(now.unwrap_or(meta)));
        }
    }
}

/// The current version with another `meta`.
async fn changed(
    call: &Call,
    key: &ResourceKey,
    given: &Value,
    how: fn(&mut Map, &Value),
) -> Result<(Document, Value, Need), Problem> {
    let current = call.server.current(key).await?;
    let current = current.ok_or_else(|| not_found(key))?;
    if current.deleted {
        return Err(deleted(key));
    }
    let mut resource = parameters::stored(&current.json)?.root().to_value();
    let mut meta = resource
        .get("meta")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    how(&mut meta, given);
    let meta = Value::Object(meta);
    if let Some(members) = resource.as_object_mut() {
        members.insert("meta", meta.clone());
    }
    let document = parameters::stored(&resource.to_bytes())?;
    Ok((document, meta, Need::Snapshot(current.version)))
}

fn answer(meta: Value) -> Answer {
    Answer::ok(parameters::answer(vec![parameters::one(
        "return",
        "valueMeta",
        meta,
    )]))
}

/// What two marks are told apart by: a profile by its url, others by system and code.
fn identity(mark: &Value) -> (String, String) {
    let text = |name| mark.get(name).and_then(Value::as_str).unwrap_or_default();
    match mark.as_str() {
        Some(url) => (String::new(), url.to_owned()),
        None => (text("system").to_owned(), text("code").to_owned()),
    }
}

fn add(meta: &mut Map, given: &Value) {
    for name in LISTS {
        let mut list = meta
            .get(name)
            .and_then(Value::as_array)
            .map(<[Value]>::to_vec)
            .unwrap_or_default();
        for mark in given
            .get(name)
            .and_then(Value::as_array)
            .unwrap_or_default()
        {
            if !list.iter().any(|known| identity(known) == identity(mark)) {
                list.push(mark.clone());
            }
        }
        if !list.is_empty() {
            meta.insert(name, Value::Array(list));
        }
    }
}

fn delete(meta: &mut Map, given: &Value) {
    for name in LISTS {
        let gone = given
            .get(name)
            .and_then(Value::as_array)
            .unwrap_or_default();
        let Some(list) = meta.get(name).and_then(Value::as_array) else {
            continue;
        };
        let is_kept = |mark: &&Value| !gone.iter().any(|g| identity(g) == identity(mark));
        let kept: Vec<Value> = list.iter().filter(is_kept).cloned().collect();
        if kept.is_empty() {
            meta.remove(name);
        } else {
            meta.insert(name, Value::Array(kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_added_once_and_taken_away() {
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let mut meta =
            value(r#"{"versionId":"3","tag":[{"system":"s","code":"a","display":"A"}]}"#);
        let given = value(
            r#"{"tag":[{"system":"s","code":"a"},{"system":"s","code":"b"}],"profile":["http://p"]}"#,
        );
        add(meta.as_object_mut().unwrap(), &given);
        let expected = r#"{"versionId":"3","tag":[{"system":"s","code":"a","display":"A"},{"system":"s","code":"b"}],"profile":["http://p"]}"#;
        assert_eq!(String::from_utf8(meta.to_bytes()).unwrap(), expected);
        delete(meta.as_object_mut().unwrap(), &given);
        assert_eq!(
            String::from_utf8(meta.to_bytes()).unwrap(),
            r#"{"versionId":"3"}"#
        );
    }
}
