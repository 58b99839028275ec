//! XML from outside: read to JSON, written to XML, read again.
//!
//! Spec: <https://hl7.org/fhir/R4/xml.html>. Promises: what was read can be written, and reading that gives the same JSON.

use fhir_core::json::Document;
use fhir_core::xml;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(value) = xml::read(text) else {
        return;
    };
    let first = Document::parse(&value.to_bytes()).expect("JSON out of XML");
    let mut out = Vec::new();
    if xml::write(first.root(), &mut out).is_err() {
        return;
    }
    let text = String::from_utf8(out).expect("XML that is no UTF-8");
    let again = xml::read(&text).unwrap_or_else(|e| panic!("own XML refused: {e}"));
    let again = Document::parse(&again.to_bytes()).expect("JSON out of XML");
    assert!(again.root().same_as(first.root()), "written otherwise");
}
