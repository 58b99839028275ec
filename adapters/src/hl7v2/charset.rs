//! Bytes to text by MSH-18, before anything is split, with the way back from each character to its bytes.
//!
//! HL7 table 0211 (<https://terminology.hl7.org/ValueSet-v2-0211.html>) and chapter 2, MSH-18. Decoding comes first
//! because the second byte of a character in Shift_JIS, GB 18030 or Big5 may equal a delimiter.
//!
//! Left out on purpose: UTF-32 and CNS 11643, which are refused; switching by `\C..\` and `\M..\`, which stay as
//! sent (see `escape`).

use encoding_rs::{DecoderResult, Encoding};

use crate::issue::{Issue, Severity};

/// How the text of a message was coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// A character set of `encoding_rs`; ASCII is a part of each.
    Coded(&'static Encoding),
    /// UTF-16, which no byte-wise reader understands.
    Utf16 {
        /// Low byte first.
        little_endian: bool,
    },
}

impl Charset {
    /// UTF-8.
    pub const UTF_8: Charset = Charset::Coded(encoding_rs::UTF_8);
    /// Windows-1252, what western senders write when they declare nothing.
    pub const WINDOWS_1252: Charset = Charset::Coded(encoding_rs::WINDOWS_1252);

    /// The character set of a feed setting: a name of table 0211, or a WHATWG label such as `windows-1252`.
    pub fn named(name: &str) -> Option<Charset> {
        match Declared::parse(name) {
            Declared::Known(charset) => Some(charset),
            Declared::Ascii | Declared::Empty | Declared::Unknown => {
                Encoding::for_label(name.trim().as_bytes()).map(Charset::Coded)
            }
        }
    }

    /// Text in this character set; characters it lacks become `?`.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Charset::Coded(encoding) => {
                let mut encoder = encoding.new_encoder();
                let mut bytes = Vec::with_capacity(text.len() * 2 + 16);
                let mut rest = text;
                loop {
                    bytes.reserve(rest.len() * 4 + 16);
                    let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
                    rest = rest.get(read..).unwrap_or("");
                    match result {
                        encoding_rs::EncoderResult::InputEmpty => return bytes,
                        encoding_rs::EncoderResult::Unmappable(_) => bytes.push(b'?'),
                        encoding_rs::EncoderResult::OutputFull => {}
                    }
                }
            }
            Charset::Utf16 { little_endian } => {
                let unit = |u: u16| if little_endian { u.to_le_bytes() } else { u.to_be_bytes() };
                std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(unit).collect()
            }
        }
    }
}

/// What MSH-18 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Empty,
    Ascii,
    Known(Charset),
    Unknown,
}

impl Declared {
    /// MSH-18 with its repetitions, in any letter case and with or without the blanks senders forget.
    fn parse(field: &str) -> Declared {
        let mut first = Declared::Empty;
        for name in field.split('~') {
            let found = Self::parse_one(name);
            // ISO 2022 switches inside the text, so a Japanese set in any repetition decides.
            if let Declared::Known(Charset::Coded(encoding)) = found
                && encoding == encoding_rs::ISO_2022_JP
            {
                return found;
            }
            if first == Declared::Empty {
                first = found;
            }
        }
        first
    }

    fn parse_one(name: &str) -> Declared {
        use encoding_rs as e;
        let mut key = String::with_capacity(name.len());
        key.extend(name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()));
        let encoding = match key.as_str() {
            "" => return Declared::Empty,
            "ASCII" | "USASCII" | "ISOIR6" => return Declared::Ascii,
            // WHATWG reads ISO 8859-1 and -9 as the Windows sets that contain them; see `c1_used` for the difference.
            "88591" | "ISO88591" | "LATIN1" | "ISOIR100" | "WINDOWS1252" | "CP1252" => e::WINDOWS_1252,
            "88592" | "ISO88592" => e::ISO_8859_2,
            "88593" | "ISO88593" => e::ISO_8859_3,
            "88594" | "ISO88594" => e::ISO_8859_4,
            "88595" | "ISO88595" => e::ISO_8859_5,
            "88596" | "ISO88596" => e::ISO_8859_6,
            "88597" | "ISO88597" => e::ISO_8859_7,
            "88598" | "ISO88598" => e::ISO_8859_8,
            "88599" | "ISO88599" => e::WINDOWS_1254,
            "885910" | "ISO885910" => e::ISO_8859_10,
            "885911" | "ISO885911" => e::WINDOWS_874,
            "885913" | "ISO885913" => e::ISO_8859_13,
            "885914" | "ISO885914" => e::ISO_8859_14,
            "885915" | "ISO885915" => e::ISO_8859_15,
            "885916" | "ISO885916" => e::ISO_8859_16,
            "UNICODEUTF8" | "UTF8" => e::UTF_8,
            "UNICODE" | "UNICODEUTF16" | "UTF16" => return Declared::Known(Charset::Utf16 { little_endian: false }),
            "ISOIR13" | "ISOIR14" | "ISOIR87" | "ISOIR159" | "JAS2020" | "JISX0202" => e::ISO_2022_JP,
            "GB180302000" | "GB18030" => e::GB18030,
            "BIG5" => e::BIG5,
            "KSX1001" | "KSC5601" => e::EUC_KR,
            _ => return Declared::Unknown,
        };
        Declared::Known(Charset::Coded(encoding))
    }
}

