//! Sends the messages of a file over MLLP, TLS or HTTP, one after the other, and says what each was answered.
//!
//! HL7 v2 chapter 2: the next message goes out when the one before is acknowledged. In enhanced mode that is the
//! application acknowledgement if the message asks for one always (MSH-16 `AL`), else the commit acknowledgement.
//!
//! Left out on purpose: sending again. Whoever sends decides that, from what is reported here.

use std::io;
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use crate::hl7v2::batch::split;
use crate::hl7v2::charset::{self, Fallback};
use crate::hl7v2::header::Header;
use crate::hl7v2::normalise::normalise;
use crate::hl7v2::tokenize::{At, tokenize};
use crate::http_client::{self, HttpError, Limits, Target};
use crate::issue::Issue;
use crate::mllp::{Deframer, Event, frame};
use crate::tls::Connector;

/// The content type of a message sent over HTTP.
pub const CONTENT_TYPE: &str = "application/hl7-v2";

/// Where messages go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// MLLP over TCP, `host:port`.
    Mllp(String),
    /// MLLP over TLS, `host:port`.
    MllpTls(String, Connector),
    /// A POST for each message; with the connector over https.
    Http(Target, Option<Connector>),
}

/// How long to wait, and how much to take.
#[derive(Debug, Clone)]
pub struct SendOptions {
    /// For the connection.
    pub connect_timeout: Duration,
    /// For each acknowledgement.
    pub answer_timeout: Duration,
    /// Largest acknowledgement, bytes.
    pub answer_bytes_max: usize,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            answer_bytes_max: 1024 * 1024,
        }
    }
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its place in the file, from 1.
    pub number: usize,
    /// Its MSH-10, when it has one.
    pub control_id: String,
    /// What came back.
    pub result: Result<Acknowledgement, SendError>,
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// MSA-1: AA, AE, AR, or CA, CE, CR of a receiver in enhanced mode; empty when none was wanted.
    pub code: String,
    /// Code and text of each ERR segment, else MSA-3.
    pub errors: Vec<String>,
    /// The acknowledgement, decoded, its segments ended by CR.
    pub text: String,
}

impl Acknowledgement {
    /// True when the receiver has taken the message, or was asked to say nothing.
    pub fn is_accepted(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA" | "")
    }

    /// What stands for the answer to a message that asks for none.
    fn not_wanted() -> Self {
        Self {
            code: String::new(),
            errors: vec!["sent; the message asks for no acknowledgement".to_owned()],
            text: String::new(),
        }
    }
}

/// Why there is no acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The receiver did not answer in time. Whether it has stored the message is not known.
    #[error("no acknowledgement in time; the message may or may not be stored")]
    Timeout,
    /// The connection broke. Whether the receiver has stored the message is not known.
    #[error(
        "the connection ended before the acknowledgement; the message may or may not be stored"
    )]
    Closed,
    /// What came back is no acknowledgement of this message.
    #[error("the answer is no acknowledgement of this message: {0}")]
    NotAnAcknowledgement(&'static str),
    /// The receiver answered over HTTP, but with no acknowledgement.
    #[error("HTTP status {0} without an acknowledgement")]
    Status(u16),
    /// The receiver cannot be reached; nothing was sent.
    #[error("not sent: the receiver cannot be reached")]
    Unreachable,
    /// An earlier message was not answered, so this one was not sent.
    #[error("not sent: an earlier message was not acknowledged")]
    NotSent,
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each message of the file, in its order.
    pub sent: Vec<Sent>,
    /// What was odd about the file.
    pub issues: Vec<Issue>,
}

/// Sends all messages of a file to a destination. `told` hears of each when it is answered.
///
/// # Errors
/// When the connection cannot be made.
pub async fn send_to(
    destination: &Destination,
    file: &[u8],
    options: &SendOptions,
    told: &mut (dyn FnMut(&Sent) + Send),
) -> io::Result<Report> {
    match destination {
        Destination::Mllp(address) => send_file(address.as_str(), file, options, told).await,
        Destination::MllpTls(address, connector) => {
            let host = address.rsplit_once(':').map_or("", |(host, _)| host);
            let connect = async {
                let stream = TcpStream::connect(address.as_str()).await?;
                stream.set_nodelay(true)?;
                connector
                    .connect(host.trim_matches(['[', ']']), stream)
                    .await
            };
            let connected = timeout(options.connect_timeout, connect).await;
            let mut stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let report = send_messages(&mut stream, file, options, told).await;
            // The messages are answered; how the connection ends changes nothing.
            let _ = stream.shutdown().await;
            Ok(report)
        }
        Destination::Http(target, connector) => {
            Ok(post_messages(target, connector.as_ref(), file, options, told).await)
        }
    }
}

