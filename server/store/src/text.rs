//! The index of words: filled from what changed since it was last filled, when somebody searches by words.
//!
//! Writing a resource does not touch it, so that a server nobody asks for words pays nothing.

use conformance::ResourceTypeId;
use fhir_core::ids::Instant;

use crate::api::{ReindexRow, Rid};
use crate::db::Db;
use crate::error::StoreError;
use crate::read::Reader;
use crate::search::COLUMNS;
use crate::sql::Sql;
use crate::store::Store;

/// The words of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWords {
    /// Its number.
    pub rid: Rid,
    /// Words of the narrative and of everything, separated by spaces; `None` when the resource is deleted.
    pub words: Option<(String, String)>,
}

impl Store {
    /// Resources of a type, also deleted ones, that changed since their words were last read; oldest change first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn text_backlog(
        &self,
        resource_type: ResourceTypeId,
        limit: usize,
    ) -> Result<Vec<ReindexRow>, StoreError> {
        self.on_reader(move |reader| reader.text_backlog(resource_type, limit))
            .await
    }

    /// Replaces the words of resources and notes that everything up to `until` has been read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_words(
        &self,
        resource_type: ResourceTypeId,
        rows: Vec<TextWords>,
        until: Instant,
    ) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                for row in &rows {
                    put(transaction.db, row)?;
                }
                mark(transaction.db, resource_type, until)
            })
        })
        .await
    }
}

fn number(resource_type: ResourceTypeId) -> i64 {
    i64::from(resource_type.0) + 1
}

impl Reader<'_> {
    fn text_backlog(
        &mut self,
        resource_type: ResourceTypeId,
        limit: usize,
    ) -> Result<Vec<ReindexRow>, StoreError> {
        let t = number(resource_type);
        let mut sql = Sql::new("SELECT upd FROM text_mark WHERE type = ");
        sql.int(t);
        let mark = match self.db.row(sql)? {
            Some(row) => row.int(0)?,
            None => i64::MIN,
        };
        let mut rows = Vec::new();
        for t in [t, -t] {
            let mut sql = Sql::new("SELECT ");
            sql.push(COLUMNS).push(" FROM res r WHERE r.type = ").int(t);
            sql.push(" AND r.upd > ").int(mark);
            sql.push(" ORDER BY r.upd LIMIT ").int(limit as i64);
            for row in self.db.matches(sql)? {
                rows.push(ReindexRow {
                    rid: Rid(row.rid),
                    stored: self.stored(row)?,
                });
            }
        }
        rows.sort_by_key(|row| row.stored.updated);
        rows.truncate(limit);
        Ok(rows)
    }
}

fn put(db: &mut Db, row: &TextWords) -> Result<(), StoreError> {
    let engine = db.engine();
    let mut gone = Sql::new("DELETE FROM text_words WHERE ");
    gone.push(engine.words_owner()).push(" = ").int(row.rid.0);
    db.run(gone)?;
    let Some((narrative, content)) = &row.words else {
        return Ok(());
    };
    let mut sql = Sql::new("INSERT INTO text_words (");
    sql.push(engine.words_owner())
        .push(", narrative, content) VALUES (")
        .int(row.rid.0);
    for text in [narrative, content] {
        sql.push(", ");
        engine.words_value(&mut sql, text);
    }
    sql.push(")");
    db.run(sql).map(|_| ())
}

fn mark(db: &mut Db, resource_type: ResourceTypeId, until: Instant) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO text_mark (type, upd) VALUES (");
    sql.int(number(resource_type)).push(", ").int(until.0);
    sql.push(") ON CONFLICT (type) DO UPDATE SET upd = excluded.upd");
    db.run(sql).map(|_| ())
}
