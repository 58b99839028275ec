//! Compartments, what an access may see, includes, and the list of what is supported.

use conformance::{Definitions, ParamType};

use super::{context, named, predicate, show};
use crate::access::{Access, Channel, Grants};
use crate::ids::ResourceKey;
use crate::index::{IndexEntry, IndexValue};
use crate::search::include::{IncludeWay, parse};
use crate::search::predicate::Predicate;
use crate::search::query::Context;
use crate::search::{compartment, condition::Builder, supported};
use crate::terminology::Catalogue;

fn key(text: &str) -> ResourceKey {
    ResourceKey::parse(text).unwrap()
}

/// Spec: <https://hl7.org/fhir/R4/compartmentdefinition-patient.html>
#[test]
fn a_compartment_is_what_its_parameters_lead_to() {
    let members = |owner: &str, name: &str| show(&compartment::members(&key(owner), named(name)));
    assert_eq!(
        members("Patient/1", "Observation"),
        "(subject Patient/1 | performer Patient/1)"
    );
    assert_eq!(members("Patient/1", "Patient"), "(id 1 | link Patient/1)");
    assert_eq!(members("Patient/1", "Medication"), "nothing");
    assert_eq!(
        members("Encounter/1", "Observation"),
        "encounter Encounter/1"
    );
    let searched = compartment::search(
        &key("Patient/1"),
        named("Condition"),
        predicate("Condition?code=a"),
    )
    .unwrap();
    assert_eq!(
        show(&searched),
        "((patient Patient/1 | asserter Patient/1) & code \"a\")"
    );
    assert_eq!(
        compartment::search(
            &key("Organization/1"),
            named("Condition"),
            Predicate::Everything
        )
        .unwrap_err()
        .status(),
        404
    );
}

/// Nothing outside can be asked about, not even through chains.
/// Verifies: SRS-030
#[test]
fn an_access_to_one_compartment_narrows_every_link() {
    let access = Access {
        agent: "a".into(),
        channel: Channel::Rest,
        grants: Grants::Compartment(key("Patient/1")),
    };
    let narrowed = |url: &str| {
        let type_name = url.split('?').next().unwrap();
        show(&compartment::narrow(
            &access,
            named(type_name),
            predicate(url),
        ))
    };
    assert_eq!(
        narrowed("Observation?patient.name=a"),
        "((subject Patient/1 | performer Patient/1) & patient->Patient(((id 1 | link Patient/1) & name 'a'..)))"
    );
    assert_eq!(
        narrowed("Patient?_has:Observation:patient:code=a"),
        "((id 1 | link Patient/1) & <-Observation.patient(((subject Patient/1 | performer Patient/1) & code \"a\")))"
    );
    let full = Access::full("a", Channel::Rest);
    assert_eq!(
        show(&compartment::narrow(
            &full,
            named("Patient"),
            predicate("Patient?name=a")
        )),
        "name 'a'.."
    );
}

/// Spec: <https://hl7.org/fhir/R4/search.html#revinclude>
#[test]
fn includes_find_their_resources() {
    let observation = named("Observation");
    let param = |code: &str| {
        Definitions::r4()
            .search_param(observation, code)
            .unwrap()
            .id
    };
    let entries = [
        IndexEntry {
            param: param("subject"),
            value: IndexValue::Reference(key("Patient/1")),
        },
        IndexEntry {
            param: param("performer"),
            value: IndexValue::Reference(key("Practitioner/2")),
        },
        IndexEntry {
            param: param("patient"),
            value: IndexValue::Reference(key("Patient/1")),
        },
    ];
    for (text, expected) in [
        ("Observation:subject", "Patient/1"),
        ("Observation:subject:Patient", "Patient/1"),
        ("Observation:subject:Group", ""),
        ("Observation:*", "Patient/1,Practitioner/2"),
        ("*", "Patient/1,Practitioner/2"),
    ] {
        let include = parse(IncludeWay::Forward, observation, text, false).unwrap();
        let found: Vec<String> = include
            .targets(observation, &entries)
            .iter()
            .map(|target| target.key.to_string())
            .collect();
        assert_eq!(found.join(","), expected, "{text}");
        assert!(text == "*" || include.targets(named("Patient"), &entries).is_empty());
    }
    let reverse = parse(
        IncludeWay::Reverse,
        named("Patient"),
        "Observation:subject",
        false,
    )
    .unwrap();
    assert_eq!(
        show(&reverse.referrers(&[key("Patient/1"), key("Patient/2")])),
        "subject Patient/1,Patient/2"
    );
    assert_eq!(show(&reverse.referrers(&[])), "nothing");
}

/// What is announced works, for every type: each parameter with each modifier and prefix.
/// Verifies: SRS-005, RC-016
#[test]
fn everything_announced_is_understood() {
    let catalogue = Catalogue::default();
    let context = Context {
        codes: &catalogue,
        ..context()
    };
    let mut count = 0;
    for resource_type in Definitions::r4().concrete_types() {
        for row in supported::parameters(resource_type) {
            let sample = sample(row.param);
            for modifier in
                std::iter::once(String::new()).chain(row.modifiers.iter().map(|m| format!(":{m}")))
            {
                let value = match modifier.as_str() {
                    ":missing" => "true",
                    ":of-type" => "s|c|v",
                    ":identifier" => "s|v",
                    ":in" | ":not-in" => "http://hl7.org/fhir/ValueSet/administrative-gender",
                    ":above" | ":below" if row.param.kind == ParamType::Token => {
                        "http://hl7.org/fhir/administrative-gender|male"
                    }
                    _ => sample.as_str(),
                };
                let key = format!("{}{modifier}", row.param.code);
                let made = Builder::new(&context).condition(resource_type, &key, value);
                assert!(
                    made.is_ok(),
                    "{}?{key}={value}: {made:?}",
                    resource_type.name()
                );
                count += 1;
            }
            for prefix in row.prefixes {
                let value = format!("{prefix}{sample}");
                assert!(
                    Builder::new(&context)
                        .condition(resource_type, row.param.code, &value)
                        .is_ok()
                );
            }
        }
    }
    assert!(count > 6_000, "{count}");
}

fn sample(param: &conformance::SearchParam) -> String {
    match param.kind {
        ParamType::Date => "2013-01-14".into(),
        ParamType::Number | ParamType::Quantity => "5.4".into(),
        ParamType::Special => "1|2|3|km".into(),
        ParamType::Composite => {
            let part = |component: &conformance::Component| {
                Definitions::r4()
                    .search_param(param.base, component.code)
                    .map(sample)
                    .unwrap_or_default()
            };
            param
                .components
                .iter()
                .map(part)
                .collect::<Vec<_>>()
                .join("$")
        }
        ParamType::String | ParamType::Token | ParamType::Reference | ParamType::Uri => {
            "abc".into()
        }
    }
}
