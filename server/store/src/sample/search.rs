//! Searching samples together with ordinary Observations.
//!
//! All that a series shares is judged once for it; what differs from sample to sample is judged by the instant's range in
//! the table where the search asks for nothing else, and on the Observation itself where it does. The meaning of every
//! test is [`fhir_core::search::matches`].
//!
//! Left out: conversion between units, and orders other than by date and time of storage.

use std::cell::RefCell;
use std::collections::HashSet;

use conformance::{ParamId, ResourceTypeId};
use fhir_core::datatype::date::{MICROS_PER_SECOND, Zone};
use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::index::{Context, Extractor, IndexEntry};
use fhir_core::json::Document;
use fhir_core::sample::{SampleValue, Shown, Template};
use fhir_core::search::matches::{Candidate, Related, matches};
use fhir_core::search::predicate::{
    Comparison, DateTest, Direction, Predicate, ReferenceTest, SortBy, SortKeySpec, ValueTest,
};

use super::read::{COLUMNS, sample};
use super::{NarrowSample, damaged, observation, place_of, some_time, some_value, stored};
use crate::api::{Cursor, Only, SearchPage, SearchQuery, Stored, TotalMode};
use crate::db::{Cell, Match};
use crate::error::StoreError;
use crate::read::{Reader, plain_types};
use crate::search::{Position, live_matches};
use crate::sql::Sql;

/// Series one search looks at; without a patient there is one for each patient and measure.
const SERIES_MAX: usize = 50_000;
/// Samples one search judges one by one.
const JUDGED_MAX: usize = 200_000;
/// Samples one search sorts in memory.
const SORTED_MAX: usize = 20_000;
/// Samples fetched at once where each is judged.
const CHUNK: usize = 2_000;
/// First byte of the cursors of this module; those of ordinary searches begin with 1.
const CURSOR_TAG: u8 = 2;

/// A series that may have matches.
pub(super) struct Series {
    channel: i64,
    pub(super) channel_name: String,
    id: i64,
    pub(super) template: Template,
    /// Instants from here, to before there.
    low: i64,
    high: i64,
    /// Whether each sample must be judged.
    pub(super) is_open: bool,
}

/// A sample found: the order's key first, then its channel.
struct Hit {
    key: i64,
    channel: i64,
    stored: Stored,
}

/// Where a page of a merged search ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct MergedCursor {
    /// Where the ordinary search goes on; `None` at its beginning.
    wide: Option<Vec<u8>>,
    is_wide_done: bool,
    /// Key and channel of the last sample given out.
    narrow: Option<(i64, i64)>,
}

impl MergedCursor {
    fn write(&self) -> Cursor {
        let mut out = vec![
            CURSOR_TAG,
            u8::from(self.is_wide_done),
            u8::from(self.narrow.is_some()),
        ];
        let (key, channel) = self.narrow.unwrap_or_default();
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&channel.to_be_bytes());
        out.extend_from_slice(self.wide.as_deref().unwrap_or_default());
        Cursor(out)
    }

    fn read(cursor: Option<&Cursor>) -> Result<Self, StoreError> {
        let Some(cursor) = cursor else {
            return Ok(Self::default());
        };
        Self::parse(&cursor.0)
            .ok_or_else(|| StoreError::Invalid("the cursor is not one of this store".into()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.first() == Some(&1) {
            // A page of before there were samples.
            return Some(Self {
                wide: Some(bytes.to_vec()),
                ..Self::default()
            });
        }
        let (head, wide) = bytes.split_at_checked(19)?;
        let (&[tag, done, some], rest) = (head.first_chunk::<3>()?, head.get(3..)?);
        let number = |part: Option<&[u8]>| Some(i64::from_be_bytes(part?.try_into().ok()?));
        let place = (number(rest.get(..8))?, number(rest.get(8..))?);
        (tag == CURSOR_TAG).then(|| Self {
            wide: (!wide.is_empty()).then(|| wide.to_vec()),
            is_wide_done: done == 1,
            narrow: (some == 1).then_some(place),
        })
    }
}

/// How samples are ordered among each other and with others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Ordinary resources in the order the store likes, then samples by date.
    Open,
    /// By date.
    Date(Direction),
    /// By the time of storage.
    Stored(Direction),
    /// One the store cannot give.
    Other,
}

