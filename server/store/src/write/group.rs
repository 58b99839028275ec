//! A group of commits in one transaction of the database.
//!
//! A refused commit has written nothing, so the others go on. A failing statement undoes the group; its commits are
//! then tried one by one, so that only the one that fails is answered with the failure.

use std::sync::atomic::Ordering;

use super::apply::{Transaction, counter, set_meta};
use super::job::PreparedCommit;
use super::rows::Pending;
use super::terms::NewTerms;
use crate::api::Committed;
use crate::db::Db;
use crate::dialect;
use crate::error::{CommitError, StoreError};
use crate::shared::Shared;
use crate::sql::Sql;

/// PostgreSQL: one writer at a time among all processes, which makes expectations exact.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7240893126)";

/// Writes groups.
pub(crate) struct Group<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) shared: &'a Shared,
}

fn is_refusal(error: &CommitError) -> bool {
    !matches!(
        error,
        CommitError::Unavailable(_) | CommitError::Internal(_) | CommitError::Overloaded
    )
}

impl Group<'_> {
    /// Carries out commits; the answers are in their order.
    pub(crate) fn run(
        &mut self,
        commits: &[&PreparedCommit],
    ) -> Vec<Result<Committed, CommitError>> {
        let counters = &self.shared.counters;
        counters.groups.fetch_add(1, Ordering::Relaxed);
        match self.attempt(commits) {
            Ok(answers) => {
                let done = answers.iter().filter(|answer| answer.is_ok()).count();
                counters.commits.fetch_add(done as u64, Ordering::Relaxed);
                answers
            }
            Err(error @ StoreError::Unavailable(_)) => {
                commits.iter().map(|_| Err(error.clone().into())).collect()
            }
            Err(error) if commits.len() == 1 => vec![Err(error.into())],
            Err(_) => commits
                .iter()
                .flat_map(|commit| self.run(&[commit]))
                .collect(),
        }
    }

    fn attempt(
        &mut self,
        commits: &[&PreparedCommit],
    ) -> Result<Vec<Result<Committed, CommitError>>, StoreError> {
        self.within(|transaction| {
            let changes = commits.iter().flat_map(|commit| &commit.changes);
            transaction.look_up(changes.map(|change| change.h).collect())?;
            let mut answers = Vec::with_capacity(commits.len());
            for commit in commits {
                match transaction.apply(commit) {
                    Err(CommitError::Unavailable(text)) => {
                        return Err(StoreError::Unavailable(text));
                    }
                    Err(error) if !is_refusal(&error) => {
                        return Err(StoreError::Internal(error.to_string()));
                    }
                    answer => answers.push(answer),
                }
            }
            Ok(answers)
        })
    }

    /// Runs work in a transaction with all that belongs to one.
    pub(crate) fn within<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        dialect::begin_writing(self.db, LOCK)?;
        let result = self.work_and_commit(work);
        if result.is_err() {
            // The connection may be gone or the transaction undone already; both are fine.
            let _ = self.db.batch("ROLLBACK");
        }
        result
    }

    fn work_and_commit<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut sql = Sql::new("SELECT name, num FROM meta WHERE name IN (");
        sql.text(counter::RID)
            .push(", ")
            .text(counter::UPDATED)
            .push(", ")
            .text(crate::live::SPANS_WANTED)
            .push(")");
        let (mut rid, mut updated) = (0, 0);
        let mut samples = crate::sample::SampleWriter::default();
        for row in self.db.rows(sql)? {
            match row.text(0)? {
                counter::RID => rid = row.int(1)?,
                crate::live::SPANS_WANTED => samples.wants_spans = row.int(1)? != 0,
                _ => updated = row.int(1)?,
            }
        }
        let mut transaction = Transaction {
            db: self.db,
            shared: self.shared,
            rid,
            updated,
            now: (self.shared.options.clock)().0,
            live: Default::default(),
            terms: NewTerms::default(),
            pending: Pending::default(),
            known: Default::default(),
            new_rows: Vec::new(),
            plain: Vec::new(),
            audit: Vec::new(),
            last_audit: None,
            samples,
        };
        let value = work(&mut transaction)?;
        transaction.flush()?;
        let Transaction {
            rid: last_rid,
            updated: last_updated,
            live,
            terms,
            plain,
            ..
        } = transaction;
        if last_rid != rid {
            set_meta(self.db, counter::RID, last_rid)?;
        }
        if last_updated != updated {
            set_meta(self.db, counter::UPDATED, last_updated)?;
        }
        for (type_number, delta) in live {
            let mut sql = Sql::new("INSERT INTO live (type, n) VALUES (");
            sql.int(type_number).push(", ").int(delta);
            sql.push(") ON CONFLICT (type) DO UPDATE SET n = live.n + excluded.n");
            self.db.run(sql)?;
        }
        // Before the commit: a search that sees it must know. Too early only costs time.
        self.mark_plain(&plain, true);
        if let Err(error) = self.db.batch("COMMIT") {
            self.mark_plain(&plain, false);
            return Err(error);
        }
        terms.publish(&self.shared.terms);
        Ok(value)
    }

    fn mark_plain(&self, types: &[u16], is_plain: bool) {
        for t in types {
            if let Some(flag) = self.shared.plain.get(usize::from(*t)) {
                flag.store(is_plain, Ordering::Release);
            }
        }
    }
}
