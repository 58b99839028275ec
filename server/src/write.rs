//! The write path: permit, validate, extract, prepare, commit, cache. HTTP, import and feeds all end here.
//!
//! Everything that costs time is done on the caller's thread from a snapshot; the store's writer only checks that the
//! snapshot still holds. If it does not, the caller plans anew, a bounded number of times.

mod prepare;
mod references;
pub mod validation;

use std::sync::Arc;

use conformance::Definitions;
use fhir_core::access::{Access, Act};
use fhir_core::body::Body;
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::versioning::Tags;
use fhir_store::{
    Commit, CommitError, Committed, EhrPage, Expectation, MessageReceipt, MessageRecord, Stored,
};

use tokio::sync::MutexGuard;

use crate::app::{Server, store_problem};
use crate::audit;
use crate::interaction::Interaction;
use crate::search::custom;
use prepare::{Prepared, check_preconditions};
pub use prepare::{check_resource, prepare};
pub use references::HISTORICAL;
use references::Held;

/// Plans made for one request at most. Each lost attempt means that another write succeeded, and from the second on the
/// request holds the retry lane, so more are needed only when other servers share the database.
const ATTEMPTS_MAX: usize = 20;

/// Bytes of resources above which preparing leaves the thread that serves requests: about 2 ms of work.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// Something to be done to one resource.
#[derive(Debug)]
pub struct Draft {
    /// To which.
    pub key: ResourceKey,
    /// What.
    pub step: Step,
    /// On what condition.
    pub need: Need,
    /// As which interaction, for permission and the audit trail.
    pub interaction: Interaction,
}

/// What is done.
#[derive(Debug)]
pub enum Step {
    /// The resource becomes this.
    Put(Arc<Document>),
    /// The same with a document that [`check_resource`] has passed already.
    PutChecked(Arc<Document>),
    /// The resource is deleted.
    Delete,
}

/// On what condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// None.
    Nothing,
    /// The id is new: nothing needs to be read first.
    NewId,
    /// One of these versions is current (`If-Match`).
    Match(Tags),
    /// This version is current, since the content was made from it; another one asks for a new plan.
    Snapshot(VersionId),
    /// The same with the version in hand: it is not read again, the commit itself finds out whether it is current.
    Known(Box<Stored>),
}

/// A plan: what is done together, and what must still be true then.
#[derive(Debug, Default)]
pub struct Plan {
    /// The changes.
    pub drafts: Vec<Draft>,
    /// What searches found while planning.
    pub expects: Vec<Expectation>,
    /// The message it comes from.
    pub message: Option<MessageRecord>,
    /// The Bundle entry of each draft, for what is said of it; empty when they come from no Bundle.
    pub entries: Vec<usize>,
}

/// A plan carried out.
#[derive(Debug, Default)]
pub struct Done {
    /// What became of the drafts.
    pub written: Vec<Written>,
    /// The message's number.
    pub message: Option<MessageReceipt>,
    /// What became of the samples, by series.
    pub samples: Vec<Vec<fhir_store::SampleFate>>,
}

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The resource is new, or lives again.
    Created,
    /// It has a new version.
    Updated,
    /// It was the same already; no new version.
    Unchanged,
    /// It is deleted now.
    Deleted,
    /// It was not there, or deleted already.
    NothingToDelete,
}

/// A draft carried out.
#[derive(Debug)]
pub struct Written {
    /// Which resource.
    pub key: ResourceKey,
    /// What happened.
    pub effect: Effect,
    /// The version that is current now; `None` if there never was one.
    pub version: Option<(VersionId, Instant)>,
    /// The content; `None` when deleted.
    pub content: Option<Content>,
}

/// The content of a resource after a write.
#[derive(Debug)]
pub enum Content {
    /// Written now.
    New(Body),
    /// As it was.
    Old(bytes::Bytes),
}

