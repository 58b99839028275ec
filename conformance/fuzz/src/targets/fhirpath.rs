//! A FHIRPath expression: parsed, compiled as a search expression, evaluated on small resources.
//!
//! Spec: <http://hl7.org/fhirpath/N1/>. Promises: no text ends the program; the same expression on the same resource has
//! the same result.

use std::sync::OnceLock;

use conformance::Definitions;
use fhir_core::fhirpath::compile::compile;
use fhir_core::fhirpath::eval::{Element, evaluate};
use fhir_core::fhirpath::parse;
use fhir_core::json::Document;

const PATIENT: &str = r##"{"resourceType":"Patient","id":"a","extension":[{"url":"http://x.example/e","valueDecimal":1.50}],"identifier":[{"system":"http://x.example/i","value":"1"}],"active":true,"name":[{"use":"official","family":"Beispiel","given":["Anna","Maria"],"_given":[null,{"id":"g"}]},{"family":"Muster"}],"birthDate":"1970-05","_birthDate":{"extension":[{"url":"http://x.example/t","valueDateTime":"1970-05-01T10:00:00+02:00"}]},"deceasedBoolean":false,"contained":[{"resourceType":"Organization","id":"o","name":"House"}],"managingOrganization":{"reference":"#o"}}"##;
const OBSERVATION: &str = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}],"text":"rate"},"effectivePeriod":{"start":"2020-01-01","end":"2020-01-01T10:00:00.123Z"},"valueQuantity":{"value":5.40,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"},"component":[{"code":{"text":"a"},"valueInteger":3},{"code":{"text":"b"},"valueTime":"10:00:00"}]}"#;

fn resources() -> &'static [Document; 2] {
    static RESOURCES: OnceLock<[Document; 2]> = OnceLock::new();
    RESOURCES.get_or_init(|| {
        [PATIENT, OBSERVATION].map(|text| Document::parse(text.as_bytes()).expect("a resource"))
    })
}

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(expression) = parse(text) else {
        return;
    };
    for document in resources() {
        let root = Element::resource(document.root());
        let found = evaluate(&expression, root, root);
        let again = evaluate(&expression, root, root);
        assert_eq!(
            format!("{found:?}"),
            format!("{again:?}"),
            "two results of one expression"
        );
        let resource_type = Definitions::r4().resource_type(root.type_path);
        if let Some(resource_type) = resource_type {
            let _ = compile(text, resource_type.name(), resource_type);
        }
    }
}
