//! `cargo xtask cases`: the conformance cases as a table by page of the specification.
//!
//! Spec: <https://hl7.org/fhir/R4/>. Leaves out running them; that is the test `conformance` of system-tests.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::workspace;

/// Where the table goes.
const PATH: &str = "docs/generated/conformance.md";

/// Writes the table, or with `is_check` compares it with what is there.
///
/// # Errors
/// A case file that cannot be read, or a table that differs.
pub fn run(is_check: bool) -> Result<(), String> {
    let mut pages: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for file in workspace::files(&["toml"]) {
        if !file.path.starts_with("conformance/cases/") {
            continue;
        }
        let table: Table = file
            .text
            .parse()
            .map_err(|e| format!("{}: {e}", file.path))?;
        let url = text(&table, "url");
        for case in table
            .get("case")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let Some(case) = case.as_table() else {
                continue;
            };
            let place = place(&url, &text(case, "clause"));
            let page = place.split('#').next().unwrap_or_default().to_owned();
            pages.entry(page).or_default().push(Row {
                name: text(case, "name"),
                place,
            });
        }
    }
    let text = render(&pages);
    workspace::write_or_check(PATH, &text, is_check, "cargo xtask cases")
}

struct Row {
    name: String,
    place: String,
}

fn text(table: &Table, key: &str) -> String {
    table
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The clause's URL: a place on the page, or another page.
fn place(url: &str, clause: &str) -> String {
    if clause.starts_with('#') {
        return format!("{url}{clause}");
    }
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    format!("{base}/{}", clause.trim_start_matches("../"))
}

fn render(pages: &BTreeMap<String, Vec<Row>>) -> String {
    let total: usize = pages.values().map(Vec::len).sum();
    let mut out = format!(
        "# Conformance cases\n\nMade by `cargo xtask cases`. {total} cases on {} pages of the specification; all of them run on \
         SQLite and on PostgreSQL.\n\n| page | cases |\n|---|---|\n",
        pages.len()
    );
    for (page, rows) in pages {
        out += &format!("| <{page}> | {} |\n", rows.len());
    }
    for (page, rows) in pages {
        let name = page.rsplit('/').next().unwrap_or(page);
        out += &format!("\n## {name}\n\n");
        for row in rows {
            out += &format!("* [{}]({})\n", row.name.replace('|', "\\|"), row.place);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn clauses_lead_to_their_page() {
        let url = "https://hl7.org/fhir/R4/http.html";
        assert_eq!(
            place(url, "#read"),
            "https://hl7.org/fhir/R4/http.html#read"
        );
        assert_eq!(
            place(url, "../search.html#x"),
            "https://hl7.org/fhir/R4/search.html#x"
        );
    }
}
