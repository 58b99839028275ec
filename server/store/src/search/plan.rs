//! Chooses how a search is run, runs it and cuts the result into pages.
//!
//! Three plans. *Core*: subject, token and date together are one range of the clinical core, already in the order of
//! dates. *Stream*: one posting list is walked in the order of creation. *Set*: the best part of the predicate gives
//! a set of numbers, the rest is tested row by row, and the matches are sorted. Pages continue behind the last
//! match's sort values, so that changes in between neither repeat nor skip other resources.

use conformance::{ParamType, ResourceTypeId};
use fhir_core::search::predicate::{DateTest, Direction, Predicate, SortBy, SortKeySpec};

use super::compile::{Compiler, type_number};
use super::cursor::Position;
use super::emit::{Emitter, date_rows, rank};
use super::node::Node;
use super::order_term::order_by_term;
use super::tests_of_values::{Columns, low_bounds};
use crate::api::{Only, SearchQuery, TotalMode};
use crate::catalog::{Catalog, Core, WIDE};
use crate::db::{Cell, Engine, Match};
use crate::error::StoreError;
use crate::sql::Sql;

/// Matches counted for an estimated total; then the count stops.
const ESTIMATE_MAX: i64 = 100_000;
/// A part of the predicate with fewer entries than this is a good beginning; the count of entries stops here.
const PROBE_MAX: i64 = 2_000;

/// Rows of a page that may be read on the thread that asks: about a quarter of a millisecond.
const SHORT_ROWS_MAX: usize = 100;

/// The columns of a match, read by [`crate::read::stored`].
pub(crate) const COLUMNS: &str = "r.rid, r.type, r.id, r.ver, r.upd, r.flags, r.gap, r.body";

/// The result before bodies are unpacked.
pub(crate) struct Found {
    pub(crate) rows: Vec<Match>,
    pub(crate) next: Option<Position>,
    pub(crate) total: Option<u64>,
}

/// One search.
pub(crate) struct Searcher<'a> {
    pub(crate) compiler: Compiler<'a>,
}

/// One key of the order.
struct Order {
    /// The value's expression over `r`; `NULL` when there is none.
    value: Sql,
    is_descending: bool,
}

/// The range of the clinical core a search walks.
struct CoreRange {
    subject: i64,
    key: i64,
    tests: Vec<DateTest>,
    rest: Vec<Node>,
}

impl CoreRange {
    /// Whether the range itself has the order wanted: newest first ends with those without a date, and a test of
    /// dates leaves them out.
    fn is_one_statement(&self, is_descending: bool) -> bool {
        is_descending || !self.tests.is_empty()
    }
}

/// Which rows of the core a statement walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    All,
    Known,
    None,
}

/// A row without a date has the lowest number in its place.
fn name_undated(rows: &mut [Match]) {
    for row in rows {
        if let Some(date) = row.sort.last_mut().filter(|d| **d == Cell::Int(i64::MIN)) {
            *date = Cell::Null;
        }
    }
}