impl Order {
    fn is_descending(self) -> bool {
        matches!(
            self,
            Self::Date(Direction::Descending) | Self::Stored(Direction::Descending)
        )
    }
}

impl Reader<'_> {
    /// A search that may find samples; `None` when none can match, so that the ordinary search is all.
    pub(crate) fn search_with_samples(
        &mut self,
        query: &SearchQuery,
    ) -> Result<Option<SearchPage>, StoreError> {
        let is_ours = query
            .after
            .as_ref()
            .is_some_and(|c| c.0.first() == Some(&CURSOR_TAG));
        if Some(query.resource_type) != observation() {
            return Ok(None);
        }
        let series = self.series_of(&query.predicate)?;
        if series.is_empty() && !is_ours {
            return Ok(None);
        }
        let total = self.total_with_samples(query, &series)?;
        if query.only == Only::CountOnly {
            return Ok(Some(SearchPage {
                matches: Vec::new(),
                next: None,
                total,
            }));
        }
        let page = self.merged_page(query, &series)?;
        Ok(Some(SearchPage { total, ..page }))
    }

    /// The latest matching samples of each series, at most `per_series` of each.
    pub(crate) fn latest_samples(
        &mut self,
        query: &SearchQuery,
        per_series: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut found = Vec::new();
        for series in self.series_of(&query.predicate)? {
            let order = Order::Date(Direction::Descending);
            let hits = self.hits(query, &series, order, None, per_series)?;
            found.extend(hits);
        }
        found.sort_by_key(|hit| std::cmp::Reverse((hit.key, hit.channel)));
        Ok(found.into_iter().map(|hit| hit.stored).collect())
    }

    fn total_with_samples(
        &mut self,
        query: &SearchQuery,
        series: &[Series],
    ) -> Result<Option<u64>, StoreError> {
        if query.only != Only::CountOnly && query.total == TotalMode::None {
            return Ok(None);
        }
        let wide = self.search_wide(&SearchQuery {
            only: Only::CountOnly,
            total: TotalMode::Accurate,
            after: None,
            ..query.clone()
        })?;
        let mut total = wide.total.unwrap_or(0);
        for one in series {
            total += self.count(query, one)?;
        }
        Ok(Some(total))
    }

    fn count(&mut self, query: &SearchQuery, series: &Series) -> Result<u64, StoreError> {
        if series.is_open {
            let found = self.hits(query, series, Order::Open, None, JUDGED_MAX)?;
            return Ok(found.len() as u64);
        }
        let mut sql = Sql::new("SELECT count(*) FROM sample s WHERE ");
        bounds(&mut sql, series);
        Ok(u64::try_from(self.db.number(sql)?).unwrap_or(0))
    }

    /// A page out of both, in the order asked for.
    fn merged_page(
        &mut self,
        query: &SearchQuery,
        series: &[Series],
    ) -> Result<SearchPage, StoreError> {
        let order = self.order_of(&query.sort);
        if order == Order::Other {
            return Err(StoreError::TooCostly(
                "samples are sorted by date or time of storage only".into(),
            ));
        }
        let start = MergedCursor::read(query.after.as_ref())?;
        let wide = if start.is_wide_done {
            WidePage::default()
        } else {
            self.wide_page(query, start.wide.clone().map(Cursor))?
        };
        let wanted = query.limit.saturating_add(1);
        let mut hits = Vec::new();
        let is_turn =
            order != Order::Open || (wide.next.is_none() && wide.rows.len() <= query.limit);
        if is_turn {
            for one in series {
                hits.extend(self.hits(query, one, order, start.narrow, wanted)?);
            }
            hits.sort_by_key(|hit| (hit.key, hit.channel));
            if order.is_descending() {
                hits.reverse();
            }
        }
        let mut end = start;
        let mut matches = Vec::new();
        let (mut rows, mut found) = (
            wide.rows.into_iter().peekable(),
            hits.into_iter().peekable(),
        );
        while matches.len() < query.limit {
            let is_wide_next = match (rows.peek(), found.peek()) {
                (Some((key, ..)), Some(hit)) => wide_comes_first(order, *key, hit.key),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if is_wide_next {
                if let Some((_, position, stored)) = rows.next() {
                    end.wide = Some(position);
                    matches.push(stored);
                }
            } else if let Some(hit) = found.next() {
                end.narrow = Some((hit.key, hit.channel));
                matches.push(hit.stored);
            }
        }
        end.is_wide_done = rows.peek().is_none() && wide.next.is_none();
        let is_more =
            !end.is_wide_done || found.peek().is_some() || (!is_turn && !series.is_empty());
        Ok(SearchPage {
            matches,
            next: is_more.then(|| end.write()),
            total: None,
        })
    }

    fn order_of(&self, sort: &[SortKeySpec]) -> Order {
        let date = observation()
            .and_then(|t| self.shared.catalog.core(t))
            .map(|core| core.date);
        match sort.first() {
            None => Order::Open,
            Some(SortKeySpec {
                by: SortBy::Param(param),
                direction,
            }) if Some(param.0) == date => Order::Date(*direction),
            Some(SortKeySpec {
                by: SortBy::LastUpdated,
                direction,
            }) => Order::Stored(*direction),
            Some(_) => Order::Other,
        }
    }

    /// A page of ordinary matches, each with the order's key and the cursor behind it.
    fn wide_page(
        &mut self,
        query: &SearchQuery,
        after: Option<Cursor>,
    ) -> Result<WidePage, StoreError> {
        let found = self.found_wide(&SearchQuery {
            after,
            total: TotalMode::None,
            ..query.clone()
        })?;
        let keys = query.sort.len();
        let is_implied = found.next.as_ref().is_some_and(|next| next.is_implied);
        let mut rows = Vec::with_capacity(found.rows.len());
        let last = found.rows.len().saturating_sub(1);
        for (index, row) in found.rows.into_iter().enumerate() {
            let key = match row.sort.first() {
                Some(Cell::Int(key)) if keys > 0 => Some(*key),
                _ => None,
            };
            let position = match (&found.next, index == last) {
                (Some(next), true) => next.write(),
                _ => position_of(&row, keys, is_implied).write(),
            };
            rows.push((key, position.0, self.stored(row)?));
        }
        Ok(WidePage {
            rows,
            next: found.next.map(|next| next.write()),
        })
    }

    /// The series that may have matches.
    pub(super) fn series_of(&mut self, predicate: &Predicate) -> Result<Vec<Series>, StoreError> {
        let Some(core) = observation().and_then(|t| self.shared.catalog.core(t)) else {
            return Ok(Vec::new());
        };
        let (subject, date) = (core.subject, core.date);
        let parts = conjuncts(predicate);
        let mut sql = Sql::new(
            "SELECT n.id, n.channel, n.template, c.name FROM series n JOIN channel c ON c.id = n.channel",
        );
        if let Some(subjects) = self.subjects(&parts, subject) {
            sql.push(" WHERE n.subject");
            sql.in_ints(&subjects);
        }
        sql.push(" LIMIT ").int(SERIES_MAX as i64 + 1);
        let rows = self.db.rows(sql)?;
        if rows.len() > SERIES_MAX {
            return Err(StoreError::TooCostly(
                "too many series; ask for a patient".into(),
            ));
        }
        let (low, high, is_exact) = date_bounds(&parts, date);
        let ids = ids_of(&parts);
        let mut series = Vec::new();
        for row in &rows {
            let template = Template::parse(row.text(2)?).ok_or_else(damaged)?;
            let name = row.text(3)?.to_owned();
            let Some(is_open) = self.judge_series(predicate, &template, &name, date)? else {
                continue;
            };
            let (mut low, mut high) = (low, high);
            if let Some(ids) = &ids {
                let instants = ids.iter().filter(|(channel, _)| *channel == name);
                let instants: Vec<i64> = instants.map(|(_, at)| *at).collect();
                let (Some(first), Some(last)) = (instants.iter().min(), instants.iter().max())
                else {
                    continue;
                };
                low = low.max(*first);
                high = high.min(last.saturating_add(1));
            }
            series.push(Series {
                channel: row.int(1)?,
                channel_name: name,
                id: row.int(0)?,
                template,
                low,
                high,
                is_open: is_open || !is_exact,
            });
        }
        Ok(series)
    }

    fn subjects(&self, parts: &[&Predicate], subject: u16) -> Option<Vec<i64>> {
        let patient = fhir_core_patient();
        parts.iter().find_map(|part| match part {
            Predicate::Value {
                param,
                test: ValueTest::Reference(ReferenceTest::Local(keys)),
            } if param.0 == subject || Some(*param) == patient => Some(
                keys.iter()
                    .map(|key| self.shared.hasher.resource(key))
                    .collect(),
            ),
            _ => None,
        })
    }

    /// `None` when no sample of the series can match; else whether each must be judged by more than its instant.
    fn judge_series(
        &mut self,
        predicate: &Predicate,
        template: &Template,
        channel: &str,
        date: u16,
    ) -> Result<Option<bool>, StoreError> {
        let one = rendered(template, channel, 0, some_time(), some_value())?;
        let other_value = SampleValue {
            mantissa: 22_222,
            scale: 2,
        };
        let other = rendered(
            template,
            channel,
            86_400_000_000_000,
            some_time(),
            other_value,
        )?;
        let (one, other) = (parse(&one)?, parse(&other)?);
        let (entries, others) = (extract(&one)?, extract(&other)?);
        let key = key_of(channel, 0)?;
        let varying: HashSet<ParamId> = entries
            .iter()
            .filter(|entry| !others.contains(entry))
            .chain(others.iter().filter(|entry| !entries.contains(entry)))
            .map(|entry| entry.param)
            .collect();
        let types = plain_types(self.db)?;
        let related = InDatabase {
            reader: RefCell::new(self),
            types,
        };
        let judge = Judge {
            candidate: Candidate {
                key: &key,
                updated: Instant(0),
                entries: &entries,
            },
            varying: &varying,
            date,
            related: &related,
        };
        Ok(match judge.whole(predicate) {
            Whole::No => None,
            Whole::Yes | Whole::ByDate => Some(false),
            Whole::Varies => Some(true),
        })
    }

    /// Matching samples of a series behind a position, in order, at most `wanted`.
    fn hits(
        &mut self,
        query: &SearchQuery,
        series: &Series,
        order: Order,
        after: Option<(i64, i64)>,
        wanted: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        if matches!(order, Order::Stored(_)) {
            return self.hits_by_storage(query, series, order, after);
        }
        let mut hits = Vec::new();
        let mut after = after.map(|(at, channel)| {
            // Behind a sample of another channel at the same instant ours is next, or it was before.
            let is_behind = if order.is_descending() {
                series.channel < channel
            } else {
                series.channel > channel
            };
            (at, is_behind)
        });
        let mut judged = 0;
        while hits.len() < wanted {
            let chunk = if series.is_open { CHUNK } else { wanted };
            let rows = self.db.rows(samples_sql(series, order, after, chunk))?;
            let is_last = rows.len() < chunk;
            for row in &rows {
                let (sample, updated) = sample(row)?;
                after = Some((sample.at_us, false));
                let found = self.hit(query, series, sample, updated)?;
                hits.extend(found.map(|stored| Hit {
                    key: sample.at_us,
                    channel: series.channel,
                    stored,
                }));
                if hits.len() >= wanted {
                    break;
                }
            }
            judged += rows.len();
            if is_last {
                break;
            }
            if series.is_open && judged >= JUDGED_MAX {
                return Err(StoreError::TooCostly(
                    "too many samples to judge one by one".into(),
                ));
            }
        }
        Ok(hits)
    }

    fn hits_by_storage(
        &mut self,
        query: &SearchQuery,
        series: &Series,
        order: Order,
        after: Option<(i64, i64)>,
    ) -> Result<Vec<Hit>, StoreError> {
        let rows = self
            .db
            .rows(samples_sql(series, Order::Open, None, SORTED_MAX + 1))?;
        if rows.len() > SORTED_MAX {
            return Err(StoreError::TooCostly(
                "too many samples to sort by time of storage; ask for a time of measurement".into(),
            ));
        }
        let mut hits = Vec::new();
        for row in &rows {
            let (sample, updated) = sample(row)?;
            // Samples of one commit share a time, so the place within the channel decides too.
            let place = (updated.0, sample.at_us);
            let is_behind = after.is_none_or(|after| {
                if order.is_descending() {
                    place < after
                } else {
                    place > after
                }
            });
            if is_behind && let Some(stored) = self.hit(query, series, sample, updated)? {
                hits.push(Hit {
                    key: updated.0,
                    channel: sample.at_us,
                    stored,
                });
            }
        }
        Ok(hits)
    }

    /// The sample as an Observation, if it matches.
    fn hit(
        &mut self,
        query: &SearchQuery,
        series: &Series,
        sample: NarrowSample,
        updated: Instant,
    ) -> Result<Option<Stored>, StoreError> {
        let found = stored(&series.channel_name, &series.template, sample, updated)?;
        if !series.is_open {
            return Ok(Some(found));
        }
        let document = parse(&found.json)?;
        let entries = extract(&document)?;
        let candidate = Candidate {
            key: &found.key,
            updated,
            entries: &entries,
        };
        let types = plain_types(self.db)?;
        let related = InDatabase {
            reader: RefCell::new(self),
            types,
        };
        let is_match = matches(&query.predicate, &candidate, &related);
        Ok(is_match.then_some(found))
    }
}

