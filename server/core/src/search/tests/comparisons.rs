//! The table of prefixes and the tests of single values, evaluated.
//! <https://hl7.org/fhir/R4/search.html#prefix>

use std::borrow::Cow;

use super::{code, named, predicate};
use crate::datatype::decimal::{Decimal, SortKey};
use crate::ids::{Instant, ResourceKey};
use crate::index::{IndexEntry, IndexValue};
use crate::search::matches::{Alone, Candidate, Related, matches};
use crate::search::predicate::Predicate;
use conformance::{Definitions, ParamId, ResourceTypeId};

fn entry(type_name: &str, param: &str, value: IndexValue<'static>) -> IndexEntry<'static> {
    IndexEntry {
        param: Definitions::r4()
            .search_param(named(type_name), param)
            .unwrap()
            .id,
        value,
    }
}

fn is_match(url: &str, entries: &[IndexEntry<'_>], related: &dyn Related) -> bool {
    let type_name = url.split('?').next().unwrap();
    let key = ResourceKey::parse(&format!("{type_name}/1")).unwrap();
    matches(
        &predicate(url),
        &Candidate {
            key: &key,
            updated: Instant(0),
            entries,
        },
        related,
    )
}

fn date(text: &str) -> IndexValue<'static> {
    let part = |text: &str| {
        crate::datatype::date::parse_search(text)
            .unwrap()
            .range(crate::datatype::date::Zone::UTC)
    };
    match text.split_once('/') {
        None => IndexValue::Date {
            start: part(text).start,
            end: part(text).end,
        },
        Some((start, end)) => IndexValue::Date {
            start: if start.is_empty() {
                i64::MIN
            } else {
                part(start).start
            },
            end: if end.is_empty() {
                i64::MAX
            } else {
                part(end).end
            },
        },
    }
}

/// "eq: the range of the search value fully contains the range of the target value" and its kin.
/// Verifies: SRS-018, RC-004, SRS-037
#[test]
fn date_prefixes_compare_ranges() {
    for (value, matching, others) in [
        // A value of one day.
        (
            "2013-01-14",
            "2013-01-14 2013-01 2013 ge2013-01-14 le2013-01-14 gt2013-01-13 lt2013-01-15 sa2013-01-13 eb2013-01-15 ne2013-01-15 ne2013-01-14T10:00",
            "2013-01-14T10:00 2013-01-15 gt2013-01-14 lt2013-01-14 sa2013-01-14 eb2013-01-14 ne2013 gt2013 lt2013 ge2013-01-15 le2013-01-13",
        ),
        // A moment.
        (
            "2013-01-14T10:00:00Z",
            "2013-01-14 ge2013-01-14T10:00 le2013-01-14 sa2013-01-13",
            "2013-01-14T10:01 lt2013-01-14T10:00:00 gt2013-01-14T10:00:00",
        ),
        // A period "2013-01-01/2013-02-10" overlaps January without lying in it.
        (
            "2013-01-01/2013-02-10",
            "2013 ne2013-01 gt2013-01 ge2013-01 lt2013-02 le2013-02",
            "2013-01 2013-02 sa2013-01 eb2013-02 lt2013-01",
        ),
        // An open period.
        (
            "2013-01-14/",
            "gt2050 ge2013 sa2013-01-13",
            "2013 lt2013-01-14 eb2050",
        ),
        (
            "/2013-01-14",
            "lt1900 le2013 eb2013-01-15",
            "2013 gt2013-01-14 sa1900",
        ),
    ] {
        let entries = [entry("Observation", "date", date(value))];
        for (queries, expected) in [(matching, true), (others, false)] {
            for query in queries.split(' ') {
                assert_eq!(
                    is_match(&format!("Observation?date={query}"), &entries, &Alone),
                    expected,
                    "{query} on {value}"
                );
            }
        }
    }
}

fn number(text: &str) -> SortKey {
    SortKey::from_decimal(&Decimal::parse(text).unwrap())
}

/// Spec: <https://hl7.org/fhir/R4/search.html#number>
/// Verifies: SRS-037
#[test]
fn number_prefixes_compare_decimals() {
    for (value, matching, others) in [
        (
            "100",
            "100 1e2 ge100 le100 gt99.99 lt100.01 ap95 sa99 eb101 ne100.2 ne101",
            "gt100 lt100 ne100 99 101 sa100 eb100",
        ),
        ("99.5", "100 ge99.5 ne101", "100.0 99.4"),
        ("100.5", "101 gt100", "100 le100.4"),
    ] {
        let value_of = || IndexValue::Number {
            low: number(value),
            high: number(value),
        };
        let entries = [entry("RiskAssessment", "probability", value_of())];
        for (queries, expected) in [(matching, true), (others, false)] {
            for query in queries.split(' ') {
                assert_eq!(
                    is_match(
                        &format!("RiskAssessment?probability={query}"),
                        &entries,
                        &Alone
                    ),
                    expected,
                    "{query} on {value}"
                );
            }
        }
    }
    // A Range from 5 to 10.
    let range = [entry(
        "RiskAssessment",
        "probability",
        IndexValue::Number {
            low: number("5"),
            high: number("10"),
        },
    )];
    for (query, expected) in [
        ("7", false),
        ("ge10", false),
        ("gt9", true),
        ("lt6", true),
        ("sa4", true),
        ("sa5", false),
        ("eb11", true),
        ("ap7", true),
        ("ne7", true),
    ] {
        assert_eq!(
            is_match(
                &format!("RiskAssessment?probability={query}"),
                &range,
                &Alone
            ),
            expected,
            "{query}"
        );
    }
}

fn token(system: Option<&'static str>, code: &'static str) -> IndexValue<'static> {
    IndexValue::Token {
        system: system.map(Cow::Borrowed),
        code: code.into(),
    }
}

