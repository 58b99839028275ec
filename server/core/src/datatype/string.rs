//! Strings as search compares them: no case, no accents, no punctuation, white space folded.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#string>
//!
//! Left out: phonetic algorithms; `phonetic` is compared like a string.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The text "normalized by case and accent", without punctuation and needless white space. Idempotent.
///
/// A text that is nothing but punctuation keeps it, since otherwise it could not be found or would match everything.
pub fn normalise(text: &str) -> Cow<'_, str> {
    if is_normal_ascii(text) {
        return Cow::Borrowed(text);
    }
    let mut normal = String::with_capacity(text.len());
    if text.is_ascii() {
        fold(text.bytes().map(char::from), &mut normal);
    } else {
        fold(folded_case(text), &mut normal);
    }
    if normal.is_empty() {
        Cow::Owned(text.split_whitespace().collect::<Vec<_>>().join(" "))
    } else {
        Cow::Owned(normal)
    }
}

/// Decomposed, in lower case, without marks. Twice, as lower case can bring new marks (`İ`).
fn folded_case(text: &str) -> impl Iterator<Item = char> {
    let lower = text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase);
    lower
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(full_case_fold)
}

/// The letters whose case folding is not their lower case.
fn full_case_fold(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'ς' => ('σ', None),
        'ſ' => ('s', None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

fn fold(chars: impl Iterator<Item = char>, normal: &mut String) {
    let mut has_gap = false;
    for c in chars {
        if c.is_ascii_alphanumeric() && !has_gap {
            normal.push(c.to_ascii_lowercase());
        } else if c.is_whitespace() || c.is_control() {
            has_gap = !normal.is_empty();
        } else if !is_ignored(c) {
            if has_gap {
                normal.push(' ');
                has_gap = false;
            }
            normal.push(c.to_ascii_lowercase());
        }
    }
}

/// Letters, digits and single spaces: most names and codes need no work.
fn is_normal_ascii(text: &str) -> bool {
    let mut was_space = true;
    for b in text.bytes() {
        let is_space = b == b' ';
        if !(b.is_ascii_lowercase() || b.is_ascii_digit() || (is_space && !was_space)) {
            return false;
        }
        was_space = is_space;
    }
    !was_space || text.is_empty()
}

/// Punctuation (Unicode categories P*) of the scripts in common use, and characters that have no shape.
/// Symbols such as `+`, `<` and `=` carry meaning and stay.
fn is_ignored(c: char) -> bool {
    match c {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        _ if c.is_ascii() => c.is_ascii_punctuation(),
        '\u{A1}' | '\u{A7}' | '\u{AB}' | '\u{AD}' | '\u{B6}' | '\u{B7}' | '\u{BB}' | '\u{BF}' => {
            true
        }
        '\u{2BC}' | '\u{37E}' | '\u{387}' | '\u{55A}'..='\u{55F}' | '\u{589}' | '\u{58A}' => true,
        '\u{5BE}'
        | '\u{5F3}'
        | '\u{5F4}'
        | '\u{60C}'
        | '\u{61B}'
        | '\u{61F}'
        | '\u{66A}'..='\u{66D}'
        | '\u{6D4}' => true,
        '\u{964}' | '\u{965}' => true,
        '\u{200B}'..='\u{200F}' | '\u{2010}'..='\u{2027}' | '\u{202A}'..='\u{202E}' => true,
        '\u{2030}'..='\u{2043}'
        | '\u{2045}'..='\u{2051}'
        | '\u{2053}'..='\u{205E}'
        | '\u{2060}'..='\u{206F}' => true,
        '\u{3001}'..='\u{3003}'
        | '\u{3008}'..='\u{3011}'
        | '\u{3014}'..='\u{301F}'
        | '\u{30A0}'
        | '\u{30FB}' => true,
        '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec: <https://hl7.org/fhir/R4/search.html#string>
    #[test]
    fn case_accents_and_punctuation_do_not_matter() {
        for (text, normal) in [
            ("eve", "eve"),
            ("", ""),
            ("Eve", "eve"),
            ("Evelyn Anne", "evelyn anne"),
            ("  Two \t spaces\n", "two spaces"),
            ("O'Neil", "oneil"),
            ("O’Neil", "oneil"),
            ("Smith-Jones", "smithjones"),
            ("Müller", "muller"),
            ("Mu\u{308}ller", "muller"),
            ("MÜLLER", "muller"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("İzmir", "izmir"),
            ("ﬁne", "fine"),
            ("Ångström", "angstrom"),
            ("Ёлкин", "елкин"),
            ("山田", "山田"),
            ("B+", "b+"),
            ("Dr. med.", "dr med"),
            ("123 Main St., Apt. 4", "123 main st apt 4"),
            ("no\u{A0}break", "no break"),
            ("???", "???"),
            (" - ", "-"),
        ] {
            assert_eq!(normalise(text), normal, "{text}");
        }
        assert!(matches!(normalise("plain text 1"), Cow::Borrowed(_)));
    }

    #[test]
    fn normal_text_stays_as_it_is() {
        // Everything that has case, marks or decompositions; the ideographs between have none.
        for c in ('\0'..='\u{33FF}')
            .chain('\u{A000}'..='\u{AC10}')
            .chain('\u{F900}'..='\u{1FFFF}')
        {
            let text = format!("a{c}b");
            let once = normalise(&text).into_owned();
            assert_eq!(normalise(&once), once, "U+{:04X}", u32::from(c));
            let alone = normalise(&c.to_string()).into_owned();
            assert_eq!(normalise(&alone), alone, "U+{:04X} alone", u32::from(c));
        }
    }
}
