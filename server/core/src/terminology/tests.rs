//! R4's own terminology and small systems of our own.

use std::sync::Arc;

use super::*;
use crate::json::Document;

const COLOURS: &str = r#"{"resourceType":"CodeSystem","id":"colours","url":"http://x.example/colours","version":"1","content":"complete",
    "caseSensitive":false,"concept":[{"code":"warm","display":"Warm","concept":[{"code":"red","display":"Red","property":[{"code":"wave","valueInteger":700}],
    "concept":[{"code":"pink","display":"Pink"}]}]},{"code":"cold","concept":[{"code":"blue"}]}]}"#;

fn value_set(name: &str, compose: &str) -> String {
    format!(
        r#"{{"resourceType":"ValueSet","url":"http://x.example/vs/{name}","compose":{compose}}}"#
    )
}

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    let sets = [
        value_set(
            "all",
            r#"{"include":[{"system":"http://x.example/colours"}]}"#,
        ),
        value_set(
            "warm",
            r#"{"include":[{"system":"http://x.example/colours","filter":[{"property":"concept","op":"is-a","value":"warm"}]}]}"#,
        ),
        value_set(
            "below",
            r#"{"include":[{"system":"http://x.example/colours","filter":[{"property":"concept","op":"descendent-of","value":"warm"}]}]}"#,
        ),
        value_set(
            "wave",
            r#"{"include":[{"system":"http://x.example/colours","filter":[{"property":"wave","op":"=","value":"700"}]}]}"#,
        ),
        value_set(
            "not-pink",
            r#"{"include":[{"valueSet":["http://x.example/vs/all"]}],"exclude":[{"system":"http://x.example/colours","concept":[{"code":"pink"}]}]}"#,
        ),
        value_set(
            "both",
            r#"{"include":[{"valueSet":["http://x.example/vs/warm","http://x.example/vs/not-pink"]}]}"#,
        ),
        value_set(
            "circle",
            r#"{"include":[{"valueSet":["http://x.example/vs/circle"]}]}"#,
        ),
        value_set("loinc", r#"{"include":[{"system":"http://loinc.org"}]}"#),
        value_set(
            "units",
            r#"{"include":[{"system":"http://unitsofmeasure.org"}]}"#,
        ),
        value_set(
            "strange",
            r#"{"include":[{"system":"http://x.example/colours","filter":[{"property":"x","op":"generalizes","value":"y"}]}]}"#,
        ),
    ];
    for text in sets.iter().map(String::as_str).chain([COLOURS]) {
        let document = Document::parse(text.as_bytes()).unwrap();
        assert!(catalogue.load(Arc::new(document)));
    }
    catalogue
}

fn codes(catalogue: &Catalogue, name: &str) -> String {
    match catalogue.expansion(&format!("http://x.example/vs/{name}")) {
        Ok(found) => found
            .codes
            .iter()
            .map(|c| c.code.as_str())
            .collect::<Vec<_>>()
            .join(","),
        Err(error) => error.to_string(),
    }
}

/// Verifies: SRS-184, RC-182
#[test]
fn value_sets_expand_by_composition() {
    let catalogue = catalogue();
    for (name, expected) in [
        ("all", "warm,red,pink,cold,blue"),
        ("warm", "warm,red,pink"),
        ("below", "red,pink"),
        ("wave", "red"),
        ("not-pink", "warm,red,cold,blue"),
        ("both", "warm,red"),
        (
            "circle",
            "value sets name each other in a circle, or more than 20 deep",
        ),
        (
            "loinc",
            "the code system http://loinc.org is not loaded, or not completely",
        ),
        (
            "none",
            "the value set http://x.example/vs/none is not loaded",
        ),
        (
            "strange",
            "the filter `x generalizes` on http://x.example/colours is not supported",
        ),
    ] {
        assert_eq!(codes(&catalogue, name), expected, "{name}");
    }
}