/// Spec: <https://hl7.org/fhir/R4/search.html#token>, <https://hl7.org/fhir/R4/search.html#modifiers>
#[test]
fn tokens_and_modifiers() {
    let coded = [
        entry("Condition", "code", token(Some("s"), "a")),
        entry("Condition", "code", token(None, "b")),
        entry(
            "Condition",
            "code",
            IndexValue::TokenText(vec!["headache or migraine".into()]),
        ),
    ];
    for (query, expected) in [
        ("code=a", true),
        ("code=A", false),
        ("code=s%7Ca", true),
        ("code=t%7Ca", false),
        ("code=%7Ca", false),
        ("code=%7Cb", true),
        ("code=s%7C", true),
        ("code=t%7C", false),
        ("code:not=a", false),
        ("code:not=c", true),
        ("code:text=head", true),
        ("code:text=migr", true),
        ("code:text=graine", false),
        ("code:missing=false", true),
        ("category:missing=true", true),
        ("category:not=x", true),
    ] {
        assert_eq!(
            is_match(&format!("Condition?{query}"), &coded, &Alone),
            expected,
            "{query}"
        );
    }
    let identifier = IndexValue::Identifier {
        system: Some("s".into()),
        value: "1".into(),
        types: vec![(Some("t".into()), "MR".into())],
    };
    let identified = [entry("Patient", "identifier", identifier)];
    for (query, expected) in [
        ("identifier=s%7C1", true),
        ("identifier=1", true),
        ("identifier:of-type=t%7CMR%7C1", true),
        ("identifier:of-type=t%7CSS%7C1", false),
    ] {
        assert_eq!(
            is_match(&format!("Patient?{query}"), &identified, &Alone),
            expected,
            "{query}"
        );
    }
}

/// Verifies: SRS-036
#[test]
fn composites_hold_at_one_place() {
    let part = |system, number_text: &str| {
        let quantity = IndexValue::Quantity {
            system: None,
            code: None,
            unit: Some("mm".into()),
            low: number(number_text),
            high: number(number_text),
        };
        entry(
            "Observation",
            "component-code-value-quantity",
            IndexValue::Composite(vec![token(Some(system), "x"), quantity]),
        )
    };
    let entries = [part("systolic", "120"), part("diastolic", "60")];
    let url = |query: &str| format!("Observation?component-code-value-quantity={query}");
    assert!(is_match(&url("systolic%7Cx$gt100"), &entries, &Alone));
    assert!(!is_match(&url("diastolic%7Cx$gt100"), &entries, &Alone));
    assert!(is_match(&url("diastolic%7Cx$60%7C%7Cmm"), &entries, &Alone));
}

