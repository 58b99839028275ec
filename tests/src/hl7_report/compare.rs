//! Compares what a message made with a Bundle that another converter made of it, by property.
//!
//! Ids, Provenance, extensions and order differ by right; what a clinician reads should not.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use fhir_core::json::Value;

/// Types whose number is compared.
const COUNTED: [&str; 8] = [
    "Patient",
    "Encounter",
    "Observation",
    "DiagnosticReport",
    "AllergyIntolerance",
    "Condition",
    "Procedure",
    "Immunization",
];

/// What the file `NAME.expected.json` beside a message has and we have not (`-`), and the other way (`+`); nothing
/// when there is no such file.
///
/// # Errors
/// When the file cannot be read.
pub fn differences(made: &[Value], message: &Path) -> io::Result<Vec<String>> {
    let path = message.with_extension("expected.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bundle =
        Value::parse(&std::fs::read(path)?).map_err(|e| io::Error::other(e.to_string()))?;
    let entries = bundle.get("entry").and_then(Value::as_array);
    let entries = entries.unwrap_or_default().iter();
    let expected: Vec<Value> = entries.filter_map(|e| e.get("resource").cloned()).collect();
    let (expected, made) = (properties(&expected), properties(made));
    let mut found = Vec::new();
    for (property, count) in &expected {
        let ours = made.get(property).copied().unwrap_or(0);
        if ours < *count {
            found.push(format!("-{property}"));
        }
    }
    for (property, count) in &made {
        let theirs = expected.get(property).copied().unwrap_or(0);
        if theirs < *count {
            found.push(format!("+{property}"));
        }
    }
    Ok(found)
}

/// Every property that is compared, with how often it stands there.
fn properties(resources: &[Value]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            *found.entry(format!("{name} = {value}")).or_default() += 1;
        }
    };
    for resource in resources {
        let kind = of(resource, "resourceType").unwrap_or_default();
        if COUNTED.contains(&kind.as_str()) {
            add("number", Some(kind.clone()));
        }
        match kind.as_str() {
            "Patient" => {
                for identifier in list(resource, "identifier") {
                    add("Patient.identifier", of(identifier, "value"));
                }
                for name in list(resource, "name") {
                    add("Patient.name.family", of(name, "family"));
                    for given in list(name, "given") {
                        add("Patient.name.given", given.as_str().map(str::to_owned));
                    }
                }
                add("Patient.birthDate", of(resource, "birthDate"));
                add("Patient.gender", of(resource, "gender"));
            }
            "Observation" => {
                let code = resource.get("code").and_then(code).unwrap_or_default();
                let told = |text: Option<String>| text.map(|text| format!("{code}: {text}"));
                add("Observation.code", Some(code.clone()));
                add("Observation.status", told(of(resource, "status")));
                add(
                    "Observation.effective",
                    told(of(resource, "effectiveDateTime")),
                );
                add("Observation.value", told(value_of(resource)));
                for item in list(resource, "interpretation") {
                    add("Observation.interpretation", told(self::code(item)));
                }
                for range in list(resource, "referenceRange") {
                    add("Observation.referenceRange", told(of(range, "text")));
                }
            }
            "DiagnosticReport" => {
                add("DiagnosticReport.status", of(resource, "status"));
                add("DiagnosticReport.code", resource.get("code").and_then(code));
                let results = list(resource, "result").len();
                add("DiagnosticReport.result", Some(results.to_string()));
            }
            "Encounter" => {
                add("Encounter.status", of(resource, "status"));
                add(
                    "Encounter.class",
                    resource.get("class").and_then(|c| of(c, "code")),
                );
            }
            "Condition" | "AllergyIntolerance" | "Procedure" => {
                add(&format!("{kind}.code"), resource.get("code").and_then(code));
            }
            "Immunization" => {
                add(
                    "Immunization.vaccineCode",
                    resource.get("vaccineCode").and_then(code),
                );
                add("Immunization.status", of(resource, "status"));
                add(
                    "Immunization.occurrence",
                    of(resource, "occurrenceDateTime"),
                );
            }
            _ => {}
        }
    }
    found
}

/// A text or a number as text.
fn of(value: &Value, name: &str) -> Option<String> {
    let member = value.get(name)?;
    let text = member.as_str().or_else(|| member.number_text());
    text.map(|text| text.trim().to_owned())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .unwrap_or_default()
}

/// The first code of a concept, else its text.
fn code(concept: &Value) -> Option<String> {
    let codings = list(concept, "coding").iter();
    let first = codings.filter_map(|coding| of(coding, "code")).next();
    first.or_else(|| of(concept, "text"))
}

/// `value[x]` in few words.
fn value_of(observation: &Value) -> Option<String> {
    if let Some(quantity) = observation.get("valueQuantity") {
        let unit = of(quantity, "unit").or_else(|| of(quantity, "code"));
        let parts = [of(quantity, "comparator"), of(quantity, "value"), unit];
        return Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    if let Some(concept) = observation.get("valueCodeableConcept") {
        return code(concept);
    }
    let simple = ["valueString", "valueDateTime", "valueTime", "valueInteger"];
    simple.iter().find_map(|name| of(observation, name))
}
