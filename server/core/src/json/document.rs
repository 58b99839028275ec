//! The flat, read-only document: one pass, nodes that point into the text, nothing copied.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{JSON_DEPTH_MAX, JsonError, JsonErrorKind, Value, value::unescape};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number, kept as its text.
    Number,
    /// A string without escapes.
    String,
    /// A string with at least one escape.
    EscapedString,
    /// An array.
    Array,
    /// An object.
    Object,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// Offsets into the text; strings without their quotes, containers with their brackets.
    start: u32,
    end: u32,
    /// Index of the node after this one and all its descendants.
    next: u32,
    kind: Kind,
}

/// A parsed JSON text.
#[derive(Debug, Clone)]
pub struct Document {
    text: String,
    nodes: Vec<Node>,
    /// No white space between tokens: any part can be copied as it stands.
    is_compact: bool,
}

impl Document {
    /// Parses one JSON value.
    ///
    /// # Errors
    /// [`JsonError`] naming line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse_text(text.to_owned()),
            Err(e) => Err(JsonError::at(
                JsonErrorKind::NotUtf8,
                bytes,
                e.valid_up_to(),
            )),
        }
    }

    /// Parses one JSON value from text that it then owns, without a copy.
    ///
    /// # Errors
    /// [`JsonError`] naming line and column.
    pub fn parse_text(text: String) -> Result<Self, JsonError> {
        let mut parser = Parser {
            text: text.as_bytes(),
            at: 0,
            nodes: Vec::with_capacity(text.len() / 10 + 4),
            is_compact: true,
        };
        parser.run()?;
        let (nodes, is_compact) = (parser.nodes, parser.is_compact);
        Ok(Self {
            text,
            nodes,
            is_compact,
        })
    }

    /// The whole text as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The top value.
    pub fn root(&self) -> ValueRef<'_> {
        ValueRef {
            document: self,
            index: 0,
        }
    }
}

/// One value inside a [`Document`].
#[derive(Clone, Copy)]
pub struct ValueRef<'a> {
    document: &'a Document,
    index: u32,
}

impl std::fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.raw())
    }
}

impl<'a> ValueRef<'a> {
    fn node(self) -> Node {
        self.document.nodes[self.index as usize]
    }

    /// What this value is.
    pub fn kind(self) -> Kind {
        self.node().kind
    }

    /// A number unique to this value within its document, in document order.
    pub fn position(self) -> u32 {
        self.index
    }

    /// The bytes `[start, end)` of the document's text that [`Self::raw`] returns.
    pub fn span(self) -> std::ops::Range<usize> {
        let node = self.node();
        match node.kind {
            Kind::String | Kind::EscapedString => node.start as usize - 1..node.end as usize + 1,
            _ => node.start as usize..node.end as usize,
        }
    }

    /// The value exactly as written, quotes and brackets included.
    pub fn raw(self) -> &'a str {
        &self.document.text[self.span()]
    }

    /// True for an object.
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// True for an array.
    pub fn is_array(self) -> bool {
        self.kind() == Kind::Array
    }

    /// The member called `name`; `None` when absent or when this is no object.
    pub fn get(self, name: &str) -> Option<ValueRef<'a>> {
        self.members()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, value)| value)
    }

    /// The members of an object in their order; empty for anything else.
    pub fn members(self) -> Members<'a> {
        let node = self.node();
        let is_object = node.kind == Kind::Object;
        Members {
            document: self.document,
            at: self.index + 1,
            end: if is_object { node.next } else { 0 },
        }
    }

    /// The items of an array in their order; empty for anything else.
    pub fn items(self) -> Items<'a> {
        let node = self.node();
        let is_array = node.kind == Kind::Array;
        Items {
            document: self.document,
            at: self.index + 1,
            end: if is_array { node.next } else { 0 },
        }
    }

    /// An array's items, or the value itself as the only one: FHIR elements that repeat and those that do not, alike.
    pub fn each(self) -> impl Iterator<Item = ValueRef<'a>> {
        let single = if self.is_array() { None } else { Some(self) };
        self.items().chain(single)
    }

    /// The string's content, unescaped.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let node = self.node();
        let text = &self.document.text;
        match node.kind {
            Kind::String => Some(Cow::Borrowed(&text[node.start as usize..node.end as usize])),
            Kind::EscapedString => Some(Cow::Owned(unescape(
                &text[node.start as usize..node.end as usize],
            ))),
            _ => None,
        }
    }

    /// The number's digits as written.
    pub fn number_text(self) -> Option<&'a str> {
        (self.kind() == Kind::Number).then(|| self.raw())
    }

    /// The boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// The text of a primitive as FHIR compares it: a string's content, a number's digits, `true` or `false`.
    pub fn primitive_text(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::String | Kind::EscapedString => self.as_str(),
            Kind::Number => self.number_text().map(Cow::Borrowed),
            Kind::True => Some(Cow::Borrowed("true")),
            Kind::False => Some(Cow::Borrowed("false")),
            Kind::Null | Kind::Array | Kind::Object => None,
        }
    }

    /// Appends the value without insignificant white space; digits, escapes and member order stay as written.
    pub fn write_compact(self, out: &mut Vec<u8>) {
        if self.document.is_compact {
            out.extend_from_slice(self.raw().as_bytes());
            return;
        }
        let node = self.node();
        match node.kind {
            Kind::Object => {
                out.push(b'{');
                let mut at = self.index + 1;
                while at < node.next {
                    if at > self.index + 1 {
                        out.push(b',');
                    }
                    let key = ValueRef {
                        document: self.document,
                        index: at,
                    };
                    out.extend_from_slice(key.raw().as_bytes());
                    out.push(b':');
                    let value = ValueRef {
                        document: self.document,
                        index: at + 1,
                    };
                    value.write_compact(out);
                    at = value.node().next;
                }
                out.push(b'}');
            }
            Kind::Array => {
                out.push(b'[');
                for (i, item) in self.items().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_compact(out);
                }
                out.push(b']');
            }
            _ => out.extend_from_slice(self.raw().as_bytes()),
        }
    }

    /// Copies the value into an owned tree.
    pub fn to_value(self) -> Value {
        match self.kind() {
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Number => Value::Number(super::Number::from_checked(self.raw())),
            Kind::String | Kind::EscapedString => {
                Value::String(self.as_str().unwrap_or_default().into_owned())
            }
            Kind::Array => Value::Array(self.items().map(ValueRef::to_value).collect()),
            Kind::Object => Value::Object(
                self.members()
                    .map(|(k, v)| (k.into_owned(), v.to_value()))
                    .collect(),
            ),
        }
    }

    /// True when both hold the same content: objects regardless of member order, numbers by their digits.
    pub fn same_as(self, other: ValueRef<'_>) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Object, Kind::Object) => {
                self.members().count() == other.members().count()
                    && self
                        .members()
                        .all(|(k, v)| other.get(&k).is_some_and(|o| v.same_as(o)))
            }
            (Kind::Array, Kind::Array) => {
                self.items().count() == other.items().count()
                    && self.items().zip(other.items()).all(|(a, b)| a.same_as(b))
            }
            (Kind::String | Kind::EscapedString, Kind::String | Kind::EscapedString) => {
                self.as_str() == other.as_str()
            }
            (a, b) => a == b && self.raw() == other.raw(),
        }
    }
}

