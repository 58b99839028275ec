//! <https://hl7.org/fhir/R4/json.html> and <https://hl7.org/fhir/R4/validation.html>, each rule with a resource that breaks it.

use conformance::Definitions;

use super::shape::{MEMBERS_MAX, Shape};
use super::structure::{ISSUES_MAX, check};
use crate::body::resource_type_name;
use crate::issue::{ErrorKind, Issue};
use crate::json::Document;

fn issues(text: &str) -> Vec<Issue> {
    let document = Document::parse(text.as_bytes()).expect(text);
    let name = resource_type_name(document.root()).unwrap();
    check(
        Definitions::r4().resource_type(&name).unwrap(),
        document.root(),
    )
}

fn patient(members: &str) -> String {
    format!(r#"{{"resourceType":"Patient",{members}}}"#)
}

fn observation(members: &str) -> String {
    format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{members}}}"#)
}

/// Verifies: SRS-029
#[test]
fn right_resources_pass() {
    for text in [
        r#"{"resourceType":"Patient"}"#.to_owned(),
        patient(r#""id":"a","active":true,"name":[{"given":["A","B"],"family":"C"}],"birthDate":"2000-02""#),
        patient(r#""name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"http://x","valueCode":"y"}]}]}]"#),
        patient(r#""_birthDate":{"extension":[{"url":"http://x","valueDateTime":"2000-01-01T10:00:00Z"}]}"#),
        patient(r##""contained":[{"resourceType":"Organization","id":"o"}],"managingOrganization":{"reference":"#o"}"##),
        patient(r##""link":[{"other":{"reference":"#"},"type":"refer"}]"##),
        observation(r#""valueQuantity":{"value":2.50,"unit":"mg"},"subject":{"reference":"Patient/1/_history/2"}"#),
        observation(r#""component":[{"code":{"text":"a"},"referenceRange":[{"text":"r"}]}]"#),
        // "_status" with a reason for its absence stands for the mandatory "status".
        r#"{"resourceType":"Observation","_status":{"extension":[{"url":"http://x","valueCode":"unknown"}]},"code":{"text":"x"}}"#.to_owned(),
        r#"{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"1","type":"group","item":[{"linkId":"2","type":"string"}]}]}"#.to_owned(),
        r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520","resource":{"resourceType":"Patient"}}]}"#.to_owned(),
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","valueDecimal":1.0}]}"#.to_owned(),
    ] {
        assert_eq!(issues(&text), [], "{text}");
    }
}

/// Every row: a resource, the kind and place of its only issue.
/// Verifies: SRS-029
#[test]
fn wrong_resources_are_refused_at_the_right_place() {
    use ErrorKind as K;
    for (text, kind, place) in [
        (patient(r#""nme":[]"#), K::UNKNOWN_ELEMENT, "Patient.nme"),
        (patient(r#""name":[{"fore":"A"}]"#), K::UNKNOWN_ELEMENT, "Patient.name[0].fore"),
        (observation(r#""value":1"#), K::UNKNOWN_ELEMENT, "Observation.value"),
        (observation(r#""valueDecimal":1"#), K::UNKNOWN_ELEMENT, "Observation.valueDecimal"),
        (observation(r#""_code":{"id":"a"}"#), K::UNKNOWN_ELEMENT, "Observation._code"),
        (patient(r#""name":{"family":"A"}"#), K::BAD_VALUE, "Patient.name"),
        (patient(r#""birthDate":["2000"]"#), K::BAD_VALUE, "Patient.birthDate"),
        (patient(r#""name":[]"#), K::BAD_VALUE, "Patient.name"),
        (patient(r#""name":[{}]"#), K::BAD_VALUE, "Patient.name[0]"),
        (patient(r#""name":["A"]"#), K::BAD_VALUE, "Patient.name[0]"),
        (patient(r#""name":[null]"#), K::BAD_VALUE, "Patient.name[0]"),
        (patient(r#""name":null"#), K::BAD_VALUE, "Patient.name"),
        (patient(r#""active":null"#), K::BAD_VALUE, "Patient.active"),
        (patient(r#""active":"true""#), K::BAD_VALUE, "Patient.active"),
        (patient(r#""birthDate":"2000-13""#), K::BAD_VALUE, "Patient.birthDate"),
        (patient(r#""birthDate":"""#), K::BAD_VALUE, "Patient.birthDate"),
        (patient(r#""id":"a_b""#), K::BAD_VALUE, "Patient.id"),
        (patient(r#""name":[{"given":["A"]},{"given":[""]}]"#), K::BAD_VALUE, "Patient.name[1].given[0]"),
        (patient(r#""name":[{"given":["A",null]}]"#), K::BAD_VALUE, "Patient.name[0].given[1]"),
        (patient(r#""name":[{"given":["A"],"_given":[null,null]}]"#), K::BAD_VALUE, "Patient.name[0]._given"),
        (patient(r#""_birthDate":{}"#), K::BAD_VALUE, "Patient._birthDate"),
        (patient(r#""_birthDate":"x""#), K::BAD_VALUE, "Patient._birthDate"),
        (patient(r#""multipleBirthBoolean":true,"multipleBirthInteger":2"#), K::INVALID_RESOURCE, "Patient.multipleBirthInteger"),
        (observation(r#""valueString":"a","_valueCode":{"id":"a"}"#), K::UNKNOWN_ELEMENT, "Observation._valueCode"),
        (patient(r#""gender":"man""#), K::BAD_CODE, "Patient.gender"),
        (patient(r#""gender":"Male""#), K::BAD_CODE, "Patient.gender"),
        (observation(r#""valueQuantity":{"value":"2.5"}"#), K::BAD_VALUE, "Observation.valueQuantity.value"),
        (observation(r#""valueQuantity":{"value":2.5,"comparator":"~"}"#), K::BAD_CODE, "Observation.valueQuantity.comparator"),
        (observation(r#""component":[{"code":{"text":"a"}},{"valueString":"b"}]"#), K::REQUIRED_ELEMENT, "Observation.component[1].code"),
        (r#"{"resourceType":"Observation","code":{"text":"x"}}"#.to_owned(), K::REQUIRED_ELEMENT, "Observation.status"),
        (patient(r#""extension":[{"valueString":"a"}]"#), K::REQUIRED_ELEMENT, "Patient.extension[0].url"),
        (patient(r##""managingOrganization":{"reference":"#o"}"##), K::BAD_VALUE, "Patient.managingOrganization.reference"),
        (patient(r#""managingOrganization":{"reference":"Organization"}"#), K::BAD_VALUE, "Patient.managingOrganization.reference"),
        (patient(r#""managingOrganization":{"reference":"Organization?name=a"}"#), K::BAD_VALUE, "Patient.managingOrganization.reference"),
        (patient(r#""contained":[{"id":"o"}]"#), K::INVALID_RESOURCE, "Patient.contained[0]"),
        (patient(r#""contained":[{"resourceType":"Organisation"}]"#), K::INVALID_RESOURCE, "Patient.contained[0]"),
        (patient(r#""contained":[{"resourceType":"Organization","contained":[{"resourceType":"Patient"}]}]"#), K::INVALID_RESOURCE, "Patient.contained[0].contained"),
        (patient(r#""text":{"status":"generated","div":"<p>a</p>"}"#), K::BAD_VALUE, "Patient.text.div"),
        (
            r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","active":1}}]}"#.to_owned(),
            K::BAD_VALUE,
            "Bundle.entry[0].resource.active",
        ),
        (
            r#"{"resourceType":"AllergyIntolerance","patient":{"reference":"Patient/1"},"clinicalStatus":{"coding":[{"system":"http://x","code":"active"}]}}"#.to_owned(),
            K::BAD_CODE,
            "AllergyIntolerance.clinicalStatus",
        ),
    ] {
        let found: Vec<(ErrorKind, String)> = issues(&text).into_iter().map(|i| (i.kind, i.expression.unwrap())).collect();
        assert_eq!(found, [(kind, place.to_owned())], "{text}");
    }
}

/// Verifies: SRS-011
#[test]
fn errors_do_not_repeat_the_value() {
    let found = issues(&patient(
        r#""gender":"Testperson","birthDate":"Testperson","name":[{"family":7}]"#,
    ));
    assert_eq!(found.len(), 3);
    assert!(
        found
            .iter()
            .all(|issue| !issue.diagnostics.contains("Testperson")),
        "{found:?}"
    );
}

#[test]
fn another_type_is_not_accepted() {
    let document = Document::parse(br#"{"resourceType":"Patient"}"#).unwrap();
    let observation = Definitions::r4().resource_type("Observation").unwrap();
    assert_eq!(
        check(observation, document.root())[0].kind,
        ErrorKind::TYPE_MISMATCH
    );
    let document = Document::parse(b"[]").unwrap();
    assert_eq!(
        check(observation, document.root())[0].kind,
        ErrorKind::INVALID_RESOURCE
    );
}

#[test]
fn issues_are_capped() {
    let names = vec![r#"{"fore":"A"}"#; 500].join(",");
    let found = issues(&patient(&format!(r#""name":[{names}]"#)));
    assert_eq!(found.len(), ISSUES_MAX + 1);
}

/// The walk keeps the elements of a type in one number.
#[test]
fn every_type_fits_the_walk() {
    for definition in Definitions::r4().resource_types() {
        let mut paths = vec![definition.name];
        let mut done = std::collections::HashSet::new();
        while let Some(path) = paths.pop() {
            if !done.insert(path) {
                continue;
            }
            let elements = Definitions::r4().elements(path);
            assert!(elements.len() <= MEMBERS_MAX, "{path}");
            let Some(shape) = Shape::of(path) else {
                panic!("{path} has no shape")
            };
            assert_eq!(shape.members.len(), elements.len(), "{path}");
            for element in elements {
                for kind in &element.types {
                    let children = element.children_path(kind.code);
                    if !Definitions::r4().elements(children).is_empty() {
                        paths.push(children);
                    }
                }
            }
        }
    }
}
