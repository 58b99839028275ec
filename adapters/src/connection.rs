//! One MLLP connection: reads ahead while earlier messages commit, answers in the order received.
//!
//! Contract: `adapters/README.md`. Messages that share a resource are committed one after the other, so
//! that a patient's later message never overtakes an earlier one; others are committed together.
//!
//! Left out on purpose: order between connections. Two connections are two senders.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::counters::{Counters, add};
use crate::issue::{Issue, Severity};
use crate::listener::{Settings, Surroundings};
use crate::mllp::{Deframer, Event, frame};
use crate::pipeline::{Answer, Envelope, Pipeline, Reading};
use crate::port::{AckCode, Gateway};
use crate::stop::Stop;

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// Messages up to this size, bytes, are read and mapped on the connection's own thread: some milliseconds at most.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What all connections of a listener share.
pub(crate) struct Shared {
    pub settings: Settings,
    pub pipeline: Arc<Pipeline>,
    pub gateway: Arc<dyn Gateway>,
    pub surroundings: Surroundings,
    pub counters: Arc<Counters>,
    /// Messages of all connections that may commit at the same time.
    pub commits: Arc<Semaphore>,
}

/// A message whose commit has begun. Its task goes on even when the connection breaks: what is stored is stored, and
/// the sender's second copy is recognised.
struct InFlight {
    keys: HashSet<String>,
    bytes: usize,
    answer: JoinHandle<Answer>,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender closed, or the server stops: answer what was received, then close.
    Finish,
    /// Close now: an answer is missing or could not be sent, and the sender must resend from there.
    Close,
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(stream: S, shared: Arc<Shared>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection {
        deframer: Deframer::new(shared.settings.frame_bytes_max),
        in_flight: VecDeque::new(),
        held: None,
        end: None,
        stream,
        shared,
    };
    connection.run(stop).await;
    let unfinished = connection.deframer.unfinished();
    if unfinished > 0 {
        add(&connection.shared.counters.frames_cut, 1);
        tracing::warn!(bytes = unfinished, "a connection ended inside a frame; its sender must send it again");
    }
    // The peer may be gone already; there is nobody left to tell.
    let _ = connection.stream.shutdown().await;
}

struct Connection<S> {
    stream: S,
    shared: Arc<Shared>,
    deframer: Deframer,
    in_flight: VecDeque<InFlight>,
    /// Read and mapped, waiting for an earlier message about the same resource.
    held: Option<Reading>,
    end: Option<End>,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    async fn run(&mut self, mut stop: Stop) {
        let mut quiet_since = Instant::now();
        loop {
            self.begin().await;
            let idle = self.in_flight.is_empty() && self.held.is_none();
            if self.end == Some(End::Close) || (self.end.is_some() && idle) {
                return;
            }
            let can_read = self.end.is_none() && self.has_room();
            let deadline = quiet_since + self.patience();
            tokio::select! {
                biased;
                answer = front(&mut self.in_flight) => self.answered(answer).await,
                () = stop.asked(), if self.end.is_none() => self.end = Some(End::Finish),
                read = read(&mut self.stream, &mut self.deframer), if can_read => {
                    quiet_since = Instant::now();
                    // An error and an end are the same here: nothing more can be received.
                    if !matches!(read, Ok(n) if n > 0) {
                        self.end = Some(End::Finish);
                    }
                }
                () = tokio::time::sleep_until(deadline), if can_read && idle => self.end = Some(End::Close),
            }
            if !self.in_flight.is_empty() {
                quiet_since = Instant::now();
            }
        }
    }

    /// How long silence is accepted: shorter inside a frame, where it means that the sender is gone.
    fn patience(&self) -> Duration {
        let seconds = match self.deframer.unfinished() {
            0 => self.shared.settings.idle_timeout_s,
            _ => self.shared.settings.frame_timeout_s,
        };
        Duration::from_secs(seconds)
    }

    /// Stops reading, and with it the sender, while as much is under way as one connection may have.
    fn has_room(&self) -> bool {
        let bytes: usize = self.in_flight.iter().map(|m| m.bytes).sum();
        self.held.is_none()
            && self.in_flight.len() < self.shared.settings.window.max(1)
            && bytes <= self.shared.settings.frame_bytes_max
    }

    /// Begins whatever may begin: the held message, then frames that are complete.
    async fn begin(&mut self) {
        if let Some(reading) = self.held.take() {
            self.commit_or_hold(reading);
        }
        while self.end != Some(End::Close) && self.has_room() {
            match self.deframer.next_event() {
                None => return,
                Some(Event::Frame(raw)) => {
                    let reading = self.read(raw).await;
                    match reading {
                        Some(reading) => self.commit_or_hold(reading),
                        None => self.end = Some(End::Close),
                    }
                }
                Some(Event::TooLarge { bytes, head }) => self.too_large(bytes, &head),
                Some(Event::Garbage { bytes }) => {
                    add(&self.shared.counters.garbage_bytes, bytes as u64);
                    tracing::warn!(bytes, "bytes outside any MLLP frame were left out");
                }
                Some(Event::Cut { bytes }) => {
                    add(&self.shared.counters.frames_cut, 1);
                    tracing::warn!(bytes, "a frame was cut by the next; its sender must send it again");
                }
            }
        }
    }

