//! When a rule changed: copies are made again from what is kept of the source, without asking it.
//!
//! Spec: none. Leaves out records whose bytes are not kept, and patients merged by a refusal (Epic 4107), whose kept
//! bytes are from before the merge: they are made again when they are next seen.

use bytes::Bytes;
use fhir_core::json::Value;

use super::prepare::Prepared;
use super::{Run, RunReport, store};
use crate::EhrError;
use crate::identity::content_hash;
use crate::page::{Page, PageText};
use crate::plan::Task;
use crate::port::{Action, Counts, Outdated, PageCommit, SourceKey, WalkKey};
use crate::profile::{By, Search};

/// Subject of this work's state.
const SUBJECT: &str = "own:rules";

impl Run {
    /// Makes every copy again that other rules made. Stopped anywhere, the next call goes on with the rest.
    ///
    /// # Errors
    /// What the store refuses.
    pub async fn normalise_again(&self) -> Result<RunReport, EhrError> {
        *self.shared() = super::Shared::default();
        let tenant = &self.tenant;
        let mut after: Option<SourceKey> = None;
        let mut unreadable = 0_u64;
        loop {
            let batch = self.port.outdated(
                &tenant.name,
                tenant.persona,
                &tenant.rules.version,
                after.as_ref(),
            );
            let batch = batch.await.map_err(store)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.source.clone());
            let mut of_type: Vec<(String, Vec<Outdated>)> = Vec::new();
            for one in batch {
                let name = one.source.resource_type.clone();
                match of_type.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, list)) => list.push(one),
                    None => of_type.push((name, vec![one])),
                }
            }
            for (name, records) in of_type {
                unreadable += self.batch(&name, records).await?;
            }
        }
        let mut report = self.shared().report.clone();
        report.completed = 1;
        if unreadable > 0 {
            report.warnings.push(format!(
                "{unreadable} records keep the copy of earlier rules until they are next seen: the source's bytes are not kept"
            ));
        }
        Ok(report)
    }

    /// Makes some copies of one type again; answers how many could not be.
    async fn batch(&self, name: &str, records: Vec<Outdated>) -> Result<u64, EhrError> {
        let task = self.own_task(name);
        let mut text = String::new();
        let mut resources = Vec::new();
        let mut left_out = 0;
        for record in &records {
            match record
                .raw
                .as_ref()
                .and_then(|raw| usable(raw, &record.hash))
            {
                Some(raw) => {
                    let start = text.len();
                    text.push_str(raw);
                    resources.push(start..text.len());
                    text.push('\n');
                }
                None => left_out += 1,
            }
        }
        if resources.is_empty() {
            return Ok(left_out);
        }
        let page = Page {
            text: PageText::Lines(text),
            resources,
            notices: Vec::new(),
            next: None,
        };
        let prepared = self.prepare(&task, &page).await?;
        self.keep_again(&task, prepared, page.text.as_str()).await?;
        Ok(left_out)
    }

    async fn keep_again(
        &self,
        task: &Task,
        mut prepared: Prepared,
        raw: &str,
    ) -> Result<(), EhrError> {
        for write in &mut prepared.writes {
            let Action::Put(made) = &write.action else {
                continue;
            };
            let current = self.port.body(&write.source.resource_type, &write.local_id);
            if current
                .await
                .map_err(store)?
                .is_some_and(|now| is_same(&now, made))
            {
                write.action = Action::Keep;
                prepared.counts.changed -= 1;
                prepared.counts.unchanged += 1;
            }
        }
        let mut state = self.port.walk(&task.walk).await.map_err(store)?;
        state.revision += 1;
        let counts: Counts = std::mem::take(&mut prepared.counts);
        let provenance =
            super::provenance::provenance(self, task, &state, raw.as_bytes(), &prepared.writes);
        let page = PageCommit {
            walk: task.walk.clone(),
            state,
            // Nothing came in: what is kept of the source stays where it is.
            raw: Bytes::new(),
            writes: prepared.writes,
            seen: Vec::new(),
            missed: Vec::new(),
            provenance,
            evidence: None,
            counts: counts.clone(),
            reviews: prepared.reviews,
        };
        self.port.commit(page).await.map_err(store)?;
        let mut shared = self.shared();
        shared.report.counts.add(&counts);
        for quirk in prepared.quirks {
            *shared.report.rules.entry(quirk).or_default() += 1;
        }
        Ok(())
    }

    fn own_task(&self, name: &str) -> Task {
        Task {
            walk: WalkKey {
                tenant: self.tenant.name.clone(),
                persona: self.tenant.persona,
                subject: SUBJECT.to_owned(),
                resource_type: name.to_owned(),
                category: None,
            },
            search: std::sync::Arc::new(Search {
                resource_type: name.to_owned(),
                by: By::Patient,
                categories: Vec::new(),
                changes: None,
            }),
        }
    }
}

/// The source's text, if it is what the copy was made from.
fn usable<'a>(raw: &'a Bytes, hash: &str) -> Option<&'a str> {
    let value = Value::parse(raw).ok()?;
    (content_hash(&value.to_bytes()) == hash).then(|| std::str::from_utf8(raw).ok())?
}

/// Our copy says the same, but for what the store itself adds.
fn is_same(stored: &Value, made: &Value) -> bool {
    let plain = |value: &Value| {
        let mut value = value.clone();
        let meta = value.as_object_mut().and_then(|all| all.get_mut("meta"));
        if let Some(meta) = meta.and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        value
    };
    plain(stored) == plain(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A merged patient's kept bytes are older than what its row says, and must not bring it back to life.
    #[test]
    fn bytes_that_are_not_those_of_the_copy_are_left_alone() {
        let raw = Bytes::from_static(br#"{"a":1.50}"#);
        let hash = content_hash(&Value::parse(&raw).unwrap().to_bytes());
        assert_eq!(usable(&raw, &hash), Some(r#"{"a":1.50}"#));
        assert_eq!(usable(&raw, "merged:x"), None);
        assert_eq!(usable(&Bytes::from_static(b"{"), &hash), None);
    }
}
