//! Damaged queries, Bundles and resources: an answer or an error, never a panic.

use conformance::Definitions;

use super::{context, search};
use crate::bundle::{PlanContext, plan};
use crate::ids::ResourceId;
use crate::json::Document;
use crate::search::query::{Handling, parse_condition};
use crate::summary::{Subset, write};
use crate::validate::structure;

/// A small generator with a fixed seed (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Cuts, doubles, swaps and replaces characters.
fn damage(text: &str, scraps: &[&str], dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(chars.len() + 1);
        match dice.roll(3) {
            0 => {
                let end = (at + dice.roll(6)).min(chars.len());
                chars.drain(at..end);
            }
            1 => {
                let scrap = scraps[dice.roll(scraps.len())];
                chars.splice(at..at, scrap.chars());
            }
            _ => {
                let length = dice.roll(12).min(chars.len() - at);
                let copy: Vec<char> = chars[at..at + length].to_vec();
                let to = dice.roll(chars.len() + 1);
                chars.splice(to..to, copy);
            }
        }
    }
    chars.into_iter().collect()
}

/// Verifies: SRS-005, RC-016
#[test]
fn damaged_queries_never_panic() {
    let queries = [
        "name:exact=a\\,b&birthdate=ge2013-01-14T10:00&_sort=-birthdate&_count=5",
        "_has:Observation:patient:_has:AuditEvent:entity:agent=1&organization.partof.name=a,b",
        "identifier:of-type=s%7Cc%7Cv&general-practitioner:Practitioner.name=x&_include:iterate=Patient:link:Patient",
    ];
    let scraps = [
        ":", ".", "|", "%7C", "$", ",", "\\", "&", "=", "%", "é", "_has:", "ge", "*", "-",
        "1e9999", "missing",
    ];
    let mut dice = Dice(0x5EED);
    for round in 0..6_000 {
        let url = format!(
            "Patient?{}",
            damage(queries[round % queries.len()], &scraps, &mut dice)
        );
        let query = url.split_once('?').unwrap().1;
        let Ok(params) = crate::search::query_string::decode(query) else {
            continue;
        };
        let _ = parse_condition(super::named("Patient"), &params, &context());
        for handling in [Handling::Strict, Handling::Lenient] {
            if let Err(problem) = search(&url, handling) {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}

/// Verifies: SRS-008, RC-008
#[test]
fn damaged_resources_and_bundles_never_panic() {
    let bundle = r##"{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"id":"x"}]}],"text":{"status":"generated","div":"<div><a href=\"urn:uuid:1\"/></div>"},"contained":[{"resourceType":"Group","id":"g"}],"link":[{"other":{"reference":"#g"},"type":"refer"}]},"request":{"method":"POST","url":"Patient","ifNoneExist":"name=a"}},{"resource":{"resourceType":"Observation","id":"1","status":"final","code":{"text":"x"},"subject":{"reference":"urn:uuid:1"},"valueQuantity":{"value":2.50}},"request":{"method":"PUT","url":"Observation/1","ifMatch":"W/\"1\""}}]}"##;
    let scraps = [
        "null",
        "[]",
        "{}",
        "\"\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\\\"",
        "_",
        "1",
        "true",
        "\"resourceType\":\"Bundle\",",
        "#",
        "urn:uuid:1",
        "é",
    ];
    let context = PlanContext {
        base_urls: &["http://own/fhir"],
        entries_max: 10,
    };
    let mut dice = Dice(0xB00F);
    let mut read = 0;
    for _ in 0..20_000 {
        let Ok(document) = Document::parse(damage(bundle, &scraps, &mut dice).as_bytes()) else {
            continue;
        };
        read += 1;
        let root = document.root();
        structure::check(Definitions::r4().resource_type("Bundle").unwrap(), root);
        write(root, &Subset::Summary, &mut Vec::new());
        let mut count = 0;
        let mut ids = || {
            count += 1;
            ResourceId::parse(&format!("n{count}")).unwrap()
        };
        let Ok(plan) = plan(root, &context, &mut ids) else {
            continue;
        };
        let _ = plan.conditional_references();
        for index in 0..plan.entries.len() {
            if let Some(content) = plan.content(index) {
                Document::parse(&content).expect("rewriting keeps JSON");
            }
        }
    }
    assert!(read > 500, "{read}");
}
