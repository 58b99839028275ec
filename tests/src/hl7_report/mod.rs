//! A folder of HL7 v2 messages through the real program: what was answered, what was made, what was lost, for each.
//!
//! Files that hold one message go over MLLP as they are, batches and files with several messages through a folder feed,
//! files with framing bytes inside as an HTTP body. Nothing is judged here but the validity of the resources; a person
//! compares the rest with the notes.

mod compare;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fhir_core::json::Value;

use crate::http_client::Client;
use crate::server::{TestServer, url};
use send::{Senders, Sent};

/// What is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the messages are; folders in it are read as well.
    pub folder: PathBuf,
    /// Where the table is written.
    pub out: Option<PathBuf>,
    /// Where the resources of each message are written as a JSON array.
    pub bundles: Option<PathBuf>,
    /// Settings of the feed, JSON as for `PUT /admin/feeds`, without address.
    pub feed: Option<PathBuf>,
    /// URL of the database; a new SQLite file without it.
    pub database: Option<String>,
}

const HEAD: &str =
    "file\tnote\tacknowledgement\tstate\treason\tresources\tissues\tunread\tinvalid\tdifferences\n";
/// Messages asked for behind one file: a batch has some.
const MESSAGES_PAGE: usize = 1_000;

/// Runs all; the table is written, the totals are returned as text.
///
/// # Errors
/// When the server does not start, a connection breaks or a file cannot be read or written.
pub fn run(options: &Options) -> io::Result<String> {
    let temporary = tempfile::tempdir()?;
    let database = options
        .database
        .clone()
        .unwrap_or_else(|| url(&temporary.path().join("report.db")));
    let server = TestServer::start_on(&database, &[])?;
    let settings = match &options.feed {
        Some(path) => std::fs::read_to_string(path)?,
        None => "{}".to_owned(),
    };
    let mut senders = Senders::open(&server, &settings, temporary.path())?;
    let mut files = Vec::new();
    collect(&options.folder, &mut files)?;
    files.sort();
    let notes = notes(&options.folder)?;
    let mut table = String::from(HEAD);
    let mut totals = Totals::default();
    let mut last = 0;
    for path in &files {
        let name = path.strip_prefix(&options.folder).unwrap_or(path);
        let name = name.display().to_string();
        let named = |error: io::Error| io::Error::other(format!("{name}: {error}"));
        let sent = senders.send(&std::fs::read(path)?).map_err(named)?;
        let messages = since(&mut senders.http, last).map_err(named)?;
        last = messages.iter().filter_map(number).max().unwrap_or(last);
        let note = notes.get(&name).map_or("", String::as_str);
        let row = Row::of(&mut senders.http, &sent, &messages, path).map_err(named)?;
        row.add_to(&mut totals);
        row.write(&mut table, &name, note);
        if let Some(folder) = &options.bundles {
            std::fs::create_dir_all(folder)?;
            let text = Value::Array(row.made.clone()).to_bytes();
            std::fs::write(
                folder.join(format!("{}.json", name.replace('/', "_"))),
                text,
            )?;
        }
    }
    if let Some(path) = &options.out {
        std::fs::write(path, table)?;
    }
    Ok(totals.text(files.len()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "hl7") {
            files.push(path);
        }
    }
    Ok(())
}

/// The column `note` of `index.tsv` by the column `file`.
fn notes(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let path = folder.join("index.tsv");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(path)?;
    let mut lines = text
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    let column = |name: &str| head.iter().position(|cell| *cell == name);
    let (Some(file), Some(note)) = (column("file"), column("note")) else {
        return Ok(BTreeMap::new());
    };
    let row = |cells: Vec<&str>| {
        Some((
            (*cells.get(file)?).to_owned(),
            (*cells.get(note)?).to_owned(),
        ))
    };
    Ok(lines.filter_map(row).collect())
}

/// The messages of the log behind a number, oldest first, whole.
fn since(http: &mut Client, last: i64) -> io::Result<Vec<Value>> {
    let page = get(http, &format!("/admin/messages?count={MESSAGES_PAGE}"))?;
    let list = page.get("messages").and_then(Value::as_array);
    let mut numbers: Vec<i64> = list.unwrap_or_default().iter().filter_map(number).collect();
    numbers.retain(|number| *number > last);
    numbers.sort_unstable();
    let whole = numbers.into_iter();
    whole
        .map(|id| get(http, &format!("/admin/messages/{id}")))
        .collect()
}

fn number(message: &Value) -> Option<i64> {
    message.get("id")?.number_text()?.parse().ok()
}

fn get(http: &mut Client, path: &str) -> io::Result<Value> {
    let response = http.get(path)?;
    Value::parse(&response.body).map_err(|e| io::Error::other(format!("{path}: {e}")))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .unwrap_or_default()
}

/// What became of one file.
struct Row {
    acknowledgements: BTreeMap<String, usize>,
    states: BTreeMap<String, usize>,
    reasons: BTreeSet<String>,
    types: BTreeMap<String, usize>,
    issues: BTreeMap<String, usize>,
    unread: BTreeMap<String, usize>,
    made: Vec<Value>,
    invalid: Vec<String>,
    differences: Vec<String>,
}

