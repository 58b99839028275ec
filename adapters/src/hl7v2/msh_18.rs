//! What MSH-18 says, read from bytes whose character set is not known yet.
//!
//! HL7 table 0211 (<https://terminology.hl7.org/ValueSet-v2-0211.html>). The names are ASCII, and ASCII is a part of
//! every character set this server reads byte by byte.
//!
//! Left out on purpose: judging whether it is true. `charset` decodes and compares.

use super::charset::Charset;

/// What MSH-18 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Empty,
    Ascii,
    Known(Charset),
    Unknown,
}

impl Declared {
    /// MSH-18 with its repetitions, in any letter case and with or without the blanks senders forget.
    pub(super) fn parse(field: &str) -> Declared {
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
        key.extend(
            name.chars()
                .filter(|c| c.is_ascii_alphanumeric())
                .map(|c| c.to_ascii_uppercase()),
        );
        let encoding = match key.as_str() {
            "" => return Declared::Empty,
            "ASCII" | "USASCII" | "ISOIR6" => return Declared::Ascii,
            // WHATWG reads ISO 8859-1 and -9 as the Windows sets that contain them; see `c1_used` for the difference.
            "88591" | "ISO88591" | "LATIN1" | "ISOIR100" | "WINDOWS1252" | "CP1252" => {
                e::WINDOWS_1252
            }
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
            "UNICODE" | "UNICODEUTF16" | "UTF16" => {
                return Declared::Known(Charset::Utf16 {
                    little_endian: false,
                });
            }
            "ISOIR13" | "ISOIR14" | "ISOIR87" | "ISOIR159" | "JAS2020" | "JISX0202" => {
                e::ISO_2022_JP
            }
            "GB180302000" | "GB18030" => e::GB18030,
            "BIG5" => e::BIG5,
            "KSX1001" | "KSC5601" => e::EUC_KR,
            _ => return Declared::Unknown,
        };
        Declared::Known(Charset::Coded(encoding))
    }
}
/// MSH-18 of undecoded bytes. Its names are ASCII; a trail byte that looks like a delimiter can only shift it, so
/// the first later field that names a character set counts too, and `agrees` has the last word.
pub(super) fn declared(body: &[u8]) -> Declared {
    let fields = msh_fields(body);
    let direct = fields
        .get(17)
        .map_or(Declared::Empty, |f| Declared::parse(f));
    if direct != Declared::Empty && direct != Declared::Unknown {
        return direct;
    }
    let shifted = fields
        .iter()
        .skip(18)
        .map(|f| Declared::parse(f))
        .find(|d| matches!(d, Declared::Known(_)));
    match shifted {
        Some(found) if !body.is_ascii() => found,
        _ => direct,
    }
}

/// The fields of MSH, MSH-1 first, read as far as ASCII goes.
pub(super) fn msh_fields(body: &[u8]) -> Vec<String> {
    /// More fields than MSH has, with room for shifted ones.
    const FIELDS_MAX: usize = 64;
    let Some(start) = memchr::memmem::find(body, b"MSH") else {
        return Vec::new();
    };
    let rest = body.get(start + 3..).unwrap_or_default();
    let Some(separator) = rest.first().copied() else {
        return Vec::new();
    };
    let end = rest
        .iter()
        .position(|b| matches!(b, b'\r' | b'\n'))
        .unwrap_or(rest.len());
    let line = rest.get(..end).unwrap_or_default();
    // The part before the first separator is empty and stands for MSH-1.
    line.split(|b| *b == separator)
        .take(FIELDS_MAX)
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .collect()
}