/// A page of ordinary matches: key, cursor behind it, resource.
#[derive(Default)]
struct WidePage {
    rows: Vec<(Option<i64>, Vec<u8>, Stored)>,
    next: Option<Cursor>,
}

fn position_of(row: &Match, keys: usize, is_implied: bool) -> Position {
    let keys = if is_implied { 1 } else { keys };
    Position {
        is_implied,
        values: row.sort.iter().take(keys).cloned().collect(),
        rid: row.rid,
    }
}

/// Whether an ordinary match comes before a sample; those without a date come last.
fn wide_comes_first(order: Order, wide: Option<i64>, narrow: i64) -> bool {
    match (order, wide) {
        (Order::Open | Order::Other, _) => true,
        (_, None) => false,
        (_, Some(wide)) if order.is_descending() => wide >= narrow,
        (_, Some(wide)) => wide <= narrow,
    }
}

pub(super) fn bounds(sql: &mut Sql, series: &Series) {
    sql.push("s.channel = ").int(series.channel);
    sql.push(" AND s.series = ").int(series.id);
    if series.low > i64::MIN {
        sql.push(" AND s.at >= ").int(series.low);
    }
    if series.high < i64::MAX {
        sql.push(" AND s.at < ").int(series.high);
    }
}

fn samples_sql(series: &Series, order: Order, after: Option<(i64, bool)>, limit: usize) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(COLUMNS)
        .push(" FROM sample s JOIN sample_batch b ON b.id = s.batch WHERE ");
    bounds(&mut sql, series);
    if let Some((at, is_inclusive)) = after {
        sql.push(match (order.is_descending(), is_inclusive) {
            (false, false) => " AND s.at > ",
            (false, true) => " AND s.at >= ",
            (true, false) => " AND s.at < ",
            (true, true) => " AND s.at <= ",
        })
        .int(at);
    }
    sql.push(if order.is_descending() {
        " ORDER BY s.at DESC LIMIT "
    } else {
        " ORDER BY s.at LIMIT "
    })
    .int(limit as i64);
    sql
}

