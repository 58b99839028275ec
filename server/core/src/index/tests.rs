//! Extraction, parameter type by parameter type, and the walk against the evaluator.

use std::collections::{BTreeMap, BTreeSet};

use conformance::{Definitions, ParamType, ResourceTypeId};

use super::convert::{Conversion, Setting, Texts, convert, convert_computed};
use super::*;
use crate::datatype::date::Zone;
use crate::fhirpath::eval::{Element, Item, evaluate};
use crate::fhirpath::parse;
use crate::ids::Instant;
use crate::json::{Document, ValueRef};

const BASES: &[&str] = &["https://here.example/fhir"];

fn context() -> Context<'static> {
    Context {
        base_urls: BASES,
        zone: Zone::UTC,
    }
}

fn type_of(resource: ValueRef<'_>) -> ResourceTypeId {
    let name = resource.get("resourceType").and_then(ValueRef::as_str);
    Definitions::r4().resource_type(&name.unwrap()).unwrap()
}

fn moment(micros: i64) -> String {
    match micros {
        i64::MIN => "-inf".to_owned(),
        i64::MAX => "+inf".to_owned(),
        _ => Instant(micros).to_fhir().replace(".000000Z", "Z"),
    }
}

fn key(key: &SortKey) -> String {
    match key.to_decimal() {
        Some(value) => value.to_string(),
        None if *key == SortKey::min() => "-inf".to_owned(),
        None => "+inf".to_owned(),
    }
}

/// One line for each value, short enough to read in a table.
fn shown(value: &IndexValue<'_>) -> String {
    let opt = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or("").to_owned();
    match value {
        IndexValue::Token { system, code } => format!("{}|{code}", opt(system)),
        IndexValue::TokenText(texts) => format!("text {}", texts.join(" / ")),
        IndexValue::Identifier {
            system,
            value,
            types,
        } => {
            let types: Vec<String> = types
                .iter()
                .map(|(s, c)| format!(" of {}|{c}", opt(s)))
                .collect();
            format!("id {}|{value}{}", opt(system), types.concat())
        }
        IndexValue::Reference(key) => key.to_string(),
        IndexValue::ReferenceUrl(url) => format!("url {url}"),
        IndexValue::ReferenceIdentifier { system, value } => format!("ref {}|{value}", opt(system)),
        IndexValue::Date { start, end } => format!("{}..{}", moment(*start), moment(*end)),
        IndexValue::Number { low, high } => format!("{}..{}", key(low), key(high)),
        IndexValue::Quantity {
            system,
            code,
            unit,
            low,
            high,
        } => {
            format!(
                "{}..{} {}|{}|{}",
                key(low),
                key(high),
                opt(system),
                opt(code),
                opt(unit)
            )
        }
        IndexValue::String { normal, exact } => format!("{normal} = {exact}"),
        IndexValue::Uri(uri) => uri.to_string(),
        IndexValue::Composite(parts) => {
            let parts: Vec<String> = parts.iter().map(shown).collect();
            parts.join(" $ ")
        }
        IndexValue::Position {
            latitude_e7,
            longitude_e7,
        } => format!("{latitude_e7},{longitude_e7}"),
    }
}

/// Entries as `code: value`, in the order of the parameters.
fn lines(json: &str) -> Vec<String> {
    let document = Document::parse(json.as_bytes()).expect(json);
    let resource_type = type_of(document.root());
    let entries = Extractor::r4().extract(resource_type, document.root(), &context());
    assert!(
        entries.windows(2).all(|pair| pair[0] < pair[1]),
        "sorted and each once"
    );
    let line = |e: &IndexEntry<'_>| {
        let param = Definitions::r4().search_param_by_id(e.param).unwrap();
        assert_eq!(param.base, resource_type);
        format!("{}: {}", param.code, shown(&e.value))
    };
    entries.iter().map(line).collect()
}

