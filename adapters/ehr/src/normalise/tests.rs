//! Each rule once, on rows made up here. The example `captures` runs them over captured answers.

use fhir_core::ids::Instant;
use fhir_core::json::Value;

use super::{Clean, normalise};
use crate::tenant::Tenant;

const NOW: Instant = Instant(1_777_881_600_000_000);

fn tenant(rules: &str) -> Tenant {
    Tenant::parse(&format!(
        r#"
tenant = "t"
vendor = "generic"
fhir_base = "https://ehr.example.org/r4"
types = ["Patient", "Observation"]
auth = {{ method = "none" }}
{rules}
"#
    ))
    .unwrap()
}

fn clean(raw: &str) -> Clean {
    normalise(&Value::parse(raw.as_bytes()).unwrap(), &tenant(""), NOW)
}

fn observation(rest: &str) -> Clean {
    clean(&format!(
        r#"{{"resourceType":"Observation","id":"o1","status":"final",
            "code":{{"coding":[{{"system":"http://loinc.org","code":"2823-3"}}]}},{rest}}}"#
    ))
}

fn text(clean: &Clean) -> String {
    String::from_utf8(clean.resource.to_bytes()).unwrap()
}

/// Verifies: SRS-001, RC-001
#[test]
fn digits_and_units_follow_the_rules() {
    for (quantity, expected, quirk) in [
        (r#"{"value":5.10}"#, r#"{"value":5.10}"#, "unit-missing"),
        (
            r#"{"value":4.0,"unit":"mmol/L"}"#,
            r#"{"value":4.0,"unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}"#,
            "unit-code-derived",
        ),
        (
            r#"{"value":4.00,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}"#,
            r#"{"value":4.00,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}"#,
            "unit-implausible-for-code",
        ),
        (
            r#"{"value":15,"unit":"minutes","system":"http://unitsofmeasure.org"}"#,
            r#"{"value":15,"unit":"minutes"}"#,
            "unit-unknown",
        ),
        (
            r#"{"value":1E1,"unit":"mEq/L","system":"http://unitsofmeasure.org","code":"meq/L"}"#,
            r#"{"value":1E1,"unit":"meq/L","system":"http://unitsofmeasure.org","code":"meq/L"}"#,
            "unit-text-normalised",
        ),
    ] {
        let clean = observation(&format!(r#""valueQuantity":{quantity}"#));
        assert!(text(&clean).contains(expected), "{}", text(&clean));
        assert!(clean.quirks.contains(quirk), "{quirk}: {:?}", clean.quirks);
    }
}

/// A unit is added only where a tenant answers for it.
#[test]
fn a_tenant_may_name_the_unit_of_a_code() {
    let raw = r#"{"resourceType":"Observation","id":"o","status":"final",
        "code":{"coding":[{"system":"urn:x","code":"1558024"}]},"valueQuantity":{"value":7.0}}"#;
    let tenant = tenant("[rules.unit_of_code]\n\"1558024\" = \"%\"");
    let clean = normalise(&Value::parse(raw.as_bytes()).unwrap(), &tenant, NOW);
    assert!(text(&clean).contains(r#""value":7.0,"unit":"%""#));
    assert!(clean.quirks.contains("unit-added-by-tenant"));
    assert_ne!(
        tenant.rules.version, "1",
        "overrides are part of the version"
    );
}

#[test]
fn words_in_place_of_values_become_absent_with_the_word_kept() {
    let clean = observation(r#""valueString":"Blank","interpretation":[{"text":"(NONE)"}]"#);
    assert!(text(&clean).contains(r#""code":"unknown"}],"text":"Blank"}"#));
    assert!(!text(&clean).contains("\"interpretation\":"));
    assert!(!text(&clean).contains("valueString"));
    let kept = observation(r#""valueString":"Positive""#);
    assert!(text(&kept).contains(r#""valueString":"Positive""#));
}

#[test]
fn codings_are_ordered_and_copies_dropped_only_beside_the_real_one() {
    let raw = r#"{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[
        {"system":"urn:oid:1.2.3","code":"5"},
        {"system":"urn:oid:1.2.246.537.6.96","code":"8480-6"},
        {"system":"http://loinc.org","code":"8716-3"},
        {"system":"http://loinc.org","code":"55284-4"},
        {"system":"http://loinc.org","code":"85354-9"}]},
        "component":[{"code":{"coding":[{"system":"urn:x","code":"1"},{"system":"http://loinc.org","code":"8480-6"},
        {"system":"http://loinc.org","code":"85354-9"}]}}]}"#;
    let clean = clean(raw);
    let codings = clean.resource.get("code").unwrap().get("coding").unwrap();
    let codes: Vec<&str> = codings
        .as_array()
        .unwrap()
        .iter()
        .map(|coding| coding.get("code").unwrap().as_str().unwrap())
        .collect();
    assert_eq!(codes, ["85354-9", "55284-4", "5"]);
    for quirk in [
        "alias-coding-dropped",
        "umbrella-coding-dropped",
        "panel-coding-in-component-dropped",
    ] {
        assert!(clean.quirks.contains(quirk), "{quirk}");
    }
    let alone = observation(r#""note":[]"#);
    assert!(text(&alone).contains("2823-3"));
    let umbrella = super::normalise(
        &Value::parse(br#"{"resourceType":"Observation","id":"o","code":{"coding":[{"system":"http://loinc.org","code":"8716-3"}]}}"#).unwrap(),
        &tenant(""),
        NOW,
    );
    assert!(text(&umbrella).contains("8716-3"), "the only code stays");
}

#[test]
fn odd_times_are_tagged_and_left() {
    let future = observation(r#""effectiveDateTime":"2099-05-05T05:05:00Z""#);
    assert!(future.quirks.contains("effective-in-future"));
    assert!(text(&future).contains("2099-05-05T05:05:00Z"));
    let late = observation(
        r#""effectiveDateTime":"2019-07-29T00:00:00Z","issued":"2026-04-20T00:00:00Z""#,
    );
    assert!(late.quirks.contains("late-filed"));
}

#[test]
fn texts_are_trimmed_and_control_characters_removed() {
    let clean = clean(
        r#"{"resourceType":"Observation","id":"o","status":"entered-in-error ","code":{"text":"Genotype: "},
            "note":[{"text":"^~:! see chart"}],"text":{"status":"generated","div":"<div/>"},
            "performer":[{"display":"A\\u0000B"}],"category":[{"coding":[{"system":"2.16.840.1","code":"x"}]}]}"#,
    );
    let text = text(&clean);
    assert!(text.contains(r#""status":"entered-in-error""#) && text.contains(r#""Genotype:""#));
    assert!(text.contains(r#""text":"see chart""#) && text.contains(r#""display":"AB""#));
    assert!(text.contains("urn:oid:2.16.840.1") && !text.contains("<div/>"));
    let written = clean_written();
    assert!(
        written.contains("<div>by hand</div>"),
        "written narrative stays"
    );
}

fn clean_written() -> String {
    text(&clean(
        r#"{"resourceType":"Observation","id":"o","text":{"status":"additional","div":"<div>by hand</div>"}}"#,
    ))
}

/// Verifies: SRS-017, RC-002
#[test]
fn patient_identifiers_name_persons_only() {
    let clean = clean(
        r#"{"resourceType":"Patient","id":"p1","identifier":[
            {"type":{"text":"INTERNAL"},"system":"urn:oid:1.2","value":"   Z1"},
            {"type":{"text":"EXTERNAL"},"system":"urn:oid:1.2","value":"Z1"},
            {"type":{"text":"MYCHARTLOGIN"},"system":"urn:oid:1.3","value":"ADA"},
            {"value":"12868"},
            {"use":"usual","system":"urn:oid:1.4","value":"9","period":{"end":"2021-01-01"}}],
            "name":[{"use":"official","family":"Probe"},{"use":"usual","family":"Probe"},{"use":"old","family":"Was"}],
            "telecom":[{"system":"phone","value":"+1 202-555-0100","use":"home"},{"system":"phone","value":"2025550100","use":"home"}],
            "address":[{"text":"1 Road\r\nTown"}]}"#,
    );
    let identifiers = clean
        .resource
        .get("identifier")
        .unwrap()
        .as_array()
        .unwrap();
    let values: Vec<&str> = identifiers
        .iter()
        .map(|one| one.get("value").unwrap().as_str().unwrap())
        .collect();
    assert_eq!(values, ["p1", "Z1", "9"]);
    assert_eq!(identifiers[2].get("use").unwrap().as_str(), Some("old"));
    assert_eq!(
        clean
            .resource
            .get("name")
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        clean
            .resource
            .get("telecom")
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(text(&clean).contains("1 Road\\nTown"));
}
