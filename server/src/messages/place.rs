//! Finds a named place, `OBX[3]-5[1].2`, in the bytes of an HL7 v2 message.
//!
//! Spec: HL7 v2 chapter 2, "Message construction rules". By the message's own delimiters; escapes stay as they are.

use std::ops::Range;

use mappings::Position;

/// The delimiters of MSH-1 and MSH-2.
struct Delimiters {
    field: u8,
    component: u8,
    repetition: u8,
    subcomponent: Option<u8>,
}

/// The bytes of a place; `None` when the message has no such place.
pub fn range_at(raw: &[u8], position: &Position) -> Option<Range<usize>> {
    let Position::Hl7v2 {
        segment,
        occurrence,
        at,
    } = position
    else {
        return None;
    };
    let start = raw.windows(3).position(|three| three == b"MSH")?;
    let delimiters = delimiters(raw.get(start..)?)?;
    let name = segment.as_str().as_bytes();
    let whole = segments(raw, start)
        .filter(|range| is_named(raw, range, name, delimiters.field))
        .nth(usize::try_from(*occurrence).ok()?.checked_sub(1)?)?;
    if at.field == 0 {
        return Some(whole);
    }
    let is_header = matches!(name, b"MSH" | b"FHS" | b"BHS");
    if is_header && at.field <= 2 {
        return None;
    }
    // MSH-1 is the delimiter itself, so all fields of MSH stand one place earlier.
    let number = usize::from(at.field) - usize::from(is_header);
    let mut found = nth(raw, whole, delimiters.field, number)?;
    let steps = [
        (at.repetition, Some(delimiters.repetition)),
        (at.component, Some(delimiters.component)),
        (at.subcomponent, delimiters.subcomponent),
    ];
    for (number, delimiter) in steps {
        if let (Some(index), Some(delimiter)) = (usize::from(number).checked_sub(1), delimiter) {
            found = nth(raw, found, delimiter, index)?;
        }
    }
    Some(found)
}

/// The text of a place, bytes that are no UTF-8 replaced.
pub fn text_at(raw: &[u8], position: &Position) -> Option<String> {
    let bytes = raw.get(range_at(raw, position)?)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn delimiters(header: &[u8]) -> Option<Delimiters> {
    let field = *header.get(3)?;
    let subcomponent = header.get(7).copied().filter(|b| *b != field);
    Some(Delimiters {
        field,
        component: *header.get(4)?,
        repetition: *header.get(5)?,
        subcomponent,
    })
}

fn segments(raw: &[u8], start: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = start;
    std::iter::from_fn(move || {
        while at < raw.len() {
            let rest = raw.get(at..)?;
            let is_end = |b: &u8| matches!(b, b'\r' | b'\n' | 0x1C);
            let length = rest.iter().position(is_end).unwrap_or(rest.len());
            let range = at..at + length;
            at += length + 1;
            if length > 0 {
                return Some(range);
            }
        }
        None
    })
}

fn is_named(raw: &[u8], range: &Range<usize>, name: &[u8], field: u8) -> bool {
    let Some(line) = raw.get(range.clone()) else {
        return false;
    };
    let line = line.trim_ascii_start();
    let head = line.split(|b| *b == field).next().unwrap_or_default();
    head.trim_ascii().eq_ignore_ascii_case(name)
}

/// The part of a range between two delimiters, from 0.
fn nth(raw: &[u8], range: Range<usize>, delimiter: u8, index: usize) -> Option<Range<usize>> {
    let text = raw.get(range.clone())?;
    let mut start = range.start;
    for (n, part) in text.split(|b| *b == delimiter).enumerate() {
        if n == index {
            return Some(start..start + part.len());
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use mappings::{At, SegmentId};

    use super::*;

    /// Verifies: SRS-146
    #[test]
    fn places_are_found_by_the_messages_own_delimiters() {
        let raw = b"MSH|^~\\&|LAB|NORTH\rPID|1||4711^^^A&1.2&ISO~99^^^B\rOBX|1\rOBX|2|NM||5\r";
        for (segment, occurrence, at, expected) in [
            ("MSH", 1, At::new(3, 1, 1, 1), Some("LAB")),
            ("PID", 1, At::new(3, 1, 1, 1), Some("4711")),
            ("PID", 1, At::new(3, 2, 4, 1), Some("B")),
            ("PID", 1, At::new(3, 1, 4, 2), Some("1.2")),
            (
                "PID",
                1,
                At::new(3, 0, 0, 0),
                Some("4711^^^A&1.2&ISO~99^^^B"),
            ),
            ("OBX", 2, At::new(4, 1, 1, 1), Some("5")),
            ("OBX", 2, At::new(0, 0, 0, 0), Some("OBX|2|NM||5")),
            ("OBX", 3, At::new(1, 1, 1, 1), None),
            ("PID", 1, At::new(9, 1, 1, 1), None),
        ] {
            let position = Position::Hl7v2 {
                segment: SegmentId::parse(segment).unwrap(),
                occurrence,
                at,
            };
            assert_eq!(text_at(raw, &position).as_deref(), expected, "{position}");
        }
        assert_eq!(text_at(b"no message", &Position::Json("/a".into())), None);
    }
}
