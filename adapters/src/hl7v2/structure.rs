//! Message structures: which event has which, and how its segments fall into groups.
//!
//! HL7 v2 chapters 3 and 7 and the event table of HL7 Version 2 to FHIR
//! (<https://hl7.org/fhir/uv/v2mappings/>). Groups are found by segment order, and generously: a segment stands in
//! the innermost open group that has room for it, so an OBX after SPM is a result of the same order, an NTE belongs
//! to what it follows, and a Z segment or an unknown one stays where it was sent.
//!
//! Left out on purpose: cardinality and required segments. What a mapping needs it asks for itself.

use mappings::{At, Hl7Builder, Hl7Tree};

use super::charset::{Charset, Offsets, to_u32};
use super::escape::{Oddity, unescape};
use super::groups::Groups;
use super::header::Header;
use super::tokenize::{Message, Segment};
use crate::issue::{Issue, Severity};

/// Event and message structure, where the structure is not named after the event.
const EVENTS: &[(&str, &str)] = &[
    ("ADT_A04", "ADT_A01"),
    ("ADT_A07", "ADT_A06"),
    ("ADT_A08", "ADT_A01"),
    ("ADT_A10", "ADT_A09"),
    ("ADT_A11", "ADT_A09"),
    ("ADT_A13", "ADT_A01"),
    ("ADT_A14", "ADT_A05"),
    ("ADT_A22", "ADT_A21"),
    ("ADT_A23", "ADT_A21"),
    ("ADT_A25", "ADT_A21"),
    ("ADT_A26", "ADT_A21"),
    ("ADT_A27", "ADT_A21"),
    ("ADT_A28", "ADT_A05"),
    ("ADT_A29", "ADT_A21"),
    ("ADT_A31", "ADT_A05"),
    ("ADT_A32", "ADT_A21"),
    ("ADT_A33", "ADT_A21"),
    ("ADT_A34", "ADT_A30"),
    ("ADT_A35", "ADT_A30"),
    ("ADT_A36", "ADT_A30"),
    ("ADT_A40", "ADT_A39"),
    ("ADT_A41", "ADT_A39"),
    ("ADT_A42", "ADT_A39"),
    ("ADT_A46", "ADT_A30"),
    ("ADT_A47", "ADT_A30"),
    ("ADT_A48", "ADT_A30"),
    ("ADT_A49", "ADT_A30"),
    ("ADT_A51", "ADT_A50"),
    ("ADT_A53", "ADT_A52"),
    ("ADT_A55", "ADT_A54"),
    ("ADT_A62", "ADT_A61"),
    ("MDM_T03", "MDM_T01"),
    ("MDM_T04", "MDM_T02"),
    ("MDM_T05", "MDM_T01"),
    ("MDM_T06", "MDM_T02"),
    ("MDM_T07", "MDM_T01"),
    ("MDM_T08", "MDM_T02"),
    ("MDM_T09", "MDM_T01"),
    ("MDM_T10", "MDM_T02"),
    ("MDM_T11", "MDM_T01"),
    ("ORU_R31", "ORU_R30"),
    ("ORU_R32", "ORU_R30"),
    ("PPR_PC2", "PPR_PC1"),
    ("PPR_PC3", "PPR_PC1"),
    ("RDE_O25", "RDE_O11"),
    ("SIU_S13", "SIU_S12"),
    ("SIU_S14", "SIU_S12"),
    ("SIU_S15", "SIU_S12"),
    ("SIU_S16", "SIU_S12"),
    ("SIU_S17", "SIU_S12"),
    ("SIU_S18", "SIU_S12"),
    ("SIU_S19", "SIU_S12"),
    ("SIU_S20", "SIU_S12"),
    ("SIU_S21", "SIU_S12"),
    ("SIU_S22", "SIU_S12"),
    ("SIU_S23", "SIU_S12"),
    ("SIU_S24", "SIU_S12"),
    ("SIU_S26", "SIU_S12"),
    ("SIU_S27", "SIU_S12"),
];

/// What a message is: its event, and the structure that shapes its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageType {
    /// MSH-9.1, `ORU`.
    pub code: String,
    /// MSH-9.2, `R01`.
    pub trigger: String,
    /// Of the event table, else MSH-9.3, else named after the event.
    pub structure: String,
}