/// How a feed's bytes are read when a message does not say, or says it wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// For messages without MSH-18 whose bytes are neither ASCII nor UTF-8.
    pub undeclared: Charset,
    /// For messages whose bytes are not in the character set MSH-18 names; `None` refuses them.
    pub misdeclared: Option<Charset>,
}

impl Default for Fallback {
    fn default() -> Self {
        Self { undeclared: Charset::WINDOWS_1252, misdeclared: None }
    }
}

/// A decoded message.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The text. No character of it stands for bytes that could not be read.
    pub text: std::borrow::Cow<'a, str>,
    /// How it was coded; acknowledgements use the same.
    pub charset: Charset,
    /// The way back to the raw bytes.
    pub offsets: Offsets,
}

/// From a place in the decoded text to the raw bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// Bytes before the text: a byte order mark.
    start: u32,
    /// (place in the text, place in the raw bytes); from there on one byte is one byte, until the next.
    steps: Vec<(u32, u32)>,
}

impl Offsets {
    /// The raw byte of a place in the text.
    pub fn raw(&self, text: u32) -> u32 {
        let after = self.steps.partition_point(|(at, _)| *at <= text);
        match after.checked_sub(1).and_then(|i| self.steps.get(i)) {
            Some((at, raw)) => raw.saturating_add(text - at),
            None => self.start.saturating_add(text),
        }
    }

    /// Notes where the text goes on, unless that follows from the step before.
    fn note(&mut self, text: usize, raw: usize) {
        let (text, raw) = (to_u32(text), to_u32(raw));
        if self.raw(text) != raw {
            self.steps.push((text, raw));
        }
    }
}

/// Reads the bytes of one message.
///
/// # Errors
/// An issue naming MSH-18 when the character set is unknown or the bytes are not in it.
pub fn decode<'a>(raw: &'a [u8], fallback: &Fallback, issues: &mut Vec<Issue>) -> Result<Decoded<'a>, Issue> {
    if let Some((start, little_endian)) = utf16_start(raw) {
        return utf16(raw, start, little_endian);
    }
    let start = if raw.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let body = raw.get(start..).unwrap_or_default();
    if start > 0 {
        issues.push(tolerated("byte-order-mark", "a byte order mark stood before the message and was left out", 0));
        return match std::str::from_utf8(body) {
            Ok(text) => Ok(plain(text, start)),
            Err(e) => Err(invalid(start + e.valid_up_to())),
        };
    }
    if body.is_ascii() && !body.contains(&0x1B) {
        // ASCII reads the same in every character set but the Japanese one with escapes; only the answer's set differs.
        let text = std::str::from_utf8(body).map_err(|e| invalid(e.valid_up_to()))?;
        let charset = match declared(body) {
            Declared::Known(charset @ Charset::Coded(_)) => charset,
            Declared::Known(Charset::Utf16 { .. }) => {
                issues.push(mislabelled());
                Charset::UTF_8
            }
            Declared::Unknown => {
                issues.push(unknown(Severity::Warning));
                Charset::UTF_8
            }
            Declared::Ascii | Declared::Empty => Charset::UTF_8,
        };
        return Ok(Decoded { text: text.into(), charset, offsets: Offsets::default() });
    }
    match declared(body) {
        Declared::Empty => Ok(undeclared(body, fallback, "charset-undeclared", issues)?),
        Declared::Ascii => Ok(undeclared(body, fallback, "charset-not-as-declared", issues)?),
        Declared::Unknown => Err(unknown(Severity::Error)),
        Declared::Known(charset) => as_declared(body, charset, fallback, issues),
    }
}

/// Bytes beyond ASCII without a declaration: what is valid UTF-8 is UTF-8, since text in another set almost never is.
fn undeclared<'a>(
    body: &'a [u8],
    fallback: &Fallback,
    code: &'static str,
    issues: &mut Vec<Issue>,
) -> Result<Decoded<'a>, Issue> {
    let offset = to_u32(body.iter().position(|b| !b.is_ascii()).unwrap_or(0));
    match std::str::from_utf8(body) {
        Ok(text) => {
            issues.push(tolerated(code, "characters beyond ASCII are not declared in MSH-18; read as UTF-8", offset));
            Ok(plain(text, 0))
        }
        Err(_) => {
            issues.push(tolerated(
                code,
                "characters beyond ASCII are not declared in MSH-18; read as the feed's character set",
                offset,
            ));
            coded(body, fallback.undeclared, issues)
        }
    }
}