/// The parts that all must be true.
fn conjuncts(predicate: &Predicate) -> Vec<&Predicate> {
    match predicate {
        Predicate::And(all) => all.iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

fn ids_of<'p>(parts: &[&'p Predicate]) -> Option<Vec<(&'p str, i64)>> {
    parts.iter().find_map(|part| match part {
        Predicate::Id(ids) => Some(
            ids.iter()
                .filter_map(|id| fhir_core::sample::parse_id(id.as_str()))
                .collect(),
        ),
        _ => None,
    })
}

/// Instants that the date tests leave, and whether they leave exactly the matches.
fn date_bounds(parts: &[&Predicate], date: u16) -> (i64, i64, bool) {
    let (mut low, mut high, mut is_exact) = (i64::MIN, i64::MAX, true);
    for part in parts {
        if let Predicate::Value {
            param,
            test: ValueTest::Date(test),
        } = part
            && param.0 == date
        {
            let (from, to, exact) = bounds_of(test);
            low = low.max(from);
            high = high.min(to);
            is_exact &= exact;
        }
    }
    (low, high, is_exact)
}

/// A sample stands for a second or an exact part of one, so whole seconds never cut through it.
fn bounds_of(test: &DateTest) -> (i64, i64, bool) {
    let is_whole = |at: i64| at % MICROS_PER_SECOND == 0 || at == i64::MIN || at == i64::MAX;
    let (low, high) = match test.comparison {
        Comparison::Equal | Comparison::Approximate => (test.start, test.end),
        Comparison::NotEqual => return (i64::MIN, i64::MAX, false),
        Comparison::Greater | Comparison::StartsAfter => (test.end, i64::MAX),
        Comparison::Less | Comparison::EndsBefore => (i64::MIN, test.start),
        Comparison::GreaterOrEqual => (test.start, i64::MAX),
        Comparison::LessOrEqual => (i64::MIN, test.end),
    };
    if is_whole(test.start) && is_whole(test.end) {
        return (low, high, true);
    }
    let wider = MICROS_PER_SECOND;
    (low.saturating_sub(wider), high.saturating_add(wider), false)
}

