//! Imports real Bundles as a user would, reads everything back, and compares it with what went in.
//!
//! `cargo run -p system-tests --bin read_back -- FOLDER|FILE…` takes `.json` and `.json.gz`. It runs `stoker import` of the
//! program built beside it on a database of its own, serves that database, pages through every type, and ends with an error
//! when a count or a resource differs. Ids and what references point to are left aside here; `tests/it` compares those.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use fhir_core::json::Value;
use system_tests::http_client::Client;
use system_tests::process::built_program;
use system_tests::read_back::canonical;
use system_tests::server::{TestServer, url};

/// Resources of a page asked for.
const PAGE: usize = 500;

/// How often each content occurs, by type.
type Contents = BTreeMap<String, HashMap<String, i64>>;

fn main() -> io::Result<()> {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let mut files = Vec::new();
    for path in &paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        return Err(io::Error::other("name folders or files with Bundles"));
    }
    let mut contents = Contents::new();
    for file in &files {
        for resource in resources(&Value::parse(&read(file)?).map_err(io::Error::other)?) {
            count(&mut contents, resource, 1);
        }
    }
    let sent: BTreeMap<String, i64> = contents
        .iter()
        .map(|(kind, counts)| (kind.clone(), counts.values().sum()))
        .collect();

    let folder = tempfile::tempdir()?;
    let database = folder.path().join("read-back.db");
    let status = Command::new(built_program("stoker")?)
        .arg("import")
        .args(&paths)
        .args(["--database", &url(&database)])
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the import failed"));
    }
    let server = TestServer::start(&database)?;
    let mut client = Client::connect(server.doors.http)?;
    let mut is_equal = true;
    for (kind, sent) in &sent {
        let stored = read_type(&mut client, kind, &mut contents)?;
        let differing: i64 = contents[kind].values().map(|n| n.abs()).sum();
        println!("{kind:24} {sent:8} sent {stored:8} stored {differing:8} differing");
        is_equal &= differing == 0 && stored == *sent;
    }
    println!(
        "{} files, {} resources",
        files.len(),
        sent.values().sum::<i64>()
    );
    if is_equal {
        Ok(())
    } else {
        Err(io::Error::other("not everything came back as it went in"))
    }
}

/// Pages through a type, taking each content off; how many resources there were.
fn read_type(client: &mut Client, kind: &str, contents: &mut Contents) -> io::Result<i64> {
    let (mut stored, mut next) = (0, Some(format!("/fhir/{kind}?_count={PAGE}")));
    while let Some(path) = next {
        let page = Value::parse(&client.get(&path)?.body).map_err(io::Error::other)?;
        for resource in resources(&page) {
            stored += 1;
            count(contents, resource, -1);
        }
        next = link(&page, "next");
    }
    Ok(stored)
}

fn count(contents: &mut Contents, resource: &Value, by: i64) {
    let kind = resource.get("resourceType").and_then(Value::as_str);
    let counts = contents.entry(kind.unwrap_or("?").to_owned()).or_default();
    *counts.entry(canonical(resource)).or_default() += by;
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    let entries = bundle.get("entry").and_then(Value::as_array);
    entries
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| entry.get("resource"))
}

/// The path and query of a link of a Bundle.
fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle.get("link").and_then(Value::as_array)?;
    let link = links
        .iter()
        .find(|link| link.get("relation").and_then(Value::as_str) == Some(relation))?;
    let url = link.get("url").and_then(Value::as_str)?;
    url.find("/fhir/")
        .and_then(|at| url.get(at..))
        .map(str::to_owned)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let name = path.to_string_lossy();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if name.ends_with(".json") || name.ends_with(".json.gz") {
        files.push(path.to_owned());
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?;
        return Ok(text);
    }
    Ok(bytes)
}
