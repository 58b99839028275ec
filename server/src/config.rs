//! Every setting of the server: as flag, as environment variable, in a TOML file, with a default, in this precedence.
//!
//! One struct names them all, so that the three forms cannot differ. Left out: reloading while running.

mod choices;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::feeds::FeedSettings;
use crate::ingest::settings::{DeviceSource, MqttBroker};
use crate::live::settings::{AlertRule, LiveSettings};

pub use choices::{Listen, LogFormat, Mode, References, Secret, Validation};

/// File that is read when `--config` names none and it exists.
pub const FILE_NAME_DEFAULT: &str = "stoker.toml";

/// Shortest admin token, in characters.
const TOKEN_LENGTH_MIN: usize = 16;

/// Largest settings file read, in bytes: a real one has a few hundred.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings as they were given; `None` where nothing was said.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address of the FHIR API over HTTP
    #[arg(long, env = "STOKER_HTTP", value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Database: `sqlite:PATH` or `postgres://USER@HOST/NAME`
    #[arg(
        long,
        env = "STOKER_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: Option<String>,
    /// Address that takes HL7 v2 messages over MLLP, or `off` (default: 127.0.0.1:2575)
    #[arg(long, env = "STOKER_MLLP", value_name = "ADDRESS:PORT|off")]
    pub mllp: Option<Listen>,
    /// Name of the MLLP feed, kept with every message
    #[arg(long, env = "STOKER_MLLP_FEED", value_name = "NAME")]
    pub mllp_feed: Option<String>,
    /// Zone of HL7 v2 times that name none, such as `Europe/Berlin`; without it they keep their day only
    #[arg(long, env = "STOKER_MLLP_ZONE", value_name = "ZONE")]
    pub mllp_zone: Option<String>,
    /// Character set of HL7 v2 messages that name none and are not UTF-8
    #[arg(long, env = "STOKER_MLLP_CHARSET", value_name = "NAME")]
    pub mllp_charset: Option<String>,
    /// Values of MSH-11 that are taken, separated by commas: P production, T training, D debugging
    #[arg(long, env = "STOKER_MLLP_PROCESSING_IDS", value_name = "IDS")]
    pub mllp_processing_ids: Option<String>,
    /// URI of the authority of identifiers without one
    #[arg(long, env = "STOKER_MLLP_DEFAULT_AUTHORITY", value_name = "URI")]
    pub mllp_default_authority: Option<String>,
    /// Sets this site's ids apart from those of others; changing it changes every id made from messages
    #[arg(long, env = "STOKER_MLLP_ID_NAMESPACE", value_name = "NAME")]
    pub mllp_id_namespace: Option<String>,
    /// Folder of mappings that add to or replace the ones inside the program
    #[arg(long, env = "STOKER_MAPPINGS", value_name = "FOLDER")]
    pub mappings: Option<PathBuf>,
    /// Folder of EHR tenants, one TOML file each
    #[arg(long, env = "STOKER_TENANTS", value_name = "FOLDER")]
    pub tenants: Option<PathBuf>,
    /// Token of those who may administer the server over the network; without one only this machine may
    #[arg(
        long,
        env = "STOKER_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub admin_token: Option<Secret>,
    /// Feeds, each a table `[[feed]]` of the settings file
    #[arg(skip)]
    pub feed: Vec<FeedSettings>,
    /// The FHIR base as clients see it, such as `https://fhir.example.org/fhir`
    #[arg(long, env = "STOKER_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,
    /// Allow open mode (no login, full access) on an address that other machines reach
    #[arg(long, env = "STOKER_INSECURE_OPEN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_open: Option<bool>,
    /// What happens to a resource that does not fit the R4 definitions
    #[arg(long, env = "STOKER_VALIDATION")]
    pub validation: Option<Validation>,
    /// What happens to a resource that breaks an invariant of R4
    #[arg(long, env = "STOKER_INVARIANTS")]
    pub invariants: Option<Mode>,
    /// What happens to a resource that breaks a profile it claims
    #[arg(long, env = "STOKER_PROFILES")]
    pub profiles: Option<Mode>,
    /// Whether resources written over REST may refer only to resources that are here
    #[arg(long, env = "STOKER_REFERENCES")]
    pub references: Option<References>,
    /// Another mode for a type or profile: `TYPE=MODE` or `PROFILE_URL=MODE`; a profile named so is checked on every
    /// resource of its type
    #[arg(
        long = "validation-rule",
        env = "STOKER_VALIDATION_RULES",
        value_delimiter = ',',
        value_name = "WHAT=MODE"
    )]
    pub validation_rules: Option<Vec<String>>,
    /// Folders and `.tgz` packages of profiles, value sets, code systems and concept maps
    #[arg(
        long = "package",
        env = "STOKER_PACKAGES",
        value_delimiter = ',',
        value_name = "FOLDER|TGZ"
    )]
    pub packages: Option<Vec<PathBuf>>,
    /// Threads that serve HTTP (default: one for each core)
    #[arg(long, env = "STOKER_WORKERS", value_name = "COUNT")]
    pub workers: Option<usize>,
    /// Form of the log
    #[arg(long, env = "STOKER_LOG")]
    pub log: Option<LogFormat>,
    /// What is logged, such as `info` or `warn,stoker=debug`
    #[arg(long, env = "STOKER_LOG_FILTER", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Largest request body in bytes
    #[arg(long, env = "STOKER_BODY_BYTES_MAX", value_name = "BYTES")]
    pub body_bytes_max: Option<usize>,
    /// Entries of a search page when the client names no `_count`
    #[arg(long, env = "STOKER_PAGE_ENTRIES", value_name = "COUNT")]
    pub page_entries: Option<usize>,
    /// Entries of a page at most, whatever `_count` asks for
    #[arg(long, env = "STOKER_PAGE_ENTRIES_MAX", value_name = "COUNT")]
    pub page_entries_max: Option<usize>,
    /// Memory for current resources kept ready, in bytes; 0 turns it off
    #[arg(long, env = "STOKER_CACHE_BYTES", value_name = "BYTES")]
    pub cache_bytes: Option<u64>,
    /// Matches that one conditional delete removes at most; 1 refuses when several match
    #[arg(long, env = "STOKER_CONDITIONAL_DELETE_MAX", value_name = "COUNT")]
    pub conditional_delete_max: Option<usize>,
    /// Web origins whose pages may call the API, separated by commas; `*` for all, `off` for none
    /// (default: those of this machine)
    #[arg(long, env = "STOKER_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<String>,
    /// Folder of the files that bulk export writes (default: beside the database)
    #[arg(long, env = "STOKER_EXPORT_FOLDER", value_name = "FOLDER")]
    pub export_folder: Option<PathBuf>,
    /// Seconds that running requests get to finish when the server stops
    #[arg(long, env = "STOKER_STOP_SECONDS", value_name = "SECONDS")]
    pub stop_seconds: Option<u64>,
    /// Folder of payload mappings of devices that add to or replace the ones inside the program
    #[arg(long, env = "STOKER_DEVICE_MAPPINGS", value_name = "FOLDER")]
    pub device_mappings: Option<PathBuf>,
    /// Ask every sender to `/ingest` for a device token
    #[arg(long, env = "STOKER_DEVICE_TOKENS_REQUIRED", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub device_tokens_required: Option<bool>,
    /// Senders of device data; in the file only.
    #[arg(skip)]
    pub device: Vec<DeviceSource>,
    /// Brokers of device data; in the file only.
    #[arg(skip)]
    pub mqtt: Vec<MqttBroker>,
    /// Limits and keys of subscriptions; in the file only.
    #[arg(skip)]
    pub live: Option<LiveSettings>,
    /// Alert rules; in the file only.
    #[arg(skip)]
    pub alert: Vec<AlertRule>,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// See [`Settings::http`].
    pub http: SocketAddr,
    /// See [`Settings::database`]; may hold a password.
    pub database: String,
    /// See [`Settings::mllp`].
    pub mllp: Listen,
    /// See [`Settings::mllp_feed`].
    pub mllp_feed: String,
    /// See [`Settings::mllp_zone`].
    pub mllp_zone: Option<String>,
    /// See [`Settings::mllp_charset`]; `None` is the adapter's default.
    pub mllp_charset: Option<String>,
    /// See [`Settings::mllp_processing_ids`].
    pub mllp_processing_ids: String,
    /// See [`Settings::mllp_default_authority`].
    pub mllp_default_authority: Option<String>,
    /// See [`Settings::mllp_id_namespace`].
    pub mllp_id_namespace: Option<String>,
    /// See [`Settings::mappings`].
    pub mappings: Option<PathBuf>,
    /// See [`Settings::tenants`].
    pub tenants: Option<PathBuf>,
    /// See [`Settings::base_url`]; `None` means it is made from the address bound.
    pub base_url: Option<String>,
    /// See [`Settings::insecure_open`].
    pub insecure_open: bool,
    /// See [`Settings::validation`].
    pub validation: Validation,
    /// See [`Settings::invariants`].
    pub invariants: Mode,
    /// See [`Settings::profiles`].
    pub profiles: Mode,
    /// See [`Settings::references`].
    pub references: References,
    /// See [`Settings::validation_rules`].
    pub validation_rules: Vec<String>,
    /// See [`Settings::packages`].
    pub packages: Vec<PathBuf>,
    /// See [`Settings::workers`].
    pub workers: usize,
    /// See [`Settings::log`].
    pub log: LogFormat,
    /// See [`Settings::log_filter`].
    pub log_filter: String,
    /// See [`Settings::body_bytes_max`].
    pub body_bytes_max: usize,
    /// See [`Settings::page_entries`].
    pub page_entries: usize,
    /// See [`Settings::page_entries_max`].
    pub page_entries_max: usize,
    /// See [`Settings::cache_bytes`].
    pub cache_bytes: u64,
    /// See [`Settings::conditional_delete_max`].
    pub conditional_delete_max: usize,
    /// See [`Settings::cors_origins`]; `None` means those of this machine.
    pub cors_origins: Option<String>,
    /// See [`Settings::export_folder`].
    pub export_folder: Option<PathBuf>,
    /// See [`Settings::stop_seconds`].
    pub stop_seconds: u64,
    /// See [`Settings::device_mappings`].
    pub device_mappings: Option<PathBuf>,
    /// See [`Settings::device_tokens_required`].
    pub device_tokens_required: bool,
    /// See [`Settings::device`].
    pub device: Vec<DeviceSource>,
    /// See [`Settings::mqtt`].
    pub mqtt: Vec<MqttBroker>,
    /// See [`Settings::live`].
    pub live: LiveSettings,
    /// See [`Settings::alert`].
    pub alert: Vec<AlertRule>,
    /// See [`Settings::admin_token`].
    pub admin_token: Option<Secret>,
    /// See [`Settings::feed`].
    pub feed: Vec<FeedSettings>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            database: "sqlite:stoker.db".to_owned(),
            mllp: Listen::On(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2575)),
            mllp_feed: "mllp".to_owned(),
            mllp_zone: None,
            mllp_charset: None,
            mllp_processing_ids: "P".to_owned(),
            mllp_default_authority: None,
            mllp_id_namespace: None,
            mappings: None,
            tenants: None,
            base_url: None,
            insecure_open: false,
            validation: Validation::Reject,
            invariants: Mode::Reject,
            profiles: Mode::Warn,
            references: References::Off,
            validation_rules: Vec::new(),
            packages: Vec::new(),
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            log: LogFormat::Pretty,
            log_filter: "info".to_owned(),
            // A patient's whole history as one transaction is a few MiB; this leaves room for long ones.
            body_bytes_max: 64 << 20,
            page_entries: 50,
            page_entries_max: 1_000,
            cache_bytes: 32 << 20,
            conditional_delete_max: 1,
            cors_origins: None,
            export_folder: None,
            stop_seconds: 30,
            device_mappings: None,
            device_tokens_required: false,
            device: Vec::new(),
            mqtt: Vec::new(),
            live: LiveSettings::default(),
            alert: Vec::new(),
            admin_token: None,
            feed: Vec::new(),
        }
    }
}

