//! Device tokens: a secret that lets a sender speak for one device and no other. Only its hash is kept.
//!
//! RFC 6750 (<https://www.rfc-editor.org/rfc/rfc6750>): `Authorization: Bearer …`. Left out: client certificates.

use actix_web::http::header;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::DeviceToken;
use sha2::{Digest, Sha256};

use crate::app::{Server, store_problem};

/// What a device token begins with, so that it is recognised where it should not be.
pub const PREFIX: &str = "stoker-device-";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Longest token looked at, in characters.
const TOKEN_CHARS_MAX: usize = 128;

/// A new token: the text for the device, and the hash that is kept.
///
/// # Errors
/// `internal` when the system gives no randomness
pub fn draw() -> Result<(String, [u8; 32]), Problem> {
    let mut secret = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut secret)
        .map_err(|_| Problem::new(ErrorKind::INTERNAL, "the system gives no random numbers"))?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("{PREFIX}{digits}");
    let hash = hash_of(&token);
    Ok((token, hash))
}

/// The hash a token is kept by. The token is as random as the hash is long, so no salt is needed.
pub fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The device a request has proved to speak for; `None` without a token, where none is asked for.
///
/// # Errors
/// `unauthenticated`: no token where one is asked for, an unknown one, a revoked one, one that has ended
pub async fn device_of(
    server: &Server,
    request: &actix_web::HttpRequest,
) -> Result<Option<DeviceToken>, Problem> {
    let refuse = |text: &str| Err(Problem::new(ErrorKind::UNAUTHENTICATED, text));
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(token) = bearer.filter(|token| token.starts_with(PREFIX)) else {
        return if server.config.device_tokens_required {
            refuse("send the device's token: `Authorization: Bearer stoker-device-…`")
        } else {
            Ok(None)
        };
    };
    if token.len() > TOKEN_CHARS_MAX {
        return refuse("the token is not one of this server");
    }
    let found = server.store.device_token(hash_of(token)).await;
    let Some(found) = found.map_err(|e| store_problem(&e))? else {
        return refuse("the token is not one of this server");
    };
    let now = (server.clock)();
    if found.revoked.is_some() {
        return refuse("the token was revoked; ask for a new one");
    }
    if found.expires.is_some_and(|end| end <= now) {
        return refuse("the token has ended; ask for a new one");
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_their_hashes_too() {
        let (first, first_hash) = draw().unwrap();
        let (second, second_hash) = draw().unwrap();
        assert!(first != second && first_hash != second_hash);
        assert_eq!(hash_of(&first), first_hash);
        assert_eq!(first.len(), PREFIX.len() + 64);
    }
}