/// Connects and sends all messages of a file. `told` hears of each when it is answered.
///
/// # Errors
/// When the connection cannot be made.
pub async fn send_file(
    address: impl ToSocketAddrs,
    file: &[u8],
    options: &SendOptions,
    told: &mut (dyn FnMut(&Sent) + Send),
) -> io::Result<Report> {
    let connect = timeout(options.connect_timeout, TcpStream::connect(address)).await;
    let mut stream = connect.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(send_messages(&mut stream, file, options, told).await)
}

/// Sends all messages of a file over an open connection.
pub async fn send_messages<S>(
    stream: &mut S,
    file: &[u8],
    options: &SendOptions,
    told: &mut (dyn FnMut(&Sent) + Send),
) -> Report
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut deframer = Deframer::new(options.answer_bytes_max);
    let mut work = Work::new(file);
    while let Some((message, control_id)) = work.next() {
        let result = exchange(stream, &mut deframer, &message, &control_id, options).await;
        work.done(control_id, result, told);
    }
    work.finish(told)
}

/// Sends all messages of a file over HTTP.
async fn post_messages(
    target: &Target,
    connector: Option<&Connector>,
    file: &[u8],
    options: &SendOptions,
    told: &mut (dyn FnMut(&Sent) + Send),
) -> Report {
    let limits = Limits {
        connect_timeout: options.connect_timeout,
        answer_timeout: options.answer_timeout,
        answer_bytes_max: options.answer_bytes_max,
    };
    let headers = [("content-type", CONTENT_TYPE)];
    let mut work = Work::new(file);
    while let Some((message, control_id)) = work.next() {
        let answer =
            http_client::request(target, "POST", &headers, &message, connector, &limits).await;
        let result = match answer {
            Ok(answer) => match last_acknowledgement(&answer.body, &control_id) {
                Err(_) => Err(SendError::Status(answer.status)),
                read => read,
            },
            Err(HttpError::Unreachable(_)) => Err(SendError::Unreachable),
            Err(HttpError::Broken(_)) => Err(SendError::Closed),
            Err(HttpError::Timeout) => Err(SendError::Timeout),
        };
        work.done(control_id, result, told);
    }
    work.finish(told)
}

/// The messages of a file that are still to be sent, and what became of the others.
struct Work<'a> {
    file: &'a [u8],
    left: std::vec::IntoIter<Range<usize>>,
    report: Report,
    is_broken: bool,
}

impl<'a> Work<'a> {
    fn new(file: &'a [u8]) -> Self {
        let batch = split(file);
        Self {
            file,
            report: Report {
                sent: Vec::with_capacity(batch.messages.len()),
                issues: batch.issues,
            },
            left: batch.messages.into_iter(),
            is_broken: false,
        }
    }

    /// The next message and its control id; `None` at the end, or after an answer that did not come.
    fn next(&mut self) -> Option<(Vec<u8>, String)> {
        if self.is_broken {
            return None;
        }
        let message = for_the_wire(self.file, self.left.next()?);
        let control_id = control_id(&message);
        Some((message, control_id))
    }

    fn done(
        &mut self,
        control_id: String,
        result: Result<Acknowledgement, SendError>,
        told: &mut (dyn FnMut(&Sent) + Send),
    ) {
        // An answer that comes late would be taken for that of the next message, so nothing more is sent.
        self.is_broken |= !matches!(result, Ok(_) | Err(SendError::Status(_)));
        let sent = Sent {
            number: self.report.sent.len() + 1,
            control_id,
            result,
        };
        told(&sent);
        self.report.sent.push(sent);
    }

    /// Reports what was not sent.
    fn finish(mut self, told: &mut (dyn FnMut(&Sent) + Send)) -> Report {
        while let Some(place) = self.left.next() {
            let control_id = control_id(&for_the_wire(self.file, place));
            self.done(control_id, Err(SendError::NotSent), told);
        }
        self.report
    }
}

fn control_id(message: &[u8]) -> String {
    Header::probe(message).map_or_else(String::new, |h| h.control_id().to_owned())
}

