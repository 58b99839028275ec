//! Every official example: stored, read back in both forms, validated, found by each value of each search parameter.
//!
//! Spec: <https://hl7.org/fhir/R4/downloads.html> (examples). Left out: examples longer than 100,000 bytes; the variable
//! `STOKER_EXAMPLES` names an NDJSON file that is run instead, for instance with them.

mod ask;

use std::collections::BTreeMap;
use std::io::Read;

use conformance::{Definitions, ParamType};
use fhir_core::index::{Context, Extractor};
use fhir_core::json::{Document, ValueRef};
use fhir_core::xml;
use sha2::{Digest, Sha256};
use system_tests::http_client::Client;
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;

const PACKED: &[u8] = include_bytes!("../../../conformance/official/r4-examples.ndjson.gz");
const SHA_256: &str = "c5b9b0232ea8cb36aac3b708a6c1ee51f049dafd6cceb1832e49b1a60e7ecee2";
/// An NDJSON file to run instead.
const VARIABLE: &str = "STOKER_EXAMPLES";
/// Examples that R4 itself does not allow; they must be refused. `qs1`: items without `linkId`, which has cardinality 1..1.
const WRONG: [&str; 1] = ["Questionnaire/qs1"];

/// Verifies: SRS-301, SRS-302, SRS-303, RC-301
#[test]
fn examples_hold_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(&folder.path().join("examples.db")).unwrap();
    run(&server);
}

/// Verifies: SRS-303, RC-301
#[test]
fn examples_hold_on_postgres() {
    let Some(postgres) = Postgres::start().unwrap() else {
        return;
    };
    let server = TestServer::start_on(&postgres.url, &[]).unwrap();
    run(&server);
}

/// What was done, for the report and against a run that does nothing.
#[derive(Default, Debug)]
struct Counts {
    resources: usize,
    refused: usize,
    parameters: usize,
    values: usize,
    queries: usize,
    kinds: BTreeMap<&'static str, usize>,
}

fn run(server: &TestServer) {
    let mut client = Client::connect(server.doors.http).unwrap();
    let (mut counts, mut faults) = (Counts::default(), Vec::new());
    let text = examples();
    let documents: Vec<Document> = text
        .lines()
        .map(|line| Document::parse(at_rest(line).as_bytes()).unwrap())
        .collect();
    for document in &documents {
        store(&mut client, document, &mut faults, &mut counts);
    }
    let right = |document: &&Document| {
        let (kind, id) = name(document);
        !WRONG.contains(&format!("{kind}/{id}").as_str())
    };
    for document in documents.iter().filter(right) {
        find(&mut client, document, &mut faults, &mut counts);
    }
    println!("{counts:?}");
    let shown: Vec<&String> = faults.iter().take(60).collect();
    assert!(faults.is_empty(), "{} faults\n{shown:#?}", faults.len());
    assert!(
        counts.resources >= 700 && counts.queries > 5_000,
        "{counts:?}"
    );
}

