//! Reading what is kept of EHR tenants.

use bytes::Bytes;
use fhir_core::ids::Instant;

use super::{EhrCounts, EhrKey, EhrMember, EhrRecord, EhrReview, EhrRun, EhrTenant, EhrWalk};
use crate::db::{Db, Row};
use crate::error::StoreError;
use crate::sql::Sql;

/// Keys asked for by one statement.
const KEYS_MAX: usize = 512;
/// Rows of one list at most.
const ROWS_MAX: usize = 10_000;

const WALK: &str =
    "SELECT k, tenant, persona, subject, type, category, revision, state FROM ehr_walk WHERE ";
const RECORD: &str = "SELECT k, tenant, persona, type, source, local, hash, updated, version, rules, masked, deleted, replaced_by, start, stop FROM ehr_record WHERE k";

const OUTDATED: &str = "SELECT k, tenant, persona, type, source, local, hash, updated, version, rules, masked, deleted, replaced_by, start, stop, page FROM ehr_record WHERE ";

/// `IN (…)` for keys, filled up to a power of two so that few statements differ.
pub(super) fn in_keys(sql: &mut Sql, keys: &[EhrKey]) {
    let Some(last) = keys.last() else {
        sql.push(" IN (NULL)");
        return;
    };
    sql.push(" IN (");
    for index in 0..keys.len().next_power_of_two() {
        sql.push(if index == 0 { "" } else { ", " });
        sql.bytes(keys.get(index).unwrap_or(last).0);
    }
    sql.push(")");
}

fn key(bytes: &[u8]) -> Result<EhrKey, StoreError> {
    let damaged = |_| StoreError::Internal("a key of an EHR row has another length".into());
    bytes.try_into().map(EhrKey).map_err(damaged)
}

fn walk_of(row: &Row) -> Result<EhrWalk, StoreError> {
    Ok(EhrWalk {
        key: key(row.bytes(0)?)?,
        tenant: row.text(1)?.to_owned(),
        persona: row.text(2)?.to_owned(),
        subject: row.text(3)?.to_owned(),
        resource_type: row.text(4)?.to_owned(),
        category: row.opt_text(5)?,
        revision: row.int(6)?,
        state: row.text(7)?.to_owned(),
    })
}

/// One walk.
pub(crate) fn walk(db: &mut Db, key: EhrKey) -> Result<Option<EhrWalk>, StoreError> {
    let mut sql = Sql::new(WALK);
    sql.push("k = ").bytes(key.0);
    db.row(sql)?.as_ref().map(walk_of).transpose()
}

/// All walks of a tenant, or of one patient of it.
pub(crate) fn walks(
    db: &mut Db,
    tenant: &str,
    subject: Option<&str>,
) -> Result<Vec<EhrWalk>, StoreError> {
    let mut sql = Sql::new(WALK);
    sql.push("tenant = ").text(tenant);
    if let Some(subject) = subject {
        sql.push(" AND subject = ").text(subject);
    }
    db.rows(sql)?.iter().map(walk_of).collect()
}

fn record_of(row: &Row) -> Result<EhrRecord, StoreError> {
    let replaced_by = row.bytes(12)?;
    let place = |column| Ok::<_, StoreError>(usize::try_from(row.int(column)?).unwrap_or(0));
    Ok(EhrRecord {
        key: key(row.bytes(0)?)?,
        tenant: row.text(1)?.to_owned(),
        persona: row.text(2)?.to_owned(),
        resource_type: row.text(3)?.to_owned(),
        source: row.text(4)?.to_owned(),
        local: row.text(5)?.to_owned(),
        hash: row.text(6)?.to_owned(),
        updated: row.opt_int(7)?.map(Instant),
        version: row.opt_text(8)?,
        rules: row.text(9)?.to_owned(),
        masked: row.int(10)? != 0,
        deleted: row.int(11)? != 0,
        replaced_by: (!replaced_by.is_empty())
            .then(|| key(replaced_by))
            .transpose()?,
        raw_at: place(13)?..place(14)?,
    })
}

/// Rows of the crosswalk, with the rows that replace them; in any order.
pub(crate) fn known(db: &mut Db, keys: &[EhrKey]) -> Result<Vec<EhrRecord>, StoreError> {
    let mut found = records(db, keys)?;
    let later: Vec<EhrKey> = found.iter().filter_map(|row| row.replaced_by).collect();
    let missing = |key: &EhrKey| !found.iter().any(|row| row.key == *key);
    let later: Vec<EhrKey> = later.into_iter().filter(missing).collect();
    found.extend(records(db, &later)?);
    Ok(found)
}

fn records(db: &mut Db, keys: &[EhrKey]) -> Result<Vec<EhrRecord>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS_MAX) {
        let mut sql = Sql::new(RECORD);
        in_keys(&mut sql, keys);
        for row in db.rows(sql)? {
            found.push(record_of(&row)?);
        }
    }
    Ok(found)
}

