//! Checks resources of an NDJSON file against R4's invariants and the profiles they claim: `validate_examples FILE`.
//!
//! HL7's official examples break no rule of severity error; whatever is printed here is a false error of ours, or theirs.

use fhir_core::issue::Severity;
use fhir_core::json::{Document, ValueRef};
use fhir_core::profile::check_claims;
use fhir_core::terminology::Catalogue;
use fhir_core::validate::invariants;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name an NDJSON file")?;
    let text = std::fs::read_to_string(path)?;
    let catalogue = Catalogue::default();
    let (mut resources, mut wrong) = (0, 0);
    for line in text.lines() {
        let document = Document::parse(line.as_bytes())?;
        let root = document.root();
        let mut issues = invariants::check(root, Some(&catalogue), None);
        let found = check_claims(&catalogue, root, &[], None);
        issues.extend(found.into_iter().map(|found| found.issue));
        resources += 1;
        let name = |n: &str| root.get(n).and_then(ValueRef::as_str).unwrap_or_default();
        for issue in issues.iter().filter(|i| i.severity >= Severity::Error) {
            wrong += 1;
            let place = issue.expression.as_deref().unwrap_or_default();
            println!(
                "{}/{} {place}: {}",
                name("resourceType"),
                name("id"),
                issue.diagnostics
            );
        }
    }
    println!("{resources} resources, {wrong} errors");
    if wrong == 0 {
        Ok(())
    } else {
        Err("errors in examples".into())
    }
}
