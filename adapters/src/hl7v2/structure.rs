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
use super::header::Header;
use super::tokenize::{Message, Segment};
use crate::issue::{Issue, Severity};

/// A group of a message structure.
struct Group {
    name: &'static str,
    /// Segments that open it, in the order in which they may share one: ORC, then OBR.
    heads: &'static [&'static str],
    /// Segments that belong to it once it is open.
    members: &'static [&'static str],
    groups: &'static [Group],
    /// False when a second one means that the group around it starts anew.
    repeats: bool,
}

const NOTES: &[&str] = &["NTE", "PRT"];

const OBSERVATION: Group =
    Group { name: "OBSERVATION", heads: &["OBX"], members: &["PRT", "NTE"], groups: &[], repeats: true };
const SPECIMEN: Group =
    Group { name: "SPECIMEN", heads: &["SPM"], members: NOTES, groups: &[OBSERVATION], repeats: true };
const TIMING: Group = Group { name: "TIMING_QTY", heads: &["TQ1"], members: &["TQ2"], groups: &[], repeats: true };
const VISIT: Group =
    Group { name: "VISIT", heads: &["PV1"], members: &["PV2", "PRT", "ROL"], groups: &[], repeats: false };
const PATIENT_OBSERVATION: Group =
    Group { name: "PATIENT_OBSERVATION", heads: &["OBX"], members: &["PRT"], groups: &[], repeats: true };
const PATIENT: Group = Group {
    name: "PATIENT",
    heads: &["PID"],
    members: &["PD1", "PRT", "ROL", "NTE", "NK1", "ARV", "OH1", "OH2", "OH3", "OH4"],
    groups: &[PATIENT_OBSERVATION, VISIT],
    repeats: false,
};
const ORDER_OBSERVATION: Group = Group {
    name: "ORDER_OBSERVATION",
    heads: &["ORC", "OBR"],
    members: &["NTE", "PRT", "ROL", "CTD", "FT1", "CTI", "TXA"],
    groups: &[TIMING, OBSERVATION, SPECIMEN],
    repeats: true,
};
const PATIENT_RESULT: Group = Group {
    name: "PATIENT_RESULT",
    heads: &[],
    members: &[],
    groups: &[PATIENT, ORDER_OBSERVATION],
    repeats: true,
};
const PROCEDURE: Group =
    Group { name: "PROCEDURE", heads: &["PR1"], members: &["ROL", "PRT"], groups: &[], repeats: true };
const INSURANCE: Group =
    Group { name: "INSURANCE", heads: &["IN1"], members: &["IN2", "IN3", "AUT", "RF1"], groups: &[], repeats: true };
const MERGED_PATIENT: Group =
    Group { name: "PATIENT", heads: &["PID"], members: &["PD1", "MRG", "PV1", "NTE"], groups: &[], repeats: true };

/// The top of a structure is the message itself, a group that is always open.
const fn message(groups: &'static [Group]) -> Group {
    Group { name: "", heads: &[], members: &[], groups, repeats: false }
}

const ORU: Group = message(&[PATIENT_RESULT]);
const ADT: Group = message(&[PROCEDURE, INSURANCE]);
const MERGE: Group = message(&[MERGED_PATIENT]);
const FLAT: Group = message(&[]);

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
];

fn top(structure: &str) -> &'static Group {
    match structure {
        "ORU_R01" => &ORU,
        "ADT_A39" => &MERGE,
        name if name.starts_with("ADT_") => &ADT,
        _ => &FLAT,
    }
}

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
    pub fn of(header: &Header, message: &Message<'_>, issues: &mut Vec<Issue>) -> Result<MessageType, Issue> {
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
                (None, "ORU") => ("R01", "MSH-9 has no trigger event; R01 was taken, the only one ORU had"),
                _ => ("", "MSH-9 has no trigger event"),
            };
            issues.push(Issue::new(Severity::Warning, "trigger-event-missing", text).at_field(9));
            trigger = found;
        }
        let event = format!("{code}_{trigger}");
        let sent = header.component(9, 3).trim();
        let known = EVENTS.iter().find(|(e, _)| *e == event).map(|(_, structure)| *structure);
        let structure = match known {
            Some(structure) if sent.is_empty() || sent == structure => structure,
            Some(structure) => {
                let text = format!("MSH-9.3 is not the structure of the event; read as {structure}");
                issues.push(Issue::new(Severity::Warning, "structure-disagrees", text).at_field(9));
                structure
            }
            None if sent.is_empty() => event.as_str(),
            None => sent,
        };
        Ok(MessageType { code: code.to_owned(), trigger: trigger.to_owned(), structure: structure.to_owned() })
    }
}

