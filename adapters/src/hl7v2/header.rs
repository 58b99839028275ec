//! MSH as an acknowledgement and the router need it: whole fields, still escaped.
//!
//! HL7 v2 chapter 2, "MSH - Message Header Segment".

use super::tokenize::Delimiters;

/// Fields of MSH, and how they are delimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Of the message.
    pub delimiters: Delimiters,
    /// MSH-1 first; the text between separators.
    fields: Vec<String>,
}

impl Header {
    /// The header of a text that starts with MSH.
    pub fn of(line: &str, delimiters: Delimiters) -> Header {
        /// MSH has 28 fields in v2.9; more are not looked at here.
        const FIELDS_MAX: usize = 40;
        let rest = line.get(3..).unwrap_or("");
        let fields = rest.split(char::from(delimiters.field)).take(FIELDS_MAX).map(str::to_owned).collect();
        Header { delimiters, fields }
    }

    /// What can be known of the header of bytes that could not be read: only fields that are plain ASCII.
    pub fn probe(raw: &[u8]) -> Option<Header> {
        /// MSH stands at the start, after framing bytes or a byte order mark at most.
        const START_MAX: usize = 64;
        /// No MSH is longer.
        const LENGTH_MAX: usize = 4_096;
        let start = memchr::memmem::find(raw.get(..START_MAX.min(raw.len()))?, b"MSH")?;
        let rest = raw.get(start..)?;
        let rest = rest.get(..LENGTH_MAX.min(rest.len()))?;
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let text = String::from_utf8_lossy(rest.get(..end)?).into_owned();
        let delimiters = Delimiters::of(&text, &mut Vec::new()).ok()?;
        let mut header = Header::of(&text, delimiters);
        for field in &mut header.fields {
            if !field.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
                field.clear();
            }
        }
        Some(header)
    }

    /// A field by its number; empty when absent.
    pub fn field(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|i| self.fields.get(i)).map_or("", String::as_str)
    }

    /// A component of the first repetition of a field; empty when absent, or HL7 null.
    pub fn component(&self, field: usize, component: usize) -> &str {
        let text = self.field(field);
        let first = match self.delimiters.repetition {
            Some(byte) => text.split(char::from(byte)).next().unwrap_or(""),
            None => text,
        };
        let found = first.split(char::from(self.delimiters.component)).nth(component.saturating_sub(1));
        found.filter(|text| *text != "\"\"").unwrap_or("")
    }

    /// MSH-3 and MSH-4 as sent.
    pub fn sender(&self) -> String {
        format!("{}|{}", self.field(3), self.field(4))
    }

    /// MSH-9 with `^` between its components.
    pub fn message_type(&self) -> String {
        self.field(9).replace(char::from(self.delimiters.component), "^")
    }

    /// MSH-12.1.
    pub fn version(&self) -> &str {
        self.component(12, 1)
    }

    /// MSH-10.
    pub fn control_id(&self) -> &str {
        match self.field(10) {
            "\"\"" => "",
            id => id,
        }
    }
}

/// Where a version stands in the order of releases, `2.5.1` as (2, 5, 1); `None` when it is none.
pub fn release(version: &str) -> Option<(u8, u8, u8)> {
    let mut parts = version.trim().splitn(3, '.');
    let mut part = |default: Option<u8>| match parts.next() {
        None => default,
        Some(text) if text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
    };
    Some((part(None)?, part(None)?, part(Some(0))?))
}

/// The versions of HL7 v2 there are.
pub const VERSIONS: &[&str] = &[
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9", "2.9.1",
];
