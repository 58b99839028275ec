//! Group export: kick off, wait, stream each file line by line into pages, go on at the line after a stop.
//!
//! Spec: <https://hl7.org/fhir/uv/bulkdata/export.html>.
//! Leaves out `deleted` lists, which neither vendor sends; a sweep finds deletions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fhir_core::ids::Instant;
use fhir_core::json::{Document, ValueRef};
use reqwest::{Method, Url};

use super::file::Lines;
use super::walk::add_gap;
use super::{Run, RunReport, store};
use crate::EhrError;
use crate::auth::discovery::under;
use crate::http::{Answer, Request, same_origin};
use crate::page::{Page, PageText};
use crate::plan::Task;
use crate::polite::Got;
use crate::port::{Counts, UnderWay, WalkKey, WalkKind, WalkState};
use crate::profile::{By, Search};
use crate::time;

/// Begin of the `subject` of a group's walks.
pub(super) const GROUP: &str = "group:";
/// Lines stored in one commit.
const LINES_PER_PAGE: usize = 500;
/// Longest wait between two looks at an export, in seconds. Five hours were seen asked for.
const POLL_WAIT_MAX_S: u64 = 300;
/// Wait when none is asked for, in seconds.
const POLL_WAIT_DEFAULT_S: u64 = 30;
/// Looks in one run; then the export is left for the next run, which goes on waiting.
const POLLS_MAX: u32 = 288;

/// What the export made.
struct Manifest {
    transaction_time: Instant,
    requires_token: bool,
    /// Type and address of each file.
    output: Vec<(String, Url)>,
    has_errors: bool,
}

impl Run {
    /// Exports the tenant's group and stores it. Stopped anywhere, the next call goes on.
    ///
    /// # Errors
    /// What stops the export; what was stored stays.
    pub async fn bulk(&self) -> Result<RunReport, EhrError> {
        let group = self.tenant.cohort.group.clone();
        let group =
            group.ok_or_else(|| EhrError::Config("`cohort.group` is missing".to_owned()))?;
        let job = self.group_task(&group, "Group");
        let mut state = self.port.walk(&job.walk).await.map_err(store)?;
        let way = match state.under_way.take() {
            Some(way) => way,
            None => self.kick_off(&group, &job, &state).await?,
        };
        let status = way.next.clone().unwrap_or_default();
        let address = Url::parse(&status)
            .map_err(|_| EhrError::Store("a stored export address is no address".to_owned()))?;
        let Some(manifest) = self.wait_for(&address).await? else {
            // The job is gone at the EHR: the next run starts a new one.
            self.end_job(&job, None, way).await?;
            return Err(EhrError::Answer(
                "the export is gone at the EHR; run again".to_owned(),
            ));
        };
        for resource_type in self.tenant.types.clone() {
            let files: Vec<&Url> = manifest
                .output
                .iter()
                .filter(|(of, _)| *of == resource_type)
                .map(|(_, url)| url)
                .collect();
            let task = self.group_task(&group, &resource_type);
            self.files(&task, &status, &files, &manifest, way.from)
                .await?;
        }
        self.end_job(&job, Some(manifest.transaction_time), way)
            .await?;
        let mut delete = Request::get(address).header("accept", "application/fhir+json");
        delete.method = Method::DELETE;
        // Last, so that a stop before it loses nothing; the EHR cleans up by itself after a while.
        let _ = self.polite.ask(&delete).await;
        let mut report = self.shared().report.clone();
        report.requests = self.polite.requests();
        Ok(report)
    }

    fn group_task(&self, group: &str, resource_type: &str) -> Task {
        Task {
            walk: WalkKey {
                tenant: self.tenant.name.clone(),
                persona: self.tenant.persona,
                subject: format!("{GROUP}{group}"),
                resource_type: resource_type.to_owned(),
                category: None,
            },
            search: Arc::new(Search {
                resource_type: resource_type.to_owned(),
                by: By::Patient,
                categories: Vec::new(),
                changes: None,
            }),
        }
    }

