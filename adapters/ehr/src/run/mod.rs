//! One run of a tenant: patients first, then every other search, each walked page by page.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#paging>.
//! Leaves out scheduling: the server decides when to run.

mod again;
mod bulk;
mod file;
mod prepare;
mod provenance;
mod vanish;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fhir_core::ids::Instant;
use fhir_core::json::Document;
use futures_util::StreamExt as _;

use crate::EhrError;
use crate::auth::discovery::{fetch, server_time, under};
use crate::auth::token::TokenSource;
use crate::clock::{Surroundings, plus_seconds};
use crate::http::Http;
use crate::page;
use crate::plan::{self, Capability, Plan, Task};
use crate::polite::{Got, Polite};
use crate::port::{Counts, Port, PortError, WalkKey, WalkState};
use crate::tenant::{IdentifierKey, Tenant};

/// How long a patient that was read is not read again while other searches wait, in seconds.
const READ_AGAIN_S: i64 = 86_400;
/// Longest chain of merges followed from one patient.
const MERGE_CHAIN_MAX: usize = 5;

/// What a run did. Patients are named by our ids only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReport {
    /// The accounting of all walks that ended or moved.
    pub counts: Counts,
    /// Walks that ended.
    pub completed: u64,
    /// Walks that did not end: what and why. They go on at the next run.
    pub failed: Vec<(String, String)>,
    /// Searches the source refuses or was not asked for.
    pub skipped: Vec<(String, String)>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// How often each rule applied.
    pub rules: BTreeMap<&'static str, u64>,
    /// Patients found merged into others.
    pub merged: u64,
    /// Identifiers that fit several local patients; nothing was linked.
    pub to_review: u64,
    /// Requests sent.
    pub requests: u64,
}

impl RunReport {
    /// This and what was done before it.
    fn with(mut self, before: Self) -> Self {
        self.counts.add(&before.counts);
        self.completed += before.completed;
        self.failed.extend(before.failed);
        self.skipped.extend(before.skipped);
        self.warnings.extend(before.warnings);
        for (rule, times) in before.rules {
            *self.rules.entry(rule).or_default() += times;
        }
        self.merged += before.merged;
        self.to_review += before.to_review;
        self
    }
}

/// A tenant at work.
pub struct Run {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) http: Http,
    pub(crate) polite: Polite,
    pub(crate) port: Arc<dyn Port>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    shared: Mutex<Shared>,
    /// What was written to the tenant before this run.
    written: tokio::sync::OnceCell<BTreeMap<String, String>>,
}

#[derive(Default)]
struct Shared {
    report: RunReport,
    /// Survivor → ids merged into it, to accept rows that still name the old id.
    merged: BTreeMap<String, BTreeSet<String>>,
}

