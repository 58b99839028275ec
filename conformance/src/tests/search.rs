//! Search parameters and compartments.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::{r4, type_id};
use crate::*;

/// Of `search_params.tsv`. A [`ParamId`] is a row number that databases store: when this changes, the index of every
/// installation must be rebuilt, so change it only together with a migration.
const SEARCH_PARAMS_SHA256: &str =
    "ad28503d5c41137f57fa911f68e6879be7295f4a4e53ed8e7943d4c21870fcd0";

fn param(resource_type: &str, code: &str) -> &'static SearchParam {
    r4().search_param(type_id(resource_type), code).unwrap()
}

/// Verifies: SRS-024, RC-018
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
