//! The feeds registered while the server runs, and which feeds are paused. What settings mean is not known here.

use fhir_core::ids::Instant;

use crate::audit::AuditRecord;
use crate::error::StoreError;
use crate::sql::{Bind, Sql};
use crate::store::Store;

/// Feeds at most; a hospital has some dozens.
const FEEDS_MAX: usize = 10_000;

/// A feed as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// Its name, unique.
    pub name: String,
    /// Its settings as JSON text; `None` when the settings file has them and only the pause is kept here.
    pub settings: Option<String>,
    /// Whether it takes nothing until resumed.
    pub paused: bool,
    /// When it was stored last; a row to be written gets the time of the write.
    pub changed_at: Instant,
}

impl Store {
    /// All stored feeds, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn feeds(&self) -> Result<Vec<FeedRow>, StoreError> {
        self.on_reader(|reader| {
            let mut sql = Sql::new(
                "SELECT name, settings, paused, changed_at FROM feed ORDER BY name LIMIT ",
            );
            sql.int(i64::try_from(FEEDS_MAX).unwrap_or(i64::MAX));
            let rows = reader.db.rows(sql)?;
            rows.iter()
                .map(|row| {
                    Ok(FeedRow {
                        name: row.text(0)?.to_owned(),
                        settings: row.opt_text(1)?,
                        paused: row.int(2)? != 0,
                        changed_at: Instant(row.int(3)?),
                    })
                })
                .collect()
        })
        .await
    }

    /// Stores a feed, new or changed, with the audit row that tells of it; durable when this answers.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn put_feed(&self, feed: FeedRow, audit: AuditRecord) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let now = Instant(transaction.now);
                let mut sql = Sql::new("INSERT INTO feed (name, settings, paused, changed_at) VALUES (");
                sql.text(feed.name)
                    .push(", ")
                    .bind(Bind::OptText(feed.settings));
                sql.push(", ").int(i64::from(feed.paused));
                sql.push(", ").int(now.0).push(
                    ") ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, paused = excluded.paused, changed_at = excluded.changed_at",
                );
                transaction.db.run(sql)?;
                transaction.write_audit(&audit, None, now)
            })
        })
        .await
    }

    /// Forgets a feed; what it brought stays. Answers whether it was there.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn remove_feed(&self, name: String, audit: AuditRecord) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let mut sql = Sql::new("DELETE FROM feed WHERE name = ");
                sql.text(name);
                let was_there = transaction.db.run(sql)? > 0;
                if was_there {
                    let now = Instant(transaction.now);
                    transaction.write_audit(&audit, None, now)?;
                }
                Ok(was_there)
            })
        })
        .await
    }
}
