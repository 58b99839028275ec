//! What is refused, how, and that the text helps.

use super::{context, named, search};
use crate::issue::ErrorKind;
use crate::search::limits::Limits;
use crate::search::query::{Context, Handling, parse, parse_condition, parse_system};

/// Spec: <https://hl7.org/fhir/R4/search.html#errors>
/// Verifies: SRS-005, RC-016
#[test]
fn what_is_not_understood_is_an_error_that_says_what_there_is() {
    use ErrorKind as K;
    for (url, kind, text) in [
        ("Patient?foo=1", K::UNKNOWN_PARAMETER, "address-city"),
        ("Patient?Name=1", K::UNKNOWN_PARAMETER, "`Name`"),
        ("Binary?_text=a", K::UNKNOWN_PARAMETER, "`Binary` has no"),
        ("Patient?_text=%20", K::BAD_PARAMETER_VALUE, "words"),
        ("Patient?_filter=a", K::BAD_PARAMETER_VALUE, "an operator"),
        (
            "Patient?_list=$current-problems",
            K::BAD_PARAMETER_VALUE,
            "the id of a List",
        ),
        ("Patient?_query=a", K::UNKNOWN_PARAMETER, "no named queries"),
        (
            "Patient?_contained=true",
            K::UNKNOWN_PARAMETER,
            "not supported yet",
        ),
        (
            "Patient?_type=Patient",
            K::UNKNOWN_PARAMETER,
            "whole system",
        ),
        (
            "Patient?name:exat=a",
            K::UNKNOWN_MODIFIER,
            "exact, contains",
        ),
        (
            "Patient?birthdate:exact=2000",
            K::UNKNOWN_MODIFIER,
            "missing",
        ),
        (
            "Condition?code:below=a",
            K::BAD_PARAMETER_VALUE,
            "`system|code`",
        ),
        ("Condition?code:in=a", K::UNKNOWN_CODES, "not loaded"),
        ("Condition?code:not-in=a", K::UNKNOWN_CODES, "not loaded"),
        (
            "Observation?subject:Practitioner=1",
            K::UNKNOWN_MODIFIER,
            "Device, Group, Location, Patient",
        ),
        (
            "Observation?subject:Nobody=1",
            K::UNKNOWN_MODIFIER,
            "Patient",
        ),
        ("Patient?_id:exact=1", K::UNKNOWN_MODIFIER, "missing, not"),
        ("Patient?birthdate=xx2000", K::UNKNOWN_PREFIX, "eq, ne, gt"),
        (
            "Patient?birthdate=2000-13",
            K::BAD_PARAMETER_VALUE,
            "2013-01-14",
        ),
        ("Patient?birthdate=ge", K::BAD_PARAMETER_VALUE, "2013-01-14"),
        (
            "RiskAssessment?probability=a.b",
            K::BAD_PARAMETER_VALUE,
            "prefix",
        ),
        (
            "Observation?value-quantity=5%7Cmg",
            K::BAD_PARAMETER_VALUE,
            "number||code",
        ),
        (
            "Observation?code-value-quantity=a",
            K::BAD_PARAMETER_VALUE,
            "code$value-quantity",
        ),
        (
            "Observation?code-value-quantity=a$b",
            K::BAD_PARAMETER_VALUE,
            "prefix",
        ),
        ("Patient?name=", K::BAD_PARAMETER_VALUE, ":missing"),
        ("Patient?name=a,", K::BAD_PARAMETER_VALUE, "empty"),
        (
            "Patient?identifier=%7C",
            K::BAD_PARAMETER_VALUE,
            "system|code",
        ),
        (
            "Patient?identifier=a%7Cb%7Cc",
            K::BAD_PARAMETER_VALUE,
            "system|code",
        ),
        (
            "Patient?identifier:of-type=a%7Cb",
            K::BAD_PARAMETER_VALUE,
            "all three",
        ),
        (
            "Patient?active:missing=yes",
            K::BAD_PARAMETER_VALUE,
            "`true` or `false`",
        ),
        ("Patient?_id=a_b", K::BAD_PARAMETER_VALUE, "logical id"),
        ("Observation?subject=a_b", K::BAD_PARAMETER_VALUE, "Type/id"),
        (
            "Observation?subject:Patient=Group/1",
            K::BAD_PARAMETER_VALUE,
            "differ",
        ),
        (
            "Observation?subject=%23a",
            K::BAD_PARAMETER_VALUE,
            "Type/id",
        ),
        (
            "Observation?code.text=a",
            K::UNKNOWN_PARAMETER,
            "only references",
        ),
        (
            "Observation?subject.foo=a",
            K::UNKNOWN_PARAMETER,
            "none of the types",
        ),
        (
            "Observation?subject:Patient.foo=a",
            K::UNKNOWN_PARAMETER,
            "`Patient` has no search parameter `foo`",
        ),
        ("Patient?_has=a", K::UNKNOWN_PARAMETER, ""),
        (
            "Patient?_has:Observation=a",
            K::BAD_PARAMETER_VALUE,
            "_has:Type",
        ),
        (
            "Patient?_has:Observation:code:status=a",
            K::UNKNOWN_PARAMETER,
            "reference parameter",
        ),
        (
            "Patient?_has:Observation:encounter:status=a",
            K::UNKNOWN_PARAMETER,
            "never refers",
        ),
        (
            "Patient?_has:Nothing:subject:status=a",
            K::BAD_PARAMETER_VALUE,
            "no resource type",
        ),
        ("Patient?_sort=foo", K::UNKNOWN_SORT, "birthdate"),
        (
            "Observation?_sort=code-value-quantity",
            K::UNKNOWN_SORT,
            "date",
        ),
        ("Patient?_count=-1", K::BAD_PARAMETER_VALUE, "whole number"),
        (
            "Patient?_count=1&_count=2",
            K::BAD_PARAMETER_VALUE,
            "more than once",
        ),
        ("Patient?_total=all", K::BAD_PARAMETER_VALUE, "accurate"),
        ("Patient?_summary=yes", K::BAD_PARAMETER_VALUE, "count"),
        ("Patient?_elements=foo", K::BAD_PARAMETER_VALUE, "birthDate"),
        (
            "Patient?_include=Patient",
            K::BAD_PARAMETER_VALUE,
            "Type:parameter",
        ),
        (
            "Patient?_include=Patient:name",
            K::UNKNOWN_PARAMETER,
            "general-practitioner",
        ),
        (
            "Patient?_include=Observation:subject",
            K::BAD_PARAMETER_VALUE,
            ":iterate",
        ),
        (
            "Patient?_include=Patient:organization:Practitioner",
            K::BAD_PARAMETER_VALUE,
            "does not lead",
        ),
        (
            "Patient?_revinclude=Observation:encounter",
            K::BAD_PARAMETER_VALUE,
            "does not lead",
        ),
        ("Location?near=91%7C0", K::BAD_PARAMETER_VALUE, "latitude"),
        (
            "Location?near=1%7C1%7C1%7Cparsec",
            K::BAD_PARAMETER_VALUE,
            "km",
        ),
    ] {
        let problem = search(url, Handling::Strict).expect_err(url);
        assert_eq!(problem.kind(), kind, "{url}: {problem}");
        assert!(problem.to_string().contains(text), "{url}: {problem}");
        assert_eq!(problem.status(), 400, "{url}");
    }
}

