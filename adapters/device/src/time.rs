//! When something was measured: a UTC instant in microseconds, and the local text with the offset it was given in.
//!
//! FHIR dateTime (<https://hl7.org/fhir/R4/datatypes.html#dateTime>): an offset as soon as there is an hour. A time
//! clocks show twice is taken as the earlier; one they skip is moved on by the length of the gap. Both are reported.
//!
//! Left out on purpose: years outside [`YEARS`]. Earlier zones have offsets FHIR cannot write, later is a broken clock.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{
    Datelike, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike,
};
pub use chrono_tz::Tz;

use crate::decimal::Decimal;

/// Years a measurement may be of.
pub const YEARS: RangeInclusive<i32> = 1900..=2199;
/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;
/// Largest offset from UTC, in minutes: FHIR allows fourteen hours.
const OFFSET_MINUTES_MAX: i32 = 14 * 60;
/// Longest fraction of a second kept, in digits.
const FRACTION_DIGITS_MAX: usize = 9;

/// A time on a clock on the wall, with the digits of its second as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    clock: NaiveDateTime,
    fraction: String,
}

/// A local time and its offset: one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    local: Local,
    offset_minutes: i32,
}

/// What a payload says about the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// An instant with the offset the sender wrote, which is kept.
    Instant(Stamp),
    /// A count since 1970: an instant that says nothing of the person's clocks.
    Count(Stamp),
    /// A clock's time; where the clock hangs must come from elsewhere.
    Wall(Local),
    /// A whole day of the person measured.
    Day(NaiveDate),
}

/// What a zone had to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// The clock shows this time twice; the earlier was taken.
    Twice,
    /// The clock skips this time; it was moved on by the length of the gap.
    Skipped,
}

impl Local {
    /// A clock's time without fraction.
    pub fn new(clock: NaiveDateTime) -> Option<Self> {
        YEARS.contains(&clock.year()).then(|| Self {
            clock,
            fraction: String::new(),
        })
    }

    /// The time with an offset in minutes.
    pub fn at_offset(self, offset_minutes: i32) -> Option<Stamp> {
        (offset_minutes.abs() <= OFFSET_MINUTES_MAX).then_some(Stamp {
            local: self,
            offset_minutes,
        })
    }

    /// The time moved by minutes.
    pub fn plus_minutes(self, minutes: i64) -> Option<Self> {
        let clock = self
            .clock
            .checked_add_signed(TimeDelta::try_minutes(minutes)?)?;
        Some(Self { clock, ..self })
    }

    /// The instant in a zone.
    pub fn in_zone(self, zone: Tz) -> Option<(Stamp, Option<Decided>)> {
        match zone.offset_from_local_datetime(&self.clock) {
            LocalResult::Single(offset) => Some((
                self.at_offset(minutes(offset.fix().local_minus_utc())?)?,
                None,
            )),
            LocalResult::Ambiguous(earlier, _) => Some((
                self.at_offset(minutes(earlier.fix().local_minus_utc())?)?,
                Some(Decided::Twice),
            )),
            LocalResult::None => {
                // No zone jumps by more than three hours and twice within four.
                let before = self.clock.checked_sub_signed(TimeDelta::try_hours(4)?)?;
                let old = zone
                    .offset_from_local_datetime(&before)
                    .earliest()?
                    .fix()
                    .local_minus_utc();
                let instant = self.at_offset(minutes(old)?)?;
                let new = zone
                    .offset_from_utc_datetime(&instant.utc()?)
                    .fix()
                    .local_minus_utc();
                Some((
                    instant.seen_at_offset(minutes(new)?)?,
                    Some(Decided::Skipped),
                ))
            }
        }
    }
}

impl Stamp {
    /// Microseconds since 1970 in UTC; finer digits are cut off here and kept in the text.
    pub fn micros(&self) -> i64 {
        let seconds = self.local.clock.and_utc().timestamp() - i64::from(self.offset_minutes) * 60;
        let digits = self.local.fraction.get(..6).unwrap_or(&self.local.fraction);
        let fraction: i64 = format!("{digits:0<6}").parse().unwrap_or(0);
        seconds * SECOND_US + fraction
    }

    /// The instant of microseconds since 1970, in UTC, with as many decimals as it needs.
    pub fn of_micros(micros: i64) -> Option<Self> {
        epoch(Decimal::new(i128::from(micros), 6))
    }

    /// The same instant as clocks at another offset show it.
    pub fn seen_at_offset(&self, offset_minutes: i32) -> Option<Self> {
        let moved = TimeDelta::try_minutes(i64::from(offset_minutes - self.offset_minutes))?;
        let clock = self.local.clock.checked_add_signed(moved)?;
        Local {
            clock,
            fraction: self.local.fraction.clone(),
        }
        .at_offset(offset_minutes)
    }

