//! Writing what a message leaves behind beside resources, in its own transaction.

use std::hash::Hasher as _;

use fhir_core::ids::{Instant, ResourceKey};
use siphasher::sip::SipHasher24;

use crate::db::Db;
use crate::error::StoreError;
use crate::feed_state::{Alias, AliasKind, Bookkeeping, MessagePlace, NewReview, Owner};
use crate::hash::KeyHasher;
use crate::message::{MessageRecord, MessageState};
use crate::sql::{Bind, Sql};
use crate::write::job::PreparedMessage;

pub(crate) fn alias_number(kind: AliasKind) -> i64 {
    match kind {
        AliasKind::Merged => 1,
        AliasKind::Identifier => 2,
        AliasKind::Renamed => 3,
    }
}

pub(crate) fn alias_kind(number: i64) -> Result<AliasKind, StoreError> {
    match number {
        1 => Ok(AliasKind::Merged),
        2 => Ok(AliasKind::Identifier),
        3 => Ok(AliasKind::Renamed),
        _ => Err(StoreError::Internal(
            "an identity leads elsewhere for an unknown reason".into(),
        )),
    }
}

fn type_number(key: &ResourceKey) -> i64 {
    i64::from(key.resource_type.0) + 1
}

pub(super) fn write(
    db: &mut Db,
    hasher: KeyHasher,
    id: i64,
    message: &PreparedMessage,
    at: Instant,
) -> Result<(), StoreError> {
    let record = &message.record;
    let book = &record.bookkeeping;
    revisions(db, hasher, id, record)?;
    for alias in &book.aliases {
        write_alias(db, hasher, id, alias, at)?;
    }
    for owner in &book.owners {
        write_owner(db, hasher, id, owner)?;
    }
    holds(db, id, record)?;
    for review in &book.reviews {
        write_review(db, id, record, review, at)?;
    }
    // A message read again was counted when it came.
    if !matches!(book.place, MessagePlace::Again(_)) {
        losses(db, id, record, at)?;
    }
    if let MessagePlace::CopyOf(original) = book.place
        && record.state != MessageState::Refused
    {
        mark_replaced(db, original, id, at)?;
    }
    Ok(())
}

fn revisions(
    db: &mut Db,
    hasher: KeyHasher,
    id: i64,
    record: &MessageRecord,
) -> Result<(), StoreError> {
    // One statement takes a row once only; of two of the same resource the last counts.
    let mut rows: Vec<(i64, &str, &str)> = Vec::new();
    let book = &record.bookkeeping;
    let own = book
        .revisions
        .iter()
        .map(|(key, revision)| (key, record.feed.as_str(), revision));
    let pairs = book
        .pair_revisions
        .iter()
        .map(|(key, pair, revision)| (key, pair.as_str(), revision));
    for (key, feed, revision) in own.chain(pairs) {
        let h = hasher.resource(key);
        let same = rows.iter_mut().find(|row| row.0 == h && row.1 == feed);
        match same {
            Some(row) => row.2 = revision,
            None => rows.push((h, feed, revision)),
        }
    }
    /// Rows of one statement: few enough for any engine's limit of values.
    const ROWS_MAX: usize = 50;
    for chunk in rows.chunks(ROWS_MAX) {
        let mut sql = Sql::new("INSERT INTO source_revision (h, feed, revision, message) VALUES ");
        for (n, (h, feed, revision)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" })
                .int(*h)
                .push(", ")
                .text(*feed)
                .push(", ")
                .text(*revision)
                .push(", ")
                .int(id)
                .push(")");
        }
        sql.push(
            " ON CONFLICT (h, feed) DO UPDATE SET revision = excluded.revision, message = excluded.message",
        );
        db.run(sql)?;
    }
    Ok(())
}

fn write_alias(
    db: &mut Db,
    hasher: KeyHasher,
    id: i64,
    alias: &Alias,
    at: Instant,
) -> Result<(), StoreError> {
    let (h, into_h) = (hasher.resource(&alias.from), hasher.resource(&alias.into));
    if h == into_h {
        return Err(StoreError::Internal(
            "an identity would lead to itself".into(),
        ));
    }
    let mut sql = Sql::new(
        "INSERT INTO alias (h, type, id, kind, into_h, into_id, revision, message, at, pending) VALUES (",
    );
    sql.int(h)
        .push(", ")
        .int(type_number(&alias.from))
        .push(", ")
        .text(alias.from.id.as_str())
        .push(", ")
        .int(alias_number(alias.kind))
        .push(", ")
        .int(into_h)
        .push(", ")
        .text(alias.into.id.as_str())
        .push(", ")
        .bind(Bind::OptText(alias.revision.clone()))
        .push(", ")
        .int(id)
        .push(", ")
        .int(at.0)
        .push(", ")
        .int(i64::from(alias.pending));
    sql.push(
        ") ON CONFLICT (h) DO UPDATE SET kind = excluded.kind, into_h = excluded.into_h, into_id = excluded.into_id, \
         revision = excluded.revision, message = excluded.message, at = excluded.at, pending = excluded.pending",
    );
    db.run(sql)?;
    // What led to it leads on, so that one step is always enough.
    let mut sql = Sql::new("UPDATE alias SET into_h = ");
    sql.int(into_h)
        .push(", into_id = ")
        .text(alias.into.id.as_str())
        .push(" WHERE into_h = ")
        .int(h);
    db.run(sql)?;
    Ok(())
}