    /// Starts the export and keeps its address before anything else happens.
    async fn kick_off(
        &self,
        group: &str,
        job: &Task,
        state: &WalkState,
    ) -> Result<UnderWay, EhrError> {
        let since = state.complete_to.filter(|_| self.tenant.profile.bulk_since);
        let mut url = under(&self.tenant.fhir_base, "Group")?;
        url.path_segments_mut()
            .map_err(|()| EhrError::Config("`fhir_base` cannot be joined with a path".to_owned()))?
            .push(group)
            .push("$export");
        // One parameter with commas: Oracle knows no repeated `_type`.
        url.query_pairs_mut()
            .append_pair("_type", &self.tenant.types.join(","));
        if let Some(since) = since {
            url.query_pairs_mut()
                .append_pair("_since", &time::to_seconds(since));
        }
        let request = Request::get(url)
            .header("accept", "application/fhir+json")
            .header("prefer", "respond-async");
        let answer = match self.polite.ask(&request).await? {
            Got::Answer(answer) => answer,
            Got::Refused(notice, _) => {
                return Err(EhrError::Withheld(format!(
                    "group export ({})",
                    notice.code
                )));
            }
        };
        let place = answer.header("content-location").unwrap_or_default();
        let place = self
            .tenant
            .fhir_base
            .join(place)
            .ok()
            .filter(|url| answer.status == 202 && same_origin(url, &self.tenant.fhir_base))
            .ok_or_else(|| {
                EhrError::Answer("the export has no `Content-Location` at this server".to_owned())
            })?;
        let way = under_way(since, self.source_now(), Some(place.into()));
        let mut after = state.clone();
        after.revision += 1;
        after.under_way = Some(way.clone());
        self.keep_job(job, after).await?;
        Ok(way)
    }

    /// Looks until the manifest is there; `None` when the job is gone.
    async fn wait_for(&self, address: &Url) -> Result<Option<Manifest>, EhrError> {
        let request = Request::get(address.clone()).header("accept", "application/json");
        for _ in 0..POLLS_MAX {
            match self.polite.ask(&request).await? {
                Got::Answer(answer) if answer.status == 200 => {
                    return manifest(&answer, address).map(Some);
                }
                Got::Answer(answer) => {
                    let asked = answer.header("retry-after").and_then(|t| t.parse().ok());
                    let wait = asked.unwrap_or(POLL_WAIT_DEFAULT_S).min(POLL_WAIT_MAX_S);
                    self.surroundings.sleep(Duration::from_secs(wait)).await;
                }
                Got::Refused(..) => return Ok(None),
            }
        }
        Err(EhrError::Answer(
            "the export is not ready; the next run goes on waiting".to_owned(),
        ))
    }