/// Why settings were refused, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The settings in force: `given` (flags and environment) before the file before the defaults.
    ///
    /// # Errors
    /// A file that is missing or holds something unknown, or values that do not go together; names file and line.
    pub fn load(given: &Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.map(PathBuf::from).or_else(|| {
            let usual = PathBuf::from(FILE_NAME_DEFAULT);
            usual.is_file().then_some(usual)
        });
        let from_file = match &path {
            Some(path) => read_file(path)?,
            None => Settings::default(),
        };
        let mut config = Self::resolve(given.clone(), from_file.clone());
        // The name that Rust programs share counts when nothing of our own was said.
        if let (None, None, Ok(filter)) = (
            &given.log_filter,
            &from_file.log_filter,
            std::env::var("RUST_LOG"),
        ) {
            config.log_filter = filter;
        }
        config.check()?;
        Ok(config)
    }

    fn resolve(given: Settings, file: Settings) -> Self {
        let default = Self::default();
        Self {
            http: given.http.or(file.http).unwrap_or(default.http),
            database: given.database.or(file.database).unwrap_or(default.database),
            mllp: given.mllp.or(file.mllp).unwrap_or(default.mllp),
            mllp_feed: given
                .mllp_feed
                .or(file.mllp_feed)
                .unwrap_or(default.mllp_feed),
            mllp_zone: given.mllp_zone.or(file.mllp_zone),
            mllp_charset: given.mllp_charset.or(file.mllp_charset),
            mllp_processing_ids: given
                .mllp_processing_ids
                .or(file.mllp_processing_ids)
                .unwrap_or(default.mllp_processing_ids),
            mllp_default_authority: given.mllp_default_authority.or(file.mllp_default_authority),
            mllp_id_namespace: given.mllp_id_namespace.or(file.mllp_id_namespace),
            mappings: given.mappings.or(file.mappings),
            tenants: given.tenants.or(file.tenants),
            base_url: given.base_url.or(file.base_url),
            insecure_open: given
                .insecure_open
                .or(file.insecure_open)
                .unwrap_or(default.insecure_open),
            validation: given
                .validation
                .or(file.validation)
                .unwrap_or(default.validation),
            invariants: given
                .invariants
                .or(file.invariants)
                .unwrap_or(default.invariants),
            profiles: given.profiles.or(file.profiles).unwrap_or(default.profiles),
            references: given
                .references
                .or(file.references)
                .unwrap_or(default.references),
            validation_rules: given
                .validation_rules
                .or(file.validation_rules)
                .unwrap_or(default.validation_rules),
            packages: given.packages.or(file.packages).unwrap_or(default.packages),
            workers: given.workers.or(file.workers).unwrap_or(default.workers),
            log: given.log.or(file.log).unwrap_or(default.log),
            log_filter: given
                .log_filter
                .or(file.log_filter)
                .unwrap_or(default.log_filter),
            body_bytes_max: given
                .body_bytes_max
                .or(file.body_bytes_max)
                .unwrap_or(default.body_bytes_max),
            page_entries: given
                .page_entries
                .or(file.page_entries)
                .unwrap_or(default.page_entries),
            page_entries_max: given
                .page_entries_max
                .or(file.page_entries_max)
                .unwrap_or(default.page_entries_max),
            cache_bytes: given
                .cache_bytes
                .or(file.cache_bytes)
                .unwrap_or(default.cache_bytes),
            conditional_delete_max: given
                .conditional_delete_max
                .or(file.conditional_delete_max)
                .unwrap_or(default.conditional_delete_max),
            cors_origins: given.cors_origins.or(file.cors_origins),
            export_folder: given.export_folder.or(file.export_folder),
            stop_seconds: given
                .stop_seconds
                .or(file.stop_seconds)
                .unwrap_or(default.stop_seconds),
            device_mappings: given.device_mappings.or(file.device_mappings),
            device_tokens_required: given
                .device_tokens_required
                .or(file.device_tokens_required)
                .unwrap_or(default.device_tokens_required),
            device: file.device,
            mqtt: file.mqtt,
            live: file.live.unwrap_or_default(),
            alert: file.alert,
            admin_token: given.admin_token.or(file.admin_token),
            feed: file.feed,
        }
    }

    /// Whether the values go together.
    ///
    /// # Errors
    /// Names the setting and the fix.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError(text));
        let mllp = match self.mllp {
            Listen::Off => None,
            Listen::On(address) => Some(("mllp", address)),
        };
        self.check_feeds().map_err(ConfigError)?;
        if let Some(token) = &self.admin_token
            && token.reveal().len() < TOKEN_LENGTH_MIN
        {
            return refuse(format!(
                "`admin_token` must have at least {TOKEN_LENGTH_MIN} characters, so that nobody guesses it"
            ));
        }
        for (name, address) in [Some(("http", self.http)), mllp].into_iter().flatten() {
            if !address.ip().is_loopback() && !self.insecure_open {
                return refuse(format!(
                    "`{name}` = {address} is reachable from other machines, and this server has no login yet: everyone \
                     there could read and change every patient. Bind a loopback address such as 127.0.0.1, or \
                     state `--insecure-open` if something in front of it keeps strangers out"
                ));
            }
        }
        if let Err(why) = crate::write::validation::Rules::parse(&self.validation_rules) {
            return refuse(format!("`validation_rules`: {why}"));
        }
        if self.workers == 0 {
            return refuse("`workers` must be at least 1".to_owned());
        }
        if self.page_entries == 0 || self.page_entries_max < self.page_entries {
            return refuse(
                "`page_entries` must be at least 1 and at most `page_entries_max`".to_owned(),
            );
        }
        if self.conditional_delete_max == 0 {
            return refuse("`conditional_delete_max` must be at least 1".to_owned());
        }
        if self.body_bytes_max < 1024 {
            return refuse("`body_bytes_max` must be at least 1024".to_owned());
        }
        if let Some(base) = &self.base_url
            && (!(base.starts_with("http://") || base.starts_with("https://"))
                || base.ends_with('/'))
        {
            return refuse(
                "`base_url` must begin with http:// or https:// and not end with /".to_owned(),
            );
        }
        Ok(())
    }

    /// All feeds of the settings: that of `mllp` first.
    pub fn feeds(&self) -> Vec<FeedSettings> {
        let short = match self.mllp {
            Listen::Off => None,
            Listen::On(address) => Some(self.mllp_feed(address)),
        };
        short.into_iter().chain(self.feed.iter().cloned()).collect()
    }

    /// The feed that the settings `mllp` and `mllp_…` stand for.
    fn mllp_feed(&self, address: SocketAddr) -> FeedSettings {
        let ids = self.mllp_processing_ids.split(',');
        let mut feed = FeedSettings {
            name: self.mllp_feed.clone(),
            address: Some(address),
            processing_ids: ids.map(|id| id.trim().to_owned()).collect(),
            zone: self.mllp_zone.clone(),
            default_authority: self.mllp_default_authority.clone(),
            id_namespace: self.mllp_id_namespace.clone(),
            ..FeedSettings::default()
        };
        if let Some(charset) = &self.mllp_charset {
            feed.charset.clone_from(charset);
        }
        feed
    }

    fn check_feeds(&self) -> Result<(), String> {
        let mut names = std::collections::HashSet::new();
        for feed in &self.feed {
            let named = |text: String| format!("feed `{}`: {text}", feed.name);
            feed.check(self.insecure_open).map_err(named)?;
            let is_short = self.mllp != Listen::Off && feed.name == self.mllp_feed;
            if is_short || !names.insert(&feed.name) {
                return Err(named("the name is taken by another feed".to_owned()));
            }
        }
        Ok(())
    }

    /// The settings as a TOML file, a password in the database URL masked.
    pub fn to_toml(&self) -> String {
        let shown = Self {
            database: mask_password(&self.database),
            ..self.clone()
        };
        toml::to_string(&shown).unwrap_or_default()
    }
}

/// `scheme://user:password@host` with the password replaced.
pub fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((credentials, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = credentials
        .split_once(':')
        .map_or(credentials, |(user, _)| user);
    let mask = if credentials.contains(':') {
        ":***"
    } else {
        ""
    };
    format!("{scheme}://{user}{mask}@{host}")
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let fail = |why: String| ConfigError(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|e| fail(e.to_string()))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!(
            "the file has {size} bytes; at most {FILE_BYTES_MAX} are read"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    parse_file(&text).map_err(|(line, column, why)| {
        ConfigError(format!("{}:{line}:{column}: {why}", path.display()))
    })
}

/// The settings of a file's text; an error has line, column and reason.
fn parse_file(text: &str) -> Result<Settings, (usize, usize, String)> {
    toml::from_str(text).map_err(|e| {
        let before = e
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(1, |last| last.chars().count() + 1);
        (
            line,
            column,
            e.message().replace("unknown field", "unknown key"),
        )
    })
}
