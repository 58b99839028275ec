//! Dates and times of FHIRPath: partial ones, their text, their order, and sums with quantities of time.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#date-time-arithmetic>, <http://hl7.org/fhirpath/N1/#datetime-comparison>. Left
//! out: digits of a second beyond the sixth, which are cut.

use std::cmp::Ordering;

use crate::datatype::date::{self, DateTime, Precision, Zone, days_in_month};
use crate::datatype::decimal::{Decimal, Rounding};
use crate::ids::{civil_from_days, days_from_civil};

const MICROS_PER_SECOND: i64 = date::MICROS_PER_SECOND;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Reads `2015`, `2015-02-04`, `2015T`, `2015-02-04T14` and whatever else FHIRPath writes behind `@`; the second value
/// says whether it is a DateTime.
pub fn parse(text: &str) -> Option<(DateTime, bool)> {
    let Some((day, time)) = text.split_once('T') else {
        return Some((date::parse_date(text)?, false));
    };
    if time.is_empty() {
        return Some((date::parse_date(day)?, true));
    }
    let (hour, rest) = time.split_at_checked(2)?;
    if rest.is_empty() || rest.starts_with(['Z', '+', '-']) {
        let mut value = date::parse_search(&format!("{day}T{hour}:00{rest}"))?;
        value.precision = Precision::Hour;
        return Some((value, true));
    }
    Some((date::parse_search(text)?, true))
}

/// The text, with as much as is given.
pub fn to_text(value: &DateTime) -> String {
    let d = value;
    let mut text = format!("{:04}", d.year);
    let parts = [
        (Precision::Month, format!("-{:02}", d.month)),
        (Precision::Day, format!("-{:02}", d.day)),
        (Precision::Hour, format!("T{:02}", d.hour)),
        (Precision::Minute, format!(":{:02}", d.minute)),
        (Precision::Second, format!(":{:02}", d.second)),
    ];
    for (precision, part) in parts {
        if d.precision >= precision {
            text += &part;
        }
    }
    if let Precision::Fraction(digits) = d.precision {
        let fraction = format!("{:06}", d.microsecond);
        let digits = usize::try_from(digits).unwrap_or(6).min(6);
        text.push('.');
        text.push_str(fraction.get(..digits).unwrap_or(&fraction));
    }
    if d.precision > Precision::Day
        && let Some(zone) = d.zone
    {
        text += &match zone.0 {
            0 => "Z".to_owned(),
            minutes => format!(
                "{}{:02}:{:02}",
                if minutes < 0 { '-' } else { '+' },
                minutes.abs() / 60,
                minutes.abs() % 60
            ),
        };
    }
    text
}

/// Dates compare as far as both are precise; beyond that they cannot be told apart.
pub fn compare(a: &DateTime, b: &DateTime) -> Option<Ordering> {
    let has_time = |d: &DateTime| d.precision > Precision::Day;
    if has_time(a) && has_time(b) && a.zone.is_some() != b.zone.is_some() {
        // With and without a zone there is no common scale unless the difference exceeds every offset.
        return None;
    }
    let (x, y) = (a.range(Zone::UTC), b.range(Zone::UTC));
    // Seconds and their fractions are one precision.
    let to_fraction = |p: Precision| match p {
        Precision::Fraction(_) => Precision::Second,
        other => other,
    };
    if to_fraction(a.precision) == to_fraction(b.precision) {
        return Some(x.start.cmp(&y.start));
    }
    if x.end <= y.start {
        Some(Ordering::Less)
    } else if y.end <= x.start {
        Some(Ordering::Greater)
    } else {
        None
    }
}

/// Whether a text is a Time: `14`, `14:30`, `14:30:00` or `14:30:00.5`.
pub fn is_time(text: &str) -> bool {
    let full = match text.len() {
        2 => format!("{text}:00:00"),
        5 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    date::is_time(&full)
}

/// Hours, minutes and seconds in turn; where one is less precise and the rest agrees they cannot be told apart.
pub fn compare_times(a: &str, b: &str) -> Option<Ordering> {
    let (mut x, mut y) = (a.split(':'), b.split(':'));
    loop {
        match (x.next(), y.next()) {
            (None, None) => return Some(Ordering::Equal),
            (Some(x), Some(y)) => match Decimal::parse(without_zero(x))
                .ok()?
                .cmp(&Decimal::parse(without_zero(y)).ok()?)
            {
                Ordering::Equal => {}
                order => return Some(order),
            },
            _ => return None,
        }
    }
}

/// `05` as a number is `5`.
fn without_zero(part: &str) -> &str {
    match part.strip_prefix('0') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => part,
    }
}

/// A span of time as calendars count it.
#[derive(Clone, Copy)]
enum Span {
    Months(i64),
    Micros(i64),
}