/// The members of a walk.
pub(crate) fn members(db: &mut Db, walk: EhrKey) -> Result<Vec<EhrMember>, StoreError> {
    let mut sql = Sql::new(
        "SELECT r.tenant, r.persona, r.type, r.source, r.local, m.seen_in, m.missed FROM ehr_member m CROSS JOIN ehr_record r WHERE r.k = m.record AND m.walk = ",
    );
    sql.bytes(walk.0);
    let member = |row: &Row| {
        Ok(EhrMember {
            tenant: row.text(0)?.to_owned(),
            persona: row.text(1)?.to_owned(),
            resource_type: row.text(2)?.to_owned(),
            source: row.text(3)?.to_owned(),
            local: row.text(4)?.to_owned(),
            seen_in: row.int(5)?,
            missed: row.int(6)?,
        })
    };
    db.rows(sql)?.iter().map(member).collect()
}

/// Which of these Patients of ours are copies of this tenant's.
pub(crate) fn patients_of(
    db: &mut Db,
    tenant: &str,
    locals: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for local in locals {
        let mut sql = Sql::new("SELECT 1 FROM ehr_record WHERE type = 'Patient' AND local = ");
        sql.text(local.clone()).push(" AND tenant = ").text(tenant);
        sql.push(" LIMIT 1");
        if !db.rows(sql)?.is_empty() {
            found.push(local.clone());
        }
    }
    Ok(found)
}

/// The source's id of our Patient at a tenant.
pub(crate) fn source_of(
    db: &mut Db,
    tenant: &str,
    persona: &str,
    local: &str,
) -> Result<Option<String>, StoreError> {
    let mut sql = Sql::new("SELECT source FROM ehr_record WHERE type = 'Patient' AND local = ");
    sql.text(local).push(" AND tenant = ").text(tenant);
    sql.push(" AND persona = ").text(persona);
    sql.push(" AND deleted = 0 AND replaced_by IS NULL LIMIT 1");
    let row = db.row(sql)?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}

/// Live copies that other rules made, page by page, so that a page is unpacked once; those after `after`.
pub(crate) fn outdated(
    db: &mut Db,
    tenant: &str,
    persona: &str,
    rules: &str,
    after: Option<EhrKey>,
    limit: usize,
) -> Result<Vec<(EhrRecord, Option<Bytes>)>, StoreError> {
    let mut sql = Sql::new(OUTDATED);
    sql.push("tenant = ")
        .text(tenant)
        .push(" AND persona = ")
        .text(persona);
    sql.push(" AND rules <> ").text(rules);
    sql.push(" AND deleted = 0 AND replaced_by IS NULL AND page IS NOT NULL");
    if let Some(after) = after {
        let mut last = Sql::new("SELECT page FROM ehr_record WHERE k = ");
        last.bytes(after.0);
        let page = db
            .row(last)?
            .map(|row| row.bytes(0).map(<[u8]>::to_vec))
            .transpose()?;
        let page = page.unwrap_or_default();
        sql.push(" AND (page > ").bytes(page.clone());
        sql.push(" OR (page = ")
            .bytes(page)
            .push(" AND k > ")
            .bytes(after.0)
            .push("))");
    }
    sql.push(" ORDER BY page, k LIMIT ")
        .int(i64::try_from(limit).unwrap_or(i64::MAX));
    let mut unpacked: Option<([u8; 32], Option<Bytes>)> = None;
    let mut found = Vec::new();
    for row in db.rows(sql)? {
        let record = record_of(&row)?;
        let Ok(hash) = <[u8; 32]>::try_from(row.bytes(15)?) else {
            found.push((record, None));
            continue;
        };
        if unpacked.as_ref().is_none_or(|(held, _)| *held != hash) {
            unpacked = Some((hash, crate::log::message_raw(db, &hash)?));
        }
        let page = unpacked.as_ref().and_then(|(_, page)| page.as_ref());
        let span = record.raw_at.clone();
        let inside = page.filter(|page| span.start < span.end && span.end <= page.len());
        let raw = inside.map(|page| page.slice(span));
        found.push((record, raw));
    }
    Ok(found)
}

/// The accounting of all pages of a tenant, and how many there were.
pub(crate) fn page_totals(db: &mut Db, tenant: &str) -> Result<(u64, EhrCounts), StoreError> {
    // A sum of nothing is NULL, and PostgreSQL's sum of BIGINT is NUMERIC.
    const SUM: [&str; 11] = [
        "received",
        "new",
        "changed",
        "unchanged",
        "stale",
        "masked",
        "rejected",
        "vanished",
        "tombstoned",
        "withheld",
        "late_filed",
    ];
    let mut sql = Sql::new("SELECT count(*)");
    for column in SUM {
        sql.push(", CAST(coalesce(sum(")
            .push(column)
            .push("), 0) AS BIGINT)");
    }
    sql.push(" FROM ehr_page WHERE tenant = ").text(tenant);
    let row = db.row(sql)?;
    let row = row.ok_or_else(|| StoreError::Internal("a count without a row".into()))?;
    let counts = EhrCounts {
        received: row.int(1)?,
        new: row.int(2)?,
        changed: row.int(3)?,
        unchanged: row.int(4)?,
        stale: row.int(5)?,
        masked: row.int(6)?,
        rejected: row.int(7)?,
        vanished: row.int(8)?,
        tombstoned: row.int(9)?,
        withheld: row.int(10)?,
        late_filed: row.int(11)?,
    };
    Ok((u64::try_from(row.int(0)?).unwrap_or(0), counts))
}

