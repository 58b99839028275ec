//! Reading: current versions, old versions, histories, and searches' bodies.

use std::collections::HashSet;

use bytes::Bytes;
use conformance::{Definitions, ResourceTypeId};
use fhir_core::ids::{Instant, ResourceKey, VersionId};

use crate::api::{
    Cursor, HistoryOrder, HistoryPage, HistoryQuery, HistoryScope, ReindexRow, Rid, SearchPage,
    SearchQuery, StoreCounts, Stored, TotalMode,
};
use crate::db::{Db, Engine, Match};
use crate::deadline::Limit;
use crate::dialect;
use crate::error::StoreError;
use crate::sample;
use crate::search::{COLUMNS, Found, Searcher};
use crate::shared::Shared;
use crate::sql::Sql;
use crate::write::counter;

/// Reads with one connection.
pub(crate) struct Reader<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) shared: &'a Shared,
}

/// The columns of a row of `hist` in the order of [`COLUMNS`]; `i.id` comes from `res`.
const HISTORY_COLUMNS: &str = "v.rid, v.type, i.id, v.ver, v.upd, v.flags, v.gap, v.body";

/// Types that have resources outside of their clinical core.
pub(crate) fn plain_types(db: &mut Db) -> Result<HashSet<u16>, StoreError> {
    let rows = db.rows(Sql::new(
        "SELECT name FROM meta WHERE name >= 'plain:' AND name < 'plain;'",
    ))?;
    let numbers = rows
        .iter()
        .map(|row| row.text(0))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(numbers
        .iter()
        .filter_map(|name| name.strip_prefix(counter::PLAIN)?.parse().ok())
        .collect())
}

/// Where a search learns which types have resources outside of their clinical core.
enum PlainTypes {
    /// This process' flags.
    Flags,
    /// The table `meta`.
    Listed(HashSet<u16>),
}

impl PlainTypes {
    fn has(&self, shared: &Shared, t: ResourceTypeId) -> bool {
        match self {
            Self::Flags => shared.has_plain(t),
            Self::Listed(types) => types.contains(&t.0),
        }
    }
}