impl Run {
    /// A run that has not begun.
    ///
    /// # Errors
    /// [`EhrError::Connection`] when no client can be made.
    pub fn new(
        tenant: Arc<Tenant>,
        port: Arc<dyn Port>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, EhrError> {
        let http = Http::new()?;
        let tokens = Arc::new(TokenSource::new(
            tenant.clone(),
            http.clone(),
            surroundings.clone(),
        ));
        let polite = Polite::new(tenant.clone(), http.clone(), tokens, surroundings.clone());
        Ok(Self {
            tenant,
            http,
            polite,
            port,
            surroundings,
            shared: Mutex::new(Shared::default()),
            written: tokio::sync::OnceCell::new(),
        })
    }

    /// The source's time, as far as its answers told.
    pub fn source_now(&self) -> Instant {
        let skew = self.polite.tokens().skew_micros();
        Instant(self.surroundings.now().0.saturating_add(skew))
    }

    /// The way to the EHR, with its budget.
    pub fn polite(&self) -> &Polite {
        &self.polite
    }

    /// What was done so far, also while it runs or after it failed.
    pub fn report(&self) -> RunReport {
        let mut report = self.shared().report.clone();
        report.requests = self.polite.requests();
        report
    }

    /// The facts that the site states about itself, for [`crate::drift`].
    ///
    /// # Errors
    /// When neither document can be had.
    pub async fn site(&self) -> Result<BTreeSet<String>, EhrError> {
        let headers = self.tenant.headers();
        let ask = |path| fetch(&self.http, &self.tenant.fhir_base, path, &headers);
        let smart = ask(".well-known/smart-configuration").await;
        let capability = ask("metadata").await;
        if let (Err(error), Err(_)) = (&smart, &capability) {
            return Err(error.clone());
        }
        let body = |answer: Result<crate::http::Answer, EhrError>| Some(answer.ok()?.body);
        let (smart, capability) = (body(smart), body(capability));
        crate::drift::facts(smart.as_deref(), capability.as_deref())
    }

    /// All that the tenant asks for: the export of its group, then its patients.
    ///
    /// # Errors
    /// As [`Self::bulk`] and [`Self::run`].
    pub async fn sync(&self) -> Result<RunReport, EhrError> {
        *self.shared() = Shared::default();
        let asked_before = self.polite.requests();
        let mut report = self.sync_all().await?;
        report.requests = self.polite.requests().saturating_sub(asked_before);
        Ok(report)
    }

    async fn sync_all(&self) -> Result<RunReport, EhrError> {
        let exported = match &self.tenant.cohort.group {
            Some(_) => Some(self.bulk().await?),
            None => None,
        };
        let cohort = &self.tenant.cohort;
        match exported {
            Some(report) if cohort.patients.is_empty() && cohort.identifiers.is_empty() => {
                Ok(report)
            }
            Some(before) => Ok(self.run().await?.with(before)),
            None => self.run().await,
        }
    }

    /// Makes the plan: discovery, token, CapabilityStatement; asks for no patient data unless the cohort is given by
    /// identifiers.
    ///
    /// # Errors
    /// [`EhrError::Token`], [`EhrError::Discovery`] or what the look-up of a patient met.
    pub async fn plan(&self) -> Result<Plan, EhrError> {
        let headers = self.tenant.headers();
        let metadata = fetch(&self.http, &self.tenant.fhir_base, "metadata", &headers);
        let (capability, warning) = match metadata.await {
            Ok(answer) => {
                self.polite.tokens().learn_clock(server_time(&answer));
                (Some(Capability::parse(&answer.body)?), None)
            }
            Err(error) => (None, Some(format!("CapabilityStatement: {error}"))),
        };
        let token = self.polite.tokens().token().await?;
        let (patients, mut skipped) = self.patients().await?;
        let mut plan = plan::make(&self.tenant, &patients, &token.granted, capability.as_ref());
        plan.warnings.extend(warning);
        let missing = token.missing.iter();
        plan.warnings
            .extend(missing.map(|scope| format!("asked for and not granted: {scope}")));
        plan.skipped.append(&mut skipped);
        Ok(plan)
    }

    /// Runs the plan to its end, or until something stops the whole tenant.
    ///
    /// # Errors
    /// Only what stops every walk; single failures are in the report.
    pub async fn run(&self) -> Result<RunReport, EhrError> {
        let plan = self.plan().await?;
        {
            let mut shared = self.shared();
            shared.report = RunReport {
                skipped: plan.skipped,
                warnings: plan.warnings,
                ..RunReport::default()
            };
        }
        let (patients, others): (Vec<Task>, Vec<Task>) = plan
            .tasks
            .into_iter()
            .partition(|task| task.walk.resource_type == "Patient");
        let (due, mut others) = self.in_order(patients.clone(), others).await?;
        self.walk_all(due).await?;
        self.follow_merges(&patients, &mut others).await?;
        self.walk_all(others).await?;
        let mut report = self.shared().report.clone();
        report.requests = self.polite.requests();
        tracing::info!(
            tenant = %self.tenant.name,
            completed = report.completed,
            failed = report.failed.len(),
            received = report.counts.received,
            new = report.counts.new,
            changed = report.counts.changed,
            withheld = report.counts.withheld,
            requests = report.requests,
            "EHR run ended"
        );
        Ok(report)
    }

    /// Begun walks first, then those never done, then the oldest: a budget that is used up every day starves none.
    /// While something waits, patients read within the last day are not read again.
    async fn in_order(
        &self,
        mut patients: Vec<Task>,
        mut others: Vec<Task>,
    ) -> Result<(Vec<Task>, Vec<Task>), EhrError> {
        let walks = self.port.walks(&self.tenant.name).await.map_err(store)?;
        let states: BTreeMap<WalkKey, WalkState> = walks.into_iter().collect();
        let begun = |task: &Task| {
            let state = states.get(&task.walk);
            state.is_some_and(|state| state.under_way.is_some())
        };
        let done = |task: &Task| states.get(&task.walk).and_then(|state| state.complete_to);
        let age = |task: &Task| (!begun(task), done(task));
        patients.sort_by_key(age);
        others.sort_by_key(age);
        let waits = |task: &Task| begun(task) || !states.contains_key(&task.walk);
        if others.iter().any(waits) {
            let recent = plus_seconds(self.source_now(), -READ_AGAIN_S);
            patients.retain(|task| begun(task) || done(task).is_none_or(|at| at < recent));
        }
        Ok((patients, others))
    }

    /// Walks with as many at the same time as the profile allows; each has one request in flight. When something
    /// stops the tenant, no new walk begins, and those under way store the page they have asked for.
    async fn walk_all(&self, tasks: Vec<Task>) -> Result<(), EhrError> {
        let stopped = AtomicBool::new(false);
        let stopped = &stopped;
        let mut ends = futures_util::stream::iter(tasks)
            .map(|task| async move {
                if stopped.load(Ordering::Relaxed) {
                    return (Ok(()), task);
                }
                (self.walk(&task).await, task)
            })
            .buffer_unordered(self.tenant.profile.connections);
        let mut stop = None;
        while let Some((end, task)) = ends.next().await {
            match end {
                Ok(()) => {}
                Err(error) if error.stops_tenant() => {
                    stopped.store(true, Ordering::Relaxed);
                    stop.get_or_insert(error);
                }
                Err(error) => {
                    let label = self.label(&task);
                    self.shared().report.failed.push((label, error.to_string()));
                }
            }
        }
        stop.map_or(Ok(()), Err)
    }

    /// Adds the survivors of merges to the searches, and takes the old ids out.
    async fn follow_merges(
        &self,
        patients: &[Task],
        others: &mut Vec<Task>,
    ) -> Result<(), EhrError> {
        let mut known: BTreeSet<String> = patients
            .iter()
            .map(|task| task.walk.subject.clone())
            .collect();
        for _ in 0..MERGE_CHAIN_MAX {
            let merged = self.shared().merged.clone();
            if merged.is_empty() {
                break;
            }
            let fresh: Vec<String> = merged
                .keys()
                .filter(|survivor| known.insert((*survivor).clone()))
                .cloned()
                .collect();
            let as_survivor = |task: &Task, survivor: &String| {
                let mut task = task.clone();
                task.walk.subject.clone_from(survivor);
                task
            };
            let gone: BTreeSet<&String> = merged.values().flatten().collect();
            let template: Vec<Task> = others.clone();
            others.retain(|task| !gone.contains(&task.walk.subject));
            for survivor in &fresh {
                let olds = merged.get(survivor);
                let first_old = olds.and_then(|olds| olds.iter().next());
                let mine = template
                    .iter()
                    .filter(|task| Some(&task.walk.subject) == first_old);
                others.extend(mine.map(|task| as_survivor(task, survivor)));
            }
            let reads = patients.first().into_iter();
            let reads = reads.flat_map(|task| fresh.iter().map(|s| as_survivor(task, s)));
            let reads: Vec<Task> = reads.collect();
            if reads.is_empty() {
                break;
            }
            self.walk_all(reads).await?;
        }
        Ok(())
    }

    /// Fetches the one patient that carries the identifier, and answers with our id; `None` when not exactly one does.
    ///
    /// # Errors
    /// What the EHR or the store refuses.
    pub async fn fetch_patient(
        &self,
        identifier: &IdentifierKey,
    ) -> Result<Option<String>, EhrError> {
        let token = self.polite.tokens().token().await?;
        let search = self.tenant.profile.search_of("Patient");
        let search = search.filter(|_| {
            token.granted.may_search("Patient", None) && token.granted.may_read("Patient")
        });
        let Some(search) = search else {
            return Err(EhrError::Withheld(
                "Patient: no granted scope covers it".to_owned(),
            ));
        };
        let Some(id) = self.patient_by(identifier).await? else {
            return Ok(None);
        };
        let local = crate::identity::local_id(&self.tenant.name, "Patient", &id);
        let task = Task {
            walk: WalkKey {
                tenant: self.tenant.name.clone(),
                persona: self.tenant.persona,
                subject: id,
                resource_type: "Patient".to_owned(),
                category: None,
            },
            search: Arc::new(search.clone()),
        };
        self.walk(&task).await?;
        Ok(Some(local))
    }

    /// The cohort as source ids. An identifier must lead to exactly one patient that carries it: a search hit alone
    /// is no identity, Epic's search is fuzzy.
    async fn patients(&self) -> Result<(Vec<String>, Vec<(String, String)>), EhrError> {
        let mut ids: BTreeSet<String> = self.tenant.cohort.patients.iter().cloned().collect();
        let mut skipped = Vec::new();
        for (position, identifier) in self.tenant.cohort.identifiers.iter().enumerate() {
            let label = format!("cohort.identifiers[{position}]");
            match self.patient_by(identifier).await {
                Ok(Some(id)) => {
                    ids.insert(id);
                }
                Ok(None) => skipped.push((label, "not exactly one patient carries it".to_owned())),
                Err(error) if error.stops_tenant() => return Err(error),
                Err(error) => skipped.push((label, error.to_string())),
            }
        }
        Ok((ids.into_iter().collect(), skipped))
    }

    async fn patient_by(&self, identifier: &IdentifierKey) -> Result<Option<String>, EhrError> {
        let mut url = under(&self.tenant.fhir_base, "Patient")?;
        url.query_pairs_mut().append_pair(
            "identifier",
            &format!("{}|{}", identifier.system, identifier.value),
        );
        let answer = match self.polite.get(&url).await? {
            Got::Answer(answer) => answer,
            Got::Refused(notice, _) => return Err(EhrError::Withheld(notice.code)),
        };
        let page = page::read(&answer, &url, &self.tenant.profile)?;
        let text = page.text.as_str();
        let carriers = page.resources.iter().filter_map(|span| {
            let document = Document::parse(text.get(span.clone())?.as_bytes()).ok()?;
            let root = document.root();
            let carries = root.get("identifier")?.items().any(|one| {
                let is = |name: &str, wanted: &str| {
                    one.get(name)
                        .and_then(|v| v.as_str())
                        .is_some_and(|v| v.trim() == wanted)
                };
                is("system", &identifier.system) && is("value", &identifier.value)
            });
            carries.then(|| Some(root.get("id")?.as_str()?.into_owned()))?
        });
        let carriers: BTreeSet<String> = carriers.collect();
        let only =
            (carriers.len() == 1 && page.next.is_none()).then(|| carriers.into_iter().next());
        Ok(only.flatten())
    }

    /// A walk in words without the source's patient id.
    pub(crate) fn label(&self, task: &Task) -> String {
        let walk = &task.walk;
        let patient = crate::identity::local_id(&walk.tenant, "Patient", &walk.subject);
        let category = walk.category.as_deref().unwrap_or("");
        format!("{} {category} of Patient/{patient}", walk.resource_type)
    }

    /// Observations of ours at the tenant; none without `[write_back]`.
    pub(crate) async fn written(&self) -> Result<&BTreeMap<String, String>, EhrError> {
        let read = || async {
            if self.tenant.write_back.is_none() {
                return Ok(BTreeMap::new());
            }
            self.port.written(&self.tenant.name).await.map_err(store)
        };
        self.written.get_or_try_init(read).await
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `old` was merged into `survivor`.
    pub(crate) fn note_merge(&self, old: &str, survivor: &str) {
        let mut shared = self.shared();
        shared.report.merged += 1;
        let olds = shared.merged.entry(survivor.to_owned()).or_default();
        olds.insert(old.to_owned());
    }

    /// True when rows of `id` belong to `subject`, directly or by a merge.
    pub(crate) fn is_same_person(&self, subject: &str, id: &str) -> bool {
        let shared = self.shared();
        subject == id
            || shared
                .merged
                .get(subject)
                .is_some_and(|olds| olds.contains(id))
    }
}

/// A refusal of the port in our words.
pub(crate) fn store(error: PortError) -> EhrError {
    EhrError::Store(error.to_string())
}
