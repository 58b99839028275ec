//! Names of things: logical ids, versions, keys and instants, each a type that cannot hold a wrong value.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#id>, <https://hl7.org/fhir/R4/datatypes.html#instant>

use std::fmt;
use std::sync::Arc;

use conformance::{Definitions, ResourceTypeId};

/// A logical id: 1 to 64 characters of `A-Z a-z 0-9 - .`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    /// Longest id in characters (<https://hl7.org/fhir/R4/datatypes.html#id>).
    pub const LENGTH_MAX: usize = 64;

    /// The id if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_valid(text).then(|| Self(text.into()))
    }

    /// Whether `text` is an id.
    pub fn is_valid(text: &str) -> bool {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        !text.is_empty() && text.len() <= Self::LENGTH_MAX && text.bytes().all(is_allowed)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a resource on this server: its type and logical id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// Its resource type.
    pub resource_type: ResourceTypeId,
    /// Its logical id.
    pub id: ResourceId,
}

impl ResourceKey {
    /// Reads `Type/id`, nothing before and nothing behind.
    pub fn parse(text: &str) -> Option<Self> {
        let (type_name, id) = text.split_once('/')?;
        Some(Self {
            resource_type: Definitions::r4().resource_type(type_name)?,
            id: ResourceId::parse(id)?,
        })
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_type.name(), self.id)
    }
}

/// A version of a resource; `1` is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId(pub i64);

impl VersionId {
    /// The version if `text` is a positive whole number without sign or leading zero.
    pub fn parse(text: &str) -> Option<Self> {
        let number: i64 = text.parse().ok()?;
        (number > 0
            && text
                .as_bytes()
                .first()
                .is_some_and(|b| (b'1'..=b'9').contains(b)))
        .then_some(Self(number))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(pub i64);

impl Instant {
    /// Bytes of [`Self::to_fhir`]'s text for the years 0001 to 9999.
    pub const TEXT_BYTES: usize = 27;

    /// The FHIR instant in UTC with six digits of fraction, such as `2026-11-25T03:33:51.000000Z`.
    pub fn to_fhir(self) -> String {
        let mut out = Vec::with_capacity(Self::TEXT_BYTES);
        self.write_fhir(&mut out);
        out.into_iter().map(char::from).collect()
    }

    /// Appends what [`Self::to_fhir`] answers.
    pub fn write_fhir(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400_000_000));
        let micros = self.0.rem_euclid(86_400_000_000);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        if (0..10_000).contains(&year) {
            write_digits(year, 4, out);
        } else {
            out.extend_from_slice(format!("{year:04}").as_bytes());
        }
        for (before, number, width) in [
            (b'-', month, 2),
            (b'-', day, 2),
            (b'T', seconds / 3600, 2),
            (b':', seconds / 60 % 60, 2),
            (b':', seconds % 60, 2),
            (b'.', fraction, 6),
        ] {
            out.push(before);
            write_digits(number, width, out);
        }
        out.push(b'Z');
    }
}

/// The last `width` decimal digits (at most six) of a number that is not negative.
fn write_digits(number: i64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 6];
    let mut rest = number as u32;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(digits.get(6 - width..).unwrap_or_default());
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_regex() {
        for (text, valid) in [
            ("a", true),
            ("A-1.b", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("é", false),
        ] {
            assert_eq!(ResourceId::parse(text).is_some(), valid, "{text}");
        }
        assert!(ResourceId::parse(&"x".repeat(64)).is_some());
        assert!(ResourceId::parse(&"x".repeat(65)).is_none());
    }

    #[test]
    fn days_and_dates_agree() {
        for days in (-800_000..800_000).step_by(37) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
    }

    #[test]
    fn instants_are_written_in_utc() {
        assert_eq!(Instant(0).to_fhir(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Instant(-1).to_fhir(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Instant(0).to_fhir().len(), Instant::TEXT_BYTES);
    }

    #[test]
    fn versions_are_positive() {
        for (text, valid) in [
            ("1", true),
            ("12", true),
            ("0", false),
            ("01", false),
            ("-1", false),
            ("+1", false),
            ("a", false),
        ] {
            assert_eq!(VersionId::parse(text).is_some(), valid, "{text}");
        }
    }
}