/// A message as MLLP wants it: CR ends segments. Files have what their system writes.
fn for_the_wire(file: &[u8], place: Range<usize>) -> Vec<u8> {
    let message = file.get(place).unwrap_or_default();
    if message.starts_with(&[0xFF, 0xFE]) || message.starts_with(&[0xFE, 0xFF]) {
        return message.to_vec();
    }
    let mut wire = Vec::with_capacity(message.len() + 1);
    let only_lf = !message.contains(&b'\r');
    let mut bytes = message.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' if only_lf => wire.push(b'\r'),
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                wire.push(b'\r');
            }
            byte => wire.push(*byte),
        }
    }
    while wire.ends_with(b"\r\r") {
        wire.pop();
    }
    wire
}

async fn exchange<S>(
    stream: &mut S,
    deframer: &mut Deframer,
    message: &[u8],
    control_id: &str,
    options: &SendOptions,
) -> Result<Acknowledgement, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let both = async {
        let closed = |_| SendError::Closed;
        stream.write_all(&frame(message)).await.map_err(closed)?;
        stream.flush().await.map_err(closed)?;
        let (accept, application) = Header::probe(message).map_or_else(Default::default, |h| {
            let wish = |field| h.component(field, 1).to_owned();
            (wish(15), wish(16))
        });
        if accept == "NE" && matches!(application.as_str(), "NE" | "") {
            return Ok(Acknowledgement::not_wanted());
        }
        let first = next_frame(stream, deframer).await?;
        let first = read_acknowledgement(&first, control_id)?;
        if first.code != "CA" || application != "AL" {
            return Ok(first);
        }
        let second = next_frame(stream, deframer).await?;
        read_acknowledgement(&second, control_id)
    };
    timeout(options.answer_timeout, both)
        .await
        .unwrap_or(Err(SendError::Timeout))
}

/// The last acknowledgement of a body that may hold the two of enhanced mode.
fn last_acknowledgement(body: &[u8], control_id: &str) -> Result<Acknowledgement, SendError> {
    if body.is_empty() {
        return Err(SendError::NotAnAcknowledgement("it is empty"));
    }
    match split(body).messages.pop() {
        Some(place) => read_acknowledgement(body.get(place).unwrap_or_default(), control_id),
        None => Err(SendError::NotAnAcknowledgement("it is empty")),
    }
}

async fn next_frame<S: AsyncRead + Unpin>(
    stream: &mut S,
    deframer: &mut Deframer,
) -> Result<bytes::Bytes, SendError> {
    loop {
        match deframer.next_event() {
            Some(Event::Frame(answer)) => return Ok(answer),
            Some(Event::TooLarge { .. }) => {
                return Err(SendError::NotAnAcknowledgement("it is too large"));
            }
            Some(Event::Garbage { .. } | Event::Cut { .. }) => {}
            None => match stream.read_buf(deframer.buffer()).await {
                Ok(n) if n > 0 => {}
                _ => return Err(SendError::Closed),
            },
        }
    }
}

fn read_acknowledgement(answer: &[u8], control_id: &str) -> Result<Acknowledgement, SendError> {
    let unreadable = |_| SendError::NotAnAcknowledgement("it cannot be read");
    let issues = &mut Vec::new();
    let decoded = charset::decode(answer, &Fallback::default(), issues).map_err(unreadable)?;
    let lines = normalise(&decoded.text, &decoded.offsets, issues).map_err(unreadable)?;
    let message = tokenize(&decoded.text, lines).map_err(unreadable)?;
    let leaf = |segment, field, component| message.first(segment, At::new(field, 1, component, 1));
    let code = leaf("MSA", 1, 1).ok_or(SendError::NotAnAcknowledgement("it has no MSA-1"))?;
    let whole_id = message
        .segments
        .iter()
        .find(|s| s.id.as_str() == "MSA")
        .map_or("", |s| {
            let line = message.text_at(&s.span);
            line.split(char::from(message.delimiters.field))
                .nth(2)
                .unwrap_or("")
        });
    if !control_id.is_empty() && whole_id != control_id {
        return Err(SendError::NotAnAcknowledgement(
            "MSA-2 is not the control id sent",
        ));
    }
    let mut errors = Vec::new();
    for segment in message.segments.iter().filter(|s| s.id.as_str() == "ERR") {
        let texts = message
            .leaves_of(segment)
            .iter()
            .filter(|l| matches!(l.at.field, 1 | 3 | 8));
        errors.push(
            texts
                .map(|l| message.text_at(&l.span))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    if errors.is_empty() {
        errors.extend(leaf("MSA", 3, 1).map(str::to_owned));
    }
    Ok(Acknowledgement {
        code: code.to_owned(),
        errors,
        text: decoded.text.clone().into_owned(),
    })
}
