//! Writing what follows from the log: events, places, alert states; and the spans of samples inside a commit.

use super::{LiveAlert, LiveEvent, LiveOp, LiveStep, head};
use crate::db::{Db, Engine};
use crate::error::StoreError;
use crate::sql::{Bind, Sql};
use crate::store::Store;
use crate::write::insert;

/// The row of `meta` that says whether commits leave the spans of their samples.
pub(crate) const SPANS_WANTED: &str = "live:samples";

struct EventTable;

impl insert::Into for EventTable {
    const INSERT: &'static str = "INSERT INTO live_event (sub, n, seq, op, type, id, ver)";
}

struct SpanTable;

impl insert::Into for SpanTable {
    const INSERT: &'static str = "INSERT INTO live_span (seq, channel, first_at, last_at)";
}

/// Writes the spans of samples of a commit.
pub(crate) fn insert_spans(db: &mut Db, rows: &[[i64; 4]]) -> Result<(), StoreError> {
    if let Db::Sqlite(connection) = db {
        return insert::insert::<SpanTable, _>(connection, rows);
    }
    let mut sql = Sql::new(<SpanTable as insert::Into>::INSERT);
    sql.push(" SELECT a, b, c, d FROM unnest(");
    columns(&mut sql, rows);
    sql.push(") AS x(a, b, c, d)");
    db.run(sql).map(|_| ())
}

fn columns<const N: usize>(sql: &mut Sql, rows: &[[i64; N]]) {
    for column in 0..N {
        let values = rows.iter().map(|row| row.get(column).copied());
        sql.push(if column == 0 { "" } else { ", " })
            .bind(Bind::Ints(values.collect()))
            .push("::bigint[]");
    }
}

impl Store {
    /// Whether this process may step forward: always on SQLite, which one process has; on PostgreSQL as long as it
    /// renews this before `until`, and nobody else does.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_lease(
        &self,
        holder: String,
        now: i64,
        until: i64,
    ) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let db = &mut *transaction.db;
                let end = head(db)?;
                let mut sql =
                    Sql::new("INSERT INTO live_cursor (name, seq, holder, until) VALUES ('live', ");
                sql.int(end).push(", ").text(holder.clone());
                sql.push(", ")
                    .int(until)
                    .push(") ON CONFLICT (name) DO NOTHING");
                db.run(sql)?;
                let mut sql = Sql::new("UPDATE live_cursor SET holder = ");
                sql.text(holder.clone()).push(", until = ").int(until);
                sql.push(" WHERE name = 'live'");
                if db.engine() == Engine::Postgres {
                    sql.push(" AND (holder = ").text(holder.clone());
                    sql.push(" OR until < ").int(now).push(")");
                }
                Ok(db.run(sql)? == 1)
            })
        })
        .await
    }

    /// Steps forward. Answers whether it did: not when somebody else stepped since.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn live_step(&self, step: LiveStep) -> Result<bool, StoreError> {
        self.on_writer(move |group| group.within(|transaction| take(transaction.db, &step)))
            .await
    }

    /// Notes how far subscriptions were told.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn live_delivered(&self, told: Vec<(i64, i64)>) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                for (no, number) in &told {
                    let mut sql = Sql::new("UPDATE live_sub SET delivered = ");
                    sql.int(*number).push(" WHERE no = ").int(*no);
                    sql.push(" AND delivered < ").int(*number);
                    transaction.db.run(sql)?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Says whether commits of samples leave their spans from now on.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn live_want_samples(&self, wanted: bool) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                crate::write::set_meta(transaction.db, SPANS_WANTED, i64::from(wanted))
            })
        })
        .await
    }

    /// Keeps an alert rule, or forgets it (`None`), with the audit row that tells of it. Answers whether one of the name
    /// was there.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn live_put_rule(
        &self,
        name: String,
        settings: Option<String>,
        audit: crate::audit::AuditRecord,
    ) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let now = fhir_core::ids::Instant(transaction.now);
                let mut sql = Sql::new("DELETE FROM live_rule WHERE name = ");
                sql.text(name.clone());
                let was_there = transaction.db.run(sql)? > 0;
                let is_put = settings.is_some();
                if let Some(settings) = settings {
                    let mut sql =
                        Sql::new("INSERT INTO live_rule (name, settings, changed_at) VALUES (");
                    sql.text(name).push(", ").text(settings);
                    sql.push(", ").int(now.0).push(")");
                    transaction.db.run(sql)?;
                }
                if was_there || is_put {
                    transaction.write_audit(&audit, None, now)?;
                }
                Ok(was_there)
            })
        })
        .await
    }

    /// Forgets events of before a time, all but the last `kept` of a subscription, and where samples were that are older
    /// than `spans_before`.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn live_trim(
        &self,
        before: i64,
        kept: i64,
        spans_before: i64,
    ) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let db = &mut *transaction.db;
                // What was not read yet stays, however old.
                let mut sql = Sql::new("DELETE FROM live_span WHERE seq < ");
                sql.int(spans_before);
                sql.push(" AND seq <= (SELECT seq FROM live_cursor WHERE name = 'live')");
                db.run(sql)?;
                let mut sql = Sql::new("DELETE FROM live_event WHERE seq < ");
                sql.int(before);
                db.run(sql)?;
                let mut sql = Sql::new("SELECT no, events FROM live_sub WHERE events > ");
                sql.int(kept);
                for row in db.rows(sql)? {
                    let mut sql = Sql::new("DELETE FROM live_event WHERE sub = ");
                    sql.int(row.int(0)?);
                    sql.push(" AND n <= ").int(row.int(1)? - kept);
                    db.run(sql)?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn take(db: &mut Db, step: &LiveStep) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE live_cursor SET seq = ");
    sql.int(step.to).push(" WHERE name = 'live' AND seq = ");
    sql.int(step.from)
        .push(" AND holder = ")
        .text(step.holder.clone());
    if db.run(sql)? != 1 {
        return Ok(false);
    }
    for no in &step.ended {
        for table in ["live_event WHERE sub = ", "live_sub WHERE no = "] {
            let mut sql = Sql::new("DELETE FROM ");
            sql.push(table).int(*no);
            db.run(sql)?;
        }
    }
    for sub in &step.started {
        let mut sql = Sql::new("INSERT INTO live_sub (no, id, events, delivered) VALUES (");
        sql.int(sub.no).push(", ").text(sub.id.clone());
        sql.push(", ").int(sub.events).push(", ").int(sub.delivered);
        sql.push(") ON CONFLICT (id) DO NOTHING");
        db.run(sql)?;
    }
    insert_events(db, &step.events)?;
    count(db, &step.events)?;
    for alert in &step.alerts {
        write_alert(db, alert)?;
    }
    Ok(true)
}

