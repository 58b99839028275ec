//! Runs of tenants: one at a time for each, on a schedule or when asked for, each with its record.
//!
//! Left out: running missed times after a pause; a tenant that is late runs once and goes on from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ehr::EhrError;
use ehr::clock::{Machine, plus_seconds};
use ehr::drift;
use ehr::run::{Run, RunReport};
use ehr::tenant::Tenant;
use fhir_core::ids::Instant;
use fhir_store::EhrRun;

use super::port::ServerPort;
use super::tenants::Entry;
use super::view;
use crate::app::Server;

/// Name of the note that holds the day's budget.
const BUDGET: &str = "budget";
/// Name of the note that holds what the site said of itself.
const SITE: &str = "site";
/// Changes of a site that are told; more are summed up.
const CHANGES_TOLD_MAX: usize = 20;
/// Shortest wait of a schedule, in seconds, so that a clock that jumps cannot make it spin.
const WAIT_MIN_S: i64 = 1;

/// Starts the tenant's schedule, if it has one.
pub fn schedule(server: &Arc<Server>, entry: &Arc<Entry>) {
    let Some(every_min) = entry.tenant.every_min else {
        return;
    };
    let (server, entry_of_task) = (Arc::clone(server), Arc::clone(entry));
    let task = server.runtime.clone().spawn(async move {
        let entry = entry_of_task;
        loop {
            let due = match server.store.ehr_runs(&entry.tenant.name, 1).await {
                Ok(runs) => runs
                    .first()
                    .map(|last| plus_seconds(last.started, i64::from(every_min) * 60)),
                Err(error) => {
                    tracing::error!(tenant = %entry.tenant.name, %error, "the last run cannot be read");
                    Some(plus_seconds((server.clock)(), i64::from(every_min) * 60))
                }
            };
            let now = (server.clock)();
            let wait_s = due.map_or(0, |due| (due.0 - now.0).div_euclid(1_000_000) + 1);
            if wait_s > 0 {
                let wait_s = u64::try_from(wait_s.max(WAIT_MIN_S)).unwrap_or(1);
                tokio::time::sleep(Duration::from_secs(wait_s)).await;
            }
            let Ok(lane) = entry.lane.try_acquire() else {
                // Somebody asked for a run; its record moves the next date.
                drop(entry.lane.acquire().await);
                continue;
            };
            // The outcome is in the log and in the list of runs.
            let _ = execute(&server, &entry, Work::Sync).await;
            drop(lane);
        }
    });
    entry.keep(task);
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Asks the EHR for what is new and changed.
    Sync,
    /// Makes copies again that other rules made, from what is kept.
    NormaliseAgain,
}

/// Starts a run and returns at once; `false` when one is under way.
pub fn begin(server: &Arc<Server>, entry: &Arc<Entry>, work: Work) -> bool {
    let Ok(lane) = Arc::clone(&entry.lane).try_acquire_owned() else {
        return false;
    };
    let (server, entry_of_task) = (Arc::clone(server), Arc::clone(entry));
    let task = server.runtime.clone().spawn(async move {
        // The outcome is in the log and in the list of runs.
        let _ = execute(&server, &entry_of_task, work).await;
        drop(lane);
    });
    entry.keep(task);
    true
}

/// A run now, waited for.
///
/// # Errors
/// [`EhrError::Paused`] when one is under way; what stopped the run.
pub async fn run_now(server: &Arc<Server>, entry: &Arc<Entry>) -> Result<RunReport, EhrError> {
    let Ok(_lane) = entry.lane.try_acquire() else {
        return Err(EhrError::Paused("a run is under way".to_owned()));
    };
    execute(server, entry, Work::Sync).await
}

/// One run with everything around it; the caller holds the lane.
async fn execute(server: &Arc<Server>, entry: &Entry, work: Work) -> Result<RunReport, EhrError> {
    let name = &entry.tenant.name;
    let run = fresh(server, entry).await?;
    let started = (server.clock)();
    entry.now().run = Some((Arc::clone(&run), started));
    let result = carry_out(server, &entry.tenant, &run, started, work).await;
    entry.now().run = None;
    remember(entry, &run);
    if let Err(error) = &result {
        tracing::warn!(tenant = %name, %error, "an EHR run stopped; the next one goes on");
    }
    result
}

