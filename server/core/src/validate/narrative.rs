//! Whether narrative is the harmless XHTML that FHIR allows.
//!
//! Spec: <https://hl7.org/fhir/R4/narrative.html#xhtml> (invariants txt-1 and txt-2). Left out: the content of `style`.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// "basic HTML formatting elements described in chapters 7-11 (except section 4 of chapter 9) and 15 of the HTML 4.0
/// standard, `<a>` elements (either name or href), images and internally contained style attributes".
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
    "u",
    "map",
    "area",
    "bdo",
    "center",
    "kbd",
    "address",
    "del",
    "ins",
];

/// Whether it is well-formed and has no elements or attributes that could run or load something.
pub fn is_safe(div: &str) -> bool {
    let mut reader = Reader::from_str(div);
    let mut depth = 0_usize;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                if !is_harmless(&tag) {
                    return false;
                }
                depth += 1;
            }
            Ok(Event::Empty(tag)) if !is_harmless(&tag) => return false,
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::PI(_) | Event::DocType(_)) | Err(_) => return false,
            Ok(Event::Eof) => return depth == 0,
            Ok(_) => {}
        }
    }
}

/// "the narrative SHALL have some non-whitespace content": text, or an image.
pub fn has_content(div: &str) -> bool {
    let mut is_in_tag = false;
    let has_text = div.chars().any(|c| {
        match c {
            '<' => is_in_tag = true,
            '>' => {
                is_in_tag = false;
                return false;
            }
            _ => {}
        }
        !is_in_tag && !c.is_whitespace()
    });
    has_text || div.contains("<img")
}

fn is_harmless(tag: &BytesStart<'_>) -> bool {
    let name = tag.name();
    let is_known = ELEMENTS.iter().any(|known| *known == name.as_ref());
    is_known
        && tag.attributes().all(|attribute| {
            attribute.is_ok_and(|attribute| {
                let key = attribute.key.as_ref().to_ascii_lowercase();
                let value = attribute.value.to_ascii_lowercase();
                let runs = value.trim_ascii_start().starts_with("javascript:");
                !(key.starts_with("on") || matches!(key.as_str(), "href" | "src") && runs)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_markup_passes() {
        for (div, safe) in [
            (
                "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &amp; b</p></div>",
                true,
            ),
            ("<div><img src=\"#i\" alt=\"x\"/></div>", true),
            ("<div><script>1</script></div>", false),
            ("<div onclick=\"x()\">a</div>", false),
            ("<div><a href=\"JavaScript:x()\">a</a></div>", false),
            ("<div><p>a</div>", false),
            ("<div><form/></div>", false),
            ("<div><iframe src=\"x\"/></div>", false),
        ] {
            assert_eq!(is_safe(div), safe, "{div}");
        }
        assert!(has_content("<div> a </div>") && !has_content("<div> <p/> </div>"));
    }
}
