//! Finds the segments of a message in text as senders really write it; each tolerated fault is a coded warning.
//!
//! HL7 v2 chapter 2, "Segments": a segment ends with a carriage return, and nothing else ends one. What senders do
//! instead, and what is done here:
//! * LF, CRLF or LFCR ends segments: read as a carriage return.
//! * LF inside a message whose segments end with CR: text, unless a segment identifier and separator follow.
//! * blank lines, blanks before a segment, framing bytes left around the message: left out.
//! * a known segment in lower case, or without any field: read as what it is.
//! * a local line, `Z` with other than three characters: kept in the raw message and reported; mappings cannot see it.
//!
//! Left out on purpose: joining a line that is no segment to the one before. Whether its delimiters are delimiters or
//! text is not known, so the message is refused and nobody reads half a result.

use std::ops::Range;

use mappings::{At, SegmentId};

use super::charset::{Offsets, to_u32};
use super::tokenize::Delimiters;
use crate::issue::{Issue, Severity};

/// Most segments of one message: a 24-hour profile of one value a second has 86,400 and belongs elsewhere.
pub const SEGMENTS_MAX: usize = 50_000;

/// Segment identifiers of v2.1 to v2.9, sorted: only these are recognised in lower case or without fields.
const KNOWN: &[&str] = &[
    "ABS", "ACC", "ADD", "ADJ", "AFF", "AIG", "AIL", "AIP", "AIS", "AL1", "APR", "ARQ", "ARV", "AUT", "BHS", "BLC",
    "BLG", "BPO", "BPX", "BTS", "BTX", "BUI", "CDM", "CDO", "CER", "CM0", "CM1", "CM2", "CNS", "CON", "CSP", "CSR",
    "CSS", "CTD", "CTI", "CTR", "DB1", "DEV", "DG1", "DMI", "DON", "DPS", "DRG", "DSC", "DSP", "DST", "ECD", "ECR",
    "EDU", "EQL", "EQP", "EQU", "ERQ", "ERR", "EVN", "FAC", "FHS", "FT1", "FTS", "GOL", "GP1", "GP2", "GT1", "IAM",
    "IAR", "IIM", "ILT", "IN1", "IN2", "IN3", "INV", "IPC", "IPR", "ISD", "ITM", "IVC", "IVT", "LAN", "LCC", "LCH",
    "LDP", "LOC", "LRL", "MCP", "MFA", "MFE", "MFI", "MRG", "MSA", "MSH", "NCK", "NDS", "NK1", "NPU", "NSC", "NST",
    "NTE", "OBR", "OBX", "ODS", "ODT", "OH1", "OH2", "OH3", "OH4", "OM1", "OM2", "OM3", "OM4", "OM5", "OM6", "OM7",
    "OMC", "ORC", "ORG", "OVR", "PAC", "PCE", "PCR", "PD1", "PDA", "PDC", "PEO", "PES", "PID", "PKG", "PM1", "PMT",
    "PR1", "PRA", "PRB", "PRC", "PRD", "PRT", "PSG", "PSH", "PSL", "PSS", "PTH", "PV1", "PV2", "PYE", "QAK", "QID",
    "QPD", "QRD", "QRF", "QRI", "RCP", "RDF", "RDT", "REL", "RF1", "RFI", "RGS", "RMI", "ROL", "RQ1", "RQD", "RXA",
    "RXC", "RXD", "RXE", "RXG", "RXO", "RXR", "RXV", "SAC", "SCD", "SCH", "SCP", "SDD", "SFT", "SGH", "SGT", "SHP",
    "SID", "SLT", "SPM", "SPR", "STF", "STZ", "TCC", "TCD", "TQ1", "TQ2", "TXA", "UAC", "UB1", "UB2", "URD", "URS",
    "VAR", "VTQ",
];

/// The segments of a message as places in its text.
#[derive(Debug)]
pub struct Lines {
    /// The message's delimiters.
    pub delimiters: Delimiters,
    /// Segments in message order, MSH first.
    pub segments: Vec<Line>,
    /// Local lines that have no three-character identifier.
    pub local: Vec<Range<u32>>,
}

/// A segment as a place in the text, from its identifier to before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The identifier, in upper case.
    pub id: SegmentId,
    /// The place.
    pub span: Range<u32>,
}

