//! Bundles that go back to clients, put together from stored bytes: nothing is parsed or written anew.
//!
//! Spec: <https://hl7.org/fhir/R4/bundle.html>, <https://hl7.org/fhir/R4/search.html#return>, <https://hl7.org/fhir/R4/http.html#transaction-response>

use crate::ids::{Instant, ResourceKey, VersionId};
use crate::json::write_string;
use crate::versioning::etag;

/// A link of a Bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `self`, `next` …
    pub relation: &'static str,
    /// Absolute.
    pub url: String,
}

/// Why an entry is in a searchset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It matched.
    Match,
    /// It came along.
    Include,
    /// It tells about the search.
    Outcome,
}

/// An entry of a searchset.
#[derive(Debug, Clone, Copy)]
pub struct SearchEntry<'a> {
    /// Which resource; `None` for an OperationOutcome.
    pub key: Option<&'a ResourceKey>,
    /// The complete resource.
    pub json: &'a [u8],
    /// Why it is here.
    pub mode: Mode,
}

/// An entry of a history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryEntry<'a> {
    /// Which resource.
    pub key: &'a ResourceKey,
    /// Its version.
    pub version: VersionId,
    /// When it was made.
    pub updated: Instant,
    /// Whether this version is the deletion.
    pub is_deleted: bool,
    /// The complete resource; empty when deleted.
    pub json: &'a [u8],
}

/// What one entry of a batch or transaction came to.
#[derive(Debug, Clone, Default)]
pub struct OutcomeEntry<'a> {
    /// Status code and words, such as `201 Created`.
    pub status: String,
    /// Where the resource is.
    pub location: Option<&'a str>,
    /// Version and time.
    pub version: Option<(VersionId, Instant)>,
    /// The resource; empty for none.
    pub resource: &'a [u8],
    /// An OperationOutcome; empty for none.
    pub outcome: &'a [u8],
}

/// Bytes an entry takes beside its resource, about.
const ENTRY_BYTES: usize = 200;

/// A Bundle of type `searchset`.
pub fn searchset(base_url: &str, total: Option<u64>, links: &[Link], entries: &[SearchEntry<'_>]) -> Vec<u8> {
    let bytes: usize = entries.iter().map(|entry| entry.json.len() + ENTRY_BYTES).sum();
    let mut out = open("searchset", total, links, bytes);
    let mut list = List::open(&mut out, "entry");
    for entry in entries {
        let out = list.item();
        out.push(b'{');
        if let Some(key) = entry.key {
            full_url(base_url, key, out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"resource\":");
        out.extend_from_slice(entry.json);
        out.extend_from_slice(match entry.mode {
            Mode::Match => b",\"search\":{\"mode\":\"match\"}}".as_slice(),
            Mode::Include => b",\"search\":{\"mode\":\"include\"}}",
            Mode::Outcome => b",\"search\":{\"mode\":\"outcome\"}}",
        });
    }
    list.close();
    out.push(b'}');
    out
}

/// A Bundle of type `history`.
pub fn history(base_url: &str, total: Option<u64>, links: &[Link], entries: &[HistoryEntry<'_>]) -> Vec<u8> {
    let bytes: usize = entries.iter().map(|entry| entry.json.len() + 2 * ENTRY_BYTES).sum();
    let mut out = open("history", total, links, bytes);
    let mut list = List::open(&mut out, "entry");
    for entry in entries {
        let out = list.item();
        out.push(b'{');
        full_url(base_url, entry.key, out);
        if !entry.is_deleted {
            out.extend_from_slice(b",\"resource\":");
            out.extend_from_slice(entry.json);
        }
        // How a version came about is not kept; version 1 is the create, whatever the request was.
        let (method, status) = match (entry.is_deleted, entry.version) {
            (true, _) => ("DELETE", "204 No Content"),
            (false, VersionId(1)) => ("PUT", "201 Created"),
            (false, _) => ("PUT", "200 OK"),
        };
        out.extend_from_slice(b",\"request\":{\"method\":");
        write_string(method, out);
        out.extend_from_slice(b",\"url\":");
        write_string(&entry.key.to_string(), out);
        out.extend_from_slice(b"},\"response\":{\"status\":");
        write_string(status, out);
        stamp((entry.version, entry.updated), out);
        out.extend_from_slice(b"}}");
    }
    list.close();
    out.push(b'}');
    out
}

/// A Bundle of type `transaction-response` or `batch-response`.
pub fn outcomes(bundle_type: &str, entries: &[OutcomeEntry<'_>]) -> Vec<u8> {
    let bytes: usize = entries.iter().map(|e| e.resource.len() + e.outcome.len() + 2 * ENTRY_BYTES).sum();
    let mut out = open(bundle_type, None, &[], bytes);
    let mut list = List::open(&mut out, "entry");
    for entry in entries {
        let out = list.item();
        out.push(b'{');
        if !entry.resource.is_empty() {
            out.extend_from_slice(b"\"resource\":");
            out.extend_from_slice(entry.resource);
            out.push(b',');
        }
        out.extend_from_slice(b"\"response\":{\"status\":");
        write_string(&entry.status, out);
        if let Some(location) = entry.location {
            out.extend_from_slice(b",\"location\":");
            write_string(location, out);
        }
        if let Some(version) = entry.version {
            stamp(version, out);
        }
        if !entry.outcome.is_empty() {
            out.extend_from_slice(b",\"outcome\":");
            out.extend_from_slice(entry.outcome);
        }
        out.extend_from_slice(b"}}");
    }
    list.close();
    out.push(b'}');
    out
}

fn open(bundle_type: &str, total: Option<u64>, links: &[Link], bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 1024);
    out.extend_from_slice(b"{\"resourceType\":\"Bundle\",\"type\":");
    write_string(bundle_type, &mut out);
    if let Some(total) = total {
        out.extend_from_slice(b",\"total\":");
        out.extend_from_slice(total.to_string().as_bytes());
    }
    let mut list = List::open(&mut out, "link");
    for link in links {
        let out = list.item();
        out.extend_from_slice(b"{\"relation\":");
        write_string(link.relation, out);
        out.extend_from_slice(b",\"url\":");
        write_string(&link.url, out);
        out.push(b'}');
    }
    list.close();
    out
}

fn full_url(base_url: &str, key: &ResourceKey, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"fullUrl\":");
    write_string(&format!("{base_url}/{key}"), out);
}

fn stamp((version, updated): (VersionId, Instant), out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"etag\":");
    write_string(&etag(version), out);
    out.extend_from_slice(b",\"lastModified\":");
    write_string(&updated.to_fhir(), out);
}

/// A member whose value is an array, left out when it stays empty: FHIR allows no empty arrays.
struct List<'a> {
    out: &'a mut Vec<u8>,
    name: &'static str,
    is_empty: bool,
}

