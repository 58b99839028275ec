//! The official FHIRPath tests for R4, every one of them run.
//!
//! Spec: <https://github.com/FHIR/fhir-test-cases>. What we answer otherwise is named in
//! `conformance/fhirpath/differences.tsv` with the reason; any other difference fails, and so does a difference that is gone.

use std::collections::{BTreeMap, HashMap};

use super::eval::{Element, Environment, Item, evaluate_in};
use super::parse;
use crate::fhirpath::compile::{CompileError, compile};
use crate::ids::Instant;
use crate::json::{Document, ValueRef};

const TESTS: &str = include_str!("../../../../conformance/fhirpath/r4-tests.json");
const DIFFERENCES: &str = include_str!("../../../../conformance/fhirpath/differences.tsv");
const PUBLISHED: &str = include_str!("../../../../docs/fhirpath.md");

const NOW: Instant = Instant(1_795_000_000_000_000);

const INPUTS: [(&str, &str); 11] = [
    (
        "appointment-examplereq.json",
        include_str!("../../../../conformance/fhirpath/inputs/appointment-examplereq.json"),
    ),
    (
        "codesystem-example.xml",
        include_str!("../../../../conformance/fhirpath/inputs/codesystem-example.xml"),
    ),
    (
        "explanationofbenefit-example.json",
        include_str!("../../../../conformance/fhirpath/inputs/explanationofbenefit-example.json"),
    ),
    (
        "observation-example.xml",
        include_str!("../../../../conformance/fhirpath/inputs/observation-example.xml"),
    ),
    (
        "parameters-example-types.xml",
        include_str!("../../../../conformance/fhirpath/inputs/parameters-example-types.xml"),
    ),
    (
        "patient-container-example.json",
        include_str!("../../../../conformance/fhirpath/inputs/patient-container-example.json"),
    ),
    (
        "patient-example.xml",
        include_str!("../../../../conformance/fhirpath/inputs/patient-example.xml"),
    ),
    (
        "patient-example-period.xml",
        include_str!("../../../../conformance/fhirpath/inputs/patient-example-period.xml"),
    ),
    (
        "patient-name-extensions.json",
        include_str!("../../../../conformance/fhirpath/inputs/patient-name-extensions.json"),
    ),
    (
        "questionnaire-example.xml",
        include_str!("../../../../conformance/fhirpath/inputs/questionnaire-example.xml"),
    ),
    (
        "valueset-example-expansion.xml",
        include_str!("../../../../conformance/fhirpath/inputs/valueset-example-expansion.xml"),
    ),
];

fn inputs() -> HashMap<&'static str, Document> {
    let read = |name: &str, text: &str| {
        if name.ends_with(".xml") {
            let json = crate::xml::read(text).expect(name).to_bytes();
            return Document::parse(&json).expect(name);
        }
        Document::parse(text.as_bytes()).expect(name)
    };
    INPUTS
        .iter()
        .map(|(name, text)| (*name, read(name, text)))
        .collect()
}

/// What a test gives: texts of the items, or why there is none.
fn run(expression: &str, input: &Document, is_static: bool) -> Result<Vec<String>, String> {
    let tree = parse(expression).map_err(|e| format!("parse: {e}"))?;
    let root = Element::resource(input.root());
    if is_static {
        let resource_type = conformance::Definitions::r4().resource_type(root.type_path);
        let resource_type = resource_type.ok_or("no resource")?;
        if let Err(error @ CompileError::UnknownElement { .. }) =
            compile(expression, root.type_path, resource_type)
        {
            return Err(format!("static: {error}"));
        }
    }
    let environment = Environment {
        now: Some(NOW),
        ..Environment::default()
    };
    let found = evaluate_in(&tree, root, root, environment).map_err(|e| format!("run: {e}"))?;
    Ok(found.iter().map(shown).collect())
}

fn shown(item: &Item<'_>) -> String {
    match item.to_system() {
        Item::Date(_) | Item::DateTime(_) => format!("@{}", item.to_text().unwrap_or_default()),
        Item::Time(text) => format!("@T{text}"),
        _ => item.to_text().unwrap_or_default().into_owned(),
    }
}

fn text(test: ValueRef<'_>, name: &str) -> Option<String> {
    test.get(name)
        .and_then(ValueRef::as_str)
        .map(|t| t.into_owned())
}

/// `None` when a test gives what it should.
fn difference(test: ValueRef<'_>, inputs: &HashMap<&str, Document>) -> Option<String> {
    let expression = text(test, "expression").unwrap_or_default();
    let file = text(test, "inputfile").unwrap_or_else(|| "patient-example.xml".to_owned());
    let Some(input) = inputs.get(file.as_str()) else {
        return Some(format!("no input {file}"));
    };
    let invalid = text(test, "invalid");
    let is_static =
        text(test, "mode").as_deref() == Some("strict") || invalid.as_deref() == Some("semantic");
    let found = run(&expression, input, is_static);
    let expected: Vec<String> = test
        .get("outputs")
        .into_iter()
        .flat_map(ValueRef::items)
        .map(|output| text(output, "value").unwrap_or_default())
        .collect();
    let shown = format!("{found:?}");
    let is_right = match (invalid, found) {
        (Some(_), found) => found.is_err(),
        (None, Err(_)) => false,
        (None, Ok(mut found)) => {
            if test.get("predicate").is_some_and(|p| text_is_true(p)) {
                found = vec![(!found.is_empty()).to_string()];
            }
            found == expected
        }
    };
    (!is_right).then(|| format!("{expression}: {shown}, expected {expected:?}"))
}

fn text_is_true(value: ValueRef<'_>) -> bool {
    value.as_str().is_some_and(|t| t == "true")
}

/// Verifies: SRS-180, RC-180
#[test]
fn official_tests_pass_but_for_the_named_differences() {
    let inputs = inputs();
    let tests = Document::parse(TESTS.as_bytes()).unwrap();
    let named: BTreeMap<&str, &str> = DIFFERENCES
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('\t'))
        .collect();
    let (mut total, mut passed, mut wrong) = (0, 0, Vec::new());
    for test in tests.root().items() {
        total += 1;
        let name = text(test, "name").unwrap();
        match (difference(test, &inputs), named.contains_key(name.as_str())) {
            (None, false) => passed += 1,
            (Some(_), true) => {}
            (None, true) => wrong.push(format!("{name} passes, though named as a difference")),
            (Some(difference), false) => wrong.push(format!("{name}: {difference}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {total}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(passed + named.len(), total);
    let published = format!("**{passed} of {total}**");
    assert!(
        PUBLISHED.contains(&published),
        "docs/fhirpath.md should say {published}"
    );
}
