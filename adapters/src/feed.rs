//! What is known about the sender of a feed: character set, accepted processing ids, time zone, authorities.
//!
//! Settings are read from the server's configuration; unknown keys are refused.
//!
//! Left out on purpose: where the feed is received. That is the adapter's own setting.

use std::collections::BTreeMap;

use mappings::Context;
use serde::Deserialize;

use crate::hl7v2::charset::{Charset, Fallback};

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
    /// What mappings may ask.
    pub context: Context,
}

impl Feed {
    /// Checks settings.
    ///
    /// # Errors
    /// A sentence naming the setting.
    pub fn new(settings: &FeedSettings) -> Result<Feed, String> {
        let charset = |key: &str, name: &str| {
            Charset::named(name).ok_or_else(|| format!("`{key}` is no character set: use one like windows-1252"))
        };
        let misdeclared = match settings.charset_when_wrong.as_str() {
            "" => None,
            name => Some(charset("charset_when_wrong", name)?),
        };
        let mut context = Context::default();
        for (name, value) in &settings.mapping {
            context.set(name, value).map_err(|e| format!("`mapping.{name}`: {e}"))?;
        }
        Ok(Feed {
            name: settings.name.clone(),
            fallback: Fallback { undeclared: charset("charset", &settings.charset)?, misdeclared },
            processing_ids: settings.processing_ids.clone(),
            context,
        })
    }
}
