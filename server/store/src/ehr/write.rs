//! Writing what is kept of EHR tenants; pages inside the transaction of their commit.

use std::collections::HashMap;

use fhir_core::ids::Instant;
use sha2::{Digest, Sha256};

use super::read::in_keys;
use super::{EhrKey, EhrPage, EhrRecord, EhrReview, EhrRun};
use crate::db::Db;
use crate::error::{CommitError, StoreError};
use crate::sql::{Bind, Sql};

/// Keys named by one statement.
const KEYS_MAX: usize = 512;
/// Rows of one statement, largest first, so that few statements differ.
const ROWS: [usize; 3] = [64, 8, 1];
/// Level for raw pages: thousands come in an hour.
const RAW_LEVEL: i32 = 3;
/// Runs kept of a tenant: a year of one every hour.
const RUNS_MAX: i64 = 9_000;

/// A page with its raw bytes packed.
pub(crate) struct PreparedPage {
    page: EhrPage,
    raw: Option<([u8; 32], Vec<u8>)>,
    /// The records, each once: the last word about it counts.
    records: Vec<EhrRecord>,
}

impl PreparedPage {
    /// Packs the page, on the caller's thread.
    pub(crate) fn new(mut page: EhrPage) -> Result<Self, StoreError> {
        let raw = if page.raw.is_empty() {
            None
        } else {
            let packed = zstd::bulk::compress(&page.raw, RAW_LEVEL)
                .map_err(|_| StoreError::Internal("a page cannot be packed".into()))?;
            Some((Sha256::digest(&page.raw).into(), packed))
        };
        let mut records: Vec<EhrRecord> = Vec::with_capacity(page.records.len());
        let mut places = HashMap::new();
        for record in std::mem::take(&mut page.records) {
            match places
                .get(&record.key)
                .and_then(|at: &usize| records.get_mut(*at))
            {
                Some(earlier) => *earlier = record,
                None => {
                    places.insert(record.key, records.len());
                    records.push(record);
                }
            }
        }
        for keys in [&mut page.seen, &mut page.missed, &mut page.gone] {
            keys.sort_unstable();
            keys.dedup();
        }
        page.reviews.sort_by_key(|review| review.key);
        page.reviews.dedup_by_key(|review| review.key);
        Ok(Self { page, raw, records })
    }
}

/// Whether the walk stands where the page was prepared.
///
/// # Errors
/// [`CommitError::WalkMoved`]
pub(crate) fn check(db: &mut Db, prepared: &PreparedPage) -> Result<(), CommitError> {
    let walk = &prepared.page.walk;
    let mut sql = Sql::new("SELECT revision FROM ehr_walk WHERE k = ");
    sql.bytes(walk.key.0);
    let stored = db.row(sql)?.map_or(Ok(0), |row| row.int(0))?;
    if walk.revision == stored + 1 {
        Ok(())
    } else {
        Err(CommitError::WalkMoved)
    }
}

/// Writes a page.
pub(crate) fn apply(db: &mut Db, prepared: &PreparedPage, at: Instant) -> Result<(), StoreError> {
    let PreparedPage { page, raw, records } = prepared;
    put_walk(db, page)?;
    if let Some((hash, packed)) = raw {
        let mut sql = Sql::new("INSERT INTO raw (hash, size, at, zstd) VALUES (");
        sql.bytes(hash.as_slice())
            .push(", ")
            .int(page.raw.len() as i64)
            .push(", ")
            .int(at.0)
            .push(", ")
            .bytes(packed.clone())
            .push(") ON CONFLICT (hash) DO NOTHING");
        db.run(sql)?;
    }
    let hash = raw.as_ref().map(|(hash, _)| hash.to_vec());
    put_records(db, records, hash.as_ref())?;
    for (old, new) in &page.replaced {
        let mut sql = Sql::new("UPDATE ehr_record SET replaced_by = ");
        sql.bytes(new.0).push(" WHERE k = ").bytes(old.0);
        db.run(sql)?;
    }
    leave(db, page)?;
    put_members(db, page)?;
    for keys in page.missed.chunks(KEYS_MAX) {
        let mut sql = Sql::new("UPDATE ehr_member SET missed = missed + 1 WHERE walk = ");
        sql.bytes(page.walk.key.0).push(" AND record");
        in_keys(&mut sql, keys);
        db.run(sql)?;
    }
    put_page(db, page, hash, at)?;
    page.reviews
        .iter()
        .try_for_each(|review| put_review(db, review, at))
}

