//! One export file, streamed line by line: never more than one line and one piece of the network in memory.
//!
//! Spec: <https://hl7.org/fhir/uv/bulkdata/export.html#bulk-data-output-file-request>.
//! Leaves out compression and ranges: a file broken off is read again and skipped to its place.

use reqwest::Url;

use super::Run;
use crate::EhrError;
use crate::http::{Download, Request, same_origin};

/// Redirects of one file followed.
const REDIRECTS_MAX: u32 = 3;
/// Longest line, in bytes; the store takes no larger resource either.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A file in arrival, cut into lines; never more than one line and one piece in memory.
pub(super) struct Lines {
    download: Download,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// Opens the file. The token goes to the EHR's own server only, not along a redirect to a file store.
    pub(super) async fn open(run: &Run, url: &Url, requires_token: bool) -> Result<Self, EhrError> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS_MAX {
            let mut request = Request::get(url.clone()).header("accept", "application/fhir+ndjson");
            if requires_token && same_origin(&url, &run.tenant.fhir_base) {
                let token = run.polite.tokens().token().await?;
                let authorization = token.authorization().into_iter();
                request
                    .headers
                    .extend(authorization.map(|text| ("authorization".to_owned(), text)));
            }
            let download = run.http.download(request).await?;
            match download.status {
                200 => {
                    return Ok(Self {
                        download,
                        buffer: Vec::new(),
                        ended: false,
                    });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let headers = &download.headers;
                    let place = headers.iter().find(|(name, _)| name == "location");
                    let place = place.and_then(|(_, text)| url.join(text).ok());
                    url = place.ok_or_else(|| {
                        EhrError::Answer("an export file redirects nowhere".to_owned())
                    })?;
                }
                status => {
                    return Err(EhrError::Answer(format!("an export file: status {status}")));
                }
            }
        }
        Err(EhrError::Answer(
            "an export file redirects too often".to_owned(),
        ))
    }

    async fn line(&mut self) -> Result<Option<String>, EhrError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return text(line).map(Some);
            }
            if self.ended {
                let rest = std::mem::take(&mut self.buffer);
                return (!rest.is_empty()).then(|| text(rest)).transpose();
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(EhrError::Answer(format!(
                    "a line of an export file has more than {LINE_BYTES_MAX} bytes"
                )));
            }
            match self.download.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }

    pub(super) async fn skip(&mut self, count: usize) -> Result<(), EhrError> {
        for _ in 0..count {
            if self.line().await?.is_none() {
                return Err(EhrError::Answer(
                    "an export file is shorter than before".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Up to `count` lines, and whether the file ends after them.
    pub(super) async fn take(&mut self, count: usize) -> Result<(Vec<String>, bool), EhrError> {
        let mut lines = Vec::new();
        while lines.len() < count {
            match self.line().await? {
                Some(line) => lines.push(line),
                None => return Ok((lines, true)),
            }
        }
        Ok((lines, false))
    }
}

fn text(bytes: Vec<u8>) -> Result<String, EhrError> {
    String::from_utf8(bytes)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|_| EhrError::Answer("an export file is not UTF-8".to_owned()))
}