/// What a line is.
enum Kind {
    Segment(SegmentId, Option<&'static str>),
    Local,
}

/// Finds the segments.
///
/// # Errors
/// An issue naming the place: no MSH, unusable delimiters, a line that is no segment, several messages, a fragment.
pub fn normalise(text: &str, offsets: &Offsets, issues: &mut Vec<Issue>) -> Result<Lines, Issue> {
    let body = trim(text, offsets, issues);
    let inner = text.get(body.clone()).unwrap_or("");
    if !inner.starts_with("MSH") {
        let text = "the message does not start with MSH; send one HL7 v2 message in each frame";
        return Err(Issue::new(Severity::Error, "no-msh", text).at_byte(offsets.raw(to_u32(body.start))));
    }
    let delimiters = Delimiters::of(inner, issues)?;
    let mut reader = Reader {
        text,
        offsets,
        delimiters,
        has_cr: memchr::memchr(b'\r', inner.as_bytes()).is_some(),
        tolerated: Tolerated::default(),
        lines: Lines { delimiters, segments: Vec::new(), local: Vec::new() },
    };
    let mut at = body.start;
    while at < body.end {
        let (end, next) = reader.line_end(at, body.end);
        reader.take(at..end)?;
        at = next;
    }
    no_control_characters(text, &body, offsets)?;
    reader.tolerated.report(offsets, issues);
    Ok(reader.lines)
}

/// The message without framing bytes, byte order marks and blanks around it.
fn trim(text: &str, offsets: &Offsets, issues: &mut Vec<Issue>) -> Range<usize> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{0B}' | '\u{1C}' | '\u{FEFF}');
    let start = text.len() - text.trim_start_matches(blank).len();
    let end = start + text.get(start..).unwrap_or("").trim_end_matches(blank).len();
    if start > 0 {
        let framed = text.get(..start).unwrap_or("").contains('\u{0B}');
        let (code, text) = if framed {
            ("framing-bytes", "framing bytes stood around the message and were left out")
        } else {
            ("blank-before-message", "blanks stood before the message and were left out")
        };
        issues.push(Issue::new(Severity::Warning, code, text).at_byte(offsets.raw(0)));
    }
    start..end
}

/// FHIR strings hold no control characters but tab and line ends, and HL7 v2 texts have to escape them.
fn no_control_characters(text: &str, body: &Range<usize>, offsets: &Offsets) -> Result<(), Issue> {
    let bytes = text.as_bytes().get(body.clone()).unwrap_or_default();
    let odd = |b: &u8| *b < 0x20 && !matches!(b, b'\t' | b'\r' | b'\n') || *b == 0x7F;
    match bytes.iter().position(odd) {
        None => Ok(()),
        Some(at) => {
            let text = "a control character stands in the message; send it escaped as \\Xhh\\ or leave it out";
            let offset = offsets.raw(to_u32(body.start + at));
            Err(Issue::new(Severity::Error, "control-character", text).at_byte(offset))
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    offsets: &'t Offsets,
    delimiters: Delimiters,
    has_cr: bool,
    tolerated: Tolerated,
    lines: Lines,
}

impl Reader<'_> {
    /// Where the line from `at` ends and where the next begins.
    fn line_end(&mut self, at: usize, end: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let mut from = at;
        loop {
            let rest = bytes.get(from..end).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else { return (end, end) };
            let stop = from + found;
            let pair = (bytes.get(stop), bytes.get(stop + 1).filter(|_| stop + 1 < end));
            match pair {
                (Some(b'\r'), Some(b'\n')) => {
                    self.tolerated.note(Fault::CrLf, stop);
                    return (stop, stop + 2);
                }
                (Some(b'\r'), _) => return (stop, stop + 1),
                (_, Some(b'\r')) => {
                    self.tolerated.note(Fault::LfCr, stop);
                    return (stop, stop + 2);
                }
                _ if !self.has_cr || self.starts_line(stop + 1, end) => {
                    self.tolerated.note(Fault::Lf, stop);
                    return (stop, stop + 1);
                }
                _ => {
                    self.tolerated.note(Fault::LfInText, stop);
                    from = stop + 1;
                }
            }
        }
    }

    /// Does a blank line or a segment with its separator start here?
    fn starts_line(&self, at: usize, end: usize) -> bool {
        let rest = self.text.get(at..end).unwrap_or("");
        let rest = rest.trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with(['\r', '\n']) || {
            let id = rest.get(..3).and_then(SegmentId::parse);
            id.is_some() && rest.as_bytes().get(3) == Some(&self.delimiters.field)
        }
    }

    fn take(&mut self, line: Range<usize>) -> Result<(), Issue> {
        let whole = self.text.get(line.clone()).unwrap_or("");
        let content = whole.trim_start_matches([' ', '\t']);
        if content.is_empty() {
            self.tolerated.note(Fault::BlankLine, line.start);
            return Ok(());
        }
        let start = line.end - content.len();
        if start > line.start {
            self.tolerated.note(Fault::BlankBeforeSegment, line.start);
        }
        let span = to_u32(start)..to_u32(line.end);
        match self.kind(content) {
            None => Err(self.no_segment(&span)),
            Some(Kind::Local) => {
                self.tolerated.note(Fault::LocalLine, start);
                self.lines.local.push(span);
                self.limit(start)
            }
            Some(Kind::Segment(id, odd)) => {
                match odd {
                    Some("case") => self.tolerated.note(Fault::LowerCase, start),
                    Some(_) => self.tolerated.note(Fault::NoFields, start),
                    None => {}
                }
                self.one_whole_message(id, start)?;
                self.lines.segments.push(Line { id, span });
                self.limit(start)
            }
        }
    }

    fn kind(&self, line: &str) -> Option<Kind> {
        let bytes = line.as_bytes();
        let length = bytes.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let after = bytes.get(length);
        let ends = after == Some(&self.delimiters.field);
        if !ends && after.is_some() {
            return None;
        }
        let name = line.get(..length)?;
        if length != 3 {
            /// Longer words before a separator are text, not a local segment.
            const LOCAL_ID_MAX: usize = 8;
            let upper = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            return (ends && name.starts_with('Z') && upper && length <= LOCAL_ID_MAX).then_some(Kind::Local);
        }
        let upper = name.to_ascii_uppercase();
        let id = SegmentId::parse(&upper)?;
        let known = upper.starts_with('Z') || KNOWN.binary_search(&upper.as_str()).is_ok();
        match (upper == name, ends) {
            (true, true) => Some(Kind::Segment(id, None)),
            (true, false) if known => Some(Kind::Segment(id, Some("fields"))),
            (false, _) if known => Some(Kind::Segment(id, Some("case"))),
            _ => None,
        }
    }

    /// One frame is one message; parts of a message that comes in several must not be taken for the whole.
    fn one_whole_message(&self, id: SegmentId, start: usize) -> Result<(), Issue> {
        let first = self.lines.segments.is_empty();
        let (code, text) = match id.as_str() {
            "MSH" if !first => ("several-messages", "a second MSH; send one message in each frame"),
            "FHS" | "BHS" | "BTS" | "FTS" => ("batch", "a batch envelope; send its messages one by one"),
            "DSC" | "ADD" => ("fragment", "the message is continued in another; send it whole"),
            _ => return Ok(()),
        };
        Err(Issue::new(Severity::Error, code, text)
            .at_segment(id.as_str(), 1, At::new(0, 0, 0, 0))
            .at_byte(self.offsets.raw(to_u32(start))))
    }

    fn no_segment(&self, span: &Range<u32>) -> Issue {
        let text = "a line is no segment: a raw line end inside the segment before; send it escaped as \\.br\\";
        let issue = Issue::new(Severity::Error, "line-is-no-segment", text).at_byte(self.offsets.raw(span.start));
        match self.lines.segments.last() {
            None => issue,
            Some(last) => {
                let same = self.lines.segments.iter().filter(|s| s.id == last.id).count();
                issue.at_segment(last.id.as_str(), to_u32(same), At::new(0, 0, 0, 0))
            }
        }
    }

    fn limit(&self, start: usize) -> Result<(), Issue> {
        if self.lines.segments.len() + self.lines.local.len() <= SEGMENTS_MAX {
            return Ok(());
        }
        let text = format!("more than {SEGMENTS_MAX} segments; send several messages");
        Err(Issue::new(Severity::Error, "too-many-segments", text).at_byte(self.offsets.raw(to_u32(start))))
    }
}

/// Faults that are tolerated, each reported once with its first place and how often.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CrLf,
    LfCr,
    Lf,
    LfInText,
    BlankLine,
    BlankBeforeSegment,
    LocalLine,
    LowerCase,
    NoFields,
}

