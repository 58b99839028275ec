//! Expands the value sets of required bindings into plain lists of codes.
//!
//! Spec: <https://hl7.org/fhir/R4/valueset.html#expansion>. Leaves out what the definitions cannot expand (external
//! code systems, property filters); those value sets are named in the table's header and get no list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::source::Source;
use super::types::{list, required_value_sets, text};
use super::{Table, cell};

const FILES: [&str; 3] = ["valuesets.json", "v3-codesystems.json", "v2-tables.json"];

/// One code of an expansion: system, code, display.
type Code = (String, String, String);

/// `codes.tsv`.
pub fn code_table(source: &Source) -> Table {
    let mut expander = Expander {
        value_sets: BTreeMap::new(),
        code_systems: BTreeMap::new(),
    };
    for file in FILES {
        for value_set in source.resources(file, "ValueSet") {
            expander
                .value_sets
                .entry(text(value_set, "url"))
                .or_insert(value_set);
        }
        for code_system in source.resources(file, "CodeSystem") {
            expander
                .code_systems
                .entry(text(code_system, "url"))
                .or_insert(code_system);
        }
    }
    let (mut header, mut rows) = (
        source.header(&FILES, "V value set; S system; C code, display"),
        String::new(),
    );
    for url in required_value_sets(source) {
        match expander.expand(&url) {
            Ok(codes) => rows += &code_rows(&url, &codes),
            Err(reason) => header += &format!("# Not expanded: {url} ({reason})\n"),
        }
    }
    Table {
        name: "codes.tsv",
        body: header + &rows,
    }
}

fn code_rows(url: &str, codes: &[Code]) -> String {
    let mut rows = format!("V\t{url}\n");
    let mut current = None;
    for (system, code, display) in codes {
        if current != Some(system) {
            rows += &format!("S\t{system}\n");
            current = Some(system);
        }
        rows += &format!("C\t{}\t{}\n", cell(code), cell(display));
    }
    rows
}

struct Expander<'a> {
    value_sets: BTreeMap<String, &'a Value>,
    code_systems: BTreeMap<String, &'a Value>,
}

impl Expander<'_> {
    fn expand(&self, url: &str) -> Result<Vec<Code>, String> {
        let value_set = self.value_sets.get(url).ok_or("no definition")?;
        let compose = &value_set["compose"];
        if !list(&compose["exclude"]).is_empty() {
            return Err("has an exclude".to_owned());
        }
        let (mut codes, mut seen) = (Vec::new(), BTreeSet::new());
        for include in list(&compose["include"]) {
            for code in self.include(include)? {
                if seen.insert((code.0.clone(), code.1.clone())) {
                    codes.push(code);
                }
            }
        }
        Ok(codes)
    }

    fn include(&self, include: &Value) -> Result<Vec<Code>, String> {
        if !list(&include["filter"]).is_empty() || !list(&include["valueSet"]).is_empty() {
            return Err("has a filter or imports a value set".to_owned());
        }
        let system = text(include, "system");
        let definition = self.code_systems.get(&system);
        let mut all = Vec::new();
        if let Some(definition) = definition {
            collect(&system, &definition["concept"], &mut all);
        }
        let concepts = list(&include["concept"]);
        if concepts.is_empty() {
            let is_complete =
                definition.is_some_and(|definition| definition["content"] == "complete");
            return if is_complete {
                Ok(all)
            } else {
                Err(format!("{system} is not in the definitions"))
            };
        }
        let displays: BTreeMap<&str, &str> = all
            .iter()
            .map(|(_, code, display)| (code.as_str(), display.as_str()))
            .collect();
        let named = concepts.iter().map(|concept| {
            let code = text(concept, "code");
            let own = concept["display"].as_str();
            let display = own
                .or_else(|| displays.get(code.as_str()).copied())
                .unwrap_or_default()
                .to_owned();
            (system.clone(), code, display)
        });
        Ok(named.collect())
    }
}

fn collect(system: &str, concepts: &Value, codes: &mut Vec<Code>) {
    for concept in list(concepts) {
        codes.push((
            system.to_owned(),
            text(concept, "code"),
            text(concept, "display"),
        ));
        collect(system, &concept["concept"], codes);
    }
}