fn fhir_core_patient() -> Option<ParamId> {
    let params = conformance::Definitions::r4().search_params(observation()?);
    params.iter().find(|p| p.code == "patient").map(|p| p.id)
}

fn rendered(
    template: &Template,
    channel: &str,
    at_us: i64,
    shown: Shown,
    value: SampleValue,
) -> Result<Vec<u8>, StoreError> {
    let key = key_of(channel, at_us)?;
    Ok(template.render(key.id.as_str(), Instant(0), (at_us, shown), value))
}

fn key_of(channel: &str, at_us: i64) -> Result<ResourceKey, StoreError> {
    let id = fhir_core::sample::id_text(channel, at_us);
    let key = ResourceKey {
        resource_type: observation().ok_or_else(damaged)?,
        id: fhir_core::ids::ResourceId::parse(&id).ok_or_else(damaged)?,
    };
    place_of(&key).ok_or_else(damaged)?;
    Ok(key)
}

fn parse(json: &[u8]) -> Result<Document, StoreError> {
    Document::parse(json).map_err(|_| damaged())
}

pub(crate) fn extract(document: &Document) -> Result<Vec<IndexEntry<'_>>, StoreError> {
    let context = Context {
        base_urls: &[],
        zone: Zone::UTC,
    };
    let resource_type = observation().ok_or_else(damaged)?;
    Ok(Extractor::r4().extract(resource_type, document.root(), &context))
}

