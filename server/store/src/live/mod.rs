//! The log of changes as subscribers and alerts read it, the events made from it, and how far each was told.
//!
//! The log is the versions themselves, in the order of their times: the writer gives every change a later one than all
//! before, so nothing is written twice and nothing can be missing. What follows from it (events, the place reached, the
//! alerts' states) is written in one transaction that holds only if nobody else moved the place. Samples of dense series
//! have no row each in that order; a commit leaves the span it brought in `live_span` while somebody wants it.
//!
//! Left out: what subscriptions mean, which is in the server.

mod changes;
mod write;

use fhir_core::ids::{Instant, ResourceKey, VersionId};

use crate::api::Stored;
use crate::db::Db;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

pub(crate) use write::{SPANS_WANTED, insert_spans};

/// Subscriptions listed at most.
const SUBSCRIPTIONS_MAX: i64 = 100_000;
/// Alert states read at start at most: rules times patients.
const ALERTS_MAX: i64 = 5_000_000;

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePage {
    /// The versions in the order they were made.
    pub changes: Vec<Stored>,
    /// The log was read up to here, this included.
    pub upto: i64,
    /// Whether there was more already.
    pub has_more: bool,
}

/// Alert rules added while running at most.
const RULES_MAX: i64 = 10_000;

/// What happened to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiveOp {
    /// It is new, or lives again.
    Created,
    /// It has a new version.
    Updated,
    /// It was deleted.
    Deleted,
}

/// One event of one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// Number of the subscription.
    pub sub: i64,
    /// The event's number within it, from 1 without gaps.
    pub number: i64,
    /// The change's place in the log: its time in microseconds.
    pub seq: i64,
    /// What happened.
    pub op: LiveOp,
    /// To which resource.
    pub key: ResourceKey,
    /// Which version that made.
    pub version: VersionId,
}

/// A subscription that counts events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSub {
    /// Its number: its place in the log.
    pub no: i64,
    /// The logical id of its resource.
    pub id: String,
    /// Events made so far.
    pub events: i64,
    /// Events delivered so far.
    pub delivered: i64,
}

/// Where an alert rule stands for a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAlert {
    /// Name of the rule.
    pub rule: String,
    /// Reference of the subject.
    pub subject: String,
    /// 0 clear, 1 pending, 2 raised.
    pub phase: i64,
    /// When it began to be pending.
    pub since: Option<i64>,
    /// Time of the last value that counted.
    pub last: Option<i64>,
    /// What was made when it was raised, `Flag/…`.
    pub made: Option<String>,
}

/// One step forward in the log, with all that follows from it.
#[derive(Debug, Clone, Default)]
pub struct LiveStep {
    /// Who steps.
    pub holder: String,
    /// The place stepped from, as stored.
    pub from: i64,
    /// The place reached.
    pub to: i64,
    /// Subscriptions that count from now on.
    pub started: Vec<LiveSub>,
    /// Subscriptions that are gone, by number.
    pub ended: Vec<i64>,
    /// Events made.
    pub events: Vec<LiveEvent>,
    /// Alert states that changed.
    pub alerts: Vec<LiveAlert>,
}