impl Written {
    /// The complete resource; empty when deleted.
    pub fn json(&self) -> bytes::Bytes {
        match (&self.content, self.version) {
            (Some(Content::New(body)), Some((version, updated))) => {
                body.to_bytes(version, updated).into()
            }
            (Some(Content::Old(json)), _) => json.clone(),
            _ => bytes::Bytes::new(),
        }
    }
}

/// Why a plan was not carried out.
#[derive(Debug)]
pub enum Failure {
    /// Something changed since planning; a new plan may succeed.
    Moved,
    /// The message was received before.
    Repeated(MessageReceipt),
    /// It cannot be done.
    Problem(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The attempts of one request to be carried out: plan, try, and plan anew as long as something comes between.
pub struct Attempts<'a> {
    server: &'a Arc<Server>,
    count: usize,
    lane: Option<MutexGuard<'a, ()>>,
}

impl<'a> Attempts<'a> {
    /// No attempt yet.
    pub fn new(server: &'a Arc<Server>) -> Self {
        Self {
            server,
            count: 0,
            lane: None,
        }
    }

    /// Tries a plan. `None` means that something changed since it was made and a new plan is needed.
    ///
    /// # Errors
    /// What carrying out answers; `write-conflict` when others always came first
    pub async fn submit(
        &mut self,
        access: &Access,
        plan: Plan,
    ) -> Result<Option<Vec<Written>>, Problem> {
        match submit(self.server, access, plan).await {
            Ok((written, _)) => return Ok(Some(written)),
            Err(Failure::Moved) => {}
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(Failure::Repeated(_)) => {
                return Err(Problem::new(
                    ErrorKind::MESSAGE_CONFLICT,
                    "the message was received before",
                ));
            }
        }
        self.again().await?;
        Ok(None)
    }

