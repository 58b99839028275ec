//! Versions in HTTP headers: `ETag`, `If-Match`, `If-None-Match`, `If-Modified-Since`, and what follows from them.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#concurrency>, <https://hl7.org/fhir/R4/http.html#cread>,
//! <https://www.rfc-editor.org/rfc/rfc9110#section-13>

use crate::ids::{Instant, VersionId, civil_from_days, days_from_civil};
use crate::issue::{ErrorKind, Problem};

/// Tags in one header at most: a client has one version in hand, a cache a few.
const TAGS_MAX: usize = 32;

const MICROS_PER_SECOND: i64 = 1_000_000;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// The versions a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any version.
    Any,
    /// One of these.
    Versions(Vec<VersionId>),
}

impl Tags {
    /// Whether the current version is among them; never without a current version.
    pub fn contain(&self, current: Option<VersionId>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Versions(versions), Some(current)) => versions.contains(&current),
        }
    }
}

/// The tag of a version, as `ETag` and `response.etag` hold it: `W/"3"`.
pub fn etag(version: VersionId) -> String {
    format!("W/\"{version}\"")
}

/// Reads `If-Match`. FHIR uses weak tags here (`W/"23"`), and bare version ids are accepted, too.
///
/// # Errors
/// `bad-parameter-value`: a condition that cannot be read must not count as fulfilled
pub fn parse_if_match(header: &str) -> Result<Tags, Problem> {
    let refuse = || {
        let text = "`If-Match` cannot be read: a version such as `W/\"3\"` is expected, as in the `ETag` of the read";
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("If-Match")
    };
    match tags(header) {
        Some(parsed) if parsed.is_readable => Ok(parsed.tags),
        _ => Err(refuse()),
    }
}

/// Reads `If-None-Match`. Tags of other makers simply name no version of ours.
///
/// # Errors
/// `bad-parameter-value`
pub fn parse_if_none_match(header: &str) -> Result<Tags, Problem> {
    let text = "`If-None-Match` cannot be read: `*` or versions such as `W/\"3\"` are expected";
    tags(header)
        .map(|parsed| parsed.tags)
        .ok_or_else(|| Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("If-None-Match"))
}

/// Whether a write under `If-Match` may go on. `current` is the live version, `None` when there is none.
///
/// # Errors
/// `version-conflict`
pub fn check_if_match(tags: &Tags, current: Option<VersionId>) -> Result<(), Problem> {
    if tags.contain(current) {
        return Ok(());
    }
    let state = current.map_or_else(
        || "the resource does not exist".to_owned(),
        |v| format!("the current version is {v}"),
    );
    let text = format!("`If-Match` does not hold: {state}; read it again and repeat the change");
    Err(Problem::new(ErrorKind::VERSION_CONFLICT, text).at("If-Match"))
}

/// Whether a read is answered by 304. "If-None-Match takes precedence" over `If-Modified-Since` (RFC 9110 §13.2.2).
pub fn is_not_modified(
    if_none_match: Option<&Tags>,
    if_modified_since: Option<Instant>,
    current: VersionId,
    updated: Instant,
) -> bool {
    match (if_none_match, if_modified_since) {
        (Some(tags), _) => tags.contain(Some(current)),
        // The header has whole seconds: what was changed later within its second counts as not modified.
        (None, Some(since)) => {
            updated.0.div_euclid(MICROS_PER_SECOND) <= since.0.div_euclid(MICROS_PER_SECOND)
        }
        (None, None) => false,
    }
}

