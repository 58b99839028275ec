//! A large upload in parts: each part is a payload that can be read, kept and replayed by itself.
//!
//! NDJSON and CSV are cut at line ends, a phone's XML export behind a record. The same upload is cut the same way, so
//! that sending it again after an interruption repeats nothing.
//!
//! Left out on purpose: one JSON document or list that is larger than a part; it is one payload up to the body's limit.

use bytes::Bytes;
use device::payload::Input;
use device::split;
use fhir_core::json::Document;

/// Bytes of a part, about: some ten thousand measurements, one commit of well under a second.
pub const PART_BYTES: usize = 1 << 20;

/// What stands around the records of a part of an export.
const XML_OPEN: &[u8] = b"<HealthData>";
const XML_CLOSE: &[u8] = b"</HealthData>";

/// Collects an upload and gives parts away as soon as they are full.
pub struct Parts {
    input: Input,
    buffer: Vec<u8>,
    /// The header line that every part of a CSV begins with.
    header: Option<Vec<u8>>,
    count: usize,
    /// No part could be cut off until the buffer has this many bytes: looking again at every chunk would be quadratic.
    look_at: usize,
}

impl Parts {
    /// Nothing yet.
    pub fn new(input: Input) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            header: None,
            count: 0,
            look_at: PART_BYTES,
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Adds bytes; a part that is full comes back.
    pub fn add(&mut self, bytes: &[u8]) -> Option<Bytes> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < self.look_at {
            return None;
        }
        let Some(end) = self.end_of_part() else {
            self.look_at = self.buffer.len().saturating_mul(2);
            return None;
        };
        let rest = self.buffer.split_off(end);
        let part = std::mem::replace(&mut self.buffer, rest);
        self.look_at = PART_BYTES.max(self.buffer.len().saturating_mul(2));
        Some(self.dressed(part, false))
    }

    /// The rest; `None` when everything has been given away.
    pub fn finish(mut self) -> Option<Bytes> {
        let part = std::mem::take(&mut self.buffer);
        let is_left = part.iter().any(|byte| !byte.is_ascii_whitespace());
        let is_only_end = self.count > 0 && part.trim_ascii() == XML_CLOSE;
        (self.count == 0 || (is_left && !is_only_end)).then(|| self.dressed(part, true))
    }

    /// Where a part may end.
    fn end_of_part(&mut self) -> Option<usize> {
        match self.input {
            Input::Xml => split::xml_cut(&self.buffer),
            Input::Csv => csv_cut(&self.buffer),
            Input::Json | Input::Gatt => {
                let first = self.buffer.iter().position(|byte| *byte == b'\n')?;
                let line = self.buffer.get(..first)?;
                let is_lines =
                    line.trim_ascii_start().starts_with(b"{") && Document::parse(line).is_ok();
                let last = self.buffer.iter().rposition(|byte| *byte == b'\n')?;
                is_lines.then_some(last + 1)
            }
        }
    }

    /// The part with what it needs to be read by itself.
    fn dressed(&mut self, part: Vec<u8>, is_last: bool) -> Bytes {
        let is_first = self.count == 0;
        self.count += 1;
        match self.input {
            Input::Xml if !(is_first && is_last) => {
                let open = if is_first { &[] } else { XML_OPEN };
                let close = if is_last { &[] } else { XML_CLOSE };
                [open, &part, close].concat().into()
            }
            Input::Csv if is_first => {
                let end = part.iter().position(|byte| *byte == b'\n');
                self.header = end.and_then(|end| part.get(..=end)).map(<[u8]>::to_vec);
                part.into()
            }
            Input::Csv => [self.header.as_deref().unwrap_or_default(), &part]
                .concat()
                .into(),
            Input::Xml | Input::Json | Input::Gatt => part.into(),
        }
    }
}

/// Behind the last line end that is not within quotes.
fn csv_cut(bytes: &[u8]) -> Option<usize> {
    let (mut quoted, mut end) = (false, None);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => end = Some(index + 1),
            _ => {}
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All items of an upload, cut or not, are the same.
    fn check(input: Input, upload: &str, parts_min: usize) {
        let mut parts = Parts::new(input);
        let mut found = Vec::new();
        for chunk in upload.as_bytes().chunks(7_001) {
            found.extend(parts.add(chunk));
        }
        found.extend(parts.finish());
        assert!(found.len() >= parts_min, "{} parts", found.len());
        let text = |item: split::Item| match item.content {
            Ok(document) => document.text().to_owned(),
            Err(message) => panic!("{message}"),
        };
        let read = |bytes: &[u8]| {
            split::items(input, bytes)
                .into_iter()
                .map(text)
                .collect::<Vec<_>>()
        };
        let whole = read(upload.as_bytes());
        let cut: Vec<String> = found.iter().flat_map(|part| read(part)).collect();
        assert!(whole == cut, "{} items and {}", whole.len(), cut.len());
    }

    /// Verifies: SRS-220
    #[test]
    fn parts_hold_what_the_whole_holds() {
        let lines: String = (0..60_000)
            .map(|n| format!("{{\"t\":\"2026-03-01T09:00:00Z\",\"hr\":{n}}}\n"))
            .collect();
        check(Input::Json, &lines, 2);
        let rows: String = (0..60_000)
            .map(|n| format!("2026-03-01T09:00:00Z,\"a\n{n}\",61.50\n"))
            .collect();
        check(Input::Csv, &format!("time,note,value\n{rows}"), 2);
        let records: String = (0..20_000)
            .map(|n| format!("<Record type=\"a\" value=\"{n}\"><MetadataEntry key=\"k\" value=\"v\"/></Record><Correlation type=\"c\"><Record type=\"b\" value=\"{n}\"/></Correlation>\n"))
            .collect();
        check(
            Input::Xml,
            &format!(
                "<?xml version=\"1.0\"?>\n<!DOCTYPE HealthData [<!ELEMENT HealthData ANY>]>\n<HealthData locale=\"de\">\n{records}</HealthData>\n"
            ),
            2,
        );
    }

    #[test]
    fn small_uploads_and_single_documents_stay_whole() {
        for upload in ["", "{}", "{\"a\":1}\n{\"a\":2}\n"] {
            let mut parts = Parts::new(Input::Json);
            assert_eq!(parts.add(upload.as_bytes()), None);
            assert_eq!(parts.finish().as_deref(), Some(upload.as_bytes()));
        }
        let mut parts = Parts::new(Input::Json);
        let big = format!("[\n{}1]", "1,\n".repeat(PART_BYTES));
        assert_eq!(parts.add(big.as_bytes()), None);
        assert_eq!(parts.finish().as_deref(), Some(big.as_bytes()));
    }
}
