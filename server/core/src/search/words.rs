//! Texts as words, for `_text` and `_content`.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#content>. A query names words that must all be there, in any order, without case
//! and accents; `OR` between them begins an alternative. Left out: phrases, word stems, ranking.

use crate::datatype::string::normalise;
use crate::json::{Kind, ValueRef};

/// Longest word kept, in bytes: longer ones are data, not words.
pub const WORD_BYTES_MAX: usize = 60;

/// Bytes of text of one resource that are looked at: a long discharge letter has 50 KiB.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Words in a query at most.
const QUERY_WORDS_MAX: usize = 50;

/// The words of a query: alternatives, each a list of words that must all be there.
///
/// # Errors
/// Why it cannot be asked.
pub fn query(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut any_of = Vec::new();
    let mut count = 0;
    for alternative in text.split(" OR ").flat_map(|part| part.split(',')) {
        let mut words: Vec<String> = words_of(alternative).collect();
        if words.is_empty() {
            return Err("words are expected, and words on both sides of `OR`".to_owned());
        }
        words.sort();
        words.dedup();
        count += words.len();
        any_of.push(words);
    }
    if count > QUERY_WORDS_MAX {
        return Err(format!("at most {QUERY_WORDS_MAX} words are looked for"));
    }
    Ok(any_of)
}

/// The words of a text, normalised.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    let normal = normalise(text).into_owned();
    let words: Vec<String> = normal
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= WORD_BYTES_MAX)
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// The words of a resource, each once, sorted, separated by spaces: of its narrative, and of all its texts.
pub fn of_resource(resource: ValueRef<'_>) -> (String, String) {
    let mut narrative = Vec::new();
    let mut room = TEXT_BYTES_MAX;
    if let Some(div) = resource.get("text").and_then(|text| text.get("div")) {
        let html = div.as_str().unwrap_or_default();
        take(&without_tags(&html), &mut narrative, &mut room);
    }
    let mut content = narrative.clone();
    for (name, value) in resource.members() {
        if name != "text" && name != "meta" && name != "resourceType" && name != "id" {
            collect(value, &mut content, &mut room);
        }
    }
    (joined(narrative), joined(content))
}

fn joined(mut words: Vec<String>) -> String {
    words.sort();
    words.dedup();
    words.join(" ")
}

fn take(text: &str, words: &mut Vec<String>, room: &mut usize) {
    if text.len() <= *room {
        *room -= text.len();
        words.extend(words_of(text));
    }
}

/// Strings, but those that are addresses or data.
fn collect(value: ValueRef<'_>, words: &mut Vec<String>, room: &mut usize) {
    match value.kind() {
        Kind::String => take(&value.as_str().unwrap_or_default(), words, room),
        Kind::Array => {
            for item in value.items() {
                collect(item, words, room);
            }
        }
        Kind::Object => {
            for (name, member) in value.members() {
                let is_text = !matches!(
                    &*name,
                    "system"
                        | "url"
                        | "reference"
                        | "data"
                        | "hash"
                        | "extension"
                        | "div"
                        | "contentType"
                );
                if is_text {
                    collect(member, words, room);
                }
            }
        }
        _ => {}
    }
}

/// XHTML without its tags; the entities of XML become characters.
fn without_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => {
                is_tag = true;
                out.push(' ');
            }
            '>' => is_tag = false,
            c if !is_tag => out.push(c),
            _ => {}
        }
    }
    if out.contains('&') {
        for (entity, text) in [
            ("&nbsp;", " "),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&amp;", "&"),
        ] {
            out = out.replace(entity, text);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    #[test]
    fn queries_are_words_and_alternatives() {
        let words = |list: &[&[&str]]| -> Vec<Vec<String>> {
            list.iter()
                .map(|words| words.iter().map(|w| (*w).to_owned()).collect())
                .collect()
        };
        assert_eq!(
            query("Bone  fracture").unwrap(),
            words(&[&["bone", "fracture"]])
        );
        assert_eq!(
            query("Ödem OR swelling, pain").unwrap(),
            words(&[&["odem"], &["swelling"], &["pain"]])
        );
        assert!(query("").is_err() && query("a OR ").is_err() && query("...").is_err());
        assert!(query(&"w ".repeat(51)).is_ok());
        let many: Vec<String> = (0..51).map(|n| format!("w{n}")).collect();
        assert!(query(&many.join(" ")).is_err());
    }

    #[test]
    fn a_resource_has_the_words_of_its_texts() {
        let document = Document::parse(
            br#"{"resourceType":"Condition","id":"abc","text":{"status":"generated","div":"<div xmlns=\"x\"><b>Broken</b> arm&nbsp;left</div>"},"code":{"coding":[{"system":"http://loinc.org","code":"1-8","display":"Fracture"}],"text":"Arm"},"note":[{"text":"since Monday"}]}"#,
        )
        .unwrap();
        let (narrative, content) = of_resource(document.root());
        assert_eq!(narrative, "arm broken left");
        for word in ["fracture", "monday", "broken"] {
            assert!(content.split(' ').any(|w| w == word), "{word}: {content}");
        }
        assert!(
            !content.contains("loinc") && !content.contains("abc"),
            "{content}"
        );
    }
}
