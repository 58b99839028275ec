//! The three ways time is written on this path: FHIR `dateTime`/`instant`, the HTTP `Date` header, and HTTP delays.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#dateTime>, <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>.
//! Leaves out the obsolete HTTP date forms and times without a zone: no zone is guessed.

use fhir_core::ids::{Instant, civil_from_days, days_from_civil};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const MICROS: i64 = 1_000_000;

/// The first moment of a FHIR date, dateTime or instant. A date counts from 00:00 UTC; a time must carry its zone.
pub fn parse_fhir(text: &str) -> Option<Instant> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |p| number(p, 2))?;
    let day = parts.next().map_or(Some(1), |p| number(p, 2))?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let micros = time.map_or(Some(0), time_of_day)?;
    Some(Instant(days * 86_400 * MICROS + micros))
}

/// Microseconds from midnight UTC of `hh:mm[:ss[.f]]` with a zone.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, offset) = if let Some(clock) = text.strip_suffix('Z') {
        (clock, 0)
    } else {
        let at = text.rfind(['+', '-'])?;
        let (clock, zone) = text.split_at_checked(at)?;
        let (sign, zone) = zone.split_at_checked(1)?;
        let (hours, minutes) = zone.split_once(':')?;
        let minutes = number(hours, 2)? * 60 + number(minutes, 2)?;
        (clock, if sign == "-" { -minutes } else { minutes })
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = parts.next().map_or(Some(0), |p| number(p, 2))?;
    if hour > 24 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i64 = digits.parse().ok()?;
    Some(((hour * 60 + minute - offset) * 60 + second) * MICROS + micros)
}

/// A number of exactly `width` digits.
fn number(text: &str, width: usize) -> Option<i64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// The moment of an HTTP `Date` header, such as `Wed, 25 Nov 2026 04:24:37 GMT`.
pub fn parse_http_date(text: &str) -> Option<Instant> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse::<i64>().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().zip(1..).find(|(m, _)| **m == name)?.1;
    let year = words.next()?.parse::<i64>().ok()?;
    let clock = words.next()?;
    let micros = time_of_day(&format!("{clock}Z"))?;
    (words.next()? == "GMT")
        .then(|| Instant(days_from_civil(year, month, day) * 86_400 * MICROS + micros))
}

/// The instant in whole seconds, as search parameters want it: `2026-11-25T04:24:37Z`.
pub fn to_seconds(instant: Instant) -> String {
    let text = instant.to_fhir();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

/// The instant as an HTTP date.
pub fn to_http_date(instant: Instant) -> String {
    let days = instant.0.div_euclid(86_400 * MICROS);
    let (year, month, day) = civil_from_days(days);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        .iter()
        .zip(0..)
        .find(|(_, index)| *index == days.rem_euclid(7))
        .map_or("Thu", |(name, _)| *name);
    let month = MONTHS
        .iter()
        .zip(1..)
        .find(|(_, index)| *index == month)
        .map_or("Jan", |(name, _)| *name);
    let text = to_seconds(instant);
    let clock = text.split_once('T').map_or("", |(_, c)| c);
    format!(
        "{weekday}, {day:02} {month} {year:04} {} GMT",
        clock.trim_end_matches('Z')
    )
}

/// Hour of the day in UTC, 0 to 23.
pub fn hour_utc(instant: Instant) -> u8 {
    u8::try_from(instant.0.div_euclid(3600 * MICROS).rem_euclid(24)).unwrap_or(0)
}

/// Day counted from 1970-01-01, UTC.
pub fn day_utc(instant: Instant) -> i64 {
    instant.0.div_euclid(86_400 * MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fhir_times_keep_their_zone() {
        for (text, expected) in [
            ("1970-01-01", Some("1970-01-01T00:00:00.000000Z")),
            ("2026-02", Some("2026-02-01T00:00:00.000000Z")),
            (
                "2026-02-20T11:06:58.000Z",
                Some("2026-02-20T11:06:58.000000Z"),
            ),
            (
                "2026-02-20T23:06:58.25-05:00",
                Some("2026-02-21T04:06:58.250000Z"),
            ),
            ("2026-02-20T11:06:58", None),
            ("2026-13-01", None),
            ("soon", None),
        ] {
            assert_eq!(
                parse_fhir(text).map(Instant::to_fhir).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn http_dates_round_trip() {
        let text = "Wed, 25 Nov 2026 04:24:37 GMT";
        let instant = parse_http_date(text).unwrap();
        assert_eq!(to_http_date(instant), text);
        assert_eq!(to_seconds(instant), "2026-11-25T04:24:37Z");
        assert!(parse_http_date("25 Nov 2026").is_none());
    }
}
