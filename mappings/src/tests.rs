//! What mappings promise: ids, digits, nothing lost, errors with file and line, an end for every source.

use std::fs;
use std::path::Path;

use fhir_core::json::{Document, Value};

use super::*;

const MSH: &str = "MSH|^~\\&|LAB|NORTH|||20240301120000+0100||ORU^R01^ORU_R01|M1|P|2.5.1\n";
const PID: &str = "PID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna\n";
const OBR: &str = "OBR|1|P1|F1^LAB^1.2.4^ISO|24323-8^Panel^LN|||202403011000||||||||||||||||||F\n";

fn library() -> Library {
    Library::embedded().unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs a message through the shipped mapping of its type.
fn run(message: &str, settings: &[(&str, &str)]) -> (SourceTree, Result<Output, MapError>) {
    let mut context = Context::default();
    for (name, value) in settings {
        context.set(name, value).expect("a setting");
    }
    let source = SourceTree::Hl7v2(sample::segments(message).expect("a sample"));
    let msh_9 = message.split('|').nth(8).unwrap_or_default();
    let mut parts = msh_9.split('^');
    let code = parts.next().unwrap_or_default();
    let trigger = parts.next().filter(|t| !t.is_empty()).unwrap_or("A08");
    let mapping = library()
        .mapping_for(&Select::Hl7v2 {
            code,
            trigger,
            structure: None,
        })
        .expect("a mapping");
    let output = mapping.run(&source, &context);
    (source, output)
}

fn result(message: &str) -> Output {
    run(message, &[])
        .1
        .map(clinical)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Persons and results only: what these tests are about. Orders and reports have tests of their own.
fn clinical(mut output: Output) -> Output {
    output
        .resources
        .retain(|r| matches!(&*r.identity.resource_type, "Patient" | "Observation"));
    output
}

fn oru(obx: &str) -> Output {
    result(&format!("{MSH}{PID}{OBR}{obx}"))
}

/// The Observation one OBX makes.
fn observation(obx: &str) -> Value {
    oru(obx)
        .resources
        .into_iter()
        .nth(1)
        .expect("an Observation")
        .value
}

fn codes(output: &Output) -> Vec<&'static str> {
    output.issues.iter().map(|i| i.code.id()).collect()
}

fn id(output: &Output, index: usize) -> String {
    output.resources[index].identity.id.to_string()
}

#[test]
fn shipped_mappings_load_and_their_tests_come_true() {
    let failures: Vec<String> = library()
        .self_test()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_library_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&library());
}

/// A decimal keeps every digit, <https://hl7.org/fhir/R4/datatypes.html#decimal>.
/// Verifies: SRS-001, RC-001
#[test]
fn values_keep_their_digits() {
    for digits in [
        "2.50",
        "0.00",
        "-1.0",
        "1234567890123456789012345678",
        "0.1234567890123456789012345678",
    ] {
        let value = observation(&format!("OBX|1|NM|1-8^X^LN||{digits}|mmol/L|||||F\n"));
        let quantity = value.get("valueQuantity").expect("a quantity");
        assert_eq!(
            quantity.get("value").and_then(Value::number_text),
            Some(digits)
        );
    }
}

