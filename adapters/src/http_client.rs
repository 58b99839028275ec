//! The smallest HTTP/1.1 client that sending a message and talking to the server's own API need.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112>: one request a connection, bodies by length, chunks or until the end.
//!
//! Left out on purpose: redirects, cookies, compression, proxies, reuse of connections.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::Connector;

/// Longest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path, with `/` first.
    pub path: String,
    /// `https`.
    pub is_secure: bool,
}

impl Target {
    /// Of a URL.
    ///
    /// # Errors
    /// A sentence saying what a URL looks like.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "a URL looks like http://127.0.0.1:8080/path".to_owned();
        let (is_secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if authority.is_empty()
            || authority.contains('@')
            || !is_plain(authority)
            || !is_plain(path)
        {
            return Err(wrong());
        }
        let default = if is_secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (authority, default),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            path: path.to_owned(),
            is_secure,
        })
    }
}

/// How long to wait, and how much to take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the connection.
    pub connect_timeout: Duration,
    /// For the whole answer.
    pub answer_timeout: Duration,
    /// Largest answer, bytes.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent.
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    /// Sent, perhaps only in part; what became of it is not known.
    #[error("the connection ended before the answer: {0}")]
    Broken(io::Error),
    /// Sent; no answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// Sends one request and reads its answer. Headers must hold no line ends.
///
/// # Errors
/// See [`HttpError`].
pub async fn request(
    target: &Target,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    tls: Option<&Connector>,
    limits: &Limits,
) -> Result<Response, HttpError> {
    let connect = async {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        match (target.is_secure, tls) {
            (false, _) => Ok(Stream::Plain(stream)),
            (true, Some(tls)) => Ok(Stream::Secure(Box::new(
                tls.connect(&target.host, stream).await?,
            ))),
            (true, None) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "https needs the authority of the server's certificate: give `--ca`",
            )),
        }
    };
    let mut stream = timeout(limits.connect_timeout, connect)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(HttpError::Unreachable)?;
    let both = async {
        match &mut stream {
            Stream::Plain(stream) => talk(stream, target, method, headers, body, limits).await,
            Stream::Secure(stream) => {
                talk(stream.as_mut(), target, method, headers, body, limits).await
            }
        }
    };
    match timeout(limits.answer_timeout, both).await {
        Ok(result) => result.map_err(HttpError::Broken),
        Err(_) => Err(HttpError::Timeout),
    }
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Target,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limits: &Limits,
) -> io::Result<Response> {
    let host = if target.host.contains(':') {
        format!("[{}]", target.host)
    } else {
        target.host.clone()
    };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nhost: {host}:{}\r\nconnection: close\r\ncontent-length: {}\r\n",
        target.path,
        target.port,
        body.len()
    );
    for (name, value) in headers {
        if value.contains(['\r', '\n']) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a header holds a line end",
            ));
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut answer = Vec::with_capacity(4096);
    let most = (limits.answer_bytes_max + HEAD_BYTES_MAX) as u64;
    let read = stream.take(most + 1).read_to_end(&mut answer).await;
    // Some servers close without saying so; what came counts when it is whole.
    match parse(&answer) {
        Some(response) => Ok(response),
        None => Err(read.err().unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the answer is cut or too long")
        })),
    }
}

/// The answer, if it is whole.
fn parse(answer: &[u8]) -> Option<Response> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let rest = answer.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return parse(rest);
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let body = if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        chunks(rest)?
    } else if let Some(length) = header("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(Response { status, body })
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = |url| Target::parse(url).map(|t| (t.host, t.port, t.path, t.is_secure));
        assert_eq!(
            target("http://127.0.0.1:8080/hl7/lab"),
            Ok(("127.0.0.1".into(), 8080, "/hl7/lab".into(), false))
        );
        assert_eq!(
            target("https://hub.example"),
            Ok(("hub.example".into(), 443, "/".into(), true))
        );
        assert_eq!(
            target("http://[::1]:81/"),
            Ok(("::1".into(), 81, "/".into(), false))
        );
        assert_eq!(
            target("http://[::1]/"),
            Ok(("::1".into(), 80, "/".into(), false))
        );
        for url in [
            "hub.example:80",
            "ftp://x/",
            "http://",
            "http://a:b/",
            "http://u@h/",
            "http://h/a b",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let body = |answer: &str| {
            parse(answer.as_bytes()).map(|r| (r.status, String::from_utf8(r.body).unwrap()))
        };
        let ok = |text: &str| Some((200, text.to_owned()));
        assert_eq!(
            body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
            ok("abc")
        );
        assert_eq!(
            body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"),
            None
        );
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nabc"), ok("abc"));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(
            body(&format!("{chunked}3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n")),
            ok("abcd")
        );
        assert_eq!(body(&format!("{chunked}3\r\nabc\r\n")), None);
        assert_eq!(
            body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
            ok("")
        );
        assert_eq!(body("hello"), None);
    }
}
