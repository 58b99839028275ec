//! Reading what messages left behind beside resources.

use fhir_core::ids::{Instant, ResourceId, ResourceKey};

use crate::db::{Db, Row};
use crate::error::StoreError;
use crate::feed_state::{
    Alias, Incident, IncidentStep, KnownIdentities, KnownRevision, LossRow, Owner, Review,
    ReviewState, UnmappedCode, UnmappedRow,
};
use crate::log::key;
use crate::message::MessageState;
use crate::read::Reader;
use crate::sql::Sql;
use crate::write::feed_state::alias_kind;
use crate::write::state_number;

/// Rows of one answer at most.
const ROWS_MAX: usize = 10_000;

const ALIAS: &str = "SELECT type, id, kind, into_id, revision, pending FROM alias";

pub(crate) fn known_identities(
    reader: &mut Reader<'_>,
    feed: &str,
    keys: &[ResourceKey],
) -> Result<KnownIdentities, StoreError> {
    let mut known = KnownIdentities {
        holds: holds(reader.db, feed)?,
        ..KnownIdentities::default()
    };
    let hashes = hashes(reader, keys);
    if hashes.is_empty() {
        return Ok(known);
    }
    let mut sql = Sql::new(ALIAS);
    sql.push(" WHERE h").in_ints(&hashes);
    known.aliases = aliases(reader.db, sql)?;
    let mut sql = Sql::new("SELECT type, id, owner_type, owner_id, revision FROM owner WHERE h");
    sql.in_ints(&hashes);
    for row in reader.db.rows(sql)? {
        let what = key(row.int(0)?, row.text(1)?);
        let owner = key(row.int(2)?, row.text(3)?);
        if let (Some(what), Some(owner)) = (what, owner) {
            known.owners.push(Owner {
                what,
                owner,
                revision: row.opt_text(4)?,
            });
        }
    }
    Ok(known)
}

fn hashes(reader: &Reader<'_>, keys: &[ResourceKey]) -> Vec<i64> {
    let mut hashes: Vec<i64> = keys
        .iter()
        .map(|key| reader.shared.hasher.resource(key))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

fn aliases(db: &mut Db, sql: Sql) -> Result<Vec<Alias>, StoreError> {
    let mut found = Vec::new();
    for row in db.rows(sql)? {
        let from = key(row.int(0)?, row.text(1)?);
        let into = ResourceId::parse(row.text(3)?);
        let (Some(from), Some(id)) = (from, into) else {
            continue;
        };
        let into = ResourceKey {
            resource_type: from.resource_type,
            id,
        };
        found.push(Alias {
            from,
            into,
            kind: alias_kind(row.int(2)?)?,
            revision: row.opt_text(4)?,
            pending: row.int(5)? != 0,
        });
    }
    Ok(found)
}

pub(crate) fn aliases_into(
    reader: &mut Reader<'_>,
    into: &ResourceKey,
) -> Result<Vec<Alias>, StoreError> {
    let mut sql = Sql::new(ALIAS);
    sql.push(" WHERE into_h = ")
        .int(reader.shared.hasher.resource(into))
        .push(" ORDER BY id");
    aliases(reader.db, sql)
}

pub(crate) fn pending_aliases(reader: &mut Reader<'_>) -> Result<Vec<Alias>, StoreError> {
    let mut sql = Sql::new(ALIAS);
    sql.push(" WHERE pending <> 0 ORDER BY at LIMIT ")
        .int(ROWS_MAX as i64);
    aliases(reader.db, sql)
}

pub(crate) fn known_revisions(
    reader: &mut Reader<'_>,
    feed: &str,
    keys: &[ResourceKey],
) -> Result<Vec<KnownRevision>, StoreError> {
    let hashes = hashes(reader, keys);
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("SELECT h, revision, message FROM source_revision WHERE h");
    sql.in_ints(&hashes);
    sql.push(" AND feed = ").text(feed);
    let mut found = Vec::new();
    for row in reader.db.rows(sql)? {
        let h = row.int(0)?;
        let named = keys
            .iter()
            .find(|key| reader.shared.hasher.resource(key) == h);
        if let Some(key) = named {
            found.push(KnownRevision {
                key: key.clone(),
                revision: row.text(1)?.to_owned(),
                message: row.int(2)?,
            });
        }
    }
    Ok(found)
}

pub(crate) fn referrers(
    reader: &mut Reader<'_>,
    target: &ResourceKey,
    params: &[i64],
    except: &[i64],
    limit: usize,
) -> Result<Vec<ResourceKey>, StoreError> {
    let h = reader.shared.hasher.resource(target);
    let mut sql = Sql::new("SELECT r.type, r.id FROM res r WHERE r.type > 0");
    if !except.is_empty() {
        sql.push(" AND NOT (r.type").in_ints(except).push(")");
    }
    sql.push(" AND r.rid IN (SELECT rid FROM ref WHERE p")
        .in_ints(params);
    sql.push(" AND h = ")
        .int(h)
        .push(" UNION SELECT rid FROM sd WHERE s = ")
        .int(h)
        .push(") ORDER BY r.rid LIMIT ")
        .int(limit.min(ROWS_MAX) as i64);
    let rows = reader.db.rows(sql)?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.extend(key(row.int(0)?, row.text(1)?));
    }
    Ok(found)
}