/// A time as `Last-Modified` holds it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(instant: Instant) -> String {
    let seconds = instant.0.div_euclid(MICROS_PER_SECOND);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
            .unwrap_or_default()
    };
    let (weekday, month) = (
        name(&WEEKDAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
    );
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads the date of `If-Modified-Since`, in the form that [`http_date`] writes. `None` for anything else, which RFC 9110
/// §13.1.3 tells to disregard.
pub fn parse_http_date(text: &str) -> Option<Instant> {
    let rest = text
        .split_once(", ")
        .map(|(_, rest)| rest)?
        .strip_suffix(" GMT")?;
    let mut parts = rest.split(' ');
    let day: i64 = digits(parts.next()?, 2)?;
    let month_name = parts.next()?;
    let month = MONTHS
        .iter()
        .zip(1_i64..)
        .find(|(name, _)| **name == month_name)
        .map(|(_, number)| number)?;
    let year = digits(parts.next()?, 4)?;
    let mut time = parts.next()?.split(':');
    let (hour, minute, second) = (
        digits(time.next()?, 2)?,
        digits(time.next()?, 2)?,
        digits(time.next()?, 2)?,
    );
    let is_valid = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !is_valid || parts.next().is_some() || time.next().is_some() {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Instant(seconds * MICROS_PER_SECOND))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

struct Parsed {
    tags: Tags,
    /// Every tag is a version of ours.
    is_readable: bool,
}

fn tags(header: &str) -> Option<Parsed> {
    if header.trim() == "*" {
        return Some(Parsed {
            tags: Tags::Any,
            is_readable: true,
        });
    }
    let (mut versions, mut is_readable) = (Vec::new(), true);
    let parts: Vec<&str> = header.split(',').map(str::trim).collect();
    if parts.len() > TAGS_MAX {
        return None;
    }
    for part in parts {
        let tag = part.strip_prefix("W/").unwrap_or(part);
        let quoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let is_bare = !tag.contains('"') && !part.starts_with("W/");
        let text = quoted.or(is_bare.then_some(tag))?;
        match VersionId::parse(text) {
            Some(version) => versions.push(version),
            None => is_readable = false,
        }
    }
    Some(Parsed {
        tags: Tags::Versions(versions),
        is_readable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(numbers: &[i64]) -> Tags {
        Tags::Versions(numbers.iter().map(|n| VersionId(*n)).collect())
    }

    /// Spec: <https://hl7.org/fhir/R4/http.html#concurrency>: `If-Match: W/"23"`
    /// Verifies: SRS-007, RC-005
    #[test]
    fn if_match_names_versions_or_is_refused() {
        for (header, expected) in [
            ("W/\"23\"", versions(&[23])),
            ("\"23\"", versions(&[23])),
            ("23", versions(&[23])),
            (" W/\"1\" , W/\"2\"", versions(&[1, 2])),
            ("*", Tags::Any),
        ] {
            assert_eq!(parse_if_match(header).unwrap(), expected, "{header}");
        }
        for header in [
            "",
            "W/\"\"",
            "W/\"abc\"",
            "W/23",
            "\"23",
            "0",
            "-1",
            "W/\"1\",",
            "W/\"1\" W/\"2\"",
        ] {
            assert_eq!(
                parse_if_match(header).unwrap_err().status(),
                400,
                "{header}"
            );
        }
        assert!(parse_if_match(&"1,".repeat(40)).is_err());
        assert!(check_if_match(&versions(&[2]), Some(VersionId(2))).is_ok());
        assert_eq!(
            check_if_match(&versions(&[1]), Some(VersionId(2)))
                .unwrap_err()
                .status(),
            412
        );
        assert_eq!(check_if_match(&Tags::Any, None).unwrap_err().status(), 412);
    }

    /// Spec: <https://hl7.org/fhir/R4/http.html#cread>
    #[test]
    fn a_read_is_not_modified_by_tag_or_time() {
        let (second, current) = (1_000_000, VersionId(3));
        let updated = Instant(10 * second + 5);
        let is_same = |none_match: Option<&str>, since: Option<i64>| {
            let tags = none_match.map(|header| parse_if_none_match(header).unwrap());
            is_not_modified(
                tags.as_ref(),
                since.map(|s| Instant(s * second)),
                current,
                updated,
            )
        };
        assert!(is_same(Some("W/\"3\""), None));
        assert!(is_same(Some("\"theirs\", W/\"3\""), None));
        assert!(is_same(Some("*"), None));
        assert!(!is_same(Some("W/\"2\""), None));
        assert!(!is_same(Some("W/\"2\""), Some(99)));
        assert!(is_same(None, Some(10)));
        assert!(!is_same(None, Some(9)));
        assert!(!is_same(None, None));
        assert!(parse_if_none_match("\"open").is_err());
    }

    /// Spec: <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>
    #[test]
    fn http_dates_are_written_and_read() {
        let example = "Sun, 06 Nov 1994 08:49:37 GMT";
        let instant = parse_http_date(example).unwrap();
        assert_eq!(instant, Instant(784_111_777_000_000));
        assert_eq!(http_date(instant), example);
        assert_eq!(http_date(Instant(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        for text in [
            "",
            "1994",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
        assert_eq!(etag(VersionId(3)), "W/\"3\"");
    }
}