/// A way to the EHR that knows what was spent today and whether the EHR is left alone.
///
/// # Errors
/// When no client can be made.
pub(super) async fn fresh(server: &Arc<Server>, entry: &Entry) -> Result<Arc<Run>, EhrError> {
    let port = Arc::new(ServerPort::new(Arc::clone(server), &entry.tenant.name));
    let run = Arc::new(Run::new(
        Arc::clone(&entry.tenant),
        port,
        Arc::new(Machine),
    )?);
    let (day, today) = budget(server, entry).await;
    run.polite().set_spent(day, today);
    run.polite().set_breaker(entry.now().breaker);
    Ok(run)
}

/// Keeps with the tenant what a way to the EHR has learnt.
pub(super) fn remember(entry: &Entry, run: &Run) {
    let mut now = entry.now();
    // Two ways at the same time: the one that counted more counts.
    now.spent = now.spent.max(run.polite().spent());
    now.breaker = run.polite().breaker();
}

/// One run, its record, the day's budget and a look at the site.
///
/// # Errors
/// What stopped the run; it is recorded all the same.
pub async fn carry_out(
    server: &Arc<Server>,
    tenant: &Tenant,
    run: &Run,
    started: Instant,
    work: Work,
) -> Result<RunReport, EhrError> {
    let (changes, result) = match work {
        Work::Sync => (watch(server, tenant, run).await, run.sync().await),
        Work::NormaliseAgain => (Vec::new(), run.normalise_again().await),
    };
    let mut report = match &result {
        Ok(report) => report.clone(),
        Err(_) => run.report(),
    };
    report.warnings.extend(changes);
    let outcome = match &result {
        Ok(report) if report.failed.is_empty() => "complete",
        Ok(_) => "partial",
        Err(_) => "failed",
    };
    let error = result.as_ref().err().map(ToString::to_string);
    let record = EhrRun {
        tenant: tenant.name.clone(),
        started,
        ended: (server.clock)(),
        outcome: outcome.to_owned(),
        report: view::report(&report, error.as_deref()).to_string(),
    };
    let kept = server.store.ehr_add_run(record).await;
    let (day, today) = run.polite().spent();
    let budget = format!("{day} {today}").into();
    let kept = match kept {
        Ok(()) => {
            server
                .store
                .ehr_put_note(&tenant.name, BUDGET, budget)
                .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::error!(tenant = %tenant.name, %error, "the record of an EHR run could not be kept");
    }
    result.map(|_| report)
}

/// What was spent of today's requests, also by an earlier process.
async fn budget(server: &Server, entry: &Entry) -> (i64, u32) {
    let in_memory = entry.now().spent;
    if in_memory != (0, 0) {
        return in_memory;
    }
    spent(server, &entry.tenant.name).await
}

/// What an earlier run spent: UTC day and requests.
pub async fn spent(server: &Server, tenant: &str) -> (i64, u32) {
    let notes = server.store.ehr_notes(tenant, BUDGET).await;
    let kept = notes.ok().and_then(|notes| {
        let (_, _, bytes) = notes.into_iter().next()?;
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        let (day, today) = text.split_once(' ')?;
        Some((day.parse().ok()?, today.parse().ok()?))
    });
    kept.unwrap_or_default()
}

/// What the site says of itself, compared with the last time; changes as warnings.
async fn watch(server: &Server, tenant: &Tenant, run: &Run) -> Vec<String> {
    // A site that does not answer shows in the run itself.
    let Ok(facts) = run.site().await else {
        return Vec::new();
    };
    let notes = server.store.ehr_notes(&tenant.name, SITE).await;
    let before = notes.ok().and_then(|notes| notes.into_iter().next());
    let before = before.and_then(|(_, _, bytes)| String::from_utf8(bytes.to_vec()).ok());
    let text = facts.iter().cloned().collect::<Vec<_>>().join("\n");
    if before.as_deref() == Some(text.as_str()) {
        return Vec::new();
    }
    let kept = server
        .store
        .ehr_put_note(&tenant.name, SITE, text.into())
        .await;
    if let Err(error) = kept {
        tracing::error!(tenant = %tenant.name, %error, "the site's statements could not be kept");
    }
    let Some(before) = before else {
        return Vec::new();
    };
    let before: BTreeSet<String> = before.lines().map(str::to_owned).collect();
    let changes = drift::changes(&before, &facts);
    let more = changes.len().saturating_sub(CHANGES_TOLD_MAX);
    let mut told: Vec<String> = changes
        .into_iter()
        .take(CHANGES_TOLD_MAX)
        .map(|change| format!("the site changed: {change}"))
        .collect();
    if more > 0 {
        told.push(format!("the site changed in {more} more points"));
    }
    told
}
