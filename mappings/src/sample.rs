//! Reads the small HL7 v2 samples that mapping tests carry.
//!
//! Left out on purpose: everything a real sender does. Samples use `|^~\&` or the delimiters of their MSH, one line per
//! segment, the five delimiter escapes, and group names written as lines, `[PATIENT_RESULT` … `]`, where a mapping
//! needs groups; without them ORU_R01's usual groups are opened. Real messages are read by the HL7 v2 adapter.

use crate::source::{At, Hl7Builder, Hl7Tree, SegmentId};

/// Delimiters of a message: field, component, repetition, escape, sub-component.
struct Delimiters {
    field: char,
    component: char,
    repetition: char,
    escape: char,
    subcomponent: char,
}

/// Reads lines of segments.
///
/// # Errors
/// A sentence, when a line starts with no segment identifier.
pub fn segments(text: &str) -> Result<Hl7Tree, String> {
    let lines = || {
        text.split(['\n', '\r'])
            .map(str::trim_start)
            .filter(|l| !l.is_empty())
    };
    let delimiters = lines().find_map(delimiters).unwrap_or(Delimiters {
        field: '|',
        component: '^',
        repetition: '~',
        escape: '\\',
        subcomponent: '&',
    });
    let groups = !lines().any(|l| l.starts_with('['))
        && lines().any(|l| l.starts_with("OBR") || l.starts_with("OBX"));
    let mut builder = Hl7Builder::new("");
    builder.delimiters(delimiters.component, delimiters.subcomponent);
    for line in lines() {
        if let Some(name) = line.strip_prefix('[') {
            builder.open_group(name.trim());
        } else if line.trim() == "]" {
            builder.close_group();
        } else {
            if groups {
                regroup(&mut builder, line.get(..3).unwrap_or_default());
            }
            segment(&mut builder, line, &delimiters)?;
        }
    }
    Ok(builder.finish())
}

/// Reads one field's content as field 1 of a segment ZZZ.
pub(crate) fn field(text: &str) -> Result<Hl7Tree, String> {
    segments(&format!("ZZZ|{}", text.trim_end_matches(['\n', '\r'])))
}

fn delimiters(line: &str) -> Option<Delimiters> {
    let mut marks = line.strip_prefix("MSH")?.chars();
    Some(Delimiters {
        field: marks.next()?,
        component: marks.next()?,
        repetition: marks.next()?,
        escape: marks.next()?,
        subcomponent: marks.next()?,
    })
}

/// Opens and closes the groups of ORU_R01 as the next segment asks.
fn regroup(builder: &mut Hl7Builder, id: &str) {
    let wanted: &[&str] = match id {
        "PID" | "PD1" | "NK1" => &["PATIENT_RESULT", "PATIENT"],
        "OBR" | "ORC" => &["PATIENT_RESULT", "ORDER_OBSERVATION"],
        "OBX" => &["PATIENT_RESULT", "ORDER_OBSERVATION", "OBSERVATION"],
        "SPM" => &["PATIENT_RESULT", "ORDER_OBSERVATION", "SPECIMEN"],
        "MSH" => &[],
        _ => return,
    };
    let open: Vec<String> = builder.open_groups().map(str::to_owned).collect();
    // A group starts anew with its first segment.
    let fresh =
        matches!(id, "PID" | "OBX" | "SPM") || (id == "OBR" && !open.iter().any(|g| g == "ORC"));
    let mut keep = open.iter().zip(wanted).take_while(|(a, b)| a == *b).count();
    if fresh && keep == wanted.len() {
        keep -= 1;
    }
    if id == "PID" {
        keep = 0;
    }
    (keep..open.len()).for_each(|_| builder.close_group());
    wanted
        .iter()
        .skip(keep)
        .for_each(|name| builder.open_group(name));
}

fn segment(builder: &mut Hl7Builder, line: &str, d: &Delimiters) -> Result<(), String> {
    let mut fields = line.split(d.field);
    let id = fields
        .next()
        .and_then(SegmentId::parse)
        .ok_or_else(|| "a line does not start with a segment".to_owned())?;
    builder.segment(id, 0..0);
    let header = id.as_str() == "MSH";
    for (number, text) in (1_u16..).zip(fields) {
        if header && number == 1 {
            continue; // MSH-1 is the separator and MSH-2 the other delimiters: nothing to read.
        }
        let number = if header { number + 1 } else { number };
        for (repetition, text) in (1..).zip(text.split(d.repetition)) {
            for (component, text) in (1..).zip(text.split(d.component)) {
                for (subcomponent, text) in (1..).zip(text.split(d.subcomponent)) {
                    let at = At::new(number, repetition, component, subcomponent);
                    if text == "\"\"" {
                        builder.null(at, 0..0)
                    } else {
                        builder.leaf(at, &unescaped(text, d), 0..0)
                    }
                }
            }
        }
    }
    Ok(())
}

fn unescaped(text: &str, d: &Delimiters) -> String {
    let pairs = [
        ('F', d.field),
        ('S', d.component),
        ('R', d.repetition),
        ('E', d.escape),
        ('T', d.subcomponent),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(d.escape) {
        out.push_str(before);
        let known = pairs.iter().find(|(name, _)| {
            after.starts_with(*name) && after[name.len_utf8()..].starts_with(d.escape)
        });
        match known {
            Some((name, mark)) => {
                out.push(*mark);
                rest = after
                    .get(name.len_utf8() + d.escape.len_utf8()..)
                    .unwrap_or_default();
            }
            None => {
                out.push(d.escape);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
