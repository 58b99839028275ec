//! Takes a file apart while it is read: one message, several in a row, or batches with FHS, BHS, BTS and FTS.
//!
//! HL7 v2 chapter 2, "Batch protocol" (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>). Holds one message at a time,
//! whatever the size of the file. BTS-1 and FTS-1 are checked against what was found.
//!
//! Left out on purpose: refusing the whole of a batch with a wrong count. Its messages are whole; only the last message
//! of a batch without its trailer may be cut, and is marked.

use std::io::{self, BufRead};

use bytes::Bytes;

use crate::issue::{Issue, Severity};

/// Bytes kept of a message that is too large: enough to find MSH.
const HEAD_BYTES: usize = 4 * 1024;
/// Longest envelope segment, bytes.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// What a file holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// FHS or BHS: the segment without its end.
    Header(Bytes),
    /// A whole message.
    Message(Bytes),
    /// The last message of a batch that has no trailer: it may have lost its end.
    Cut(Bytes),
    /// A message over the limit.
    TooLarge {
        /// How many bytes it had.
        bytes: usize,
        /// Its first bytes.
        head: Bytes,
    },
    /// BTS or FTS, or the place where it is missing.
    Trailer(Envelope),
    /// Something odd about the envelopes.
    Odd(Issue),
}

/// The two kinds of envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// BHS to BTS.
    Batch,
    /// FHS to FTS.
    File,
}

#[derive(Debug, Default)]
struct Counts {
    /// Messages since BHS, when inside of a batch.
    messages: Option<u64>,
    /// Batches since FHS, when inside of a file envelope.
    batches: Option<u64>,
}

/// Reads items.
pub struct BatchFile<R> {
    reader: R,
    message_bytes_max: usize,
    /// The message so far.
    message: Option<Vec<u8>>,
    /// True size of the message so far.
    message_bytes: usize,
    counts: Counts,
    ready: std::collections::VecDeque<Item>,
    is_utf16: Option<bool>,
    is_done: bool,
}

impl<R: BufRead> BatchFile<R> {
    /// Of a file, with a limit for each message in bytes.
    pub fn new(reader: R, message_bytes_max: usize) -> Self {
        Self {
            reader,
            message_bytes_max,
            message: None,
            message_bytes: 0,
            counts: Counts::default(),
            ready: std::collections::VecDeque::new(),
            is_utf16: None,
            is_done: false,
        }
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        while self.ready.is_empty() && !self.is_done {
            self.step()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads one line.
    fn step(&mut self) -> io::Result<()> {
        if self.is_utf16.is_none() {
            let start = self.reader.fill_buf()?;
            let is_utf16 = start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]);
            self.is_utf16 = Some(is_utf16);
            if is_utf16 {
                // A line end of UTF-16 is not one byte: such a file is one message.
                self.message = Some(Vec::new());
            }
        }
        let is_utf16 = self.is_utf16 == Some(true);
        let mut line = Vec::new();
        let length = self.line(&mut line)?;
        if length == 0 {
            self.end_of_file();
            return Ok(());
        }
        if is_utf16 {
            self.append(&line, length);
            return Ok(());
        }
        let blank = |b: &u8| {
            matches!(
                b,
                b' ' | b'\t' | 0x0B | 0x1C | 0xEF | 0xBB | 0xBF | b'\n' | b'\r'
            )
        };
        let start = line.iter().take_while(|b| blank(b)).count();
        let content = line.get(start..).unwrap_or_default();
        let id = content.get(..3).unwrap_or_default();
        let delimiter = content.get(3).copied();
        // A segment is followed by a delimiter or ends; a text line that starts with `MSH ` is none.
        let is_delimited =
            delimiter.is_none_or(|b| b.is_ascii_punctuation() || b == b'\r' || b == b'\n');
        let is_envelope = is_delimited && matches!(id, b"FHS" | b"BHS" | b"BTS" | b"FTS");
        let is_header = id == b"MSH" && delimiter.is_some_and(|b| b.is_ascii_punctuation());
        if is_envelope || is_header {
            self.end_of_message(false);
        }
        if is_header {
            self.message = Some(Vec::new());
            let length = length - start;
            let content = content.to_vec();
            self.append(&content, length);
        } else if is_envelope {
            let segment = content.trim_ascii_end().to_vec();
            self.envelope(&segment);
        } else if self.message.is_some() {
            self.append(&line, length);
        } else if !content.is_empty() {
            // Lines before any MSH are handed over all the same; their reader says what is wrong with them.
            self.message = Some(Vec::new());
            self.append(&line, length);
        }
        Ok(())
    }

