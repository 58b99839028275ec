//! DTM: a point in time with the precision and the offset its sender gave, and no more.
//!
//! HL7 v2 chapter 2A, "DTM - date/time": `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`. TS of older versions is
//! the same in its first component.
//!
//! Left out on purpose: filling in what is missing. No offset is not UTC, and no month is not January.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// A point in time as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtm {
    year: u16,
    month: Option<u8>,
    day: Option<u8>,
    hour: Option<u8>,
    minute: Option<u8>,
    second: Option<u8>,
    /// Digits of the fraction of a second.
    fraction: String,
    offset: Option<Offset>,
}

/// `+0100`. A type of its own because `-0030` and `-0000` do not survive as hours and minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    minutes: i16,
    negative: bool,
}

impl Offset {
    /// Minutes east of UTC.
    pub fn minutes(self) -> i16 {
        self.minutes
    }
}

/// How exact a [`Dtm`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `2024`
    Year,
    /// `202403`
    Month,
    /// `20240310`
    Day,
    /// `2024031012`
    Hour,
    /// `202403101200`
    Minute,
    /// `20240310120000`
    Second,
    /// `20240310120000.0`
    Fraction,
}

impl Dtm {
    /// Reads a DTM; `None` when the text is none or no such time exists.
    pub fn parse(text: &str) -> Option<Dtm> {
        let (local, offset) = match text.find(['+', '-']) {
            None => (text, None),
            Some(at) => {
                let (local, offset) = text.split_at_checked(at)?;
                (local, Some(parse_offset(offset)?))
            }
        };
        let (digits, fraction) = match local.split_once('.') {
            None => (local, ""),
            // One to four digits are HL7's; more are kept all the same, as some devices send microseconds.
            Some((digits, fraction)) if (1..=9).contains(&fraction.len()) && digits.len() == 14 => (digits, fraction),
            Some(_) => return None,
        };
        if !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || !fits(digits.len()) {
            return None;
        }
        let year = digits.get(..4)?.parse::<u16>().ok().filter(|y| *y > 0)?;
        let part = |at: usize, least: u8, most: u8| match digits.get(at..at + 2) {
            None => Some(None),
            Some(text) => text.parse::<u8>().ok().filter(|n| (least..=most).contains(n)).map(Some),
        };
        let dtm = Dtm {
            year,
            month: part(4, 1, 12)?,
            day: part(6, 1, 31)?,
            hour: part(8, 0, 23)?,
            minute: part(10, 0, 59)?,
            second: part(12, 0, 59)?,
            fraction: fraction.to_owned(),
            offset,
        };
        if let (Some(month), Some(day)) = (dtm.month, dtm.day) {
            NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day))?;
        }
        Some(dtm)
    }

    /// A moment of the server's clock, to the second, in UTC.
    pub fn of(moment: SystemTime) -> Dtm {
        let utc = DateTime::<Utc>::from(moment);
        let small = |n: u32| u8::try_from(n).ok();
        Dtm {
            year: u16::try_from(utc.year()).unwrap_or(1970),
            month: small(utc.month()),
            day: small(utc.day()),
            hour: small(utc.hour()),
            minute: small(utc.minute()),
            second: small(utc.second()),
            fraction: String::new(),
            offset: Some(Offset { minutes: 0, negative: false }),
        }
    }

    /// How exact it is.
    pub fn precision(&self) -> Precision {
        match self {
            Dtm { month: None, .. } => Precision::Year,
            Dtm { day: None, .. } => Precision::Month,
            Dtm { hour: None, .. } => Precision::Day,
            Dtm { minute: None, .. } => Precision::Hour,
            Dtm { second: None, .. } => Precision::Minute,
            Dtm { fraction, .. } if fraction.is_empty() => Precision::Second,
            _ => Precision::Fraction,
        }
    }

    /// The offset the sender gave.
    pub fn offset(&self) -> Option<Offset> {
        self.offset
    }
}

/// Digits of a date and time without fraction.
fn fits(length: usize) -> bool {
    matches!(length, 4 | 6 | 8 | 10 | 12 | 14)
}

fn parse_offset(text: &str) -> Option<Offset> {
    /// Line islands, Kiribati: no place is further from UTC.
    const HOURS_MAX: i16 = 14;
    let negative = text.starts_with('-');
    let digits = text.get(1..).filter(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let hours = digits.get(..2)?.parse::<i16>().ok().filter(|h| *h <= HOURS_MAX)?;
    let minutes = digits.get(2..)?.parse::<i16>().ok().filter(|m| *m < 60)?;
    let total = hours * 60 + minutes;
    Some(Offset { minutes: if negative { -total } else { total }, negative })
}

impl fmt::Display for Dtm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        for part in [self.month, self.day, self.hour, self.minute, self.second].into_iter().flatten() {
            write!(f, "{part:02}")?;
        }
        if !self.fraction.is_empty() {
            write!(f, ".{}", self.fraction)?;
        }
        match self.offset {
            None => Ok(()),
            Some(Offset { minutes, negative }) => {
                let sign = if negative { '-' } else { '+' };
                write!(f, "{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}