/// `VALUES (…), (…)` for some rows.
fn values(sql: &mut Sql, rows: &[Vec<Bind>]) {
    for (number, row) in rows.iter().enumerate() {
        sql.push(if number == 0 { " VALUES " } else { ", " });
        for (index, value) in row.iter().enumerate() {
            sql.push(if index == 0 { "(" } else { ", " })
                .bind(value.clone());
        }
        sql.push(")");
    }
}

/// Inserts rows with as few statements as their sizes allow.
fn insert(
    db: &mut Db,
    into: &'static str,
    mut rows: &[Vec<Bind>],
    conflict: &'static str,
) -> Result<(), StoreError> {
    for size in ROWS {
        while rows.len() >= size {
            let (some, rest) = rows.split_at(size);
            let mut sql = Sql::new(into);
            values(&mut sql, some);
            sql.push(conflict);
            db.run(sql)?;
            rows = rest;
        }
    }
    Ok(())
}

fn put_walk(db: &mut Db, page: &EhrPage) -> Result<(), StoreError> {
    let walk = &page.walk;
    let row = vec![
        Bind::Bytes(walk.key.0.to_vec()),
        text(&walk.tenant),
        text(&walk.persona),
        text(&walk.subject),
        text(&walk.resource_type),
        Bind::OptText(walk.category.as_deref().map(plain)),
        Bind::Int(walk.revision),
        text(&walk.state),
    ];
    insert(
        db,
        "INSERT INTO ehr_walk (k, tenant, persona, subject, type, category, revision, state)",
        &[row],
        " ON CONFLICT (k) DO UPDATE SET revision = excluded.revision, state = excluded.state",
    )
}

fn put_records(
    db: &mut Db,
    records: &[EhrRecord],
    page: Option<&Vec<u8>>,
) -> Result<(), StoreError> {
    let place = |at: usize| Bind::Int(i64::try_from(at).unwrap_or(0));
    let row = |record: &EhrRecord| {
        vec![
            Bind::Bytes(record.key.0.to_vec()),
            text(&record.tenant),
            text(&record.persona),
            text(&record.resource_type),
            text(&record.source),
            text(&record.local),
            text(&record.hash),
            Bind::OptInt(record.updated.map(|at| at.0)),
            Bind::OptText(record.version.as_deref().map(plain)),
            text(&record.rules),
            Bind::Int(i64::from(record.masked)),
            Bind::Int(i64::from(record.deleted)),
            Bind::OptBytes(record.replaced_by.map(|key| key.0.to_vec())),
            Bind::OptBytes(page.cloned()),
            place(record.raw_at.start),
            place(record.raw_at.end),
        ]
    };
    let rows: Vec<Vec<Bind>> = records.iter().map(row).collect();
    insert(
        db,
        "INSERT INTO ehr_record (k, tenant, persona, type, source, local, hash, updated, version, rules, masked, deleted, replaced_by, page, start, stop)",
        &rows,
        " ON CONFLICT (k) DO UPDATE SET local = excluded.local, hash = excluded.hash, updated = excluded.updated, version = excluded.version, rules = excluded.rules, masked = excluded.masked, deleted = excluded.deleted, replaced_by = excluded.replaced_by, page = COALESCE(excluded.page, ehr_record.page), start = CASE WHEN excluded.page IS NULL THEN ehr_record.start ELSE excluded.start END, stop = CASE WHEN excluded.page IS NULL THEN ehr_record.stop ELSE excluded.stop END",
    )
}

/// Takes records out of walks: those that are gone out of all, those seen here out of every other subject's.
fn leave(db: &mut Db, page: &EhrPage) -> Result<(), StoreError> {
    for keys in page.gone.chunks(KEYS_MAX) {
        let mut sql = Sql::new("DELETE FROM ehr_member WHERE record");
        in_keys(&mut sql, keys);
        db.run(sql)?;
    }
    for keys in page.seen.chunks(KEYS_MAX) {
        let mut sql = Sql::new("DELETE FROM ehr_member WHERE record");
        in_keys(&mut sql, keys);
        sql.push(" AND walk <> ").bytes(page.walk.key.0);
        sql.push(" AND walk NOT IN (SELECT k FROM ehr_walk WHERE tenant = ")
            .text(plain(&page.walk.tenant))
            .push(" AND subject = ")
            .text(plain(&page.walk.subject))
            .push(")");
        db.run(sql)?;
    }
    Ok(())
}

fn put_members(db: &mut Db, page: &EhrPage) -> Result<(), StoreError> {
    let row = |key: &EhrKey| {
        vec![
            Bind::Bytes(key.0.to_vec()),
            Bind::Bytes(page.walk.key.0.to_vec()),
            Bind::Int(page.sweep),
            Bind::Int(0),
        ]
    };
    let rows: Vec<Vec<Bind>> = page.seen.iter().map(row).collect();
    insert(
        db,
        "INSERT INTO ehr_member (record, walk, seen_in, missed)",
        &rows,
        " ON CONFLICT (record, walk) DO UPDATE SET seen_in = excluded.seen_in, missed = 0",
    )
}