/// What a quantity adds; `None` when its unit is no time, or one of years and months of a fixed length (`'a'`, `'mo'`).
fn span(value: &Decimal, unit: &str) -> Option<Span> {
    let whole = || value.to_places(0, Rounding::Truncate).to_scaled_i64(0);
    let word = unit
        .strip_suffix('s')
        .filter(|w| w.len() > 2)
        .unwrap_or(unit);
    Some(match word {
        "year" => Span::Months(whole()?.checked_mul(12)?),
        "month" => Span::Months(whole()?),
        "week" | "wk" => Span::Micros(whole()?.checked_mul(7 * MICROS_PER_DAY)?),
        "day" | "d" => Span::Micros(whole()?.checked_mul(MICROS_PER_DAY)?),
        "hour" | "h" => Span::Micros(whole()?.checked_mul(3_600 * MICROS_PER_SECOND)?),
        "minute" | "min" => Span::Micros(whole()?.checked_mul(60 * MICROS_PER_SECOND)?),
        "second" | "s" => Span::Micros(value.to_scaled_i64(6)?),
        "millisecond" | "ms" => Span::Micros(value.to_scaled_i64(3)?),
        _ => return None,
    })
}

/// The date moved by a quantity; `None` inside when the result is no date, outside when the unit is no time.
pub fn add(date: &DateTime, value: &Decimal, unit: &str) -> Option<Option<DateTime>> {
    let span = span(value, unit)?;
    // "converting the time-valued quantity to the highest precision in the left operand"
    let span = match (date.precision, span) {
        (Precision::Year, Span::Micros(micros)) => Span::Months(micros / MICROS_PER_DAY / 365 * 12),
        (Precision::Month, Span::Micros(micros)) => Span::Months(micros / MICROS_PER_DAY / 30),
        (Precision::Year, Span::Months(months)) => Span::Months(months / 12 * 12),
        (Precision::Day, Span::Micros(micros)) => {
            Span::Micros(micros / MICROS_PER_DAY * MICROS_PER_DAY)
        }
        (_, span) => span,
    };
    Some(moved(date, span))
}

fn moved(date: &DateTime, span: Span) -> Option<DateTime> {
    let mut moved = *date;
    match span {
        Span::Months(months) => {
            let total = (date.year * 12 + date.month - 1).checked_add(months)?;
            moved.year = total.div_euclid(12);
            moved.month = total.rem_euclid(12) + 1;
            // "If the resulting date is not valid, the last day of the month is used."
            moved.day = date.day.min(days_in_month(moved.year, moved.month));
        }
        Span::Micros(micros) => {
            let seconds = (date.hour * 60 + date.minute) * 60 + date.second;
            let start = days_from_civil(date.year, date.month, date.day) * MICROS_PER_DAY
                + seconds * MICROS_PER_SECOND
                + date.microsecond;
            let total = start.checked_add(micros)?;
            let of_day = total.rem_euclid(MICROS_PER_DAY);
            (moved.year, moved.month, moved.day) =
                civil_from_days(total.div_euclid(MICROS_PER_DAY));
            let seconds = of_day / MICROS_PER_SECOND;
            (moved.hour, moved.minute, moved.second) =
                (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            moved.microsecond = of_day % MICROS_PER_SECOND;
            if moved.microsecond != 0 && moved.precision == Precision::Second {
                moved.precision = Precision::Fraction(3);
            }
        }
    }
    (1..=9999).contains(&moved.year).then_some(moved)
}

/// A time moved by a quantity, around midnight if need be.
pub fn add_to_time(time: &str, value: &Decimal, unit: &str) -> Option<String> {
    let Span::Micros(_) = span(value, unit)? else {
        return None;
    };
    let (date, _) = parse(&format!("2000-06-15T{time}"))?;
    let moved = add(&date, value, unit)??;
    to_text(&moved)
        .split_once('T')
        .map(|(_, time)| time.to_owned())
}

/// Digits of a date's text: 4 for a year up to 17 for milliseconds.
pub fn digits(value: &DateTime) -> u32 {
    match value.precision {
        Precision::Year => 4,
        Precision::Month => 6,
        Precision::Day => 8,
        Precision::Hour => 10,
        Precision::Minute => 12,
        Precision::Second => 14,
        Precision::Fraction(_) => 17,
    }
}

/// The first or last moment a date may mean, with as many digits as asked for.
pub fn boundary(value: &DateTime, digits: u32, is_high: bool, is_date: bool) -> Option<DateTime> {
    /// Where a day begins first and ends last.
    const ZONES: (Zone, Zone) = (Zone(14 * 60), Zone(-12 * 60));
    let precision = match digits {
        4 => Precision::Year,
        6 => Precision::Month,
        8 => Precision::Day,
        10 if !is_date => Precision::Hour,
        12 if !is_date => Precision::Minute,
        14 if !is_date => Precision::Second,
        17 if !is_date => Precision::Fraction(3),
        _ => return None,
    };
    let mut bound = *value;
    if is_high {
        if value.precision < Precision::Month {
            bound.month = 12;
        }
        if value.precision < Precision::Day {
            bound.day = days_in_month(bound.year, bound.month);
        }
        if value.precision < Precision::Hour {
            bound.hour = 23;
        }
        if value.precision < Precision::Minute {
            bound.minute = 59;
        }
        if value.precision < Precision::Second {
            bound.second = 59;
        }
        if !matches!(value.precision, Precision::Fraction(_)) {
            bound.microsecond = 999_000;
        }
    }
    if precision > Precision::Day && bound.zone.is_none() {
        bound.zone = Some(if is_high { ZONES.1 } else { ZONES.0 });
    }
    bound.precision = precision;
    Some(bound)
}
