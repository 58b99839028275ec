//! Getting tokens as a SMART client: discovery, keys, assertions, scopes, the token cache and user launches.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/>.
//! Leaves out being an authorization server, which is the server's own part.

pub mod assertion;
pub mod discovery;
pub mod keys;
pub mod launch;
pub mod scopes;
pub mod token;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Base64url without padding, the alphabet of JOSE.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
