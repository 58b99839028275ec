//! Reading kept messages again: one, a selection, or a corrected copy; and letting go what waited for them.
//!
//! Reading again changes nothing that is newer by the source's own time, and what is the same already gets no new
//! version: doing it twice does nothing more.

use std::sync::Arc;

use adapters::pipeline::{MEDIA_TYPE, Pipeline};
use adapters::{IntakeError, Receipt};
use bytes::Bytes;
use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{Message, MessageFilter, MessagePlace, MessageState};

use crate::app::{Server, store_problem};
use crate::gateway::{Manner, ServerGateway, halted_by, waits_for};

/// Messages read again by one request at most; the answer says where to go on.
pub const MESSAGES_MAX: usize = 1_000;
/// How many messages that waited for others, which waited for others, are followed.
const FOLLOWED_MAX: usize = 100_000;

/// What became of one message that was read again.
pub struct Replayed {
    /// The message, or its corrected copy.
    pub id: i64,
    /// What it is now; `None` when nothing could be stored.
    pub state: Option<MessageState>,
    /// Why.
    pub reason: Option<String>,
}

/// How the feed of a message reads it today.
///
/// # Errors
/// `not-found` when the feed is not known any more, with the fix
pub fn pipeline_of(server: &Server, feed: &str) -> Result<Pipeline, Problem> {
    server.messages.pipeline(feed).ok_or_else(|| {
        let known = server.messages.feeds().join(", ");
        let text = format!("no feed of this name reads messages now; known are: {known}");
        Problem::new(ErrorKind::NOT_FOUND, text)
    })
}

/// A message of the log.
///
/// # Errors
/// `not-found`
pub async fn find(server: &Server, id: i64) -> Result<Message, Problem> {
    let found = server.store.message_by_id(id).await;
    found
        .map_err(|e| store_problem(&e))?
        .ok_or_else(|| Problem::new(ErrorKind::NOT_FOUND, "there is no message of this number"))
}

/// The bytes of a message.
///
/// # Errors
/// `not-found`
pub async fn raw(server: &Server, message: &Message) -> Result<Bytes, Problem> {
    let raw = server.store.message_raw(message.raw_hash).await;
    raw.map_err(|e| store_problem(&e))?.ok_or_else(|| {
        Problem::new(
            ErrorKind::NOT_FOUND,
            "the bytes of this message are not kept",
        )
    })
}

/// Reads a message again, and then those that waited for it. `chosen`: the record a person decided for.
///
/// # Errors
/// `not-found`; what storing answers
pub async fn again(
    server: &Arc<Server>,
    id: i64,
    chosen: Option<ResourceKey>,
) -> Result<Vec<Replayed>, Problem> {
    let mut done = vec![one(server, id, chosen).await?];
    follow(server, id, &mut done).await?;
    Ok(done)
}

/// Takes a corrected copy of a message, which then stands for it.
///
/// # Errors
/// `not-found`; `message-conflict` when the copy is no change; what storing answers
pub async fn corrected(
    server: &Arc<Server>,
    id: i64,
    copy: Bytes,
) -> Result<Vec<Replayed>, Problem> {
    let message = find(server, id).await?;
    if raw(server, &message).await? == copy {
        let text = "the copy is the message itself; leave the body out to read it again";
        return Err(Problem::new(ErrorKind::MESSAGE_CONFLICT, text));
    }
    let pipeline = pipeline_of(server, &message.feed)?;
    let manner = Manner {
        place: MessagePlace::CopyOf(id),
        chosen: None,
    };
    let reading = pipeline.read(copy);
    let gateway = ServerGateway::new(Arc::clone(server));
    let mut done = Vec::new();
    let result = gateway.take(reading.intake, &manner).await;
    let copy_id = match &result {
        Ok(receipt) => receipt.message_id.parse().ok(),
        Err(IntakeError::Invalid(_)) => newest_copy(server, id).await?,
        Err(_) => None,
    };
    done.push(state_of(server, copy_id.unwrap_or(id), result).await?);
    follow(server, id, &mut done).await?;
    Ok(done)
}

