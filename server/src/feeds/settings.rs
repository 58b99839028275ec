//! The settings of one feed: the same keys in `[[feed]]` of the settings file and in the body of `PUT /admin/feeds`.
//!
//! Every key is explained in `docs/guide/feeds.md`, with examples. Unknown keys are refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adapters::acknowledge::Mode;
use adapters::feed::{Feed, FeedSettings as FeedOptions};
use adapters::folder::{BatchAcknowledge, FolderSettings, POLL_S};
use adapters::listener::{self, Settings as Limits};
use adapters::mllp::FRAME_BYTES_MAX;
use adapters::network::Network;
use adapters::tls::ServerFiles;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::messages::shared::ON_ERROR;

/// Largest message a feed may allow, bytes: the store's largest raw message.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Smallest limit of a message that makes sense, bytes: an MSH has some hundred.
const MESSAGE_BYTES_MIN: usize = 1024;
/// Connections a feed may allow at most; each costs a file descriptor.
const CONNECTIONS_MAX: usize = 100_000;

/// Over what messages come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// MLLP over TCP.
    #[default]
    Mllp,
    /// MLLP over TLS.
    MllpTls,
    /// `POST /hl7/{name}` of this server.
    Http,
    /// Files put into a folder.
    Folder,
}

impl Transport {
    /// As in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mllp => "mllp",
            Self::MllpTls => "mllp-tls",
            Self::Http => "http",
            Self::Folder => "folder",
        }
    }
}

/// In which order messages are carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Messages of a sender about the same resource in the order received, others together.
    #[default]
    Patient,
    /// One after the other, whoever sent them.
    Feed,
}

/// The settings of one feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// Letters, digits, `-`, `_` and `.`; unique. Kept with every message.
    pub name: String,
    /// Over what messages come.
    pub transport: Transport,
    /// Where to listen (`mllp`, `mllp-tls`); port 0 takes a free one.
    #[schema(value_type = Option<String>, example = "127.0.0.1:2575")]
    pub address: Option<SocketAddr>,
    /// PEM file: certificate of this side, then its signers (`mllp-tls`).
    #[schema(value_type = Option<String>)]
    pub certificate: Option<PathBuf>,
    /// PEM file: key of the certificate (`mllp-tls`).
    #[schema(value_type = Option<String>)]
    pub key: Option<PathBuf>,
    /// PEM file: who signs the senders' certificates; senders without one are refused (`mllp-tls`).
    #[schema(value_type = Option<String>)]
    pub client_ca: Option<PathBuf>,
    /// Where files are put (`folder`).
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// Seconds between two looks into the folder.
    pub poll_seconds: u64,
    /// Networks that may send, such as `10.1.0.0/16`; everybody who reaches the address when empty.
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<Network>,
    /// Largest message in bytes.
    pub message_bytes_max: usize,
    /// Connections open at once; further ones wait.
    pub connections_max: usize,
    /// Messages of one connection that may be under way at once.
    pub window: usize,
    /// Seconds of silence between messages before a connection is closed.
    pub idle_timeout_seconds: u64,
    /// Seconds of silence inside a message before a connection is closed.
    pub frame_timeout_seconds: u64,
    /// In which order messages are carried out.
    pub order: Order,
    /// What a message that cannot be used does to those after it: `continue`, `park-patient` (later messages about the
    /// same patient wait) or `halt` (all later messages of the feed wait).
    pub on_error: Option<String>,
    /// Alert when no message came for so many seconds.
    pub alert_silence_seconds: Option<u64>,
    /// Alert when so many in a hundred of the last answers were errors.
    pub alert_error_percent: Option<u8>,
    /// Alert when a message waits longer than so many seconds for a person or an earlier message.
    pub alert_waiting_seconds: Option<u64>,
    /// `by-message` (as MSH-15 and MSH-16 ask) or `original` (always AA, AE, AR).
    #[schema(value_type = String)]
    pub acknowledge: Mode,
    /// Which messages of a file stand in its `.ack` file: `all`, `errors` or `none` (`folder`).
    #[schema(value_type = String)]
    pub batch_acknowledge: BatchAcknowledge,
    /// Values of MSH-11 that are taken: `P`, `T`, `D`.
    pub processing_ids: Vec<String>,
    /// Character set of messages that name none and are not UTF-8.
    pub charset: String,
    /// Character set to try when the bytes are not in the one MSH-18 names; such messages are refused when empty.
    pub charset_when_wrong: String,
    /// Codes of faults that refuse a message instead of being tolerated and reported; `all` for each.
    pub refuse_faults: Vec<String>,
    /// IANA zone of times without offset, such as `Europe/Berlin`; without it such times keep their day only.
    pub zone: Option<String>,
    /// URI of the authority of identifiers without one.
    pub default_authority: Option<String>,
    /// Sets the ids of this sender apart from those of others; changing it changes every id made.
    pub id_namespace: Option<String>,
    /// URIs of authorities by the name the sender uses in CX.4.
    pub authorities: BTreeMap<String, String>,
    /// URIs of code systems by the name the sender uses in CWE.3.
    pub coding_systems: BTreeMap<String, String>,
    /// What mappings read as `@name`, such as status defaults.
    pub mapping: BTreeMap<String, String>,
    /// Folder of mappings and code maps of this feed, which add to or replace those of the server.
    #[schema(value_type = Option<String>)]
    pub mappings: Option<PathBuf>,
}

