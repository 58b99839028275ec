//! Reading the log of messages and the audit trail.

use bytes::Bytes;
use conformance::ResourceTypeId;
use fhir_core::ids::{Instant, ResourceId, ResourceKey, VersionId};

use crate::audit::{AuditPage, AuditQuery, AuditRow};
use crate::db::{Db, Row};
use crate::error::StoreError;
use crate::hash::KeyHasher;
use crate::message::{Message, MessageFilter};
use crate::sql::Sql;
use crate::write::{state_number, state_of};

/// Rows of one page at most.
const PAGE_ROWS_MAX: usize = 10_000;
/// Largest raw message that is given out; guards the unpacking of a damaged row.
const RAW_BYTES_MAX: usize = 256 << 20;

const MESSAGE: &str = "SELECT m.id, m.feed, m.media_type, m.sender, m.control_id, m.type, m.hash, w.size, m.state, m.reason, m.issues, m.received_at, m.mapping, m.changed_at, m.replays, m.edited_from FROM message m CROSS JOIN raw w WHERE w.hash = m.hash";

pub(crate) fn message_by_id(db: &mut Db, id: i64) -> Result<Option<Message>, StoreError> {
    let mut sql = Sql::new(MESSAGE);
    sql.push(" AND m.id = ").int(id);
    let Some(row) = db.row(sql)? else {
        return Ok(None);
    };
    message(db, &row).map(Some)
}

pub(crate) fn messages(
    db: &mut Db,
    hasher: KeyHasher,
    filter: &MessageFilter,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut sql = Sql::new(MESSAGE);
    if let Some(feed) = &filter.feed {
        sql.push(" AND m.feed = ").text(feed.clone());
    }
    if let Some(state) = filter.state {
        sql.push(" AND m.state = ").int(state_number(state));
    }
    if let Some(before) = filter.before {
        sql.push(" AND m.id < ").int(before);
    }
    if let Some(after) = filter.after {
        sql.push(" AND m.id > ").int(after);
    }
    if let Some(control_id) = &filter.control_id {
        sql.push(" AND m.control_id = ").text(control_id.clone());
    }
    if let Some(kind) = &filter.message_type {
        sql.push(" AND (m.type = ")
            .text(kind.clone())
            .push(" OR m.type LIKE ")
            .text(like(kind, "", "^%"))
            .push(" ESCAPE '\\')");
    }
    if let Some(key) = &filter.resource {
        sql.push(" AND m.id IN (SELECT message FROM message_resource WHERE h = ")
            .int(hasher.resource(key))
            .push(")");
    }
    if let Some(code) = &filter.code {
        sql.push(" AND (m.issues LIKE ")
            .text(like(&format!("\"code\":\"{code}\""), "%", "%"))
            .push(" ESCAPE '\\' OR m.reason LIKE ")
            .text(like(&format!("{code}:"), "%", "%"))
            .push(" ESCAPE '\\')");
    }
    if let Some(text) = &filter.text {
        let pattern = like(text, "%", "%");
        sql.push(" AND (m.issues LIKE ")
            .text(pattern.clone())
            .push(" ESCAPE '\\' OR m.reason LIKE ")
            .text(pattern)
            .push(" ESCAPE '\\')");
    }
    if let Some(since) = filter.since {
        sql.push(" AND m.received_at >= ").int(since.0);
    }
    if let Some(until) = filter.until {
        sql.push(" AND m.received_at < ").int(until.0);
    }
    sql.push(if filter.oldest_first {
        " ORDER BY m.id LIMIT "
    } else {
        " ORDER BY m.id DESC LIMIT "
    })
    .int(limit.min(PAGE_ROWS_MAX) as i64);
    let rows = db.rows(sql)?;
    rows.iter().map(|row| message(db, row)).collect()
}

/// Messages of a media type that still wait for being replayed or set aside.
pub(crate) fn waiting(
    db: &mut Db,
    media_type: &str,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut sql = Sql::new(MESSAGE);
    sql.push(" AND m.media_type = ").text(media_type);
    sql.push(" AND m.state IN (")
        .int(state_number(crate::message::MessageState::Warnings))
        .push(", ")
        .int(state_number(crate::message::MessageState::Refused))
        .push(")");
    sql.push(" AND NOT EXISTS (SELECT 1 FROM quarantine_end q WHERE q.message = m.id)");
    if let Some(before) = before {
        sql.push(" AND m.id < ").int(before);
    }
    sql.push(" ORDER BY m.id DESC LIMIT ")
        .int(limit.min(PAGE_ROWS_MAX) as i64);
    let rows = db.rows(sql)?;
    rows.iter().map(|row| message(db, row)).collect()
}