/// Verifies: SRS-011
#[test]
fn errors_do_not_repeat_values() {
    for url in [
        "Patient?birthdate=Testperson",
        "Patient?_id=Test_person",
        "Observation?subject=Test_person",
        "Patient?identifier=Testperson%7Ca%7Cb",
        "Observation?value-quantity=5%7CTestperson",
    ] {
        let problem = search(url, Handling::Strict).unwrap_err();
        assert!(!problem.to_string().contains("Test"), "{problem}");
    }
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        parameters_max: 3,
        alternatives_max: 3,
        chain_depth_max: 2,
        includes_max: 2,
        sort_keys_max: 2,
        elements_max: 2,
        value_bytes_max: 10,
        conditions_max: 200,
    };
    let context = Context {
        limits,
        ..context()
    };
    for url in [
        "Patient?name=a&name=a&name=a&name=a",
        "Patient?name=a,b,c,d",
        "Observation?subject:Patient.organization.partof.name=a",
        "Patient?_include=Patient:link&_include=Patient:link&_include=Patient:link",
        "Patient?_sort=name,name,name",
        "Patient?_elements=name,id,active",
        "Patient?name=aaaaaaaaaaa",
        "Provenance?target.subject.name=a",
    ] {
        let (type_name, query) = url.split_once('?').unwrap();
        let params = crate::search::query_string::decode(query).unwrap();
        let problem = parse(named(type_name), &params, Handling::Lenient, &context).expect_err(url);
        assert_eq!(problem.kind(), ErrorKind::TOO_COSTLY, "{url}: {problem}");
    }
}

/// Spec: <https://hl7.org/fhir/R4/http.html#ccreate>
#[test]
fn a_condition_selects_and_does_nothing_else() {
    let check = |query: &str| {
        parse_condition(
            named("Patient"),
            &crate::search::query_string::decode(query).unwrap(),
            &context(),
        )
    };
    assert!(check("identifier=s%7C1").is_ok());
    for query in [
        "",
        "_count=1",
        "identifier=a&_sort=name",
        "_include:iterate=Patient:link",
        "foo=1",
        "_format=json",
    ] {
        assert!(check(query).is_err(), "{query}");
    }
}

/// Spec: <https://hl7.org/fhir/R4/http.html#search>: "GET [base]?[parameters]" with `_type`
#[test]
fn a_system_search_is_one_request_for_each_type() {
    let params = |query: &str| crate::search::query_string::decode(query).unwrap();
    let requests = parse_system(
        &params("_type=Patient,Observation&_lastUpdated=ge2020"),
        Handling::Strict,
        &context(),
    )
    .unwrap();
    assert_eq!(
        requests
            .iter()
            .map(|r| r.resource_type.name())
            .collect::<Vec<_>>(),
        ["Observation", "Patient"]
    );
    assert_eq!(
        parse_system(&params("_id=1"), Handling::Strict, &context())
            .unwrap()
            .len(),
        146
    );
    assert!(
        parse_system(
            &params("_type=Patient,Observation&birthdate=2000"),
            Handling::Strict,
            &context()
        )
        .is_err()
    );
    assert!(parse_system(&params("_type=Nothing"), Handling::Strict, &context()).is_err());
}
