//! Well-formed XML as a small tree: names, attributes, children and where each element stands in the text.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use super::{XML_DEPTH_MAX, XmlError};

/// One element.
#[derive(Debug)]
pub(super) struct Node<'x> {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node<'x>>,
    /// The element exactly as written.
    pub raw: &'x str,
    /// Text that is more than white space stands directly in it.
    pub has_text: bool,
}

impl Node<'_> {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }
}

struct Open<'x> {
    node: Node<'x>,
    start: usize,
}

/// Parses a text with one root element.
pub(super) fn parse(text: &str) -> Result<Node<'_>, XmlError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut root: Option<Node<'_>> = None;
    loop {
        let before = position(&reader);
        let event = reader
            .read_event()
            .map_err(|e| fail(text, position(&reader), &format!("not well-formed: {e}")))?;
        match event {
            Event::Start(tag) => {
                if open.len() >= XML_DEPTH_MAX {
                    return Err(fail(text, before, "nested too deep"));
                }
                if open.is_empty() && root.is_some() {
                    return Err(fail(text, before, "a second root element"));
                }
                open.push(Open {
                    node: start(text, before, &tag)?,
                    start: before,
                });
            }
            Event::End(_) => {
                let Some(mut closed) = open.pop() else {
                    return Err(fail(text, before, "not well-formed"));
                };
                closed.node.raw = text.get(closed.start..position(&reader)).unwrap_or("");
                match open.last_mut() {
                    Some(parent) => parent.node.children.push(closed.node),
                    None => root = Some(closed.node),
                }
            }
            Event::Text(content) => note_text(
                &mut open,
                content
                    .chars()
                    .any(|c| !c.is_whitespace() && c != '\u{feff}'),
            ),
            Event::CData(_) | Event::GeneralRef(_) => note_text(&mut open, true),
            Event::DocType(_) => return Err(fail(text, before, "a DOCTYPE is not accepted")),
            Event::Eof if open.is_empty() => {
                return root.ok_or_else(|| fail(text, before, "no element"));
            }
            Event::Eof => return Err(fail(text, before, "the text ends inside an element")),
            _ => {}
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn note_text(open: &mut [Open<'_>], is_content: bool) {
    if let Some(parent) = open.last_mut() {
        parent.node.has_text |= is_content;
    }
}

fn start<'x>(text: &str, at: usize, tag: &BytesStart<'_>) -> Result<Node<'x>, XmlError> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|e| fail(text, at, &format!("not well-formed: {e}")))?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_0);
        let value = value.map_err(|e| fail(text, at, &format!("not well-formed: {e}")))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    let name = tag.name().as_ref().to_owned();
    Ok(Node {
        name,
        attributes,
        children: Vec::new(),
        raw: "",
        has_text: false,
    })
}

fn fail(text: &str, at: usize, what: &str) -> XmlError {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    XmlError::new(what, format!("line {}", before.matches('\n').count() + 1))
}