fn as_declared<'a>(
    body: &'a [u8],
    charset: Charset,
    fallback: &Fallback,
    issues: &mut Vec<Issue>,
) -> Result<Decoded<'a>, Issue> {
    let first = match coded(body, charset, issues) {
        // The probe for MSH-18 saw bytes, not characters: only when both agree is the reading certain.
        Ok(decoded) if agrees(&decoded, charset) => return Ok(decoded),
        Ok(_) => Issue::new(
            Severity::Error,
            "charset-uncertain",
            "MSH-18 reads differently before and after decoding; the character set is not certain",
        )
        .at_field(18),
        Err(issue) => issue,
    };
    if charset == Charset::Coded(encoding_rs::ISO_2022_JP) && !body.contains(&0x1B) {
        // JIS X 0201 and 0208 declared, no escape sequence, high bytes: what Japanese PCs write is Shift_JIS.
        let shift_jis = Charset::Coded(encoding_rs::SHIFT_JIS);
        if let Ok(decoded) = coded(body, shift_jis, issues) {
            issues.push(mislabelled());
            return Ok(decoded);
        }
    }
    match fallback.misdeclared {
        None => Err(first),
        Some(other) => {
            let decoded = coded(body, other, issues)?;
            issues.push(mislabelled());
            Ok(decoded)
        }
    }
}

fn coded<'a>(body: &'a [u8], charset: Charset, issues: &mut Vec<Issue>) -> Result<Decoded<'a>, Issue> {
    let encoding = match charset {
        Charset::Coded(encoding) => encoding,
        // Real UTF-16 was found by its first bytes; bytes that are not UTF-16 cannot be read as such.
        Charset::Utf16 { .. } => return Err(invalid(0)),
    };
    if encoding == encoding_rs::UTF_8 {
        return std::str::from_utf8(body).map(|text| plain(text, 0)).map_err(|e| invalid(e.valid_up_to()));
    }
    let (text, offsets) = if encoding.is_single_byte() {
        single_byte(body, encoding)?
    } else {
        multi_byte(body, encoding)?
    };
    if encoding == encoding_rs::WINDOWS_1252 || encoding == encoding_rs::WINDOWS_1254 {
        c1_used(body, issues)?;
    }
    Ok(Decoded { text: text.into(), charset, offsets })
}

/// Bytes 0x80 to 0x9F are no characters in ISO 8859 and letters or quotes in Windows sets; five are neither.
fn c1_used(body: &[u8], issues: &mut Vec<Issue>) -> Result<(), Issue> {
    if let Some(at) = body.iter().position(|b| matches!(b, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D)) {
        return Err(invalid(at));
    }
    if let Some(at) = body.iter().position(|b| matches!(b, 0x80..=0x9F)) {
        let text = "bytes 80 to 9F are no characters of ISO 8859; read as the Windows set";
        issues.push(tolerated("charset-windows", text, to_u32(at)));
    }
    Ok(())
}

fn single_byte(body: &[u8], encoding: &'static Encoding) -> Result<(String, Offsets), Issue> {
    match encoding.decode_without_bom_handling_and_without_replacement(body) {
        None => {
            let (text, _) = encoding.decode_without_bom_handling(body);
            Err(invalid(text.chars().position(|c| c == '\u{FFFD}').unwrap_or(0)))
        }
        Some(text) => {
            let mut offsets = Offsets::default();
            for (raw, (at, c)) in text.char_indices().enumerate() {
                if !c.is_ascii() {
                    offsets.note(at + c.len_utf8(), raw + 1);
                }
            }
            Ok((text.into_owned(), offsets))
        }
    }
}

/// Feeds one byte at a time, so that each character's bytes are known. Slower, exact, and rare.
fn multi_byte(body: &[u8], encoding: &'static Encoding) -> Result<(String, Offsets), Issue> {
    /// More than any decoder writes for one byte of input.
    const CHARACTER_BYTES_MAX: usize = 32;
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(body.len() * 2);
    let mut offsets = Offsets::default();
    let mut start = 0;
    for (at, byte) in body.iter().enumerate() {
        let before = text.len();
        text.reserve(CHARACTER_BYTES_MAX);
        let (result, _) =
            decoder.decode_to_string_without_replacement(std::slice::from_ref(byte), &mut text, false);
        if let DecoderResult::Malformed(..) = result {
            return Err(invalid(start));
        }
        if text.len() > before {
            offsets.note(before, start);
            start = at + 1;
        }
    }
    text.reserve(CHARACTER_BYTES_MAX);
    match decoder.decode_to_string_without_replacement(&[], &mut text, true).0 {
        DecoderResult::Malformed(..) => Err(invalid(start)),
        _ => Ok((text, offsets)),
    }
}

