//! A Patient that is not here is fetched from the EHR that the request names; off unless the tenant's file says so.
//!
//! Header: `Stoker-Tenant: name` on `GET /fhir/Patient?identifier=system|value`. Left out: every other search and type, and
//! keeping the patient up to date; put it into the cohort for that.

use std::sync::Arc;

use ehr::EhrError;
use ehr::tenant::IdentifierKey;
use fhir_core::issue::{ErrorKind, Problem};

use super::runner;
use crate::app::Server;

/// The header that names the tenant, in lower case.
pub const HEADER: &str = "stoker-tenant";

/// Fetches the patient that the search asks for. The caller has found that nobody here carries the identifier.
///
/// # Errors
/// `not-found` for the tenant; `forbidden` when it does not read through, or the EHR does not grant it;
/// `bad-parameter-value` for a search by anything but one identifier; `unavailable`
pub async fn fetch(server: &Arc<Server>, tenant: &str, identifier: &str) -> Result<(), Problem> {
    let entry = server.tenants.get(tenant)?;
    if !entry.tenant.read_through {
        let text = "the tenant's file does not say `read_through = true`";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text).at(HEADER));
    }
    // One at a time: two requests for one patient fetch it once and then find it.
    let _errand = entry.errand.acquire().await;
    let identifier = key(identifier)?;
    let run = runner::fresh(server, &entry)
        .await
        .map_err(|e| trouble(&e))?;
    run.polite().hurry();
    let fetched = run.fetch_patient(&identifier).await;
    runner::remember(&entry, &run);
    let found = fetched.map_err(|e| trouble(&e))?.is_some();
    tracing::info!(tenant, found, "a patient was asked for at the EHR");
    Ok(())
}

/// `system|value`, both there: an identifier without a system identifies nobody.
///
/// # Errors
/// `bad-parameter-value`
pub fn key(text: &str) -> Result<IdentifierKey, Problem> {
    match text.split_once('|') {
        Some((system, value)) if !system.is_empty() && !value.is_empty() && !text.contains(',') => {
            Ok(IdentifierKey {
                system: system.to_owned(),
                value: value.to_owned(),
            })
        }
        _ => {
            let text = "with `Stoker-Tenant`, one `system|value` is needed";
            Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("identifier"))
        }
    }
}

fn trouble(error: &EhrError) -> Problem {
    let kind = match error {
        EhrError::Withheld(_) => ErrorKind::FORBIDDEN,
        _ => ErrorKind::UNAVAILABLE,
    };
    Problem::new(kind, format!("the EHR could not be asked: {error}")).at(HEADER)
}
