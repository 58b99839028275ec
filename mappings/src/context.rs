//! What a feed knows that its messages do not say.
//!
//! Left out on purpose: addresses and credentials. A mapping has no use for them.

use std::collections::BTreeMap;

use chrono_tz::Tz;

/// Settings of a feed, made once and used for each of its messages.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Zone of times without offset; without it such times keep only their day.
    pub zone: Option<Tz>,
    /// URI of the authority that assigns identifiers without one (CX.4 empty).
    pub default_authority: Option<String>,
    /// URIs of authorities the sender names by a local word only (HD.1).
    pub authorities: BTreeMap<String, String>,
    /// URIs of coding systems the sender names by a word that HL7 table 0396 does not list.
    pub coding_systems: BTreeMap<String, String>,
    /// Set apart from other sites that use the same local names. Two feeds of one hospital share it, so that both
    /// find the same patient; feeds of two hospitals do not. Changing it changes every id.
    pub id_namespace: String,
    /// Other settings, which mappings read as `@name`.
    pub settings: BTreeMap<String, String>,
}

impl Context {
    /// Takes one setting by its name in configuration files and in mapping tests.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name.split_once('.') {
            Some(("authority", word)) => {
                self.authorities.insert(word.to_owned(), value.to_owned());
            }
            Some(("coding-system", word)) => {
                self.coding_systems
                    .insert(word.to_owned(), value.to_owned());
            }
            _ => match name {
                "zone" => {
                    let zone = value
                        .parse()
                        .map_err(|_| "`zone` is no zone name like Europe/Berlin".to_owned())?;
                    self.zone = Some(zone);
                }
                "default-authority" => self.default_authority = Some(value.to_owned()),
                "id-namespace" => value.clone_into(&mut self.id_namespace),
                other => {
                    self.settings.insert(other.to_owned(), value.to_owned());
                }
            },
        }
        Ok(())
    }

    /// A setting as mappings read it, `@name`.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        match name {
            "default-authority" => self.default_authority.as_deref(),
            other => self.settings.get(other).map(String::as_str),
        }
    }

    /// The URI of a name that only this site knows: stable, and different for different sites.
    pub(crate) fn local_uri(&self, name: &str) -> String {
        let mut uri = String::from("urn:id:");
        for part in [self.id_namespace.as_str(), name] {
            if part.is_empty() {
                continue;
            }
            if !uri.ends_with(':') {
                uri.push(':');
            }
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    uri.push(char::from(byte));
                } else {
                    uri.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        uri
    }
}
