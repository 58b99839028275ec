//! The smallest websocket client that a load and a test need: text messages, pongs, close.
//!
//! Spec: RFC 6455. Left out: TLS, extensions, anything but loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest message taken, in bytes.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// One connection.
pub struct WebSocket {
    reader: BufReader<TcpStream>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// The end: code and reason.
    Close(u16, String),
}

impl WebSocket {
    /// Opens a websocket; an answer other than 101 is an error with its status.
    ///
    /// # Errors
    /// When the connection breaks or is refused.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other("only loopback addresses are loaded"));
        }
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MESSAGE_TIMEOUT))?;
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        let mut reader = BufReader::with_capacity(8 * 1024, stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        if !status.contains(" 101 ") {
            return Err(io::Error::other(status.trim().to_owned()));
        }
        Ok(Self { reader })
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.frame(1, text.as_bytes())
    }

    /// A frame of a client, masked as it must be; the mask hides nothing here.
    fn frame(&mut self, opcode: u8, bytes: &[u8]) -> io::Result<()> {
        let mut out = vec![0x80 | opcode];
        match bytes.len() {
            n @ 0..126 => out.push(0x80 | n as u8),
            n @ 126..0x1_0000 => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        let mask = [0x11, 0x22, 0x33, 0x44];
        out.extend(mask);
        out.extend(bytes.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.reader.get_mut().write_all(&out)
    }

    /// The next message; pings are answered on the way.
    ///
    /// # Errors
    /// When the connection breaks or nothing comes for long.
    pub fn message(&mut self) -> io::Result<Message> {
        loop {
            let mut head = [0; 2];
            self.reader.read_exact(&mut head)?;
            let length = match head[1] & 0x7f {
                126 => {
                    let mut bytes = [0; 2];
                    self.reader.read_exact(&mut bytes)?;
                    u64::from(u16::from_be_bytes(bytes))
                }
                127 => {
                    let mut bytes = [0; 8];
                    self.reader.read_exact(&mut bytes)?;
                    u64::from_be_bytes(bytes)
                }
                n => u64::from(n),
            };
            if length > MESSAGE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut bytes = vec![0; length as usize];
            self.reader.read_exact(&mut bytes)?;
            match head[0] & 0x0f {
                1 => return Ok(Message::Text(String::from_utf8_lossy(&bytes).into_owned())),
                8 => {
                    let code = bytes
                        .first_chunk::<2>()
                        .map_or(1005, |c| u16::from_be_bytes(*c));
                    let reason = String::from_utf8_lossy(bytes.get(2..).unwrap_or_default());
                    return Ok(Message::Close(code, reason.into_owned()));
                }
                9 => self.frame(10, &bytes)?,
                _ => {}
            }
        }
    }

    /// The next text.
    ///
    /// # Errors
    /// As [`Self::message`]; also when the connection is closed, with the reason.
    pub fn text(&mut self) -> io::Result<String> {
        match self.message()? {
            Message::Text(text) => Ok(text),
            Message::Close(code, reason) => Err(io::Error::other(format!("{code} {reason}"))),
        }
    }
}
