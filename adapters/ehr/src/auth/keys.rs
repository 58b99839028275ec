//! Our signing keys: made, published, taken into use and dropped with an overlap, so that no EHR is ever left with
//! an old key set.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html>, RFC 7517 (JWK), RFC 7518.
//! Leaves out making RSA keys: those are imported as PKCS#8; ES384 keys are made here.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir_core::ids::Instant;
use fhir_core::json::Value;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RsaKeyPair,
};
use serde::{Deserialize, Serialize};

use crate::EhrError;
use crate::auth::base64url;
use crate::clock::plus_seconds;
use crate::time;

/// How long a new key is published before it signs, in seconds. Epic caches a key set for up to 29 hours.
pub const PUBLISH_BEFORE_USE_S: i64 = 29 * 3600;
/// How long an old key stays published after the last signature, in seconds: assertions live five minutes at most.
pub const KEEP_AFTER_USE_S: i64 = 600;
/// Smallest RSA key accepted, in bits (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;
const LIST_FILE: &str = "keys.toml";

/// The two algorithms every SMART server must know at least one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// ECDSA on P-384 with SHA-384.
    ES384,
}

/// What is known about a key besides its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Key id, unique in the set.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// From when it may sign, RFC 3339 in UTC.
    pub active_from: String,
    /// When it may be dropped; absent while no successor exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_after: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyList {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

/// A secret key in memory. No `Debug`.
pub enum SigningKey {
    /// RS384.
    Rsa(Box<RsaKeyPair>),
    /// ES384.
    Ec(Box<EcdsaKeyPair>),
}

impl SigningKey {
    /// Reads a PKCS#8 document.
    ///
    /// # Errors
    /// [`EhrError::Key`] when it is no such key or too weak.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, EhrError> {
        let refuse = |why: &str| EhrError::Key(format!("not a usable PKCS#8 key: {why}"));
        match algorithm {
            Algorithm::RS384 => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| refuse("RSA expected"))?;
                if pair.public().modulus_len() * 8 < RSA_BITS_MIN {
                    return Err(refuse("RSA keys need 2048 bits"));
                }
                Ok(Self::Rsa(Box::new(pair)))
            }
            Algorithm::ES384 => {
                let random = SystemRandom::new();
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, &random)
                    .map(|pair| Self::Ec(Box::new(pair)))
                    .map_err(|_| refuse("EC P-384 expected"))
            }
        }
    }

    /// The signature in the form JOSE wants.
    ///
    /// # Errors
    /// [`EhrError::Key`] when the library refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, EhrError> {
        let random = SystemRandom::new();
        let failed = |_| EhrError::Key("signing failed".to_owned());
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Self::Ec(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
        }
    }

    /// The public half as a JWK.
    pub fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| Value::from(base64url(bytes));
        match self {
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                Value::object([
                    ("kty", "RSA".into()),
                    ("alg", "RS384".into()),
                    ("use", "sig".into()),
                    ("key_ops", Value::Array(vec!["verify".into()])),
                    ("kid", kid.into()),
                    ("n", text(&public.n)),
                    ("e", text(&public.e)),
                ])
            }
            Self::Ec(pair) => {
                // An uncompressed point: one byte 4, then both coordinates of 48 bytes.
                let point = pair.public_key().as_ref();
                let (x, y) = point.split_at(1).1.split_at(48);
                Value::object([
                    ("kty", "EC".into()),
                    ("crv", "P-384".into()),
                    ("alg", "ES384".into()),
                    ("use", "sig".into()),
                    ("key_ops", Value::Array(vec!["verify".into()])),
                    ("kid", kid.into()),
                    ("x", text(x)),
                    ("y", text(y)),
                ])
            }
        }
    }
}

/// A folder of keys: `keys.toml` and one `<kid>.pem` each, readable by the owner only.
#[derive(Debug, Clone)]
pub struct KeyRing {
    folder: PathBuf,
    entries: Vec<KeyEntry>,
}

