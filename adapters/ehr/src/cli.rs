//! The commands behind `stoker ehr …`: each takes what it needs and gives back the text to print.
//!
//! Spec: none. Leaves out argument parsing, which is the server's.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::EhrError;
use crate::auth::discovery::{fetch, server_time};
use crate::auth::keys::{Algorithm, KeyRing};
use crate::auth::token::TokenSource;
use crate::clock::Surroundings;
use crate::http::{Http, Request, Url};
use crate::memory::Memory;
use crate::plan::{Capability, first_url, wrong_profile};
use crate::port::Port;
use crate::run::{Run, RunReport};
use crate::tenant::{Auth, Tenant};

/// Addresses printed in full; a cohort of thousands is summed up.
const URLS_SHOWN: usize = 50;
/// Clock difference that deserves a word, in seconds: an assertion lives four minutes.
const SKEW_WARN_S: i64 = 60;

/// `stoker ehr plan`: the exact searches, what is left out and why. Writes nothing.
///
/// # Errors
/// Whatever stops the tenant.
pub async fn plan(
    tenant: Arc<Tenant>,
    surroundings: Arc<dyn Surroundings>,
) -> Result<String, EhrError> {
    let run = Run::new(tenant.clone(), Arc::new(Memory::default()), surroundings)?;
    let plan = run.plan().await?;
    let mut text = String::new();
    for task in plan.tasks.iter().take(URLS_SHOWN) {
        let url = first_url(&tenant, task, None, run.source_now())?;
        let changes = task.search.changes.as_ref();
        let changes = changes.map_or_else(
            || "whole every time".to_owned(),
            |changes| format!("later only changes, by `{}`", changes.parameter),
        );
        let _ = writeln!(text, "GET {url}   ({changes})");
    }
    let more = plan.tasks.len().saturating_sub(URLS_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "… and {more} more");
    }
    let _ = writeln!(
        text,
        "at least {} requests, one for each search and one for each further page of {}; {} a day are allowed",
        plan.tasks.len(),
        tenant.profile.page_size,
        tenant.profile.requests_per_day
    );
    for (what, why) in &plan.skipped {
        let _ = writeln!(text, "left out: {what}: {why}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "look at: {warning}");
    }
    Ok(text)
}

/// `stoker ehr run`: one run and its accounting.
///
/// # Errors
/// Whatever stops the tenant; what was stored stays.
pub async fn run(
    tenant: Arc<Tenant>,
    port: Arc<dyn Port>,
    surroundings: Arc<dyn Surroundings>,
) -> Result<String, EhrError> {
    let report = Run::new(tenant, port, surroundings)?.sync().await?;
    Ok(report_text(&report))
}

/// The accounting in words.
pub fn report_text(report: &RunReport) -> String {
    let counts = &report.counts;
    let mut text = format!(
        "{} searches ended, {} requests\n\
         received {} = new {} + changed {} + unchanged {} + stale {} + masked {} + rejected {}\n\
         vanished {}, deleted {}, withheld {}, filed late {}, merged {}, to review {}\n",
        report.completed,
        report.requests,
        counts.received,
        counts.new,
        counts.changed,
        counts.unchanged,
        counts.stale,
        counts.masked,
        counts.rejected,
        counts.vanished,
        counts.tombstoned,
        counts.withheld,
        counts.late_filed,
        report.merged,
        report.to_review
    );
    for (rule, times) in &report.rules {
        let _ = writeln!(text, "rule {rule}: {times}");
    }
    for (what, why) in report.failed.iter().take(URLS_SHOWN) {
        let _ = writeln!(text, "goes on next time: {what}: {why}");
    }
    for (what, why) in report.skipped.iter().take(URLS_SHOWN) {
        let _ = writeln!(text, "left out: {what}: {why}");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "look at: {warning}");
    }
    text
}

