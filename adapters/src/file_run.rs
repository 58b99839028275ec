//! One claimed file from its first message to its place in `done` or `error`.
//!
//! Contract: `adapters/README.md`. A few messages are in memory at a time, whatever the size of the file. When
//! the store takes nothing, the file is gone through again and goes on behind the last message that was answered.
//!
//! Left out on purpose: remembering the position over a restart. What was stored is recognised.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::answer_file::AnswerFile;
use crate::batch_file::{BatchFile, Item};
use crate::counters::add;
use crate::folder::{BatchAcknowledge, Places};
use crate::issue::{Issue, Severity};
use crate::lane::Lane;
use crate::pipeline::Answer;
use crate::port::AckCode;
use crate::shared::Shared;
use crate::stop::Stop;

/// Items read from the disk at a time.
const ITEMS_AT_ONCE: usize = 16;
/// After so many bytes no further item is read at the same time.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// How often a message whose commit panicked is tried before the file goes on without an answer for it.
const TRIES_MAX: u32 = 3;
/// Lines of an `.error` file: people read the first ones, and the message log has all.
const LINES_MAX: usize = 1_000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The file is in `done` or `error`.
    Finished,
    /// The server stops; the file stays in `work`.
    Stopped,
    /// The store takes nothing; to be gone on with later.
    NotStored,
}

/// A file on its way.
pub(crate) struct FileRun {
    places: Places,
    name: OsString,
    shared: Arc<Shared>,
    policy: BatchAcknowledge,
    answers: Option<AnswerFile>,
    /// Items that are answered for.
    items_done: usize,
    messages: usize,
    refused: usize,
    lines: Vec<String>,
    lines_left_out: usize,
    tries: u32,
}

/// An item whose turn has not come.
enum Waiting {
    Message,
    Envelope(Item),
}

impl FileRun {
    pub(crate) fn new(
        places: &Places,
        name: &OsStr,
        shared: Arc<Shared>,
        policy: BatchAcknowledge,
    ) -> Self {
        Self {
            places: places.clone(),
            name: name.to_owned(),
            shared,
            policy,
            answers: None,
            items_done: 0,
            messages: 0,
            refused: 0,
            lines: Vec::new(),
            lines_left_out: 0,
            tries: 0,
        }
    }

    /// Goes on until the end of the file, or as far as possible.
    pub(crate) async fn go(&mut self, stop: &Stop) -> io::Result<Ended> {
        let path = self.places.work.join(&self.name);
        let max = self.shared.settings.frame_bytes_max;
        let mut file = Some(BatchFile::new(BufReader::new(File::open(&path)?), max));
        if self.answers.is_none() && self.policy != BatchAcknowledge::None {
            self.answers = Some(AnswerFile::create(&beside(&path, "ack"))?);
        }
        let mut lane = Lane::new(Arc::clone(&self.shared));
        let mut waiting = VecDeque::new();
        let mut to_skip = self.items_done;
        while let Some(reader) = file.take() {
            if stop.is_asked() {
                self.drain(&mut lane, &mut waiting).await?;
                return Ok(Ended::Stopped);
            }
            let (items, rest) = read_some(reader).await?;
            file = rest;
            for item in items {
                if to_skip > 0 {
                    to_skip -= 1;
                    continue;
                }
                while !lane.has_room() {
                    let answer = lane.next().await;
                    if !self.account(answer, &mut waiting)? {
                        return Ok(Ended::NotStored);
                    }
                    // Only now: a message that waits for one that was not stored must not overtake it.
                    lane.release();
                }
                self.begin(item, &mut lane, &mut waiting).await?;
            }
        }
        if !self.drain(&mut lane, &mut waiting).await? {
            return Ok(Ended::NotStored);
        }
        self.finish(&path).await?;
        Ok(Ended::Finished)
    }

    async fn begin(
        &mut self,
        item: Item,
        lane: &mut Lane,
        waiting: &mut VecDeque<Waiting>,
    ) -> io::Result<()> {
        let reading = match item {
            Item::Message(raw) => self.shared.read(raw).await,
            Item::Cut(raw) => {
                let text = "the batch ends without BTS, so this message may have lost its end; send it again";
                let reason = Issue::new(Severity::Error, "batch-unfinished", text);
                self.shared.refuse(raw, reason).await
            }
            Item::TooLarge { bytes, head } => {
                waiting.push_back(Waiting::Message);
                lane.submit_answer(self.shared.too_large(bytes, &head));
                return Ok(());
            }
            envelope @ (Item::Header(_) | Item::Trailer(_) | Item::Odd(_)) => {
                waiting.push_back(Waiting::Envelope(envelope));
                return self.envelopes(waiting);
            }
        };
        waiting.push_back(Waiting::Message);
        match reading {
            Some(reading) => lane.submit(reading),
            None => lane.submit_answer(Answer::Kept {
                code: AckCode::Error,
                acks: Vec::new(),
                reason: Some("the message could not be read; it is in this file only".to_owned()),
            }),
        }
        Ok(())
    }