/// HL7 v2 to R4, one row for each kind of value.
#[test]
fn values_by_type() {
    for (fields, expected) in [
        (
            "NM|1-8^X^LN||<0.20|mmol/L",
            r#""valueQuantity":{"value":0.20,"comparator":"<","unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}"#,
        ),
        (
            "NM|1-8^X^LN||007.10|ML",
            r#""valueQuantity":{"value":7.10,"unit":"ML"}"#,
        ),
        ("NM|1-8^X^LN||trace|mmol/L", r#""valueString":"trace""#),
        (
            "SN|1-8^X^LN||>=^5|mg",
            r#""valueQuantity":{"value":5,"comparator":">=","unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}"#,
        ),
        (
            "SN|1-8^X^LN||^3^-^5",
            r#""valueRange":{"low":{"value":3},"high":{"value":5}}"#,
        ),
        (
            "SN|1-8^X^LN||^1^:^128",
            r#""valueRatio":{"numerator":{"value":1},"denominator":{"value":128}}"#,
        ),
        ("SN|1-8^X^LN||<>^5", r#""valueString":"<> 5""#),
        ("SN|1-8^X^LN||^2^+", r#""valueString":"2 +""#),
        ("ST|1-8^X^LN||a^b&c", r#""valueString":"a^b&c""#),
        ("TX|1-8^X^LN||one~~three", r#""valueString":"one\n\nthree""#),
        ("FT|1-8^X^LN||x", r#""valueString":"x""#),
        (
            "CE|1-8^X^LN||A^Alpha^SCT",
            r#""valueCodeableConcept":{"coding":[{"system":"http://snomed.info/sct","code":"A","display":"Alpha"}]}"#,
        ),
        (
            "IS|1-8^X^LN||A",
            r#""valueCodeableConcept":{"coding":[{"code":"A"}]}"#,
        ),
        ("DT|1-8^X^LN||202403", r#""valueDateTime":"2024-03""#),
        (
            "TS|1-8^X^LN||202403011000",
            r#""valueDateTime":"2024-03-01T10:00:00+01:00""#,
        ),
        ("TS|1-8^X^LN||soon", r#""valueString":"soon""#),
        ("TM|1-8^X^LN||1005", r#""valueTime":"10:05:00""#),
        (
            "NR|1-8^X^LN||1.0^2.0",
            r#""valueRange":{"low":{"value":1.0},"high":{"value":2.0}}"#,
        ),
        ("VR|1-8^X^LN||1^2", r#""valueString":"1^2""#),
        ("|1-8^X^LN||7", r#""valueString":"7""#),
    ] {
        let text = observation(&format!("OBX|1|{fields}|||||F\n")).to_string();
        assert!(text.contains(expected), "{fields}: {text}");
        assert_eq!(
            text.matches("\"value").count() - text.matches("\"value\":").count(),
            1,
            "{fields}: {text}"
        );
    }
}

/// HL7 table 0085: every code has a status, and R4's value set holds it.
#[test]
fn all_result_statuses() {
    for (code, status) in [
        ("A", "amended"),
        ("B", "amended"),
        ("C", "corrected"),
        ("D", "entered-in-error"),
        ("F", "final"),
        ("I", "registered"),
        ("N", "final"),
        ("O", "registered"),
        ("P", "preliminary"),
        ("R", "preliminary"),
        ("S", "preliminary"),
        ("U", "final"),
        ("V", "final"),
        ("W", "entered-in-error"),
        ("X", "cancelled"),
        ("", "unknown"),
        ("?", "unknown"),
    ] {
        let output = oru(&format!("OBX|1|NM|1-8^X^LN||||||||{code}\n"));
        let value = &output.resources[1].value;
        assert_eq!(
            value.get("status").and_then(Value::as_str),
            Some(status),
            "{code}"
        );
        assert_eq!(
            value.get("dataAbsentReason").is_some(),
            matches!(code, "N" | "X"),
            "{code}"
        );
        assert_eq!(
            codes(&output).contains(&"status-missing"),
            status == "unknown",
            "{code}"
        );
        let write = if code == "U" {
            Write::Merge
        } else {
            Write::Replace
        };
        assert_eq!(output.resources[1].write, write, "{code}");
    }
}

#[test]
fn several_values_become_components_and_documents_are_told() {
    let output =
        oru("OBX|1|NM|1-8^X^LN||1.0~2.0|mg|||||F\nOBX|2|ED|2-6^Y^LN||^AP^^Base64^QUJD||||||F\n");
    let components = output.resources[1]
        .value
        .get("component")
        .and_then(Value::as_array)
        .expect("components");
    assert_eq!(components.len(), 2);
    assert_eq!(codes(&output), ["value-repeats", "value-in-extension"]);
    assert!(output.resources[2].value.get("valueString").is_none());
}

/// The same message gives the same ids on every run, and different records different ones.
/// Verifies: SRS-017, RC-002
#[test]
fn ids_follow_from_what_a_record_is() {
    let obx = "OBX|1|NM|1-8^X^LN|a|1|mg|||||P\n";
    let first = oru(obx);
    let corrected = oru("OBX|7|NM|1-8^X^LN|a|1.5|mg|||||C|||20240302\n");
    assert_eq!(
        (id(&first, 0), id(&first, 1)),
        (id(&corrected, 0), id(&corrected, 1))
    );
    for other in [
        "OBX|1|NM|1-8^X^LN|b|1|mg|||||P\n",
        "OBX|1|NM|2-6^X^LN|a|1|mg|||||P\n",
    ] {
        assert_ne!(id(&first, 1), id(&oru(other), 1), "{other}");
    }
    let adt = result(&format!(
        "MSH|^~\\&|ADT|NORTH|||2024||ADT^A08|1|P|2.5\n{PID}"
    ));
    assert_eq!(id(&first, 0), id(&adt, 0));
    assert_eq!(
        (first.resources[0].write, adt.resources[0].write),
        (Write::Create, Write::Merge)
    );
    let subject = first.resources[1]
        .value
        .get("subject")
        .and_then(|s| s.get("reference"));
    assert_eq!(
        subject.and_then(Value::as_str),
        Some(format!("Patient/{}", id(&first, 0)).as_str())
    );
}

/// Never the first identifier blindly: authority, kind and number name a patient.
/// Verifies: SRS-017, RC-002
#[test]
fn patients_are_named_by_their_medical_record_number() {
    let patient = |pid3: &str, settings: &[(&str, &str)]| {
        let message =
            format!("MSH|^~\\&|ADT|NORTH|||2024||ADT^A08|1|P|2.5\nPID|1||{pid3}||Example\n");
        run(&message, settings)
            .1
            .map(|o| (id(&o, 0), codes(&o).join(" ")))
    };
    let (mr, issues) = patient("4711^^^X&1.2.3&ISO^MR", &[]).expect("named");
    assert_eq!(issues, "");
    let same = [
        "9^^^X&1.2.3&ISO^AN~4711^^^X&1.2.3&ISO^MR",
        "8^^^Y&1.2.9&ISO^SS~4711^^^X&1.2.3&ISO^MR",
        "4711^^^Z&1.2.3&ISO",
    ];
    for pid3 in same {
        assert_eq!(patient(pid3, &[]).expect("named").0, mr, "{pid3}");
    }
    let default = [("default-authority", "urn:oid:1.2.3")];
    assert_eq!(
        patient("4711", &default),
        Ok((mr.clone(), "authority-missing".to_owned()))
    );
    assert_eq!(patient("4711^^^^MR", &default).expect("named").0, mr);
    for pid3 in [
        "4711^^^Q&1.2.4&ISO^MR",
        "4711^^^X&1.2.3&ISO^PI",
        "4711",
        "4711^^^X^MR",
    ] {
        assert_ne!(patient(pid3, &[]).expect("named").0, mr, "{pid3}");
    }
    assert_ne!(
        patient("4711^^^X&1.2.3&ISO^MR", &[("id-namespace", "south")])
            .expect("named")
            .0,
        mr
    );
    let unnamed = MapError::NoIdentity {
        rule: "patient".into(),
        place: "PID[1]".into(),
    };
    for pid3 in [
        "",
        "^^^X^MR",
        "5^^^X&1.2.3&ISO^AN",
        "5^^^X&1.2.3&ISO^VN",
        "\"\"",
    ] {
        assert_eq!(patient(pid3, &default), Err(unnamed.clone()), "{pid3}");
    }
}

#[test]
fn results_without_order_number_follow_message_and_position() {
    let message =
        format!("{MSH}{PID}OBR|1\nOBX|1|NM|1-8^X^LN||1||||||F\nOBX|2|NM|1-8^X^LN||2||||||F\n");
    let output = result(&message);
    let of_results = output.issues.iter().filter(|i| &*i.rule == "observation");
    let found: Vec<&str> = of_results.map(|i| i.code.id()).collect();
    assert_eq!(found, ["identity-by-position", "identity-by-position"]);
    assert_ne!(id(&output, 1), id(&output, 2));
}

/// Two results that look alike are both kept.
/// Verifies: SRS-004, RC-012
#[test]
fn results_alike_do_not_overwrite_each_other() {
    let output = oru(
        "OBX|1|TX|1-8^X^LN||a||||||F\nOBX|2|TX|1-8^X^LN||b||||||F\nOBX|3|TX|1-8^X^LN||c||||||F\n",
    );
    assert_eq!(output.resources.len(), 4);
    let ids = [id(&output, 1), id(&output, 2), id(&output, 3)];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert_eq!(codes(&output), ["identity-repeated", "identity-repeated"]);
}

#[test]
fn each_result_belongs_to_the_patient_order_and_note_around_it() {
    let second = "PID|2||4712^^^NORTH&1.2.3&ISO^MR||Sample^Ben\n";
    let message = format!(
        "{MSH}{PID}{OBR}OBX|1|NM|1-8^X^LN||1||||||F\nNTE|1||first\nOBX|2|NM|2-6^Y^LN||2||||||F\n\
         {second}OBR|2||F2|x|||20240302\nOBX|1|NM|1-8^X^LN||3||||||F\n"
    );
    let output = result(&message);
    let texts: Vec<String> = output
        .resources
        .iter()
        .map(|r| r.value.to_string())
        .collect();
    assert_eq!(output.resources.len(), 5);
    let (anna, ben) = (id(&output, 0), id(&output, 1));
    assert!(texts[2].contains(&anna) && texts[3].contains(&anna) && texts[4].contains(&ben));
    assert!(texts[2].contains("first") && !texts[3].contains("first"));
    assert!(texts[4].contains("\"2024-03-02\""));
}

/// HL7 v2 chapter 2: null deletes, empty says nothing.
#[test]
fn null_is_told_apart_from_empty() {
    let message = format!(
        "MSH|^~\\&|ADT|NORTH|||2024||ADT^A08|1|P|2.5\n{}|\"\"|\"\"|||||\"\"\n",
        PID.trim_end().to_owned() + "|"
    );
    let (source, output) = run(&message, &[]);
    let output = output.expect("runs");
    let cleared: Vec<&str> = output.resources[0].cleared.iter().map(|c| &**c).collect();
    assert_eq!(
        cleared,
        ["Patient.telecom", "Patient.gender", "Patient.birthDate"]
    );
    assert!(output.resources[0].value.get("birthDate").is_none());
    assert_eq!(output.used.unread(&source), []);
}

/// Every filled place is used, ignored on purpose or reported.
/// Verifies: SRS-004, RC-012
#[test]
fn nothing_is_lost_silently() {
    let message = format!("{MSH}{PID}{OBR}OBX|1|NM|1-8^X^LN||5.4^extra|mg|||0.9||F\nZZ1|local\n");
    let (source, output) = run(&message, &[]);
    let output = clinical(output.expect("runs"));
    let unread: Vec<String> = output
        .used
        .unread(&source)
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = ["OBX[1]-5[1].2", "OBX[1]-9[1].1", "ZZ1[1]-1[1].1"];
    assert!(
        expected.iter().all(|e| unread.contains(&(*e).to_owned())),
        "{unread:?}"
    );
    let value = output.resources[1]
        .lineage
        .iter()
        .find(|l| &*l.target == "Observation.valueQuantity.value");
    let sources: Vec<String> = value
        .expect("lineage")
        .sources(&source)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(sources, ["OBX[1]-5[1].1"]);
}

/// Whatever arrives, a run ends without a panic and says the same twice.
/// Verifies: SRS-025, RC-019
#[test]
fn any_message_ends() {
    let base = format!(
        "{MSH}{PID}{OBR}OBX|1|NM|1-8^X^LN||5.4|mg|3-5|H~L|||F\nNTE|1||x\nOBX|2|SN|2-6||^1^:^2||||||P\n"
    );
    let pieces = [
        "|", "^", "~", "&", "\"\"", "\n", "OBX|3|", "PID|", "9", "é", "<", "-", ".", "\\T\\",
        "20240230", "MSH",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % n as u64) as usize
    };
    let mapping = library()
        .mapping_for(&Select::Hl7v2 {
            code: "ORU",
            trigger: "R01",
            structure: None,
        })
        .expect("a mapping");
    for _ in 0..400 {
        let mut text: Vec<char> = base.chars().collect();
        for _ in 0..next(6) + 1 {
            let at = next(text.len());
            let end = (at + next(4)).min(text.len());
            text.splice(at..end, pieces[next(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        let Ok(tree) = sample::segments(&text) else {
            continue;
        };
        let source = SourceTree::Hl7v2(tree);
        let context = Context::default();
        let (a, b) = (
            mapping.run(&source, &context),
            mapping.run(&source, &context),
        );
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
}

fn load(files: &[(&str, &str)]) -> Result<Library, LoadErrors> {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    Library::load(folder.path())
}

fn load_error(text: &str) -> String {
    match load(&[("hl7v2/x.yaml", text)]) {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

/// Every fault of a mapping is found at load, with file and line.
/// Verifies: SRS-032
#[test]
fn load_errors_name_file_line_and_fix() {
    let template = |emit: &str| {
        format!("template: ZX[Patient]\nidentity: {{key: [\"='a'\"]}}\nemit:\n{emit}\n")
    };
    for (emit, expected) in [
        ("  nme: x", "hl7v2/x.yaml:4: Patient has no element `nme`"),
        (
            "  deceased: true",
            "hl7v2/x.yaml:4: Patient has no element `deceased`: write its type too, `deceasedBoolean`",
        ),
        (
            "  gender: masculine",
            "hl7v2/x.yaml:4: `Patient.gender`: R4's value set has no code `masculine`",
        ),
        (
            "  gender: =PID-8",
            "hl7v2/x.yaml:4: `Patient.gender` is a code in R4: end with a converter that gives one",
        ),
        (
            "  gender: =PID-8 | map nowhere",
            "hl7v2/x.yaml:4: there is no code/nowhere.tsv",
        ),
        (
            "  name: {family: x}",
            "hl7v2/x.yaml:4: `Patient.name` repeats in R4: write a list, `- …`",
        ),
        (
            "  gender: [male]",
            "hl7v2/x.yaml:4: `Patient.gender` has one value in R4, not a list",
        ),
        (
            "  active: yes",
            "hl7v2/x.yaml:4: `Patient.active` is a boolean in R4; this is none",
        ),
        (
            "  contact:\n    - name: {family: =PID.5}",
            "hl7v2/x.yaml:5: `PID` is not readable here",
        ),
        (
            "  communication:\n    - preferred: true",
            "hl7v2/x.yaml:5: `Patient.communication.language` is required in R4",
        ),
        (
            "  birthDate: =PID-7 | dateTime",
            "hl7v2/x.yaml:4: `Patient.birthDate` is a date in R4",
        ),
        (
            "  birthDate: =PID7 | date",
            "hl7v2/x.yaml:4: `PID7` is not an HL7 path",
        ),
        (
            "  $whne: PID-7\n  active: true",
            "hl7v2/x.yaml:4: there is no `$whne`",
        ),
        (
            "  name:\n    - family: =($now())",
            "hl7v2/x.yaml:5: `$now` is not part of the mapping language",
        ),
        (
            "  active: true\n  active: false",
            "hl7v2/x.yaml:5: `active` stands twice",
        ),
        (
            "  name:\n  - &a {family: x}",
            "hl7v2/x.yaml:5: anchors, aliases and tags are not part of the mapping language",
        ),
        ("  active: [", "hl7v2/x.yaml:5: not YAML"),
        (
            "  managingOrganization: {$reference: org, x: y}",
            "hl7v2/x.yaml:4: `Patient.managingOrganization`",
        ),
    ] {
        let error = load_error(&template(emit));
        assert!(
            error.lines().any(|l| l.starts_with(expected)),
            "{emit}: {error}"
        );
    }
    let quantity = "template: ZX[Observation]\nidentity: {key: [\"='a'\"]}\nemit:\n  status: final\n  code: {text: x}\n  valueQuantity: {code: mgg}\n";
    assert!(
        load_error(quantity)
            .contains("hl7v2/x.yaml:6: `Observation.valueQuantity.code`: `mgg` is not UCUM")
    );
}

#[test]
fn templates_in_a_circle_are_refused() {
    let text = "- template: AA[Extension]\n  emit:\n    url: x\n    extension:\n      - =AA | BB[Extension]\n\
                - template: BB[Extension]\n  emit:\n    url: x\n    extension:\n      - =BB | AA[Extension]\n";
    assert!(load_error(text).contains("hl7v2/x.yaml:5: `AA[Extension]` uses itself"));
}

/// A mapping that fails its own test is not used.
/// Verifies: SRS-032
#[test]
fn failing_tests_stop_the_load() {
    let text = "template: QX[Period]\nemit:\n  start: =QX.1 | dateTime\ntests:\n  - {name: t, in: '2024', out: {start: '2025'}}\n";
    let error = load_error(text);
    assert!(
        error.starts_with("hl7v2/x.yaml:5: test `t`: .start is \"2024\" instead of \"2025\""),
        "{error}"
    );
}

#[test]
fn an_operators_file_takes_the_place_of_ours() {
    let head = "source_system\tsource_code\ttarget_system\ttarget_code\ttarget_display\tequivalence\tcomment\n";
    let map = format!(
        "{head}x\tX\thttp://hl7.org/fhir/administrative-gender\tother\t\twider\tlocal\nx\tF\tx\tfemale\t\tequal\t\n"
    );
    let library =
        load(&[("code/hl70001-administrative-gender.tsv", &map)]).unwrap_or_else(|e| panic!("{e}"));
    let message = "MSH|^~\\&|A|N|||2024||ADT^A08|1|P|2.5\nPID|1||1^^^N&1.2&ISO^MR||E|||X\n";
    let source = SourceTree::Hl7v2(sample::segments(message).expect("a sample"));
    let mapping = library
        .mapping_for(&Select::Hl7v2 {
            code: "ADT",
            trigger: "A08",
            structure: None,
        })
        .expect("ours");
    let output = mapping.run(&source, &Context::default()).expect("runs");
    assert_eq!(
        output.resources[0]
            .value
            .get("gender")
            .and_then(Value::as_str),
        Some("other")
    );
    let bad = map.replace("other", "mixed");
    let error = load(&[("code/hl70001-administrative-gender.tsv", &bad)])
        .expect_err("refused")
        .to_string();
    assert!(error.contains(
        "code/hl70001-administrative-gender.tsv:2: `mixed` is not in R4's value set of `Patient.gender`"
    ));
}

/// The same language reads JSON: a scale that sends value and power of ten.
#[test]
fn device_payloads_use_the_same_language() {
    let text = r#"
mapping: scale-cloud
version: 1.0.0
input: json
select: {device: scale}
rules:
  - rule: weight
    each: body.measures
    when: type = 1
    type: Observation
    write: replace
    identity: {key: ["=id"]}
    emit:
      status: final
      code: {coding: [{system: http://loinc.org, code: 29463-7, display: Body weight}]}
      effectiveDateTime: =at | dateTime
      valueQuantity:
        value: =($shift(value, $number(unit))) | decimal
        unit: kg
        system: http://unitsofmeasure.org
        code: kg
      note:
        - text: =comment
tests:
  - name: one weight
    in: '{"body":{"measures":[{"id":7,"type":1,"value":6550,"unit":-2,"at":"20240301","comment":"é","odd":1},{"id":8,"type":4}]}}'
    out:
      resourceType: Observation
      status: final
      code: {coding: [{system: http://loinc.org, code: 29463-7, display: Body weight}]}
      effectiveDateTime: 2024-03-01
      valueQuantity: {value: 65.50, unit: kg, system: http://unitsofmeasure.org, code: kg}
      note: [{text: é}]
"#;
    let library = load(&[("device/scale.yaml", text)]).unwrap_or_else(|e| panic!("{e}"));
    let mapping = library
        .mapping_for(&Select::Device { kind: "scale" })
        .expect("ours");
    assert_eq!((mapping.id(), mapping.version()), ("scale-cloud", "1.0.0"));
    let document = Document::parse(
        br#"{"body":{"measures":{"id":7,"type":1,"value":1,"unit":0,"odd":[true]}}}"#,
    );
    let source = SourceTree::Json(document.expect("JSON"));
    let output = mapping.run(&source, &Context::default()).expect("runs");
    let unread: Vec<String> = output
        .used
        .unread(&source)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        unread.contains(&"/body/measures/odd/0".to_owned()),
        "{unread:?}"
    );
    let hl7 = SourceTree::Hl7v2(sample::segments("MSH|^~\\&|x").expect("a sample"));
    assert!(matches!(
        mapping.run(&hl7, &Context::default()),
        Err(MapError::WrongInput { .. })
    ));
}

/// Verifies: SRS-110, RC-110
#[test]
fn a_merge_names_the_ids_of_the_resources_of_other_messages() {
    let head = "MSH|^~\\&|ADT|NORTH|||20240301120000+0100||";
    let id_of = |number: &str| {
        let text =
            format!("{head}ADT^A04|M|P|2.5\rPID|1||{number}^^^NORTH&1.2.3&ISO^MR||Example^Anna\r");
        result(&text).resources[0].identity.clone()
    };
    let text = format!(
        "{head}ADT^A40|M|P|2.5\rEVN||20240301115900\rPID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna\r\
         MRG|P9^^^SOUTH&1.2.4&ISO^PI~4712^^^NORTH&1.2.3&ISO^MR\r"
    );
    let output = result(&text);
    let [action] = output.actions.as_slice() else {
        panic!("one action: {:?}", output.actions)
    };
    assert_eq!(action.kind, crate::ActionKind::Merge);
    assert_eq!(action.into.id, id_of("4711").id);
    assert_eq!(
        action.from.as_ref().expect("the loser").id,
        id_of("4712").id
    );
    assert_eq!(action.from_aliases.len(), 1);
    assert_eq!(action.from_identifiers.len(), 2);
    let revision = action.revision.as_ref().expect("EVN-2");
    assert_eq!(&*revision.changed.earliest, "2024-03-01T10:59:00.000000Z");
}

/// Verifies: SRS-110, RC-110
#[test]
fn a_merge_that_names_no_loser_is_refused() {
    let text = "MSH|^~\\&|ADT|NORTH|||20240301120000+0100||ADT^A40|M|P|2.5\r\
                PID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna\rMRG|\"\"\r";
    assert!(run(text, &[]).1.is_err());
}

/// An action or a visit of one patient never takes what another's segments say.
/// Verifies: SRS-112, RC-112
#[test]
fn a_reference_means_the_segment_around_it() {
    let head = "MSH|^~\\&|LAB|NORTH|||20240301120000+0100||ORU^R01|M1|P|2.5.1\n";
    let message = format!(
        "{head}[PATIENT_RESULT\n[PATIENT\n{PID}]\n[ORDER_OBSERVATION\n{OBR}[OBSERVATION\nOBX|1|NM|1-8^X^LN||1||||||F\n]\n\
         [SPECIMEN\nSPM|1|A&P^B&L||X^Blood^99\n]\n]\n[ORDER_OBSERVATION\nOBR|2|P2|F2|9-9^Other^LN|||202403011000||||||||||||||||||F\n\
         [OBSERVATION\nOBX|1|NM|2-6^Y^LN||2||||||F\n]\n]\n]\n"
    );
    let output = run(&message, &[]).1.expect("runs");
    let of = |kind: &str| -> Vec<&Value> {
        let all = output.resources.iter();
        all.filter(|r| &*r.identity.resource_type == kind)
            .map(|r| &r.value)
            .collect()
    };
    let observations = of("Observation");
    assert!(observations[0].get("specimen").is_some());
    assert!(
        observations[1].get("specimen").is_none(),
        "the other order's specimen"
    );
    let reports = of("DiagnosticReport");
    for (report, observation) in reports.iter().zip(&observations) {
        let id = observation.get("id").and_then(Value::as_str).expect("id");
        let results = report
            .get("result")
            .map(ToString::to_string)
            .expect("results");
        assert!(results.contains(id) && results.matches("Observation/").count() == 1);
        assert_eq!(report.get("basedOn"), observation.get("basedOn"));
    }
}

/// Verifies: SRS-113, RC-113
#[test]
fn events_say_what_becomes_of_a_visit() {
    for (event, status, initial, cleared) in [
        ("A01", "in-progress", false, 0),
        ("A03", "finished", false, 0),
        ("A05", "planned", false, 0),
        ("A08", "unknown", true, 0),
        ("A11", "cancelled", false, 0),
        ("A13", "in-progress", false, 3),
        ("A23", "entered-in-error", false, 0),
        ("A38", "cancelled", false, 0),
    ] {
        let message = format!(
            "MSH|^~\\&|ADT|NORTH|||20240301120000+0100||ADT^{event}|M1|P|2.5.1\n{PID}PV1|1|I|W^1^2||||||||||||||||V1^^^NORTH\n"
        );
        let output = run(&message, &[]).1.expect("runs");
        let visit = output
            .resources
            .iter()
            .find(|r| &*r.identity.resource_type == "Encounter")
            .expect("a visit");
        assert_eq!(
            visit.value.get("status").and_then(Value::as_str),
            Some(status),
            "{event}"
        );
        assert_eq!(
            visit.initial.iter().any(|e| &**e == "status"),
            initial,
            "{event}"
        );
        assert_eq!(visit.cleared.len(), cleared, "{event}");
        assert_eq!(visit.write, Write::Merge);
    }
}

/// What a directory names is made once, only created, and does not hold other messages up.
#[test]
fn a_practitioner_named_twice_is_one() {
    let message = format!(
        "MSH|^~\\&|ADT|NORTH|||20240301120000+0100||ADT^A01|M1|P|2.5.1\n{PID}\
         PV1|1|I|||||D1^Doctor^Dora^^^^^^NORTH&1.2.3&ISO|D1^Doctor^Dora^^^^^^NORTH&1.2.3&ISO|^Nobody^Known||||||||||V1^^^NORTH\n"
    );
    let output = run(&message, &[]).1.expect("runs");
    let made: Vec<_> = output
        .resources
        .iter()
        .filter(|r| &*r.identity.resource_type == "Practitioner")
        .collect();
    assert_eq!(made.len(), 1);
    assert!(made[0].shared && made[0].write == Write::Create);
    let mut texts = output.resources.iter().map(|r| r.value.to_string());
    let visit = texts
        .find(|text| text.contains("\"Encounter\""))
        .expect("a visit");
    assert_eq!(visit.matches(&*made[0].identity.id).count(), 2);
    assert!(visit.contains("Known Nobody"));
}
