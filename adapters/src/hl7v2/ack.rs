//! Acknowledgements: what the sender is told, in its own version, delimiters and character set.
//!
//! HL7 v2 chapter 2, "ACK - general acknowledgment": AA, AE, AR and CA, CE, CR of table 0008, and ERR with the codes
//! of table 0357 (<https://terminology.hl7.org/CodeSystem-v2-0357.html>). Which of them a sender gets is decided in
//! [`crate::acknowledge`].
//!
//! Left out on purpose: ERR-5 to ERR-7, which repeat what ERR-3 and ERR-8 say.

use mappings::{At, Position};

use super::charset::Charset;
use super::datetime::Dtm;
use super::header::{Header, release};
use super::tokenize::Delimiters;
use crate::issue::{Issue, Severity};
use crate::port::AckCode;

/// Most ERR segments of one answer: a sender's log needs the first few, the message log has all.
pub const ERRORS_MAX: usize = 20;
/// Longest text of one ERR segment, in characters; ERR-8 is 250 long in v2.5.
pub const TEXT_MAX: usize = 250;

/// Which of the two acknowledgements of enhanced mode an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The only answer of original mode: AA, AE, AR.
    Original,
    /// Enhanced mode, about safe storage: CA, CE, CR.
    Accept,
    /// Enhanced mode, about the content: AA, AE, AR.
    Application,
}

impl Level {
    /// MSA-1, table 0008.
    pub fn code(self, code: AckCode) -> &'static str {
        match (self, code) {
            (Level::Accept, AckCode::Accept) => "CA",
            (Level::Accept, AckCode::Error) => "CE",
            (Level::Accept, AckCode::Reject) => "CR",
            (Level::Original | Level::Application, code) => code.as_str(),
        }
    }
}

/// What an answer is made from.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Of the message; `None` when it had none that could be read.
    pub header: Option<&'a Header>,
    /// Of the message.
    pub charset: Charset,
    /// What the sender is told.
    pub code: AckCode,
    /// At which level.
    pub level: Level,
    /// What is wrong; told when the code is not AA.
    pub errors: &'a [Issue],
    /// The answer's MSH-7.
    pub now: &'a Dtm,
    /// The answer's MSH-10.
    pub control_id: &'a str,
}

impl Reply<'_> {
    /// The answer, without framing.
    pub fn bytes(&self) -> Vec<u8> {
        self.charset.encode(&self.text())
    }

    /// The answer as text.
    pub fn text(&self) -> String {
        let delimiters = self.header.map_or(Delimiters::STANDARD, |h| h.delimiters);
        let mut out = Writer {
            delimiters,
            text: String::with_capacity(256),
        };
        // 2.5.1 is what the answer to an unreadable header is written in: it has a place for every part of an error.
        let version = self.header.map_or("2.5.1", |h| h.field(12));
        let number = self.header.map_or("2.5.1", Header::version);
        let released = release(number).unwrap_or((2, 3, 0));
        self.msh(&mut out, version, released);
        self.msa(&mut out, released);
        if self.code != AckCode::Accept {
            for issue in self.errors.iter().take(ERRORS_MAX) {
                err(&mut out, issue, released);
            }
        }
        out.text
    }

    fn msh(&self, out: &mut Writer, version: &str, released: (u8, u8, u8)) {
        let field = |number| self.header.map_or("", |h: &Header| h.field(number));
        out.text.push_str("MSH");
        out.raw(&out.delimiters.encoding_characters());
        // What was received by us is sent by us.
        for number in [5, 6, 3, 4] {
            out.raw(field(number));
        }
        out.raw(&self.now.to_string());
        out.raw("");
        let event = self.header.map_or("", |h| h.component(9, 2));
        if released >= (2, 4, 0) && !event.is_empty() {
            let component = char::from(out.delimiters.component);
            out.raw(&format!("ACK{component}{event}{component}ACK"));
        } else {
            out.raw("ACK");
        }
        out.raw(self.control_id);
        out.raw(match field(11) {
            "" => "P",
            id => id,
        });
        out.raw(version);
        // An application acknowledgement is a message of enhanced mode itself; it asks for no answer.
        let wish = match self.level {
            Level::Application => "NE",
            Level::Original | Level::Accept => "",
        };
        for text in ["", "", wish, wish, "", field(18)] {
            out.raw(text);
        }
        out.end();
    }

    fn msa(&self, out: &mut Writer, released: (u8, u8, u8)) {
        out.text.push_str("MSA");
        out.raw(self.level.code(self.code));
        out.raw(self.header.map_or("", Header::control_id));
        // From v2.5 on the text stands in ERR; older senders look for it in MSA-3 alone.
        if let Some(issue) = self
            .errors
            .first()
            .filter(|_| self.code != AckCode::Accept && released < (2, 5, 0))
        {
            let text = told(issue);
            out.escaped(&text);
        }
        out.end();
    }
}

