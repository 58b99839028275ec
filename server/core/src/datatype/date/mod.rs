//! Dates and times with their precision, and the range of moments each stands for.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#dateTime>, <https://hl7.org/fhir/R4/search.html#date>
//!
//! Left out: named time zones; a zone is a fixed offset that the caller states.

use crate::ids::{Instant, days_from_civil};

mod parse;
mod period;
#[cfg(test)]
mod tests;

pub use parse::{is_time, parse_date, parse_date_time, parse_instant, parse_search};
pub use period::range_of;

/// Microseconds in a second, the resolution that ranges have.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A fixed offset from UTC in minutes, east positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub i16);

impl Zone {
    /// No offset. Dates without a zone are taken as UTC unless configured otherwise.
    pub const UTC: Zone = Zone(0);
}

/// How much of a date is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `2013`
    Year,
    /// `2013-01`
    Month,
    /// `2013-01-14`
    Day,
    /// `2013-01-14T10`, which only FHIRPath may have.
    Hour,
    /// `2013-01-14T10:00`, which only a search may have.
    Minute,
    /// `2013-01-14T10:00:00`
    Second,
    /// `2013-01-14T10:00:00.123`: this many digits after the point, at least one.
    Fraction(u32),
}

/// A date, dateTime or instant as its parts. Parts below the precision are the smallest possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// How much is given.
    pub precision: Precision,
    /// 1 to 9999.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31, within the month.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 60; 60 is a leap second and counts as the first second of the next minute.
    pub second: i64,
    /// 0 to 999,999; further digits are cut.
    pub microsecond: i64,
    /// The zone, where one is given.
    pub zone: Option<Zone>,
}

/// A half-open range of moments, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateRange {
    /// First moment; `i64::MIN` when open.
    pub start: i64,
    /// Moment after the last; `i64::MAX` when open.
    pub end: i64,
}

impl DateTime {
    /// The moments it stands for: `2013` is the whole year. `default_zone` is used where the text names none.
    pub fn range(&self, default_zone: Zone) -> DateRange {
        let start = self.moment(self.year, self.month, self.day, default_zone);
        let end = match self.precision {
            Precision::Year => self.moment(self.year + 1, 1, 1, default_zone),
            Precision::Month if self.month == 12 => self.moment(self.year + 1, 1, 1, default_zone),
            Precision::Month => self.moment(self.year, self.month + 1, 1, default_zone),
            Precision::Day => start + SECONDS_PER_DAY * MICROS_PER_SECOND,
            Precision::Hour => start + 3_600 * MICROS_PER_SECOND,
            Precision::Minute => start + 60 * MICROS_PER_SECOND,
            Precision::Second => start + MICROS_PER_SECOND,
            Precision::Fraction(digits) => start + 10_i64.pow(6_u32.saturating_sub(digits)),
        };
        DateRange { start, end }
    }

    /// The first moment, in UTC.
    pub fn start(&self, default_zone: Zone) -> Instant {
        Instant(self.moment(self.year, self.month, self.day, default_zone))
    }

    fn moment(&self, year: i64, month: i64, day: i64, default_zone: Zone) -> i64 {
        let offset_seconds = i64::from(self.zone.unwrap_or(default_zone).0) * 60;
        let seconds = self.hour * 3_600 + self.minute * 60 + self.second - offset_seconds;
        (days_from_civil(year, month, day) * SECONDS_PER_DAY + seconds) * MICROS_PER_SECOND
            + self.microsecond
    }
}

impl DateRange {
    /// The range for the prefix `ap`: a tenth of the distance between the value and `now` added to each side
    /// ("for a date, 10% of the gap between now and the date").
    /// Spec: <https://hl7.org/fhir/R4/search.html#prefix>
    pub fn approximate(self, now: Instant) -> DateRange {
        let gap = if now.0 < self.start {
            self.start.saturating_sub(now.0)
        } else if now.0 >= self.end {
            now.0.saturating_sub(self.end)
        } else {
            0
        };
        DateRange {
            start: self.start.saturating_sub(gap / 10),
            end: self.end.saturating_add(gap / 10),
        }
    }
}

/// Number of days in a month of the Gregorian calendar.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