/// Code, severity and sentence of each fault, in the order of [`Fault`].
const FAULTS: [(&str, Severity, &str); 9] = [
    ("crlf-ends-segments", Severity::Information, "CR LF ends segments instead of CR"),
    ("lfcr-ends-segments", Severity::Warning, "LF CR ends segments instead of CR"),
    ("lf-ends-segments", Severity::Information, "LF ends segments instead of CR"),
    ("line-feed-in-text", Severity::Warning, "a raw line feed stands in a field and was kept as text"),
    ("blank-line", Severity::Information, "a blank line was left out"),
    ("blank-before-segment", Severity::Warning, "blanks before a segment were left out"),
    ("local-line", Severity::Warning, "a local line without three-character identifier is kept, and no mapping reads it"),
    ("segment-lower-case", Severity::Warning, "a segment identifier in lower case was read in upper case"),
    ("segment-without-fields", Severity::Information, "a segment has no fields"),
];

#[derive(Debug, Default)]
struct Tolerated([Option<(u32, u32)>; FAULTS.len()]);

impl Tolerated {
    fn note(&mut self, fault: Fault, at: usize) {
        if let Some(slot) = self.0.get_mut(fault as usize) {
            let (_, count) = slot.get_or_insert((to_u32(at), 0));
            *count = count.saturating_add(1);
        }
    }

    fn report(&self, offsets: &Offsets, issues: &mut Vec<Issue>) {
        for ((code, severity, text), slot) in FAULTS.iter().zip(&self.0) {
            if let Some((at, count)) = slot {
                let text = if *count == 1 { (*text).to_owned() } else { format!("{text} ({count} times)") };
                issues.push(Issue::new(*severity, code, text).at_byte(offsets.raw(*at)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KNOWN;

    #[test]
    fn known_segments_are_sorted() {
        assert!(KNOWN.is_sorted());
    }
}