impl<'a> List<'a> {
    fn open(out: &'a mut Vec<u8>, name: &'static str) -> Self {
        Self { out, name, is_empty: true }
    }

    fn item(&mut self) -> &mut Vec<u8> {
        if self.is_empty {
            self.out.push(b',');
            write_string(self.name, self.out);
            self.out.extend_from_slice(b":[");
        } else {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out
    }

    fn close(self) {
        if !self.is_empty {
            self.out.push(b']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn text(bytes: Vec<u8>) -> String {
        Document::parse(&bytes).expect("valid JSON");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_empty_searchset_has_no_entry() {
        let link = Link { relation: "self", url: "http://h/fhir/Patient?name=\"x\"".to_owned() };
        let expected = r#"{"resourceType":"Bundle","type":"searchset","total":0,"link":[{"relation":"self","url":"http://h/fhir/Patient?name=\"x\""}]}"#;
        assert_eq!(text(searchset("http://h/fhir", Some(0), &[link], &[])), expected);
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn resources_are_copied_byte_for_byte() {
        let key = ResourceKey::parse("Observation/a").unwrap();
        let json = br#"{"resourceType":"Observation","id":"a","valueQuantity":{"value":2.50}}"#;
        let entry = SearchEntry { key: Some(&key), json, mode: Mode::Match };
        let outcome = SearchEntry { key: None, json: b"{}", mode: Mode::Outcome };
        let bundle = text(searchset("http://h/fhir", None, &[], &[entry, outcome]));
        assert!(bundle.contains("\"fullUrl\":\"http://h/fhir/Observation/a\""), "{bundle}");
        assert!(bundle.contains(std::str::from_utf8(json).unwrap()), "{bundle}");
        assert!(bundle.ends_with(r#"{"resource":{},"search":{"mode":"outcome"}}]}"#), "{bundle}");
    }

    #[test]
    fn a_deletion_has_no_resource_in_the_history() {
        let key = ResourceKey::parse("Patient/a").unwrap();
        let entry = HistoryEntry { key: &key, version: VersionId(2), updated: Instant(0), is_deleted: true, json: b"" };
        let bundle = text(history("http://h/fhir", Some(1), &[], &[entry]));
        assert!(!bundle.contains("\"resource\":"), "{bundle}");
        assert!(bundle.contains(r#""request":{"method":"DELETE","url":"Patient/a"}"#), "{bundle}");
        assert!(bundle.contains(r#""etag":"W/\"2\"""#), "{bundle}");
    }

    #[test]
    fn outcomes_stand_in_the_order_of_the_request() {
        let first = OutcomeEntry { status: "201 Created".to_owned(), location: Some("http://h/fhir/Patient/a/_history/1"), ..OutcomeEntry::default() };
        let second = OutcomeEntry { status: "404 Not Found".to_owned(), outcome: b"{}", ..OutcomeEntry::default() };
        let expected = r#"{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{"status":"201 Created","location":"http://h/fhir/Patient/a/_history/1"}},{"response":{"status":"404 Not Found","outcome":{}}}]}"#;
        assert_eq!(text(outcomes("batch-response", &[first, second])), expected);
    }
}
