//! Round trips and refusals, each with the rule it shows.

use super::{read, write};
use crate::json::Document;

fn to_xml(json: &str) -> String {
    let document = Document::parse(json.as_bytes()).unwrap();
    let mut out = Vec::new();
    write(document.root(), &mut out).unwrap_or_else(|e| panic!("{e}: {json}"));
    String::from_utf8(out).unwrap()
}

fn check(json: &str, xml: &str) {
    assert_eq!(to_xml(json), xml);
    let back = read(xml).unwrap().to_bytes();
    let (back, original) = (
        Document::parse(&back).unwrap(),
        Document::parse(json.as_bytes()).unwrap(),
    );
    assert!(
        back.root().same_as(original.root()),
        "{}\n{json}",
        back.text()
    );
}

/// Spec: <https://hl7.org/fhir/R4/json.html#primitive>
/// Verifies: SRS-001, RC-001
#[test]
fn both_forms_say_the_same() {
    for (json, xml) in [
        (
            r#"{"resourceType":"Observation","id":"a","status":"final","code":{"text":"x"},"valueQuantity":{"value":2.50}}"#,
            r#"<Observation xmlns="http://hl7.org/fhir"><id value="a"/><status value="final"/><code><text value="x"/></code><valueQuantity><value value="2.50"/></valueQuantity></Observation>"#,
        ),
        (
            r#"{"resourceType":"Patient","active":true,"name":[{"id":"n1","family":"A & \"B\" <C>","given":["One","Two"]}]}"#,
            r#"<Patient xmlns="http://hl7.org/fhir"><active value="true"/><name id="n1"><family value="A &amp; &quot;B&quot; &lt;C&gt;"/><given value="One"/><given value="Two"/></name></Patient>"#,
        ),
        (
            r#"{"resourceType":"Patient","name":[{"given":[null,"Two"],"_given":[{"extension":[{"url":"http://e","valueCode":"c"}]},null]}]}"#,
            r#"<Patient xmlns="http://hl7.org/fhir"><name><given><extension url="http://e"><valueCode value="c"/></extension></given><given value="Two"/></name></Patient>"#,
        ),
        (
            r#"{"resourceType":"Patient","birthDate":"1970-01-01","_birthDate":{"id":"b"},"multipleBirthInteger":2}"#,
            r#"<Patient xmlns="http://hl7.org/fhir"><birthDate id="b" value="1970-01-01"></birthDate><multipleBirthInteger value="2"/></Patient>"#,
        ),
        (
            r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Basic","id":"x","code":{"text":"line\nbreak\tand tab"}}}]}"#,
            r#"<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/><entry><resource><Basic><id value="x"/><code><text value="line&#10;break&#9;and tab"/></code></Basic></resource></entry></Bundle>"#,
        ),
        (
            r#"{"resourceType":"Basic","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &lt; b</p></div>"},"code":{"text":"t"}}"#,
            r#"<Basic xmlns="http://hl7.org/fhir"><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>a &lt; b</p></div></text><code><text value="t"/></code></Basic>"#,
        ),
    ] {
        check(json, xml);
    }
}

#[test]
fn wrong_xml_is_refused_with_its_place() {
    let patient =
        |inner: &str| format!(r#"<Patient xmlns="http://hl7.org/fhir">{inner}</Patient>"#);
    for (xml, what, place) in [
        ("".to_owned(), "no element", "line 1"),
        (
            "<Patient/>".to_owned(),
            "the root element must be in the namespace `http://hl7.org/fhir`",
            "Patient",
        ),
        (
            r#"<Nonsense xmlns="http://hl7.org/fhir"/>"#.to_owned(),
            "not a resource type of R4",
            "Nonsense",
        ),
        (
            patient(r#"<colour value="x"/>"#),
            "not an element of this type",
            "Patient.colour",
        ),
        (
            patient(r#"<active value="yes"/>"#),
            "must be `true` or `false`",
            "Patient.active",
        ),
        (
            patient(r#"<active value="true"/><active value="true"/>"#),
            "may occur only once",
            "Patient.active",
        ),
        (
            patient(r#"<active value="true" other="1"/>"#),
            "an attribute FHIR does not have",
            "Patient.active.other",
        ),
        (
            patient("words"),
            "text between elements is not FHIR",
            "Patient",
        ),
        (
            patient(r#"<multipleBirthInteger value="1x"/>"#),
            "must be a number",
            "Patient.multipleBirthInteger",
        ),
        (
            "<!DOCTYPE x><Patient xmlns=\"http://hl7.org/fhir\"/>".to_owned(),
            "a DOCTYPE is not accepted",
            "line 1",
        ),
        (patient("<name>"), "", ""),
        (
            patient(r#"<name><given/></name>"#),
            "has neither value nor extension",
            "Patient.name.given",
        ),
    ] {
        let error = read(&xml).expect_err(&xml);
        if !what.is_empty() {
            assert_eq!(
                (error.what.as_str(), error.place.as_str()),
                (what, place),
                "{xml}"
            );
        }
    }
}

#[test]
fn a_member_r4_does_not_define_is_not_dropped() {
    let document = Document::parse(br#"{"resourceType":"Patient","colour":"red"}"#).unwrap();
    let error = write(document.root(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.place, "Patient.colour");
}

#[test]
fn deep_nesting_is_bounded() {
    let xml = format!(
        r#"<Patient xmlns="http://hl7.org/fhir">{}"#,
        r#"<extension url="u">"#.repeat(10_000)
    );
    assert_eq!(read(&xml).unwrap_err().what, "nested too deep");
}