    /// The same instant as clocks of a zone show it.
    pub fn seen_in(&self, zone: Tz) -> Option<Self> {
        self.seen_at_offset(minutes(
            zone.offset_from_utc_datetime(&self.utc()?)
                .fix()
                .local_minus_utc(),
        )?)
    }

    /// The stamp moved by microseconds, with six decimals when it needs them.
    pub fn plus_micros(&self, micros: i64) -> Option<Self> {
        Stamp::of_micros(self.micros().checked_add(micros)?)?.seen_at_offset(self.offset_minutes)
    }

    /// Offset from UTC in minutes.
    pub fn offset_minutes(&self) -> i32 {
        self.offset_minutes
    }

    /// Digits of the second's fraction.
    pub fn fraction_digits(&self) -> usize {
        self.local.fraction.len()
    }

    /// The clock's time without its offset, for senders that write local time as if it were UTC.
    pub fn into_wall(self) -> Local {
        self.local
    }

    /// HL7 v2's spelling, `20260301090000.500+0100`, which the mapping engine reads.
    pub fn to_dtm(&self) -> String {
        let c = &self.local.clock;
        let (sign, hours, minutes) = self.offset_parts();
        let point = if self.local.fraction.is_empty() {
            ""
        } else {
            "."
        };
        let (y, mo, d, h, mi, s) = (
            c.year(),
            c.month(),
            c.day(),
            c.hour(),
            c.minute(),
            c.second(),
        );
        format!(
            "{y:04}{mo:02}{d:02}{h:02}{mi:02}{s:02}{point}{}{sign}{hours:02}{minutes:02}",
            self.local.fraction
        )
    }

    fn utc(&self) -> Option<NaiveDateTime> {
        self.local
            .clock
            .checked_sub_signed(TimeDelta::try_minutes(i64::from(self.offset_minutes))?)
    }

    fn offset_parts(&self) -> (char, i32, i32) {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        (
            sign,
            self.offset_minutes.abs() / 60,
            self.offset_minutes.abs() % 60,
        )
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.clock.format("%Y-%m-%dT%H:%M:%S"))?;
        if self.fraction.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.fraction)
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local)?;
        let (sign, hours, minutes) = self.offset_parts();
        write!(f, "{sign}{hours:02}:{minutes:02}")
    }
}

/// A zone by its name, `Europe/Berlin`.
pub fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