    /// Waits for all answers; false when a message was not stored.
    async fn drain(
        &mut self,
        lane: &mut Lane,
        waiting: &mut VecDeque<Waiting>,
    ) -> io::Result<bool> {
        while !lane.is_idle() {
            let answer = lane.next().await;
            if !self.account(answer, waiting)? {
                return Ok(false);
            }
            lane.release();
        }
        Ok(true)
    }

    /// Writes down the answer of the oldest message; false when it was not stored.
    fn account(
        &mut self,
        answer: Option<Answer>,
        waiting: &mut VecDeque<Waiting>,
    ) -> io::Result<bool> {
        let (code, acks, reason) = match answer {
            Some(Answer::Kept { code, acks, reason }) => {
                self.shared.counters.answered(code);
                (code, acks, reason)
            }
            Some(Answer::NotStored(_)) => {
                add(&self.shared.counters.not_stored, 1);
                return Ok(false);
            }
            None => {
                self.tries += 1;
                if self.tries < TRIES_MAX {
                    return Ok(false);
                }
                let text = "its commit failed each time; it is in this file only";
                (AckCode::Error, Vec::new(), Some(text.to_owned()))
            }
        };
        self.tries = 0;
        self.messages += 1;
        if code != AckCode::Accept {
            self.refused += 1;
            let reason = reason.unwrap_or_default();
            self.line(format!(
                "message {}: {} {reason}",
                self.messages,
                code.as_str()
            ));
        }
        let wanted = self.policy == BatchAcknowledge::All || code != AckCode::Accept;
        if let Some(answers) = self.answers.as_mut().filter(|_| wanted) {
            acks.iter().try_for_each(|ack| answers.acknowledge(ack))?;
        }
        self.items_done += 1;
        waiting.pop_front();
        self.envelopes(waiting)?;
        Ok(true)
    }

    /// Writes down the envelope segments whose turn has come.
    fn envelopes(&mut self, waiting: &mut VecDeque<Waiting>) -> io::Result<()> {
        while let Some(Waiting::Envelope(_)) = waiting.front() {
            let Some(Waiting::Envelope(item)) = waiting.pop_front() else {
                break;
            };
            self.items_done += 1;
            match (item, &mut self.answers) {
                (Item::Header(segment), Some(answers)) => {
                    let (now, id) = self.shared.stamp();
                    answers.open(&segment, &now.to_string(), &id)?;
                }
                (Item::Trailer(envelope), Some(answers)) => answers.close(envelope)?,
                (Item::Odd(issue), _) => self.line(issue.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    fn line(&mut self, text: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(text);
        } else {
            self.lines_left_out += 1;
        }
    }

    /// Moves the file and its answers.
    async fn finish(&mut self, path: &Path) -> io::Result<()> {
        if self.messages == 0 {
            self.line("the file holds no message".to_owned());
        }
        let is_good = self.lines.is_empty();
        let target = if is_good {
            &self.places.done
        } else {
            &self.places.error
        };
        let target = free_name(target, &self.name);
        if self.lines_left_out > 0 {
            self.lines.push(format!("and {} more", self.lines_left_out));
        }
        let error = (!is_good).then(|| self.lines.join("\n") + "\n");
        let (answers, path) = (self.answers.take(), path.to_owned());
        let moving = move || -> io::Result<()> {
            if let Some(answers) = answers {
                answers.finish()?;
                fs::rename(beside(&path, "ack"), beside(&target, "ack"))?;
            }
            if let Some(error) = error {
                fs::write(beside(&target, "error"), error)?;
            }
            // Last, so that a file in `done` or `error` has everything beside it.
            fs::rename(&path, &target)
        };
        tokio::task::spawn_blocking(moving)
            .await
            .map_err(io::Error::other)??;
        tracing::info!(
            messages = self.messages,
            refused = self.refused,
            complete = is_good,
            "a file was taken"
        );
        Ok(())
    }
}

type Reader = BatchFile<BufReader<File>>;

/// The next items, and the reader when there may be more. Off the threads that serve others: disks can be slow.
async fn read_some(mut reader: Reader) -> io::Result<(Vec<Item>, Option<Reader>)> {
    let read = move || {
        let mut items = Vec::with_capacity(ITEMS_AT_ONCE);
        let mut bytes = 0;
        while items.len() < ITEMS_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(item) = reader.next_item()? else {
                return Ok((items, None));
            };
            if let Item::Message(raw) | Item::Cut(raw) = &item {
                bytes += raw.len();
            }
            items.push(item);
        }
        Ok((items, Some(reader)))
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(io::Error::other)?
}

/// `name.hl7.ack` beside `name.hl7`.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// A place in a folder that no earlier file of the same name has.
fn free_name(folder: &Path, name: &OsStr) -> PathBuf {
    let mut path = folder.join(name);
    let mut number = 1_u64;
    while path.exists() {
        let mut other = name.to_owned();
        other.push(format!(".{number}"));
        path = folder.join(other);
        number += 1;
    }
    path
}
