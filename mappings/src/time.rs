//! HL7 v2 DTM and TM to FHIR date, dateTime, instant and time, with the precision the sender gave.
//!
//! FHIR: <https://hl7.org/fhir/R4/datatypes.html#dateTime> ("If hours and minutes are specified, a time zone SHALL be
//! populated"). HL7 v2: chapter 2A.3.22 DTM, `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.
//!
//! Rules where the two differ:
//! * The offset is the value's own, else that of MSH-7 (HL7 v2: it "becomes the default for the entire message"),
//!   else the feed zone's at that local time.
//! * A local time that clocks show twice takes the earlier of the two instants; one that clocks skip takes the offset
//!   in force before the jump. Both give an issue.
//! * FHIR has no hour without minutes, and no time without offset: such values keep their date and give an issue.
//!   Missing seconds become `:00`, as FHIR allows ("may be zero-filled").
//!
//! Left out on purpose: ISO 8601 spellings in HL7 v2 fields. They are not DTM and are reported, not guessed.

use chrono::{LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::output::Code;

/// Where offsets come from when a value has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// `+0100` of MSH-7, as FHIR writes it: `+01:00`.
    pub message_offset: Option<Box<str>>,
    pub zone: Option<Tz>,
}

/// A converted text and what had to be decided.
pub(crate) type Converted = Result<(String, Option<Code>), Code>;

/// The parts of a DTM, each as its digits.
pub(crate) struct Dtm<'a> {
    pub year: &'a str,
    pub month: Option<&'a str>,
    pub day: Option<&'a str>,
    pub hour: Option<&'a str>,
    pub minute: Option<&'a str>,
    pub second: Option<&'a str>,
    /// Digits after the point of the second.
    pub fraction: Option<&'a str>,
    pub offset: Option<String>,
}

/// FHIR `date`: year, month or day; a time of day is left to another element.
pub(crate) fn date(text: &str) -> Converted {
    let dtm = Dtm::parse(text).ok_or(Code::NotADate)?;
    Ok((dtm.date_text(), None))
}

/// FHIR `dateTime` with the sender's precision.
pub(crate) fn date_time(text: &str, clock: &Clock) -> Converted {
    let dtm = Dtm::parse(text).ok_or(Code::NotADate)?;
    let Some(hour) = dtm.hour else {
        return Ok((dtm.date_text(), None));
    };
    let Some(minute) = dtm.minute else {
        return Ok((dtm.date_text(), Some(Code::HourWithoutMinutes)));
    };
    let second = dtm.second.unwrap_or("00");
    let fraction = dtm.fraction.map(|f| format!(".{f}")).unwrap_or_default();
    let local = dtm.local(hour, minute, second).ok_or(Code::NotADate)?;
    let Some((offset, note)) = dtm.offset_at(local, clock) else {
        return Ok((dtm.date_text(), Some(Code::NoTimeZone)));
    };
    Ok((
        format!(
            "{}T{hour}:{minute}:{second}{fraction}{offset}",
            dtm.date_text()
        ),
        note,
    ))
}

/// FHIR `instant`: a day and a time to the minute at least, with offset. A vaguer value has no instant.
pub(crate) fn instant(text: &str, clock: &Clock) -> Converted {
    let (converted, note) = date_time(text, clock)?;
    if converted.contains('T') {
        Ok((converted, note))
    } else {
        Err(note.unwrap_or(Code::NotAnInstant))
    }
}

/// FHIR `time` from TM, `HH[MM[SS[.SSSS]]]`. A time with an offset has no FHIR time.
pub(crate) fn time(text: &str) -> Converted {
    let (digits, fraction) = fraction_of(text).ok_or(Code::NotATime)?;
    let mut rest = digits;
    let hour = take(&mut rest, 2, 0, 23).ok_or(Code::NotATime)?;
    let minute = take(&mut rest, 2, 0, 59).ok_or(Code::NotATime)?;
    let second = if rest.is_empty() {
        "00"
    } else {
        take(&mut rest, 2, 0, 59).ok_or(Code::NotATime)?
    };
    if !rest.is_empty() || (fraction.is_some() && digits.len() < 6) {
        return Err(Code::NotATime);
    }
    let fraction = fraction.map(|f| format!(".{f}")).unwrap_or_default();
    Ok((format!("{hour}:{minute}:{second}{fraction}"), None))
}

/// True for a date that names an hour too.
pub(crate) fn is_timed(text: &str) -> bool {
    Dtm::parse(text).is_some_and(|dtm| dtm.hour.is_some())
}