/// UTF-16 by its byte order mark, or by `MSH` in it.
fn utf16_start(raw: &[u8]) -> Option<(usize, bool)> {
    match raw {
        [0xFF, 0xFE, ..] => Some((2, true)),
        [0xFE, 0xFF, ..] => Some((2, false)),
        [b'M', 0, b'S', 0, b'H', 0, ..] => Some((0, true)),
        [0, b'M', 0, b'S', 0, b'H', ..] => Some((0, false)),
        _ => None,
    }
}

fn utf16<'a>(raw: &[u8], start: usize, little_endian: bool) -> Result<Decoded<'a>, Issue> {
    let mut text = String::with_capacity(raw.len());
    let mut offsets = Offsets { start: to_u32(start), steps: Vec::new() };
    let pairs = raw.get(start..).unwrap_or_default().chunks(2);
    let units = pairs.map(|pair| match pair {
        [a, b] if little_endian => u16::from_le_bytes([*a, *b]),
        [a, b] => u16::from_be_bytes([*a, *b]),
        // A lone last byte is half a character: an unpaired surrogate is refused below just the same.
        _ => 0xD800,
    });
    let mut at = start;
    for decoded in char::decode_utf16(units) {
        let c = decoded.map_err(|_| invalid(at))?;
        offsets.note(text.len(), at);
        text.push(c);
        at += 2 * c.len_utf16();
    }
    Ok(Decoded { text: text.into(), charset: Charset::Utf16 { little_endian }, offsets })
}

fn plain(text: &str, start: usize) -> Decoded<'_> {
    let offsets = Offsets { start: to_u32(start), steps: Vec::new() };
    Decoded { text: text.into(), charset: Charset::UTF_8, offsets }
}

/// MSH-18 of undecoded bytes. Its names are ASCII; a trail byte that looks like a delimiter can only shift it, so
/// the first later field that names a character set counts too, and `agrees` has the last word.
fn declared(body: &[u8]) -> Declared {
    let fields = msh_fields(body);
    let direct = fields.get(17).map_or(Declared::Empty, |f| Declared::parse(f));
    if direct != Declared::Empty && direct != Declared::Unknown {
        return direct;
    }
    let shifted = fields.iter().skip(18).map(|f| Declared::parse(f)).find(|d| matches!(d, Declared::Known(_)));
    match shifted {
        Some(found) if !body.is_ascii() => found,
        _ => direct,
    }
}

/// Does the decoded text declare what it was decoded with?
fn agrees(decoded: &Decoded<'_>, charset: Charset) -> bool {
    let fields = msh_fields(decoded.text.as_bytes());
    matches!(fields.get(17).map(|f| Declared::parse(f)), Some(Declared::Known(found)) if found == charset)
}

/// The fields of MSH, MSH-1 first, read as far as ASCII goes.
fn msh_fields(body: &[u8]) -> Vec<String> {
    /// More fields than MSH has, with room for shifted ones.
    const FIELDS_MAX: usize = 64;
    let Some(start) = memchr::memmem::find(body, b"MSH") else { return Vec::new() };
    let rest = body.get(start + 3..).unwrap_or_default();
    let Some(separator) = rest.first().copied() else { return Vec::new() };
    let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
    let line = rest.get(..end).unwrap_or_default();
    // The part before the first separator is empty and stands for MSH-1.
    line.split(|b| *b == separator).take(FIELDS_MAX).map(|f| String::from_utf8_lossy(f).into_owned()).collect()
}

fn tolerated(code: &'static str, text: &'static str, offset: u32) -> Issue {
    Issue::new(Severity::Warning, code, text).at_byte(offset)
}

fn mislabelled() -> Issue {
    let text = "the bytes are not in the character set of MSH-18; read in another by a documented rule";
    Issue::new(Severity::Warning, "charset-not-as-declared", text).at_field(18)
}

fn unknown(severity: Severity) -> Issue {
    let text = "MSH-18 names a character set this server does not read; use one of HL7 table 0211, best UNICODE UTF-8";
    Issue::new(severity, "charset-unknown", text).at_field(18)
}

fn invalid(offset: usize) -> Issue {
    let text = "the bytes are not in the character set of MSH-18; correct MSH-18 or the bytes";
    Issue::new(Severity::Error, "charset-invalid-bytes", text).at_field(18).at_byte(to_u32(offset))
}

/// Messages are limited to far less than 4 GiB, so this never saturates in practice.
pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
