//! Escape sequences of a leaf to plain text; what is not understood stays as sent and is reported.
//!
//! HL7 v2 chapter 2, "Use of escape sequences in text fields": `\F\ \S\ \T\ \R\ \E\ \P\` (delimiters), `\Xhh..\`
//! (bytes in the message's character set), `\H\ \N\` (highlighting), `\.br\` and the other formatting commands.
//! Highlighting and layout have no place in a FHIR string: they go, line ends stay, and an issue says so.
//!
//! Left out on purpose: `\C..\`, `\M..\` and `\Z..\`. Their meaning depends on the site, so they stay as sent.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::charset::Charset;
use super::tokenize::Delimiters;

/// Most lines or blanks one formatting command may make; more is no layout but an attack.
const SKIP_MAX: usize = 200;

/// What was odd in a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// An escape character that starts no sequence; kept.
    Unpaired,
    /// A sequence this server does not read; kept as sent.
    Unknown,
    /// `\X..\` whose bytes are no allowed text in the message's character set; kept as sent.
    Hexadecimal,
    /// Highlighting, indentation or centring that a FHIR string cannot hold; left out.
    Layout,
}

/// Unescapes a leaf. `odd` is called for each oddity.
pub fn unescape<'t>(
    text: &'t str,
    delimiters: &Delimiters,
    charset: Charset,
    odd: &mut impl FnMut(Oddity),
) -> Cow<'t, str> {
    let Some(escape) = delimiters.escape else { return Cow::Borrowed(text) };
    let Some(first) = memchr::memchr(escape, text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(text.get(..first).unwrap_or(""));
    let mut rest = text.get(first + 1..).unwrap_or("");
    // Each turn starts behind an escape character; delimiters are ASCII, so every cut is between characters.
    loop {
        let Some(end) = memchr::memchr(escape, rest.as_bytes()) else {
            odd(Oddity::Unpaired);
            plain.push(char::from(escape));
            plain.push_str(rest);
            return Cow::Owned(plain);
        };
        let body = rest.get(..end).unwrap_or("");
        let after = rest.get(end + 1..).unwrap_or("");
        if sequence(body, delimiters, charset, &mut plain, odd) {
            match memchr::memchr(escape, after.as_bytes()) {
                None => {
                    plain.push_str(after);
                    return Cow::Owned(plain);
                }
                Some(next) => {
                    plain.push_str(after.get(..next).unwrap_or(""));
                    rest = after.get(next + 1..).unwrap_or("");
                }
            }
        } else {
            // The second escape character may start a sequence of its own, so only the first is spent.
            odd(Oddity::Unpaired);
            plain.push(char::from(escape));
            plain.push_str(body);
            rest = after;
        }
    }
}

/// Appends what a sequence stands for; false when its body is none.
fn sequence(
    body: &str,
    delimiters: &Delimiters,
    charset: Charset,
    plain: &mut String,
    odd: &mut impl FnMut(Oddity),
) -> bool {
    let delimiter = match body {
        "F" => Some(delimiters.field),
        "S" => Some(delimiters.component),
        "R" => Some(delimiters.repetition.unwrap_or(b'~')),
        "T" => Some(delimiters.subcomponent.unwrap_or(b'&')),
        "E" => delimiters.escape,
        "P" => Some(delimiters.truncation.unwrap_or(b'#')),
        _ => None,
    };
    if let Some(byte) = delimiter {
        plain.push(char::from(byte));
        return true;
    }
    match body.as_bytes() {
        [b'H' | b'N'] => {
            odd(Oddity::Layout);
            true
        }
        [b'.', ..] => formatting(body, plain, odd),
        [b'X', digits @ ..] if is_hexadecimal(digits) => {
            match hexadecimal(digits, charset) {
                Some(text) => plain.push_str(&text),
                None => {
                    odd(Oddity::Hexadecimal);
                    verbatim(body, delimiters, plain);
                }
            }
            true
        }
        [b'C' | b'M', digits @ ..] if is_hexadecimal(digits) && matches!(digits.len(), 4 | 6) => {
            odd(Oddity::Unknown);
            verbatim(body, delimiters, plain);
            true
        }
        [b'Z', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_alphanumeric) => {
            odd(Oddity::Unknown);
            verbatim(body, delimiters, plain);
            true
        }
        _ => false,
    }
}

fn verbatim(body: &str, delimiters: &Delimiters, plain: &mut String) {
    let escape = char::from(delimiters.escape.unwrap_or(b'\\'));
    plain.push(escape);
    plain.push_str(body);
    plain.push(escape);
}

/// `.sp<n>`, `.br`, `.fi`, `.nf`, `.in<n>`, `.ti<n>`, `.sk<n>`, `.ce`; false when it is none of them.
fn formatting(body: &str, plain: &mut String, odd: &mut impl FnMut(Oddity)) -> bool {
    let Some((name, number)) = body.split_at_checked(3) else { return false };
    let (signed, digits) = match number.strip_prefix(['+', '-']) {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let count = match digits {
        "" if !signed => Some(1),
        _ if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<usize>().ok().filter(|n| *n <= SKIP_MAX),
        _ => None,
    };
    let Some(count) = count else { return false };
    let mut put = |c: char, times: usize| plain.extend(std::iter::repeat_n(c, times));
    match name.to_ascii_lowercase().as_str() {
        ".br" if number.is_empty() => put('\n', 1),
        ".sp" if !number.starts_with('-') => put('\n', count),
        ".sk" if !number.starts_with('-') && !digits.is_empty() => put(' ', count),
        ".ce" if number.is_empty() => {
            put('\n', 1);
            odd(Oddity::Layout);
        }
        ".fi" | ".nf" if number.is_empty() => odd(Oddity::Layout),
        ".in" | ".ti" => odd(Oddity::Layout),
        _ => return false,
    }
    true
}

fn is_hexadecimal(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.len() % 2 == 0 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// The bytes as text of the message's character set; `None` when they are none, or control characters.
fn hexadecimal(digits: &[u8], charset: Charset) -> Option<String> {
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    };
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    let encoding: &'static Encoding = match charset {
        Charset::Coded(encoding) => encoding,
        Charset::Utf16 { .. } => encoding_rs::UTF_16BE,
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes)?;
    let allowed = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    text.chars().all(allowed).then(|| text.into_owned())
}