impl Searcher<'_> {
    pub(crate) fn search(&mut self, query: &SearchQuery) -> Result<Found, StoreError> {
        let node = self
            .compiler
            .compile(query.resource_type, &query.predicate)?;
        let total = self.total(query, &node)?;
        if query.only == Only::CountOnly || node == Node::False {
            let total = if query.only == Only::CountOnly || query.total != TotalMode::None {
                total
            } else {
                None
            };
            return Ok(Found {
                rows: Vec::new(),
                next: None,
                total,
            });
        }
        let after = query.after.as_ref().map(Position::read).transpose()?;
        if query.sort.len() > SearchQuery::SORT_KEYS_MAX {
            return Err(StoreError::Invalid(format!(
                "at most {} sort keys",
                SearchQuery::SORT_KEYS_MAX
            )));
        }
        let (rows, next) = self.page(query, node, after)?;
        Ok(Found { rows, next, total })
    }

    /// What the search would run, one statement a line.
    pub(crate) fn explain(&mut self, query: &SearchQuery) -> Result<String, StoreError> {
        let node = self
            .compiler
            .compile(query.resource_type, &query.predicate)?;
        let t = query.resource_type;
        if let Some((range, is_descending)) = self.core_range(query, &node, None) {
            return Ok(format!(
                "core: {}",
                core_page(
                    self.compiler.db.engine(),
                    t,
                    range,
                    is_descending,
                    Dates::Known,
                    None,
                    1
                )
                .explain()
            ));
        }
        let sql = self.set_page(query, &node, None, 1)?;
        Ok(format!("set: {}", sql.explain()))
    }

    fn page(
        &mut self,
        query: &SearchQuery,
        node: Node,
        after: Option<Position>,
    ) -> Result<(Vec<Match>, Option<Position>), StoreError> {
        let wanted = query.limit.saturating_add(1);
        let implied = after.as_ref().map(|position| position.is_implied);
        let Some((range, is_descending)) = self.core_range(query, &node, implied) else {
            let mut query = query.clone();
            if implied == Some(true) {
                query.sort = vec![self.date_order(query.resource_type, true)?];
            }
            let sql = self.set_page(&query, &node, after.as_ref(), wanted)?;
            let rows = self.compiler.db.matches(sql)?;
            return Ok(cut(rows, query.limit, implied == Some(true)));
        };
        let is_implied = query.sort.is_empty();
        let t = query.resource_type;
        let mut rows = self.core_rows(t, range, is_descending, after.as_ref(), wanted)?;
        if (self.compiler.has_plain)(t) {
            // Resources outside of the core, found the ordinary way in the same order.
            let mut ordered = query.clone();
            ordered.sort = vec![self.date_order(t, is_descending)?];
            let plain = Node::and(vec![node, plain_only()]);
            let sql = self.set_page(&ordered, &plain, after.as_ref(), wanted)?;
            rows.extend(self.compiler.db.matches(sql)?);
            sort_by_date(&mut rows, is_descending);
        }
        Ok(cut(rows, query.limit, is_implied))
    }

    fn date_order(
        &self,
        t: ResourceTypeId,
        is_descending: bool,
    ) -> Result<SortKeySpec, StoreError> {
        let core = self
            .compiler
            .catalog
            .core(t)
            .ok_or_else(|| StoreError::Internal("no clinical core".into()))?;
        let direction = if is_descending {
            Direction::Descending
        } else {
            Direction::Ascending
        };
        Ok(SortKeySpec {
            by: SortBy::Param(conformance::ParamId(core.date)),
            direction,
        })
    }

    /// The core range that answers a search, and its direction, when its order is by the core's date or open.
    /// `implied`: whether the previous page had the order chosen by the store.
    fn core_range(
        &self,
        query: &SearchQuery,
        node: &Node,
        implied: Option<bool>,
    ) -> Option<(CoreRange, bool)> {
        let core = self.compiler.catalog.core(query.resource_type)?;
        let is_descending = match query.sort.as_slice() {
            [] => true,
            [
                SortKeySpec {
                    by: SortBy::Param(param),
                    direction,
                },
            ] if param.0 == core.date => *direction == Direction::Descending,
            _ => return None,
        };
        if query.sort.is_empty() && implied == Some(false) {
            return None;
        }
        let mut range = CoreRange {
            subject: 0,
            key: core.any_key(),
            tests: Vec::new(),
            rest: Vec::new(),
        };
        for part in node.clone().into_conjuncts() {
            match core_part(&part) {
                Node::CoreSubject { targets, .. } if range.subject == 0 && targets.len() == 1 => {
                    range.subject = targets.first().copied()?;
                }
                Node::CoreToken { keys, .. } if range.key == core.any_key() && keys.len() == 1 => {
                    range.key = keys.first().copied()?;
                }
                Node::CoreDate { test, .. } => range.tests.push(test.clone()),
                _ => range.rest.push(part),
            }
        }
        // Something better to begin with?
        let good_enough = if range.subject == 0 { 3 } else { 1 };
        let is_better = |part: &Node| {
            matches!(part, Node::Ids(_)) || (rank(part) <= good_enough && Emitter::can_begin(part))
        };
        if implied != Some(true) && range.rest.iter().any(is_better) {
            return None;
        }
        let is_useful =
            range.subject != 0 || range.key != core.any_key() || !range.tests.is_empty();
        (is_useful || !query.sort.is_empty()).then_some((range, is_descending))
    }

    /// Dated matches first, then those without a date; newest first that is the order of the range itself.
    fn core_rows(
        &mut self,
        t: ResourceTypeId,
        range: CoreRange,
        is_descending: bool,
        after: Option<&Position>,
        wanted: usize,
    ) -> Result<Vec<Match>, StoreError> {
        let engine = self.compiler.db.engine();
        if range.is_one_statement(is_descending) {
            let dates = if range.tests.is_empty() {
                Dates::All
            } else {
                Dates::Known
            };
            let sql = core_page(engine, t, range, is_descending, dates, after, wanted);
            let mut rows = self.compiler.db.matches(sql)?;
            name_undated(&mut rows);
            return Ok(rows);
        }
        let has_dates_left =
            after.is_none_or(|position| position.values.first() != Some(&Cell::Null));
        let mut rows = Vec::new();
        let undated = CoreRange {
            tests: Vec::new(),
            rest: range.rest.clone(),
            ..range
        };
        if has_dates_left {
            let sql = core_page(engine, t, range, is_descending, Dates::Known, after, wanted);
            rows = self.compiler.db.matches(sql)?;
        }
        if rows.len() < wanted {
            let after = after.filter(|_| !has_dates_left);
            let sql = core_page(
                engine,
                t,
                undated,
                is_descending,
                Dates::None,
                after,
                wanted - rows.len(),
            );
            rows.extend(self.compiler.db.matches(sql)?);
            name_undated(&mut rows);
        }
        Ok(rows)
    }

    /// A page of the clinical core that one statement answers, which reads little more than the page: nothing but
    /// subject, token and dates is tested.
    pub(crate) fn short_search(
        &mut self,
        query: &SearchQuery,
    ) -> Result<Option<Found>, StoreError> {
        let t = query.resource_type;
        let is_short = query.limit <= SHORT_ROWS_MAX
            && query.only == Only::Bodies
            && query.total == TotalMode::None
            && query.sort.len() <= 1
            && self.compiler.catalog.core(t).is_some()
            && !(self.compiler.has_plain)(t);
        if !is_short {
            return Ok(None);
        }
        let node = self.compiler.compile(t, &query.predicate)?;
        let after = query.after.as_ref().map(Position::read).transpose()?;
        let implied = after.as_ref().map(|position| position.is_implied);
        let Some((range, is_descending)) = self.core_range(query, &node, implied) else {
            return Ok(None);
        };
        if !range.rest.is_empty() || !range.is_one_statement(is_descending) {
            return Ok(None);
        }
        let wanted = query.limit.saturating_add(1);
        let rows = self.core_rows(t, range, is_descending, after.as_ref(), wanted)?;
        let (rows, next) = cut(rows, query.limit, query.sort.is_empty());
        Ok(Some(Found {
            rows,
            next,
            total: None,
        }))
    }

    /// The set plan.
    fn set_page(
        &mut self,
        query: &SearchQuery,
        node: &Node,
        after: Option<&Position>,
        wanted: usize,
    ) -> Result<Sql, StoreError> {
        let orders = self.orders(query)?;
        let descending_ties = orders.last().is_some_and(|order| order.is_descending);
        let t = type_number(query.resource_type);
        let mut emitter = Emitter::new(self.compiler.db.engine());
        if orders.is_empty() {
            return self.creation_page(&mut emitter, t, node, after, wanted);
        }
        let mut inner = Sql::new("SELECT r.rid");
        for (index, order) in orders.iter().enumerate() {
            inner
                .push(", ")
                .append(order.value.clone())
                .push_owned(format!(" AS s{index}"));
        }
        inner.push(" FROM res r WHERE ");
        self.matching(&mut emitter, &mut inner, t, node)?;
        let mut out = Sql::new("SELECT ");
        out.push_owned(COLUMNS.to_owned());
        let order_by = order_by(&orders, descending_ties);
        for index in 0..orders.len() {
            out.push_owned(format!(", q.s{index}"));
        }
        out.push(" FROM (SELECT * FROM (").append(inner).push(") q");
        if let Some(position) = after {
            out.push(" WHERE ");
            behind(&mut out, &orders, descending_ties, position)?;
        }
        out.push_owned(format!(" ORDER BY {order_by} LIMIT "))
            .int(wanted as i64);
        out.push(") q CROSS JOIN res r WHERE r.rid = q.rid ORDER BY ")
            .push_owned(order_by);
        Ok(out)
    }

    /// Matches in the order of creation.
    fn creation_page(
        &mut self,
        emitter: &mut Emitter,
        t: i64,
        node: &Node,
        after: Option<&Position>,
        wanted: usize,
    ) -> Result<Sql, StoreError> {
        let mut out = Sql::new("SELECT ");
        out.push_owned(COLUMNS.to_owned());
        let begin = self.beginning(node)?;
        if let Some(Node::Post(keys)) = &begin
            && let [key] = keys.as_slice()
        {
            out.push(" FROM post d CROSS JOIN res r WHERE r.rid = d.rid AND d.k = ")
                .int(*key);
            if let Some(position) = after {
                out.push(" AND d.rid > ").int(position.rid);
            }
            let parts = node.clone().into_conjuncts();
            if parts.len() > 1 {
                self.compiler.db.engine().in_time(&mut out, "d");
            }
            for part in parts {
                if Some(&part) != begin.as_ref() {
                    out.push(" AND ");
                    emitter.condition(&mut out, "r", &part);
                }
            }
            out.push(" AND +r.type = ")
                .int(t)
                .push(" ORDER BY d.rid LIMIT ")
                .int(wanted as i64);
            return Ok(out);
        }
        out.push(" FROM res r WHERE ");
        self.matching_from(emitter, &mut out, t, node, begin.as_ref());
        if let Some(position) = after {
            out.push(" AND r.rid > ").int(position.rid);
        }
        out.push(" ORDER BY r.rid LIMIT ").int(wanted as i64);
        Ok(out)
    }

    fn matching(
        &mut self,
        emitter: &mut Emitter,
        out: &mut Sql,
        t: i64,
        node: &Node,
    ) -> Result<(), StoreError> {
        let begin = self.beginning(node)?;
        self.matching_from(emitter, out, t, node, begin.as_ref());
        Ok(())
    }

    fn matching_from(
        &self,
        emitter: &mut Emitter,
        out: &mut Sql,
        t: i64,
        node: &Node,
        begin: Option<&Node>,
    ) {
        let parts = node.clone().into_conjuncts();
        let has_ids = parts.iter().any(|part| matches!(part, Node::Ids(_)));
        let begin = begin.filter(|_| !has_ids);
        // The plus keeps the index of types out of the way of a better one.
        out.push(if begin.is_some() || has_ids {
            "+r.type = "
        } else {
            "r.type = "
        })
        .int(t);
        self.compiler.db.engine().in_time(out, "r");
        for part in parts {
            out.push(" AND ");
            if Some(&part) == begin {
                out.push("r.rid IN (");
                emitter.set(out, &part);
                out.push(")");
            } else {
                emitter.condition(out, "r", &part);
            }
        }
    }

    /// The part of a predicate to begin with; parts that look alike are compared by counting a few entries.
    fn beginning(&mut self, node: &Node) -> Result<Option<Node>, StoreError> {
        let mut parts = node.clone().into_conjuncts();
        parts.retain(Emitter::can_begin);
        parts.sort_by_key(rank);
        let is_clear = parts.first().is_none_or(|first| rank(first) <= 3) || parts.len() == 1;
        if is_clear {
            return Ok(parts.into_iter().next());
        }
        let mut best: Option<(i64, Node)> = None;
        for part in parts {
            let mut emitter = Emitter::new(self.compiler.db.engine());
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM (");
            emitter.set(&mut sql, &part);
            sql.push(") a LIMIT ").int(PROBE_MAX).push(") b");
            let entries = self.compiler.db.number(sql)?;
            if best.as_ref().is_none_or(|(least, _)| entries < *least) {
                best = Some((entries, part));
            }
        }
        Ok(best.map(|(_, part)| part))
    }

    fn orders(&mut self, query: &SearchQuery) -> Result<Vec<Order>, StoreError> {
        query
            .sort
            .iter()
            .map(|spec| self.order(query.resource_type, spec))
            .collect()
    }

    fn order(&mut self, t: ResourceTypeId, spec: &SortKeySpec) -> Result<Order, StoreError> {
        let is_descending = spec.direction == Direction::Descending;
        let value = match &spec.by {
            SortBy::Id => Sql::new("r.id"),
            SortBy::LastUpdated => Sql::new("r.upd"),
            SortBy::Param(param) => self.order_by_param(t, *param, is_descending)?,
        };
        Ok(Order {
            value,
            is_descending,
        })
    }

    fn order_by_param(
        &mut self,
        t: ResourceTypeId,
        param: conformance::ParamId,
        is_descending: bool,
    ) -> Result<Sql, StoreError> {
        let catalog: &'static Catalog = self.compiler.catalog;
        let refused = || {
            StoreError::Invalid(
                "a search can be sorted by dates, numbers, quantities, strings, codes, uris, `_id` and `_lastUpdated`".into(),
            )
        };
        let plan = catalog.param(param).ok_or_else(refused)?;
        let (table, column) = match plan.kind {
            ParamType::Date => ("dat", "lo"),
            ParamType::Number | ParamType::Quantity => ("num", "lo"),
            ParamType::String => ("str", "norm"),
            ParamType::Token if plan.code == "_id" => return Ok(Sql::new("r.id")),
            ParamType::Token | ParamType::Uri => {
                return order_by_term(&mut self.compiler, plan, is_descending);
            }
            ParamType::Reference | ParamType::Composite | ParamType::Special => {
                return Err(refused());
            }
        };
        if plan.code == "_lastUpdated" {
            return Ok(Sql::new("r.upd"));
        }
        let params: Vec<i64> = plan
            .stored_as
            .iter()
            .flat_map(|p| [i64::from(*p), i64::from(*p) | WIDE])
            .collect();
        let direction = if is_descending { "DESC" } else { "ASC" };
        let mut plain = Sql::new("(SELECT x.");
        plain
            .push(column)
            .push(" FROM ")
            .push(table)
            .push(" x WHERE x.rid = r.rid AND x.p")
            .in_ints(&params);
        plain.push_owned(format!(" ORDER BY x.{column} {direction} LIMIT 1)"));
        if plan.core != Core::Date {
            return Ok(plain);
        }
        let mut value = Sql::default();
        if (self.compiler.has_plain)(t) {
            value
                .push("CASE WHEN r.at IS NULL THEN ")
                .append(plain)
                .push(" ELSE nullif(r.at, ")
                .int(i64::MIN);
            value.push(") END");
        } else {
            value.push("nullif(r.at, ").int(i64::MIN).push(")");
        }
        Ok(value)
    }

    fn total(&mut self, query: &SearchQuery, node: &Node) -> Result<Option<u64>, StoreError> {
        let is_wanted = query.only == Only::CountOnly || query.total != TotalMode::None;
        if !is_wanted {
            return Ok(None);
        }
        if *node == Node::False {
            return Ok(Some(0));
        }
        let t = type_number(query.resource_type);
        if *node == Node::True {
            let mut sql = Sql::new("SELECT n FROM live WHERE type = ");
            sql.int(t);
            let found = self
                .compiler
                .db
                .row(sql)?
                .map(|row| row.int(0))
                .transpose()?;
            return Ok(Some(u64::try_from(found.unwrap_or(0)).unwrap_or(0)));
        }
        let limit = if query.total == TotalMode::Estimate {
            ESTIMATE_MAX
        } else {
            i64::MAX
        };
        let mut unsorted = query.clone();
        unsorted.sort.clear();
        let mut count = 0;
        let mut ordinary = node.clone();
        if let Some((range, _)) = self.core_range(&unsorted, node, None)
            && range.rest.is_empty()
        {
            count += self.compiler.db.number(core_count(&range, limit))?;
            if !(self.compiler.has_plain)(query.resource_type) {
                return Ok(Some(u64::try_from(count).unwrap_or(0)));
            }
            ordinary = Node::and(vec![ordinary, plain_only()]);
        }
        let mut emitter = Emitter::new(self.compiler.db.engine());
        let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM res r WHERE ");
        self.matching(&mut emitter, &mut sql, t, &ordinary)?;
        sql.push(" LIMIT ").int(limit).push(") q");
        count += self.compiler.db.number(sql)?;
        Ok(Some(u64::try_from(count).unwrap_or(0)))
    }
}

