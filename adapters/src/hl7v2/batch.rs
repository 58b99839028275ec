//! Splits a file into its messages: one message, several in a row, or a batch with FHS, BHS, BTS and FTS.
//!
//! HL7 v2 chapter 2, "Batch protocol". Works on bytes, before the character set is known: a segment starts a line in
//! every character set this server reads, UTF-16 apart, which is taken as one message.
//!
//! Left out on purpose: refusing a batch with a wrong count. The messages found are whole; the count is reported.

use std::ops::Range;

use crate::issue::{Issue, Severity};

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Messages as places in the file, MSH to before the next MSH or envelope segment.
    pub messages: Vec<Range<usize>>,
    /// What was odd.
    pub issues: Vec<Issue>,
}

/// Finds the messages of a file.
pub fn split(file: &[u8]) -> Batch {
    let mut batch = Batch::default();
    let mut start: Option<usize> = None;
    let mut in_batch = 0_usize;
    let mut stray = false;
    for line in lines(file) {
        let content = file.get(line.clone()).unwrap_or_default();
        let id = content.get(..3).unwrap_or_default();
        // A segment is followed by a delimiter or ends; a text line that starts with `MSH ` is none.
        let delimited = content.get(3).is_none_or(u8::is_ascii_punctuation);
        let envelope = delimited && matches!(id, b"FHS" | b"BHS" | b"BTS" | b"FTS");
        let header = id == b"MSH" && content.get(3).is_some_and(u8::is_ascii_punctuation);
        if envelope || header {
            if let Some(start) = start.take() {
                batch.messages.push(start..line.start);
                in_batch += 1;
            }
        }
        if header {
            start = Some(line.start);
        } else if id == b"BHS" && envelope {
            in_batch = 0;
        } else if id == b"BTS" && envelope {
            batch.issues.extend(count_differs(content, in_batch));
        } else if start.is_none() && !envelope && !content.is_empty() {
            stray = true;
        }
    }
    if let Some(start) = start {
        batch.messages.push(start..file.len());
    }
    if batch.messages.is_empty() && !file.is_empty() {
        // Not for this function to judge: the reader says what is wrong with it.
        batch.messages.push(0..file.len());
    } else if stray {
        let text = "lines outside any message were left out";
        batch.issues.push(Issue::new(Severity::Warning, "batch-stray-lines", text));
    }
    batch
}

/// Lines without their ends and without blanks or framing bytes before them.
fn lines(file: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = file.get(at..).filter(|rest| !rest.is_empty())?;
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | 0x0B | 0x1C | 0xEF | 0xBB | 0xBF);
        let start = at + rest.iter().take_while(|b| blank(b)).count();
        let end = at + memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        at = end + 1;
        Some(start.min(end)..end)
    })
}

/// BTS-1 against what was found.
fn count_differs(trailer: &[u8], found: usize) -> Option<Issue> {
    let separator = *trailer.get(3)?;
    let field = trailer.get(4..)?.split(|b| *b == separator).next()?;
    let said = std::str::from_utf8(field).ok()?.trim();
    if said.is_empty() || said.parse::<usize>() == Ok(found) {
        return None;
    }
    let text = format!("BTS-1 is not the number of messages in the batch, which is {found}");
    Some(Issue::new(Severity::Warning, "batch-count", text))
}