/// A requested Subscription is acted on by the server, which then says so in it; turned off it stays as it is.
fn at_rest(line: &str) -> String {
    if line.contains(r#""resourceType":"Subscription""#) {
        line.replace(r#""status":"requested""#, r#""status":"off""#)
    } else {
        line.to_owned()
    }
}

fn examples() -> String {
    if let Some(path) = std::env::var_os(VARIABLE) {
        return std::fs::read_to_string(path).unwrap();
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(PACKED)
        .read_to_string(&mut text)
        .unwrap();
    let sum: String = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(sum, SHA_256, "the examples are not as published");
    text
}

fn name(document: &Document) -> (String, String) {
    let text = |name: &str| {
        let value = document.root().get(name).and_then(ValueRef::as_str);
        value.unwrap_or_default().into_owned()
    };
    (text("resourceType"), text("id"))
}

/// Stores it, reads it back in both forms, writes the XML back, validates.
fn store(client: &mut Client, document: &Document, faults: &mut Vec<String>, counts: &mut Counts) {
    const JSON: (&str, &str) = ("content-type", "application/fhir+json");
    const XML: (&str, &str) = ("content-type", "application/fhir+xml");
    let (kind, id) = name(document);
    let path = format!("/fhir/{kind}/{id}");
    counts.resources += 1;
    let body = document.text().as_bytes();
    let mut fault = |what: String| faults.push(format!("{kind}/{id}: {what}"));

    let stored = client.request("PUT", &path, &[JSON], body).unwrap();
    if !matches!(stored.status, 200 | 201) {
        counts.refused += 1;
        if stored.status == 422 && WRONG.contains(&format!("{kind}/{id}").as_str()) {
            return;
        }
        return fault(format!("refused with {}: {}", stored.status, stored.text()));
    }
    let read = client.get(&path).unwrap();
    match Document::parse(&read.body) {
        Ok(read) if same(document.root(), read.root()) => {}
        _ => fault("JSON came back otherwise".to_owned()),
    }
    let accept = ("accept", "application/fhir+xml");
    let read = client.request("GET", &path, &[accept], b"").unwrap();
    let back = xml::read(&read.text()).map(|value| Document::parse(&value.to_bytes()).unwrap());
    match back {
        Ok(back) if same(document.root(), back.root()) => {}
        _ => fault("XML came back otherwise".to_owned()),
    }
    let again = client.request("PUT", &path, &[XML], &read.body).unwrap();
    let version = again.header("etag").unwrap_or_default();
    if again.status != 200 || version != stored.header("etag").unwrap_or_default() {
        fault(format!(
            "its XML is another resource: {} {version}",
            again.status
        ));
    }
    let judged = client
        .request("POST", &format!("/fhir/{kind}/$validate"), &[JSON], body)
        .unwrap();
    let outcome = Document::parse(&judged.body).unwrap();
    for issue in outcome
        .root()
        .get("issue")
        .into_iter()
        .flat_map(ValueRef::items)
    {
        let text = |name: &str| {
            issue
                .get(name)
                .and_then(ValueRef::as_str)
                .unwrap_or_default()
        };
        if matches!(&*text("severity"), "error" | "fatal") {
            fault(format!("false error: {}", text("diagnostics")));
        }
    }
}

/// Whether what was read is what was sent, but for the version and time that the server sets.
fn same(sent: ValueRef<'_>, read: ValueRef<'_>) -> bool {
    let bare = |value: ValueRef<'_>| {
        let mut value = value.to_value();
        let map = value.as_object_mut().unwrap();
        if let Some(meta) = map.get_mut("meta").and_then(|meta| meta.as_object_mut()) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
            if meta.is_empty() {
                map.remove("meta");
            }
        }
        Document::parse(&value.to_bytes()).unwrap()
    };
    bare(sent).root().same_as(bare(read).root())
}

/// Asks for each value of each parameter; the resource must be among what is found.
fn find(client: &mut Client, document: &Document, faults: &mut Vec<String>, counts: &mut Counts) {
    let (kind, id) = name(document);
    let definitions = Definitions::r4();
    let resource_type = definitions.resource_type(&kind).unwrap();
    let entries = Extractor::r4().extract(resource_type, document.root(), &Context::default());
    let mut last = None;
    for entry in &entries {
        let param = definitions.search_param_by_id(entry.param).unwrap();
        let queries = ask::queries(param, &entry.value);
        if last != Some(entry.param) {
            last = Some(entry.param);
            counts.parameters += 1;
            *counts.kinds.entry(kind_name(param.kind)).or_default() += 1;
            let missing = format!("{}:missing=false", param.code);
            one(client, (&kind, &id), &missing, faults, counts);
        }
        counts.values += usize::from(!queries.is_empty());
        for query in queries {
            one(client, (&kind, &id), &query, faults, counts);
        }
    }
}

fn kind_name(kind: ParamType) -> &'static str {
    match kind {
        ParamType::Number => "number",
        ParamType::Date => "date",
        ParamType::String => "string",
        ParamType::Token => "token",
        ParamType::Reference => "reference",
        ParamType::Composite => "composite",
        ParamType::Quantity => "quantity",
        ParamType::Uri => "uri",
        ParamType::Special => "special",
    }
}

fn one(
    client: &mut Client,
    (kind, id): (&str, &str),
    query: &str,
    faults: &mut Vec<String>,
    counts: &mut Counts,
) {
    counts.queries += 1;
    // `_id` narrows to this resource, so that a page never hides it.
    let path = format!("/fhir/{kind}?{query}&_id={id}&_elements=id");
    let answer = client.get(&path).unwrap();
    let found = Document::parse(&answer.body).ok();
    let is_found = found.is_some_and(|bundle| {
        let entries = bundle
            .root()
            .get("entry")
            .into_iter()
            .flat_map(ValueRef::items);
        let mut ids = entries.filter_map(|entry| entry.get("resource")?.get("id")?.as_str());
        ids.any(|found| found == id)
    });
    if answer.status != 200 || !is_found {
        let said: String = answer.text().chars().take(300).collect();
        faults.push(format!(
            "{path} does not find it ({}): {said}",
            answer.status
        ));
    }
}