impl Reader<'_> {
    /// Runs reads that must see one state of the database.
    pub(crate) fn at_one_moment<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        dialect::begin_reading(self.db)?;
        let result = work(self);
        // Nothing was written; a failed end shows at the next use of the connection.
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = dialect::end_reading(self.db, end);
        result.and_then(|value| ended.map(|()| value))
    }

    pub(crate) fn stored(&mut self, row: Match) -> Result<Stored, StoreError> {
        let damaged =
            || StoreError::Internal("a row of `res` has a type or id that cannot be".into());
        let number = u16::try_from(row.signed_type.abs() - 1).map_err(|_| damaged())?;
        let key = ResourceKey {
            resource_type: ResourceTypeId(number),
            id: row.id.ok_or_else(damaged)?,
        };
        let (version, updated) = (VersionId(row.version), Instant(row.updated));
        let is_deleted = row.signed_type < 0;
        let json = if is_deleted {
            Bytes::new()
        } else {
            let bodies = &self.shared.bodies;
            let json = match bodies.resource(row.flags, row.gap, &row.body, version, updated)? {
                Some(json) => json,
                None => {
                    load_dictionaries(self.db, self.shared)?;
                    let json = bodies.resource(row.flags, row.gap, &row.body, version, updated)?;
                    json.ok_or_else(|| {
                        StoreError::Internal("a stored body needs an unknown dictionary".into())
                    })?
                }
            };
            json.into()
        };
        Ok(Stored {
            key,
            version,
            updated,
            deleted: is_deleted,
            json,
        })
    }

    fn one(&mut self, sql: Sql) -> Result<Option<Stored>, StoreError> {
        let row = self.db.matches(sql)?.into_iter().next();
        row.map(|row| self.stored(row)).transpose()
    }

    pub(crate) fn read(&mut self, key: &ResourceKey) -> Result<Option<Stored>, StoreError> {
        let row = self.db.current(self.shared.hasher.resource(key))?;
        let Some(row) = row else {
            return match self.shared.has_samples() {
                true => sample::find(self.db, key),
                false => Ok(None),
            };
        };
        Ok(Some(self.stored(row)?).filter(|stored| stored.key == *key))
    }

    pub(crate) fn vread(
        &mut self,
        key: &ResourceKey,
        version: VersionId,
    ) -> Result<Option<Stored>, StoreError> {
        self.at_one_moment(|reader| {
            if let Some(current) = reader
                .read(key)?
                .filter(|current| current.version == version)
            {
                return Ok(Some(current));
            }
            let mut sql = Sql::new("SELECT ");
            sql.push(HISTORY_COLUMNS)
                .push(" FROM res i CROSS JOIN hist v WHERE v.rid = i.rid AND i.h = ");
            sql.int(reader.shared.hasher.resource(key))
                .push(" AND v.ver = ")
                .int(version.0);
            Ok(reader.one(sql)?.filter(|stored| stored.key == *key))
        })
    }

    pub(crate) fn read_many(&mut self, keys: &[ResourceKey]) -> Result<Vec<Stored>, StoreError> {
        self.at_one_moment(|reader| {
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                found.extend(reader.read(key)?.filter(|stored| !stored.deleted));
            }
            Ok(found)
        })
    }

    /// Types that have resources outside of their clinical core, as this reader's state of the database has them.
    fn plain_types(&mut self) -> Result<PlainTypes, StoreError> {
        Ok(match self.db.engine() {
            // Set before the commit that makes it so, by this process.
            Engine::Sqlite => PlainTypes::Flags,
            Engine::Postgres => PlainTypes::Listed(plain_types(self.db)?),
        })
    }

    pub(crate) fn search(&mut self, query: &SearchQuery) -> Result<SearchPage, StoreError> {
        let _limit = Limit::start(self.shared.options.search_time_max);
        self.at_one_moment(|reader| {
            let samples = match reader.shared.has_samples() {
                true => reader.search_with_samples(query)?,
                false => None,
            };
            match samples {
                Some(page) => Ok(page),
                None => reader.search_wide(query),
            }
        })
    }

    /// The page of a search that one statement with few rows answers; `None` for any other. Only for SQLite.
    pub(crate) fn short_search(
        &mut self,
        query: &SearchQuery,
    ) -> Result<Option<SearchPage>, StoreError> {
        if self.shared.has_samples() && sample::is_of(query.resource_type) {
            return Ok(None);
        }
        let has_plain = |t: ResourceTypeId| self.shared.has_plain(t);
        let compiler = self.shared.compiler(self.db, &has_plain);
        let found = Searcher { compiler }.short_search(query)?;
        found.map(|found| self.page(found)).transpose()
    }

    fn page(&mut self, found: Found) -> Result<SearchPage, StoreError> {
        let matches = found.rows.into_iter().map(|row| self.stored(row));
        Ok(SearchPage {
            matches: matches.collect::<Result<_, _>>()?,
            next: found.next.map(|position| position.write()),
            total: found.total,
        })
    }

    /// Searches ordinary resources.
    pub(crate) fn search_wide(&mut self, query: &SearchQuery) -> Result<SearchPage, StoreError> {
        let found = self.found_wide(query)?;
        self.page(found)
    }

    /// The rows of ordinary resources that match.
    pub(crate) fn found_wide(&mut self, query: &SearchQuery) -> Result<Found, StoreError> {
        let types = self.plain_types()?;
        let has_plain = |t: ResourceTypeId| types.has(self.shared, t);
        let compiler = self.shared.compiler(self.db, &has_plain);
        Searcher { compiler }.search(query)
    }

    pub(crate) fn explain(&mut self, query: &SearchQuery) -> Result<String, StoreError> {
        let types = self.plain_types()?;
        let has_plain = |t: ResourceTypeId| types.has(self.shared, t);
        Searcher {
            compiler: self.shared.compiler(self.db, &has_plain),
        }
        .explain(query)
    }

    /// The history of a sample is its one version.
    fn history_of_sample(
        &mut self,
        query: &HistoryQuery,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let HistoryScope::Instance(key) = &query.scope else {
            return Ok(None);
        };
        if !self.shared.has_samples() {
            return Ok(None);
        }
        let Some(found) = sample::find(self.db, key)? else {
            return Ok(None);
        };
        let is_wanted = query.since.is_none_or(|since| found.updated >= since)
            && query.until.is_none_or(|until| found.updated <= until)
            && query.after.is_none();
        Ok(Some(HistoryPage {
            total: (query.total != TotalMode::None).then_some(u64::from(is_wanted)),
            versions: Vec::from_iter(is_wanted.then_some(found)),
            next: None,
        }))
    }

    pub(crate) fn history(&mut self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        self.at_one_moment(|reader| {
            if let Some(page) = reader.history_of_sample(query)? {
                return Ok(page);
            }
            let scopes = reader.history_scopes(&query.scope)?;
            let after = query.after.as_ref().map(history_position).transpose()?;
            let wanted = query.limit.saturating_add(1);
            let mut rows = Vec::new();
            let mut total = 0;
            for scope in scopes {
                for is_old in [false, true] {
                    let sql = history_rows(&scope, query, after, is_old, wanted);
                    rows.extend(reader.db.matches(sql)?);
                    if query.total != TotalMode::None {
                        total += reader.db.number(history_count(&scope, query, is_old))?;
                    }
                }
            }
            // Every version has a time of its own.
            match query.order {
                HistoryOrder::NewestFirst => {
                    rows.sort_by_key(|row| std::cmp::Reverse(row.updated));
                }
                HistoryOrder::OldestFirst => rows.sort_by_key(|row| row.updated),
            }
            let has_more = rows.len() > query.limit;
            rows.truncate(query.limit);
            let next = rows
                .last()
                .filter(|_| has_more)
                .map(|row| Cursor(row.updated.to_be_bytes().to_vec()));
            let versions = rows
                .into_iter()
                .map(|row| reader.stored(row))
                .collect::<Result<_, _>>()?;
            let total =
                (query.total != TotalMode::None).then_some(u64::try_from(total).unwrap_or(0));
            Ok(HistoryPage {
                versions,
                next,
                total,
            })
        })
    }

    fn history_scopes(&mut self, scope: &HistoryScope) -> Result<Vec<Scope>, StoreError> {
        let of_type = |t: i64| [Scope::Type(t), Scope::Type(-t)];
        Ok(match scope {
            HistoryScope::Instance(key) => vec![Scope::Instance(self.shared.hasher.resource(key))],
            HistoryScope::Type(t) => of_type(i64::from(t.0) + 1).into(),
            HistoryScope::System => {
                let rows = self.db.rows(Sql::new("SELECT type FROM live"))?;
                let types = rows
                    .iter()
                    .map(|row| row.int(0))
                    .collect::<Result<Vec<_>, _>>()?;
                types.into_iter().flat_map(of_type).collect()
            }
        })
    }

    pub(crate) fn reindex_page(
        &mut self,
        after: Option<Rid>,
        limit: usize,
    ) -> Result<Vec<ReindexRow>, StoreError> {
        let mut sql = Sql::new("SELECT ");
        sql.push(COLUMNS)
            .push(" FROM res r WHERE r.type > 0 AND r.rid > ")
            .int(after.map_or(0, |rid| rid.0));
        sql.push(" ORDER BY r.rid LIMIT ").int(limit as i64);
        let rows = self.db.matches(sql)?;
        rows.into_iter()
            .map(|row| {
                Ok(ReindexRow {
                    rid: Rid(row.rid),
                    stored: self.stored(row)?,
                })
            })
            .collect()
    }

    pub(crate) fn counts(&mut self) -> Result<StoreCounts, StoreError> {
        let mut counts = StoreCounts::default();
        let types = Definitions::r4().resource_types().len();
        for row in self.db.rows(Sql::new(
            "SELECT type, n FROM live WHERE n > 0 ORDER BY type",
        ))? {
            let number = u16::try_from(row.int(0)? - 1)
                .ok()
                .filter(|n| usize::from(*n) < types);
            if let Some(number) = number {
                counts.live.push((
                    ResourceTypeId(number),
                    u64::try_from(row.int(1)?).unwrap_or(0),
                ));
            }
        }
        let engine = self.db.engine();
        let bytes = self.db.number(engine.database_bytes())?;
        counts.database_bytes = u64::try_from(bytes).unwrap_or(0);
        // A SQLite without statistics tells no sizes; the counts are whole all the same.
        for row in self.db.rows(engine.table_bytes()).unwrap_or_default() {
            counts.tables.push((
                row.text(0)?.to_owned(),
                u64::try_from(row.int(1)?).unwrap_or(0),
            ));
        }
        Ok(counts)
    }

    pub(crate) fn integrity_check(&mut self) -> Result<(), StoreError> {
        if self.db.engine() == Engine::Sqlite {
            let rows = self.db.rows(Sql::new("PRAGMA integrity_check(10)"))?;
            let complaint = rows
                .iter()
                .filter_map(|row| row.text(0).ok())
                .find(|text| *text != "ok");
            if let Some(complaint) = complaint {
                return Err(StoreError::Internal(format!(
                    "the database file is damaged: {complaint}"
                )));
            }
        }
        for table in ["post", "ref", "dat", "num", "str", "comp", "sd"] {
            let mut sql = Sql::new("SELECT count(*) FROM ");
            sql.push(table).push(
                " x WHERE NOT EXISTS (SELECT 1 FROM res r WHERE r.rid = x.rid AND r.type > 0)",
            );
            let orphans = self.db.number(sql)?;
            if orphans > 0 {
                return Err(StoreError::Internal(format!(
                    "{orphans} rows of index `{table}` belong to no live resource"
                )));
            }
        }
        Ok(())
    }
}

