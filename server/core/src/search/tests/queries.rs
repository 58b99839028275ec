//! What each form of query means.

use super::{predicate, search, show};
use crate::search::predicate::{Direction, SortBy};
use crate::search::query::Handling;
use crate::search::result::{Summary, Total};

fn check(rows: &[(&str, &str)]) {
    for (url, expected) in rows {
        assert_eq!(show(&predicate(url)), *expected, "{url}");
    }
}

/// Spec: <https://hl7.org/fhir/R4/search.html#combining>: "If … a parameter repeats …, an AND"; "," separates an OR.
#[test]
fn repeats_narrow_and_commas_widen() {
    check(&[
        ("Patient?", "everything"),
        ("Patient?_format=json&_pretty=true", "everything"),
        ("Patient?given=a&given=b", "(given 'a'.. & given 'b'..)"),
        (
            "Patient?given=a,b&family=c",
            "((given 'a'.. | given 'b'..) & family 'c'..)",
        ),
        (r"Patient?name=a\,b", "name 'ab'.."),
        (r"Patient?name:exact=a\,b\$c\|d\\e", r"name 'a,b$c|d\e'"),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#string>: `name=eve`, `name:contains=eve`, `name:exact=Eve`
#[test]
fn strings() {
    check(&[
        ("Patient?given=Eve", "given 'eve'.."),
        ("Patient?given:contains=%C3%88ve", "given ..'eve'.."),
        ("Patient?given:exact=Eve", "given 'Eve'"),
        ("Patient?family:missing=true", "!has family"),
        ("Patient?family:missing=false", "has family"),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#token>
#[test]
fn tokens() {
    check(&[
        (
            "Patient?identifier=http://acme.org/patient%7C2345",
            "identifier http://acme.org/patient|2345",
        ),
        ("Patient?identifier=2345", "identifier \"2345\""),
        ("Patient?identifier=%7C2345", "identifier none|2345"),
        (
            "Patient?identifier=http://acme.org%7C",
            "identifier http://acme.org|*",
        ),
        ("Condition?code:text=Headache", "code text 'headache'"),
        ("Condition?code:not=a,b", "!(code \"a\" | code \"b\")"),
        (
            "Patient?identifier:of-type=http://t%7CMR%7C446053",
            "identifier type http://t|MR 446053",
        ),
        ("Patient?active=true", "active \"true\""),
        (r"Patient?identifier=a\%7Cb", "identifier \"a|b\""),
        // "for elements of type code … the system is implied by the value set"
        (
            "Patient?gender=http://hl7.org/fhir/administrative-gender%7Cmale",
            "gender \"male\"",
        ),
        (
            "Patient?gender=http://hl7.org/fhir/administrative-gender%7C",
            "(gender \"female\" | gender \"male\" | gender \"other\" | gender \"unknown\")",
        ),
        (
            "Patient?gender=http://other%7Cmale",
            "gender http://other|male",
        ),
        (
            "Observation?code=http://loinc.org%7C8480-6",
            "code http://loinc.org|8480-6",
        ),
        ("Patient?_tag=http://t%7Ca", "_tag http://t|a"),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#reference>
#[test]
fn references() {
    check(&[
        ("Observation?patient=23", "patient Patient/23"),
        (
            "Observation?subject=23",
            "subject Device/23,Group/23,Location/23,Patient/23",
        ),
        ("Observation?subject:Patient=23", "subject Patient/23"),
        ("Observation?subject=Patient/23", "subject Patient/23"),
        (
            "Observation?subject=http://own/fhir/Patient/23",
            "subject Patient/23",
        ),
        (
            "Observation?subject=http://other/fhir/Patient/23",
            "subject <http://other/fhir/Patient/23>",
        ),
        (
            "Observation?subject=urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
            "subject <urn:uuid:c757873d-ec9a-4326-a141-556f43239520>",
        ),
        (
            "Observation?subject:identifier=http://acme.org%7C2345",
            "subject identifier http://acme.org|2345",
        ),
        (
            "CarePlan?instantiates-canonical=http://x/PlanDefinition/1",
            "instantiates-canonical <http://x/PlanDefinition/1>",
        ),
        (
            "CarePlan?instantiates-canonical=PlanDefinition/1",
            "(instantiates-canonical <PlanDefinition/1> | instantiates-canonical <http://own/fhir/PlanDefinition/1> | instantiates-canonical PlanDefinition/1)",
        ),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/references.html#literal>, <https://hl7.org/fhir/R4/references.html#canonical>
/// Verifies: SRS-304, RC-304
#[test]
fn a_version_in_the_value_means_that_version() {
    check(&[
        (
            "Observation?subject=Patient/23/_history/2",
            "subject <Patient/23/_history/2>",
        ),
        (
            "Observation?subject=http://own/fhir/Patient/23/_history/2",
            "subject <Patient/23/_history/2>",
        ),
        (
            "Observation?subject=http://x/Patient/23/_history/2",
            "subject <http://x/Patient/23/_history/2>",
        ),
        (
            "CarePlan?instantiates-canonical=http://x/PlanDefinition/1%7C2",
            "instantiates-canonical <http://x/PlanDefinition/1|2>",
        ),
        (
            "CarePlan?instantiates-canonical=PlanDefinition/1%7C2",
            "(instantiates-canonical <PlanDefinition/1|2> | instantiates-canonical <http://own/fhir/PlanDefinition/1|2>)",
        ),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#date>, <https://hl7.org/fhir/R4/search.html#prefix>
/// Verifies: SRS-018, RC-004
#[test]
fn dates() {
    check(&[
        (
            "Observation?date=2013-01-14",
            "date eq 2013-01-14T00:00Z..2013-01-15T00:00Z",
        ),
        (
            "Observation?date=ge2013",
            "date ge 2013-01-01T00:00Z..2014-01-01T00:00Z",
        ),
        (
            "Observation?date=lt2013-01-14T10:00",
            "date lt 2013-01-14T10:00Z..2013-01-14T10:01Z",
        ),
        (
            "Observation?date=sa2013-03-14T10:00:00%2B01:00",
            "date sa 2013-03-14T09:00Z..2013-03-14T09:00:01.000000Z",
        ),
        (
            "Observation?_lastUpdated=gt2010-10-01",
            "updated gt 2010-10-01T00:00Z..2010-10-02T00:00Z",
        ),
        (
            "Observation?date=ge2010-01-01&date=le2011-12-31",
            "(date ge 2010-01-01T00:00Z..2010-01-02T00:00Z & date le 2011-12-31T00:00Z..2012-01-01T00:00Z)",
        ),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#number>: "100: [99.5, 100.5)", "100.00", "1e2", "lt100", "ne100"
/// Spec: <https://hl7.org/fhir/R4/search.html#quantity>
#[test]
fn numbers_and_quantities() {
    check(&[
        (
            "RiskAssessment?probability=100",
            "probability eq[99.5,100.5)",
        ),
        (
            "RiskAssessment?probability=100.00",
            "probability eq[99.995,100.005)",
        ),
        ("RiskAssessment?probability=1e2", "probability eq[95,105)"),
        ("RiskAssessment?probability=lt100", "probability lt100"),
        (
            "RiskAssessment?probability=ne100",
            "probability ne[99.5,100.5)",
        ),
        ("RiskAssessment?probability=gt-0.8", "probability gt-0.8"),
        (
            "Observation?value-quantity=5.4%7Chttp://unitsofmeasure.org%7Cmg",
            "value-quantity eq[5.35,5.45) http://unitsofmeasure.org|mg",
        ),
        (
            "Observation?value-quantity=5.40e-3%7Chttp://unitsofmeasure.org%7Cg",
            "value-quantity eq[0.005395,0.005405) http://unitsofmeasure.org|g",
        ),
        (
            "Observation?value-quantity=5.4%7C%7Cmg",
            "value-quantity eq[5.35,5.45) ?mg",
        ),
        ("Observation?value-quantity=le5.4", "value-quantity le5.4"),
        (
            "Observation?value-quantity=ap5.4%7Chttp://unitsofmeasure.org%7Cmg",
            "value-quantity ap[4.86,5.94) http://unitsofmeasure.org|mg",
        ),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#uri>, <https://hl7.org/fhir/R4/search.html#composite>, <https://hl7.org/fhir/R4/location.html#positional>
#[test]
fn uris_composites_and_positions() {
    check(&[
        (
            "ValueSet?url=http://acme.org/fhir/ValueSet/123",
            "url <http://acme.org/fhir/ValueSet/123>",
        ),
        (
            "ValueSet?url:below=http://acme.org/fhir/",
            "url <http://acme.org/fhir/..>",
        ),
        (
            "ValueSet?url:above=http://acme.org/fhir/ValueSet/123/_history/5",
            "url <..http://acme.org/fhir/ValueSet/123/_history/5>",
        ),
        ("Patient?_profile=http://x/p", "_profile <http://x/p>"),
        (
            "Observation?component-code-value-quantity=http://loinc.org%7C8480-6$lt60",
            "component-code-value-quantity [http://loinc.org|8480-6, lt60]",
        ),
        (
            "Observation?code-value-concept=a$b,c$d",
            "(code-value-concept [\"a\", \"b\"] | code-value-concept [\"c\", \"d\"])",
        ),
        (
            "Location?near=-83.694810%7C42.256500%7C11.20%7Ckm",
            "near -836948100 422565000 11200m",
        ),
        (
            "Location?near=42.2565%7C-83.69481",
            "near 422565000 -836948100 20000m",
        ),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#chaining>, <https://hl7.org/fhir/R4/search.html#has>
#[test]
fn chains_and_reverse_chains() {
    check(&[
        (
            "DiagnosticReport?subject:Patient.name=peter",
            "subject->Patient(name 'peter'..)",
        ),
        (
            "DiagnosticReport?subject.name=peter",
            "(subject->Location(name 'peter'..) | subject->Patient(name 'peter'..))",
        ),
        (
            "Observation?patient.organization.name=a,b",
            "patient->Patient(organization->Organization((name 'a'.. | name 'b'..)))",
        ),
        ("Encounter?patient._id=1", "patient->Patient(id 1)"),
        (
            "Observation?patient.identifier=s%7C1",
            "patient->Patient(identifier s|1)",
        ),
        (
            "Observation?patient.family:exact=A",
            "patient->Patient(family 'A')",
        ),
        (
            "Patient?_has:Observation:patient:code=1234-5",
            "<-Observation.patient(code \"1234-5\")",
        ),
        (
            "Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=1",
            "<-Observation.patient(<-AuditEvent.entity(agent Device/1,Organization/1,Patient/1,Practitioner/1,PractitionerRole/1,RelatedPerson/1))",
        ),
        (
            "Encounter?patient._has:Group:member:_id=102",
            "patient->Patient(<-Group.member(id 102))",
        ),
        (
            "Patient?_has:Observation:subject:performer:Practitioner.name=a",
            "<-Observation.subject(performer->Practitioner(name 'a'..))",
        ),
        ("Patient?_id=a,b", "id a,b"),
        ("Patient?_id:not=a", "!id a"),
        ("Patient?_id:missing=true", "nothing"),
    ]);
}

/// Spec: <https://hl7.org/fhir/R4/search.html#return>
#[test]
fn result_parameters() {
    let url = "Observation?_sort=-date,status,_id&_count=50&_total=accurate&_summary=true&_elements=status,value\
               &_include=Observation:subject:Patient&_include:iterate=Patient:organization&_revinclude=Provenance:target&_include=*";
    let request = search(url, Handling::Strict).unwrap();
    let sort: Vec<(bool, Direction)> = request
        .sort
        .iter()
        .map(|key| (matches!(key.by, SortBy::Param(_)), key.direction))
        .collect();
    assert_eq!(
        sort,
        [
            (true, Direction::Descending),
            (true, Direction::Ascending),
            (false, Direction::Ascending)
        ]
    );
    assert_eq!(
        (request.count, request.total, request.summary),
        (Some(50), Some(Total::Accurate), Summary::True)
    );
    assert_eq!(request.elements, ["status", "value"]);
    assert_eq!(
        request
            .includes
            .iter()
            .map(|i| (i.source.map(|s| s.name()), i.iterate))
            .collect::<Vec<_>>(),
        [
            (Some("Observation"), false),
            (Some("Patient"), true),
            (None, false)
        ]
    );
    assert_eq!(request.revincludes.len(), 1);
    assert_eq!(request.used.len(), 9);
    assert!(!request.is_count_only());
    assert!(
        search("Patient?_summary=count", Handling::Strict)
            .unwrap()
            .is_count_only()
    );
    assert!(
        search("Patient?_count=0", Handling::Strict)
            .unwrap()
            .is_count_only()
    );
}

/// Spec: <https://hl7.org/fhir/R4/search.html#errors>: "Prefer: handling=lenient"; the link `self` names what was used.
#[test]
fn lenient_search_leaves_out_and_says_so() {
    let request = search(
        "Patient?foo=1&name=a&name:nope=b&birthdate=xx2000&_sort=foo&_query=c",
        Handling::Lenient,
    )
    .unwrap();
    assert_eq!(show(&request.predicate), "name 'a'..");
    assert_eq!(request.used, [("name".to_owned(), "a".to_owned())]);
    assert_eq!(request.warnings.len(), 5);
    assert!(search("Patient?birthdate=2000-13", Handling::Lenient).is_err());
}

/// Spec: <https://hl7.org/fhir/R4/search.html#token>, <https://hl7.org/fhir/R4/search.html#list>
#[test]
fn value_sets_lists_and_hierarchies_become_conditions() {
    for (url, expected) in [
        ("Patient?_list=42", "<-List.item(id 42)"),
        (
            "Observation?subject:Patient._list=42",
            "subject->Patient(<-List.item(id 42))",
        ),
    ] {
        assert_eq!(show(&predicate(url)), expected, "{url}");
    }
    let genders = show(&predicate(
        "Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
    ));
    assert!(
        genders.contains("female") && genders.contains('|'),
        "{genders}"
    );
    let others = show(&predicate(
        "Patient?gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender",
    ));
    assert_eq!(others, format!("!{genders}"));
    let below = show(&predicate("Encounter?location:below=Location/1"));
    assert!(
        below.starts_with("(location ") && below.contains("location->Location(("),
        "{below}"
    );
    assert_eq!(
        below.matches("partof->Location").count(),
        crate::search::hierarchy::LEVELS_MAX - 1
    );
    let above = show(&predicate("Location?partof:above=1"));
    assert!(above.contains("<-Location.partof(id 1)"), "{above}");
    // A patient is part of nothing.
    assert!(search("Observation?patient:below=1", Handling::Strict).is_err());
}