/// Iterator over an object's members.
#[derive(Clone)]
pub struct Members<'a> {
    document: &'a Document,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let key = ValueRef {
            document: self.document,
            index: self.at,
        };
        let value = ValueRef {
            document: self.document,
            index: self.at + 1,
        };
        self.at = value.node().next;
        key.as_str().map(|k| (k, value))
    }
}

/// Iterator over an array's items.
#[derive(Clone)]
pub struct Items<'a> {
    document: &'a Document,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Items<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let item = ValueRef {
            document: self.document,
            index: self.at,
        };
        self.at = item.node().next;
        Some(item)
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    is_compact: bool,
}

impl Parser<'_> {
    fn fail<T>(&self, kind: JsonErrorKind) -> Result<T, JsonError> {
        let kind = match kind {
            JsonErrorKind::UnexpectedCharacter if self.at >= self.text.len() => {
                JsonErrorKind::UnexpectedEnd
            }
            other => other,
        };
        Err(JsonError::at(kind, self.text, self.at))
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
            self.is_compact = false;
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node {
            start: start as u32,
            end: end as u32,
            next,
            kind,
        });
    }

    /// Walks the text with a stack of open containers, so depth costs no call stack.
    fn run(&mut self) -> Result<(), JsonError> {
        if self.text.len() >= u32::MAX as usize {
            return self.fail(JsonErrorKind::TooLong);
        }
        let mut open: Vec<u32> = Vec::with_capacity(16);
        loop {
            // A value stands here.
            self.skip_space();
            let start = self.at;
            match self.peek() {
                b'{' | b'[' => {
                    if open.len() >= JSON_DEPTH_MAX {
                        return self.fail(JsonErrorKind::TooDeep);
                    }
                    let is_object = self.peek() == b'{';
                    open.push(self.nodes.len() as u32);
                    self.push(
                        if is_object { Kind::Object } else { Kind::Array },
                        start,
                        start,
                    );
                    self.at += 1;
                    self.skip_space();
                    if self.peek() != if is_object { b'}' } else { b']' } {
                        if is_object {
                            self.member_name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true", Kind::True)?,
                b'f' => self.word(b"false", Kind::False)?,
                b'n' => self.word(b"null", Kind::Null)?,
                _ => return self.fail(JsonErrorKind::UnexpectedCharacter),
            }
            // The value is complete, or an empty container waits to be closed.
            loop {
                self.skip_space();
                let Some(container) = open.last().copied() else {
                    if self.at < self.text.len() {
                        return self.fail(JsonErrorKind::TrailingCharacters);
                    }
                    return Ok(());
                };
                let is_object = self.nodes[container as usize].kind == Kind::Object;
                match self.peek() {
                    b',' if self.nodes.len() as u32 > container + 1 => {
                        self.at += 1;
                        if is_object {
                            self.skip_space();
                            self.member_name()?;
                        }
                        break;
                    }
                    b'}' if is_object => self.close(container)?,
                    b']' if !is_object => self.close(container)?,
                    _ => return self.fail(JsonErrorKind::UnexpectedCharacter),
                }
                open.pop();
            }
        }
    }

    fn close(&mut self, container: u32) -> Result<(), JsonError> {
        self.at += 1;
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[container as usize];
        node.end = self.at as u32;
        node.next = next;
        if node.kind == Kind::Object {
            self.refuse_duplicates(container)
        } else {
            Ok(())
        }
    }

    fn member_name(&mut self) -> Result<(), JsonError> {
        if self.peek() != b'"' {
            return self.fail(JsonErrorKind::UnexpectedCharacter);
        }
        self.string()?;
        self.skip_space();
        if self.peek() != b':' {
            return self.fail(JsonErrorKind::UnexpectedCharacter);
        }
        self.at += 1;
        Ok(())
    }

    /// Objects are small, so a pairwise look is cheapest; the large ones go through a set.
    fn refuse_duplicates(&self, container: u32) -> Result<(), JsonError> {
        let end = self.nodes[container as usize].next;
        let mut names: [(u32, u32); 16] = [(0, 0); 16];
        let mut count = 0usize;
        let mut at = container + 1;
        let mut many: Option<HashSet<Cow<'_, [u8]>>> = None;
        while at < end {
            let key = self.nodes[at as usize];
            let name = &self.text[key.start as usize..key.end as usize];
            let is_new =
                if key.kind == Kind::EscapedString || many.is_some() || count == names.len() {
                    let set = many.get_or_insert_with(|| {
                        names[..count]
                            .iter()
                            .map(|n| Cow::Borrowed(&self.text[n.0 as usize..n.1 as usize]))
                            .collect()
                    });
                    set.insert(match std::str::from_utf8(name) {
                        Ok(text) if key.kind == Kind::EscapedString => {
                            Cow::Owned(unescape(text).into_bytes())
                        }
                        _ => Cow::Borrowed(name),
                    })
                } else {
                    let seen = names[..count]
                        .iter()
                        .any(|n| &self.text[n.0 as usize..n.1 as usize] == name);
                    names[count] = (key.start, key.end);
                    count += 1;
                    !seen
                };
            if !is_new {
                return Err(JsonError::at(
                    JsonErrorKind::DuplicateMember,
                    self.text,
                    key.start as usize,
                ));
            }
            at = self.nodes[at as usize + 1].next;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail(JsonErrorKind::UnexpectedCharacter);
        }
        self.push(kind, self.at, self.at + word.len());
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start {
            self.fail(JsonErrorKind::BadNumber)
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
            if self.peek().is_ascii_digit() {
                return self.fail(JsonErrorKind::BadNumber);
            }
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        self.push(Kind::Number, start, self.at);
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let start = self.at;
        let mut kind = Kind::String;
        loop {
            while let Some(chunk) = self
                .text
                .get(self.at..self.at + 8)
                .and_then(|c| c.try_into().ok())
            {
                let special = special_bytes(u64::from_le_bytes(chunk));
                if special != 0 {
                    self.at += special.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            while self.text.get(self.at).is_some_and(|b| PLAIN[*b as usize]) {
                self.at += 1;
            }
            match self.text.get(self.at) {
                None => return self.fail(JsonErrorKind::UnexpectedEnd),
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = Kind::EscapedString;
                    self.escape()?;
                }
                Some(_) => return self.fail(JsonErrorKind::ControlCharacter),
            }
        }
        self.push(kind, start, self.at);
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let first = self.hex4(self.at + 2)?;
                self.at += 6;
                match first {
                    0xD800..=0xDBFF => {
                        if self.text.get(self.at..self.at + 2) != Some(b"\\u".as_slice()) {
                            return self.fail(JsonErrorKind::BadEscape);
                        }
                        let second = self.hex4(self.at + 2)?;
                        if !(0xDC00..=0xDFFF).contains(&second) {
                            return self.fail(JsonErrorKind::BadEscape);
                        }
                        self.at += 6;
                        Ok(())
                    }
                    0xDC00..=0xDFFF => self.fail(JsonErrorKind::BadEscape),
                    _ => Ok(()),
                }
            }
            _ => self.fail(JsonErrorKind::BadEscape),
        }
    }

    fn hex4(&self, at: usize) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(at..at + 4)
            .filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        match digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .map(|d| u32::from_str_radix(d, 16))
        {
            Some(Ok(code)) => Ok(code),
            _ => Err(JsonError::at(JsonErrorKind::BadEscape, self.text, at)),
        }
    }
}

/// Eight bytes at once: the high bit of each byte that is `"`, `\` or below U+0020 is set. Bits above the lowest one
/// set may be false alarms (borrow), which is why only the lowest is used.
fn special_bytes(chunk: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let quote = has_zero(chunk ^ (ONES * b'"' as u64));
    let backslash = has_zero(chunk ^ (ONES * b'\\' as u64));
    let control = chunk.wrapping_sub(ONES * 0x20) & !chunk & HIGHS;
    quote | backslash | control
}

/// Bytes that need no look inside a string.
const PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = false;
        i += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
};
