//! The `.ack` file of a file drop: acknowledgements in order, in envelopes like those of the file they answer.
//!
//! HL7 v2 chapter 2, "Batch protocol": BHS-12 and FHS-12 refer to the envelope answered, BTS-1 and FTS-1 count.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::batch_file::Envelope;

/// An `.ack` file that is being written.
pub(crate) struct AnswerFile {
    out: BufWriter<File>,
    separator: u8,
    acks: u64,
    batches: u64,
}

impl AnswerFile {
    /// Replaces what an earlier run that did not finish has left.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
            separator: b'|',
            acks: 0,
            batches: 0,
        })
    }

    pub(crate) fn acknowledge(&mut self, ack: &[u8]) -> io::Result<()> {
        self.acks += 1;
        self.out.write_all(ack)
    }

    /// Answers FHS or BHS.
    pub(crate) fn open(&mut self, segment: &[u8], now: &str, id: &str) -> io::Result<()> {
        let separator = segment.get(3).copied().unwrap_or(b'|');
        let fields: Vec<&[u8]> = segment.split(|b| *b == separator).collect();
        // FHS-1 is the separator itself, so that FHS-2 is the first after the name.
        let field =
            |number: usize| -> &[u8] { fields.get(number - 1).copied().unwrap_or_default() };
        self.separator = separator;
        let name = segment.get(..3).unwrap_or_default();
        if name == b"BHS" {
            self.acks = 0;
        } else {
            self.batches = 0;
        }
        // What was received by us is sent by us.
        let parts: [&[u8]; 12] = [
            name,
            field(2),
            field(5),
            field(6),
            field(3),
            field(4),
            now.as_bytes(),
            b"",
            b"",
            b"",
            id.as_bytes(),
            field(11),
        ];
        self.out.write_all(&parts.join(&separator))?;
        self.out.write_all(b"\r")
    }

    /// Answers BTS or FTS.
    pub(crate) fn close(&mut self, envelope: Envelope) -> io::Result<()> {
        let (name, count) = match envelope {
            Envelope::Batch => {
                self.batches += 1;
                ("BTS", self.acks)
            }
            Envelope::File => ("FTS", self.batches),
        };
        let separator = char::from(self.separator);
        write!(self.out, "{name}{separator}{count}\r")
    }

    /// Everything is on disk when this returns.
    pub(crate) fn finish(self) -> io::Result<()> {
        let file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}
