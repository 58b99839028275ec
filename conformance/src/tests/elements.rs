//! Elements, choices and content references.

use std::collections::HashSet;

use super::r4;
use crate::*;

fn type_codes(element: &Element) -> Vec<&'static str> {
    element.types.iter().map(|kind| kind.code).collect()
}

/// Spec: <https://hl7.org/fhir/R4/formats.html#choice>: "the name of the type is appended with its first letter upper case"
#[test]
fn choice_names_choose_a_type() {
    let rows = [
        ("Observation", "valueQuantity", "Quantity"),
        ("Observation", "valueDateTime", "dateTime"),
        ("Observation", "valueString", "string"),
        ("Observation", "effectivePeriod", "Period"),
        ("Observation.component", "valueSampledData", "SampledData"),
        ("Patient", "deceasedBoolean", "boolean"),
        ("Extension", "valueCodeableConcept", "CodeableConcept"),
    ];
    for (parent, name, chosen) in rows {
        let found = r4().element(parent, name).unwrap();
        assert_eq!(found.chosen_type, chosen, "{name}");
        assert!(found.element.is_choice());
    }
    for name in [
        "value",
        "value[x]",
        "valuequantity",
        "valueAddress",
        "valueQuantityX",
        "Status",
        "",
    ] {
        assert_eq!(r4().element("Observation", name), None, "{name}");
    }
    let value = r4().choice("Observation", "value").unwrap();
    assert_eq!(value.types.len(), 11);
    assert_eq!(r4().choice("Observation", "status"), None);
}

/// Spec: <https://hl7.org/fhir/R4/observation-definitions.html>
#[test]
fn elements_have_type_cardinality_and_binding() {
    let status = r4().element("Observation", "status").unwrap().element;
    assert_eq!(
        (status.min, status.max, status.path),
        (1, Max::One, "Observation.status")
    );
    assert!(status.is_summary && status.is_modifier);
    let binding = status.binding.unwrap();
    assert_eq!(binding.strength, BindingStrength::Required);
    assert_eq!(
        binding.value_set,
        "http://hl7.org/fhir/ValueSet/observation-status"
    );
    assert_eq!(
        r4().element("Observation", "category").unwrap().element.max,
        Max::Many
    );
    let subject = r4().element("Observation", "subject").unwrap().element;
    assert_eq!(type_codes(subject), ["Reference"]);
    assert_eq!(
        subject.types[0].target_types,
        ["Patient", "Group", "Device", "Location"]
    );
    assert_eq!(
        type_codes(r4().element("Patient", "id").unwrap().element),
        ["id"]
    );
    assert_eq!(
        type_codes(r4().element("HumanName", "id").unwrap().element),
        ["string"]
    );
    assert_eq!(
        type_codes(r4().element("Bundle.entry", "resource").unwrap().element),
        ["Resource"]
    );
    let names: Vec<_> = r4()
        .elements("Quantity")
        .iter()
        .map(|element| element.name)
        .collect();
    assert_eq!(
        names,
        [
            "id",
            "extension",
            "value",
            "comparator",
            "unit",
            "system",
            "code"
        ]
    );
    assert!(r4().elements("Nothing").is_empty());
}

/// "item: see item" — Spec: <https://hl7.org/fhir/R4/questionnaire.html#resource>
#[test]
fn content_references_lead_to_the_children() {
    let item = r4().element("Questionnaire.item", "item").unwrap();
    assert_eq!(item.element.content_reference, Some("Questionnaire.item"));
    assert_eq!(item.type_path(), "Questionnaire.item");
    let component = r4().element("Observation", "component").unwrap();
    assert_eq!(component.type_path(), "Observation.component");
    let range = r4()
        .element("Observation.component", "referenceRange")
        .unwrap();
    assert_eq!(range.type_path(), "Observation.referenceRange");
    assert_eq!(
        r4().element("Patient", "name").unwrap().type_path(),
        "HumanName"
    );
}

#[test]
fn every_element_leads_to_a_known_type() {
    for parent in r4()
        .resource_types()
        .iter()
        .map(|definition| definition.name)
    {
        check_children(parent, &mut HashSet::new());
    }
}

fn check_children(parent: &str, seen: &mut HashSet<String>) {
    if !seen.insert(parent.to_owned()) {
        return;
    }
    for element in r4().elements(parent) {
        let reference = element.content_reference.into_iter();
        for path in reference.chain(
            element
                .types
                .iter()
                .map(|kind| element.children_path(kind.code)),
        ) {
            let is_known = r4().type_kind(path).is_some() || !r4().elements(path).is_empty();
            assert!(is_known, "{} leads to {path}", element.path);
            check_children(path, seen);
        }
    }
}
