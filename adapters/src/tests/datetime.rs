//! HL7 v2 chapter 2A, "DTM - date/time": `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.

use std::time::{Duration, SystemTime};

use crate::hl7v2::datetime::{Dtm, Precision};

#[test]
fn precision_and_offset_are_kept() {
    let cases = [
        ("2024", Precision::Year, None),
        ("202403", Precision::Month, None),
        ("20240310", Precision::Day, None),
        ("2024031012", Precision::Hour, None),
        ("202403101200", Precision::Minute, None),
        ("20240310120000", Precision::Second, None),
        ("20240310120000.1234", Precision::Fraction, None),
        ("20240310120000.123456", Precision::Fraction, None),
        ("20240310120000+0100", Precision::Second, Some(60)),
        ("20240310120000-0030", Precision::Second, Some(-30)),
        ("20240310120000-0000", Precision::Second, Some(0)),
        ("20240229", Precision::Day, None),
        ("2024+1400", Precision::Year, Some(840)),
    ];
    for (text, precision, offset) in cases {
        let dtm = Dtm::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(dtm.precision(), precision, "{text}");
        assert_eq!(dtm.offset().map(|o| o.minutes()), offset, "{text}");
        assert_eq!(dtm.to_string(), text, "what is written is what was read");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    let cases = [
        "",
        "24",
        "20240",
        "2024031",
        "0000",
        "20241301",
        "20240230",
        "20230229",
        "20240310240000",
        "20240310126000",
        "20240310120060",
        "202403101200.5",
        "20240310120000.",
        "20240310120000Z",
        "2024-03-10",
        "2024031012000",
        "20240310120000+1500",
        "20240310120000+0160",
        "20240310120000+100",
        "20240310120000+01:00",
        "２０２４",
        "20240310120000.1234567890",
        "20240310 1200",
        "99999999999999999999",
    ];
    for text in cases {
        assert_eq!(Dtm::parse(text), None, "{text}");
    }
}

#[test]
fn the_clock_is_written_in_utc() {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_710_072_000);
    assert_eq!(Dtm::of(moment).to_string(), "20240310120000+0000");
}