/// The bytes of a record as its source sent them, if the page is kept.
pub(crate) fn raw_of(db: &mut Db, record: EhrKey) -> Result<Option<Bytes>, StoreError> {
    let mut sql = Sql::new("SELECT page, start, stop FROM ehr_record WHERE k = ");
    sql.bytes(record.0);
    let Some(row) = db.row(sql)? else {
        return Ok(None);
    };
    let Ok(hash) = row.bytes(0)?.try_into() else {
        return Ok(None);
    };
    let place = |column| Ok::<_, StoreError>(usize::try_from(row.int(column)?).unwrap_or(0));
    let span = place(1)?..place(2)?;
    let page = crate::log::message_raw(db, &hash)?;
    let inside = page.filter(|page| span.start <= span.end && span.end <= page.len());
    Ok(inside.map(|page| page.slice(span)))
}

/// Open questions of a tenant, newest first.
pub(crate) fn reviews(db: &mut Db, tenant: &str) -> Result<Vec<EhrReview>, StoreError> {
    let mut sql =
        Sql::new("SELECT k, tenant, kind, resource, detail, at FROM ehr_review WHERE tenant = ");
    sql.text(tenant)
        .push(" ORDER BY at DESC, k LIMIT ")
        .int(ROWS_MAX as i64);
    let review = |row: &Row| {
        Ok(EhrReview {
            key: key(row.bytes(0)?)?,
            tenant: row.text(1)?.to_owned(),
            kind: row.text(2)?.to_owned(),
            resource: row.text(3)?.to_owned(),
            detail: row.text(4)?.to_owned(),
            at: Instant(row.int(5)?),
        })
    };
    db.rows(sql)?.iter().map(review).collect()
}

/// Tenants registered while running, by name.
pub(crate) fn tenants(db: &mut Db) -> Result<Vec<EhrTenant>, StoreError> {
    let sql = Sql::new("SELECT name, toml, at FROM ehr_tenant ORDER BY name");
    let tenant = |row: &Row| {
        Ok(EhrTenant {
            name: row.text(0)?.to_owned(),
            toml: row.text(1)?.to_owned(),
            at: Instant(row.int(2)?),
        })
    };
    db.rows(sql)?.iter().map(tenant).collect()
}

/// The last runs of a tenant, newest first.
pub(crate) fn runs(db: &mut Db, tenant: &str, limit: usize) -> Result<Vec<EhrRun>, StoreError> {
    let mut sql =
        Sql::new("SELECT tenant, started, ended, outcome, report FROM ehr_run WHERE tenant = ");
    sql.text(tenant).push(" ORDER BY id DESC LIMIT ");
    sql.int(limit.min(ROWS_MAX) as i64);
    let run = |row: &Row| {
        Ok(EhrRun {
            tenant: row.text(0)?.to_owned(),
            started: Instant(row.int(1)?),
            ended: Instant(row.int(2)?),
            outcome: row.text(3)?.to_owned(),
            report: row.text(4)?.to_owned(),
        })
    };
    db.rows(sql)?.iter().map(run).collect()
}

/// What is kept for a tenant under names with this beginning: name, when, bytes.
pub(crate) fn notes(
    db: &mut Db,
    tenant: &str,
    beginning: &str,
) -> Result<Vec<(String, Instant, Bytes)>, StoreError> {
    let mut sql = Sql::new("SELECT name, at, bytes FROM ehr_note WHERE tenant = ");
    sql.text(tenant).push(" ORDER BY name");
    let mut found = Vec::new();
    for row in db.rows(sql)? {
        let name = row.text(0)?;
        if name.starts_with(beginning) {
            let bytes = Bytes::copy_from_slice(row.bytes(2)?);
            found.push((name.to_owned(), Instant(row.int(1)?), bytes));
        }
    }
    Ok(found)
}

/// What is kept for a tenant under exactly this name.
pub(crate) fn note(db: &mut Db, tenant: &str, name: &str) -> Result<Option<Bytes>, StoreError> {
    let mut sql = Sql::new("SELECT bytes FROM ehr_note WHERE tenant = ");
    sql.text(tenant).push(" AND name = ").text(name);
    let row = db.row(sql)?;
    row.map(|row| Ok(Bytes::copy_from_slice(row.bytes(0)?)))
        .transpose()
}
