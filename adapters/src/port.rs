//! The port between adapters and the server: what an adapter hands over, and what it learns back.
//!
//! Contract: `adapters/README.md`. The HL7 v2 answer each outcome becomes is in [`crate::hl7v2::ack`].
//!
//! Left out on purpose: the time of receipt and the hash of the content. The server has the clock, the store hashes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use mappings::{Action, Position, Produced};

use crate::issue::Issue;
use crate::stop::Stop;

/// The future a [`Gateway`] answers with.
pub type Commit<'a> = Pin<Box<dyn Future<Output = Result<Receipt, IntakeError>> + Send + 'a>>;

/// What adapters see of the server.
pub trait Gateway: Send + Sync + 'static {
    /// Stores raw message, resources, Provenance and status in ONE durable transaction; resolves only when that
    /// transaction would survive a power failure.
    ///
    /// Called at once for messages that share no resource; messages that share one are handed over in the order
    /// received, the next only after the earlier has resolved.
    fn commit(&self, intake: Intake) -> Commit<'_>;
}

/// One message, read and mapped.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Name of the feed in the configuration.
    pub feed: String,
    /// `x-application/hl7-v2+er7` for HL7 v2.
    pub media_type: &'static str,
    /// The message exactly as received, without framing.
    pub raw: Bytes,
    /// What makes a second copy of this message recognisable.
    pub dedupe: DedupeKey,
    /// MSH-9 as sent, with `^` between its components; empty when the message has none.
    pub message_type: String,
    /// The mapping that ran and its version, `hl7v2-oru-r01 1`; `None` when none ran.
    pub mapping: Option<String>,
    /// Resources to write; empty when the message is refused.
    pub resources: Vec<Produced>,
    /// Merges, moves and links to carry out after the resources are written, in this order.
    pub actions: Vec<Action>,
    /// What was odd about the message, in the order found.
    pub issues: Vec<Issue>,
    /// Filled places of the message that no mapping rule read: the loss report. At most
    /// [`crate::pipeline::UNREAD_MAX`] of them; `unread_count` is the true number.
    pub unread: Vec<Position>,
    /// How many filled places no rule read.
    pub unread_count: usize,
    /// Whether the message is to be processed, or only kept with the reason why not.
    pub disposition: Disposition,
}

/// Sender and control id. A store treats a message as a repeat only when the content is the same too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DedupeKey {
    /// MSH-3 and MSH-4 as sent, joined by `|`.
    pub sender: String,
    /// MSH-10; empty when the sender gave none, and then no key.
    pub control_id: String,
}

/// What the server is to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Write the resources.
    Process,
    /// Keep the raw message with this reason; write no resource.
    Refuse {
        /// The answer the sender gets.
        code: AckCode,
        /// Why.
        reason: Issue,
    },
}

/// HL7 table 0008: what an acknowledgement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// `AA`: stored and processed.
    Accept,
    /// `AE`: the content is wrong; the raw message is kept.
    Error,
    /// `AR`: not for us, or not now.
    Reject,
}

impl AckCode {
    /// The code of table 0008, original mode.
    pub fn as_str(self) -> &'static str {
        match self {
            AckCode::Accept => "AA",
            AckCode::Error => "AE",
            AckCode::Reject => "AR",
        }
    }
}

/// What a durable commit answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the kept message.
    pub message_id: String,
    /// True when sender, control id and content were seen before: nothing changed, `outcome` is the earlier one.
    pub repeat: bool,
    /// What became of the message.
    pub outcome: Outcome,
}

/// What became of a message that is durably kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its resources are stored.
    Processed,
    /// It is kept with a reason; nothing else was written.
    Refused {
        /// The answer the sender gets.
        code: AckCode,
        /// Why.
        reason: Issue,
    },
}

/// Why a commit did not take the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The server's queue is full. Nothing was stored; the sender must send again.
    #[error("overloaded: nothing was stored")]
    Overloaded,
    /// The resources are not valid. The server HAS kept the raw message with the reason.
    #[error("the resources are not valid; the message is kept")]
    Invalid(Vec<Issue>),
    /// The store cannot be reached. Nothing was stored; the sender must send again.
    #[error("unavailable: nothing was stored")]
    Unavailable(String),
}

/// Something that receives from another system until it is stopped.
pub trait Adapter: Send {
    /// Short name for logs and metrics, `mllp`.
    fn kind(&self) -> &'static str;

    /// Starts receiving. Returns once the adapter is ready, so that a port in use fails the start.
    ///
    /// # Errors
    /// When the adapter cannot listen or connect.
    fn start(
        self: Box<Self>,
        gateway: Arc<dyn Gateway>,
        stop: Stop,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<Running>> + Send>>;
}

/// A started adapter.
#[derive(Debug)]
pub struct Running {
    /// Where it listens, if it does; with the real port when 0 was asked for.
    pub address: Option<SocketAddr>,
    /// Ends when the adapter has finished what it had received before the stop.
    pub finished: tokio::task::JoinHandle<()>,
}