impl Default for FeedSettings {
    fn default() -> Self {
        let options = FeedOptions::default();
        Self {
            name: String::new(),
            transport: Transport::default(),
            address: None,
            certificate: None,
            key: None,
            client_ca: None,
            folder: None,
            poll_seconds: POLL_S,
            allow: Vec::new(),
            message_bytes_max: FRAME_BYTES_MAX,
            connections_max: listener::CONNECTIONS_MAX,
            window: listener::WINDOW,
            idle_timeout_seconds: listener::IDLE_TIMEOUT_S,
            frame_timeout_seconds: listener::FRAME_TIMEOUT_S,
            order: Order::default(),
            on_error: None,
            alert_silence_seconds: None,
            alert_error_percent: None,
            alert_waiting_seconds: None,
            acknowledge: Mode::default(),
            batch_acknowledge: BatchAcknowledge::default(),
            processing_ids: options.processing_ids,
            charset: options.charset,
            charset_when_wrong: options.charset_when_wrong,
            refuse_faults: Vec::new(),
            zone: None,
            default_authority: None,
            id_namespace: None,
            authorities: BTreeMap::new(),
            coding_systems: BTreeMap::new(),
            mapping: BTreeMap::new(),
            mappings: None,
        }
    }
}

impl FeedSettings {
    /// Whether the values go together. `is_open`: the operator has stated that strangers are kept out by other means.
    ///
    /// # Errors
    /// Names the key and the fix.
    pub fn check(&self, is_open: bool) -> Result<(), String> {
        Feed::new(&self.options())?;
        self.check_transport()?;
        self.check_limits()?;
        let is_reachable = self.address.is_some_and(|a| !a.ip().is_loopback());
        if is_reachable && self.client_ca.is_none() && self.allow.is_empty() && !is_open {
            return Err(
                "`address` is reachable from other machines: name the senders' networks in `allow`, ask for their \
                 certificates with `client_ca`, or start the server with `--insecure-open` if something in front of \
                 it keeps strangers out"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_transport(&self) -> Result<(), String> {
        use Transport::{Folder, Mllp, MllpTls};
        let needs: [(&str, bool, &[Transport]); 5] = [
            ("address", self.address.is_some(), &[Mllp, MllpTls]),
            ("certificate", self.certificate.is_some(), &[MllpTls]),
            ("key", self.key.is_some(), &[MllpTls]),
            ("folder", self.folder.is_some(), &[Folder]),
            ("client_ca", self.client_ca.is_some(), &[]),
        ];
        let transport = self.transport.as_str();
        for (key, is_given, of) in needs {
            let is_wanted = of.contains(&self.transport);
            if is_wanted && !is_given {
                return Err(format!("transport `{transport}` needs `{key}`"));
            }
            let is_optional = key == "client_ca" && self.transport == MllpTls;
            if is_given && !is_wanted && !is_optional {
                return Err(format!("`{key}` means nothing to transport `{transport}`"));
            }
        }
        if !self.allow.is_empty() && self.transport == Folder {
            return Err("`allow` means nothing to transport `folder`".to_owned());
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), String> {
        for (key, value, least, most) in [
            (
                "message_bytes_max",
                self.message_bytes_max,
                MESSAGE_BYTES_MIN,
                MESSAGE_BYTES_MAX,
            ),
            ("connections_max", self.connections_max, 1, CONNECTIONS_MAX),
            ("window", self.window, 1, listener::COMMITS_MAX),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("`{key}` must be from {least} to {most}"));
            }
        }
        if self
            .alert_error_percent
            .is_some_and(|percent| !(1..=100).contains(&percent))
        {
            return Err("`alert_error_percent` must be from 1 to 100".to_owned());
        }
        for (key, value) in [
            (
                "alert_silence_seconds",
                self.alert_silence_seconds.unwrap_or(1),
            ),
            (
                "alert_waiting_seconds",
                self.alert_waiting_seconds.unwrap_or(1),
            ),
            ("poll_seconds", self.poll_seconds),
            ("idle_timeout_seconds", self.idle_timeout_seconds),
            ("frame_timeout_seconds", self.frame_timeout_seconds),
        ] {
            /// A week.
            const SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
            if !(1..=SECONDS_MAX).contains(&value) {
                return Err(format!("`{key}` must be from 1 to {SECONDS_MAX}"));
            }
        }
        Ok(())
    }

    /// How messages are read.
    pub fn options(&self) -> FeedOptions {
        let mut mapping = self.mapping.clone();
        for (name, value) in [
            ("zone", &self.zone),
            (ON_ERROR, &self.on_error),
            ("default-authority", &self.default_authority),
            ("id-namespace", &self.id_namespace),
        ] {
            if let Some(value) = value {
                mapping.insert(name.to_owned(), value.clone());
            }
        }
        for (prefix, names) in [
            ("authority", &self.authorities),
            ("coding-system", &self.coding_systems),
        ] {
            for (name, uri) in names {
                mapping.insert(format!("{prefix}.{name}"), uri.clone());
            }
        }
        FeedOptions {
            name: self.name.clone(),
            charset: self.charset.clone(),
            charset_when_wrong: self.charset_when_wrong.clone(),
            processing_ids: self.processing_ids.clone(),
            refuse_faults: self.refuse_faults.clone(),
            acknowledge: self.acknowledge,
            mapping,
        }
    }

    /// How much is taken at once.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        let (window, commits_max) = match self.order {
            Order::Patient => (self.window, default.commits_max),
            Order::Feed => (1, 1),
        };
        Limits {
            address: self.address.unwrap_or(default.address),
            frame_bytes_max: self.message_bytes_max,
            connections_max: self.connections_max,
            window,
            commits_max,
            allow: self.allow.clone(),
            idle_timeout_s: self.idle_timeout_seconds,
            frame_timeout_s: self.frame_timeout_seconds,
            ..default
        }
    }