fn put_page(
    db: &mut Db,
    page: &EhrPage,
    hash: Option<Vec<u8>>,
    at: Instant,
) -> Result<(), StoreError> {
    let mut row = vec![
        Bind::Bytes(page.walk.key.0.to_vec()),
        Bind::Int(page.walk.revision),
        text(&page.walk.tenant),
        Bind::Int(at.0),
        Bind::OptBytes(hash),
    ];
    row.extend(page.counts.columns().map(Bind::Int));
    insert(
        db,
        "INSERT INTO ehr_page (walk, revision, tenant, at, raw, received, new, changed, unchanged, stale, masked, rejected, vanished, tombstoned, withheld, late_filed)",
        &[row],
        "",
    )
}

fn put_review(db: &mut Db, review: &EhrReview, at: Instant) -> Result<(), StoreError> {
    let row = vec![
        Bind::Bytes(review.key.0.to_vec()),
        text(&review.tenant),
        text(&review.kind),
        text(&review.resource),
        text(&review.detail),
        Bind::Int(at.0),
    ];
    insert(
        db,
        "INSERT INTO ehr_review (k, tenant, kind, resource, detail, at)",
        &[row],
        " ON CONFLICT (k) DO UPDATE SET detail = excluded.detail, at = excluded.at",
    )
}

/// Takes a question off the list; answers whether it was there.
pub(crate) fn delete_review(db: &mut Db, key: EhrKey) -> Result<bool, StoreError> {
    let mut sql = Sql::new("DELETE FROM ehr_review WHERE k = ");
    sql.bytes(key.0);
    Ok(db.run(sql)? > 0)
}

/// Registers a tenant, or replaces its file.
pub(crate) fn put_tenant(
    db: &mut Db,
    name: &str,
    toml: &str,
    at: Instant,
) -> Result<(), StoreError> {
    insert(
        db,
        "INSERT INTO ehr_tenant (name, toml, at)",
        &[vec![text(name), text(toml), Bind::Int(at.0)]],
        " ON CONFLICT (name) DO UPDATE SET toml = excluded.toml, at = excluded.at",
    )
}

/// Forgets a registered tenant; what it brought stays. Answers whether it was there.
pub(crate) fn delete_tenant(db: &mut Db, name: &str) -> Result<bool, StoreError> {
    let mut sql = Sql::new("DELETE FROM ehr_tenant WHERE name = ");
    sql.text(plain(name));
    Ok(db.run(sql)? > 0)
}

/// Records a run that ended, and forgets the oldest ones.
pub(crate) fn add_run(db: &mut Db, run: &EhrRun) -> Result<(), StoreError> {
    let id = db.number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM ehr_run"))?;
    insert(
        db,
        "INSERT INTO ehr_run (id, tenant, started, ended, outcome, report)",
        &[vec![
            Bind::Int(id),
            text(&run.tenant),
            Bind::Int(run.started.0),
            Bind::Int(run.ended.0),
            text(&run.outcome),
            text(&run.report),
        ]],
        "",
    )?;
    let mut sql = Sql::new("DELETE FROM ehr_run WHERE tenant = ");
    sql.text(plain(&run.tenant))
        .push(" AND id <= (SELECT id FROM ehr_run WHERE tenant = ");
    sql.text(plain(&run.tenant))
        .push(" ORDER BY id DESC LIMIT 1 OFFSET ")
        .int(RUNS_MAX)
        .push(")");
    db.run(sql).map(|_| ())
}

/// Keeps something for a tenant under a name; empty bytes take it away.
pub(crate) fn put_note(
    db: &mut Db,
    tenant: &str,
    name: &str,
    bytes: &[u8],
    at: Instant,
) -> Result<(), StoreError> {
    if bytes.is_empty() {
        let mut sql = Sql::new("DELETE FROM ehr_note WHERE tenant = ");
        sql.text(plain(tenant))
            .push(" AND name = ")
            .text(plain(name));
        return db.run(sql).map(|_| ());
    }
    insert(
        db,
        "INSERT INTO ehr_note (tenant, name, at, bytes)",
        &[vec![
            text(tenant),
            text(name),
            Bind::Int(at.0),
            Bind::Bytes(bytes.to_vec()),
        ]],
        " ON CONFLICT (tenant, name) DO UPDATE SET at = excluded.at, bytes = excluded.bytes",
    )
}

fn text(text: &str) -> Bind {
    Bind::Text(plain(text))
}

/// Text without NUL, which PostgreSQL cannot hold.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