    /// All files of a type, as one walk.
    async fn files(
        &self,
        task: &Task,
        job: &str,
        files: &[&Url],
        manifest: &Manifest,
        since: Option<Instant>,
    ) -> Result<(), EhrError> {
        let mut state = self.port.walk(&task.walk).await.map_err(store)?;
        if state.complete_to == Some(manifest.transaction_time) && state.under_way.is_none() {
            return Ok(());
        }
        let place = state.under_way.as_ref().and_then(|way| way.next.clone());
        let (first, skip) = place
            .and_then(|text| read_place(job, &text))
            .unwrap_or((0, 0));
        if state.under_way.is_none() || (first, skip) == (0, 0) {
            state.sweep += u64::from(since.is_none());
            let mut way = under_way(since, manifest.transaction_time, None);
            if manifest.has_errors {
                add_gap(&mut way.gaps, "the export reports errors");
            }
            state.under_way = Some(way);
        }
        if files.is_empty() {
            return self.lines(task, &mut state, Vec::new(), None).await;
        }
        for (number, url) in files.iter().enumerate().skip(first) {
            let last = number + 1 == files.len();
            let mut done = if number == first { skip } else { 0 };
            let mut reader = Lines::open(self, url, manifest.requires_token).await?;
            reader.skip(done).await?;
            loop {
                let (lines, at_end) = reader.take(LINES_PER_PAGE).await?;
                done += lines.len();
                let next = match (at_end, last) {
                    (false, _) => Some(format!("{job} {number} {done}")),
                    (true, false) => Some(format!("{job} {} 0", number + 1)),
                    (true, true) => None,
                };
                self.lines(task, &mut state, lines, next).await?;
                if at_end {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Stores some lines as a page.
    async fn lines(
        &self,
        task: &Task,
        state: &mut WalkState,
        lines: Vec<String>,
        next: Option<String>,
    ) -> Result<(), EhrError> {
        let mut text = String::new();
        let mut resources = Vec::new();
        for line in lines.iter().filter(|line| !line.trim().is_empty()) {
            let start = text.len();
            text.push_str(line);
            resources.push(start..text.len());
            text.push('\n');
        }
        let ended = next.is_none();
        let page = Page {
            text: PageText::Lines(text.clone()),
            resources,
            notices: Vec::new(),
            next,
        };
        let way = state.under_way.take();
        let way = way.ok_or_else(|| EhrError::Store("a walk lost its place".to_owned()))?;
        let before = std::mem::take(state);
        *state = self
            .keep_page(task, before, way, Bytes::from(text), page)
            .await?;
        if ended {
            self.shared().report.completed += 1;
        }
        Ok(())
    }

    async fn keep_job(&self, job: &Task, state: WalkState) -> Result<(), EhrError> {
        let nothing = super::prepare::Prepared::default();
        self.commit(
            job,
            state,
            Bytes::new(),
            nothing,
            Vec::new(),
            Counts::default(),
        )
        .await?;
        Ok(())
    }

    async fn end_job(
        &self,
        job: &Task,
        complete_to: Option<Instant>,
        way: UnderWay,
    ) -> Result<(), EhrError> {
        let mut state = self.port.walk(&job.walk).await.map_err(store)?;
        state.revision += 1;
        state.under_way = None;
        if let Some(complete_to) = complete_to {
            state.complete_to = Some(complete_to);
            if way.from.is_none() {
                state.swept_at = Some(complete_to);
            }
        }
        self.keep_job(job, state).await
    }
}

fn under_way(since: Option<Instant>, started: Instant, next: Option<String>) -> UnderWay {
    UnderWay {
        kind: if since.is_some() {
            WalkKind::Changes
        } else {
            WalkKind::Sweep
        },
        from: since,
        started,
        next,
        pages: 0,
        restarts: 0,
        counts: Counts::default(),
        gaps: Vec::new(),
        whole: true,
    }
}

/// `<job> <file> <line>` of the same job.
fn read_place(job: &str, text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(job)?.trim_start();
    let (file, line) = rest.split_once(' ')?;
    Some((file.parse().ok()?, line.parse().ok()?))
}

fn manifest(answer: &Answer, address: &Url) -> Result<Manifest, EhrError> {
    let refuse = |what: &str| EhrError::Answer(format!("export manifest: {what}"));
    let document = Document::parse(&answer.body).map_err(|_| refuse("not readable as JSON"))?;
    let root = document.root();
    let text = |value: ValueRef<'_>, name: &str| Some(value.get(name)?.as_str()?.into_owned());
    let transaction_time = text(root, "transactionTime")
        .and_then(|text| time::parse_fhir(&text))
        .ok_or_else(|| refuse("`transactionTime` is missing"))?;
    let mut output = Vec::new();
    for file in root.get("output").into_iter().flat_map(ValueRef::items) {
        let url = text(file, "url").and_then(|url| address.join(&url).ok());
        let (Some(of), Some(url)) = (text(file, "type"), url) else {
            return Err(refuse("`output` without type or url"));
        };
        output.push((of, url));
    }
    let requires = root.get("requiresAccessToken").and_then(ValueRef::as_bool);
    Ok(Manifest {
        transaction_time,
        requires_token: requires.unwrap_or(false),
        output,
        has_errors: root
            .get("error")
            .is_some_and(|errors| errors.items().next().is_some()),
    })
}