/// Verifies: SRS-184, RC-182
#[test]
fn membership_is_said_only_when_known() {
    let catalogue = catalogue();
    let colours = Some("http://x.example/colours");
    for (name, system, code, expected) in [
        ("warm", colours, "pink", Some(true)),
        ("warm", colours, "PINK", Some(true)),
        ("warm", colours, "blue", Some(false)),
        ("warm", None, "pink", Some(true)),
        ("warm", Some("http://other.example"), "pink", Some(false)),
        ("not-pink", colours, "pink", Some(false)),
        ("not-pink", colours, "red", Some(true)),
        ("loinc", Some("http://loinc.org"), "8867-4", None),
        ("loinc", colours, "red", Some(false)),
        (
            "units",
            Some("http://unitsofmeasure.org"),
            "mm[Hg]",
            Some(true),
        ),
        (
            "units",
            Some("http://unitsofmeasure.org"),
            "mmHgs",
            Some(false),
        ),
        ("strange", colours, "red", None),
        ("circle", colours, "red", None),
        ("none", colours, "red", None),
    ] {
        let found = catalogue.is_member(&format!("http://x.example/vs/{name}"), system, code);
        assert_eq!(found, expected, "{name} {code}");
    }
}

#[test]
fn hierarchies_are_walked_up_and_down() {
    let catalogue = catalogue();
    let colours = "http://x.example/colours";
    assert_eq!(
        catalogue.subsumed_by(colours, "warm").unwrap(),
        ["warm", "red", "pink"]
    );
    assert_eq!(
        catalogue.ancestors(colours, "pink").unwrap(),
        ["pink", "red", "warm"]
    );
    assert_eq!(
        catalogue.ancestors(colours, "x"),
        Err(TerminologyError::UnknownCode)
    );
    let system = catalogue.code_system(colours).unwrap();
    assert_eq!(system.subsumes("warm", "pink"), Some(true));
    assert_eq!(system.subsumes("pink", "warm"), Some(false));
    assert_eq!(system.subsumes("pink", "x"), None);
    assert_eq!(
        system.concept("red").unwrap().properties[0],
        ("wave".into(), "700".into())
    );
}

/// R4's own definitions answer without anything loaded.
#[test]
fn own_terminology_is_built_in() {
    let catalogue = Catalogue::default();
    let gender = "http://hl7.org/fhir/ValueSet/administrative-gender";
    let codes = catalogue.expand(gender).unwrap();
    assert_eq!(
        codes.iter().map(|c| c.code.as_str()).collect::<Vec<_>>(),
        ["male", "female", "other", "unknown"]
    );
    assert_eq!(
        catalogue.is_member(&format!("{gender}|4.0.1"), None, "male"),
        Some(true)
    );
    let act = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    assert_eq!(
        catalogue
            .code_system(act)
            .unwrap()
            .subsumes("_ActEncounterCode", "AMB"),
        Some(true)
    );
    assert!(catalogue.urls(Kind::ConceptMap).len() >= 19);
}

#[test]
fn maps_translate_both_ways() {
    let map = r#"{"resourceType":"ConceptMap","url":"http://x.example/map","group":[{"source":"http://x.example/a","target":"http://x.example/b",
        "element":[{"code":"1","target":[{"code":"one","equivalence":"equivalent"},{"code":"uno","equivalence":"wider"}]},{"code":"2","target":[{"equivalence":"unmatched"}]}],
        "unmapped":{"mode":"fixed","code":"other"}}]}"#;
    let map = Document::parse(map.as_bytes()).unwrap();
    let run = |system: &str, code: &str, is_reverse| -> String {
        let found = translate(map.root(), system, code, None, is_reverse);
        let shown = found.iter().map(|m| {
            format!(
                "{}:{}",
                m.equivalence,
                m.concept.as_ref().map_or("-", |c| c.code.as_str())
            )
        });
        shown.collect::<Vec<_>>().join(",")
    };
    assert_eq!(
        run("http://x.example/a", "1", false),
        "equivalent:one,wider:uno"
    );
    assert_eq!(run("http://x.example/a", "2", false), "unmatched:-");
    assert_eq!(run("http://x.example/a", "3", false), "inexact:other");
    assert_eq!(run("http://x.example/c", "1", false), "");
    assert_eq!(run("http://x.example/b", "one", true), "equivalent:1");
}
