//! When the source says a resource came to be as sent, so that an older message never overwrites a newer one.
//!
//! HL7 v2: EVN-2 "recorded date/time", OBR-22 "results rpt/status chng date/time", MSH-7 "date/time of message"
//! (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>).
//!
//! Left out on purpose: the time of receipt, and which of two resources wins. The server decides.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};

use crate::time::{Clock, Dtm};

/// UTC with a fixed number of digits, so that two compare as texts.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// The source's own times for one resource.
///
/// Times are spans: "10:05" is any instant of that minute. What overlaps is neither older nor newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// When the resource came to be as sent.
    pub changed: Span,
    /// When the message was sent; it decides where `changed` does not.
    pub sent: Option<Span>,
}

/// From an instant to before another, both UTC as `2024-03-01T11:00:00.000000Z`. They compare as texts.
///
/// A time without any known offset is taken as UTC: times of one sender still compare with one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The earliest instant it may be.
    pub earliest: Box<str>,
    /// The first instant it can no longer be.
    pub before: Box<str>,
}

impl Revision {
    /// True when this is older than `other` beyond doubt.
    pub fn is_older_than(&self, other: &Revision) -> bool {
        if self.changed.before <= other.changed.earliest {
            return true;
        }
        if other.changed.before <= self.changed.earliest {
            return false;
        }
        match (&self.sent, &other.sent) {
            (Some(a), Some(b)) => a.before <= b.earliest,
            _ => false,
        }
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Revision> {
        let mut parts = text.split('/').map(Box::from);
        let mut span = || {
            Some(Span {
                earliest: parts.next()?,
                before: parts.next()?,
            })
        };
        let changed = span()?;
        Some(Revision {
            changed,
            sent: span(),
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.changed.earliest, self.changed.before)?;
        match &self.sent {
            Some(sent) => write!(f, "/{}/{}", sent.earliest, sent.before),
            None => Ok(()),
        }
    }
}

impl Span {
    /// The span a DTM names; `None` when the text is no DTM.
    pub(crate) fn of(text: &str, clock: &Clock) -> Option<Span> {
        let dtm = Dtm::parse(text)?;
        let number = |part: Option<&str>, least: u32| part.map_or(Some(least), |p| p.parse().ok());
        let (year, month) = (dtm.year.parse().ok()?, number(dtm.month, 1)?);
        let day = NaiveDate::from_ymd_opt(year, month, number(dtm.day, 1)?)?;
        let second = number(dtm.second, 0)?.min(59);
        let local = day.and_hms_opt(number(dtm.hour, 0)?, number(dtm.minute, 0)?, second)?;
        let width = match (dtm.month, dtm.day, dtm.hour, dtm.minute, dtm.second) {
            (None, ..) => TimeDelta::days(366),
            (_, None, ..) => TimeDelta::days(31),
            (_, _, None, ..) => TimeDelta::days(1),
            (_, _, _, None, _) => TimeDelta::hours(1),
            (_, _, _, _, None) => TimeDelta::minutes(1),
            _ => TimeDelta::seconds(1),
        };
        let (fraction, width) = match dtm.fraction {
            None => (TimeDelta::zero(), width),
            Some(digits) => fraction(digits)?,
        };
        let (offset, _) = dtm.offset_at(local, clock).unwrap_or_default();
        let utc = local
            .checked_sub_signed(offset_of(&offset)?)?
            .checked_add_signed(fraction)?;
        let text = |t: NaiveDateTime| t.format(FORMAT).to_string().into_boxed_str();
        Some(Span {
            earliest: text(utc),
            before: text(utc.checked_add_signed(width)?),
        })
    }
}

/// `.25` as 250 ms, and how much of time two digits leave open.
fn fraction(digits: &str) -> Option<(TimeDelta, TimeDelta)> {
    let kept = digits.get(..digits.len().min(6))?;
    let scale = 10_i64.checked_pow(6_u32.checked_sub(u32::try_from(kept.len()).ok()?)?)?;
    let micros = kept.parse::<i64>().ok()?.checked_mul(scale)?;
    Some((
        TimeDelta::microseconds(micros),
        TimeDelta::microseconds(scale),
    ))
}

/// `+01:30` as a duration; nothing is UTC.
fn offset_of(text: &str) -> Option<TimeDelta> {
    let Some((sign, rest)) = text.split_at_checked(1) else {
        return Some(TimeDelta::zero());
    };
    let (hours, minutes) = rest.split_once(':')?;
    let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    Some(TimeDelta::minutes(if sign == "-" {
        -minutes
    } else {
        minutes
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(changed: &str, sent: &str) -> Revision {
        let clock = Clock {
            message_offset: Some("+01:00".into()),
            zone: None,
        };
        Revision {
            changed: Span::of(changed, &clock).expect("a DTM"),
            sent: Span::of(sent, &clock),
        }
    }

    /// Verifies: SRS-111, RC-111
    #[test]
    fn older_is_older_beyond_doubt() {
        for (a, a_sent, b, b_sent, older) in [
            ("20240301100000", "", "20240301100001", "", true),
            ("20240301100001", "", "20240301100000", "", false),
            // The same instant in two zones.
            ("20240301100000+0100", "", "20240301090000+0000", "", false),
            ("20240301095959+0100", "", "20240301090000+0000", "", true),
            // A day is older than the next day, not than its own noon.
            ("20240301", "", "202403011200", "", false),
            ("20240301", "", "20240302", "", true),
            ("20240301100000.25", "", "20240301100000.3", "", true),
            ("20240301100000", "", "20240301100000.3", "", false),
            // Where the change does not decide, the sending does.
            (
                "202403011000",
                "20240301100500",
                "202403011000",
                "20240301100501",
                true,
            ),
            (
                "202403011000",
                "20240301100501",
                "202403011000",
                "20240301100500",
                false,
            ),
            ("202403011000", "", "202403011000", "20240301100500", false),
        ] {
            let (a, b) = (revision(a, a_sent), revision(b, b_sent));
            assert_eq!(a.is_older_than(&b), older, "{a} {b}");
        }
    }

    #[test]
    fn text_keeps_a_revision() {
        for sent in ["", "20240301100500-0500"] {
            let revision = revision("2024030110", sent);
            assert_eq!(Revision::parse(&revision.to_string()), Some(revision));
        }
        assert_eq!(Revision::parse("2024"), None);
    }

    #[test]
    fn leap_seconds_and_odd_texts() {
        let clock = Clock::default();
        assert!(Span::of("20161231235960.5", &clock).is_some());
        for text in ["", "2024-03-01", "99999999", "20240230"] {
            assert_eq!(Span::of(text, &clock), None, "{text}");
        }
    }
}