fn check(json: &str, expected: &[&str]) {
    let found: BTreeSet<String> = lines(json).into_iter().collect();
    let expected: BTreeSet<String> = expected.iter().map(|l| (*l).to_owned()).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{json}\nmissing {missing:#?}\nsurplus {surplus:#?}"
    );
}

/// All but one expression of R4 are paths; `Patient.deceased` is a condition and needs the evaluator.
/// Verifies: SRS-035
#[test]
fn every_official_expression_compiles() {
    let definitions = Definitions::r4();
    let extractor = Extractor::r4();
    let (mut paths, mut evaluated) = (0, 0);
    let mut problems = Vec::new();
    for resource_type in definitions.concrete_types() {
        let shares = extractor.shares(resource_type);
        paths += shares.0;
        evaluated += shares.1;
        problems.extend(extractor.problems(resource_type).iter().map(|p| {
            let param = definitions.search_param_by_id(p.param).unwrap();
            format!("{}.{}: {}", param.base.name(), param.code, p.error)
        }));
    }
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(evaluated, 1);
    assert!(paths > 2_000, "{paths}");
}

const PATIENT: &str = r##"{"resourceType":"Patient","id":"p1","meta":{"lastUpdated":"2026-01-01T00:00:00Z","profile":["http://x.example/p|2"],
    "tag":[{"system":"http://x.example/t","code":"a","display":"Tag A"}],"security":[{"code":"R"}],"source":"urn:x"},
    "identifier":[{"system":"urn:mrn","value":"M1","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}],"text":"Medical Record"}},{"value":"bare"}],
    "active":true,"name":[{"use":"official","family":"Müller-Muster","given":["Anna","Eva"],"prefix":["Dr."],"period":{"start":"2001"}},{"text":"Anni M."}],
    "telecom":[{"system":"phone","value":"+49 1","use":"home"},{"system":"email","value":"a@x.example"}],
    "gender":"female","birthDate":"1974-12","deceasedDateTime":"2020-02-29T10:00:00+01:00",
    "address":[{"use":"home","line":["1 Straße"],"city":"Köln","state":"NW","postalCode":"50667","country":"DE"}],
    "communication":[{"language":{"coding":[{"system":"urn:ietf:bcp:47","code":"de","display":"German"}]}}],
    "generalPractitioner":[{"reference":"Practitioner/1/_history/2"},{"reference":"https://here.example/fhir/Practitioner/2"},{"reference":"https://there.example/Practitioner/3"},{"identifier":{"system":"urn:npi","value":"9"}},{"reference":"#o"}],
    "managingOrganization":{"reference":"Organization/o1"},"link":[{"other":{"reference":"Patient/p2"},"type":"seealso"}]}"##;

/// Spec: <https://hl7.org/fhir/R4/patient.html#search>, <https://hl7.org/fhir/R4/search.html#token>
/// Verifies: SRS-020
#[test]
fn a_patient_is_found_by_all_its_values() {
    check(
        PATIENT,
        &[
            "_profile: http://x.example/p",
            "_profile: http://x.example/p|2",
            "_security: |R",
            "_source: urn:x",
            "_tag: http://x.example/t|a",
            "_tag: text tag a",
            "active: |true",
            "address: 1 strasse = 1 Straße",
            "address: koln = Köln",
            "address: nw = NW",
            "address: 50667 = 50667",
            "address: de = DE",
            "address-city: koln = Köln",
            "address-country: de = DE",
            "address-postalcode: 50667 = 50667",
            "address-state: nw = NW",
            "address-use: |home",
            "birthdate: 1974-12-01T00:00:00Z..1975-01-01T00:00:00Z",
            "death-date: 2020-02-29T09:00:00Z..2020-02-29T09:00:01Z",
            "deceased: |true",
            "email: id email|a@x.example",
            "family: mullermuster = Müller-Muster",
            "gender: |female",
            "general-practitioner: url Practitioner/1/_history/2",
            "general-practitioner: Practitioner/1",
            "general-practitioner: Practitioner/2",
            "general-practitioner: url https://there.example/Practitioner/3",
            "general-practitioner: url #o",
            "general-practitioner: ref urn:npi|9",
            "given: anna = Anna",
            "given: eva = Eva",
            "identifier: id urn:mrn|M1 of http://terminology.hl7.org/CodeSystem/v2-0203|MR",
            "identifier: id |bare",
            "identifier: text medical record",
            "language: urn:ietf:bcp:47|de",
            "language: text german",
            "link: Patient/p2",
            "name: anna = Anna",
            "name: anni m = Anni M.",
            "name: dr = Dr.",
            "name: eva = Eva",
            "name: mullermuster = Müller-Muster",
            "organization: Organization/o1",
            "phone: id phone|+49 1",
            "phonetic: anna = Anna",
            "phonetic: anni m = Anni M.",
            "phonetic: dr = Dr.",
            "phonetic: eva = Eva",
            "phonetic: mullermuster = Müller-Muster",
            "telecom: id email|a@x.example",
            "telecom: id phone|+49 1",
        ],
    );
}

/// "Patient.deceased.exists() and Patient.deceased != false"
#[test]
fn deceased_is_a_condition() {
    for (member, code) in [
        ("", "|false"),
        (r#","deceasedBoolean":false"#, "|false"),
        (r#","deceasedBoolean":true"#, "|true"),
        (r#","deceasedDateTime":"2020""#, "|true"),
    ] {
        let lines = lines(&format!(r#"{{"resourceType":"Patient"{member}}}"#));
        assert!(
            lines.contains(&format!("deceased: {code}")),
            "{member}: {lines:?}"
        );
    }
}

const LABORATORY: &str = r##"{"resourceType":"Observation","status":"final","identifier":[{"system":"urn:f","value":"1"}],
    "category":[{"coding":[{"system":"http://c.example","code":"laboratory"}]}],
    "code":{"coding":[{"system":"http://loinc.org","code":"2160-0","display":"Creatinine"},{"system":"urn:local","code":"CREA"}],"text":"Creatinine"},
    "subject":{"reference":"Patient/p1"},"effectivePeriod":{"start":"2026-01-01","end":"2026-01-02"},
    "valueQuantity":{"value":1.20,"comparator":"<","unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"},
    "performer":[{"reference":"Practitioner/1"}],"specimen":{"reference":"Specimen/1"},"basedOn":[{"reference":"ServiceRequest/1"}]}"##;

/// Spec: <https://hl7.org/fhir/R4/observation.html#search>
#[test]
fn a_laboratory_value_is_found_by_all_its_values() {
    check(
        LABORATORY,
        &[
            "based-on: ServiceRequest/1",
            "category: http://c.example|laboratory",
            "code: http://loinc.org|2160-0",
            "code: urn:local|CREA",
            "code: text creatinine",
            "code-value-quantity: http://loinc.org|2160-0 $ -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
            "code-value-quantity: urn:local|CREA $ -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
            "combo-code: http://loinc.org|2160-0",
            "combo-code: urn:local|CREA",
            "combo-code: text creatinine",
            "combo-code-value-quantity: http://loinc.org|2160-0 $ -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
            "combo-code-value-quantity: urn:local|CREA $ -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
            "combo-value-quantity: -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
            "date: 2026-01-01T00:00:00Z..2026-01-03T00:00:00Z",
            "identifier: id urn:f|1",
            "patient: Patient/p1",
            "performer: Practitioner/1",
            "specimen: Specimen/1",
            "status: |final",
            "subject: Patient/p1",
            "value-quantity: -inf..1.2 http://unitsofmeasure.org|mg/dL|mg/dL",
        ],
    );
}

const PANEL: &str = r##"{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"BP"}]},"subject":{"reference":"Group/g"},
    "component":[{"code":{"coding":[{"code":"SYS"}]},"valueQuantity":{"value":120,"code":"mm[Hg]"}},
    {"code":{"coding":[{"code":"POS"}]},"valueCodeableConcept":{"coding":[{"code":"SIT"}],"text":"Sitting"}},
    {"code":{"coding":[{"code":"ERR"}]},"dataAbsentReason":{"coding":[{"code":"error"}]}}]}"##;

/// Codes and values of one component belong together, and only these.
/// Spec: <https://hl7.org/fhir/R4/search.html#composite>
/// Verifies: SRS-036
#[test]
fn components_keep_code_and_value_together() {
    check(
        PANEL,
        &[
            "code: |BP",
            "combo-code: |BP",
            "combo-code: |ERR",
            "combo-code: |POS",
            "combo-code: |SYS",
            "combo-code-value-concept: |POS $ |SIT",
            "combo-code-value-quantity: |SYS $ 120..120 |mm[Hg]|",
            "combo-data-absent-reason: |error",
            "combo-value-concept: |SIT",
            "combo-value-concept: text sitting",
            "combo-value-quantity: 120..120 |mm[Hg]|",
            "component-code: |ERR",
            "component-code: |POS",
            "component-code: |SYS",
            "component-code-value-concept: |POS $ |SIT",
            "component-code-value-quantity: |SYS $ 120..120 |mm[Hg]|",
            "component-data-absent-reason: |error",
            "component-value-concept: |SIT",
            "component-value-concept: text sitting",
            "component-value-quantity: 120..120 |mm[Hg]|",
            "status: |final",
            "subject: Group/g",
        ],
    );
}

/// A few lines out of a resource for each rule that Patient and Observation do not show.
#[test]
fn other_rules_hold_too() {
    for (json, expected) in [
        // String values and concepts' text: `(Observation.value as string) | (Observation.value as CodeableConcept).text`
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"code":"C"}]},"valueString":"Very Ill"}"#,
            "value-string: very ill = Very Ill",
        ),
        (
            r#"{"resourceType":"Observation","valueCodeableConcept":{"text":"Ill"}}"#,
            "value-string: ill = Ill",
        ),
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"code":"C"}]},"valueString":"Ill"}"#,
            "code-value-string: |C $ ill = Ill",
        ),
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"code":"C"}]},"valueDateTime":"2020"}"#,
            "code-value-date: |C $ 2020-01-01T00:00:00Z..2021-01-01T00:00:00Z",
        ),
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"code":"C"}]},"valueCodeableConcept":{"coding":[{"code":"V"}]}}"#,
            "code-value-concept: |C $ |V",
        ),
        (
            r#"{"resourceType":"Observation","valueSampledData":{"origin":{"value":0,"unit":"mV"},"period":1,"dimensions":1,"data":"1 3 2"}}"#,
            "value-quantity: 1..3 ||mV",
        ),
        (
            r#"{"resourceType":"Observation","effectiveTiming":{"event":["2020-01-01","2020-01-03"]}}"#,
            "date: 2020-01-01T00:00:00Z..2020-01-04T00:00:00Z",
        ),
        (
            r#"{"resourceType":"Observation","effectiveInstant":"2020-01-01T00:00:00Z"}"#,
            "date: 2020-01-01T00:00:00Z..2020-01-01T00:00:01Z",
        ),
        // Who is a patient shows in the reference, its type, or the contained resource.
        (
            r##"{"resourceType":"Observation","contained":[{"resourceType":"Patient","id":"c"}],"subject":{"reference":"#c"}}"##,
            "patient: url #c",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"type":"Patient","identifier":{"system":"urn:mrn","value":"1"}}}"#,
            "patient: ref urn:mrn|1",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"https://there.example/Patient/1/_history/4"}}"#,
            "patient: url https://there.example/Patient/1",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}}"#,
            "subject: url urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        ),
        // Condition.onset: Age and Range as quantities, string as string.
        (
            r#"{"resourceType":"Condition","onsetAge":{"value":52,"unit":"years","system":"http://unitsofmeasure.org","code":"a"}}"#,
            "onset-age: 52..52 http://unitsofmeasure.org|a|years",
        ),
        (
            r#"{"resourceType":"Condition","onsetRange":{"low":{"value":40},"high":{"value":50}}}"#,
            "onset-age: 40..50 ||",
        ),
        (
            r#"{"resourceType":"Condition","onsetString":"Childhood"}"#,
            "onset-info: childhood = Childhood",
        ),
        (
            r#"{"resourceType":"Condition","abatementPeriod":{"end":"2020"}}"#,
            "abatement-date: -inf..2021-01-01T00:00:00Z",
        ),
        // Numbers, money, durations.
        (
            r#"{"resourceType":"RiskAssessment","prediction":[{"probabilityDecimal":0.10}]}"#,
            "probability: 0.1..0.1",
        ),
        (
            r#"{"resourceType":"RiskAssessment","prediction":[{"probabilityRange":{"low":{"value":10},"high":{"value":20}}}]}"#,
            "probability: 10..20",
        ),
        (
            r#"{"resourceType":"Encounter","length":{"value":56,"unit":"minutes","system":"http://unitsofmeasure.org","code":"min"}}"#,
            "length: 56..56 http://unitsofmeasure.org|min|minutes",
        ),
        (
            r#"{"resourceType":"Invoice","totalNet":{"value":40.00,"currency":"EUR"}}"#,
            "totalnet: 40..40 urn:iso:std:iso:4217|EUR|",
        ),
        // Uris, canonicals, references to definitions.
        (
            r#"{"resourceType":"ValueSet","url":"http://x.example/vs"}"#,
            "url: http://x.example/vs",
        ),
        (
            r#"{"resourceType":"CarePlan","instantiatesCanonical":["http://x.example/pd|1.0"]}"#,
            "instantiates-canonical: url http://x.example/pd",
        ),
        (
            r#"{"resourceType":"Measure","relatedArtifact":[{"type":"depends-on","resource":"http://x.example/l|2"},{"type":"successor","resource":"http://x.example/s"}]}"#,
            "depends-on: url http://x.example/l",
        ),
        // The first entry alone, and only what the parameter leads to.
        (
            r#"{"resourceType":"Bundle","type":"document","entry":[{"resource":{"resourceType":"Composition","id":"c1"}},{"resource":{"resourceType":"Composition","id":"c2"}}]}"#,
            "composition: Composition/c1",
        ),
        // Special.
        (
            r#"{"resourceType":"Location","position":{"longitude":-83.69471,"latitude":42.25650000}}"#,
            "near: 422565000,-836947100",
        ),
        // Composites of every other shape.
        (
            r#"{"resourceType":"DocumentReference","relatesTo":[{"code":"replaces","target":{"reference":"DocumentReference/1"}}]}"#,
            "relationship: DocumentReference/1 $ |replaces",
        ),
        (
            r#"{"resourceType":"Group","characteristic":[{"code":{"coding":[{"code":"g"}]},"valueBoolean":true}]}"#,
            "characteristic-value: |g $ |true",
        ),
        (
            r#"{"resourceType":"Library","useContext":[{"code":{"code":"age"},"valueRange":{"low":{"value":1},"high":{"value":2}}}]}"#,
            "context-type-quantity: |age $ 1..2 ||",
        ),
        (
            r#"{"resourceType":"Library","useContext":[{"code":{"code":"focus"},"valueCodeableConcept":{"coding":[{"code":"f"}]}}]}"#,
            "context-type-value: |focus $ |f",
        ),
        (
            r#"{"resourceType":"MolecularSequence","referenceSeq":{"chromosome":{"coding":[{"code":"1"}]}},"variant":[{"start":10,"end":20}]}"#,
            "chromosome-variant-coordinate: |1 $ 10..10 $ 20..20",
        ),
        (
            r#"{"resourceType":"MolecularSequence","referenceSeq":{"chromosome":{"coding":[{"code":"1"}]},"windowStart":10,"windowEnd":20}}"#,
            "chromosome-window-coordinate: |1 $ 10..10 $ 20..20",
        ),
    ] {
        let lines = lines(json);
        assert!(
            lines.iter().any(|l| l == expected),
            "{expected} is not in {lines:#?}"
        );
    }
}