    /// The file drop, if it is one.
    pub fn folder(&self) -> Option<FolderSettings> {
        Some(FolderSettings {
            folder: self.folder.clone()?,
            poll: Duration::from_secs(self.poll_seconds),
            acknowledge: self.batch_acknowledge,
        })
    }

    /// The files of TLS, if it is used.
    pub fn tls(&self) -> Option<ServerFiles> {
        Some(ServerFiles {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
            client_ca: self.client_ca.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FeedSettings, String> {
        toml::from_str(text).map_err(|e| e.message().to_owned())
    }

    /// Verifies: SRS-130, RC-130
    #[test]
    fn settings_that_do_not_go_together_are_refused_by_name() {
        let mllp = "name = \"lab\"\naddress = \"127.0.0.1:2575\"\n";
        let open = "name = \"lab\"\naddress = \"0.0.0.0:2575\"\n";
        let tls = "transport = \"mllp-tls\"\ncertificate = \"c\"\nkey = \"k\"\n";
        for (text, named) in [
            (mllp.to_owned(), ""),
            ("address = \"127.0.0.1:1\"".to_owned(), "name"),
            ("name = \"lab\"".to_owned(), "`address`"),
            (format!("{mllp}folder = \"x\""), "`folder`"),
            (format!("{mllp}client_ca = \"x\""), "`client_ca`"),
            (format!("{mllp}transport = \"mllp-tls\""), "`certificate`"),
            (format!("{mllp}{tls}"), ""),
            (
                "name = \"lab\"\ntransport = \"folder\"".to_owned(),
                "`folder`",
            ),
            (
                "name = \"lab\"\ntransport = \"folder\"\nfolder = \"x\"".to_owned(),
                "",
            ),
            ("name = \"lab\"\ntransport = \"http\"".to_owned(), ""),
            (format!("{mllp}transport = \"http\""), "`address`"),
            (open.to_owned(), "`allow`"),
            (format!("{open}allow = [\"10.0.0.0/8\"]"), ""),
            (format!("{open}{tls}"), "`client_ca`"),
            (format!("{open}{tls}client_ca = \"ca\""), ""),
            (
                format!("{mllp}message_bytes_max = 10"),
                "`message_bytes_max`",
            ),
            (format!("{mllp}connections_max = 0"), "`connections_max`"),
            (
                format!("{mllp}frame_timeout_seconds = 0"),
                "`frame_timeout_seconds`",
            ),
            (
                format!("{mllp}alert_error_percent = 0"),
                "`alert_error_percent`",
            ),
            (
                format!("{mllp}alert_silence_seconds = 0"),
                "`alert_silence_seconds`",
            ),
            (format!("{mllp}processing_ids = []"), "`processing_ids`"),
            (format!("{mllp}zone = \"Mars\""), "zone"),
            (format!("{mllp}charset = \"klingon\""), "`charset`"),
            (format!("{mllp}refuse_faults = [\"x\"]"), "`refuse_faults`"),
        ] {
            let result = read(&text).unwrap().check(false);
            match named {
                "" => assert_eq!(result, Ok(()), "{text}"),
                named => assert!(result.unwrap_err().contains(named), "{text}"),
            }
        }
        assert_eq!(read(open).unwrap().check(true), Ok(()));
        assert!(read("nmae = \"lab\"").unwrap_err().contains("nmae"));
        assert!(
            read("allow = [\"everybody\"]")
                .unwrap_err()
                .contains("10.1.0.0/16")
        );
    }

    #[test]
    fn settings_reach_what_reads_messages() {
        let settings = read(
            "name = \"lab\"\naddress = \"127.0.0.1:0\"\norder = \"feed\"\nzone = \"Europe/Berlin\"\n[authorities]\nHILL = \"urn:x:hill\"\n",
        )
        .unwrap();
        let options = settings.options();
        assert_eq!(options.mapping["zone"], "Europe/Berlin");
        assert_eq!(options.mapping["authority.HILL"], "urn:x:hill");
        let limits = settings.limits();
        assert_eq!((limits.window, limits.commits_max), (1, 1));
    }

    #[test]
    fn what_is_written_as_json_is_read_again() {
        let settings = FeedSettings {
            name: "lab".into(),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            ..FeedSettings::default()
        };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<FeedSettings>(&text).unwrap(),
            settings
        );
    }
}