    /// Reads and maps; `None` when that failed in a way that should not be possible.
    async fn read(&self, raw: Bytes) -> Option<Reading> {
        add(&self.shared.counters.received, 1);
        let pipeline = Arc::clone(&self.shared.pipeline);
        if raw.len() <= INLINE_BYTES_MAX {
            return Some(pipeline.read(raw));
        }
        let read = tokio::task::spawn_blocking(move || pipeline.read(raw)).await;
        read.inspect_err(|_| tracing::error!("reading a message panicked; the connection is closed unanswered")).ok()
    }

    fn commit_or_hold(&mut self, reading: Reading) {
        // A refused message has no resources and waits for nothing.
        if self.in_flight.iter().any(|m| !m.keys.is_disjoint(&reading.keys)) {
            self.held = Some(reading);
            return;
        }
        let Reading { intake, envelope, keys } = reading;
        let bytes = intake.raw.len();
        let shared = Arc::clone(&self.shared);
        let answer = tokio::spawn(async move {
            let result = match shared.commits.acquire().await {
                Ok(_permit) => shared.gateway.commit(intake).await,
                Err(_) => Err(crate::IntakeError::Overloaded),
            };
            let (now, id) = shared.surroundings.stamp();
            envelope.answer(&result, &now, &id)
        });
        self.in_flight.push_back(InFlight { keys, bytes, answer });
    }

    fn too_large(&mut self, bytes: usize, head: &[u8]) {
        let max = self.shared.settings.frame_bytes_max;
        tracing::warn!(bytes, max, "a frame is too large and was left out");
        add(&self.shared.counters.frames_too_large, 1);
        let envelope = Envelope::of_unread(head);
        let text = format!("the frame is larger than {max} bytes and was not stored; raise `frame_bytes_max`");
        let (now, id) = self.shared.surroundings.stamp();
        let reason = Issue::new(Severity::Error, "frame-too-large", text);
        let answer = envelope.not_stored(reason, &now, &id);
        let answer = match answer {
            // Sending it again would not help, so later messages need not wait for it.
            Answer::NotStored(bytes) => Answer::Kept { code: AckCode::Reject, bytes: Some(bytes) },
            other => other,
        };
        self.in_flight.push_back(InFlight {
            keys: HashSet::new(),
            bytes: 0,
            answer: tokio::spawn(async move { answer }),
        });
    }

    /// Sends the first answer and all that are ready behind it.
    async fn answered(&mut self, first: Option<Answer>) {
        let mut out = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            self.in_flight.pop_front();
            match answer {
                None => {
                    // Whether it was stored is not known, so nothing may be said about it.
                    tracing::error!("a commit panicked; the connection is closed without an answer");
                    self.end = Some(End::Close);
                }
                Some(Answer::Kept { code, bytes }) => {
                    self.shared.counters.answered(code);
                    out.extend(bytes.iter().flat_map(|bytes| frame(bytes)));
                }
                Some(Answer::NotStored(bytes)) => {
                    add(&self.shared.counters.not_stored, 1);
                    out.extend(frame(&bytes));
                    let others = !self.in_flight.is_empty() || self.held.is_some() || self.deframer.unfinished() > 0;
                    if others {
                        // Later messages must not overtake this one: closing makes the sender resend all in order.
                        self.end = Some(End::Close);
                    }
                }
            }
            next = match self.in_flight.front_mut() {
                Some(m) if self.end != Some(End::Close) && m.answer.is_finished() => {
                    Some((&mut m.answer).await.ok())
                }
                _ => None,
            };
        }
        let patience = Duration::from_secs(self.shared.settings.frame_timeout_s);
        if !matches!(timeout(patience, self.stream.write_all(&out)).await, Ok(Ok(()))) {
            tracing::warn!("an acknowledgement could not be sent; the sender will send the message again");
            self.end = Some(End::Close);
        }
    }
}

/// The answer of the oldest message; waits for ever when there is none.
async fn front(in_flight: &mut VecDeque<InFlight>) -> Option<Answer> {
    match in_flight.front_mut() {
        Some(message) => (&mut message.answer).await.ok(),
        None => std::future::pending().await,
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, deframer: &mut Deframer) -> std::io::Result<usize> {
    let buffer = deframer.buffer();
    buffer.reserve(READ_BYTES);
    stream.read_buf(buffer).await
}
