//! The cases of `conformance/cases`, each quoting the clause it comes from, run against the real program.
//!
//! Spec: <https://hl7.org/fhir/R4/>. The form of a case is described in `conformance/cases/README.md`. Left out: cases
//! that need several clients at once; those are tests of their own.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use fhir_core::fhirpath::eval::{Element, Environment, Item, evaluate_in, verdict};
use fhir_core::fhirpath::parse;
use fhir_core::json::Document;
use system_tests::http_client::{Client, Response};
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;
use toml::{Table, Value};

/// Verifies: SRS-188
#[test]
fn cases_hold_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(&folder.path().join("cases.db")).unwrap();
    run_all(&server);
}

/// Verifies: SRS-188
#[test]
fn cases_hold_on_postgres() {
    let Some(postgres) = Postgres::start().unwrap() else {
        return;
    };
    let server = TestServer::start_on(&postgres.url, &[]).unwrap();
    run_all(&server);
}

fn run_all(server: &TestServer) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, file) in files() {
        let mut runner = Runner {
            client: Client::connect(server.doors.http).unwrap(),
            address: server.doors.http,
            saved: HashMap::new(),
        };
        for step in tables(&file, "setup") {
            if let Err(fault) = runner.step(step) {
                wrong.push(format!("{name}: setup {}: {fault}", text(step, "request")));
            }
        }
        for case in tables(&file, "case") {
            count += 1;
            runner.saved.clear();
            runner.saved.insert("n".to_owned(), count.to_string());
            if let Err(fault) = runner.case(case) {
                wrong.push(format!("{name}: {}: {fault}", text(case, "name")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn files() -> Vec<(String, Table)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../conformance/cases");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let table = std::fs::read_to_string(path).unwrap().parse::<Table>();
        (
            name.clone(),
            table.unwrap_or_else(|e| panic!("{name}: {e}")),
        )
    };
    paths.iter().map(read).collect()
}

fn tables<'t>(table: &'t Table, name: &str) -> impl Iterator<Item = &'t Table> {
    let list = table.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table)
}

fn text<'t>(table: &'t Table, name: &str) -> &'t str {
    table.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn texts(table: &Table, name: &str) -> Vec<String> {
    let list = table.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

struct Runner {
    client: Client,
    address: std::net::SocketAddr,
    saved: HashMap<String, String>,
}

type Checked = Result<(), String>;

impl Runner {
    fn case(&mut self, case: &Table) -> Checked {
        if case.contains_key("request") {
            self.step(case)?;
        }
        for step in tables(case, "step") {
            self.step(step)
                .map_err(|fault| format!("{}: {fault}", text(step, "request")))?;
        }
        Ok(())
    }

    fn filled(&self, template: &str) -> String {
        let fill = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("${{{name}}}"), value)
        };
        self.saved.iter().fold(template.to_owned(), fill)
    }

    fn step(&mut self, step: &Table) -> Checked {
        let request = self.filled(text(step, "request"));
        let (method, path) = request.split_once(' ').ok_or("`request` is METHOD PATH")?;
        let body = self.filled(text(step, "body"));
        let mut headers = vec![];
        for (name, value) in step
            .get("headers")
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            headers.push((
                name.clone(),
                self.filled(value.as_str().unwrap_or_default()),
            ));
        }
        let has_type = headers.iter().any(|(name, _)| name == "content-type");
        if !body.is_empty() && !has_type {
            headers.push((
                "content-type".to_owned(),
                "application/fhir+json".to_owned(),
            ));
        }
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let path = format!("/fhir{path}");
        let response = match self
            .client
            .request(method, &path, &headers, body.as_bytes())
        {
            Ok(response) => response,
            Err(_) => {
                self.client = Client::connect(self.address).map_err(|e| e.to_string())?;
                self.client
                    .request(method, &path, &headers, body.as_bytes())
                    .map_err(|e| e.to_string())?
            }
        };
        self.check(step, &response)
    }

    fn check(&mut self, step: &Table, response: &Response) -> Checked {
        let wanted: Vec<i64> = match step.get("status") {
            Some(Value::Integer(status)) => vec![*status],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_integer).collect(),
            _ => Vec::new(),
        };
        if !wanted.is_empty() && !wanted.contains(&i64::from(response.status)) {
            return Err(format!(
                "status {} instead of {wanted:?}: {}",
                response.status,
                shown(response)
            ));
        }
        for (name, pattern) in step
            .get("header")
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            let found = response.header(name).unwrap_or_default();
            let pattern = self.filled(pattern.as_str().unwrap_or_default());
            if !is_like(found, &pattern) {
                return Err(format!("header {name} is `{found}`, not like `{pattern}`"));
            }
        }
        let (expects, finds) = (texts(step, "expect"), step.get("finds"));
        let saves = step.get("save").and_then(Value::as_table);
        for (name, from) in saves.into_iter().flatten() {
            let from = from.as_str().unwrap_or_default();
            if let Some(header) = from.strip_prefix("header:") {
                let value = response.header(header).unwrap_or_default().to_owned();
                self.saved.insert(name.clone(), value);
            }
        }
        let needs_body = !expects.is_empty() || finds.is_some() || saves.is_some();
        if !needs_body {
            return Ok(());
        }
        let Some(document) = document(response) else {
            return if expects.is_empty() && finds.is_none() {
                Ok(())
            } else {
                Err(format!("no FHIR body: {}", shown(response)))
            };
        };
        for expect in expects {
            let expect = self.filled(&expect);
            holds(&document, &expect).map_err(|e| format!("{e}: {}", shown(response)))?;
        }
        if finds.is_some() {
            let wanted: BTreeSet<String> = texts(step, "finds")
                .iter()
                .map(|t| self.filled(t))
                .collect();
            let path = "Bundle.entry.where(search.mode = 'match').resource.id";
            let found = values(&document, path)?;
            let found_set: BTreeSet<String> = found.iter().cloned().collect();
            if found_set != wanted || found.len() != wanted.len() {
                return Err(format!("finds {found:?} instead of {wanted:?}"));
            }
        }
        for (name, from) in saves.into_iter().flatten() {
            let from = from.as_str().unwrap_or_default();
            if !from.starts_with("header:") {
                let value = values(&document, from)?.into_iter().next();
                let value = value.ok_or_else(|| format!("nothing to save at {from}"))?;
                self.saved.insert(name.clone(), value);
            }
        }
        Ok(())
    }
}

fn shown(response: &Response) -> String {
    response.text().chars().take(400).collect()
}

fn document(response: &Response) -> Option<Document> {
    let text = response.text();
    if text.trim_start().starts_with('<') {
        let json = fhir_core::xml::read(&text).ok()?.to_bytes();
        return Document::parse(&json).ok();
    }
    Document::parse(&response.body).ok()
}

fn holds(document: &Document, text: &str) -> Checked {
    let expression = parse(text).map_err(|e| format!("{text}: {e}"))?;
    let root = Element::resource(document.root());
    match verdict(&expression, root, root, Environment::default()) {
        Ok(Some(true)) => Ok(()),
        Ok(other) => Err(format!("`{text}` is {other:?}")),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

fn values(document: &Document, path: &str) -> Result<Vec<String>, String> {
    let expression = parse(path).map_err(|e| format!("{path}: {e}"))?;
    let root = Element::resource(document.root());
    let found = evaluate_in(&expression, root, root, Environment::default());
    let found = found.map_err(|e| format!("{path}: {e}"))?;
    Ok(found
        .iter()
        .filter_map(Item::to_text)
        .map(|t| t.into_owned())
        .collect())
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return text == pattern;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