#[test]
fn what_does_not_apply_gives_nothing() {
    for (json, code) in [
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Group/1"}}"#,
            "patient",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}"#,
            "patient",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"display":"somebody"}}"#,
            "subject",
        ),
        (
            r#"{"resourceType":"Patient","telecom":[{"system":"fax","value":"1"}]}"#,
            "phone",
        ),
        (
            r#"{"resourceType":"Observation","component":[{"code":{"coding":[{"code":"a"}]}},{"valueQuantity":{"value":1}}]}"#,
            "component-code-value-quantity",
        ),
        (
            r#"{"resourceType":"Measure","relatedArtifact":[{"type":"successor","resource":"http://x.example/s"}]}"#,
            "depends-on",
        ),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"c1"}}]}"#,
            "composition",
        ),
        (
            r#"{"resourceType":"Location","position":{"longitude":1}}"#,
            "near",
        ),
        // Wrong shapes.
        (
            r#"{"resourceType":"Patient","birthDate":"yesterday"}"#,
            "birthdate",
        ),
        (
            r#"{"resourceType":"Patient","birthDate":19741225}"#,
            "birthdate",
        ),
        (
            r#"{"resourceType":"Patient","gender":{"code":"male"}}"#,
            "gender",
        ),
        (r#"{"resourceType":"Patient","name":"Anna"}"#, "name"),
        (
            r#"{"resourceType":"Patient","name":[null,5,[{"family":"Nested"}]]}"#,
            "name",
        ),
        (
            r#"{"resourceType":"Patient","name":[{"given":[null]}],"_birthDate":{"extension":[]}}"#,
            "given",
        ),
        (
            r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn"}]}"#,
            "identifier",
        ),
        (
            r#"{"resourceType":"Observation","valueQuantity":{"value":"5"}}"#,
            "value-quantity",
        ),
        (
            r#"{"resourceType":"Observation","valueQuantity":{"value":1e99999}}"#,
            "value-quantity",
        ),
        (
            r#"{"resourceType":"Observation","subject":"Patient/1"}"#,
            "subject",
        ),
        (r#"{"resourceType":"Observation","code":"x"}"#, "code"),
    ] {
        let lines = lines(json);
        assert!(
            lines.iter().all(|l| !l.starts_with(&format!("{code}: "))),
            "{json}: {lines:?}"
        );
    }
    let patient = Definitions::r4().resource_type("Patient").unwrap();
    for text in ["null", "[]", "5", "\"Patient\"", "{}"] {
        let document = Document::parse(text.as_bytes()).unwrap();
        let entries = Extractor::r4().extract(patient, document.root(), &context());
        // Nothing is known, and the condition `deceased` says so.
        assert!(entries.len() <= 1, "{text}");
    }
}

