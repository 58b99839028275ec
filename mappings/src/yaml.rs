//! YAML 1.2 (<https://yaml.org/spec/1.2.2/>) as a tree in which every node knows its line.
//!
//! Scalars stay text, so `2.50` keeps its digits and `no` is not a boolean until the target element says so.
//! Left out on purpose, and refused: anchors, aliases, tags, several documents and repeated keys.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::error::{LoadError, LoadErrors};

/// Deepest nesting of a mapping file, in levels. FHIR templates stay under 20.
const YAML_DEPTH_MAX: usize = 64;
/// Largest mapping file, in bytes. The largest shipped one has 20 kB.
const YAML_BYTES_MAX: usize = 1_000_000;

/// A node with the line it starts on, from 1.
#[derive(Debug, Clone)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text; `plain` when it stands without quotes.
    Scalar {
        /// The text.
        text: String,
        /// True without quotes.
        plain: bool,
    },
    /// Items in file order.
    List(Vec<Node>),
    /// Keys in file order, each with its own line.
    Map(Vec<(Key, Node)>),
}

/// A key and the line it stands on.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Its line.
    pub line: usize,
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        if let Kind::Scalar { text, .. } = &self.kind {
            Some(text)
        } else {
            None
        }
    }

    /// The members of a map.
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        if let Kind::Map(members) = &self.kind {
            Some(members)
        } else {
            None
        }
    }

    /// The items of a list.
    pub fn list(&self) -> Option<&[Node]> {
        if let Kind::List(items) = &self.kind {
            Some(items)
        } else {
            None
        }
    }

    /// The member of a name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(_, n)| n)
    }

    /// The items of a list, or the node itself where one value may stand for a list of one.
    pub fn each(&self) -> &[Node] {
        self.list().unwrap_or(std::slice::from_ref(self))
    }
}

/// Parses one document.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse(file: &str, text: &str) -> Result<Node, LoadErrors> {
    if text.len() > YAML_BYTES_MAX {
        return Err(LoadError::at(
            file,
            1,
            format!("the file has more than {YAML_BYTES_MAX} bytes"),
        )
        .into());
    }
    let mut reader = Reader {
        file,
        events: Parser::new_from_str(text),
    };
    reader.document().map_err(LoadErrors::from)
}

struct Reader<'a> {
    file: &'a str,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, LoadError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Err(self.error(span, "the file is empty")),
                first => {
                    let node = self.node(first, span, 0)?;
                    return self.end(node);
                }
            }
        }
    }

    fn end(&mut self, node: Node) -> Result<Node, LoadError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(node),
                Event::DocumentEnd | Event::Nothing => {}
                _ => {
                    return Err(self.error(
                        span,
                        "a second document in one file: put it in a file of its own",
                    ));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, LoadError> {
        if depth > YAML_DEPTH_MAX {
            return Err(self.error(span, "nested too deeply"));
        }
        let line = span.start.line();
        let kind = match event {
            Event::Scalar(text, style, 0, None) => Kind::Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(0, None) => Kind::List(self.items(depth)?),
            Event::MappingStart(0, None) => Kind::Map(self.members(depth)?),
            _ => {
                return Err(self.error(
                    span,
                    "anchors, aliases and tags are not part of the mapping language",
                ));
            }
        };
        Ok(Node { line, kind })
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, LoadError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, LoadError> {
        let mut members: Vec<(Key, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(members),
                (Event::Scalar(text, _, 0, None), span) => Key {
                    text: text.into_owned(),
                    line: span.start.line(),
                },
                (_, span) => return Err(self.error(span, "a key is a plain word")),
            };
            if members.iter().any(|(k, _)| k.text == key.text) {
                return Err(LoadError::at(
                    self.file,
                    key.line,
                    format!("`{}` stands twice", key.text),
                ));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            members.push((key, node));
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), LoadError> {
        match self.events.next() {
            Some(Ok(pair)) => Ok(pair),
            Some(Err(e)) => Err(LoadError::at(
                self.file,
                e.marker().line(),
                format!("not YAML: {}", e.info()),
            )),
            None => Err(LoadError::at(
                self.file,
                1,
                "the file ends too early".to_owned(),
            )),
        }
    }

    fn error(&self, span: Span, message: &str) -> LoadError {
        LoadError::at(self.file, span.start.line(), message.to_owned())
    }
}
