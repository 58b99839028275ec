//! A Bundle of requests: a batch carries each out for itself, a transaction all or none.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#transaction>. Entries of a batch depend on nothing, so
//! those of one kind are carried out together; the answers stand in the order of the request.

use std::sync::Arc;

use fhir_core::access::Access;
use fhir_core::bundle::{self, Action, BUNDLE_ENTRIES_MAX, BundleKind, PlanContext};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, ValueRef};
use fhir_core::response::{self, OutcomeEntry, ResponseKind};
use futures_util::StreamExt;

use super::{Answer, entry, transaction};
use crate::app::Server;
use crate::http::call::Call;
use crate::http::prefer::{Prefer, Return};
use crate::interaction::Interaction;

/// Bytes above which a Bundle leaves the thread that serves requests, so that others do not wait for it.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// Entries of a batch under way at a time: together they fill group commits, alone each would wait for its own.
const PARALLEL_MAX: usize = 32;

/// `POST [base]`
///
/// # Errors
/// `bad-entry`; for a transaction those of every entry
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    call.only(&[])?;
    let document = call.json().await?;
    let prefer = call.prefer();
    let (server, access) = (Arc::clone(&call.server), call.access.clone());
    if document.text().len() <= INLINE_BYTES_MAX {
        return perform(&server, &access, &document, prefer).await;
    }
    let runtime = server.runtime.clone();
    let task = runtime.spawn(async move { perform(&server, &access, &document, prefer).await });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a Bundle ended unexpectedly");
        Err(Problem::new(
            ErrorKind::INTERNAL,
            "something unexpected happened; the server's log has more",
        ))
    })
}

async fn perform(
    server: &Arc<Server>,
    access: &Access,
    document: &Document,
    prefer: Prefer,
) -> Result<Answer, Problem> {
    let root = document.root();
    let is_transaction =
        root.get("type").and_then(|name| name.as_str()).as_deref() == Some("transaction");
    // A client that sends many resources at once seldom wants them all back.
    let return_ = prefer.return_.unwrap_or(Return::Minimal);
    let mut out = Vec::new();
    if is_transaction {
        let answers = transaction::perform(server, access, root, return_).await?;
        response::outcomes(
            ResponseKind::Transaction,
            answers.iter().map(entry::to_outcome),
            &mut out,
        );
        return Ok(Answer {
            interaction: Some(Interaction::Transaction),
            ..Answer::ok(out)
        });
    }
    let answers = carry_out(server, access, root, return_).await?;
    let failures: Vec<Vec<u8>> = answers
        .iter()
        .map(|answer| {
            answer.as_ref().err().map_or_else(Vec::new, |problem| {
                problem.to_operation_outcome().to_bytes()
            })
        })
        .collect();
    let entries = answers
        .iter()
        .zip(&failures)
        .map(|(answer, failure)| match answer {
            Ok(answer) => entry::to_outcome(answer),
            Err(problem) => OutcomeEntry {
                status: problem.status(),
                outcome: Some(failure),
                ..OutcomeEntry::default()
            },
        });
    response::outcomes(ResponseKind::Batch, entries, &mut out);
    Ok(Answer::ok(out))
}

/// Carries out the entries of a batch; the answers stand in the order of the entries.
///
/// # Errors
/// `bad-entry` when this is no batch
pub async fn carry_out(
    server: &Arc<Server>,
    access: &Access,
    root: ValueRef<'_>,
    return_: Return,
) -> Result<Vec<Result<Answer, Problem>>, Problem> {
    let own_bases = server.own_bases();
    let context = PlanContext {
        base_urls: &own_bases,
        entries_max: BUNDLE_ENTRIES_MAX,
    };
    let plan = bundle::plan(root, &context, &mut || (server.ids)())?;
    debug_assert_eq!(plan.kind, BundleKind::Batch);
    let mut answers: Vec<Result<Answer, Problem>> =
        plan.entries.iter().map(|_| Ok(Answer::default())).collect();
    for phase in 0..=Phase::Read as u8 {
        let indexes = plan.order.iter().copied().filter(|index| {
            plan.entries
                .get(*index)
                .is_some_and(|entry| Phase::of(&entry.action) as u8 == phase)
        });
        let plan = &plan;
        let work = indexes.map(|index| async move {
            (
                index,
                entry::perform(server, access, plan, index, return_).await,
            )
        });
        let mut done = futures_util::stream::iter(work).buffer_unordered(PARALLEL_MAX);
        while let Some((index, answer)) = done.next().await {
            if let Some(slot) = answers.get_mut(index) {
                *slot = answer;
            }
        }
    }
    Ok(answers)
}

/// The order of <https://hl7.org/fhir/R4/http.html#trules>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Delete,
    Create,
    Update,
    Read,
}

impl Phase {
    fn of(action: &Action) -> Self {
        match action {
            Action::Delete { .. } | Action::ConditionalDelete { .. } => Self::Delete,
            Action::Create { .. } => Self::Create,
            Action::Update { .. }
            | Action::ConditionalUpdate { .. }
            | Action::Patch { .. }
            | Action::ConditionalPatch { .. } => Self::Update,
            Action::Get { .. } | Action::Refused(_) => Self::Read,
        }
    }
}
