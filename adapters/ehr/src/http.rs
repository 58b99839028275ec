//! One way out: every request of the adapter goes through [`Http`], which bounds, refuses and never follows blindly.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110>.
//! Leaves out retries (see [`crate::polite`]) and redirects: the caller decides, because a token must never reach
//! another host (SMART App Launch 2.2, "SHALL NOT forward the token").

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, redirect};
pub use reqwest::{Method, Url};

use crate::EhrError;

/// Largest answer accepted, in bytes. An Epic page of 1,000 Observations is about 3 MB; ten times that is a fault.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest wait for a connection, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Longest wait for a whole answer, in seconds. Large Oracle pages take tens of seconds.
const ANSWER_TIMEOUT_S: u64 = 120;

/// The words for a request that certainly was not sent.
pub const NO_CONNECTION: &str = "no connection (address, DNS or TLS)";

/// A request, ready to send.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: Method,
    /// Absolute address.
    pub url: Url,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// Body, empty for `GET`.
    pub body: Vec<u8>,
}

impl Request {
    /// A `GET`.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The request with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// An answer, fully read. No `Debug`: it holds patient data or tokens.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Headers in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Bytes,
}

impl Answer {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The media type without parameters, in lower case.
    pub fn media_type(&self) -> String {
        let full = self.header("content-type").unwrap_or_default();
        let bare = full.split(';').next().unwrap_or_default();
        bare.trim().to_ascii_lowercase()
    }

    /// True for a JSON media type. Bodies of other types are never parsed: HTML and empty errors are normal.
    pub fn is_json(&self) -> bool {
        let media_type = self.media_type();
        media_type == "application/json" || media_type.ends_with("+json")
    }

    /// The number of the vendor's support case: what they ask for when something fails.
    pub fn correlation(&self) -> Option<&str> {
        [
            "x-request-id",
            "opc-request-id",
            "cerner-correlation-id",
            "epic-request-id",
        ]
        .iter()
        .find_map(|name| self.header(name))
    }
}

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Http {
    client: Client,
    downloads: Client,
}

impl Http {
    /// A client without redirects, with time-outs.
    ///
    /// # Errors
    /// [`EhrError::Connection`] when the system has no certificates.
    pub fn new() -> Result<Self, EhrError> {
        // A second installation fails harmlessly: the provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let common = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
        };
        let timeout = Duration::from_secs(ANSWER_TIMEOUT_S);
        let failed = |error| EhrError::Connection(bare(&error));
        Ok(Self {
            client: common().timeout(timeout).build().map_err(failed)?,
            // A bulk file may take hours; only silence ends it.
            downloads: common().read_timeout(timeout).build().map_err(failed)?,
        })
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// [`EhrError::Connection`], or [`EhrError::Answer`] for one that is too large.
    pub async fn send(&self, request: Request) -> Result<Answer, EhrError> {
        let mut response = start(&self.client, request).await?;
        let (status, headers) = head(&response);
        let mut body = BytesMut::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| EhrError::Connection(bare(&error)))?
        {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(EhrError::Answer(format!(
                    "larger than {ANSWER_BYTES_MAX} bytes; ask for smaller pages (`page_size`)"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers,
            body: body.freeze(),
        })
    }

    /// Sends the request and hands out the answer while it arrives, for bulk files.
    ///
    /// # Errors
    /// [`EhrError::Connection`].
    pub async fn download(&self, request: Request) -> Result<Download, EhrError> {
        let response = start(&self.downloads, request).await?;
        let (status, headers) = head(&response);
        Ok(Download {
            status,
            headers,
            response,
        })
    }
}

/// An answer in arrival.
pub struct Download {
    /// HTTP status code.
    pub status: u16,
    /// Headers in lower case.
    pub headers: Vec<(String, String)>,
    response: reqwest::Response,
}

impl Download {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`EhrError::Connection`] when it broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EhrError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| EhrError::Connection(bare(&error)))
    }
}

async fn start(client: &Client, request: Request) -> Result<reqwest::Response, EhrError> {
    allowed(&request.url)?;
    let mut builder = client.request(request.method, request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if !request.body.is_empty() {
        builder = builder.body(request.body);
    }
    let sent = builder.send().await;
    sent.map_err(|error| EhrError::Connection(bare(&error)))
}

/// Status and headers of an answer in arrival.
fn head(response: &reqwest::Response) -> (u16, Vec<(String, String)>) {
    let headers = response.headers().iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    (response.status().as_u16(), headers.collect())
}

/// TLS everywhere but on this machine: SMART requires it for every endpoint.
fn allowed(url: &Url) -> Result<(), EhrError> {
    let host = url.host_str().unwrap_or_default();
    let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]" | "::1");
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(EhrError::Connection(format!(
        "`{}://{host}` refused: only https, or http on the loopback interface",
        url.scheme()
    )))
}

/// An error without its address: page links and presigned addresses are secrets.
fn bare(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "time-out"
    } else if error.is_connect() {
        NO_CONNECTION
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    kind.to_owned()
}

/// The two addresses name the same scheme, host and port.
pub fn same_origin(left: &Url, right: &Url) -> bool {
    left.origin() == right.origin()
}