/// Reads all dictionaries of the database.
pub(crate) fn load_dictionaries(db: &mut Db, shared: &Shared) -> Result<(), StoreError> {
    for row in db.rows(Sql::new("SELECT no, class, bytes FROM dict"))? {
        shared.bodies.add(
            row.int(0)?,
            u8::try_from(row.int(1)?).unwrap_or(0),
            row.bytes(2)?.to_vec(),
        );
    }
    Ok(())
}

/// Part of a history.
pub(crate) enum Scope {
    Instance(i64),
    /// A type's number, negative for deleted versions.
    Type(i64),
}

fn history_position(cursor: &Cursor) -> Result<i64, StoreError> {
    let bytes = cursor.0.as_slice().try_into();
    bytes
        .map(i64::from_be_bytes)
        .map_err(|_| StoreError::Invalid("the cursor is not one of this store".into()))
}

fn history_condition(out: &mut Sql, scope: &Scope, query: &HistoryQuery, is_old: bool) {
    // SQLite joins in the order written: from the resource to its versions, or from a type's versions to their ids.
    out.push(match (is_old, scope) {
        (false, _) => " FROM res v CROSS JOIN res i WHERE i.rid = v.rid",
        (true, Scope::Instance(_)) => " FROM res i CROSS JOIN hist v WHERE v.rid = i.rid",
        (true, Scope::Type(_)) => " FROM hist v CROSS JOIN res i WHERE i.rid = v.rid",
    });
    match scope {
        Scope::Instance(h) => out
            .push(if is_old { " AND i.h = " } else { " AND v.h = " })
            .int(*h),
        Scope::Type(t) => out.push(" AND v.type = ").int(*t),
    };
    if let Some(since) = query.since {
        out.push(" AND v.upd >= ").int(since.0);
    }
    if let Some(until) = query.until {
        out.push(" AND v.upd <= ").int(until.0);
    }
    if let Some((start, end)) = query.at {
        out.push(" AND v.upd < ").int(end.0);
        if is_old {
            // A version is current until the next one is made.
            for table in ["res", "hist"] {
                out.push_owned(format!(
                    " AND NOT EXISTS (SELECT 1 FROM {table} n WHERE n.rid = v.rid AND n.ver = v.ver + 1 AND n.upd <= "
                ))
                .int(start.0)
                .push(")");
            }
        }
    }
}

pub(crate) fn history_rows(
    scope: &Scope,
    query: &HistoryQuery,
    after: Option<i64>,
    is_old: bool,
    wanted: usize,
) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(HISTORY_COLUMNS);
    history_condition(&mut sql, scope, query, is_old);
    let (behind, order) = match query.order {
        HistoryOrder::NewestFirst => (" AND v.upd < ", " ORDER BY v.upd DESC LIMIT "),
        HistoryOrder::OldestFirst => (" AND v.upd > ", " ORDER BY v.upd LIMIT "),
    };
    if let Some(after) = after {
        sql.push(behind).int(after);
    }
    sql.push(order).int(wanted as i64);
    sql
}

fn history_count(scope: &Scope, query: &HistoryQuery, is_old: bool) -> Sql {
    let mut sql = Sql::new("SELECT count(*)");
    history_condition(&mut sql, scope, query, is_old);
    sql
}
