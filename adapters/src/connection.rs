//! One MLLP connection: reads ahead while earlier messages commit, answers in the order received.
//!
//! Contract: `adapters/README.md`. Messages that share a resource are committed one after the other, so
//! that a patient's later message never overtakes an earlier one; others are committed together.
//!
//! Left out on purpose: order between connections. Two connections are two senders.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::counters::add;
use crate::lane::Lane;
use crate::mllp::{Deframer, Event, frame};
use crate::pipeline::Answer;
use crate::shared::Shared;
use crate::stop::Stop;

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// A frame that grows beyond this, bytes, needs one of the feed's few places for large ones: the memory of a feed is
/// this for each connection, and twice the largest message for each place.
const LARGE_BYTES: usize = 1024 * 1024;

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
        lane: Lane::new(Arc::clone(&shared)),
        large: None,
        end: None,
        stream,
        shared,
    };
    connection.run(stop).await;
    let unfinished = connection.deframer.unfinished();
    if unfinished > 0 {
        add(&connection.shared.counters.frames_cut, 1);
        tracing::warn!(
            bytes = unfinished,
            "a connection ended inside a frame; its sender must send it again"
        );
    }
    // The peer may be gone already; there is nobody left to tell.
    let _ = connection.stream.shutdown().await;
}

struct Connection<S> {
    stream: S,
    shared: Arc<Shared>,
    deframer: Deframer,
    lane: Lane,
    /// Held while a large frame is received.
    large: Option<OwnedSemaphorePermit>,
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
            let idle = self.lane.is_idle();
            if self.end == Some(End::Close) || (self.end.is_some() && idle) {
                return;
            }
            let is_large = self.deframer.unfinished() > LARGE_BYTES;
            if !is_large {
                self.large = None;
            }
            let wants = self.end.is_none() && self.lane.has_room();
            let must_wait = wants && is_large && self.large.is_none();
            let can_read = wants && !must_wait;
            let deadline = quiet_since + self.patience();
            let large = Arc::clone(&self.shared.large);
            tokio::select! {
                biased;
                answer = self.lane.next() => self.answered(answer).await,
                () = stop.asked(), if self.end.is_none() => self.end = Some(End::Finish),
                place = large.acquire_owned(), if must_wait => {
                    self.large = place.ok();
                    // The sender was not silent while it had to wait.
                    quiet_since = Instant::now();
                }
                read = read(&mut self.stream, &mut self.deframer), if can_read => {
                    quiet_since = Instant::now();
                    // An error and an end are the same here: nothing more can be received.
                    if !matches!(read, Ok(n) if n > 0) {
                        self.end = Some(End::Finish);
                    }
                }
                () = tokio::time::sleep_until(deadline), if can_read && idle => self.end = Some(End::Close),
            }
            if self.lane.is_busy() {
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

    /// Begins whatever may begin: the held message, then frames that are complete.
    async fn begin(&mut self) {
        if self.end == Some(End::Close) {
            return;
        }
        self.lane.release();
        while self.end != Some(End::Close) && self.lane.has_room() {
            match self.deframer.next_event() {
                None => return,
                Some(Event::Frame(raw)) => match self.shared.read(raw).await {
                    Some(reading) => self.lane.submit(reading),
                    None => self.end = Some(End::Close),
                },
                Some(Event::TooLarge { bytes, head }) => {
                    let answer = self.shared.too_large(bytes, &head);
                    self.lane.submit_answer(answer);
                }
                Some(Event::Garbage { bytes }) => {
                    add(&self.shared.counters.garbage_bytes, bytes as u64);
                    tracing::warn!(bytes, "bytes outside any MLLP frame were left out");
                }
                Some(Event::Cut { bytes }) => {
                    add(&self.shared.counters.frames_cut, 1);
                    tracing::warn!(
                        bytes,
                        "a frame was cut by the next; its sender must send it again"
                    );
                }
            }
        }
    }

    /// Sends the first answer and all that are ready behind it.
    async fn answered(&mut self, first: Option<Answer>) {
        let mut out = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            match answer {
                None => {
                    // Whether it was stored is not known, so nothing may be said about it.
                    tracing::error!(
                        "a commit panicked; the connection is closed without an answer"
                    );
                    self.end = Some(End::Close);
                }
                Some(Answer::Kept { code, acks, .. }) => {
                    self.shared.counters.answered(code);
                    out.extend(acks.iter().flat_map(|ack| frame(ack)));
                }
                Some(Answer::NotStored(ack)) => {
                    add(&self.shared.counters.not_stored, 1);
                    out.extend(ack.iter().flat_map(|ack| frame(ack)));
                    // Later messages must not overtake this one: closing makes the sender resend all in order. It is
                    // also all that can be said to a sender that wants no answer.
                    if ack.is_none() || !self.lane.is_idle() || self.deframer.unfinished() > 0 {
                        self.end = Some(End::Close);
                    }
                }
            }
            next = match self.end {
                Some(End::Close) => None,
                _ => self.lane.next_finished().await,
            };
        }
        let patience = Duration::from_secs(self.shared.settings.frame_timeout_s);
        if !matches!(timeout(patience, self.send(&out)).await, Ok(Ok(()))) {
            tracing::warn!(
                "an acknowledgement could not be sent; the sender will send the message again"
            );
            self.end = Some(End::Close);
        }
    }

    async fn send(&mut self, out: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(out).await?;
        // TLS keeps bytes back until it is told to send them.
        self.stream.flush().await
    }
}

async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    deframer: &mut Deframer,
) -> std::io::Result<usize> {
    let buffer = deframer.buffer();
    buffer.reserve(READ_BYTES);
    stream.read_buf(buffer).await
}