/// Reads `2026-03-01T09:00[:00[.5]][Z|+01:00|+0100]`, a blank instead of `T`, or a day alone.
pub fn parse(text: &str) -> Option<Given> {
    let text = text.trim();
    let day = NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
    if !YEARS.contains(&day.year()) {
        return None;
    }
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(Given::Day(day));
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let end = rest.find(['Z', '+', '-', ' ']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at_checked(end)?;
    let (clock, fraction) = time.split_once('.').map_or((time, ""), |pair| pair);
    let digits_fit =
        fraction.len() <= FRACTION_DIGITS_MAX && fraction.bytes().all(|b| b.is_ascii_digit());
    if !digits_fit || time.ends_with('.') {
        return None;
    }
    let mut parts = clock
        .split(':')
        .map(|p| (p.len() == 2).then(|| p.parse::<u32>().ok()).flatten());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    if parts.next().is_some() {
        return None;
    }
    let local = Local {
        clock: day.and_hms_opt(hour, minute, second)?,
        fraction: fraction.to_owned(),
    };
    match offset.trim() {
        "" => Some(Given::Wall(local)),
        offset => local.at_offset(parse_offset(offset)?).map(Given::Instant),
    }
}

/// Seconds since 1970, with as many decimals as the number has.
pub fn epoch(seconds: Decimal) -> Option<Stamp> {
    let unit = 10_i128.checked_pow(seconds.scale())?;
    let whole = i64::try_from(seconds.mantissa().div_euclid(unit)).ok()?;
    let rest = seconds.mantissa().rem_euclid(unit);
    let width = seconds.scale() as usize;
    let fraction = if width == 0 {
        String::new()
    } else {
        format!("{rest:0>width$}")
    };
    let fraction = fraction.get(..fraction.len().min(FRACTION_DIGITS_MAX))?;
    // Whole thousandths and millionths show the clock's resolution; trailing groups of zeros are its unit, not digits.
    let mut kept = fraction;
    while let Some(shorter) = kept
        .strip_suffix("000")
        .filter(|_| kept.len().is_multiple_of(3))
    {
        kept = shorter;
    }
    let clock = chrono::DateTime::from_timestamp(whole, 0)?.naive_utc();
    let mut local = Local::new(clock)?;
    kept.clone_into(&mut local.fraction);
    local.at_offset(0)
}

/// `Z`, `+01:00`, `-0800`, `UTC`, or whole hours, `-8`, in minutes.
pub fn parse_offset(text: &str) -> Option<i32> {
    let text = text.trim();
    if text.trim_start_matches(['+', '-']).len() <= 2
        && let Ok(hours) = text.parse::<i32>()
    {
        return (hours.abs() <= 14).then_some(hours * 60);
    }
    if matches!(text, "Z" | "UTC" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = rest.replacen(':', "", 1);
    let (hours, minutes) = digits.split_at_checked(2)?;
    let part = |p: &str| {
        if p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit()) {
            p.parse::<i32>().ok()
        } else {
            None
        }
    };
    let (hours, minutes) = (part(hours)?, part(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= OFFSET_MINUTES_MAX).then_some(sign * total)
}

/// The two ends of a day in a zone.
pub fn day_in(day: NaiveDate, zone: Tz) -> Option<(Stamp, Stamp)> {
    let midnight = |day: NaiveDate| Some(Local::new(day.and_hms_opt(0, 0, 0)?)?.in_zone(zone)?.0);
    Some((midnight(day)?, midnight(day.succ_opt()?)?))
}

fn minutes(seconds: i32) -> Option<i32> {
    (seconds % 60 == 0).then_some(seconds / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Stamp {
        match parse(text) {
            Some(Given::Instant(stamp)) => stamp,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Verifies: SRS-018, RC-004
    #[test]
    fn offset_and_digits_are_kept() {
        for (text, shown, micros) in [
            (
                "2026-03-01T09:00:00Z",
                "2026-03-01T09:00:00+00:00",
                1_772_355_600_000_000,
            ),
            (
                "2026-03-01T10:00:00+01:00",
                "2026-03-01T10:00:00+01:00",
                1_772_355_600_000_000,
            ),
            (
                "2026-03-01 02:00:00 -0700",
                "2026-03-01T02:00:00-07:00",
                1_772_355_600_000_000,
            ),
            (
                "2026-03-01T09:00Z",
                "2026-03-01T09:00:00+00:00",
                1_772_355_600_000_000,
            ),
            (
                "2026-03-01T09:00:00.6073744Z",
                "2026-03-01T09:00:00.6073744+00:00",
                1_772_355_600_607_374,
            ),
        ] {
            assert_eq!(instant(text).to_string(), shown, "{text}");
            assert_eq!(instant(text).micros(), micros, "{text}");
        }
        assert!(matches!(parse("2026-03-01T09:00:00"), Some(Given::Wall(_))));
        assert!(matches!(parse("2026-03-01"), Some(Given::Day(_))));
        for text in [
            "",
            "2026",
            "2026-02-30",
            "1899-01-01",
            "2026-03-01T9:00",
            "2026-03-01T09",
            "2026-03-01T09:00:00+1500",
            "2026-03-01T24:00Z",
            "2026-03-01T09:00:00.Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// Verifies: SRS-018, RC-004
    #[test]
    fn clock_changes_follow_the_rule() {
        let wall = |text: &str| match parse(text) {
            Some(Given::Wall(local)) => local,
            other => panic!("{other:?}"),
        };
        let berlin = chrono_tz::Europe::Berlin;
        let (stamp, decided) = wall("2026-03-29T02:30:00")
            .in_zone(berlin)
            .expect("instant");
        assert_eq!(
            (stamp.to_string().as_str(), decided),
            ("2026-03-29T03:30:00+02:00", Some(Decided::Skipped))
        );
        let (stamp, decided) = wall("2026-10-25T02:30:00")
            .in_zone(berlin)
            .expect("instant");
        assert_eq!(
            (stamp.to_string().as_str(), decided),
            ("2026-10-25T02:30:00+02:00", Some(Decided::Twice))
        );
        let (stamp, decided) = wall("2026-07-01T12:00:00")
            .in_zone(berlin)
            .expect("instant");
        assert_eq!(
            (stamp.to_dtm().as_str(), decided),
            ("20260701120000+0200", None)
        );
        let day = NaiveDate::from_ymd_opt(2026, 3, 29).expect("day");
        let (start, end) = day_in(day, berlin).expect("day");
        assert_eq!(end.micros() - start.micros(), 23 * 3_600 * SECOND_US);
    }

    #[test]
    fn epochs() {
        let at = |text: &str, power: i32| {
            epoch(Decimal::parse(text)?.shifted(power)?).map(|s| s.to_string())
        };
        assert_eq!(
            at("1772355600", 0).as_deref(),
            Some("2026-03-01T09:00:00+00:00")
        );
        assert_eq!(
            at("1772355600817", -3).as_deref(),
            Some("2026-03-01T09:00:00.817+00:00")
        );
        assert_eq!(
            at("1772355600186000000", -9).as_deref(),
            Some("2026-03-01T09:00:00.186+00:00")
        );
        assert_eq!(at("-1", 0).as_deref(), Some("1969-12-31T23:59:59+00:00"));
        assert_eq!(at("99999999999", 0), None);
        assert_eq!(
            Stamp::of_micros(1_772_355_600_500_000)
                .map(|s| s.to_string())
                .as_deref(),
            Some("2026-03-01T09:00:00.500+00:00")
        );
    }
}