/// The keys of live resources that match, at most `limit`, for expectations.
pub(crate) fn live_matches(
    compiler: &mut Compiler<'_>,
    t: ResourceTypeId,
    predicate: &Predicate,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let node = compiler.compile(t, predicate)?;
    if node == Node::False {
        return Ok(Vec::new());
    }
    let mut emitter = Emitter::new(compiler.db.engine());
    let mut sql = Sql::new("SELECT r.h FROM res r WHERE ");
    emitter.rows_of(&mut sql, "r", type_number(t), &node);
    sql.push(" LIMIT ").int(limit as i64);
    compiler
        .db
        .rows(sql)?
        .iter()
        .map(|row| row.int(0))
        .collect()
}

/// `res.at` is missing: the resource is not in the clinical core.
fn plain_only() -> Node {
    Node::OutsideCore
}

/// The part as the core sees it: the ordinary half cannot match there.
fn core_part(node: &Node) -> &Node {
    match node {
        Node::CoreOrPlain { core, .. } => core,
        other => other,
    }
}

/// Whether a condition looks at nothing of the row but its number.
fn needs_number_only(node: &Node) -> bool {
    matches!(
        node,
        Node::Number { .. }
            | Node::Post(_)
            | Node::Hash(_)
            | Node::Date { .. }
            | Node::Text { .. }
            | Node::Ref { .. }
    )
}

