//! One tenant: one TOML file that says whom to ask, as whom, for what, and how politely.
//!
//! Spec: none; every key is documented here and in `docs/`.
//! Leaves out secrets: they are named by file or environment variable and read when needed.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use crate::EhrError;
use crate::auth::keys::Algorithm;
use crate::normalise::rules::Rules;
use crate::profile::Profile;

/// Longest accepted tenant name, in bytes; it is part of every key and tag.
const TENANT_BYTES_MAX: usize = 64;
/// Fewest points of likeness that may ask a person: a birth date and nothing else is none.
const REVIEW_FROM_MIN: u32 = 9;
/// Most patients in one tenant's list; a larger cohort belongs in a Group and bulk export.
const PATIENTS_MAX: usize = 100_000;

/// A tenant, ready to use.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Short name, unique in the installation.
    pub name: String,
    /// Base address of the FHIR API, without a trailing slash.
    pub fhir_base: Url,
    /// Whose view the API gives: `system`, `provider` or `patient`. Part of every source key, because a patient's
    /// view is masked.
    pub persona: Persona,
    /// Our client id at this EHR.
    pub client_id: String,
    /// How we prove who we are.
    pub auth: Auth,
    /// Token endpoint, when discovery must not be used.
    pub token_url: Option<Url>,
    /// Resource types wanted.
    pub types: Vec<String>,
    /// Scopes to ask for; made from `types` when empty.
    pub scopes: Vec<String>,
    /// Whose data.
    pub cohort: Cohort,
    /// Minutes between the beginnings of two runs under `stoker serve`; `None` runs when asked to.
    pub every_min: Option<u32>,
    /// Patient matching.
    pub identity: Identity,
    /// What may be written to the EHR, if anything.
    pub write_back: Option<WriteBack>,
    /// A Patient that is not here may be fetched when a request names this tenant.
    pub read_through: bool,
    /// Vendor profile with overrides applied.
    pub profile: Profile,
    /// Normalisation rules with overrides applied.
    pub rules: Rules,
}

/// Whose view of the record the API gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persona {
    /// A backend service.
    System,
    /// A clinician.
    Provider,
    /// The patient, who sees some results masked.
    Patient,
}

impl Persona {
    /// The word in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Provider => "provider",
            Self::Patient => "patient",
        }
    }
}

/// How we prove who we are.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Auth {
    /// No token at all, for open test servers on the loopback interface.
    None,
    /// `private_key_jwt`, SMART Backend Services.
    PrivateKeyJwt {
        /// Folder of the key ring.
        keys: PathBuf,
        /// Algorithm, when the ring holds both.
        #[serde(default)]
        algorithm: Option<Algorithm>,
        /// Where the EHR finds our key set; sent as `jku` when given.
        #[serde(default)]
        jwks_url: Option<String>,
    },
    /// `client_secret_basic`.
    Basic {
        /// Where the secret is.
        secret: Secret,
    },
}

/// A secret by reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secret {
    /// A file, whose trailing line end is ignored.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Secret {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`EhrError::Config`] naming the reference, never the value.
    pub fn read(&self) -> Result<String, EhrError> {
        match self {
            Self::File(path) => fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| EhrError::Config(format!("secret {}: {error}", path.display()))),
            Self::Env(name) => std::env::var(name)
                .map_err(|_| EhrError::Config(format!("secret: variable `{name}` is not set"))),
        }
    }
}

/// Whose data is fetched.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// Patient ids of the EHR.
    #[serde(default)]
    pub patients: Vec<String>,
    /// Patients by identifier; each must match exactly one patient that carries it.
    #[serde(default)]
    pub identifiers: Vec<IdentifierKey>,
    /// A Group for bulk export.
    #[serde(default)]
    pub group: Option<String>,
}

/// An identifier with its system; one without a system identifies nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierKey {
    /// Identifier.system.
    pub system: String,
    /// Identifier.value.
    pub value: String,
}

/// Patient matching across tenants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Systems whose identifiers name one person for certain, such as the hospital's MRN.
    #[serde(default)]
    pub match_systems: Vec<String>,
    /// From how many points of likeness (of [`crate::likeness::POINTS_MAX`]) a person is asked whether a patient of
    /// another tenant is the same one; nobody is asked without it.
    #[serde(default)]
    pub review_from: Option<u32>,
}

/// What may be written to the EHR. Nothing is without this table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteBack {
    /// LOINC codes of Observations that may be written, each agreed on with the EHR's people.
    pub loinc: std::collections::BTreeSet<String>,
    /// Who is named as performer, as a reference at the EHR such as `Practitioner/123`; Oracle wants one for vitals.
    #[serde(default)]
    pub performer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tenant: String,
    vendor: String,
    fhir_base: String,
    #[serde(default = "system")]
    persona: Persona,
    #[serde(default)]
    client_id: String,
    auth: Auth,
    #[serde(default)]
    token_url: Option<String>,
    types: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    cohort: Cohort,
    #[serde(default)]
    every_min: Option<u32>,
    #[serde(default)]
    identity: Identity,
    #[serde(default)]
    write_back: Option<WriteBack>,
    #[serde(default)]
    read_through: bool,
    #[serde(default)]
    profile: toml::Table,
    #[serde(default)]
    rules: toml::Table,
}