impl Row {
    fn of(http: &mut Client, sent: &Sent, messages: &[Value], path: &Path) -> io::Result<Self> {
        let mut row = Self {
            acknowledgements: counted(sent.codes.iter().cloned()),
            states: counted(messages.iter().map(|m| text(m, "state").to_owned())),
            reasons: sent.notes.iter().cloned().collect(),
            types: BTreeMap::new(),
            issues: BTreeMap::new(),
            unread: BTreeMap::new(),
            made: Vec::new(),
            invalid: Vec::new(),
            differences: Vec::new(),
        };
        let mut keys = BTreeSet::new();
        for message in messages {
            row.reasons.insert(text(message, "reason").to_owned());
            let issues = items(message, "issues").iter();
            add(
                &mut row.issues,
                issues.map(|issue| text(issue, "code").to_owned()),
            );
            let unread = items(message, "unread").iter();
            add(&mut row.unread, unread.filter_map(Value::as_str).map(field));
            let made = items(message, "resources").iter();
            keys.extend(made.map(|made| text(made, "resource").to_owned()));
        }
        row.reasons.remove("");
        add(
            &mut row.types,
            keys.iter()
                .filter_map(|key| Some(key.split_once('/')?.0.to_owned())),
        );
        for key in keys {
            let response = http.get(&format!("/fhir/{key}"))?;
            if response.status != 200 {
                row.invalid
                    .push(format!("{key}: read answers {}", response.status));
                continue;
            }
            if let Some(fault) = fault(http, &key, &response.body)? {
                row.invalid.push(format!("{key}: {fault}"));
            }
            row.made.extend(Value::parse(&response.body).ok());
        }
        row.differences = compare::differences(&row.made, path)?;
        Ok(row)
    }

    fn add_to(&self, totals: &mut Totals) {
        merge(&mut totals.acknowledgements, &self.acknowledgements);
        merge(&mut totals.states, &self.states);
        merge(&mut totals.types, &self.types);
        totals.invalid += self.invalid.len();
        totals.compared += usize::from(!self.differences.is_empty());
        for difference in &self.differences {
            let property = difference.split(" = ").next().unwrap_or(difference);
            *totals.differences.entry(property.to_owned()).or_default() += 1;
        }
    }

    fn write(&self, table: &mut String, name: &str, note: &str) {
        let reasons: Vec<&str> = self.reasons.iter().map(String::as_str).collect();
        let cells = [
            name,
            note,
            &list(&self.acknowledgements),
            &list(&self.states),
            &reasons.join("; "),
            &list(&self.types),
            &list(&self.issues),
            &list(&self.unread),
            &self.invalid.join("; "),
            &self.differences.join("; "),
        ];
        table.push_str(&cells.map(|c| c.replace(['\t', '\n', '\r'], " ")).join("\t"));
        table.push('\n');
    }
}

/// What the server's own validator finds wrong with a stored resource, if anything.
fn fault(http: &mut Client, key: &str, body: &[u8]) -> io::Result<Option<String>> {
    let resource_type = key.split('/').next().unwrap_or_default();
    let path = format!("/fhir/{resource_type}/$validate");
    let outcome = http.post(&path, body)?;
    let outcome = Value::parse(&outcome.body).map_err(|e| io::Error::other(e.to_string()))?;
    let is_wrong = |issue: &&Value| matches!(text(issue, "severity"), "error" | "fatal");
    let found = items(&outcome, "issue").iter().find(is_wrong);
    Ok(found.map(|issue| text(issue, "diagnostics").to_owned()))
}

/// `PID[1]-3[2].1` as `PID-3`: a field tells more than a place here.
fn field(place: &str) -> String {
    let (segment, rest) = place.split_once('-').unwrap_or((place, ""));
    let segment = segment.split('[').next().unwrap_or_default();
    let field = rest.split(['[', '.']).next().unwrap_or_default();
    format!("{segment}-{field}")
}

fn counted(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    add(&mut counts, names);
    counts
}

fn add(counts: &mut BTreeMap<String, usize>, names: impl Iterator<Item = String>) {
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
}

fn merge(into: &mut BTreeMap<String, usize>, from: &BTreeMap<String, usize>) {
    for (name, count) in from {
        *into.entry(name.clone()).or_default() += count;
    }
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let cells = counts.iter().map(|(name, count)| match count {
        1 => name.clone(),
        count => format!("{name}={count}"),
    });
    cells.collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Totals {
    acknowledgements: BTreeMap<String, usize>,
    states: BTreeMap<String, usize>,
    types: BTreeMap<String, usize>,
    differences: BTreeMap<String, usize>,
    invalid: usize,
    compared: usize,
}

impl Totals {
    fn text(&self, files: usize) -> String {
        let mut out = format!(
            "{files} files\nacknowledgements: {}\nstates: {}\nresources: {}\ninvalid resources: {}\n",
            list(&self.acknowledgements),
            list(&self.states),
            list(&self.types),
            self.invalid
        );
        out.push_str(&format!(
            "files that differ from what is expected: {}\n",
            self.compared
        ));
        for (property, count) in &self.differences {
            out.push_str(&format!("{count:6}  {property}\n"));
        }
        out
    }
}