    /// Gets ready for another attempt.
    ///
    /// # Errors
    /// `write-conflict` when there were too many
    pub async fn again(&mut self) -> Result<(), Problem> {
        self.server.metrics.retry();
        self.count += 1;
        if self.count >= ATTEMPTS_MAX {
            let text = format!(
                "other writes came first {ATTEMPTS_MAX} times; read the resource again and repeat"
            );
            return Err(Problem::new(ErrorKind::WRITE_CONFLICT, text));
        }
        if self.lane.is_none() {
            self.lane = Some(self.server.retry_lane.lock().await);
        }
        Ok(())
    }
}

/// As [`submit`], together with the page of an EHR walk that brought it.
///
/// # Errors
/// See [`Failure`]; [`Failure::Moved`] also when another run moved the walk.
pub async fn submit_page(
    server: &Arc<Server>,
    access: &Access,
    plan: Plan,
    page: EhrPage,
) -> Result<Vec<Written>, Failure> {
    let done = carry_out(server, access, plan, Vec::new(), Some(page)).await?;
    Ok(done.written)
}

/// Carries out one plan, all or nothing, and returns when it is durable.
///
/// # Errors
/// See [`Failure`].
pub async fn submit(
    server: &Arc<Server>,
    access: &Access,
    plan: Plan,
) -> Result<(Vec<Written>, Option<MessageReceipt>), Failure> {
    let done = submit_all(server, access, plan, Vec::new()).await?;
    Ok((done.written, done.message))
}

/// The same together with samples of dense series.
///
/// # Errors
/// See [`Failure`].
pub async fn submit_all(
    server: &Arc<Server>,
    access: &Access,
    plan: Plan,
    samples: Vec<fhir_store::SeriesSamples>,
) -> Result<Done, Failure> {
    carry_out(server, access, plan, samples, None).await
}

async fn carry_out(
    server: &Arc<Server>,
    access: &Access,
    plan: Plan,
    samples: Vec<fhir_store::SeriesSamples>,
    page: Option<EhrPage>,
) -> Result<Done, Failure> {
    for draft in &plan.drafts {
        access.permit(act(draft.interaction), draft.key.resource_type)?;
    }
    let held = references::check(server, access, &plan).await?;
    let mut currents = Vec::with_capacity(plan.drafts.len());
    for draft in &plan.drafts {
        let current = match &draft.need {
            Need::NewId => None,
            Need::Known(stored) => Some(Stored::clone(stored)),
            _ => server
                .store
                .read(&draft.key)
                .await
                .map_err(|e| store_problem(&e))?,
        };
        check_preconditions(draft, current.as_ref())
            .map_err(|problem| placed(&plan.entries, currents.len(), problem))?;
        if let Need::Snapshot(version) = draft.need
            && current.as_ref().map(|stored| stored.version) != Some(version)
        {
            return Err(Failure::Moved);
        }
        currents.push(current);
    }
    let audit = plan.drafts.iter().map(|draft| {
        audit::record(
            access,
            draft.interaction,
            action(draft.interaction),
            Some((draft.key.clone(), None)),
        )
    });
    let audit: Vec<_> = audit.collect();
    // A profile stored a moment ago binds what is stored now.
    server.definitions.fresh(&server.store).await?;
    let prepared = prepare_all(server, plan.drafts, currents, plan.entries).await?;
    let commit_parts = Commit {
        expects: plan.expects,
        changes: Vec::with_capacity(prepared.len()),
        audit,
        message: plan.message,
        samples,
    };
    commit(server, prepared, commit_parts, page, held).await
}

/// A problem of a draft, with the Bundle entry that it came from.
fn placed(entries: &[usize], number: usize, problem: Problem) -> Problem {
    match entries.get(number) {
        Some(entry) => in_entry(*entry, problem),
        None => problem,
    }
}

/// Says which entry of a Bundle a problem belongs to, and where in the Bundle the element is.
pub fn in_entry(index: usize, mut problem: Problem) -> Problem {
    for issue in &mut problem.issues {
        issue.diagnostics = format!("entry {index}: {}", issue.diagnostics);
        // `Patient.name` is an element of the entry's resource; anything else is a parameter or a header.
        let element = issue.expression.as_deref().and_then(|expression| {
            let (root, rest) = expression.split_once('.').unwrap_or((expression, ""));
            let is_resource = Definitions::r4().resource_type(root).is_some();
            is_resource.then(|| rest.to_owned())
        });
        issue.expression = Some(match element.as_deref() {
            Some("") => format!("Bundle.entry[{index}].resource"),
            Some(rest) => format!("Bundle.entry[{index}].resource.{rest}"),
            None => format!("Bundle.entry[{index}]"),
        });
    }
    problem
}

/// Prepares the drafts, on another thread when there is much to do.
async fn prepare_all(
    server: &Arc<Server>,
    drafts: Vec<Draft>,
    currents: Vec<Option<Stored>>,
    entries: Vec<usize>,
) -> Result<Vec<Prepared>, Failure> {
    let size = |draft: &Draft| match &draft.step {
        Step::Put(document) | Step::PutChecked(document) => document.text().len(),
        Step::Delete => 0,
    };
    let bytes: usize = drafts.iter().map(size).sum();
    let server = Arc::clone(server);
    let work = move || -> Result<Vec<Prepared>, Problem> {
        drafts
            .into_iter()
            .zip(currents)
            .enumerate()
            .map(|(number, (draft, current))| {
                prepare(&server, draft, current)
                    .map_err(|problem| placed(&entries, number, problem))
            })
            .collect()
    };
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work()?);
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "preparing a write ended unexpectedly");
            Err(Problem::new(
                ErrorKind::INTERNAL,
                "something unexpected happened; the server's log has more",
            )
            .into())
        }
    }
}

