//! What the official definitions promise, quoted from the specification.

mod elements;
mod search;

use std::collections::HashSet;

use crate::*;

/// One row per concrete resource type and code.
const SEARCH_PARAM_ROWS: usize = 3008;

fn r4() -> &'static Definitions {
    Definitions::r4()
}

fn type_id(name: &str) -> ResourceTypeId {
    r4().resource_type(name).unwrap()
}

/// Spec: <https://hl7.org/fhir/R4/resourcelist.html>
#[test]
fn counts_are_those_of_r4() {
    assert_eq!(r4().resource_types().len(), 148);
    assert_eq!(r4().concrete_types().count(), 146);
    assert_eq!(r4().all_search_params().len(), SEARCH_PARAM_ROWS);
    let urls: HashSet<_> = r4()
        .all_search_params()
        .iter()
        .map(|param| param.url)
        .collect();
    assert_eq!(urls.len(), 1375);
}

#[test]
fn names_are_sorted_and_lead_back() {
    let names: Vec<_> = r4()
        .resource_types()
        .iter()
        .map(|definition| definition.name)
        .collect();
    assert!(names.is_sorted());
    for id in r4().concrete_types() {
        assert_eq!(r4().resource_type(id.name()), Some(id));
        assert!(matches!(
            r4().type_def(id).base,
            "Resource" | "DomainResource"
        ));
    }
    for unknown in [
        "Resource",
        "DomainResource",
        "patient",
        "",
        "Quantity",
        "SubscriptionStatus",
    ] {
        assert_eq!(r4().resource_type(unknown), None, "{unknown}");
    }
    assert_eq!(ResourceTypeId(9_999).name(), "");
}

/// What the publisher of a later package added must not come back.
/// Verifies: SRS-024, RC-018
#[test]
fn nothing_foreign_is_defined() {
    for (parent, name) in [
        ("Meta", "project"),
        ("Binary", "url"),
        ("ResearchStudy", "label"),
    ] {
        assert_eq!(r4().element(parent, name), None, "{parent}.{name}");
    }
    let status = r4()
        .element("DetectedIssue", "status")
        .unwrap()
        .element
        .binding
        .unwrap();
    assert_eq!(
        status.value_set,
        "http://hl7.org/fhir/ValueSet/observation-status"
    );
    assert!(
        r4().all_search_params()
            .iter()
            .all(|param| param.url.starts_with("http://hl7.org/fhir/"))
    );
}

/// Spec: <https://hl7.org/fhir/R4/datatypes.html#primitive>
#[test]
fn primitives_carry_their_regex() {
    let Some(TypeKind::Primitive { regex: Some(regex) }) = r4().type_kind("decimal") else {
        panic!()
    };
    assert_eq!(regex, r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?");
    assert_eq!(
        r4().type_kind("xhtml"),
        Some(TypeKind::Primitive { regex: None })
    );
    assert_eq!(r4().type_kind("HumanName"), Some(TypeKind::Complex));
    assert_eq!(r4().type_kind("Patient"), Some(TypeKind::Resource));
    assert_eq!(r4().type_kind("Observation.component"), None);
    assert_eq!(r4().type_base("Age"), Some("Quantity"));
    assert_eq!(r4().type_base("Patient"), Some("DomainResource"));
    assert_eq!(r4().type_base("Bundle"), Some("Resource"));
    assert_eq!(
        (r4().type_base("Resource"), r4().type_base("Nothing")),
        (None, None)
    );
}

/// Spec: <https://hl7.org/fhir/R4/valueset-observation-status.html>
#[test]
fn required_value_sets_are_expanded() {
    let list = r4()
        .required_codes("http://hl7.org/fhir/ValueSet/observation-status|4.0.1")
        .unwrap();
    let codes: Vec<_> = list.codes.iter().map(|code| code.code).collect();
    let expected = [
        "registered",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "cancelled",
        "entered-in-error",
        "unknown",
    ];
    assert_eq!(codes, expected);
    assert_eq!(
        list.get("final").unwrap().system,
        "http://hl7.org/fhir/observation-status"
    );
    assert!(!list.contains("Final"));
    let types = r4()
        .required_codes("http://hl7.org/fhir/ValueSet/resource-types")
        .unwrap();
    assert_eq!(types.codes.len(), 148);
    for external in ["currencies", "mimetypes", "ucum-units"] {
        assert_eq!(
            r4().required_codes(&format!("http://hl7.org/fhir/ValueSet/{external}")),
            None
        );
    }
}
