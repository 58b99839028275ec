//! Versions in HTTP headers: which one a client has, which one it expects.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#concurrency>, <https://hl7.org/fhir/R4/http.html#cread>, RFC 9110 §13. Left out: `*` and
//! several tags in `If-Match`.

use crate::ids::{Instant, VersionId, days_from_civil};
use crate::issue::{ErrorKind, Problem};

/// The `ETag` of a version.
pub fn etag(version: VersionId) -> String {
    format!("W/\"{version}\"")
}

/// The version that `If-Match` demands; `None` without the header.
///
/// # Errors
/// `version-conflict` for a tag that no version here has: it cannot be the current one
pub fn parse_if_match(if_match: Option<&str>) -> Result<Option<VersionId>, Problem> {
    let Some(text) = if_match else { return Ok(None) };
    match parse_tag(text) {
        Some(version) => Ok(Some(version)),
        None => {
            let text = "`If-Match` must be one version as this server writes it, such as `W/\"3\"`";
            Err(Problem::new(ErrorKind::VERSION_CONFLICT, text).at("If-Match"))
        }
    }
}

/// `W/"3"`, and what clients make of it: `"3"` and `3`.
fn parse_tag(text: &str) -> Option<VersionId> {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    VersionId::parse(bare)
}

/// What a client has already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadCondition {
    /// `If-None-Match`: these versions; `None` without the header.
    versions: Option<Vec<VersionId>>,
    /// `If-None-Match: *`
    any: bool,
    /// `If-Modified-Since` in whole seconds since 1970.
    since_seconds: Option<i64>,
}

impl ReadCondition {
    /// Reads the headers. What cannot be read is as if it were not there: the client then gets the resource.
    pub fn parse(if_none_match: Option<&str>, if_modified_since: Option<&str>) -> Self {
        let any = if_none_match.is_some_and(|text| text.trim() == "*");
        let versions = if_none_match.map(|text| text.split(',').filter_map(parse_tag).collect());
        Self { versions, any, since_seconds: if_modified_since.and_then(parse_http_date) }
    }

    /// Whether the client has this version already (304). `If-None-Match` decides alone when both are given
    /// (RFC 9110 §13.2.2).
    pub fn has(&self, version: VersionId, updated: Instant) -> bool {
        match &self.versions {
            Some(versions) => self.any || versions.contains(&version),
            None => self.since_seconds.is_some_and(|since| updated.0.div_euclid(1_000_000) <= since),
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970; the obsolete forms are not read.
fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: i64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_whole = parts.next() == Some("GMT") && parts.next().is_none() && clock.next().is_none();
    let is_valid = (1..=31).contains(&day)
        && (1..=9999).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    (is_whole && is_valid).then(|| days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-007, RC-005
    #[test]
    fn if_match_names_one_version() {
        for (text, version) in [("W/\"3\"", 3), ("\"12\"", 12), ("7", 7), (" W/\"1\" ", 1)] {
            assert_eq!(parse_if_match(Some(text)).unwrap(), Some(VersionId(version)), "{text}");
        }
        for text in ["", "*", "W/\"0\"", "W/\"a\"", "W/\"1\", W/\"2\"", "W/\"01\""] {
            assert_eq!(parse_if_match(Some(text)).unwrap_err().status(), 412, "{text}");
        }
        assert_eq!(parse_if_match(None).unwrap(), None);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let updated = Instant(784_111_777_500_000);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (if_none_match, if_modified_since, has) in [
            (None, None, false),
            (Some("W/\"3\""), None, true),
            (Some("W/\"2\", W/\"3\""), None, true),
            (Some("W/\"2\""), None, false),
            (Some("*"), None, true),
            (Some("nonsense"), None, false),
            (None, Some(date), true),
            (None, Some("Sun, 06 Nov 1994 08:49:36 GMT"), false),
            (None, Some("yesterday"), false),
            (Some("W/\"2\""), Some(date), false),
        ] {
            let condition = ReadCondition::parse(if_none_match, if_modified_since);
            assert_eq!(condition.has(VersionId(3), updated), has, "{if_none_match:?} {if_modified_since:?}");
        }
    }
}