#[test]
fn custom_parameters_are_extracted_beside_the_official_ones() {
    let patient = Definitions::r4().resource_type("Patient").unwrap();
    let custom = |id: u16, kind, expression: &str| ParamDefinition {
        id: ParamId(ParamId::CUSTOM_MIN + id),
        kind,
        expression: expression.to_owned(),
        targets: Vec::new(),
        components: Vec::new(),
    };
    let definitions = [
        custom(
            0,
            ParamType::Token,
            "Patient.extension('http://x.example/race').value.as(Coding)",
        ),
        custom(
            1,
            ParamType::String,
            "Patient.extension.where(url = 'http://x.example/maiden').value.ofType(string)",
        ),
        custom(
            2,
            ParamType::String,
            "Patient.name.where(use = 'official' and given.exists()).family",
        ),
        custom(3, ParamType::String, "Patient.name.first().family"),
        custom(4, ParamType::Token, "Patient.contact.exists()"),
        custom(5, ParamType::String, "Patient.contact[0].name.family"),
    ];
    for definition in &definitions {
        assert_eq!(Extractor::check(patient, definition.clone()), Ok(()));
    }
    assert!(Extractor::check(patient, custom(9, ParamType::Token, "Patient.colour")).is_err());
    assert!(Extractor::check(patient, custom(9, ParamType::Token, "Patient.(")).is_err());
    let extractor = Extractor::with_custom(definitions.map(|d| (patient, d)));
    let json = r#"{"resourceType":"Patient","extension":[{"url":"http://x.example/race","valueCoding":{"code":"r"}},
        {"url":"http://x.example/maiden","valueString":"Alt"},{"url":"http://x.example/other","valueString":"No"}],
        "name":[{"use":"official","family":"One","given":["A"]},{"use":"official","family":"Two"}],
        "contact":[{"name":{"family":"First"}},{"name":{"family":"Second"}}]}"#;
    let document = Document::parse(json.as_bytes()).unwrap();
    let entries = extractor.extract(patient, document.root(), &context());
    let own = entries.iter().filter(|e| e.param.0 >= ParamId::CUSTOM_MIN);
    let own: Vec<String> = own
        .map(|e| format!("{} {}", e.param.0 - ParamId::CUSTOM_MIN, shown(&e.value)))
        .collect();
    assert_eq!(
        own,
        [
            "0 |r",
            "1 alt = Alt",
            "2 one = One",
            "3 one = One",
            "4 |true",
            "5 first = First"
        ]
    );
}