/// What a predicate says of all samples of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
    /// The instant alone decides, by the bounds the search has anyway.
    ByDate,
    Varies,
}

struct Judge<'a> {
    candidate: Candidate<'a>,
    varying: &'a HashSet<ParamId>,
    date: u16,
    related: &'a dyn Related,
}

impl Judge<'_> {
    /// The top: only here a date test is decided by the bounds.
    fn whole(&self, predicate: &Predicate) -> Whole {
        let mut result = Whole::Yes;
        for part in conjuncts(predicate) {
            let is_date = matches!(part, Predicate::Value { param, test: ValueTest::Date(_) } if param.0 == self.date);
            let whole = if is_date {
                Whole::ByDate
            } else {
                self.part(part)
            };
            result = match (result, whole) {
                (_, Whole::No) => return Whole::No,
                (Whole::Varies, _) | (_, Whole::Varies) => Whole::Varies,
                (Whole::ByDate, _) | (_, Whole::ByDate) => Whole::ByDate,
                _ => Whole::Yes,
            };
        }
        result
    }

    fn part(&self, predicate: &Predicate) -> Whole {
        let known = || {
            if matches(predicate, &self.candidate, self.related) {
                Whole::Yes
            } else {
                Whole::No
            }
        };
        match predicate {
            Predicate::Everything => Whole::Yes,
            Predicate::Nothing => Whole::No,
            Predicate::Id(_)
            | Predicate::LastUpdated(_)
            | Predicate::Has { .. }
            | Predicate::Words { .. } => Whole::Varies,
            Predicate::Value { param, .. } | Predicate::Composite { param, .. }
                if self.varying.contains(param) =>
            {
                Whole::Varies
            }
            Predicate::Value { .. }
            | Predicate::Composite { .. }
            | Predicate::Present(_)
            | Predicate::Chain { .. } => known(),
            Predicate::Not(inner) => match self.part(inner) {
                Whole::Yes => Whole::No,
                Whole::No => Whole::Yes,
                other => other,
            },
            Predicate::And(all) => {
                let parts: Vec<Whole> = all.iter().map(|p| self.part(p)).collect();
                if parts.contains(&Whole::No) {
                    Whole::No
                } else if parts.iter().all(|p| *p == Whole::Yes) {
                    Whole::Yes
                } else {
                    Whole::Varies
                }
            }
            Predicate::Or(any) => {
                let parts: Vec<Whole> = any.iter().map(|p| self.part(p)).collect();
                if parts.contains(&Whole::Yes) {
                    Whole::Yes
                } else if parts.iter().all(|p| *p == Whole::No) {
                    Whole::No
                } else {
                    Whole::Varies
                }
            }
        }
    }
}

