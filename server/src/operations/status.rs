//! Whether an added search parameter can be searched by yet; a Subscription's status is in `live/operations.rs`.
//!
//! An operation of this server's own.

use std::sync::atomic::Ordering;

use fhir_core::access::Act;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Number, Value};

use super::parameters::{self, one};
use crate::http::call::Call;
use crate::interactions::{Answer, deleted, not_found};
use crate::search::custom::State;

/// `GET [base]/SearchParameter/[id]/$status`
///
/// # Errors
/// `no-route` for other types; `not-found`, `deleted`
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    let key = call.key()?;
    if key.resource_type.name() == "Subscription" {
        return crate::live::operations::status(call).await;
    }
    if key.resource_type.name() != "SearchParameter" {
        let text = "`$status` exists for SearchParameter";
        return Err(Problem::new(ErrorKind::NO_ROUTE, text));
    }
    call.access.permit(Act::Read, key.resource_type)?;
    let current = call.server.current(&key).await?;
    if current.ok_or_else(|| not_found(&key))?.deleted {
        return Err(deleted(&key));
    }
    let state = call.server.custom.state(&key);
    let (code, reason) = match &state {
        Some(State::Active) => ("active", None),
        Some(State::Indexing) => ("indexing", None),
        Some(State::Refused(why)) => ("refused", Some(why.as_str())),
        None => (
            "inactive",
            Some("its status is not `active`, or it was stored just now"),
        ),
    };
    let mut all = vec![one("state", "valueCode", Value::from(code))];
    all.extend(reason.map(|reason| one("reason", "valueString", Value::from(reason))));
    if state == Some(State::Indexing) {
        let count = call.server.custom.indexed.load(Ordering::Relaxed);
        let number = Number::parse(&count.to_string());
        all.extend(number.map(|n| one("resourcesIndexed", "valueDecimal", Value::Number(n))));
    }
    Ok(Answer::ok(parameters::answer(all)))
}