/// `stoker ehr doctor`: every step of getting a token, in order, with what we claim and what the EHR's clock says.
/// EHRs answer every fault of an assertion with the same words, so the claims are printed; the assertion never is.
///
/// # Errors
/// Only when no client can be made; every other trouble is in the text.
pub async fn doctor(
    tenant: Arc<Tenant>,
    surroundings: Arc<dyn Surroundings>,
) -> Result<String, EhrError> {
    let http = Http::new()?;
    let mut text = format!("tenant {}: {}\n", tenant.name, tenant.fhir_base);
    let headers = tenant.headers();
    match fetch(&http, &tenant.fhir_base, "metadata", &headers).await {
        Ok(answer) => {
            text.push_str("ok   CapabilityStatement\n");
            let said = Capability::parse(&answer.body);
            if let Some(warning) = said.ok().and_then(|said| wrong_profile(&tenant, &said)) {
                let _ = writeln!(text, "look {warning}");
            }
            if let Some(theirs) = server_time(&answer) {
                let skew = (theirs.0 - surroundings.now().0) / 1_000_000;
                let word = if skew.abs() > SKEW_WARN_S {
                    "look"
                } else {
                    "ok  "
                };
                let _ = writeln!(text, "{word} their clock minus ours: {skew} s");
            }
        }
        Err(error) => {
            let _ = writeln!(
                text,
                "FAIL CapabilityStatement: {error}\n     is `fhir_base` the address below which `metadata` and `Patient` are?"
            );
        }
    }
    let tokens = TokenSource::new(tenant.clone(), http.clone(), surroundings.clone());
    match tokens.discovery().await {
        Ok(found) => {
            let _ = writeln!(
                text,
                "ok   token endpoint {} (from {})",
                found.token_endpoint, found.found_in
            );
        }
        Err(error) => {
            let _ = writeln!(text, "FAIL {error}");
            return Ok(text);
        }
    }
    if let Auth::PrivateKeyJwt {
        keys,
        algorithm,
        jwks_url,
    } = &tenant.auth
    {
        match KeyRing::open(keys).and_then(|ring| ring.signing_key(surroundings.now(), *algorithm))
        {
            Ok((entry, _)) => {
                let _ = writeln!(text, "ok   key {} {:?}", entry.kid, entry.algorithm);
                if let Some(url) = jwks_url {
                    text.push_str(&published(&http, url, &entry.kid).await);
                }
            }
            Err(error) => {
                let _ = writeln!(text, "FAIL {error}");
            }
        }
    }
    match tokens.token().await {
        Ok(token) => {
            let minutes = (token.expires_at.0 - surroundings.now().0) / 60_000_000;
            let _ = writeln!(
                text,
                "ok   token for {minutes} min, {} resource scopes",
                token.granted.resources.len()
            );
            for missing in &token.missing {
                let _ = writeln!(text, "look asked for and not granted: {missing}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "FAIL {error}");
            text.push_str(&what_to_check(&error, &tenant));
        }
    }
    if let (Auth::PrivateKeyJwt { .. }, Ok(claims)) = (&tenant.auth, tokens.claims().await) {
        let _ = writeln!(text, "     we claim: {}", claims.to_value());
    }
    Ok(text)
}

/// What a refused token request calls for, by the code of OAuth.
fn what_to_check(error: &EhrError, tenant: &Tenant) -> String {
    let EhrError::Token(why) = error else {
        return String::new();
    };
    let is = |code: &str| why.contains(&format!("`{code}`"));
    if is("invalid_scope") {
        let asked = tenant.scopes.join(" ");
        return format!(
            "     asked for: {asked}\n     is any of them registered for this client? Oracle grants `.rs`, not `.read`; \
             is `vendor` right?\n"
        );
    }
    if is("unauthorized_client") {
        return "     the EHR's people have to map the client to a background user\n".to_owned();
    }
    if is("invalid_client") {
        let what = match &tenant.auth {
            Auth::Basic { .. } => "the secret the one that the EHR knows",
            _ => "the public key registered (`stoker ehr keys jwks`), and the clock right",
        };
        return format!(
            "     is `client_id` registered at this EHR (production and test have different ones), and {what}?\n"
        );
    }
    String::new()
}

/// Whether the published key set holds the key that signs.
async fn published(http: &Http, url: &str, kid: &str) -> String {
    let Ok(address) = Url::parse(url) else {
        return "FAIL `jwks_url` is no address\n".to_owned();
    };
    match http.send(Request::get(address)).await {
        Ok(answer) if String::from_utf8_lossy(&answer.body).contains(kid) => {
            "ok   the published key set holds it\n".to_owned()
        }
        Ok(answer) => format!(
            "FAIL the key set at `jwks_url` (status {}) does not hold {kid}\n",
            answer.status
        ),
        Err(error) => format!("FAIL the key set at `jwks_url`: {error}\n"),
    }
}

/// What to do with the key ring.
pub enum KeyCommand {
    /// Show all keys.
    List,
    /// Print the public key set.
    Jwks,
    /// Make a new ES384 key.
    Rotate,
    /// Take in a PKCS#8 PEM.
    Import(Algorithm, String),
    /// Remove a key that nobody needs any more.
    Drop(String),
}

/// `stoker ehr keys …`.
///
/// # Errors
/// [`EhrError::Key`].
pub fn keys(
    folder: &Path,
    command: KeyCommand,
    surroundings: &dyn Surroundings,
) -> Result<String, EhrError> {
    let mut ring = KeyRing::open(folder)?;
    let now = surroundings.now();
    match command {
        KeyCommand::List => {}
        KeyCommand::Jwks => return Ok(ring.jwks()?.to_string()),
        KeyCommand::Rotate => {
            ring.rotate(now, surroundings.random())?;
        }
        KeyCommand::Import(algorithm, pem) => {
            ring.import(now, surroundings.random(), algorithm, &pem)?;
        }
        KeyCommand::Drop(kid) => ring.drop_key(&kid, now)?,
    }
    let mut text = String::new();
    for entry in ring.entries() {
        let end = entry.drop_after.as_deref().map_or_else(
            || "has no successor".to_owned(),
            |end| format!("may be dropped after {end}"),
        );
        let _ = writeln!(
            text,
            "{} {:?} signs from {}, {end}",
            entry.kid, entry.algorithm, entry.active_from
        );
    }
    Ok(text)
}