/// A text as it is, between patterns.
fn like(text: &str, before: &str, after: &str) -> String {
    let mut out = before.to_owned();
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push_str(after);
    out
}

fn message(db: &mut Db, row: &Row) -> Result<Message, StoreError> {
    let id = row.int(0)?;
    let damaged = |_| StoreError::Internal("a message has a hash of another length".into());
    let mut sql = Sql::new("SELECT type, id, ver FROM message_resource WHERE message = ");
    sql.int(id).push(" ORDER BY n");
    let mut made = Vec::new();
    for row in db.rows(sql)? {
        let version = row.opt_int(2)?.map(VersionId);
        made.extend(key(row.int(0)?, row.text(1)?).map(|key| (key, version)));
    }
    Ok(Message {
        id,
        feed: row.text(1)?.to_owned(),
        media_type: row.text(2)?.to_owned(),
        sender: row.text(3)?.to_owned(),
        control_id: row.text(4)?.to_owned(),
        message_type: row.text(5)?.to_owned(),
        raw_hash: row.bytes(6)?.try_into().map_err(damaged)?,
        raw_bytes: u64::try_from(row.int(7)?).unwrap_or(0),
        state: state_of(row.int(8)?)?,
        reason: row.opt_text(9)?,
        issues_json: row.text(10)?.to_owned(),
        received_at: Instant(row.int(11)?),
        made,
        mapping: row.opt_text(12)?,
        changed_at: row.opt_int(13)?.map(Instant),
        replays: u32::try_from(row.int(14)?).unwrap_or(u32::MAX),
        edited_from: row.opt_int(15)?,
    })
}

pub(crate) fn key(type_number: i64, id: &str) -> Option<ResourceKey> {
    let resource_type = ResourceTypeId(u16::try_from(type_number - 1).ok()?);
    Some(ResourceKey {
        resource_type,
        id: ResourceId::parse(id)?,
    })
}

pub(crate) fn message_raw(db: &mut Db, hash: &[u8; 32]) -> Result<Option<Bytes>, StoreError> {
    let mut sql = Sql::new("SELECT size, zstd FROM raw WHERE hash = ");
    sql.bytes(hash.as_slice());
    let Some(row) = db.row(sql)? else {
        return Ok(None);
    };
    let damaged = || StoreError::Internal("a raw message cannot be unpacked".into());
    let size = usize::try_from(row.int(0)?)
        .ok()
        .filter(|size| *size <= RAW_BYTES_MAX)
        .ok_or_else(damaged)?;
    let raw = zstd::bulk::decompress(row.bytes(1)?, size).map_err(|_| damaged())?;
    Ok(Some(raw.into()))
}

pub(crate) fn audit_page(db: &mut Db, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let mut sql = Sql::new(
        "SELECT seq, at, agent, channel, action, interaction, type, id, ver, detail, outcome FROM audit WHERE 1 = 1",
    );
    if let Some(before) = query.before {
        sql.push(" AND seq < ").int(before);
    }
    if let Some(entity) = &query.entity {
        sql.push(" AND type = ")
            .int(i64::from(entity.resource_type.0) + 1)
            .push(" AND id = ")
            .text(entity.id.as_str());
    }
    if let Some(agent) = &query.agent {
        sql.push(" AND agent = ").text(agent.clone());
    }
    let limit = query.limit.min(PAGE_ROWS_MAX);
    sql.push(" ORDER BY seq DESC LIMIT ").int(limit as i64 + 1);
    let found = db.rows(sql)?;
    let rows = found
        .iter()
        .take(limit)
        .map(audit_row)
        .collect::<Result<Vec<_>, _>>()?;
    let next = rows
        .last()
        .filter(|_| found.len() > limit)
        .map(|row| row.seq);
    Ok(AuditPage { rows, next })
}

fn audit_row(row: &Row) -> Result<AuditRow, StoreError> {
    let entity = match (row.opt_int(6)?, row.opt_text(7)?) {
        (Some(number), Some(id)) => {
            key(number, &id).map(|key| (key, row.opt_int(8).ok().flatten().map(VersionId)))
        }
        _ => None,
    };
    Ok(AuditRow {
        seq: row.int(0)?,
        at: Instant(row.int(1)?),
        agent: row.text(2)?.to_owned(),
        channel: row.text(3)?.to_owned(),
        action: u32::try_from(row.int(4)?)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('?'),
        interaction: row.text(5)?.to_owned(),
        entity,
        detail: row.opt_text(9)?,
        outcome: u8::try_from(row.int(10)?).unwrap_or(0),
    })
}
