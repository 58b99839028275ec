//! Finishes merges that were too large for one commit: batch by batch, each a commit of its own.
//!
//! What is left over is noted with the alias, so that a crash in between loses nothing: the next start goes on.

use std::sync::Arc;

use fhir_core::access::{Access, Channel};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;

use super::actions::REPOINTED_MAX;
use super::desk::Desk;
use super::known::repoint;
use crate::app::{Server, store_problem};
use crate::write::{Attempts, HISTORICAL, Plan};

/// Resources looked at in one search for what is left: parties and history stay and are found again.
const FOUND_MAX: usize = 10 * REPOINTED_MAX;

/// Makes everything that still refers to a merged record refer to the survivor.
///
/// # Errors
/// `unavailable` and its kin; what is done stays done
pub async fn finish_merges(server: &Arc<Server>) -> Result<(), Problem> {
    let pending = server.store.pending_aliases().await;
    for alias in pending.map_err(|e| store_problem(&e))? {
        while batch(server, &alias.from, &alias.into).await? {}
        let done = server.store.alias_done(&alias.from).await;
        done.map_err(|e| store_problem(&e))?;
    }
    Ok(())
}

/// One commit's worth; false when nothing was left.
async fn batch(
    server: &Arc<Server>,
    loser: &ResourceKey,
    survivor: &ResourceKey,
) -> Result<bool, Problem> {
    let access = Access::full("merge", Channel::CommandLine);
    let mut attempts = Attempts::new(server);
    loop {
        let found = server.store.referrers(loser, &HISTORICAL, FOUND_MAX).await;
        let found = found.map_err(|e| store_problem(&e))?;
        let mut desk = Desk::new(server);
        let open = found
            .iter()
            .filter(|key| key.resource_type != loser.resource_type);
        for key in open.take(REPOINTED_MAX) {
            let sheet = desk.open(key).await?;
            sheet.change(|value| repoint(value, loser, survivor));
        }
        let drafts = desk.drafts()?;
        if drafts.is_empty() {
            return Ok(false);
        }
        let plan = Plan {
            drafts,
            ..Plan::default()
        };
        if attempts.submit(&access, plan).await?.is_some() {
            return Ok(true);
        }
    }
}
