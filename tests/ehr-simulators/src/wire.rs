//! Requests and responses of HTTP/1.1, as little as the simulators need.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9112>. Leaves out chunked requests and everything else a client of ours
//! does not send.

use fhir_core::json::Value;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Decoded path.
    pub path: String,
    /// Decoded query, in order.
    pub query: Vec<(String, String)>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header called `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first query parameter called `name`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.query.iter().filter(move |(key, _)| key == name);
        all.map(|(_, value)| value.as_str())
    }

    /// The body as form fields.
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Close the connection half-way through the body.
    pub cut: bool,
}

impl Response {
    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: false,
        }
    }

    /// With a text body.
    pub fn text(status: u16, media_type: &str, body: &str) -> Self {
        let mut response = Self::empty(status).header("Content-Type", media_type);
        response.body = body.as_bytes().to_vec();
        response
    }

    /// With a JSON body.
    pub fn json(status: u16, media_type: &str, body: &Value) -> Self {
        let mut response =
            Self::empty(status).header("Content-Type", &format!("{media_type}; charset=utf-8"));
        response.body = body.to_bytes();
        response
    }

    /// What a web server in front answers.
    pub fn html(status: u16) -> Self {
        let body = format!("<!DOCTYPE html><html><head><title>{status}</title></head></html>");
        Self::text(status, "text/html", &body)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes to send.
    pub fn to_bytes(&self, date: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} x\r\nDate: {date}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        let keep = if self.cut {
            self.body.len() / 2
        } else {
            self.body.len()
        };
        bytes.extend(self.body.iter().take(keep));
        bytes
    }
}

/// Reads a request head; `None` when it is none.
pub fn parse_head(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let method = words.next()?.to_owned();
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Request {
        method,
        path: decode(path, false),
        query: pairs(query),
        headers: headers.collect(),
        body: Vec::new(),
    })
}

/// `a=b&c=d`, decoded.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name, true), decode(value, true))
        })
        .collect()
}

fn decode(text: &str, form: bool) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            b'+' if form => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