/// An ERR segment: from v2.5 in parts, before as one field.
fn err(out: &mut Writer, issue: &Issue, released: (u8, u8, u8)) {
    let (code, meaning) = table_0357(issue);
    let location = location(issue.position.as_ref());
    let component = char::from(out.delimiters.component);
    out.text.push_str("ERR");
    if released < (2, 5, 0) {
        // ERR-1 is segment, sequence, field, and the code with its text as sub-components.
        let sub = char::from(out.delimiters.subcomponent.unwrap_or(b'&'));
        let mut parts: Vec<String> = location.into_iter().take(3).collect();
        parts.resize(3, String::new());
        parts.push(format!("{code}{sub}{meaning}{sub}HL70357"));
        out.raw(&parts.join(&component.to_string()));
    } else {
        out.raw("");
        out.raw(&location.join(&component.to_string()));
        out.raw(&format!("{code}{component}{meaning}{component}HL70357"));
        out.raw(match issue.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
            Severity::Information => "I",
        });
        for _ in 5..8 {
            out.raw("");
        }
        let text = told(issue);
        out.escaped(&text);
    }
    out.end();
}

/// ERL: segment, sequence, field, repetition, component, sub-component, as far as known.
fn location(position: Option<&Position>) -> Vec<String> {
    let Some(Position::Hl7v2 {
        segment,
        occurrence,
        at,
    }) = position
    else {
        return Vec::new();
    };
    let At {
        field,
        repetition,
        component,
        subcomponent,
    } = *at;
    let mut parts = vec![segment.to_string(), occurrence.to_string()];
    let numbers = [field, repetition, component, subcomponent];
    parts.extend(numbers.iter().take_while(|n| **n > 0).map(u16::to_string));
    parts
}

fn told(issue: &Issue) -> String {
    let text = issue.to_string();
    text.chars().take(TEXT_MAX).collect()
}

/// HL7 table 0357.
fn table_0357(issue: &Issue) -> (&'static str, &'static str) {
    match issue.code.as_ref() {
        "several-messages" | "batch" | "fragment" | "line-is-no-segment" | "no-msh" => {
            ("100", "Segment sequence error")
        }
        "message-type-missing" | "control-id-missing" | "no-identity" | "required-missing" => {
            ("101", "Required field missing")
        }
        "charset-invalid-bytes"
        | "charset-unknown"
        | "charset-uncertain"
        | "control-character"
        | "delimiters" => ("102", "Data type error"),
        "message-type-unsupported" => ("200", "Unsupported message type"),
        "event-unsupported" => ("201", "Unsupported event code"),
        "processing-id-unsupported" => ("202", "Unsupported processing id"),
        "version-unsupported" => ("203", "Unsupported version id"),
        _ => ("207", "Application internal error"),
    }
}

struct Writer {
    delimiters: Delimiters,
    text: String,
}

impl Writer {
    /// A field that is delimited and escaped already.
    fn raw(&mut self, field: &str) {
        self.text.push(char::from(self.delimiters.field));
        self.text.push_str(field);
    }

    /// A field of plain text. Without an escape character a delimiter can only become a blank.
    fn escaped(&mut self, field: &str) {
        self.text.push(char::from(self.delimiters.field));
        let d = self.delimiters;
        let named = [
            (Some(d.field), 'F'),
            (Some(d.component), 'S'),
            (d.repetition, 'R'),
            (d.subcomponent, 'T'),
            (d.escape, 'E'),
            (d.truncation, 'P'),
        ];
        for c in field.chars() {
            let name = named
                .iter()
                .find(|(byte, _)| byte.map(char::from) == Some(c));
            match (name, d.escape.map(char::from)) {
                (Some((_, name)), Some(escape)) => self.text.extend([escape, *name, escape]),
                (Some(_), None) => self.text.push(' '),
                (None, _) if c.is_control() => self.text.push(' '),
                (None, _) => self.text.push(c),
            }
        }
    }

    fn end(&mut self) {
        let filled = self
            .text
            .trim_end_matches(char::from(self.delimiters.field))
            .len();
        self.text.truncate(filled);
        self.text.push('\r');
    }
}