    /// One line with its end; only its first bytes when it is longer than a message may be. Answers its true length.
    fn line(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(length);
            }
            let end = memchr::memchr2(b'\r', b'\n', chunk).map(|at| at + 1);
            let taken = end.unwrap_or(chunk.len());
            let room = (self.message_bytes_max + ENVELOPE_BYTES_MAX).saturating_sub(line.len());
            line.extend_from_slice(chunk.get(..taken.min(room)).unwrap_or_default());
            length += taken;
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(length);
            }
        }
    }

    fn append(&mut self, line: &[u8], length: usize) {
        let Some(message) = &mut self.message else {
            return;
        };
        self.message_bytes += length;
        if self.message_bytes <= self.message_bytes_max {
            message.extend_from_slice(line);
        } else if message.len() < HEAD_BYTES {
            message.extend_from_slice(line.get(..HEAD_BYTES.min(line.len())).unwrap_or_default());
        } else {
            message.truncate(HEAD_BYTES);
            message.shrink_to_fit();
        }
    }

    fn end_of_message(&mut self, is_cut: bool) {
        let Some(message) = self.message.take() else {
            return;
        };
        let bytes = std::mem::take(&mut self.message_bytes);
        let is_message = message.starts_with(b"MSH");
        if let Some(count) = self.counts.messages.as_mut().filter(|_| is_message) {
            *count += 1;
        }
        self.ready.push_back(if bytes > self.message_bytes_max {
            Item::TooLarge {
                bytes,
                head: message.into(),
            }
        } else if is_cut {
            Item::Cut(message.into())
        } else {
            Item::Message(message.into())
        });
    }

    fn envelope(&mut self, segment: &[u8]) {
        match segment.get(..3) {
            Some(b"FHS") => {
                self.close_batch();
                if self.counts.batches.take().is_some() {
                    self.odd(
                        "batch-unfinished",
                        "FHS inside of a file that has no FTS yet",
                    );
                    self.ready.push_back(Item::Trailer(Envelope::File));
                }
                self.counts.batches = Some(0);
                self.ready
                    .push_back(Item::Header(Bytes::copy_from_slice(segment)));
            }
            Some(b"BHS") => {
                self.close_batch();
                self.counts.messages = Some(0);
                self.ready
                    .push_back(Item::Header(Bytes::copy_from_slice(segment)));
            }
            Some(b"BTS") => {
                match self.counts.messages.take() {
                    None => self.odd("batch-trailer", "BTS without a BHS before it"),
                    Some(found) => self.check(segment, "BTS-1", "messages of the batch", found),
                }
                self.batch_ends();
            }
            _ => {
                self.close_batch();
                match self.counts.batches.take() {
                    None => self.odd("batch-trailer", "FTS without an FHS before it"),
                    Some(found) => self.check(segment, "FTS-1", "batches of the file", found),
                }
                self.ready.push_back(Item::Trailer(Envelope::File));
            }
        }
    }

    fn batch_ends(&mut self) {
        if let Some(count) = &mut self.counts.batches {
            *count += 1;
        }
        self.ready.push_back(Item::Trailer(Envelope::Batch));
    }

    /// A batch that goes on into the next header has lost its trailer.
    fn close_batch(&mut self) {
        if self.counts.messages.take().is_some() {
            self.odd(
                "batch-unfinished",
                "a batch has no BTS; messages may be missing",
            );
            self.batch_ends();
        }
    }

    fn check(&mut self, trailer: &[u8], place: &str, what: &str, found: u64) {
        let separator = trailer.get(3).copied();
        let field = separator
            .and_then(|s| trailer.get(4..)?.split(|b| *b == s).next())
            .and_then(|field| std::str::from_utf8(field).ok())
            .map_or("", str::trim);
        if !field.is_empty() && field.parse() != Ok(found) {
            let text = format!("{place} is not the number of {what}, which is {found}");
            self.ready
                .push_back(Item::Odd(Issue::new(Severity::Error, "batch-count", text)));
        }
    }

    fn odd(&mut self, code: &'static str, text: &'static str) {
        self.ready
            .push_back(Item::Odd(Issue::new(Severity::Error, code, text)));
    }

    fn end_of_file(&mut self) {
        self.is_done = true;
        self.end_of_message(self.counts.messages.is_some());
        self.close_batch();
        if self.counts.batches.take().is_some() {
            self.odd(
                "batch-unfinished",
                "the file has no FTS; batches may be missing",
            );
            self.ready.push_back(Item::Trailer(Envelope::File));
        }
    }
}
