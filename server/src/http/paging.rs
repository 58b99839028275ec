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
const TOKEN_LENGTH_MAX: usize = 24 * 1024;

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

/// Pages that a link remembers, so that `previous` leads back that far: more than people turn back, and the link stays
/// shorter than 4 KiB with cursors of ordinary size.
const TRAIL_MAX: usize = 16;

/// Bytes of cursors a link remembers; a page's own cursor is always kept.
const TRAIL_BYTES_MAX: usize = 3 * 1024;

/// The way that led to a page: the cursors of the pages before it and, last, its own. Empty on the first page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// Whether older cursors were left out.
    is_cut: bool,
    cursors: Vec<Vec<u8>>,
}

impl Trail {
    /// Reads what [`Trail::to_bytes`] wrote.
    ///
    /// # Errors
    /// `bad-cursor`
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let damaged = || {
            let text = "this paging link is damaged; start from the first page";
            Problem::new(ErrorKind::BAD_CURSOR, text).at(CURSOR_PARAMETER)
        };
        let (flag, mut rest) = bytes.split_first().ok_or_else(damaged)?;
        let mut cursors = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (cursor, after) = after.split_at_checked(length).ok_or_else(damaged)?;
            cursors.push(cursor.to_vec());
            rest = after;
        }
        Ok(Self {
            is_cut: *flag == 1,
            cursors,
        })
    }

    /// The bytes a token carries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.is_cut)];
        for cursor in &self.cursors {
            out.extend(
                u16::try_from(cursor.len())
                    .unwrap_or(u16::MAX)
                    .to_be_bytes(),
            );
            out.extend(cursor);
        }
        out
    }

    /// Where this page begins; `None` for the first.
    pub fn current(&self) -> Option<&[u8]> {
        self.cursors.last().map(Vec::as_slice)
    }

    /// The trail of the next page, which begins at `cursor`.
    pub fn next(&self, cursor: &[u8]) -> Self {
        let mut next = self.clone();
        next.cursors.push(cursor.to_vec());
        // Long cursors shorten the way back, not the link's chance to be read again.
        let bytes = |trail: &Self| trail.cursors.iter().map(|c| c.len() + 2).sum::<usize>();
        while next.cursors.len() > 1
            && (next.cursors.len() > TRAIL_MAX || bytes(&next) > TRAIL_BYTES_MAX)
        {
            next.cursors.remove(0);
            next.is_cut = true;
        }
        next
    }

    /// The trail of the previous page; `None` on the first page and where the way back is forgotten.
    pub fn previous(&self) -> Option<Self> {
        let mut previous = self.clone();
        previous.cursors.pop()?;
        (!previous.cursors.is_empty() || !previous.is_cut).then_some(previous)
    }
}

/// The links of a page: `self`, `first`, and `previous` and `next` where there are such pages. `url` is the search
/// without a cursor, `search` what tokens are signed for.
pub fn links(
    signer: &Signer,
    url: &str,
    search: &str,
    trail: &Trail,
    next: Option<&[u8]>,
) -> Vec<(&'static str, String)> {
    let first = url.trim_end_matches('?').to_owned();
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let page = |trail: &Trail| match trail.current() {
        None => first.clone(),
        Some(_) => {
            let token = signer.sign(search, &trail.to_bytes());
            format!("{url}{joint}{CURSOR_PARAMETER}={token}")
        }
    };
    let mut links = vec![("self", page(trail)), ("first", first.clone())];
    links.extend(trail.previous().map(|trail| ("previous", page(&trail))));
    links.extend(next.map(|cursor| ("next", page(&trail.next(cursor)))));
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_leads_on_and_back() {
        let mut trail = Trail::default();
        assert_eq!(trail.previous(), None);
        for page in 0..TRAIL_MAX + 3 {
            trail = trail.next(&[u8::try_from(page).unwrap()]);
            assert_eq!(Trail::parse(&trail.to_bytes()).unwrap(), trail);
        }
        let mut back = 0;
        while let Some(previous) = trail.previous() {
            trail = previous;
            back += 1;
        }
        assert_eq!(back, TRAIL_MAX - 1);
        assert_eq!(
            Trail::default().next(b"a").previous(),
            Some(Trail::default())
        );
        for bytes in [&b""[..], b"\x00\x00", b"\x00\x00\x05ab"] {
            assert!(Trail::parse(bytes).is_err());
        }
    }

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
        for token in ["", "AAAA", "not base64!", &"A".repeat(30_000)] {
            assert!(signer.open("", token).is_err());
        }
    }
}
