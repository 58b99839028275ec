//! The message of a commit: found again if it was recorded before, else recorded with its raw bytes.

use fhir_core::ids::{Instant, VersionId};

use crate::db::Db;
use crate::error::{CommitError, StoreError};
use crate::feed_state::MessagePlace;
use crate::hash::KeyHasher;
use crate::message::{MessageReceipt, MessageRecord, MessageState};
use crate::sql::{Bind, Sql};
use crate::write::feed_state;
use crate::write::job::PreparedMessage;

pub(crate) fn state_number(state: MessageState) -> i64 {
    match state {
        MessageState::Processed => 1,
        MessageState::Warnings => 2,
        MessageState::Refused => 3,
        MessageState::Parked => 4,
        MessageState::Discarded => 5,
        MessageState::Replayed => 6,
        MessageState::Received => 7,
        MessageState::Superseded => 8,
    }
}

pub(crate) fn state_of(number: i64) -> Result<MessageState, StoreError> {
    MessageState::ALL
        .into_iter()
        .find(|state| state_number(*state) == number)
        .ok_or_else(|| StoreError::Internal("a message has an unknown state".into()))
}

/// Whether the sender has used the control id before, for other content.
///
/// # Errors
/// [`CommitError::RepeatedMessage`] when it was for the same content.
pub(crate) fn check(db: &mut Db, message: &PreparedMessage) -> Result<bool, CommitError> {
    let is_again = matches!(message.record.bookkeeping.place, MessagePlace::Again(_));
    if is_again || message.record.control_id.is_empty() {
        return Ok(false);
    }
    let mut sql =
        Sql::new("SELECT id, state, reason, received_at, hash FROM message WHERE sender = ");
    sql.text(message.record.sender.clone())
        .push(" AND control_id = ")
        .text(message.record.control_id.clone());
    let mut is_used = false;
    for row in db.rows(sql)? {
        if row.bytes(4)? != message.hash {
            is_used = true;
            continue;
        }
        return Err(CommitError::RepeatedMessage(MessageReceipt {
            id: row.int(0)?,
            repeat: true,
            same_control_id_other_content: is_used,
            state: state_of(row.int(1)?)?,
            reason: row.opt_text(2)?,
            received_at: Instant(row.int(3)?),
        }));
    }
    Ok(is_used)
}

/// Records a message. `made`: for each resource it made, the version if this commit changed it.
pub(super) fn record(
    db: &mut Db,
    hasher: KeyHasher,
    message: &PreparedMessage,
    is_control_id_used: bool,
    at: Instant,
    made: &[Option<VersionId>],
) -> Result<MessageReceipt, StoreError> {
    let record = &message.record;
    let id = match record.bookkeeping.place {
        MessagePlace::Again(id) => change_row(db, id, record, at)?,
        MessagePlace::New | MessagePlace::CopyOf(_) => insert_row(db, message, at)?,
    };
    feed_state::write(db, hasher, id, message, at)?;
    record_made(db, hasher, id, record, made)?;
    Ok(MessageReceipt {
        id,
        repeat: false,
        same_control_id_other_content: is_control_id_used,
        state: record.state,
        reason: record.reason.clone(),
        received_at: at,
    })
}

/// A row of its own, with the raw bytes.
fn insert_row(db: &mut Db, message: &PreparedMessage, at: Instant) -> Result<i64, StoreError> {
    let PreparedMessage {
        record,
        hash,
        packed,
    } = message;
    let mut raw = Sql::new("INSERT INTO raw (hash, size, at, zstd) VALUES (");
    raw.bytes(hash.as_slice())
        .push(", ")
        .int(record.raw.len() as i64)
        .push(", ")
        .int(at.0)
        .push(", ");
    raw.bytes(packed.clone())
        .push(") ON CONFLICT (hash) DO NOTHING");
    db.run(raw)?;
    let id = db.number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM message"))?;
    let mut sql = Sql::new(
        "INSERT INTO message (id, feed, media_type, sender, control_id, hash, type, state, reason, issues, received_at, mapping, edited_from) VALUES (",
    );
    sql.int(id);
    let texts = [
        &record.feed,
        &record.media_type,
        &record.sender,
        &record.control_id,
    ];
    for text in texts {
        sql.push(", ").text(text.clone());
    }
    sql.push(", ")
        .bytes(hash.as_slice())
        .push(", ")
        .text(record.message_type.clone());
    sql.push(", ")
        .int(state_number(record.state))
        .push(", ")
        .bind(Bind::OptText(record.reason.clone()));
    sql.push(", ")
        .text(record.issues_json.clone())
        .push(", ")
        .int(at.0);
    let copy_of = match record.bookkeeping.place {
        MessagePlace::CopyOf(original) => Some(original),
        MessagePlace::New | MessagePlace::Again(_) => None,
    };
    sql.push(", ")
        .bind(Bind::OptText(record.bookkeeping.mapping.clone()))
        .push(", ")
        .bind(Bind::OptInt(copy_of))
        .push(")");
    db.run(sql)?;
    Ok(id)
}

/// The row it has, with what became of it now.
fn change_row(
    db: &mut Db,
    id: i64,
    record: &MessageRecord,
    at: Instant,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new("UPDATE message SET replays = replays + 1, changed_at = ");
    sql.int(at.0)
        .push(", state = ")
        .int(state_number(record.state))
        .push(", reason = ")
        .bind(Bind::OptText(record.reason.clone()))
        .push(", issues = ")
        .text(record.issues_json.clone())
        .push(", mapping = ")
        .bind(Bind::OptText(record.bookkeeping.mapping.clone()))
        .push(" WHERE id = ")
        .int(id);
    if db.run(sql)? == 0 {
        return Err(StoreError::Internal(
            "the message that was read again is gone".into(),
        ));
    }
    Ok(id)
}

/// What it made; reading it again adds what changed then.
fn record_made(
    db: &mut Db,
    hasher: KeyHasher,
    id: i64,
    record: &MessageRecord,
    made: &[Option<VersionId>],
) -> Result<(), StoreError> {
    let mut first = 0;
    if matches!(record.bookkeeping.place, MessagePlace::Again(_)) {
        let mut drop = Sql::new("DELETE FROM message_resource WHERE ver IS NULL AND message = ");
        drop.int(id);
        db.run(drop)?;
        let mut next =
            Sql::new("SELECT coalesce(max(n), -1) + 1 FROM message_resource WHERE message = ");
        next.int(id);
        first = db.number(next)?;
    }
    for (n, (key, version)) in record.made.iter().zip(made).enumerate() {
        let mut sql =
            Sql::new("INSERT INTO message_resource (message, n, type, id, h, ver) VALUES (");
        sql.int(id)
            .push(", ")
            .int(first + n as i64)
            .push(", ")
            .int(i64::from(key.resource_type.0) + 1)
            .push(", ");
        sql.text(key.id.as_str())
            .push(", ")
            .int(hasher.resource(key))
            .push(", ");
        sql.bind(Bind::OptInt(version.map(|v| v.0))).push(")");
        db.run(sql)?;
    }
    Ok(())
}