async fn commit(
    server: &Arc<Server>,
    prepared: Vec<Prepared>,
    mut commit: Commit,
    page: Option<EhrPage>,
    held: Option<Held>,
) -> Result<Done, Failure> {
    let mut written = Vec::with_capacity(prepared.len());
    // For every change, where it stands in `written`.
    let mut places = Vec::with_capacity(prepared.len());
    for item in prepared {
        if let Some(change) = item.change {
            commit.changes.push(change);
            places.push(written.len());
        }
        written.push(item.written);
    }
    let is_empty =
        commit.changes.is_empty() && commit.message.is_none() && commit.samples.is_empty();
    if is_empty && page.is_none() {
        commit
            .audit
            .into_iter()
            .for_each(|record| server.reads.push(record));
        return Ok(Done {
            written,
            ..Done::default()
        });
    }
    let task_server = Arc::clone(server);
    // A task of its own: a client that goes away drops the request, and the cache must still learn of the commit.
    let task = tokio::spawn(async move {
        let store = &task_server.store;
        let done = match page {
            Some(page) => store.commit_page(commit, page).await,
            None => store.commit(commit).await,
        };
        drop(held);
        let done = done?;
        let Committed {
            results,
            message,
            samples,
        } = done;
        let has_samples = samples.iter().any(|series| !series.is_empty());
        let mut has_params = false;
        for (place, result) in places.into_iter().zip(results) {
            let Some(item) = written.get_mut(place) else {
                continue;
            };
            item.version = Some(result);
            task_server.definitions.written(item.key.resource_type);
            task_server.devices.changed(item.key.resource_type);
            remember(&task_server, item);
            has_params |= item.key.resource_type.name() == "SearchParameter";
        }
        let observation = has_samples
            .then(|| Definitions::r4().resource_type("Observation"))
            .flatten();
        let types = written.iter().map(|item| item.key.resource_type);
        task_server.live.committed(types.chain(observation));
        if has_params {
            custom::refresh_soon(&task_server);
        }
        // What is acknowledged is in force; when reading fails here, the next use reads again.
        if let Err(problem) = task_server.definitions.fresh(&task_server.store).await {
            tracing::warn!(%problem, "stored definitions cannot be read yet");
        }
        Ok::<_, CommitError>(Done {
            written,
            message,
            samples,
        })
    });
    match task.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failure(error)),
        Err(error) => {
            tracing::error!(%error, "a commit ended unexpectedly");
            Err(Problem::new(
                ErrorKind::INTERNAL,
                "something unexpected happened; the server's log has more",
            )
            .into())
        }
    }
}

fn remember(server: &Server, item: &Written) {
    let Some(cache) = &server.cache else { return };
    let Some((version, updated)) = item.version else {
        return;
    };
    let deleted = item.effect == Effect::Deleted;
    cache.committed(&Stored {
        key: item.key.clone(),
        version,
        updated,
        deleted,
        json: item.json(),
    });
}

/// What the store's refusal means to the caller.
pub fn failure(error: CommitError) -> Failure {
    match error {
        CommitError::VersionMoved { .. }
        | CommitError::WalkMoved
        | CommitError::ExpectationFailed { .. }
        | CommitError::IdTaken { .. } => Failure::Moved,
        CommitError::RepeatedMessage(receipt) => Failure::Repeated(receipt),
        CommitError::Overloaded => Problem::new(
            ErrorKind::OVERLOADED,
            "the write queue is full; nothing was written, try again later",
        )
        .into(),
        CommitError::Unavailable(_) => {
            tracing::error!(%error, "the database cannot be written");
            let text = "the database cannot be written; nothing was written, try again later";
            Problem::new(ErrorKind::UNAVAILABLE, text).into()
        }
        CommitError::Internal(_) => {
            tracing::error!(%error, "a commit failed");
            Problem::new(
                ErrorKind::INTERNAL,
                "the write failed and nothing was written; the server's log has more",
            )
            .into()
        }
    }
}

fn act(interaction: Interaction) -> Act {
    match interaction {
        Interaction::Create => Act::Create,
        Interaction::Delete => Act::Delete,
        _ => Act::Update,
    }
}

/// `AuditEvent.action` of an interaction that writes.
fn action(interaction: Interaction) -> char {
    match interaction {
        Interaction::Create => 'C',
        Interaction::Delete => 'D',
        _ => 'U',
    }
}
