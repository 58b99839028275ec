//! MLLP framing: `<VT> message <FS><CR>`, cut at any byte, several in a packet.
//!
//! HL7 v2 transport, "Minimal Lower Layer Protocol"
//! (<https://www.hl7.org/documentcenter/public/wg/inm/mllp_transport_specification.PDF>). A frame ends with FS CR and
//! nothing less; an FS alone is content, which the reader then refuses.
//!
//! Left out on purpose: the commit bytes of MLLP release 2. Acknowledgements are HL7 messages.

use bytes::{Buf, Bytes, BytesMut};

/// Start of a frame.
pub const VT: u8 = 0x0B;
/// First byte of a frame's end.
pub const FS: u8 = 0x1C;
/// Second byte of a frame's end.
pub const CR: u8 = b'\r';

/// Default for the largest frame, bytes: a scanned document of 12 MB in base64, and more than any result needs.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes kept of a frame that is too large: enough to find MSH and tell the sender which message it was.
const HEAD_BYTES: usize = 4 * 1024;

/// What came out of a stream of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The content of a whole frame.
    Frame(Bytes),
    /// Bytes outside any frame, left out. Line ends between frames are not reported.
    Garbage {
        /// How many.
        bytes: usize,
    },
    /// A frame that was started and never ended before the next began.
    Cut {
        /// How many bytes of it came.
        bytes: usize,
    },
    /// A frame larger than the limit, left out.
    TooLarge {
        /// How many bytes it had.
        bytes: usize,
        /// Its first bytes.
        head: Bytes,
    },
}

/// Finds frames in bytes as they come.
#[derive(Debug)]
pub struct Deframer {
    buffer: BytesMut,
    state: State,
    frame_bytes_max: usize,
}

#[derive(Debug)]
enum State {
    Between,
    /// Behind VT; so many bytes of the buffer hold no frame end.
    Inside(usize),
    /// Inside a frame that is too large; only its start is kept.
    Skipping {
        bytes: usize,
        head: Bytes,
    },
}

impl Deframer {
    /// A deframer for frames up to a size in bytes.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), state: State::Between, frame_bytes_max }
    }

    /// Where to put the bytes that come next.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The bytes received that belong to no finished frame; 0 between frames.
    pub fn unfinished(&self) -> usize {
        match &self.state {
            State::Between => self.buffer.len(),
            State::Inside(_) => self.buffer.len() + 1,
            State::Skipping { bytes, .. } => bytes + self.buffer.len(),
        }
    }

    /// The next event, or `None` until more bytes come.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            match &mut self.state {
                State::Between => match memchr::memchr(VT, &self.buffer) {
                    None => return garbage(self.buffer.split()),
                    Some(at) => {
                        let before = self.buffer.split_to(at);
                        self.buffer.advance(1);
                        self.state = State::Inside(0);
                        if let Some(event) = garbage(before) {
                            return Some(event);
                        }
                    }
                },
                State::Inside(searched) => match frame_end(&self.buffer, *searched) {
                    Ok(end) if end <= self.frame_bytes_max => {
                        let content = self.take(end);
                        return Some(self.whole(content));
                    }
                    Ok(end) => {
                        let head = self.take(end);
                        let head = head.slice(..HEAD_BYTES.min(end));
                        return Some(Event::TooLarge { bytes: end, head });
                    }
                    Err(so_far) if self.buffer.len() > self.frame_bytes_max.saturating_add(1) => {
                        let skipped = self.buffer.split_to(so_far);
                        let head = Bytes::copy_from_slice(skipped.get(..HEAD_BYTES.min(so_far)).unwrap_or_default());
                        self.state = State::Skipping { bytes: so_far, head };
                    }
                    Err(so_far) => {
                        *searched = so_far;
                        return None;
                    }
                },
                State::Skipping { bytes, head } => match frame_end(&self.buffer, 0) {
                    Ok(end) => {
                        let event = Event::TooLarge { bytes: *bytes + end, head: head.clone() };
                        self.take(end);
                        return Some(event);
                    }
                    Err(so_far) => {
                        *bytes += so_far;
                        self.buffer.advance(so_far);
                        return None;
                    }
                },
            }
        }
    }

    /// A frame in which another begins was cut by its sender; the first part was never acknowledged and comes again.
    fn whole(&mut self, content: Bytes) -> Event {
        match memchr::memmem::rfind(&content, b"\x0BMSH") {
            None => Event::Frame(content),
            Some(at) => {
                // Put back what follows, framed, so that it is the next event.
                let rest = content.slice(at..);
                let mut buffer = BytesMut::with_capacity(rest.len() + 2 + self.buffer.len());
                buffer.extend_from_slice(&rest);
                buffer.extend_from_slice(&[FS, CR]);
                buffer.extend_from_slice(&self.buffer);
                self.buffer = buffer;
                Event::Cut { bytes: at + 1 }
            }
        }
    }

    /// The first bytes of the buffer, and past the frame end behind them.
    fn take(&mut self, end: usize) -> Bytes {
        let content = self.buffer.split_to(end).freeze();
        self.buffer.advance(2);
        self.state = State::Between;
        content
    }
}

/// Where FS CR stands, or how many bytes surely hold none.
fn frame_end(buffer: &[u8], from: usize) -> Result<usize, usize> {
    let mut at = from;
    loop {
        let rest = buffer.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr(FS, rest) else { return Err(buffer.len()) };
        let fs = at + found;
        match buffer.get(fs + 1) {
            Some(&CR) => return Ok(fs),
            Some(_) => at = fs + 1,
            None => return Err(fs),
        }
    }
}

fn garbage(bytes: BytesMut) -> Option<Event> {
    let odd = bytes.iter().filter(|b| !matches!(b, b'\r' | b'\n')).count();
    (odd > 0).then_some(Event::Garbage { bytes: odd })
}

/// A message in its frame.
pub fn frame(content: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(content.len() + 3);
    framed.push(VT);
    framed.extend_from_slice(content);
    framed.extend_from_slice(&[FS, CR]);
    framed
}