fn core_bounds(out: &mut Sql, range: &CoreRange) {
    out.push("d.s = ")
        .int(range.subject)
        .push(" AND d.k = ")
        .int(range.key);
    let bounds = range.tests.iter().map(low_bounds);
    let (from, to) = bounds.fold((i64::MIN, i64::MAX), |(a, b), (from, to)| {
        (a.max(from), b.min(to))
    });
    if from > i64::MIN {
        out.push(" AND d.lo >= ").int(from);
    }
    if to < i64::MAX {
        out.push(" AND d.lo <= ").int(to);
    }
    for test in &range.tests {
        out.push(" AND ");
        date_rows(
            out,
            &Columns {
                low: "d.lo",
                high: "(d.lo + (d.len + 1000000))",
            },
            test,
        );
    }
}

fn core_page(
    engine: Engine,
    t: ResourceTypeId,
    range: CoreRange,
    is_descending: bool,
    dates: Dates,
    after: Option<&Position>,
    wanted: usize,
) -> Sql {
    let mut out = Sql::new("SELECT ");
    out.push_owned(COLUMNS.to_owned())
        .push(", d.lo FROM sd d CROSS JOIN res r WHERE r.rid = d.rid AND ");
    core_bounds(&mut out, &range);
    match dates {
        Dates::All => &mut out,
        Dates::Known => out.push(" AND d.lo > ").int(i64::MIN),
        Dates::None => out.push(" AND d.lo = ").int(i64::MIN),
    };
    if let Some(position) = after {
        let behind = if is_descending { " < " } else { " > " };
        match position.values.first() {
            // A range without a start, outside of the core, comes before everything without a date.
            Some(Cell::Int(i64::MIN)) if dates == Dates::All => {
                out.push(" AND d.lo = ").int(i64::MIN);
            }
            Some(Cell::Int(date)) if dates != Dates::None => {
                out.push(" AND (d.lo, d.rid)")
                    .push(behind)
                    .push("(")
                    .int(*date)
                    .push(", ")
                    .int(position.rid)
                    .push(")");
            }
            _ if dates == Dates::All => {
                out.push(" AND d.lo = ").int(i64::MIN);
                out.push(" AND d.rid").push(behind).int(position.rid);
            }
            _ => {
                out.push(" AND d.rid").push(behind).int(position.rid);
            }
        }
    }
    let mut emitter = Emitter::new(engine);
    if !range.rest.is_empty() {
        engine.in_time(&mut out, "d");
    }
    for part in &range.rest {
        out.push(" AND ");
        // What needs the number alone is tested before the resource's row is looked up.
        let alias = if needs_number_only(part) { "d" } else { "r" };
        emitter.condition(&mut out, alias, part);
    }
    out.push(" AND +r.type = ").int(type_number(t));
    out.push(if is_descending {
        " ORDER BY d.lo DESC, d.rid DESC"
    } else {
        " ORDER BY d.lo, d.rid"
    });
    out.push(" LIMIT ").int(wanted as i64);
    out
}

