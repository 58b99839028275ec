//! From places in the decoded text back to the bytes received, so that every error and lineage names those.
//!
//! Left out on purpose: the way forward. Nobody starts from bytes.

/// From a place in the decoded text to the raw bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// Bytes before the text: a byte order mark.
    start: u32,
    /// (place in the text, place in the raw bytes); from there on one byte is one byte, until the next.
    steps: Vec<(u32, u32)>,
}

impl Offsets {
    /// Offsets of a text that begins at a byte of the message.
    pub(super) fn from_byte(start: usize) -> Offsets {
        Offsets {
            start: to_u32(start),
            steps: Vec::new(),
        }
    }

    /// The raw byte of a place in the text.
    pub fn raw(&self, text: u32) -> u32 {
        let after = self.steps.partition_point(|(at, _)| *at <= text);
        match after.checked_sub(1).and_then(|i| self.steps.get(i)) {
            Some((at, raw)) => raw.saturating_add(text - at),
            None => self.start.saturating_add(text),
        }
    }

    /// Notes where the text goes on, unless that follows from the step before.
    pub(super) fn note(&mut self, text: usize, raw: usize) {
        let (text, raw) = (to_u32(text), to_u32(raw));
        if self.raw(text) != raw {
            self.steps.push((text, raw));
        }
    }
}

/// Messages are limited to far less than 4 GiB, so this never saturates in practice.
pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
