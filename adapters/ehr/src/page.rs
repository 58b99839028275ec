//! One answer to a search, taken apart: matches, outcomes and the way on.
//!
//! Spec: <https://hl7.org/fhir/R4/bundle.html#searchset>.
//! Leaves out `Bundle.total`: Epic sends the page's count there, so only `next` tells whether there is more.

use std::ops::Range;

use fhir_core::json::{Document, ValueRef};
use reqwest::Url;

use crate::EhrError;
use crate::http::{Answer, same_origin};
use crate::outcome::{Notice, notices};
use crate::profile::Profile;

/// Most entries in one page. Epic sends 1,000, Oracle was seen sending 1,623 at once.
pub const ENTRIES_MAX: usize = 10_000;

/// One page.
pub struct Page {
    /// The page; spans of entries point into it.
    pub text: PageText,
    /// Where each resource lies in the text.
    pub resources: Vec<Range<usize>>,
    /// Issues the server reported beside the matches.
    pub notices: Vec<Notice>,
    /// Where to go on: an address, or a place in a bulk file.
    pub next: Option<String>,
}

/// The text of a page.
pub enum PageText {
    /// One JSON document.
    Json(Document),
    /// Lines of JSON.
    Lines(String),
}

impl PageText {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json(document) => document.text(),
            Self::Lines(text) => text,
        }
    }
}

/// Reads a searchset, or a single resource as a page of one.
///
/// # Errors
/// [`EhrError::Answer`] when it is neither, or leads to another server.
pub fn read(answer: &Answer, asked: &Url, profile: &Profile) -> Result<Page, EhrError> {
    if !answer.is_json() {
        return Err(EhrError::Answer(format!(
            "`{}` instead of JSON",
            answer.media_type()
        )));
    }
    let document = Document::parse(&answer.body)
        .map_err(|error| EhrError::Answer(format!("not readable as JSON: {error}")))?;
    let root = document.root();
    let mut resources = Vec::new();
    let mut found = Vec::new();
    let mut next = None;
    match kind(root).as_deref() {
        Some("Bundle") => {
            for entry in root.get("entry").into_iter().flat_map(ValueRef::items) {
                let Some(resource) = entry.get("resource") else {
                    return Err(EhrError::Answer(
                        "`Bundle.entry.resource` is missing".to_owned(),
                    ));
                };
                if kind(resource).as_deref() == Some("OperationOutcome") {
                    found.extend(notices(resource, profile));
                } else {
                    resources.push(resource.span());
                }
            }
            next = next_link(root, asked)?.map(String::from);
        }
        Some("OperationOutcome") | None => {
            return Err(EhrError::Answer(
                "neither a Bundle nor a resource".to_owned(),
            ));
        }
        Some(_) => resources.push(root.span()),
    }
    if resources.len() > ENTRIES_MAX {
        return Err(EhrError::Answer(format!(
            "a page of more than {ENTRIES_MAX} entries"
        )));
    }
    Ok(Page {
        resources,
        notices: found,
        next,
        text: PageText::Json(document),
    })
}

/// `resourceType` of a resource.
pub fn kind(resource: ValueRef<'_>) -> Option<String> {
    Some(resource.get("resourceType")?.as_str()?.into_owned())
}

/// The `next` link, made absolute. It must stay at the same server: our token goes with it.
fn next_link(root: ValueRef<'_>, asked: &Url) -> Result<Option<Url>, EhrError> {
    let links = root.get("link").into_iter().flat_map(ValueRef::items);
    let text = |link: ValueRef<'_>, name: &str| Some(link.get(name)?.as_str()?.into_owned());
    let mut nexts = links.filter(|link| text(*link, "relation").as_deref() == Some("next"));
    let Some(link) = nexts.next() else {
        return Ok(None);
    };
    let address = text(link, "url").and_then(|url| asked.join(&url).ok());
    match address {
        Some(url) if same_origin(&url, asked) => Ok(Some(url)),
        Some(_) => Err(EhrError::Answer(
            "`next` leads to another server; the token is not sent there".to_owned(),
        )),
        None => Err(EhrError::Answer("`next` is not an address".to_owned())),
    }
}

impl Page {
    /// A page without anything.
    pub fn empty() -> Self {
        Self {
            text: PageText::Lines(String::new()),
            resources: Vec::new(),
            notices: Vec::new(),
            next: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn page(media_type: &str, body: &str) -> Result<Page, EhrError> {
        let answer = Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), media_type.to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let asked = Url::parse("https://ehr.example.org/r4/Observation?patient=1").unwrap();
        read(
            &answer,
            &asked,
            &Profile::load("epic", &toml::Table::new()).unwrap(),
        )
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for (media_type, body) in [
            ("text/html", "<html/>"),
            ("application/xml", "<Bundle/>"),
            ("application/fhir+json", ""),
            ("application/fhir+json", "\"\""),
            (
                "application/fhir+json",
                r#"{"resourceType":"Bundle","entry":[{"fullUrl":"x"}]}"#,
            ),
            (
                "application/fhir+json",
                r#"{"resourceType":"OperationOutcome"}"#,
            ),
        ] {
            assert!(page(media_type, body).is_err(), "{body}");
        }
    }

    /// The token goes with the next request, so `next` must stay at the server.
    #[test]
    fn next_stays_at_the_server() {
        let with = |url: &str| {
            let link = format!(r#"{{"relation":"next","url":"{url}"}}"#);
            page(
                "application/fhir+json",
                &format!(r#"{{"resourceType":"Bundle","link":[{link}]}}"#),
            )
        };
        assert!(with("https://evil.example.org/r4/Observation?p=2").is_err());
        assert!(with("http://ehr.example.org/r4/Observation?p=2").is_err());
        let relative = with("Observation?sessionID=1").unwrap();
        assert_eq!(
            relative.next.as_deref(),
            Some("https://ehr.example.org/r4/Observation?sessionID=1")
        );
        let hyphens =
            "https://ehr.example.org/r4/Observation?-pageContext=a%3D&-pageDirection=NEXT";
        assert_eq!(with(hyphens).unwrap().next.as_deref(), Some(hyphens));
    }
}
