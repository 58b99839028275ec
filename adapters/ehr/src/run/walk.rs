//! Walking one search: begin or go on, page by page, each page stored together with the cursor that says so.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#paging>.
//! Leaves out concurrency: one walk has one request in flight, because an Epic page session allows no more.

use bytes::Bytes;
use fhir_core::json::{Map, Value};
use reqwest::Url;

use super::prepare::Prepared;
use super::vanish::kept_back_since;
use super::{Run, store};
use crate::EhrError;
use crate::clock::plus_seconds;
use crate::http::Answer;
use crate::identity;
use crate::outcome::Notice;
use crate::page::{self, Page};
use crate::plan::{self, Task};
use crate::polite::Got;
use crate::port::{Action, Counts, PageCommit, SourceKey, UnderWay, WalkKind, WalkState, Write};
use crate::profile::{By, Reaction};

/// Most pages of one walk; with 1,000 rows a page that is ten million rows of one patient.
const PAGES_MAX: u32 = 10_000;
/// The gap that resources leave which could not be stored.
const UNUSABLE: &str = "resources that could not be used";
/// The gap of a patient that is not there.
const UNKNOWN_PATIENT: &str = "the source does not know the patient";
/// How often a window may start again because its page session died.
const RESTARTS_MAX: u32 = 5;

impl Run {
    /// Walks the search to its end. Whatever happens, the state in the port tells where to go on.
    pub(crate) async fn walk(&self, task: &Task) -> Result<(), EhrError> {
        let mut state = self.port.walk(&task.walk).await.map_err(store)?;
        loop {
            let mut way = match state.under_way.take() {
                Some(way) => way,
                None => self.begin(&mut state, task),
            };
            if way.pages >= PAGES_MAX {
                let text = format!("more than {PAGES_MAX} pages");
                return self.give_up(task, state, Bytes::new(), &text).await;
            }
            let url = match &way.next {
                Some(text) => Url::parse(text)
                    .map_err(|_| EhrError::Store("a stored page link is no address".to_owned()))?,
                None => plan::first_url(&self.tenant, task, way.from, way.started)?,
            };
            match self.polite.get(&url).await? {
                Got::Answer(answer) => {
                    let page = match page::read(&answer, &url, &self.tenant.profile) {
                        Ok(page) => page,
                        Err(error) => {
                            let raw = answer.body.clone();
                            return self.give_up(task, state, raw, &error.to_string()).await;
                        }
                    };
                    let ended = page.next.is_none();
                    state = self
                        .keep_page(task, state, way, answer.body.clone(), page)
                        .await?;
                    if ended {
                        self.shared().report.completed += 1;
                        return Ok(());
                    }
                }
                Got::Refused(notice, answer) => match notice.reaction {
                    Reaction::Merged => return self.merged(task, state, &answer).await,
                    Reaction::Withheld => return self.withheld(task, state, &notice).await,
                    Reaction::Deleted | Reaction::NotFound if task.search.by == By::Read => {
                        return self.gone(task, state, way, notice.reaction).await;
                    }
                    Reaction::Empty => {
                        let raw = answer.body.clone();
                        self.keep_page(task, state, way, raw, Page::empty()).await?;
                        self.shared().report.completed += 1;
                        return Ok(());
                    }
                    // A refused `next` is a dead page session, whatever the vendor calls it.
                    _ if way.next.is_some() && way.restarts < RESTARTS_MAX => {
                        way.next = None;
                        way.restarts += 1;
                        state.under_way = Some(way);
                    }
                    _ => {
                        let text = format!("refused with {}", notice.code);
                        let raw = answer.body.clone();
                        return self.give_up(task, state, raw, &text).await;
                    }
                },
            }
        }
    }

    /// Decides what to ask for. The clock is the source's, and it is read before the first page is asked for.
    fn begin(&self, state: &mut WalkState, task: &Task) -> UnderWay {
        let profile = &self.tenant.profile;
        // One second back: the `Date` header has no fraction.
        let started = plus_seconds(self.source_now(), -1);
        let due = state.swept_at.is_none_or(|swept| {
            plus_seconds(swept, profile.sweep_every_h.saturating_mul(3600)) <= started
        });
        let changes_from = match (&task.search.changes, state.complete_to) {
            (Some(_), Some(complete_to)) if !due => {
                Some(plus_seconds(complete_to, -profile.overlap_s))
            }
            _ => None,
        };
        if changes_from.is_none() {
            state.sweep += 1;
        }
        let mut kept = Vec::new();
        if changes_from.is_some() && state.gaps.iter().any(|gap| gap == UNUSABLE) {
            kept.push(UNUSABLE.to_owned());
        }
        UnderWay {
            kind: if changes_from.is_some() {
                WalkKind::Changes
            } else {
                WalkKind::Sweep
            },
            from: changes_from,
            started,
            next: None,
            pages: 0,
            restarts: 0,
            counts: Counts::default(),
            // A changes walk does not ask again for what could not be used; only a sweep can close that gap.
            gaps: kept,
            whole: true,
        }
    }