fn system() -> Persona {
    Persona::System
}

impl Tenant {
    /// Reads a tenant file.
    ///
    /// # Errors
    /// [`EhrError::Config`] naming file, line and the key that is wrong.
    pub fn read(path: &Path) -> Result<Self, EhrError> {
        let text = fs::read_to_string(path)
            .map_err(|error| EhrError::Config(format!("{}: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| EhrError::Config(format!("{}: {error}", path.display())))
    }

    /// Reads a tenant from text.
    ///
    /// # Errors
    /// [`EhrError::Config`] naming the line and the key that is wrong.
    pub fn parse(text: &str) -> Result<Self, EhrError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_at(text, span.start));
            EhrError::Config(format!("line {line}: {}", error.message()))
        })?;
        let located = |error: EhrError| locate(text, error);
        let profile = Profile::load(&file.vendor, &file.profile).map_err(located)?;
        let rules = Rules::load(&file.rules).map_err(located)?;
        for resource_type in &file.types {
            if profile.search_of(resource_type).is_none() {
                return Err(located(EhrError::Config(format!(
                    "`types`: the profile has no `[[profile.search]]` for `{resource_type}`"
                ))));
            }
        }
        let scopes = if file.scopes.is_empty() {
            let types = file.types.iter();
            let mut scopes: Vec<String> = types.map(|name| format!("system/{name}.rs")).collect();
            let writes = file.write_back.iter();
            scopes.extend(writes.map(|_| "system/Observation.c".to_owned()));
            scopes
        } else {
            file.scopes
        };
        let tenant = Self {
            fhir_base: address(text, "fhir_base", file.fhir_base.trim_end_matches('/'))?,
            token_url: file
                .token_url
                .map(|url| address(text, "token_url", &url))
                .transpose()?,
            name: file.tenant,
            persona: file.persona,
            client_id: file.client_id,
            auth: file.auth,
            types: file.types,
            scopes,
            cohort: file.cohort,
            every_min: file.every_min,
            identity: file.identity,
            write_back: file.write_back,
            read_through: file.read_through,
            profile,
            rules,
        };
        tenant
            .check()
            .map_err(|error| EhrError::Config(error.to_owned()))?;
        Ok(tenant)
    }

    fn check(&self) -> Result<(), &'static str> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty()
            || self.name.len() > TENANT_BYTES_MAX
            || !self.name.chars().all(plain)
        {
            return Err(
                "`tenant` must be 1 to 64 lower-case letters, digits and hyphens (it is part of every key)",
            );
        }
        if self.client_id.is_empty() && !matches!(self.auth, Auth::None) {
            return Err("`client_id` is missing");
        }
        if self
            .write_back
            .as_ref()
            .is_some_and(|own| own.loinc.is_empty())
        {
            return Err("`write_back.loinc` is empty (leave the table out to write nothing)");
        }
        let asked_from = self.identity.review_from;
        if asked_from
            .is_some_and(|from| !(REVIEW_FROM_MIN..=crate::likeness::POINTS_MAX).contains(&from))
        {
            return Err("`identity.review_from` must be 9 to 25");
        }
        if self.every_min == Some(0) {
            return Err("`every_min` must be at least 1 (leave it out to run by hand only)");
        }
        if self.cohort.patients.len() + self.cohort.identifiers.len() > PATIENTS_MAX {
            return Err("`cohort` has more than 100000 patients; name a `group` instead");
        }
        Ok(())
    }

    /// Headers of every FHIR request but `Authorization`.
    pub fn headers(&self) -> Vec<(String, String)> {
        let name = self.profile.client_id_header.iter();
        name.map(|name| (name.clone(), self.client_id.clone()))
            .collect()
    }
}

fn address(text: &str, key: &str, value: &str) -> Result<Url, EhrError> {
    Url::parse(value).map_err(|_| {
        EhrError::Config(format!(
            "line {}: `{key}` is not an absolute URL",
            line_of(text, key)
        ))
    })
}

/// Adds the line of the first word in backticks that starts a line of the file.
fn locate(text: &str, error: EhrError) -> EhrError {
    let EhrError::Config(message) = error else {
        return error;
    };
    let words = message.split('`').skip(1).step_by(2);
    let line = words.map(|word| line_of(text, word)).find(|line| *line > 0);
    match line {
        Some(line) => EhrError::Config(format!("line {line}: {message}")),
        None => EhrError::Config(message),
    }
}

/// The 1-based line that sets `key`, or 0.
fn line_of(text: &str, key: &str) -> usize {
    let sets = |line: &str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        name == key && line.contains('=')
    };
    text.lines()
        .position(sets)
        .map_or(0, |index| index.saturating_add(1))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}

#[cfg(test)]
mod tests;