/// What the evaluator finds for every parameter of a resource, converted value by value: a second way to the same
/// entries that shares neither the tree nor the path programs.
fn by_evaluator<'a>(resource: ValueRef<'a>) -> BTreeSet<(ParamId, String)> {
    let root = Element::resource(resource);
    let mut found = BTreeSet::new();
    for param in Definitions::r4().search_params(type_of(resource)) {
        let is_stored = matches!(param.code, "_id" | "_lastUpdated");
        if param.expression.is_empty() || param.kind == ParamType::Composite || is_stored {
            continue;
        }
        let expression = parse(param.expression).unwrap();
        let setting = Setting {
            base_urls: BASES,
            zone: Zone::UTC,
            targets: &param.targets,
            texts: Texts::Left,
        };
        let mut emit = |value: IndexValue<'a>| {
            found.insert((param.id, shown(&value)));
        };
        for item in evaluate(&expression, root, root).unwrap() {
            match &item {
                Item::Element(element) => {
                    if let Some(conversion) = Conversion::of(param.kind, element.type_path) {
                        convert(conversion, element.value, setting, &mut emit);
                    }
                }
                computed => convert_computed(param.kind, computed, &mut emit),
            }
        }
    }
    found
}

fn agree(resource: ValueRef<'_>, counts: &mut BTreeMap<ParamId, usize>) {
    let entries = Extractor::r4().extract(type_of(resource), resource, &context());
    let kept =
        |v: &IndexValue<'_>| !matches!(v, IndexValue::TokenText(_) | IndexValue::Composite(_));
    let walked: BTreeSet<(ParamId, String)> = entries
        .iter()
        .filter(|e| kept(&e.value))
        .map(|e| (e.param, shown(&e.value)))
        .collect();
    assert_eq!(
        walked,
        by_evaluator(resource),
        "{}",
        resource.get("id").map_or("", |i| i.raw())
    );
    for entry in entries {
        *counts.entry(entry.param).or_default() += 1;
    }
}

/// Verifies: SRS-035
#[test]
fn the_walk_and_the_evaluator_agree() {
    let mut counts = BTreeMap::new();
    for json in [PATIENT, LABORATORY, PANEL] {
        agree(
            Document::parse(json.as_bytes()).unwrap().root(),
            &mut counts,
        );
    }
}