    /// Stores a page and the state after it, in one commit.
    pub(super) async fn keep_page(
        &self,
        task: &Task,
        state: WalkState,
        mut way: UnderWay,
        raw: Bytes,
        page: Page,
    ) -> Result<WalkState, EhrError> {
        take_notices(&mut way, &page.notices);
        let mut prepared = self.prepare(task, &page).await?;
        let counts = std::mem::take(&mut prepared.counts);
        way.counts.add(&counts);
        if counts.rejected > 0 {
            add_gap(&mut way.gaps, UNUSABLE);
        }
        way.pages += 1;
        way.next = page.next;
        let mut after = state;
        after.revision += 1;
        after.failure = None;
        let mut missed = Vec::new();
        let mut total = counts;
        if way.next.is_none() {
            let vanished = self.vanished(task, &after, &way, &prepared.seen).await?;
            total.vanished += vanished.missed.len() as u64;
            total.tombstoned += vanished.deletes.len() as u64;
            missed = vanished.missed;
            prepared.writes.extend(vanished.deletes);
            total.withheld += way.gaps.len() as u64;
            end(&mut after, way);
        } else {
            after.under_way = Some(way);
        }
        self.commit(task, after, raw, prepared, missed, total).await
    }

    pub(super) async fn commit(
        &self,
        task: &Task,
        state: WalkState,
        raw: Bytes,
        prepared: Prepared,
        missed: Vec<SourceKey>,
        counts: Counts,
    ) -> Result<WalkState, EhrError> {
        let provenance = super::provenance::provenance(self, task, &state, &raw, &prepared.writes);
        let ended = state.under_way.is_none();
        let evidence = ended.then(|| crate::evidence::of_walk(&task.walk, &state));
        let page = PageCommit {
            evidence,
            walk: task.walk.clone(),
            state: state.clone(),
            raw,
            writes: prepared.writes,
            seen: prepared.seen,
            missed,
            provenance,
            counts: counts.clone(),
            reviews: prepared.reviews,
        };
        let to_review = page
            .reviews
            .iter()
            .filter(|review| review.kind != "rejected");
        let to_review = to_review.count() as u64;
        self.port.commit(page).await.map_err(store)?;
        for (old, survivor) in &prepared.merges {
            self.note_merge(old, survivor);
        }
        let mut shared = self.shared();
        shared.report.counts.add(&counts);
        shared.report.to_review += to_review;
        for quirk in prepared.quirks {
            *shared.report.rules.entry(quirk).or_default() += 1;
        }
        Ok(state)
    }

    /// The source refuses this search: a named gap, and nothing is concluded from the silence.
    async fn withheld(
        &self,
        task: &Task,
        mut state: WalkState,
        notice: &Notice,
    ) -> Result<(), EhrError> {
        let label = self.label(task);
        let gap = format!("withheld by the source ({})", notice.code);
        state.revision += 1;
        state.under_way = None;
        state.failure = None;
        state.gaps = vec![gap.clone()];
        let counts = Counts {
            withheld: 1,
            ..Counts::default()
        };
        let nothing = Prepared::default();
        self.commit(task, state, Bytes::new(), nothing, Vec::new(), counts)
            .await?;
        self.shared().report.skipped.push((label, gap));
        Ok(())
    }

    /// The walk cannot go on; the cursor stays, and the answer and the reason are kept for the evidence.
    async fn give_up(
        &self,
        task: &Task,
        mut state: WalkState,
        raw: Bytes,
        why: &str,
    ) -> Result<(), EhrError> {
        state.revision += 1;
        state.under_way = None;
        state.failure = Some(why.to_owned());
        let nothing = Prepared::default();
        let counts = Counts::default();
        self.commit(task, state, raw, nothing, Vec::new(), counts)
            .await?;
        Err(EhrError::Answer(why.to_owned()))
    }

    /// The patient itself is not there any more.
    async fn gone(
        &self,
        task: &Task,
        mut state: WalkState,
        way: UnderWay,
        reaction: Reaction,
    ) -> Result<(), EhrError> {
        let mut prepared = Prepared::default();
        let mut counts = Counts::default();
        let mut vanished = self.vanished(task, &state, &way, &[]).await?;
        if reaction == Reaction::Deleted {
            // The source says so itself: no second sweep is needed.
            vanished = self.delete_missed(vanished).await?;
        }
        counts.vanished = vanished.missed.len() as u64;
        counts.tombstoned = vanished.deletes.len() as u64;
        prepared.writes = vanished.deletes;
        state.revision += 1;
        end(&mut state, way);
        add_gap(&mut state.gaps, UNKNOWN_PATIENT);
        self.commit(task, state, Bytes::new(), prepared, vanished.missed, counts)
            .await?;
        let told = (self.label(task), UNKNOWN_PATIENT.to_owned());
        self.shared().report.skipped.push(told);
        self.shared().report.completed += 1;
        Ok(())
    }

