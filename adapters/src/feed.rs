//! What is known about the sender of a feed: character set, accepted processing ids, time zone, authorities, faults
//! that are tolerated, and how it wants to be acknowledged.
//!
//! Each key is explained for users in `docs/guide/feeds.md`.
//!
//! Left out on purpose: where the feed is received. That is the adapter's own setting.

use std::collections::BTreeMap;

use mappings::Context;
use serde::Deserialize;

use crate::acknowledge::Mode;
use crate::hl7v2::charset::{Charset, Fallback};
use crate::issue::{Issue, Severity};

/// Departures from the standard that are tolerated and reported, unless a feed refuses them.
pub const TOLERATED: &[&str] = &[
    "blank-before-message",
    "blank-before-segment",
    "blank-line",
    "byte-order-mark",
    "charset-not-as-declared",
    "charset-uncertain",
    "charset-undeclared",
    "charset-windows",
    "crlf-ends-segments",
    "delimiters-missing",
    "framing-bytes",
    "lf-ends-segments",
    "lfcr-ends-segments",
    "line-feed-in-text",
    "local-line",
    "message-time",
    "processing-id-missing",
    "segment-lower-case",
    "segment-without-fields",
    "structure-disagrees",
    "trigger-event-missing",
    "version-missing",
];
/// In the place of a code: every one of them.
pub const ALL: &str = "all";
/// Longest name of a feed, in characters: it stands in every log line and resource it makes.
pub const NAME_LENGTH_MAX: usize = 64;

/// Settings of a feed as written in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// Name in logs, messages and Provenance.
    pub name: String,
    /// Character set of messages without MSH-18 that are neither ASCII nor UTF-8.
    pub charset: String,
    /// Character set to try when the bytes are not in the one MSH-18 names; empty refuses such messages.
    pub charset_when_wrong: String,
    /// Values of MSH-11 that are taken: `P` production, `T` training, `D` debugging.
    pub processing_ids: Vec<String>,
    /// Codes of tolerated faults that refuse a message of this feed, or `all`; see [`TOLERATED`].
    pub refuse_faults: Vec<String>,
    /// Original mode, or as MSH-15 and MSH-16 ask.
    pub acknowledge: Mode,
    /// What mappings may ask: `zone`, `default-authority`, `id-namespace`, `authority.NAME`, `coding-system.NAME`.
    pub mapping: BTreeMap<String, String>,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            name: "mllp".to_owned(),
            charset: "windows-1252".to_owned(),
            charset_when_wrong: String::new(),
            // Training and debugging messages must not reach production data unless asked for.
            processing_ids: vec!["P".to_owned()],
            refuse_faults: Vec::new(),
            acknowledge: Mode::default(),
            mapping: BTreeMap::new(),
        }
    }
}

/// A feed, checked.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Name in logs, messages and Provenance.
    pub name: String,
    /// How undeclared and wrongly declared bytes are read.
    pub fallback: Fallback,
    /// Values of MSH-11 that are taken.
    pub processing_ids: Vec<String>,
    /// Faults that refuse a message.
    pub refuse_faults: Vec<String>,
    /// How answers are given.
    pub acknowledge: Mode,
    /// What mappings may ask.
    pub context: Context,
}

impl Feed {
    /// Checks settings.
    ///
    /// # Errors
    /// A sentence naming the setting.
    pub fn new(settings: &FeedSettings) -> Result<Feed, String> {
        check_name(&settings.name)?;
        if settings.processing_ids.is_empty() {
            return Err("`processing_ids` is empty: name P, T or D".to_owned());
        }
        for code in &settings.refuse_faults {
            if code != ALL && !TOLERATED.contains(&code.as_str()) {
                return Err(format!(
                    "`refuse_faults` has an unknown code; known are {ALL}, {}",
                    TOLERATED.join(", ")
                ));
            }
        }
        let charset = |key: &str, name: &str| {
            Charset::named(name)
                .ok_or_else(|| format!("`{key}` is no character set: use one like windows-1252"))
        };
        let misdeclared = match settings.charset_when_wrong.as_str() {
            "" => None,
            name => Some(charset("charset_when_wrong", name)?),
        };
        let mut context = Context::default();
        for (name, value) in &settings.mapping {
            context
                .set(name, value)
                .map_err(|e| format!("`mapping.{name}`: {e}"))?;
        }
        Ok(Feed {
            name: settings.name.clone(),
            fallback: Fallback {
                undeclared: charset("charset", &settings.charset)?,
                misdeclared,
            },
            processing_ids: settings.processing_ids.clone(),
            refuse_faults: settings.refuse_faults.clone(),
            acknowledge: settings.acknowledge,
            context,
        })
    }

    /// The first of these issues that this feed does not tolerate, as the reason to refuse the message.
    pub(crate) fn intolerable(&self, issues: &[Issue]) -> Option<Issue> {
        let all = self.refuse_faults.iter().any(|code| code == ALL);
        let refused = |issue: &&Issue| {
            let code = issue.code.as_ref();
            (all && TOLERATED.contains(&code)) || self.refuse_faults.iter().any(|c| c == code)
        };
        let issue = issues.iter().find(refused)?;
        Some(Issue {
            severity: Severity::Error,
            text: format!("{}; this feed refuses it: see `refuse_faults`", issue.text).into(),
            ..issue.clone()
        })
    }
}

/// Whether a feed may have this name: letters, digits, `-`, `_` and `.`, so that it fits into URLs, file names and ids.
///
/// # Errors
/// A sentence saying what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    if fits && !name.starts_with('.') {
        return Ok(());
    }
    Err(format!(
        "the name of a feed has 1 to {NAME_LENGTH_MAX} letters, digits, `-`, `_` and `.`, and no `.` first"
    ))
}