/// The offset of a DTM as FHIR writes it, for the message default.
pub(crate) fn offset_of(text: &str) -> Option<Box<str>> {
    Dtm::parse(text)?.offset.map(Into::into)
}

impl<'a> Dtm<'a> {
    /// Its own offset, else the message's, else the zone's at that local time.
    pub(crate) fn offset_at(
        &self,
        local: NaiveDateTime,
        clock: &Clock,
    ) -> Option<(String, Option<Code>)> {
        match self.offset.as_deref().or(clock.message_offset.as_deref()) {
            Some(offset) => Some((offset.to_owned(), None)),
            None => clock.zone.and_then(|zone| zone_offset(zone, local)),
        }
    }

    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (main, offset) = match text.find(['+', '-']) {
            Some(at) => {
                let (main, offset) = text.split_at_checked(at)?;
                (main, Some(offset_text(offset)?))
            }
            None => (text, None),
        };
        let (mut rest, fraction) = fraction_of(main)?;
        let length = rest.len();
        let mut dtm = Dtm {
            year: take(&mut rest, 4, 1, 9999)?,
            month: None,
            day: None,
            hour: None,
            minute: None,
            second: None,
            fraction,
            offset,
        };
        let parts: [(&mut Option<&str>, u16, u16); 5] = [
            (&mut dtm.month, 1, 12),
            (&mut dtm.day, 1, 31),
            (&mut dtm.hour, 0, 23),
            (&mut dtm.minute, 0, 59),
            (&mut dtm.second, 0, 60),
        ];
        for (part, low, high) in parts {
            if rest.is_empty() {
                break;
            }
            *part = Some(take(&mut rest, 2, low, high)?);
        }
        let fraction_fits = dtm.fraction.is_none() || length == 14;
        (rest.is_empty() && fraction_fits && dtm.real_day()).then_some(dtm)
    }

    fn real_day(&self) -> bool {
        let (Some(month), Some(day)) = (self.month, self.day) else {
            return true;
        };
        self.naive_date(month, day).is_some()
    }

    fn naive_date(&self, month: &str, day: &str) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(
            self.year.parse().ok()?,
            month.parse().ok()?,
            day.parse().ok()?,
        )
    }

    fn local(&self, hour: &str, minute: &str, second: &str) -> Option<NaiveDateTime> {
        // A leap second shares the offset of the second before it.
        let second = if second == "60" {
            59
        } else {
            second.parse().ok()?
        };
        self.naive_date(self.month?, self.day?)?.and_hms_opt(
            hour.parse().ok()?,
            minute.parse().ok()?,
            second,
        )
    }

    fn date_text(&self) -> String {
        let mut text = String::with_capacity(32);
        text.push_str(self.year);
        for part in [self.month, self.day].into_iter().flatten() {
            text.push('-');
            text.push_str(part);
        }
        text
    }
}

/// Splits `.fraction` off; a lone point or a non-digit makes the whole text wrong.
fn fraction_of(text: &str) -> Option<(&str, Option<&str>)> {
    let Some((digits, fraction)) = text.split_once('.') else {
        return Some((text, None));
    };
    let fits =
        !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    fits.then_some((digits, Some(fraction)))
}

/// Takes `width` digits within bounds off the front.
fn take<'a>(rest: &mut &'a str, width: usize, low: u16, high: u16) -> Option<&'a str> {
    let (digits, after) = rest.split_at_checked(width)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u16 = digits.parse().ok()?;
    *rest = after;
    (low..=high).contains(&n).then_some(digits)
}

/// `+0130` to `+01:30`; FHIR allows up to fourteen hours.
fn offset_text(text: &str) -> Option<String> {
    let (sign, mut rest) = text.split_at_checked(1)?;
    let hours = take(&mut rest, 2, 0, 14)?;
    let minutes = take(&mut rest, 2, 0, 59)?;
    let fits = rest.is_empty() && (hours != "14" || minutes == "00");
    fits.then(|| format!("{sign}{hours}:{minutes}"))
}

/// The zone's offset at a local time, and what had to be decided.
fn zone_offset(zone: Tz, local: NaiveDateTime) -> Option<(String, Option<Code>)> {
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => Some((seconds_text(offset.fix().local_minus_utc())?, None)),
        LocalResult::Ambiguous(earlier, _) => Some((
            seconds_text(earlier.fix().local_minus_utc())?,
            Some(Code::TimeShownTwice),
        )),
        LocalResult::None => {
            // Zones jump by three hours at most, so the offset before the jump is the one a few hours earlier.
            let before = local.checked_sub_signed(chrono::TimeDelta::hours(4))?;
            let offset = zone.offset_from_local_datetime(&before).earliest()?;
            Some((
                seconds_text(offset.fix().local_minus_utc())?,
                Some(Code::TimeSkipped),
            ))
        }
    }
}

