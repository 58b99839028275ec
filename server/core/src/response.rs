//! Bundles the server answers with, put together from stored bytes: no resource is parsed or written anew.
//!
//! Spec: <https://hl7.org/fhir/R4/bundle.html#searchset>, <https://hl7.org/fhir/R4/bundle.html#history>,
//! <https://hl7.org/fhir/R4/http.html#transaction-response>

use crate::ids::{Instant, VersionId};
use crate::json::write_string;
use crate::versioning::etag;

/// A link of a Bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLink<'a> {
    /// `self`, `next`, `first` ..
    pub relation: &'a str,
    /// Where it leads.
    pub url: &'a str,
}

/// Why an entry is in a search result. <https://hl7.org/fhir/R4/valueset-search-entry-mode.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMode {
    /// It matches.
    Match,
    /// It came along by `_include` or `_revinclude`.
    Include,
    /// An OperationOutcome about the search.
    Outcome,
}

impl SearchMode {
    fn code(self) -> &'static str {
        match self {
            SearchMode::Match => "match",
            SearchMode::Include => "include",
            SearchMode::Outcome => "outcome",
        }
    }
}

/// An entry of a search result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchEntry<'a> {
    /// The absolute url; empty for an outcome, which has none.
    pub full_url: &'a str,
    /// The complete resource.
    pub resource: &'a [u8],
    /// Why it is there.
    pub mode: SearchMode,
}

/// An entry of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryEntry<'a> {
    /// The absolute url, without version.
    pub full_url: &'a str,
    /// The complete resource; `None` when this version is a deletion.
    pub resource: Option<&'a [u8]>,
    /// `POST`, `PUT` or `DELETE`
    pub method: &'a str,
    /// The url of the request, relative: `Patient` or `Patient/1`.
    pub url: &'a str,
    /// What was answered: 201, 200 or 204.
    pub status: u16,
    /// The version.
    pub version: VersionId,
    /// Its time.
    pub updated: Instant,
}

/// An entry of the answer to a transaction or batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutcomeEntry<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Location` with version, for writes.
    pub location: Option<&'a str>,
    /// Version and time of the resource now.
    pub version: Option<(VersionId, Instant)>,
    /// The absolute url, if a resource is returned.
    pub full_url: Option<&'a str>,
    /// The resource that was read or, with `return=representation`, written.
    pub resource: Option<&'a [u8]>,
    /// An OperationOutcome.
    pub outcome: Option<&'a [u8]>,
}

/// Appends a Bundle of type `searchset`.
pub fn searchset<'a>(
    links: &[BundleLink<'_>],
    total: Option<u64>,
    entries: impl IntoIterator<Item = SearchEntry<'a>>,
    out: &mut Vec<u8>,
) {
    start("searchset", total, links, out);
    let mut list = Entries::default();
    for entry in entries {
        list.next(out);
        let mut members = Members::default();
        if !entry.full_url.is_empty() {
            members.string("fullUrl", entry.full_url, out);
        }
        members.raw("resource", entry.resource, out);
        members.name("search", out);
        out.extend_from_slice(b"{\"mode\":\"");
        out.extend_from_slice(entry.mode.code().as_bytes());
        out.extend_from_slice(b"\"}}");
    }
    list.end(out);
}

/// Appends a Bundle of type `history`.
pub fn history<'a>(
    links: &[BundleLink<'_>],
    total: Option<u64>,
    entries: impl IntoIterator<Item = HistoryEntry<'a>>,
    out: &mut Vec<u8>,
) {
    start("history", total, links, out);
    let mut list = Entries::default();
    for entry in entries {
        list.next(out);
        let mut members = Members::default();
        members.string("fullUrl", entry.full_url, out);
        if let Some(resource) = entry.resource {
            members.raw("resource", resource, out);
        }
        members.name("request", out);
        out.push(b'{');
        let mut request = Members::default();
        request.string("method", entry.method, out);
        request.string("url", entry.url, out);
        out.push(b'}');
        members.name("response", out);
        let response = OutcomeEntry {
            status: entry.status,
            version: Some((entry.version, entry.updated)),
            ..OutcomeEntry::default()
        };
        write_response(&response, out);
        out.push(b'}');
    }
    list.end(out);
}

/// Appends a Bundle of type `transaction-response` or `batch-response`: "one entry for each entry in the request, in the
/// same order".
pub fn outcomes<'a>(
    kind: ResponseKind,
    entries: impl IntoIterator<Item = OutcomeEntry<'a>>,
    out: &mut Vec<u8>,
) {
    start(kind.code(), None, &[], out);
    let mut list = Entries::default();
    for entry in entries {
        list.next(out);
        let mut members = Members::default();
        if let Some(full_url) = entry.full_url {
            members.string("fullUrl", full_url, out);
        }
        if let Some(resource) = entry.resource {
            members.raw("resource", resource, out);
        }
        members.name("response", out);
        write_response(&entry, out);
        out.push(b'}');
    }
    list.end(out);
}

/// Which answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// To a transaction.
    Transaction,
    /// To a batch.
    Batch,
}

impl ResponseKind {
    fn code(self) -> &'static str {
        match self {
            ResponseKind::Transaction => "transaction-response",
            ResponseKind::Batch => "batch-response",
        }
    }
}

