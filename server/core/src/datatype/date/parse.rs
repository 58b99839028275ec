//! The texts of date, dateTime, instant and time, strictly as FHIR's regular expressions have them.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#primitive>

use super::{DateTime, Precision, Zone, days_in_month};

/// Largest offset of a time zone, in minutes (`+14:00`).
const ZONE_MINUTES_MAX: i64 = 14 * 60;

/// Reads a `date`: `2013`, `2013-01` or `2013-01-14`.
pub fn parse_date(text: &str) -> Option<DateTime> {
    parse(text).filter(|d| d.precision <= Precision::Day)
}

/// Reads a `dateTime`: a date, or a date with a time to the second at least and a zone.
pub fn parse_date_time(text: &str) -> Option<DateTime> {
    parse(text).filter(|d| {
        d.precision <= Precision::Day || (d.precision >= Precision::Second && d.zone.is_some())
    })
}

/// Reads an `instant`: a time to the second at least, with a zone.
pub fn parse_instant(text: &str) -> Option<DateTime> {
    parse(text).filter(|d| d.precision >= Precision::Second && d.zone.is_some())
}

/// Reads the value of a search without its prefix: like a dateTime, but seconds and zone may be missing.
/// Spec: <https://hl7.org/fhir/R4/search.html#date>
pub fn parse_search(text: &str) -> Option<DateTime> {
    parse(text)
}

/// True for a `time`: `10:00:00` with an optional fraction and no zone.
pub fn is_time(text: &str) -> bool {
    let mut date = date_of(1970);
    let mut rest = Reader(text);
    time(&mut rest, &mut date).is_some() && date.precision >= Precision::Second && rest.0.is_empty()
}

fn date_of(year: i64) -> DateTime {
    DateTime {
        precision: Precision::Year,
        year,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: 0,
        zone: None,
    }
}

struct Reader<'t>(&'t str);

impl Reader<'_> {
    /// Exactly `count` digits as a number between `min` and `max`.
    fn number(&mut self, count: usize, min: i64, max: i64) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        let value = digits
            .bytes()
            .fold(0, |sum, b| sum * 10 + i64::from(b - b'0'));
        (min..=max).contains(&value).then_some(value)
    }

    fn take(&mut self, mark: char) -> Option<()> {
        self.0 = self.0.strip_prefix(mark)?;
        Some(())
    }

    /// Takes `mark` if it is next.
    fn has(&mut self, mark: char) -> bool {
        self.take(mark).is_some()
    }
}

fn parse(text: &str) -> Option<DateTime> {
    let mut rest = Reader(text);
    let mut date = date_of(rest.number(4, 1, 9999)?);
    if rest.has('-') {
        date.month = rest.number(2, 1, 12)?;
        date.precision = Precision::Month;
        if rest.has('-') {
            date.day = rest.number(2, 1, days_in_month(date.year, date.month))?;
            date.precision = Precision::Day;
            if rest.has('T') {
                time(&mut rest, &mut date)?;
                date.zone = zone(&mut rest)?;
            }
        }
    }
    rest.0.is_empty().then_some(date)
}

fn time(rest: &mut Reader<'_>, date: &mut DateTime) -> Option<()> {
    date.hour = rest.number(2, 0, 23)?;
    rest.take(':')?;
    date.minute = rest.number(2, 0, 59)?;
    date.precision = Precision::Minute;
    if rest.has(':') {
        date.second = rest.number(2, 0, 60)?;
        date.precision = Precision::Second;
        if rest.has('.') {
            let count = rest.0.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, after) = rest.0.split_at_checked(count)?;
            rest.0 = after;
            let micros = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
            date.microsecond = micros.fold(0, |sum, b| sum * 10 + i64::from(b - b'0'));
            date.precision = Precision::Fraction(u32::try_from(count).ok().filter(|c| *c > 0)?);
        }
    }
    Some(())
}

/// The zone if one follows; `None` outside when what follows is no zone.
fn zone(rest: &mut Reader<'_>) -> Option<Option<Zone>> {
    if rest.0.is_empty() {
        return Some(None);
    }
    if rest.has('Z') {
        return Some(Some(Zone::UTC));
    }
    let sign = if rest.has('-') {
        -1
    } else {
        rest.take('+').map(|()| 1)?
    };
    let hours = rest.number(2, 0, 14)?;
    rest.take(':')?;
    let minutes = hours * 60 + rest.number(2, 0, 59)?;
    let minutes = i16::try_from(sign * minutes).ok()?;
    (i64::from(minutes.abs()) <= ZONE_MINUTES_MAX).then_some(Some(Zone(minutes)))
}
