//! Profiles of our own and R4's vital signs.

use std::sync::Arc;

use super::check_claims;
use crate::issue::{Issue, Severity};
use crate::json::Document;
use crate::terminology::Catalogue;

const BASE: &str = "http://x.example/StructureDefinition";

/// A profile from the rows of its differential: id and the rest of the element.
fn profile(name: &str, on: &str, base: &str, rows: &[(&str, &str)]) -> Document {
    let elements: Vec<String> = rows
        .iter()
        .map(|(id, rest)| {
            let path: Vec<&str> = id
                .split('.')
                .map(|s| s.split(':').next().unwrap())
                .collect();
            let slice = id.rsplit('.').next().unwrap().split_once(':');
            let slice = slice.map_or(String::new(), |(_, s)| format!(r#""sliceName":"{s}","#));
            format!(
                r#"{{"id":"{id}","path":"{}",{slice}{rest}}}"#,
                path.join(".")
            )
        })
        .collect();
    let text = format!(
        r#"{{"resourceType":"StructureDefinition","url":"{BASE}/{name}","type":"{on}","derivation":"constraint","baseDefinition":"{base}",
            "differential":{{"element":[{}]}}}}"#,
        elements.join(",")
    );
    Document::parse(text.as_bytes()).expect(name)
}

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    let core = "http://hl7.org/fhir/StructureDefinition";
    let patient = format!("{core}/Patient");
    let observation = format!("{core}/Observation");
    let documents = [
        profile(
            "named",
            "Patient",
            &patient,
            &[
                ("Patient.name", r#""min":1,"max":"2""#),
                ("Patient.name.family", r#""min":1,"maxLength":5"#),
                ("Patient.gender", r#""fixedCode":"female""#),
                (
                    "Patient.generalPractitioner",
                    r#""type":[{"code":"Reference","targetProfile":["http://hl7.org/fhir/StructureDefinition/Practitioner"]}]"#,
                ),
                ("Patient.deceased[x]", r#""type":[{"code":"boolean"}]"#),
                ("Patient.photo", r#""max":"0""#),
            ],
        ),
        profile(
            "derived",
            "Patient",
            &format!("{BASE}/named"),
            &[(
                "Patient.birthDate",
                r#""min":1,"constraint":[{"key":"x-1","severity":"error","human":"born after 1900","expression":"$this > @1900-01-01"}]"#,
            )],
        ),
        profile(
            "sliced",
            "Observation",
            &observation,
            &[
                (
                    "Observation.category",
                    r#""slicing":{"discriminator":[{"type":"pattern","path":"$this"}],"rules":"closed"},"min":1"#,
                ),
                (
                    "Observation.category:lab",
                    r#""min":1,"max":"1","patternCodeableConcept":{"coding":[{"system":"http://x.example/c","code":"lab"}]}"#,
                ),
                (
                    "Observation.value[x]",
                    r#""slicing":{"discriminator":[{"type":"type","path":"$this"}],"rules":"open"}"#,
                ),
                (
                    "Observation.value[x]:valueQuantity",
                    r#""type":[{"code":"Quantity"}]"#,
                ),
                ("Observation.value[x]:valueQuantity.unit", r#""min":1"#),
                (
                    "Observation.component",
                    r#""slicing":{"discriminator":[{"type":"value","path":"code.coding.code"}],"rules":"open"}"#,
                ),
                ("Observation.component:a", r#""max":"1""#),
                (
                    "Observation.component:a.code.coding.code",
                    r#""fixedCode":"a""#,
                ),
                ("Observation.component:a.valueString", r#""min":1"#),
            ],
        ),
        profile(
            "extended",
            "Patient",
            &patient,
            &[(
                "Patient.extension:colour",
                r#""min":1,"type":[{"code":"Extension","profile":["http://x.example/StructureDefinition/colour"]}]"#,
            )],
        ),
        profile(
            "colour",
            "Extension",
            &format!("{core}/Extension"),
            &[
                (
                    "Extension.url",
                    r#""fixedUri":"http://x.example/StructureDefinition/colour""#,
                ),
                (
                    "Extension.value[x]",
                    r#""min":1,"type":[{"code":"code"}],"binding":{"strength":"required","valueSet":"http://hl7.org/fhir/ValueSet/administrative-gender"}"#,
                ),
            ],
        ),
        profile(
            "circle",
            "Patient",
            &format!("{BASE}/circle"),
            &[("Patient.name", r#""min":1"#)],
        ),
    ];
    for document in documents {
        assert!(catalogue.load(Arc::new(document)));
    }
    catalogue
}

fn found(catalogue: &Catalogue, json: &str, profiles: &[&str]) -> Vec<Issue> {
    let document = Document::parse(json.as_bytes()).expect(json);
    let asked: Vec<String> = profiles
        .iter()
        .map(|name| format!("{BASE}/{name}"))
        .collect();
    let found = check_claims(catalogue, document.root(), &asked, None);
    found.into_iter().map(|found| found.issue).collect()
}

fn shown(issues: &[Issue]) -> String {
    let lines = issues
        .iter()
        .filter(|i| i.severity >= Severity::Warning)
        .map(|i| {
            let text = i.diagnostics.split(" (profile").next().unwrap_or_default();
            format!("{}: {text}", i.expression.as_deref().unwrap_or_default())
        });
    lines.collect::<Vec<_>>().join("; ")
}

/// Verifies: SRS-182, RC-181
#[test]
fn rules_of_profiles_are_kept() {
    let catalogue = catalogue();
    let patient = |members: &str| format!(r#"{{"resourceType":"Patient"{members}}}"#);
    let observation = |members: &str| {
        format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"a"}}{members}}}"#
        )
    };
    let lab = r#","category":[{"coding":[{"system":"http://x.example/c","code":"lab","display":"Lab"}]}]"#;
    for (profile, json, expected) in [
        (
            "named",
            patient(r#","name":[{"family":"Muste"}],"gender":"female""#),
            "",
        ),
        (
            "named",
            patient(""),
            "Patient.name: at least 1 value must be there, here are 0",
        ),
        (
            "named",
            patient(r#","name":[{"text":"A"}]"#),
            "Patient.name[0].family: at least 1 value must be there, here are 0",
        ),
        (
            "named",
            patient(r#","name":[{"family":"A"},{"family":"B"},{"family":"C"}]"#),
            "Patient.name: at most 2 values may be there, here are 3",
        ),
        (
            "named",
            patient(r#","name":[{"family":"Muster"}]"#),
            "Patient.name[0].family: the value must have at most 5 characters",
        ),
        (
            "named",
            patient(r#","name":[{"family":"A"}],"gender":"male""#),
            "Patient.gender: the value must be the one the profile fixes",
        ),
        (
            "named",
            patient(
                r#","name":[{"family":"A"}],"generalPractitioner":[{"reference":"Practitioner/1"},{"reference":"Organization/1"}]"#,
            ),
            "Patient.generalPractitioner[1]: the reference must not lead to a Organization",
        ),
        (
            "named",
            patient(r#","name":[{"family":"A"}],"deceasedDateTime":"2020""#),
            "Patient.deceased: the type must be one of boolean",
        ),
        (
            "named",
            patient(r#","name":[{"family":"A"}],"photo":[{"title":"a"}]"#),
            "Patient.photo: at most 0 values may be there, here are 1",
        ),
        (
            "derived",
            patient(r#","birthDate":"1890-01-01""#),
            "Patient.name: at least 1 value must be there, here are 0; Patient.birthDate: x-1: born after 1900",
        ),
        (
            "derived",
            patient(r#","name":[{"family":"A"}],"birthDate":"1990-01-01""#),
            "",
        ),
        ("sliced", observation(lab), ""),
        (
            "sliced",
            observation(""),
            "Observation.category: at least 1 value must be there, here are 0; Observation.category: at least 1 value of the slice `lab` must be there, here are 0",
        ),
        (
            "sliced",
            observation(
                r#","category":[{"text":"x"},{"coding":[{"system":"http://x.example/c","code":"lab"}]}]"#,
            ),
            "Observation.category[0]: the profile allows no value that is in none of its slices",
        ),
        (
            "sliced",
            observation(&format!(r#"{lab},"valueQuantity":{{"value":1}}"#)),
            "Observation.value.unit: at least 1 value must be there, here are 0",
        ),
        (
            "sliced",
            observation(&format!(r#"{lab},"valueString":"x""#)),
            "",
        ),
        (
            "sliced",
            observation(&format!(
                r#"{lab},"component":[{{"code":{{"coding":[{{"code":"a"}}]}},"valueInteger":1}},{{"code":{{"coding":[{{"code":"b"}}]}}}}]"#
            )),
            "Observation.component[0].value: at least 1 value of the slice `valueString` must be there, here are 0",
        ),
        (
            "extended",
            patient(""),
            "Patient.extension: at least 1 value of the slice `colour` must be there, here are 0",
        ),
        (
            "extended",
            patient(
                r#","extension":[{"url":"http://x.example/StructureDefinition/colour","valueCode":"male"}]"#,
            ),
            "",
        ),
        (
            "extended",
            patient(
                r#","extension":[{"url":"http://x.example/StructureDefinition/colour","valueCode":"red"}]"#,
            ),
            "Patient.extension[0].value: no code is from the value set http://hl7.org/fhir/ValueSet/administrative-gender",
        ),
        (
            "sliced",
            patient(""),
            "Patient: the profile http://x.example/StructureDefinition/sliced constrains `Observation`, not this type",
        ),
        (
            "none",
            patient(""),
            "Patient: the profile http://x.example/StructureDefinition/none is not loaded, so whether it is kept was not checked",
        ),
        (
            "circle",
            patient(""),
            "Patient: the profile http://x.example/StructureDefinition/circle is not loaded, so whether it is kept was not checked",
        ),
    ] {
        assert_eq!(
            shown(&found(&catalogue, &json, &[profile])),
            expected,
            "{profile} {json}"
        );
    }
}

/// R4's vital-signs profiles are built in. Spec: <https://hl7.org/fhir/R4/observation-vitalsigns.html>
///
/// Verifies: SRS-183, RC-181
#[test]
fn vital_signs_are_built_in() {
    let catalogue = Catalogue::default();
    let vital = |profile: &str, code: &str, value: &str| {
        format!(
            r#"{{"resourceType":"Observation","meta":{{"profile":["http://hl7.org/fhir/StructureDefinition/{profile}"]}},"status":"final",
            "category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],
            "code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"subject":{{"reference":"Patient/1"}},"effectiveDateTime":"2020-01-02"{value}}}"#
        )
    };
    let rate = r#","valueQuantity":{"value":72,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}"#;
    let check = |json: &str| shown(&found(&catalogue, json, &[]));
    assert_eq!(check(&vital("heartrate", "8867-4", rate)), "");
    assert_eq!(check(&vital("vitalsigns", "8867-4", rate)), "");
    let wrong_unit = rate.replace(r#""code":"/min""#, r#""code":"Hz""#);
    assert!(check(&vital("heartrate", "8867-4", &wrong_unit)).contains("Observation.value.code"));
    assert!(check(&vital("heartrate", "8310-5", rate)).contains("Observation.code"));
    assert!(check(&vital("heartrate", "8867-4", "")).contains("vs-2"));
    let no_category = vital("heartrate", "8867-4", rate).replace("vital-signs", "laboratory");
    assert!(check(&no_category).contains("Observation.category"));
    let no_subject = vital("bodyweight", "29463-7", &rate.replace("/min", "kg"))
        .replace(r#""subject":{"reference":"Patient/1"},"#, "");
    assert!(check(&no_subject).contains("Observation.subject"));
    let pressure = |code: &str| {
        format!(
            r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"valueQuantity":{{"value":80,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}}}"#
        )
    };
    let both = format!(
        r#","component":[{},{}]"#,
        pressure("8480-6"),
        pressure("8462-4")
    );
    assert_eq!(check(&vital("bp", "85354-9", &both)), "");
    let one = format!(r#","component":[{}]"#, pressure("8480-6"));
    assert!(check(&vital("bp", "85354-9", &one)).contains("DiastolicBP"));
    let late = vital("heartrate", "8867-4", rate).replace("2020-01-02", "2020");
    assert!(check(&late).contains("vs-1"), "{}", check(&late));
}