fn op(event: &LiveEvent) -> i64 {
    match event.op {
        LiveOp::Created => 0,
        LiveOp::Updated => 1,
        LiveOp::Deleted => 2,
    }
}

fn insert_events(db: &mut Db, events: &[LiveEvent]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let type_of = |event: &LiveEvent| i64::from(event.key.resource_type.0) + 1;
    if let Db::Sqlite(connection) = db {
        let rows: Vec<[Bind; 7]> = events
            .iter()
            .map(|event| {
                [
                    Bind::Int(event.sub),
                    Bind::Int(event.number),
                    Bind::Int(event.seq),
                    Bind::Int(op(event)),
                    Bind::Int(type_of(event)),
                    Bind::Text(event.key.id.as_str().to_owned()),
                    Bind::Int(event.version.0),
                ]
            })
            .collect();
        return insert::insert::<EventTable, _>(connection, &rows);
    }
    let numbers: Vec<[i64; 6]> = events
        .iter()
        .map(|event| {
            [
                event.sub,
                event.number,
                event.seq,
                op(event),
                type_of(event),
                event.version.0,
            ]
        })
        .collect();
    let ids = events
        .iter()
        .map(|event| Some(event.key.id.as_str().as_bytes().to_vec()));
    let mut sql = Sql::new(<EventTable as insert::Into>::INSERT);
    sql.push(" SELECT a, b, c, d, e, convert_from(g, 'UTF8'), f FROM unnest(");
    columns(&mut sql, &numbers);
    sql.push(", ")
        .bind(Bind::Blobs(ids.collect()))
        .push("::bytea[]) AS x(a, b, c, d, e, f, g)");
    db.run(sql).map(|_| ())
}

/// The subscriptions' counts after these events.
fn count(db: &mut Db, events: &[LiveEvent]) -> Result<(), StoreError> {
    let mut last = std::collections::BTreeMap::new();
    for event in events {
        last.insert(event.sub, event.number);
    }
    if db.engine() == Engine::Postgres {
        if last.is_empty() {
            return Ok(());
        }
        let rows: Vec<[i64; 2]> = last.into_iter().map(|(no, n)| [no, n]).collect();
        let mut sql = Sql::new("UPDATE live_sub SET events = x.n FROM unnest(");
        columns(&mut sql, &rows);
        sql.push(") AS x(no, n) WHERE live_sub.no = x.no");
        return db.run(sql).map(|_| ());
    }
    for (no, number) in last {
        let mut sql = Sql::new("UPDATE live_sub SET events = ");
        sql.int(number).push(" WHERE no = ").int(no);
        db.run(sql)?;
    }
    Ok(())
}

fn write_alert(db: &mut Db, alert: &LiveAlert) -> Result<(), StoreError> {
    let mut sql =
        Sql::new("INSERT INTO live_alert (rule, subject, phase, since, last, made) VALUES (");
    sql.text(alert.rule.clone())
        .push(", ")
        .text(alert.subject.clone());
    sql.push(", ").int(alert.phase).push(", ");
    sql.bind(Bind::OptInt(alert.since)).push(", ");
    sql.bind(Bind::OptInt(alert.last)).push(", ");
    sql.bind(Bind::OptText(alert.made.clone())).push(
        ") ON CONFLICT (rule, subject) DO UPDATE SET phase = excluded.phase, since = excluded.since, last = excluded.last, made = excluded.made",
    );
    db.run(sql).map(|_| ())
}