impl KeyRing {
    /// Opens the folder; an empty or missing one has no keys yet.
    ///
    /// # Errors
    /// [`EhrError::Key`] naming the file.
    pub fn open(folder: &Path) -> Result<Self, EhrError> {
        let path = folder.join(LIST_FILE);
        let entries = match fs::read_to_string(&path) {
            Ok(text) => {
                toml::from_str::<KeyList>(&text)
                    .map_err(|error| EhrError::Key(format!("{}: {error}", path.display())))?
                    .key
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(EhrError::Key(format!("{}: {error}", path.display()))),
        };
        Ok(Self {
            folder: folder.to_owned(),
            entries,
        })
    }

    /// All keys, oldest first.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// Makes an ES384 key. The first key signs at once; a later one after [`PUBLISH_BEFORE_USE_S`], and the older
    /// ones may be dropped [`KEEP_AFTER_USE_S`] after that.
    ///
    /// # Errors
    /// [`EhrError::Key`] when the files cannot be written.
    pub fn rotate(&mut self, now: Instant, chance: u128) -> Result<KeyEntry, EhrError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random)
            .map_err(|_| EhrError::Key("the key could not be made".to_owned()))?;
        self.add(now, chance, Algorithm::ES384, pkcs8.as_ref())
    }

    /// Takes a PKCS#8 PEM made elsewhere (RSA, or an EC key from a hardware store's export) into the ring.
    ///
    /// # Errors
    /// [`EhrError::Key`] when it is no such key.
    pub fn import(
        &mut self,
        now: Instant,
        chance: u128,
        algorithm: Algorithm,
        pem: &str,
    ) -> Result<KeyEntry, EhrError> {
        self.add(now, chance, algorithm, &from_pem(pem)?)
    }

    fn add(
        &mut self,
        now: Instant,
        chance: u128,
        algorithm: Algorithm,
        der: &[u8],
    ) -> Result<KeyEntry, EhrError> {
        SigningKey::from_pkcs8(algorithm, der)?;
        let first = self.entries.is_empty();
        let active = plus_seconds(now, if first { 0 } else { PUBLISH_BEFORE_USE_S });
        let entry = KeyEntry {
            kid: format!("stoker-{:016x}", chance as u64),
            algorithm,
            active_from: time::to_seconds(active),
            drop_after: None,
        };
        for old in &mut self.entries {
            if old.drop_after.is_none() {
                old.drop_after = Some(time::to_seconds(plus_seconds(active, KEEP_AFTER_USE_S)));
            }
        }
        fs::create_dir_all(&self.folder).map_err(|error| self.failed(&error))?;
        self.write_secret(&entry.kid, der)?;
        self.entries.push(entry.clone());
        self.save()?;
        Ok(entry)
    }

    /// Removes a key and its file.
    ///
    /// # Errors
    /// [`EhrError::Key`] while the key may still be needed: it signs, or an EHR may still check with it.
    pub fn drop_key(&mut self, kid: &str, now: Instant) -> Result<(), EhrError> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.kid == kid)
            .ok_or_else(|| EhrError::Key(format!("no key `{kid}`; see `keys list`")))?;
        match &entry.drop_after {
            None => {
                return Err(EhrError::Key(format!(
                    "`{kid}` has no successor; run `keys rotate` first"
                )));
            }
            Some(after) if time::parse_fhir(after).is_none_or(|after| now < after) => {
                return Err(EhrError::Key(format!(
                    "`{kid}` is needed until {after}: EHRs may hold an older key set until then"
                )));
            }
            Some(_) => {}
        }
        self.entries.retain(|entry| entry.kid != kid);
        self.save()?;
        fs::remove_file(self.folder.join(format!("{kid}.pem"))).map_err(|error| self.failed(&error))
    }

    /// The newest key that may sign now.
    ///
    /// # Errors
    /// [`EhrError::Key`] when there is none.
    pub fn signing_key(
        &self,
        now: Instant,
        algorithm: Option<Algorithm>,
    ) -> Result<(KeyEntry, SigningKey), EhrError> {
        let entry = self
            .entries
            .iter()
            .filter(|entry| algorithm.is_none_or(|wanted| wanted == entry.algorithm))
            .filter(|entry| time::parse_fhir(&entry.active_from).is_some_and(|from| from <= now))
            .max_by_key(|entry| time::parse_fhir(&entry.active_from).map(|from| from.0))
            .ok_or_else(|| {
                EhrError::Key(format!(
                    "no key in {} may sign yet; run `keys rotate`",
                    self.folder.display()
                ))
            })?;
        Ok((entry.clone(), self.load(entry)?))
    }

    /// The public key set (JWKS) to serve; it holds keys that will sign soon and keys that signed lately.
    ///
    /// # Errors
    /// [`EhrError::Key`] when a key file cannot be read.
    pub fn jwks(&self) -> Result<Value, EhrError> {
        let keys = self.entries.iter();
        let keys = keys.map(|entry| Ok(self.load(entry)?.jwk(&entry.kid)));
        let keys = keys.collect::<Result<Vec<_>, EhrError>>()?;
        Ok(Value::object([("keys", Value::Array(keys))]))
    }

    fn load(&self, entry: &KeyEntry) -> Result<SigningKey, EhrError> {
        let path = self.folder.join(format!("{}.pem", entry.kid));
        let pem = fs::read_to_string(&path)
            .map_err(|error| EhrError::Key(format!("{}: {error}", path.display())))?;
        SigningKey::from_pkcs8(entry.algorithm, &from_pem(&pem)?)
    }

    fn write_secret(&self, kid: &str, der: &[u8]) -> Result<(), EhrError> {
        use std::io::Write as _;
        let path = self.folder.join(format!("{kid}.pem"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|error| self.failed(&error))?;
        file.write_all(to_pem(der).as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| self.failed(&error))
    }

    /// Replaces the list in one step, so that a crash leaves the old or the new one.
    fn save(&self) -> Result<(), EhrError> {
        let list = KeyList {
            key: self.entries.clone(),
        };
        let text = toml::to_string(&list).map_err(|error| EhrError::Key(error.to_string()))?;
        let new = self.folder.join("keys.toml.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, self.folder.join(LIST_FILE)))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> EhrError {
        EhrError::Key(format!("{}: {error}", self.folder.display()))
    }
}

fn to_pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

fn from_pem(text: &str) -> Result<Vec<u8>, EhrError> {
    let refuse = || EhrError::Key("`-----BEGIN PRIVATE KEY-----` (PKCS#8) expected".to_owned());
    let body = text
        .split_once("-----BEGIN PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
        .ok_or_else(refuse)?
        .0;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).map_err(|_| refuse())
}
