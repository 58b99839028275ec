//! The smallest HTTP/1.1 client that a load and a test need: keep-alive, `Content-Length` and chunked bodies.
//!
//! Spec: RFC 9112. Left out: redirects, TLS, compression, anything but loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection at a time.
pub struct Client {
    reader: BufReader<TcpStream>,
    buffer: Vec<u8>,
    /// A request with a body was refused: the server may have closed instead of reading on (RFC 9112 §9.6).
    may_be_closed: bool,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection; only to this machine.
fn open(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    if !address.ip().is_loopback() {
        return Err(io::Error::other("only loopback addresses are loaded"));
    }
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(BufReader::with_capacity(64 * 1024, stream))
}

impl Client {
    /// Connects to a loopback address.
    ///
    /// # Errors
    /// When the address is not loopback or nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            reader: open(address)?,
            buffer: Vec::with_capacity(4096),
            may_be_closed: false,
        })
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP/1.1.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        if std::mem::take(&mut self.may_be_closed) {
            let address = self.reader.get_ref().peer_addr()?;
            self.reader = open(address)?;
        }
        self.buffer.clear();
        write!(
            self.buffer,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n"
        )?;
        for (name, value) in headers {
            write!(self.buffer, "{name}: {value}\r\n")?;
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            write!(self.buffer, "content-length: {}\r\n", body.len())?;
        }
        self.buffer.extend_from_slice(b"\r\n");
        self.buffer.extend_from_slice(body);
        self.reader.get_mut().write_all(&self.buffer)?;
        let response = self.read_response(method == "HEAD")?;
        self.may_be_closed = response.status >= 400 && !body.is_empty();
        Ok(response)
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// POST of FHIR JSON.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.request(
            "POST",
            path,
            &[("content-type", "application/fhir+json")],
            body,
        )
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn read_response(&mut self, is_head: bool) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let mut response = Response {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            ..Response::default()
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            response
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if is_head || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut response.body)?;
        } else {
            let length = response
                .header("content-length")
                .and_then(|l| l.parse().ok())
                .unwrap_or(0);
            response.body.resize(length, 0);
            self.reader.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or(""), 16);
            let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.reader.read_exact(&mut body[start..])?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}