/// The other resources, out of the database. What cannot be read does not match.
struct InDatabase<'r, 'd> {
    reader: RefCell<&'r mut Reader<'d>>,
    types: HashSet<u16>,
}

impl InDatabase<'_, '_> {
    fn exists(&self, resource_type: ResourceTypeId, predicate: &Predicate) -> bool {
        let mut reader = self.reader.borrow_mut();
        let has_plain = |t: ResourceTypeId| self.types.contains(&t.0);
        let shared = reader.shared;
        let mut compiler = shared.compiler(reader.db, &has_plain);
        live_matches(&mut compiler, resource_type, predicate, 1)
            .is_ok_and(|found| !found.is_empty())
    }
}

impl Related for InDatabase<'_, '_> {
    fn matches(&self, key: &ResourceKey, inner: &Predicate) -> bool {
        let predicate = Predicate::And(vec![Predicate::Id(vec![key.id.clone()]), inner.clone()]);
        self.exists(key.resource_type, &predicate)
    }

    fn is_referred(
        &self,
        target: &ResourceKey,
        source: ResourceTypeId,
        param: ParamId,
        inner: &Predicate,
    ) -> bool {
        let refers = Predicate::Value {
            param,
            test: ValueTest::Reference(ReferenceTest::Local(vec![target.clone()])),
        };
        self.exists(source, &Predicate::And(vec![refers, inner.clone()]))
    }
}