/// The corrected copy of a message that was kept last.
async fn newest_copy(server: &Server, id: i64) -> Result<Option<i64>, Problem> {
    let filter = MessageFilter {
        after: Some(id),
        state: Some(MessageState::Refused),
        ..MessageFilter::default()
    };
    let found = server.store.messages(filter, MESSAGES_MAX).await;
    let found = found.map_err(|e| store_problem(&e))?;
    let copy = found
        .into_iter()
        .find(|message| message.edited_from == Some(id));
    Ok(copy.map(|message| message.id))
}

/// Lets go what waits for a message, without reading the message itself.
///
/// # Errors
/// What storing answers
pub async fn release(server: &Arc<Server>, id: i64) -> Result<Vec<Replayed>, Problem> {
    let mut done = Vec::new();
    follow(server, id, &mut done).await?;
    Ok(done)
}

async fn one(
    server: &Arc<Server>,
    id: i64,
    chosen: Option<ResourceKey>,
) -> Result<Replayed, Problem> {
    let message = find(server, id).await?;
    if message.media_type != MEDIA_TYPE {
        let text = "only HL7 v2 messages can be read again";
        return Err(Problem::new(ErrorKind::MESSAGE_CONFLICT, text));
    }
    let pipeline = pipeline_of(server, &message.feed)?;
    let reading = pipeline.read(raw(server, &message).await?);
    let manner = Manner {
        place: MessagePlace::Again(id),
        chosen,
    };
    let gateway = ServerGateway::new(Arc::clone(server));
    let result = gateway.take(reading.intake, &manner).await;
    state_of(server, id, result).await
}

async fn state_of(
    server: &Server,
    id: i64,
    result: Result<Receipt, IntakeError>,
) -> Result<Replayed, Problem> {
    match result {
        Err(IntakeError::Overloaded) => Ok(not_stored(id, "overloaded: nothing was stored")),
        Err(IntakeError::Unavailable(_)) => Ok(not_stored(id, "unavailable: nothing was stored")),
        Ok(_) | Err(IntakeError::Invalid(_)) => {
            let message = find(server, id).await?;
            Ok(Replayed {
                id,
                state: Some(message.state),
                reason: message.reason,
            })
        }
    }
}

fn not_stored(id: i64, why: &str) -> Replayed {
    Replayed {
        id,
        state: None,
        reason: Some(why.to_owned()),
    }
}

/// Whether nobody needs to wait for the message any more.
fn is_settled(state: MessageState) -> bool {
    !matches!(
        state,
        MessageState::Refused | MessageState::Parked | MessageState::Received
    )
}

/// Reads again what waited for a message that is settled now, in the order of arrival; and what waited for those.
async fn follow(server: &Arc<Server>, id: i64, done: &mut Vec<Replayed>) -> Result<(), Problem> {
    let mut settled = vec![id];
    while let Some(id) = settled.pop() {
        if done.len() >= FOLLOWED_MAX || !is_settled(find(server, id).await?.state) {
            continue;
        }
        for (state, text) in [
            (MessageState::Parked, waits_for(id)),
            (MessageState::Received, halted_by(id)),
        ] {
            let mut after = 0;
            loop {
                let filter = MessageFilter {
                    state: Some(state),
                    text: Some(text.clone()),
                    after: Some(after),
                    oldest_first: true,
                    ..MessageFilter::default()
                };
                let waiting = server.store.messages(filter, MESSAGES_MAX).await;
                let waiting = waiting.map_err(|e| store_problem(&e))?;
                if waiting.is_empty() || done.len() >= FOLLOWED_MAX {
                    break;
                }
                for message in waiting {
                    after = message.id;
                    let replayed = one(server, message.id, None).await?;
                    settled.push(replayed.id);
                    done.push(replayed);
                }
            }
        }
    }
    Ok(())
}
