//! What the official definitions promise, quoted from the specification.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::*;

/// Of `search_params.tsv`. A [`ParamId`] is a row number that databases store: when this changes, the index of every
/// installation must be rebuilt, so change it only together with a migration.
const SEARCH_PARAMS_SHA256: &str =
    "ad28503d5c41137f57fa911f68e6879be7295f4a4e53ed8e7943d4c21870fcd0";
/// One row per concrete resource type and code.
const SEARCH_PARAM_ROWS: usize = 3008;

fn r4() -> &'static Definitions {
    Definitions::r4()
}

fn type_id(name: &str) -> ResourceTypeId {
    r4().resource_type(name).unwrap()
}

fn param(resource_type: &str, code: &str) -> &'static SearchParam {
    r4().search_param(type_id(resource_type), code).unwrap()
}

fn type_codes(element: &Element) -> Vec<&'static str> {
    element.types.iter().map(|kind| kind.code).collect()
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

/// Verifies: SRS-024
#[test]
fn search_param_numbers_are_pinned() {
    let digest = Sha256::digest(table::SEARCH_PARAMS.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, SEARCH_PARAMS_SHA256);
}

#[test]
fn ids_are_unique_and_lead_back() {
    let mut seen = HashSet::new();
    for param in r4().all_search_params() {
        assert!(seen.insert(param.id));
        assert!(param.id.0 < ParamId::CUSTOM_MIN);
        assert_eq!(r4().search_param_by_id(param.id), Some(param));
        assert_eq!(r4().search_param(param.base, param.code), Some(param));
        assert_eq!(r4().search_param_by_url(param.base, param.url), Some(param));
    }
    assert_eq!(r4().search_param_by_id(ParamId(0)), None);
    assert_eq!(r4().search_param_by_id(ParamId(ParamId::CUSTOM_MIN)), None);
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

#[test]
fn every_expression_stays_on_its_base() {
    for param in r4().all_search_params() {
        let base = param.base.name();
        for branch in param
            .expression
            .split(" | ")
            .filter(|branch| !branch.is_empty())
        {
            let rest = branch.trim_start_matches('(').strip_prefix(base);
            let is_whole =
                rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
            assert!(is_whole, "{base} {}: {branch}", param.code);
        }
        let has_none = matches!(param.code, "_text" | "_content" | "_query");
        assert_eq!(
            param.expression.is_empty(),
            has_none,
            "{base} {}",
            param.code
        );
    }
}

/// "code: token, The code of the observation type, Observation.code"; "combo-code-value-quantity: composite".
/// Spec: <https://hl7.org/fhir/R4/observation.html#search>
#[test]
fn observation_has_its_search_parameters() {
    let rows = [
        ("code", ParamType::Token, "Observation.code"),
        ("_id", ParamType::Token, "Observation.id"),
        (
            "_lastUpdated",
            ParamType::Date,
            "Observation.meta.lastUpdated",
        ),
        ("subject", ParamType::Reference, "Observation.subject"),
        (
            "patient",
            ParamType::Reference,
            "Observation.subject.where(resolve() is Patient)",
        ),
        ("date", ParamType::Date, "Observation.effective"),
        ("status", ParamType::Token, "Observation.status"),
        (
            "value-quantity",
            ParamType::Quantity,
            "(Observation.value as Quantity) | (Observation.value as SampledData)",
        ),
        (
            "combo-code",
            ParamType::Token,
            "Observation.code | Observation.component.code",
        ),
        (
            "component-code-value-quantity",
            ParamType::Composite,
            "Observation.component",
        ),
        ("_text", ParamType::String, ""),
    ];
    for (code, kind, expression) in rows {
        let found = param("Observation", code);
        assert_eq!((found.kind, found.expression), (kind, expression), "{code}");
        assert_eq!(found.base, type_id("Observation"));
    }
    assert_eq!(
        param("Observation", "code").description,
        "The code of the observation type"
    );
    assert_eq!(
        param("Observation", "code").spec_url(),
        "https://hl7.org/fhir/R4/observation.html#search"
    );
    assert_eq!(r4().search_param(type_id("Observation"), "birthdate"), None);
    // 38 of its own, 8 of Resource, 1 of DomainResource.
    assert_eq!(r4().search_params(type_id("Observation")).len(), 47);
}

/// Bundle is a Resource but no DomainResource: it has no narrative to search.
#[test]
fn text_search_needs_a_narrative() {
    assert!(r4().search_param(type_id("Bundle"), "_text").is_none());
    assert!(r4().search_param(type_id("Bundle"), "_content").is_some());
    assert!(r4().search_param(type_id("Patient"), "_text").is_some());
}

/// Spec: <https://hl7.org/fhir/R4/search.html#reference>
#[test]
fn references_name_their_targets() {
    let names = |param: &SearchParam| {
        param
            .targets
            .iter()
            .map(|target| target.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(param("Observation", "subject")),
        ["Device", "Group", "Location", "Patient"]
    );
    assert_eq!(
        names(param("Observation", "encounter")),
        ["Encounter", "EpisodeOfCare"]
    );
    let any = param("Provenance", "target");
    assert_eq!(any.targets.len(), 145);
    assert!(!any.targets.contains(&type_id("Parameters")));
    for param in r4().all_search_params() {
        let is_reference = param.kind == ParamType::Reference;
        assert!(
            is_reference || param.targets.is_empty() || param.kind == ParamType::Uri,
            "{}",
            param.url
        );
    }
}

/// "eq, ne, gt, lt, ge, le, sa, eb, ap": number, date and quantity only.
/// Spec: <https://hl7.org/fhir/R4/search.html#prefix>
#[test]
fn prefixes_belong_to_ordered_types() {
    for param in r4().all_search_params() {
        let is_ordered = matches!(
            param.kind,
            ParamType::Number | ParamType::Date | ParamType::Quantity
        );
        assert_eq!(
            param.comparators.len(),
            if is_ordered { 9 } else { 0 },
            "{}",
            param.url
        );
    }
    assert_eq!(
        param("Patient", "birthdate").comparators,
        ["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap"]
    );
}

#[test]
fn composite_components_resolve_on_their_base() {
    let mut count = 0;
    for param in r4().all_search_params() {
        assert_eq!(
            param.components.is_empty(),
            param.kind != ParamType::Composite,
            "{}",
            param.url
        );
        for component in &param.components {
            let resolved = r4().search_param_by_url(param.base, component.url).unwrap();
            assert_eq!(resolved.code, component.code);
            assert!(!component.expression.is_empty());
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
    let parts: Vec<_> = param("Observation", "code-value-quantity")
        .components
        .iter()
        .map(|part| part.expression)
        .collect();
    assert_eq!(parts, ["code", "value.as(Quantity)"]);
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

/// What the publisher of a later package added must not come back.
/// Verifies: SRS-024
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
}

/// Spec: <https://hl7.org/fhir/R4/compartmentdefinition-patient.html>
#[test]
fn compartments_name_parameters_that_exist() {
    let expected = [
        "Device",
        "Encounter",
        "Patient",
        "Practitioner",
        "RelatedPerson",
    ];
    assert_eq!(r4().compartments(), expected);
    assert_eq!(
        r4().compartment_params("Patient", type_id("Observation")),
        ["subject", "performer"]
    );
    assert_eq!(
        r4().compartment_params("Patient", type_id("Patient")),
        ["link"]
    );
    assert_eq!(
        r4().compartment_params("Encounter", type_id("Encounter")),
        ["{def}"]
    );
    assert!(
        r4().compartment_params("Patient", type_id("Medication"))
            .is_empty()
    );
    assert!(
        r4().compartment_params("Group", type_id("Observation"))
            .is_empty()
    );
    for compartment in expected {
        for resource_type in r4().concrete_types() {
            for code in r4().compartment_params(compartment, resource_type) {
                let is_known = *code == "{def}" || r4().search_param(resource_type, code).is_some();
                assert!(is_known, "{compartment} {} {code}", resource_type.name());
            }
        }
    }
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