impl MessageType {
    /// What MSH-9 says. A trigger event that is missing is taken from EVN-1, where v2.1 and v2.2 have it, and ORU
    /// has only R01.
    ///
    /// # Errors
    /// An issue naming MSH-9 when there is no message code.
    pub fn of(
        header: &Header,
        message: &Message<'_>,
        issues: &mut Vec<Issue>,
    ) -> Result<MessageType, Issue> {
        let code = header.component(9, 1).trim();
        if code.is_empty() {
            let text = "MSH-9 has no message code; send for example ADT^A01^ADT_A01";
            return Err(Issue::new(Severity::Error, "message-type-missing", text).at_field(9));
        }
        let mut trigger = header.component(9, 2).trim();
        if trigger.is_empty() {
            let event = message.first("EVN", At::new(1, 1, 1, 1));
            let (found, text) = match (event, code) {
                (Some(event), _) => (event.trim(), "MSH-9 has no trigger event; EVN-1 was taken"),
                (None, "ORU") => (
                    "R01",
                    "MSH-9 has no trigger event; R01 was taken, the only one ORU had",
                ),
                _ => ("", "MSH-9 has no trigger event"),
            };
            issues.push(Issue::new(Severity::Warning, "trigger-event-missing", text).at_field(9));
            trigger = found;
        }
        let event = format!("{code}_{trigger}");
        let sent = header.component(9, 3).trim();
        let known = EVENTS
            .iter()
            .find(|(e, _)| *e == event)
            .map(|(_, structure)| *structure);
        let structure = match known {
            Some(structure) if sent.is_empty() || sent == structure => structure,
            Some(structure) => {
                let text =
                    format!("MSH-9.3 is not the structure of the event; read as {structure}");
                issues.push(Issue::new(Severity::Warning, "structure-disagrees", text).at_field(9));
                structure
            }
            None if sent.is_empty() => event.as_str(),
            None => sent,
        };
        Ok(MessageType {
            code: code.to_owned(),
            trigger: trigger.to_owned(),
            structure: structure.to_owned(),
        })
    }
}

/// Builds the tree mappings read. Spans in it are bytes of the raw message.
pub fn tree(
    message: &Message<'_>,
    structure: &str,
    charset: Charset,
    offsets: &Offsets,
    issues: &mut Vec<Issue>,
) -> Hl7Tree {
    let mut builder = Hl7Builder::new(structure);
    let subcomponent = message.delimiters.subcomponent.unwrap_or(b'&');
    builder.delimiters(
        char::from(message.delimiters.component),
        char::from(subcomponent),
    );
    let mut groups = Groups::of(structure);
    let mut oddities = Oddities::default();
    for segment in &message.segments {
        groups.place(&mut builder, segment.id.as_str());
        builder.segment(
            segment.id,
            offsets.raw(segment.span.start)..offsets.raw(segment.span.end),
        );
        for leaf in message.leaves_of(segment) {
            let span = offsets.raw(leaf.span.start)..offsets.raw(leaf.span.end);
            let text = message.text_at(&leaf.span);
            let is_header =
                segment.span.start == message.segments.first().map_or(0, |s| s.span.start);
            if text == "\"\"" {
                builder.null(leaf.at, span);
            } else if is_header && leaf.at.field <= 2 {
                builder.leaf(leaf.at, text, span);
            } else {
                let mut odd = |oddity| oddities.note(oddity, segment, leaf.at, span.start);
                let plain = unescape(text, &message.delimiters, charset, &mut odd);
                builder.leaf(leaf.at, &plain, span);
            }
        }
    }
    oddities.report(message, issues);
    builder.finish()
}

/// Escapes that are odd, each kind reported once with its first place and how often.
#[derive(Default)]
struct Oddities([Option<(At, u32, u32, u32)>; 4]);

impl Oddities {
    fn note(&mut self, oddity: Oddity, segment: &Segment, at: At, offset: u32) {
        if let Some(slot) = self.0.get_mut(oddity as usize) {
            let (.., count) = slot.get_or_insert((at, segment.span.start, offset, 0));
            *count = count.saturating_add(1);
        }
    }

    fn report(&self, message: &Message<'_>, issues: &mut Vec<Issue>) {
        const KINDS: [(&str, Severity, &str); 4] = [
            (
                "escape-unpaired",
                Severity::Warning,
                "an escape character starts no sequence and was kept as text",
            ),
            (
                "escape-unknown",
                Severity::Warning,
                "an escape sequence of this site was kept as sent",
            ),
            (
                "escape-hexadecimal",
                Severity::Warning,
                "hexadecimal bytes that are no allowed text were kept as sent",
            ),
            (
                "escape-layout",
                Severity::Information,
                "highlighting or layout was left out of a text",
            ),
        ];
        for ((code, severity, text), slot) in KINDS.iter().zip(&self.0) {
            let Some((at, start, offset, count)) = slot else {
                continue;
            };
            let Some(index) = message.segments.iter().position(|s| s.span.start == *start) else {
                continue;
            };
            let Some(segment) = message.segments.get(index) else {
                continue;
            };
            let same = message
                .segments
                .iter()
                .take(index + 1)
                .filter(|s| s.id == segment.id)
                .count();
            let text = if *count == 1 {
                (*text).to_owned()
            } else {
                format!("{text} ({count} times)")
            };
            let issue = Issue::new(*severity, code, text).at_byte(*offset);
            issues.push(issue.at_segment(segment.id.as_str(), to_u32(same), *at));
        }
    }
}
