//! Dates: text, ranges, periods, timings.

use super::*;
use crate::json::Document;

fn micros(text: &str) -> i64 {
    parse_instant(text).expect(text).start(Zone::UTC).0
}

/// Spec: <https://hl7.org/fhir/R4/datatypes.html#primitive>
#[test]
fn texts_follow_the_regexes() {
    // text, date, dateTime, instant, search
    for (text, date, date_time, instant, search) in [
        ("2013", true, true, false, true),
        ("2013-01", true, true, false, true),
        ("2013-01-14", true, true, false, true),
        ("2000-02-29", true, true, false, true),
        ("2013-01-14T10:00", false, false, false, true),
        ("2013-01-14T10:00Z", false, false, false, true),
        ("2013-01-14T10:00:00", false, false, false, true),
        ("2013-01-14T10:00:00Z", false, true, true, true),
        ("2013-01-14T10:00:00+14:00", false, true, true, true),
        (
            "2013-01-14T10:00:00.123456789-05:30",
            false,
            true,
            true,
            true,
        ),
        ("2016-12-31T23:59:60Z", false, true, true, true),
    ] {
        assert_eq!(parse_date(text).is_some(), date, "{text}");
        assert_eq!(parse_date_time(text).is_some(), date_time, "{text}");
        assert_eq!(parse_instant(text).is_some(), instant, "{text}");
        assert_eq!(parse_search(text).is_some(), search, "{text}");
    }
    for text in [
        "",
        "0000",
        "13",
        "201",
        "20133",
        "2013-",
        "2013-1",
        "2013-00",
        "2013-13",
        "2013-02-29",
        "1900-02-29",
        "2013-04-31",
        "2013-01-00",
        "2013-01-14T",
        "2013-01-14T10",
        "2013-01-14T24:00",
        "2013-01-14T10:60",
        "2013-01-14T10:00:61Z",
        "2013-01-14T10:00:00.Z",
        "2013-01-14T10:00:00z",
        "2013-01-14T10:00:00+14:01",
        "2013-01-14T10:00:00+1:00",
        "2013-01-14T10:00:00 01:00",
        "2013-01-14 10:00:00Z",
        " 2013",
        "2013 ",
        "+2013",
        "２０１３",
        "20é3",
    ] {
        assert_eq!(parse_search(text), None, "{text}");
    }
    for (text, valid) in [
        ("10:00:00", true),
        ("23:59:60.5", true),
        ("10:00", false),
        ("24:00:00", false),
        ("10:00:00Z", false),
        ("", false),
    ] {
        assert_eq!(is_time(text), valid, "{text}");
    }
}

/// Spec: <https://hl7.org/fhir/R4/search.html#date>: "2013-01-14 … includes the whole day".
#[test]
fn precision_becomes_a_range() {
    for (text, start, end) in [
        ("2013", "2013-01-01T00:00:00Z", "2014-01-01T00:00:00Z"),
        ("2013-12", "2013-12-01T00:00:00Z", "2014-01-01T00:00:00Z"),
        ("2012-02", "2012-02-01T00:00:00Z", "2012-03-01T00:00:00Z"),
        ("2013-01-14", "2013-01-14T00:00:00Z", "2013-01-15T00:00:00Z"),
        (
            "2013-01-14T10:00",
            "2013-01-14T10:00:00Z",
            "2013-01-14T10:01:00Z",
        ),
        (
            "2013-01-14T10:00:00+01:00",
            "2013-01-14T09:00:00Z",
            "2013-01-14T09:00:01Z",
        ),
        (
            "2013-01-14T10:00:00.12Z",
            "2013-01-14T10:00:00.12Z",
            "2013-01-14T10:00:00.13Z",
        ),
        (
            "2013-01-14T10:00:00.1234567Z",
            "2013-01-14T10:00:00.123456Z",
            "2013-01-14T10:00:00.123457Z",
        ),
        (
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:00:00Z",
            "2017-01-01T00:00:01Z",
        ),
    ] {
        let range = parse_search(text).unwrap().range(Zone::UTC);
        assert_eq!(
            range,
            DateRange {
                start: micros(start),
                end: micros(end)
            },
            "{text}"
        );
    }
    let day = parse_date("2013-01-14").unwrap().range(Zone(60));
    assert_eq!(day.start, micros("2013-01-13T23:00:00Z"));
    assert_eq!(
        parse_search("9999").unwrap().range(Zone::UTC).end,
        micros("9999-12-31T23:59:59Z") + MICROS_PER_SECOND
    );
}

#[test]
fn approximate_grows_with_the_distance_to_now() {
    let day = parse_date("2013-01-11").unwrap().range(Zone::UTC);
    let day_micros = SECONDS_PER_DAY * MICROS_PER_SECOND;
    let after = day.approximate(Instant(micros("2013-01-22T00:00:00Z")));
    assert_eq!(
        after,
        DateRange {
            start: day.start - day_micros,
            end: day.end + day_micros
        }
    );
    let before = day.approximate(Instant(micros("2013-01-01T00:00:00Z")));
    assert_eq!(
        before,
        DateRange {
            start: day.start - day_micros,
            end: day.end + day_micros
        }
    );
    assert_eq!(day.approximate(Instant(day.start)), day);
    let open = DateRange {
        start: i64::MIN,
        end: i64::MAX,
    };
    assert_eq!(open.approximate(Instant(0)), open);
}

#[test]
fn periods_and_timings_have_outer_limits() {
    let open = |text: &str, default: i64| {
        if text.is_empty() {
            default
        } else {
            micros(text)
        }
    };
    for (json, range) in [
        (
            r#""2013-01""#,
            Some(("2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z")),
        ),
        (
            r#"{"start":"2013-01-01","end":"2013-01-03"}"#,
            Some(("2013-01-01T00:00:00Z", "2013-01-04T00:00:00Z")),
        ),
        (
            r#"{"start":"2013-01-01"}"#,
            Some(("2013-01-01T00:00:00Z", "")),
        ),
        (r#"{"end":"2013"}"#, Some(("", "2014-01-01T00:00:00Z"))),
        (r#"{"start":"2013-01-05","end":"2013-01-03"}"#, None),
        (r#"{"start":"2013-01-05","end":"someday"}"#, None),
        (r#"{}"#, None),
        (r#"{"start":5}"#, None),
        (r#""someday""#, None),
        ("5", None),
        (
            r#"{"event":["2013-01-03","2013-01-01"]}"#,
            Some(("2013-01-01T00:00:00Z", "2013-01-04T00:00:00Z")),
        ),
        (
            r#"{"repeat":{"boundsPeriod":{"start":"2013-01-31","end":"2013-03-24"},"frequency":1,"period":2,"periodUnit":"d"}}"#,
            Some(("2013-01-31T00:00:00Z", "2013-03-25T00:00:00Z")),
        ),
        (r#"{"repeat":{"frequency":1}}"#, None),
    ] {
        let document = Document::parse(json.as_bytes()).unwrap();
        let expected = range.map(|(s, e)| DateRange {
            start: open(s, i64::MIN),
            end: open(e, i64::MAX),
        });
        assert_eq!(range_of(document.root(), Zone::UTC), expected, "{json}");
    }
}