/// FHIR offsets are whole minutes; older local mean times are not and give none.
fn seconds_text(seconds: i32) -> Option<String> {
    if seconds % 60 != 0 {
        return None;
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    Some(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(offset: Option<&str>, zone: Option<Tz>) -> Clock {
        Clock {
            message_offset: offset.map(Into::into),
            zone,
        }
    }

    fn ok(text: &str) -> Converted {
        Ok((text.to_owned(), None))
    }

    /// Verifies: SRS-018, RC-004
    #[test]
    fn precision_is_the_senders() {
        let none = clock(None, None);
        for (dtm, expected) in [
            ("2024", "2024"),
            ("202402", "2024-02"),
            ("20240229", "2024-02-29"),
            ("202402291305+0100", "2024-02-29T13:05:00+01:00"),
            ("20240229130507-0330", "2024-02-29T13:05:07-03:30"),
            ("20240229130507.1000+0000", "2024-02-29T13:05:07.1000+00:00"),
            ("20161231235960+0000", "2016-12-31T23:59:60+00:00"),
        ] {
            assert_eq!(date_time(dtm, &none), ok(expected), "{dtm}");
        }
    }

    /// Verifies: SRS-018, RC-004
    #[test]
    fn offset_is_own_then_messages_then_zones() {
        let both = clock(Some("-05:00"), Some(chrono_tz::Europe::Berlin));
        assert_eq!(
            date_time("202407011200+0100", &both),
            ok("2024-07-01T12:00:00+01:00")
        );
        assert_eq!(
            date_time("202407011200", &both),
            ok("2024-07-01T12:00:00-05:00")
        );
        let zone = clock(None, Some(chrono_tz::Europe::Berlin));
        assert_eq!(
            date_time("202407011200", &zone),
            ok("2024-07-01T12:00:00+02:00")
        );
        assert_eq!(
            date_time("202401011200", &zone),
            ok("2024-01-01T12:00:00+01:00")
        );
    }

    #[test]
    fn clock_change_rules() {
        let zone = clock(None, Some(chrono_tz::Europe::Berlin));
        let twice = date_time("202410270230", &zone);
        assert_eq!(
            twice,
            Ok((
                "2024-10-27T02:30:00+02:00".into(),
                Some(Code::TimeShownTwice)
            ))
        );
        let skipped = date_time("202403310230", &zone);
        assert_eq!(
            skipped,
            Ok(("2024-03-31T02:30:00+01:00".into(), Some(Code::TimeSkipped)))
        );
    }

    #[test]
    fn no_offset_or_no_minutes_keeps_the_day() {
        let none = clock(None, None);
        assert_eq!(
            date_time("202402291305", &none),
            Ok(("2024-02-29".into(), Some(Code::NoTimeZone)))
        );
        assert_eq!(
            date_time("2024022913+0100", &none),
            Ok(("2024-02-29".into(), Some(Code::HourWithoutMinutes)))
        );
        assert_eq!(instant("202402291305", &none), Err(Code::NoTimeZone));
        assert_eq!(instant("20240229", &none), Err(Code::NotAnInstant));
        assert_eq!(instant("202402291305Z", &none), Err(Code::NotADate));
    }

    #[test]
    fn wrong_dates_are_refused() {
        let none = clock(Some("+00:00"), None);
        for text in [
            "",
            "0000",
            "20241",
            "202413",
            "20240230",
            "20230229",
            "2024022924",
            "202402291260",
            "2024-02-29",
            "2024-02-29T13:05:00Z",
            "20240229130507.",
            "202402291305.5",
            "20240229+1500",
            "20240229+01",
            "20240229130507.1234567890",
            "２０２４",
            "20240229 1305",
            "UNK",
        ] {
            assert!(date_time(text, &none).is_err(), "{text}");
            assert!(date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("1305"), ok("13:05:00"));
        assert_eq!(time("130507.25"), ok("13:05:07.25"));
        for text in ["", "13", "2400", "1305.5", "130507+0100", "13:05"] {
            assert_eq!(time(text), Err(Code::NotATime), "{text}");
        }
    }
}
