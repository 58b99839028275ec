//! The client assertion: a signed JSON Web Token that proves who we are to a token endpoint.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html#authentication-jwt-header-values>.
//! Leaves out `iat` and `nbf`: they are optional, and a slow EHR clock would refuse them as lying in the future.

use fhir_core::ids::Instant;
use fhir_core::json::{Number, Value};

use crate::EhrError;
use crate::auth::base64url;
use crate::auth::keys::{Algorithm, KeyEntry, SigningKey};

/// Life of an assertion in seconds. Five minutes is the limit; one is left for clocks that disagree.
pub const LIFE_S: i64 = 240;
/// The value of `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an assertion claims; `doctor` prints it, because EHRs answer every fault with the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Our client id, as `iss` and `sub`.
    pub client_id: String,
    /// The token endpoint, exactly as discovered or configured.
    pub audience: String,
    /// Unique for every assertion.
    pub jti: String,
    /// Seconds since 1970, by the EHR's clock.
    pub expires: i64,
}

impl Claims {
    /// Claims for one request. `now` is the EHR's time as far as we know it.
    pub fn new(client_id: &str, audience: &str, now: Instant, chance: u128) -> Self {
        Self {
            client_id: client_id.to_owned(),
            audience: audience.to_owned(),
            jti: format!("{chance:032x}"),
            expires: now.0.div_euclid(1_000_000) + LIFE_S,
        }
    }

    /// The claims as JSON.
    pub fn to_value(&self) -> Value {
        Value::object([
            ("iss", self.client_id.as_str().into()),
            ("sub", self.client_id.as_str().into()),
            ("aud", self.audience.as_str().into()),
            ("jti", self.jti.as_str().into()),
            ("exp", Value::Number(Number::from(self.expires))),
        ])
    }

    /// Signs the claims.
    ///
    /// # Errors
    /// [`EhrError::Key`] when signing fails.
    pub fn sign(
        &self,
        entry: &KeyEntry,
        key: &SigningKey,
        jwks_url: Option<&str>,
    ) -> Result<String, EhrError> {
        let algorithm = match entry.algorithm {
            Algorithm::RS384 => "RS384",
            Algorithm::ES384 => "ES384",
        };
        let mut header = vec![
            ("alg", Value::from(algorithm)),
            ("typ", "JWT".into()),
            ("kid", entry.kid.as_str().into()),
        ];
        if let Some(url) = jwks_url {
            header.push(("jku", url.into()));
        }
        let header = base64url(&Value::object(header).to_bytes());
        let payload = base64url(&self.to_value().to_bytes());
        let message = format!("{header}.{payload}");
        let signature = base64url(&key.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }
}