impl Store {
    /// The log behind `after`: versions of these types (`None`: of all), at most about `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_changes(
        &self,
        types: Option<Vec<conformance::ResourceTypeId>>,
        after: i64,
        limit: usize,
    ) -> Result<LivePage, StoreError> {
        self.on_reader(move |reader| {
            reader.at_one_moment(|reader| reader.live_changes(types.as_deref(), after, limit))
        })
        .await
    }

    /// The end of the log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_head(&self) -> Result<i64, StoreError> {
        self.on_reader(|reader| head(reader.db)).await
    }

    /// The place reached in the log, as stored; the end of the log when nothing was stored yet.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_cursor(&self) -> Result<i64, StoreError> {
        self.on_reader(|reader| {
            reader.at_one_moment(|reader| {
                let row = reader
                    .db
                    .row(Sql::new("SELECT seq FROM live_cursor WHERE name = 'live'"))?;
                match row {
                    Some(row) => row.int(0),
                    None => head(reader.db),
                }
            })
        })
        .await
    }

    /// The subscriptions that count.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_subs(&self) -> Result<Vec<LiveSub>, StoreError> {
        self.on_reader(|reader| {
            let mut sql =
                Sql::new("SELECT no, id, events, delivered FROM live_sub ORDER BY no LIMIT ");
            sql.int(SUBSCRIPTIONS_MAX);
            let rows = reader.db.rows(sql)?;
            rows.iter().map(sub).collect()
        })
        .await
    }

    /// The counts of one subscription, by the logical id of its resource; `None` before it was ever active.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_sub(&self, id: String) -> Result<Option<LiveSub>, StoreError> {
        self.on_reader(move |reader| {
            let mut sql = Sql::new("SELECT no, id, events, delivered FROM live_sub WHERE id = ");
            sql.text(id);
            reader.db.row(sql)?.as_ref().map(sub).transpose()
        })
        .await
    }

    /// Events of all subscriptions behind a place in the log, in the order of the log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_events_after(
        &self,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<LiveEvent>, StoreError> {
        self.on_reader(move |reader| {
            let mut sql = Sql::new(EVENT);
            sql.push(" WHERE seq > ").int(seq);
            sql.push(" ORDER BY seq, sub LIMIT ")
                .int(i64::try_from(limit).unwrap_or(i64::MAX));
            let mut found = events(reader.db, sql)?;
            // A change is told to all its subscribers or to none yet.
            if found.len() == limit {
                let last = found.last().map_or(seq, |event| event.seq);
                found.retain(|event| event.seq < last);
                let mut sql = Sql::new(EVENT);
                sql.push(" WHERE seq = ").int(last).push(" ORDER BY sub");
                found.extend(events(reader.db, sql)?);
            }
            Ok(found)
        })
        .await
    }

    /// Events of one subscription from one number to another, both included.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_events_of(
        &self,
        sub: i64,
        from: i64,
        to: i64,
        limit: usize,
    ) -> Result<Vec<LiveEvent>, StoreError> {
        self.on_reader(move |reader| {
            let mut sql = Sql::new(EVENT);
            sql.push(" WHERE sub = ").int(sub);
            sql.push(" AND n >= ").int(from).push(" AND n <= ").int(to);
            sql.push(" ORDER BY n LIMIT ")
                .int(i64::try_from(limit).unwrap_or(i64::MAX));
            events(reader.db, sql)
        })
        .await
    }

    /// Alert rules added while running: name and settings as JSON text, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_rules(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.on_reader(|reader| {
            let mut sql = Sql::new("SELECT name, settings FROM live_rule ORDER BY name LIMIT ");
            sql.int(RULES_MAX);
            let rows = reader.db.rows(sql)?;
            rows.iter()
                .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
                .collect()
        })
        .await
    }

    /// The states of all alerts.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_alerts(&self) -> Result<Vec<LiveAlert>, StoreError> {
        self.on_reader(|reader| {
            let mut sql = Sql::new(
                "SELECT rule, subject, phase, since, last, made FROM live_alert ORDER BY rule, subject LIMIT ",
            );
            sql.int(ALERTS_MAX);
            let rows = reader.db.rows(sql)?;
            rows.iter()
                .map(|row| {
                    Ok(LiveAlert {
                        rule: row.text(0)?.to_owned(),
                        subject: row.text(1)?.to_owned(),
                        phase: row.int(2)?,
                        since: row.opt_int(3)?,
                        last: row.opt_int(4)?,
                        made: row.opt_text(5)?,
                    })
                })
                .collect()
        })
        .await
    }
}

fn sub(row: &crate::db::Row) -> Result<LiveSub, StoreError> {
    Ok(LiveSub {
        no: row.int(0)?,
        id: row.text(1)?.to_owned(),
        events: row.int(2)?,
        delivered: row.int(3)?,
    })
}

const EVENT: &str = "SELECT sub, n, seq, op, type, id, ver FROM live_event";

fn events(db: &mut Db, sql: Sql) -> Result<Vec<LiveEvent>, StoreError> {
    let damaged = || StoreError::Internal("an event names no resource".into());
    let rows = db.rows(sql)?;
    rows.iter()
        .map(|row| {
            Ok(LiveEvent {
                sub: row.int(0)?,
                number: row.int(1)?,
                seq: row.int(2)?,
                op: match row.int(3)? {
                    0 => LiveOp::Created,
                    1 => LiveOp::Updated,
                    _ => LiveOp::Deleted,
                },
                key: crate::log::key(row.int(4)?, row.text(5)?).ok_or_else(damaged)?,
                version: VersionId(row.int(6)?),
            })
        })
        .collect()
}

/// The time of the last change.
fn head(db: &mut Db) -> Result<i64, StoreError> {
    let row = db.row(Sql::new("SELECT num FROM meta WHERE name = 'updated'"))?;
    row.map_or(Ok(0), |row| row.int(0))
}

impl LiveEvent {
    /// When the change was made.
    pub fn at(&self) -> Instant {
        Instant(self.seq)
    }
}