fn start(kind: &str, total: Option<u64>, links: &[BundleLink<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"resourceType\":\"Bundle\",\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if let Some(total) = total {
        out.extend_from_slice(b",\"total\":");
        out.extend_from_slice(total.to_string().as_bytes());
    }
    for (at, link) in links.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b",\"link\":[{" } else { b",{" });
        let mut members = Members::default();
        members.string("relation", link.relation, out);
        members.string("url", link.url, out);
        out.push(b'}');
    }
    if !links.is_empty() {
        out.push(b']');
    }
}

fn write_response(entry: &OutcomeEntry<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut members = Members::default();
    members.string("status", &status_line(entry.status), out);
    if let Some(location) = entry.location {
        members.string("location", location, out);
    }
    if let Some((version, updated)) = entry.version {
        members.string("etag", &etag(version), out);
        members.string("lastModified", &updated.to_fhir(), out);
    }
    if let Some(outcome) = entry.outcome {
        members.raw("outcome", outcome, out);
    }
    out.push(b'}');
}

/// `response.status`: "starting with a 3 digit HTTP code", here with the usual words.
fn status_line(status: u16) -> String {
    let reason = match status {
        200 => " OK",
        201 => " Created",
        204 => " No Content",
        304 => " Not Modified",
        400 => " Bad Request",
        403 => " Forbidden",
        404 => " Not Found",
        405 => " Method Not Allowed",
        409 => " Conflict",
        410 => " Gone",
        412 => " Precondition Failed",
        422 => " Unprocessable Entity",
        500 => " Internal Server Error",
        503 => " Service Unavailable",
        _ => "",
    };
    format!("{status}{reason}")
}

/// The array `entry`, which must be absent when it is empty.
#[derive(Default)]
struct Entries {
    is_started: bool,
}

impl Entries {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_started {
            b",{"
        } else {
            b",\"entry\":[{"
        });
        self.is_started = true;
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_started { b"]}" } else { b"}" });
    }
}

/// Members of an object and the commas between them.
#[derive(Default)]
struct Members {
    is_started: bool,
}

impl Members {
    fn name(&mut self, name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_started { b",\"" } else { b"\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        self.is_started = true;
    }

    fn string(&mut self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.name(name, out);
        write_string(text, out);
    }

    fn raw(&mut self, name: &str, json: &[u8], out: &mut Vec<u8>) {
        self.name(name, out);
        out.extend_from_slice(json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        Document::parse(&out).expect("valid JSON");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Spec: <https://hl7.org/fhir/R4/bundle.html#searchset>
    /// Verifies: SRS-001, RC-001
    #[test]
    fn search_results_hold_the_stored_bytes() {
        let links = [BundleLink {
            relation: "self",
            url: "http://x/fhir/Patient?name=\"a\"",
        }];
        let entries = [
            SearchEntry {
                full_url: "http://x/fhir/Patient/1",
                resource: br#"{"v":2.50}"#,
                mode: SearchMode::Match,
            },
            SearchEntry {
                full_url: "",
                resource: b"{}",
                mode: SearchMode::Outcome,
            },
        ];
        check(
            |out| searchset(&links, Some(1), entries, out),
            r#"{"resourceType":"Bundle","type":"searchset","total":1,"link":[{"relation":"self","url":"http://x/fhir/Patient?name=\"a\""}],"entry":[{"fullUrl":"http://x/fhir/Patient/1","resource":{"v":2.50},"search":{"mode":"match"}},{"resource":{},"search":{"mode":"outcome"}}]}"#,
        );
        check(
            |out| searchset(&[], None, [], out),
            r#"{"resourceType":"Bundle","type":"searchset"}"#,
        );
    }

    /// Spec: <https://hl7.org/fhir/R4/http.html#history>
    #[test]
    fn a_deletion_has_no_resource() {
        let entry = HistoryEntry {
            full_url: "http://x/fhir/Patient/1",
            resource: None,
            method: "DELETE",
            url: "Patient/1",
            status: 204,
            version: VersionId(2),
            updated: Instant(0),
        };
        check(
            |out| history(&[], Some(1), [entry], out),
            r#"{"resourceType":"Bundle","type":"history","total":1,"entry":[{"fullUrl":"http://x/fhir/Patient/1","request":{"method":"DELETE","url":"Patient/1"},"response":{"status":"204 No Content","etag":"W/\"2\"","lastModified":"1970-01-01T00:00:00.000000Z"}}]}"#,
        );
    }

    /// Spec: <https://hl7.org/fhir/R4/http.html#transaction-response>
    #[test]
    fn outcomes_keep_the_order() {
        let entries = [
            OutcomeEntry {
                status: 201,
                location: Some("Patient/1/_history/1"),
                version: Some((VersionId(1), Instant(0))),
                ..OutcomeEntry::default()
            },
            OutcomeEntry {
                status: 404,
                outcome: Some(b"{}"),
                ..OutcomeEntry::default()
            },
        ];
        check(
            |out| outcomes(ResponseKind::Batch, entries, out),
            r#"{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{"status":"201 Created","location":"Patient/1/_history/1","etag":"W/\"1\"","lastModified":"1970-01-01T00:00:00.000000Z"}},{"response":{"status":"404 Not Found","outcome":{}}}]}"#,
        );
    }
}
