//! The log of received messages: raw bytes kept whole, what became of them, and repeats found.

use bytes::Bytes;
use fhir_core::ids::{Instant, ResourceKey, VersionId};

use crate::feed_state::Bookkeeping;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Everything was taken over.
    Processed,
    /// Taken over, but something needs a look.
    Warnings,
    /// Nothing was taken over; the raw message and the reason are kept.
    Refused,
    /// Kept, and waits for an earlier message or a person's decision.
    Parked,
    /// A person decided that it is not to be used.
    Discarded,
    /// Taken over when it was read again, or through a corrected copy.
    Replayed,
    /// Kept while the feed is halted; not looked at yet.
    Received,
    /// All it says was older than what was stored.
    Superseded,
}

impl MessageState {
    /// All states.
    pub const ALL: [MessageState; 8] = [
        MessageState::Processed,
        MessageState::Warnings,
        MessageState::Refused,
        MessageState::Parked,
        MessageState::Discarded,
        MessageState::Replayed,
        MessageState::Received,
        MessageState::Superseded,
    ];

    /// The word for it.
    pub fn code(self) -> &'static str {
        match self {
            MessageState::Processed => "processed",
            MessageState::Warnings => "warnings",
            MessageState::Refused => "error",
            MessageState::Parked => "parked",
            MessageState::Discarded => "discarded",
            MessageState::Replayed => "replayed",
            MessageState::Received => "received",
            MessageState::Superseded => "superseded",
        }
    }

    /// The state of a word.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A message to record together with what it changed.
#[derive(Debug, Clone)]
pub struct MessageRecord {
    /// Name of the feed in the configuration.
    pub feed: String,
    /// Such as `x-application/hl7-v2+er7`.
    pub media_type: String,
    /// The message, byte for byte.
    pub raw: Bytes,
    /// Who sent it (for HL7 v2: MSH-3 and MSH-4).
    pub sender: String,
    /// The sender's number of the message (MSH-10).
    pub control_id: String,
    /// Such as `ORU^R01^ORU_R01`.
    pub message_type: String,
    /// What became of it.
    pub state: MessageState,
    /// Why it was refused or needs a look; names places, not values.
    pub reason: Option<String>,
    /// Issues found, as JSON text.
    pub issues_json: String,
    /// Resources it made or changed.
    pub made: Vec<ResourceKey>,
    /// What else it changes.
    pub bookkeeping: Bookkeeping,
}

/// What the store knows of a message it has recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReceipt {
    /// Number of the message in the log.
    pub id: i64,
    /// Whether the same message was recorded before.
    pub repeat: bool,
    /// Whether the sender has used the control id for other content before.
    pub same_control_id_other_content: bool,
    /// What became of it.
    pub state: MessageState,
    /// Why.
    pub reason: Option<String>,
    /// When it was recorded first.
    pub received_at: Instant,
}

/// A message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Number in the log.
    pub id: i64,
    /// Name of the feed.
    pub feed: String,
    /// Media type of the raw bytes.
    pub media_type: String,
    /// Who sent it.
    pub sender: String,
    /// The sender's number.
    pub control_id: String,
    /// Type of the message.
    pub message_type: String,
    /// SHA-256 of the raw bytes.
    pub raw_hash: [u8; 32],
    /// Length of the raw bytes.
    pub raw_bytes: u64,
    /// What became of it.
    pub state: MessageState,
    /// Why.
    pub reason: Option<String>,
    /// Issues found, as JSON text.
    pub issues_json: String,
    /// When it was recorded.
    pub received_at: Instant,
    /// What it made or changed; the version is `None` for a resource named without a change.
    pub made: Vec<(ResourceKey, Option<VersionId>)>,
    /// The mapping that read it and its version.
    pub mapping: Option<String>,
    /// When its state was last changed after it was recorded.
    pub changed_at: Option<Instant>,
    /// How often it was read again.
    pub replays: u32,
    /// The message it is a corrected copy of.
    pub edited_from: Option<i64>,
}

/// Which messages to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only those of this feed.
    pub feed: Option<String>,
    /// Only those in this state.
    pub state: Option<MessageState>,
    /// Only those with a smaller number (paging).
    pub before: Option<i64>,
    /// Only those with a greater number.
    pub after: Option<i64>,
    /// Only those of this type, as sent, or beginning with it: `ORU`.
    pub message_type: Option<String>,
    /// Only those with this control id.
    pub control_id: Option<String>,
    /// Only those that made or changed this resource.
    pub resource: Option<ResourceKey>,
    /// Only those with an issue of this code, or refused for it.
    pub code: Option<String>,
    /// Only those with this in reason or issues.
    pub text: Option<String>,
    /// Only those recorded at this time or later.
    pub since: Option<Instant>,
    /// Only those recorded before this time.
    pub until: Option<Instant>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
}