pub(crate) fn holds(db: &mut Db, feed: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let mut sql = Sql::new("SELECT subject, message FROM hold WHERE feed = ");
    sql.text(feed)
        .push(" ORDER BY message LIMIT ")
        .int(ROWS_MAX as i64);
    let rows = db.rows(sql)?;
    rows.iter()
        .map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?)))
        .collect()
}

pub(crate) fn review_number(state: ReviewState) -> i64 {
    match state {
        ReviewState::Open => 1,
        ReviewState::Resolved => 2,
        ReviewState::Dismissed => 3,
    }
}

const REVIEW: &str = "SELECT id, feed, message, kind, subjects, text, state, opened_at, closed_at, closed_by, resolution FROM review WHERE 1 = 1";

pub(crate) fn reviews(
    db: &mut Db,
    state: Option<ReviewState>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Review>, StoreError> {
    let mut sql = Sql::new(REVIEW);
    if let Some(state) = state {
        sql.push(" AND state = ").int(review_number(state));
    }
    if let Some(before) = before {
        sql.push(" AND id < ").int(before);
    }
    sql.push(" ORDER BY id DESC LIMIT ")
        .int(limit.min(ROWS_MAX) as i64);
    let rows = db.rows(sql)?;
    rows.iter().map(review_of).collect()
}

pub(crate) fn review(db: &mut Db, id: i64) -> Result<Option<Review>, StoreError> {
    let mut sql = Sql::new(REVIEW);
    sql.push(" AND id = ").int(id);
    db.row(sql)?.as_ref().map(review_of).transpose()
}

fn review_of(row: &Row) -> Result<Review, StoreError> {
    let state = match row.int(6)? {
        1 => ReviewState::Open,
        2 => ReviewState::Resolved,
        _ => ReviewState::Dismissed,
    };
    let closed = match (row.opt_int(8)?, row.opt_text(9)?, row.opt_text(10)?) {
        (Some(at), Some(by), Some(how)) => Some((Instant(at), by, how)),
        _ => None,
    };
    Ok(Review {
        id: row.int(0)?,
        feed: row.text(1)?.to_owned(),
        message: row.int(2)?,
        kind: row.text(3)?.to_owned(),
        subjects: row
            .text(4)?
            .split(' ')
            .filter_map(ResourceKey::parse)
            .collect(),
        text: row.text(5)?.to_owned(),
        state,
        opened_at: Instant(row.int(7)?),
        closed,
    })
}

/// Of each feed with messages that wait: when the oldest came, and how many.
pub(crate) fn waiting(db: &mut Db) -> Result<Vec<(String, Instant, u64)>, StoreError> {
    let mut sql = Sql::new("SELECT feed, min(received_at), count(*) FROM message WHERE state IN (");
    // `state > 1` is what the partial index is for.
    sql.int(state_number(MessageState::Parked))
        .push(", ")
        .int(state_number(MessageState::Received))
        .push(") AND state > 1 GROUP BY feed ORDER BY feed");
    let rows = db.rows(sql)?;
    rows.iter()
        .map(|row| {
            let count = u64::try_from(row.int(2)?).unwrap_or(0);
            Ok((row.text(0)?.to_owned(), Instant(row.int(1)?), count))
        })
        .collect()
}

pub(crate) fn losses(
    db: &mut Db,
    feed: Option<String>,
    limit: usize,
) -> Result<Vec<LossRow>, StoreError> {
    let mut sql =
        Sql::new("SELECT feed, type, places, n, first_at, last_at, last_message FROM loss");
    if let Some(feed) = feed {
        sql.push(" WHERE feed = ").text(feed);
    }
    sql.push(" ORDER BY n DESC, feed, type, pattern LIMIT ")
        .int(limit.min(ROWS_MAX) as i64);
    let rows = db.rows(sql)?;
    rows.iter()
        .map(|row| {
            Ok(LossRow {
                feed: row.text(0)?.to_owned(),
                message_type: row.text(1)?.to_owned(),
                places: row.text(2)?.split(' ').map(str::to_owned).collect(),
                count: u64::try_from(row.int(3)?).unwrap_or(0),
                first_at: Instant(row.int(4)?),
                last_at: Instant(row.int(5)?),
                last_message: row.int(6)?,
            })
        })
        .collect()
}

pub(crate) fn unmapped(
    db: &mut Db,
    feed: Option<String>,
    limit: usize,
) -> Result<Vec<UnmappedRow>, StoreError> {
    let mut sql =
        Sql::new("SELECT feed, place, code, n, first_at, last_at, last_message FROM unmapped");
    if let Some(feed) = feed {
        sql.push(" WHERE feed = ").text(feed);
    }
    sql.push(" ORDER BY n DESC, feed, place, code LIMIT ")
        .int(limit.min(ROWS_MAX) as i64);
    let rows = db.rows(sql)?;
    rows.iter()
        .map(|row| {
            Ok(UnmappedRow {
                feed: row.text(0)?.to_owned(),
                what: UnmappedCode {
                    place: row.text(1)?.to_owned(),
                    code: row.text(2)?.to_owned(),
                },
                count: u64::try_from(row.int(3)?).unwrap_or(0),
                first_at: Instant(row.int(4)?),
                last_at: Instant(row.int(5)?),
                last_message: row.int(6)?,
            })
        })
        .collect()
}

pub(crate) fn incidents(
    db: &mut Db,
    id: Option<i64>,
    limit: usize,
) -> Result<Vec<Incident>, StoreError> {
    let mut sql = Sql::new(
        "SELECT id, title, state, opened_at, changed_at, messages FROM incident WHERE 1 = 1",
    );
    if let Some(id) = id {
        sql.push(" AND id = ").int(id);
    }
    sql.push(" ORDER BY id DESC LIMIT ")
        .int(limit.min(ROWS_MAX) as i64);
    let mut found = Vec::new();
    for row in db.rows(sql)? {
        let id = row.int(0)?;
        let mut steps =
            Sql::new("SELECT at, agent, state, text FROM incident_step WHERE incident = ");
        steps.int(id).push(" ORDER BY n");
        let steps = db.rows(steps)?;
        let steps = steps.iter().map(|row| {
            Ok(IncidentStep {
                at: Instant(row.int(0)?),
                agent: row.text(1)?.to_owned(),
                state: row.text(2)?.to_owned(),
                text: row.text(3)?.to_owned(),
            })
        });
        found.push(Incident {
            id,
            title: row.text(1)?.to_owned(),
            state: row.text(2)?.to_owned(),
            opened_at: Instant(row.int(3)?),
            changed_at: Instant(row.int(4)?),
            messages: row
                .text(5)?
                .split(' ')
                .filter_map(|n| n.parse().ok())
                .collect(),
            steps: steps.collect::<Result<_, StoreError>>()?,
        });
    }
    Ok(found)
}

pub(crate) fn add_step(db: &mut Db, id: i64, step: &IncidentStep) -> Result<(), StoreError> {
    let mut sql =
        Sql::new("INSERT INTO incident_step (incident, n, at, agent, state, text) SELECT ");
    sql.int(id)
        .push(", coalesce(max(n), 0) + 1, ")
        .int(step.at.0)
        .push(", ")
        .text(step.agent.clone())
        .push(", ")
        .text(step.state.clone())
        .push(", ")
        .text(step.text.clone())
        .push(" FROM incident_step WHERE incident = ")
        .int(id);
    db.run(sql).map(|_| ())
}
