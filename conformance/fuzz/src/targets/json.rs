//! JSON from outside: parsed, copied, validated, indexed, subset, written.
//!
//! Spec: <https://hl7.org/fhir/R4/json.html>. Promises: every copy is the same value, digits kept; what
//! breaks no rule can be written as XML and read back unchanged; anything can be indexed and cut to a part.

use conformance::Definitions;
use fhir_core::body::{Body, resource_type_name};
use fhir_core::ids::{Instant, ResourceId, VersionId};
use fhir_core::index::{Context, Extractor};
use fhir_core::issue::Severity;
use fhir_core::json::{Document, Value, ValueRef, pretty};
use fhir_core::summary::{self, Subset};
use fhir_core::validate::{invariants, structure};
use fhir_core::xml;

pub fn run(data: &[u8]) {
    let document = Document::parse(data);
    let value = Value::parse(data);
    let (Ok(document), Ok(value)) = (document, value) else {
        return;
    };
    copies(&document, &value, data);
    let Some(resource_type) =
        resource_type_name(document.root()).and_then(|name| Definitions::r4().resource_type(&name))
    else {
        return;
    };
    let root = document.root();
    let _ = Extractor::r4().extract(resource_type, root, &Context::default());
    stored(root);
    let subset = Subset::Elements(vec!["name".to_owned(), "status".to_owned()]);
    for subset in [Subset::Summary, Subset::Text, Subset::Data, subset] {
        let mut out = Vec::new();
        summary::write(root, &subset, &mut out);
        Document::parse(&out).expect("a subset that is no JSON");
    }
    let mut issues = structure::check(resource_type, root);
    if issues.iter().all(|issue| issue.severity < Severity::Error) {
        issues.extend(invariants::check(root, None, None));
        if issues.iter().all(|issue| issue.severity < Severity::Error) {
            as_xml(root);
        }
    }
}

fn copies(document: &Document, value: &Value, data: &[u8]) {
    let mut compact = Vec::new();
    document.root().write_compact(&mut compact);
    for (what, text) in [
        ("compact", compact),
        ("owned", value.to_bytes()),
        ("pretty", pretty(data)),
        ("copied", document.root().to_value().to_bytes()),
    ] {
        let copy = Document::parse(&text).unwrap_or_else(|e| panic!("{what}: no JSON: {e}"));
        assert!(
            copy.root().same_as(document.root()),
            "{what}: another value"
        );
    }
}

/// What is stored and read again is the resource, with its version.
fn stored(root: ValueRef<'_>) {
    let Some(id) = ResourceId::parse("a") else {
        return;
    };
    let body = Body::new(root, &id);
    let read = body.to_bytes(VersionId(7), Instant(0));
    let read = Document::parse(&read).expect("a body that is no JSON");
    let version = read
        .root()
        .get("meta")
        .and_then(|meta| meta.get("versionId"));
    assert_eq!(
        version.and_then(ValueRef::as_str).as_deref(),
        Some("7"),
        "the version is missing"
    );
}

fn as_xml(root: ValueRef<'_>) {
    let mut out = Vec::new();
    xml::write(root, &mut out).expect("a valid resource that has no XML");
    let text = String::from_utf8(out).expect("XML that is no UTF-8");
    let back = xml::read(&text).unwrap_or_else(|e| panic!("own XML refused: {e}"));
    let back = Document::parse(&back.to_bytes()).expect("JSON out of XML");
    assert!(back.root().same_as(root), "XML lost or changed something");
}