    /// Epic 4107: the id now leads to another patient. Our copy becomes inactive and points to the survivor; a
    /// later un-merge gives the old content back and replaces it.
    async fn merged(
        &self,
        task: &Task,
        mut state: WalkState,
        answer: &Answer,
    ) -> Result<(), EhrError> {
        state.revision += 1;
        state.under_way = None;
        state.failure = None;
        state.gaps = vec!["merged into another patient at the source".to_owned()];
        let mut prepared = Prepared::default();
        let survivor = answer
            .header("location")
            .and_then(|location| location.trim_end_matches('/').rsplit('/').next())
            .filter(|id| !id.is_empty() && *id != task.walk.subject)
            .map(str::to_owned);
        if let (Some(survivor), "Patient") = (survivor, task.walk.resource_type.as_str()) {
            let tenant = &self.tenant.name;
            let source = SourceKey {
                tenant: tenant.clone(),
                persona: self.tenant.persona,
                resource_type: "Patient".to_owned(),
                id: task.walk.subject.clone(),
            };
            let hash = format!("merged:{survivor}");
            let known = self.port.known(std::slice::from_ref(&source)).await;
            let known = known.map_err(store)?.into_iter().next().flatten();
            let local = known.as_ref().map_or_else(
                || identity::local_id(tenant, "Patient", &source.id),
                |known| known.local_id.clone(),
            );
            prepared.merges.push((source.id.clone(), survivor.clone()));
            prepared.seen.push(source.clone());
            if known.is_none_or(|known| known.hash != hash) {
                let body = self.port.body("Patient", &local).await.map_err(store)?;
                let other = identity::local_id(tenant, "Patient", &survivor);
                prepared.writes.push(Write {
                    source,
                    action: Action::Put(inactive(body, &local, &other)),
                    local_id: local,
                    hash,
                    version: None,
                    last_updated: None,
                    rules: self.tenant.rules.version.clone(),
                    masked: false,
                    replaces: None,
                    raw_at: 0..0,
                });
            }
        }
        let raw = answer.body.clone();
        self.commit(task, state, raw, prepared, Vec::new(), Counts::default())
            .await?;
        self.shared().report.completed += 1;
        Ok(())
    }
}

/// The walk is over: what it found becomes the state.
fn end(state: &mut WalkState, way: UnderWay) {
    state.kept_back_since = kept_back_since(state, &way);
    if way.whole {
        state.complete_to = Some(way.started);
        if way.kind == WalkKind::Sweep {
            state.swept_at = Some(way.started);
        }
    } else {
        state.failure = Some("the answer was not what was asked for".to_owned());
    }
    state.gaps = way.gaps;
    state.under_way = None;
}

/// Issues beside the matches: what was kept back, and whether the answer is what was asked for.
fn take_notices(way: &mut UnderWay, notices: &[Notice]) {
    for notice in notices {
        match notice.reaction {
            Reaction::Note | Reaction::Empty => {}
            Reaction::Withheld if notice.about.is_empty() => {
                add_gap(&mut way.gaps, &format!("withheld ({})", notice.code));
            }
            Reaction::Withheld => add_gap(
                &mut way.gaps,
                &format!("withheld ({}): {}", notice.code, notice.about),
            ),
            Reaction::Incomplete => {
                add_gap(&mut way.gaps, &format!("more may exist ({})", notice.code));
            }
            _ => {
                way.whole = false;
                add_gap(&mut way.gaps, &format!("not as asked ({})", notice.code));
            }
        }
    }
}

/// Adds a gap once, sorted.
pub(super) fn add_gap(gaps: &mut Vec<String>, gap: &str) {
    if let Err(at) = gaps.binary_search_by(|own| own.as_str().cmp(gap)) {
        gaps.insert(at, gap.to_owned());
    }
}

/// The patient as inactive, replaced by `other`.
fn inactive(body: Option<Value>, local: &str, other: &str) -> Value {
    let mut patient =
        body.unwrap_or_else(|| Value::object([("resourceType", Value::from("Patient"))]));
    if let Some(members) = patient.as_object_mut() {
        members.insert("id", local.into());
        members.insert("active", Value::Bool(false));
        if members.get("meta").is_none() {
            members.insert("meta", Value::Object(Map::new()));
        }
    }
    identity::link(&mut patient, other, "replaced-by");
    patient
}
