//! Paging links: where a search goes on, signed so that nobody can forge or mix them.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#paging>. A token holds the store's cursor and a signature over it and
//! over the search it belongs to. It names a place in an order, not a snapshot: what changes between two pages may
//! appear or not, what does not change appears exactly once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use fhir_core::issue::{ErrorKind, Problem};

/// The parameter that carries the token.
pub const CURSOR_PARAMETER: &str = "_cursor";

/// Bytes of the signature kept: 128 bits.
const SIGNATURE_BYTES: usize = 16;

/// Longest token read, in characters: sort values are bounded far below.
const TOKEN_LENGTH_MAX: usize = 8 * 1024;

/// Signs and checks paging tokens.
#[derive(Clone)]
pub struct Signer {
    /// The key, filled up with zeros to the hash's block as HMAC does it.
    key: [u8; 64],
}

impl Signer {
    /// Signs with this key, which the database keeps: a link outlives a restart.
    pub fn new(key: [u8; 32]) -> Self {
        let mut block = [0; 64];
        block.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        Self { key: block }
    }

    /// The token for this cursor of this search.
    pub fn sign(&self, search: &str, cursor: &[u8]) -> String {
        let mut token = cursor.to_vec();
        let signature = self.mac(search, cursor).finalize().into_bytes();
        token.extend_from_slice(signature.get(..SIGNATURE_BYTES).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The cursor of a token that was made for this search.
    ///
    /// # Errors
    /// `bad-cursor`
    pub fn open(&self, search: &str, token: &str) -> Result<Vec<u8>, Problem> {
        let refuse = || {
            let text = "this paging link is damaged or belongs to another search; start from the first page";
            Problem::new(ErrorKind::BAD_CURSOR, text).at(CURSOR_PARAMETER)
        };
        if token.len() > TOKEN_LENGTH_MAX {
            return Err(refuse());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refuse())?;
        let split = bytes
            .len()
            .checked_sub(SIGNATURE_BYTES)
            .ok_or_else(refuse)?;
        let (cursor, signature) = bytes.split_at(split);
        self.mac(search, cursor)
            .verify_truncated_left(signature)
            .map_err(|_| refuse())?;
        Ok(cursor.to_vec())
    }

    fn mac(&self, search: &str, cursor: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        // The length keeps search and cursor apart.
        mac.update(&(search.len() as u64).to_be_bytes());
        mac.update(search.as_bytes());
        mac.update(cursor);
        mac
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_untouched_token_of_the_same_search_opens() {
        let signer = Signer::new([7; 32]);
        let token = signer.sign("Observation?code=a", b"place");
        assert_eq!(signer.open("Observation?code=a", &token).unwrap(), b"place");
        assert_eq!(
            signer
                .open("Observation?code=b", &token)
                .unwrap_err()
                .kind(),
            ErrorKind::BAD_CURSOR
        );
        assert!(
            Signer::new([8; 32])
                .open("Observation?code=a", &token)
                .is_err()
        );
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(
                signer
                    .open("Observation?code=a", std::str::from_utf8(&forged).unwrap())
                    .is_err(),
                "{at}"
            );
        }
        for token in ["", "AAAA", "not base64!", &"A".repeat(9000)] {
            assert!(signer.open("", token).is_err());
        }
    }
}