fn write_owner(db: &mut Db, hasher: KeyHasher, id: i64, owner: &Owner) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO owner (h, type, id, owner_type, owner_id, revision, message) VALUES (",
    );
    sql.int(hasher.resource(&owner.what))
        .push(", ")
        .int(type_number(&owner.what))
        .push(", ")
        .text(owner.what.id.as_str())
        .push(", ")
        .int(type_number(&owner.owner))
        .push(", ")
        .text(owner.owner.id.as_str())
        .push(", ")
        .bind(Bind::OptText(owner.revision.clone()))
        .push(", ")
        .int(id);
    sql.push(
        ") ON CONFLICT (h) DO UPDATE SET owner_type = excluded.owner_type, owner_id = excluded.owner_id, \
         revision = excluded.revision, message = excluded.message",
    );
    db.run(sql).map(|_| ())
}

/// A message that is dealt with lets the others go on; one that is not keeps them.
fn holds(db: &mut Db, id: i64, record: &MessageRecord) -> Result<(), StoreError> {
    if matches!(record.bookkeeping.place, MessagePlace::Again(_)) {
        lift(db, id)?;
    }
    for subject in &record.bookkeeping.holds {
        let mut sql = Sql::new("INSERT INTO hold (feed, subject, message) VALUES (");
        sql.text(record.feed.clone())
            .push(", ")
            .text(subject.clone())
            .push(", ")
            .int(id)
            .push(") ON CONFLICT (feed, subject) DO NOTHING");
        db.run(sql)?;
    }
    Ok(())
}

/// Nobody waits for this message any more.
pub(crate) fn lift(db: &mut Db, message: i64) -> Result<(), StoreError> {
    let mut sql = Sql::new("DELETE FROM hold WHERE message = ");
    sql.int(message);
    db.run(sql).map(|_| ())
}

fn write_review(
    db: &mut Db,
    id: i64,
    record: &MessageRecord,
    review: &NewReview,
    at: Instant,
) -> Result<(), StoreError> {
    let mut subjects: Vec<String> = review.subjects.iter().map(ToString::to_string).collect();
    subjects.sort_unstable();
    let subjects = subjects.join(" ");
    // The same question is asked once.
    let mut known = Sql::new("SELECT count(*) FROM review WHERE state = 1 AND message = ");
    known
        .int(id)
        .push(" AND kind = ")
        .text(review.kind)
        .push(" AND subjects = ")
        .text(subjects.clone());
    if db.number(known)? > 0 {
        return Ok(());
    }
    let number = db.number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM review"))?;
    let mut sql = Sql::new(
        "INSERT INTO review (id, feed, message, kind, subjects, text, state, opened_at) VALUES (",
    );
    sql.int(number)
        .push(", ")
        .text(record.feed.clone())
        .push(", ")
        .int(id)
        .push(", ")
        .text(review.kind)
        .push(", ")
        .text(subjects)
        .push(", ")
        .text(review.text.clone())
        .push(", 1, ")
        .int(at.0)
        .push(")");
    db.run(sql).map(|_| ())
}

/// Key of the pattern hash; it only has to be the same for ever.
const PATTERN_KEY: [u8; 16] = *b"stoker-loss-0001";

fn losses(db: &mut Db, id: i64, record: &MessageRecord, at: Instant) -> Result<(), StoreError> {
    let Bookkeeping { lost, unmapped, .. } = &record.bookkeeping;
    if !lost.is_empty() {
        let places = lost.join(" ");
        let mut hasher = SipHasher24::new_with_key(&PATTERN_KEY);
        hasher.write(places.as_bytes());
        let mut sql = Sql::new(
            "INSERT INTO loss (feed, type, pattern, places, n, first_at, last_at, last_message) VALUES (",
        );
        sql.text(record.feed.clone())
            .push(", ")
            .text(record.message_type.clone())
            .push(", ")
            .int(hasher.finish() as i64)
            .push(", ")
            .text(places);
        counted(&mut sql, id, at);
        sql.push(
            ") ON CONFLICT (feed, type, pattern) DO UPDATE SET n = loss.n + 1, last_at = excluded.last_at, last_message = excluded.last_message",
        );
        db.run(sql)?;
    }
    for code in unmapped {
        let mut sql = Sql::new(
            "INSERT INTO unmapped (feed, place, code, n, first_at, last_at, last_message) VALUES (",
        );
        sql.text(record.feed.clone())
            .push(", ")
            .text(code.place.clone())
            .push(", ")
            .text(code.code.clone());
        counted(&mut sql, id, at);
        sql.push(
            ") ON CONFLICT (feed, place, code) DO UPDATE SET n = unmapped.n + 1, last_at = excluded.last_at, last_message = excluded.last_message",
        );
        db.run(sql)?;
    }
    Ok(())
}

fn counted(sql: &mut Sql, id: i64, at: Instant) {
    sql.push(", 1, ")
        .int(at.0)
        .push(", ")
        .int(at.0)
        .push(", ")
        .int(id);
}

/// The original of a corrected copy that was taken over.
fn mark_replaced(db: &mut Db, original: i64, copy: i64, at: Instant) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE message SET state = ");
    sql.int(super::state_number(MessageState::Replayed))
        .push(", changed_at = ")
        .int(at.0)
        .push(", reason = ")
        .text(format!("replaced by the corrected copy {copy}"))
        .push(" WHERE id = ")
        .int(original);
    db.run(sql)?;
    lift(db, original)
}
