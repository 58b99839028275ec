//! Which acknowledgements a sender gets: original mode, or enhanced mode as MSH-15 and MSH-16 ask.
//!
//! HL7 v2 chapter 2, "Message processing rules" (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>) and table 0155. Both
//! levels are answered after the durable commit: CA is never said of a message that could be lost.
//!
//! Left out on purpose: application acknowledgements on a connection of their own. They follow on the same one.

use serde::{Deserialize, Serialize};

use crate::hl7v2::ack::{Level, Reply};
use crate::hl7v2::charset::Charset;
use crate::hl7v2::datetime::Dtm;
use crate::hl7v2::header::Header;
use crate::issue::{Issue, Severity};
use crate::port::{AckCode, IntakeError, Outcome, Receipt};

/// How a feed acknowledges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Original mode, unless MSH-15 or MSH-16 has a value: then enhanced mode.
    #[default]
    ByMessage,
    /// Always original mode: for senders that fill MSH-15 and wait for AA all the same.
    Original,
}

/// HL7 table 0155.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Always,
    Never,
    OnError,
    OnSuccess,
}

impl Wish {
    /// An unknown code counts as `AL`: an answer too many does less harm than one too few.
    fn of(code: &str) -> Self {
        match code {
            "" | "NE" => Self::Never,
            "ER" => Self::OnError,
            "SU" => Self::OnSuccess,
            _ => Self::Always,
        }
    }

    fn includes(self, code: AckCode) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::OnError => code != AckCode::Accept,
            Self::OnSuccess => code == AckCode::Accept,
        }
    }
}

/// What the sender asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wishes {
    Original,
    Enhanced {
        accept: Wish,
        application: Wish,
    },
    /// An acknowledgement is never acknowledged, or two systems would talk for ever.
    Silence,
}

impl Wishes {
    fn of(header: Option<&Header>, mode: Mode) -> Self {
        let Some(header) = header else {
            return Self::Original;
        };
        if header.component(9, 1) == "ACK" {
            return Self::Silence;
        }
        let (accept, application) = (header.component(15, 1), header.component(16, 1));
        if mode == Mode::Original || (accept.is_empty() && application.is_empty()) {
            return Self::Original;
        }
        Self::Enhanced {
            accept: Wish::of(accept),
            application: Wish::of(application),
        }
    }
}

/// What an acknowledgement needs of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Option<Header>,
    charset: Charset,
    wishes: Wishes,
    /// Whether the message was understood well enough to have a mapping: its errors are about the content then.
    is_understood: bool,
}

/// What goes back to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The message is durably kept; this says what became of it.
    Kept {
        /// Accepted, error or rejected.
        code: AckCode,
        /// Acknowledgements in their order, without framing; none when the sender wants none.
        acks: Vec<Vec<u8>>,
        /// Why it was not accepted, for people; names places, never values.
        reason: Option<String>,
    },
    /// Nothing was stored; the sender must send again, and first this message. `None` when the sender wants no answer:
    /// then only a closed connection tells it.
    NotStored(Option<Vec<u8>>),
}

impl Envelope {
    /// The envelope of a message that was read.
    pub(crate) fn new(
        header: Option<Header>,
        charset: Charset,
        mode: Mode,
        is_understood: bool,
    ) -> Self {
        let wishes = Wishes::of(header.as_ref(), mode);
        Self {
            header,
            charset,
            wishes,
            is_understood,
        }
    }

    /// An envelope for bytes that were never read: a frame too large, or taken while stopping.
    pub fn of_unread(head: &[u8], mode: Mode) -> Self {
        Self::new(Header::probe(head), Charset::UTF_8, mode, false)
    }

    /// The answer to what the gateway said. `stamp` gives time and control id of each acknowledgement.
    pub fn answer(
        &self,
        result: &Result<Receipt, IntakeError>,
        stamp: &mut dyn FnMut() -> (Dtm, String),
    ) -> Answer {
        match result {
            Ok(Receipt {
                outcome: Outcome::Processed,
                ..
            }) => self.kept(AckCode::Accept, &[], stamp),
            Ok(Receipt {
                outcome: Outcome::Refused { code, reason },
                ..
            }) => self.kept(*code, std::slice::from_ref(reason), stamp),
            Err(IntakeError::Invalid(issues)) => self.kept(AckCode::Error, issues, stamp),
            Err(IntakeError::Overloaded) => {
                let text = "the server is overloaded and stored nothing; send the message again";
                self.not_stored(Issue::new(Severity::Error, "overloaded", text), stamp)
            }
            Err(IntakeError::Unavailable(_)) => {
                let text = "the store cannot be reached and stored nothing; send the message again";
                self.not_stored(Issue::new(Severity::Error, "unavailable", text), stamp)
            }
        }
    }

    /// The answers about a message that is durably kept.
    pub fn kept(
        &self,
        code: AckCode,
        errors: &[Issue],
        stamp: &mut dyn FnMut() -> (Dtm, String),
    ) -> Answer {
        let mut acks = Vec::new();
        match self.wishes {
            Wishes::Silence => {}
            Wishes::Original => acks.push(self.reply(code, Level::Original, errors, stamp)),
            Wishes::Enhanced {
                accept,
                application,
            } => {
                // Type, version and processing id are judged at the accept level, and so is what cannot be read.
                let is_content =
                    code == AckCode::Accept || (code == AckCode::Error && self.is_understood);
                let stored = if is_content { AckCode::Accept } else { code };
                if accept.includes(stored) {
                    acks.push(self.reply(stored, Level::Accept, errors, stamp));
                }
                if is_content && application.includes(code) {
                    acks.push(self.reply(code, Level::Application, errors, stamp));
                }
            }
        }
        let reason = errors.first().filter(|_| code != AckCode::Accept);
        Answer::Kept {
            code,
            acks,
            reason: reason.map(ToString::to_string),
        }
    }

    /// AR, or CE, for a message that was not stored.
    pub fn not_stored(&self, reason: Issue, stamp: &mut dyn FnMut() -> (Dtm, String)) -> Answer {
        let errors = [reason];
        Answer::NotStored(match self.wishes {
            Wishes::Silence => None,
            Wishes::Original => Some(self.reply(AckCode::Reject, Level::Original, &errors, stamp)),
            Wishes::Enhanced { accept, .. } => accept
                .includes(AckCode::Error)
                .then(|| self.reply(AckCode::Error, Level::Accept, &errors, stamp)),
        })
    }

    fn reply(
        &self,
        code: AckCode,
        level: Level,
        errors: &[Issue],
        stamp: &mut dyn FnMut() -> (Dtm, String),
    ) -> Vec<u8> {
        let (now, control_id) = stamp();
        Reply {
            header: self.header.as_ref(),
            charset: self.charset,
            code,
            level,
            errors,
            now: &now,
            control_id: &control_id,
        }
        .bytes()
    }
}