/// The groups a reader stands in, outermost first.
struct Open {
    group: &'static Group,
    /// Behind the head seen last.
    heads: usize,
    /// Behind the last child group opened.
    children: usize,
}

impl Open {
    fn new(group: &'static Group) -> Open {
        Open { group, heads: 0, children: 0 }
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
    builder.delimiters(char::from(message.delimiters.component), char::from(subcomponent));
    let mut open = vec![Open::new(top(structure))];
    let mut oddities = Oddities::default();
    for segment in &message.segments {
        place(&mut builder, &mut open, segment);
        builder.segment(segment.id, offsets.raw(segment.span.start)..offsets.raw(segment.span.end));
        for leaf in message.leaves_of(segment) {
            let span = offsets.raw(leaf.span.start)..offsets.raw(leaf.span.end);
            let text = message.text_at(&leaf.span);
            let is_header = segment.span.start == message.segments.first().map_or(0, |s| s.span.start);
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

/// Opens and closes groups so that the segment stands in the right one.
fn place(builder: &mut Hl7Builder, open: &mut Vec<Open>, segment: &Segment) {
    let id = segment.id.as_str();
    for depth in (0..open.len()).rev() {
        let Some(here) = open.get_mut(depth) else { return };
        let head = here.group.heads.iter().position(|h| *h == id);
        if let Some(head) = head {
            if head >= here.heads {
                here.heads = head + 1;
                close_to(builder, open, depth);
                return;
            }
        } else if here.group.members.contains(&id) {
            close_to(builder, open, depth);
            return;
        }
        // A head seen before opens the group anew: the group around it finds it among its children.
        let path = if head.is_some() { None } else { path_to(here, id) };
        if let Some((child, path)) = path {
            here.children = child;
            close_to(builder, open, depth);
            for group in path {
                builder.open_group(group.name);
                let mut opened = Open::new(group);
                opened.heads = group.heads.iter().position(|h| *h == id).map_or(0, |h| h + 1);
                // A group opened on the way has its first child taken, if that does not repeat.
                opened.children = group.groups.iter().position(|g| g.heads.contains(&id)).map_or(0, |c| after(group, c));
                open.push(opened);
            }
            return;
        }
    }
}

/// The groups to open below `here` for a segment, and where its children go on.
fn path_to(here: &Open, id: &str) -> Option<(usize, Vec<&'static Group>)> {
    for (i, group) in here.group.groups.iter().enumerate() {
        if group.heads.contains(&id) && (group.repeats || i >= here.children) {
            return Some((here.children.max(after(here.group, i)), vec![group]));
        }
        if group.heads.is_empty()
            && let Some((_, mut below)) = path_to(&Open::new(group), id)
        {
            below.insert(0, group);
            return Some((here.children.max(after(here.group, i)), below));
        }
    }
    None
}

/// Where children go on after the `i`-th: at it when it repeats.
fn after(group: &Group, i: usize) -> usize {
    if group.groups.get(i).is_some_and(|g| g.repeats) { i } else { i + 1 }
}

fn close_to(builder: &mut Hl7Builder, open: &mut Vec<Open>, depth: usize) {
    while open.len() > depth + 1 {
        open.pop();
        builder.close_group();
    }
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
            ("escape-unpaired", Severity::Warning, "an escape character starts no sequence and was kept as text"),
            ("escape-unknown", Severity::Warning, "an escape sequence of this site was kept as sent"),
            ("escape-hexadecimal", Severity::Warning, "hexadecimal bytes that are no allowed text were kept as sent"),
            ("escape-layout", Severity::Information, "highlighting or layout was left out of a text"),
        ];
        for ((code, severity, text), slot) in KINDS.iter().zip(&self.0) {
            let Some((at, start, offset, count)) = slot else { continue };
            let Some(index) = message.segments.iter().position(|s| s.span.start == *start) else { continue };
            let Some(segment) = message.segments.get(index) else { continue };
            let same = message.segments.iter().take(index + 1).filter(|s| s.id == segment.id).count();
            let text = if *count == 1 { (*text).to_owned() } else { format!("{text} ({count} times)") };
            let issue = Issue::new(*severity, code, text).at_byte(*offset);
            issues.push(issue.at_segment(segment.id.as_str(), to_u32(same), *at));
        }
    }
}