/// Spec: <https://hl7.org/fhir/R4/search.html#uri>
#[test]
fn uris_above_and_below() {
    let entries = [entry(
        "ValueSet",
        "url",
        IndexValue::Uri("http://acme.org/fhir/ValueSet/123".into()),
    )];
    for (query, expected) in [
        ("url=http://acme.org/fhir/ValueSet/123", true),
        ("url=http://acme.org/fhir/valueset/123", false),
        ("url:below=http://acme.org/fhir/", true),
        ("url:below=http://acme.org/fhir/ValueSet/1234", false),
        (
            "url:above=http://acme.org/fhir/ValueSet/123/_history/5",
            true,
        ),
    ] {
        assert_eq!(
            is_match(&format!("ValueSet?{query}"), &entries, &Alone),
            expected,
            "{query}"
        );
    }
}

#[test]
fn positions_are_near_within_the_distance() {
    // About 55.6 km north, and about 31.9 km east at 60 degrees north.
    for (latitude, longitude, query, expected) in [
        (605_000_000, 100_000_000, "60%7C10%7C56", true),
        (605_000_000, 100_000_000, "60%7C10%7C55", false),
        (600_000_000, 105_730_000, "60%7C10%7C33", true),
        (600_000_000, 105_730_000, "60%7C10%7C31", false),
        (0, 1_799_999_999, "0%7C-180%7C1%7Cm", true),
        (600_000_000, 100_000_000, "60%7C10%7C0", true),
    ] {
        let entries = [entry(
            "Location",
            "near",
            IndexValue::Position {
                latitude_e7: latitude,
                longitude_e7: longitude,
            },
        )];
        assert_eq!(
            is_match(&format!("Location?near={query}"), &entries, &Alone),
            expected,
            "{query} at {latitude}"
        );
    }
}

/// A patient 7 called Peter, to whom an Observation with code `x` refers.
struct World;

impl Related for World {
    fn matches(&self, key: &ResourceKey, inner: &Predicate) -> bool {
        let name = IndexValue::String {
            normal: "peter".into(),
            exact: "Peter".into(),
        };
        let entries = [entry("Patient", "name", name)];
        key.to_string() == "Patient/7"
            && matches(
                inner,
                &Candidate {
                    key,
                    updated: Instant(0),
                    entries: &entries,
                },
                self,
            )
    }

    fn is_referred(
        &self,
        target: &ResourceKey,
        source: ResourceTypeId,
        param: ParamId,
        inner: &Predicate,
    ) -> bool {
        let key = ResourceKey::parse("Observation/1").unwrap();
        let entries = [entry("Observation", "code", token(None, "x"))];
        target.to_string() == "Patient/1"
            && (source, code(param)) == (key.resource_type, "subject")
            && matches(
                inner,
                &Candidate {
                    key: &key,
                    updated: Instant(0),
                    entries: &entries,
                },
                self,
            )
    }
}

#[test]
fn links_are_followed_both_ways() {
    let entries = [entry(
        "Observation",
        "subject",
        IndexValue::Reference(ResourceKey::parse("Patient/7").unwrap()),
    )];
    assert!(is_match(
        "Observation?subject:Patient.name=pet",
        &entries,
        &World
    ));
    assert!(is_match("Observation?subject.name=pet", &entries, &World));
    assert!(!is_match("Observation?subject.name=paul", &entries, &World));
    assert!(is_match(
        "Patient?_has:Observation:subject:code=x",
        &[],
        &World
    ));
    assert!(!is_match(
        "Patient?_has:Observation:subject:code=y",
        &[],
        &World
    ));
    assert!(!is_match(
        "Patient?_has:Observation:patient:code=x",
        &[],
        &World
    ));
}