fn core_count(range: &CoreRange, limit: i64) -> Sql {
    let mut out = Sql::new("SELECT count(*) FROM (SELECT 1 FROM sd d WHERE ");
    core_bounds(&mut out, range);
    if !range.tests.is_empty() {
        out.push(" AND d.lo > ").int(i64::MIN);
    }
    out.push(" LIMIT ").int(limit).push(") q");
    out
}

fn order_by(orders: &[Order], descending_ties: bool) -> String {
    let mut text = String::new();
    for (index, order) in orders.iter().enumerate() {
        let direction = if order.is_descending { "DESC" } else { "ASC" };
        text.push_str(&format!("(q.s{index} IS NULL), q.s{index} {direction}, "));
    }
    text.push_str(if descending_ties {
        "q.rid DESC"
    } else {
        "q.rid"
    });
    text
}

/// The condition that a row comes behind a position: for each key, equal before it and behind in it.
fn behind(
    out: &mut Sql,
    orders: &[Order],
    descending_ties: bool,
    position: &Position,
) -> Result<(), StoreError> {
    if position.values.len() != orders.len() {
        return Err(StoreError::Invalid(
            "the cursor belongs to another order".into(),
        ));
    }
    out.push("(1 = 0");
    let mut equal = Sql::default();
    for (index, (order, value)) in orders.iter().zip(&position.values).enumerate() {
        let column = format!("q.s{index}");
        if *value != Cell::Null {
            let operator = if order.is_descending { " < " } else { " > " };
            out.push(" OR (")
                .append(equal.clone())
                .push_owned(format!("({column} IS NULL OR {column}{operator}"));
            push_cell(out, value);
            out.push("))");
            equal.push_owned(format!("{column} = "));
            push_cell(&mut equal, value);
            equal.push(" AND ");
        } else {
            equal.push_owned(format!("{column} IS NULL AND "));
        }
    }
    out.push(" OR (")
        .append(equal)
        .push(if descending_ties {
            "q.rid < "
        } else {
            "q.rid > "
        })
        .int(position.rid);
    out.push("))");
    Ok(())
}

fn push_cell(out: &mut Sql, cell: &Cell) {
    match cell {
        Cell::Null => out.push("NULL"),
        Cell::Int(value) => out.int(*value),
        Cell::Bytes(value) => out.bytes(value.clone()),
        Cell::Text(value) => out.text(value.clone()),
    };
}

fn sort_by_date(rows: &mut [Match], is_descending: bool) {
    let key = |row: &Match| {
        let date = match row.sort.last() {
            Some(Cell::Int(date)) => Some(*date),
            _ => None,
        };
        let rid = row.rid;
        let flip = |n: i64| if is_descending { !n } else { n };
        (date.is_none(), date.map(flip), flip(rid))
    };
    rows.sort_by_key(key);
}

/// The rows of the page and where it ended, if there is more.
fn cut(mut rows: Vec<Match>, limit: usize, is_implied: bool) -> (Vec<Match>, Option<Position>) {
    if rows.len() <= limit {
        return (rows, None);
    }
    rows.truncate(limit);
    let Some(last) = rows.last() else {
        return (rows, None);
    };
    let next = Position {
        is_implied,
        values: last.sort.clone(),
        rid: last.rid,
    };
    (rows, Some(next))
}
