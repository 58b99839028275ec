//! Reading the log: versions of some types behind a place, current and superseded ones and samples, in one order.

use conformance::ResourceTypeId;
use fhir_core::sample::Template;

use super::{LivePage, head};
use crate::api::{HistoryOrder, HistoryQuery, HistoryScope, Stored, TotalMode};
use crate::error::StoreError;
use crate::read::{Reader, Scope, history_rows};
use crate::sample;
use crate::sql::Sql;

/// Rows after which a page is not made longer however many changes have one time.
const ROWS_MAX: usize = 1_000_000;

impl Reader<'_> {
    pub(super) fn live_changes(
        &mut self,
        types: Option<&[ResourceTypeId]>,
        after: i64,
        limit: usize,
    ) -> Result<LivePage, StoreError> {
        let end = head(self.db)?;
        let mut page = LivePage {
            changes: Vec::new(),
            upto: end,
            has_more: false,
        };
        if after >= end {
            page.upto = after;
            return Ok(page);
        }
        let numbers = match types {
            Some(types) => types.iter().map(|t| i64::from(t.0) + 1).collect(),
            None => self.live_types()?,
        };
        let mut rows = Vec::new();
        let query = HistoryQuery {
            scope: HistoryScope::System,
            since: None,
            until: None,
            at: None,
            order: HistoryOrder::OldestFirst,
            limit,
            after: None,
            total: TotalMode::None,
        };
        for number in numbers.iter().flat_map(|number| [*number, -*number]) {
            for is_old in [false, true] {
                let sql =
                    history_rows(&Scope::Type(number), &query, Some(after), is_old, limit + 1);
                rows.extend(self.db.matches(sql)?);
            }
        }
        rows.sort_by_key(|row| row.updated);
        let mut upto = end;
        if let Some(first_left) = rows.get(limit) {
            // Changes of one time (samples that became resources) stay together.
            upto = first_left.updated - 1;
            rows.retain(|row| row.updated <= upto);
            if rows.is_empty() && limit < ROWS_MAX {
                return self.live_changes(types, after, limit.saturating_mul(4));
            }
        }
        let has_samples = sample::observation()
            .is_some_and(|t| types.is_none_or(|types| types.contains(&t)))
            && self.shared.has_samples();
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            changes.push(self.stored(row)?);
        }
        if has_samples {
            let (samples, last) = self.live_samples(after, upto, limit)?;
            if let Some(last) = last {
                upto = last;
                changes.retain(|change| change.updated.0 <= upto);
            }
            changes.extend(samples);
            // Stable: the order of samples within a commit stays.
            changes.sort_by_key(|change| change.updated.0);
        }
        page.changes = changes;
        page.has_more = upto < end;
        page.upto = upto;
        Ok(page)
    }

    fn live_types(&mut self) -> Result<Vec<i64>, StoreError> {
        let rows = self.db.rows(Sql::new("SELECT type FROM live"))?;
        rows.iter().map(|row| row.int(0)).collect()
    }

    /// Samples of the commits behind `after` up to `upto`, whole commits only; the place reached when it was cut short.
    fn live_samples(
        &mut self,
        after: i64,
        upto: i64,
        limit: usize,
    ) -> Result<(Vec<Stored>, Option<i64>), StoreError> {
        let mut sql = Sql::new(
            "SELECT p.seq, p.channel, p.first_at, p.last_at, c.name FROM live_span p JOIN channel c ON c.id = p.channel WHERE p.seq > ",
        );
        sql.int(after).push(" AND p.seq <= ").int(upto);
        sql.push(" ORDER BY p.seq, p.channel, p.first_at LIMIT ")
            .int(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
        let spans = self.db.rows(sql)?;
        let mut found = Vec::new();
        let (mut reached, mut count) = (after, 0_usize);
        for span in &spans {
            let seq = span.int(0)?;
            if (found.len() >= limit || count >= limit) && seq != reached {
                return Ok((found, Some(reached)));
            }
            reached = seq;
            count += 1;
            self.samples_of_span(span, &mut found)?;
        }
        // More spans than were asked for: what lies behind the last one is not known to be whole.
        if spans.len() > limit {
            return self.whole_commits(found, reached, after);
        }
        Ok((found, None))
    }

    /// Leaves out the last commit, whose spans may not all have been read, unless it is the only one.
    fn whole_commits(
        &mut self,
        mut found: Vec<Stored>,
        last: i64,
        after: i64,
    ) -> Result<(Vec<Stored>, Option<i64>), StoreError> {
        let before = found
            .iter()
            .map(|s| s.updated.0)
            .filter(|seq| *seq < last)
            .max();
        if let Some(before) = before {
            found.retain(|stored| stored.updated.0 <= before);
            return Ok((found, Some(before)));
        }
        let mut sql = Sql::new(
            "SELECT p.seq, p.channel, p.first_at, p.last_at, c.name FROM live_span p JOIN channel c ON c.id = p.channel WHERE p.seq > ",
        );
        sql.int(after).push(" AND p.seq <= ").int(last);
        let spans = self.db.rows(sql)?;
        let mut all = Vec::new();
        for span in &spans {
            self.samples_of_span(span, &mut all)?;
        }
        Ok((all, Some(last)))
    }

    fn samples_of_span(
        &mut self,
        span: &crate::db::Row,
        found: &mut Vec<Stored>,
    ) -> Result<(), StoreError> {
        let (seq, name) = (span.int(0)?, span.text(4)?.to_owned());
        let mut sql = Sql::new("SELECT ");
        sql.push(sample::COLUMNS).push(
            ", n.template FROM sample s JOIN sample_batch b ON b.id = s.batch JOIN series n ON n.id = s.series WHERE s.channel = ",
        );
        sql.int(span.int(1)?);
        sql.push(" AND s.at >= ").int(span.int(2)?);
        sql.push(" AND s.at <= ").int(span.int(3)?);
        sql.push(" AND b.at = ").int(seq).push(" ORDER BY s.at");
        let mut last: Option<(String, Template)> = None;
        for row in self.db.rows(sql)? {
            let (sample, updated) = sample::sample(&row)?;
            let text = row.text(4)?;
            if last.as_ref().is_none_or(|(known, _)| known != text) {
                let template = Template::parse(text).ok_or_else(sample::damaged)?;
                last = Some((text.to_owned(), template));
            }
            if let Some((_, template)) = &last {
                found.push(sample::stored(&name, template, sample, updated)?);
            }
        }
        Ok(())
    }
}
