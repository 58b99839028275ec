//! A blocking MLLP sender for tests: one frame out, one acknowledgement in.
//!
//! Spec: HL7 v2 Transport Specification: MLLP, Release 1.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const START: u8 = 0x0B;
const END: [u8; 2] = [0x1C, 0x0D];
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection to a listener.
pub struct MllpClient(TcpStream);

impl MllpClient {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(stream))
    }

    /// Sends one message (segments ended by CR) and returns the acknowledgement's text.
    ///
    /// # Errors
    /// When the connection breaks before a whole acknowledgement has come.
    pub fn send(&mut self, message: &[u8]) -> io::Result<String> {
        let mut frame = Vec::with_capacity(message.len() + 3);
        frame.push(START);
        frame.extend_from_slice(message);
        frame.extend_from_slice(&END);
        self.0.write_all(&frame)?;
        self.receive()
    }

    /// How long an answer is waited for; the usual time with `None`.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.0
            .set_read_timeout(Some(patience.unwrap_or(ANSWER_TIMEOUT)))
    }

    /// Waits for an acknowledgement; in enhanced mode a message has two.
    ///
    /// # Errors
    /// When the connection breaks before a whole acknowledgement has come.
    pub fn receive(&mut self) -> io::Result<String> {
        let mut answer = Vec::new();
        let mut byte = [0u8; 1024];
        while !answer.ends_with(&END) {
            let count = self.0.read(&mut byte)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&byte[..count]);
        }
        let inner = answer.get(1..answer.len() - END.len()).unwrap_or_default();
        Ok(String::from_utf8_lossy(inner).into_owned())
    }
}

/// `MSA-1` of an acknowledgement, such as `AA`.
pub fn acknowledgement_code(acknowledgement: &str) -> &str {
    let msa = acknowledgement
        .split('\r')
        .find(|segment| segment.starts_with("MSA"));
    msa.and_then(|segment| segment.split('|').nth(1))
        .unwrap_or("")
}
