//! Whether narrative is the harmless XHTML that FHIR allows.
//!
//! Spec: <https://hl7.org/fhir/R4/narrative.html#xhtml> (invariants txt-1 and txt-2). Left out: the content of `style`.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use crate::xml::XML_DEPTH_MAX;

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

/// Whether it is one well-formed `div` and has no elements or attributes that could run or load something. What passes can
/// stand in the XML form of the resource as it is.
pub fn is_safe(div: &str) -> bool {
    let mut reader = Reader::from_str(div.trim());
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        let Ok(event) = reader.read_event() else {
            return false;
        };
        if let Event::Start(tag) | Event::Empty(tag) = &event {
            let is_root = depth == 0;
            roots += usize::from(is_root);
            if roots > 1 || (is_root && tag.name().as_ref() != "div") || !is_harmless(tag) {
                return false;
            }
        }
        match event {
            Event::Start(_) if depth >= XML_DEPTH_MAX => return false,
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::PI(_) | Event::DocType(_) => return false,
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if depth == 0 => return false,
            Event::Eof => return depth == 0 && roots == 1,
            _ => {}
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
            let Ok(attribute) = attribute else {
                return false;
            };
            // As a browser reads it: character references resolved.
            let Ok(value) = attribute.normalized_value(XmlVersion::Explicit1_0) else {
                return false;
            };
            let key = attribute.key.as_ref().to_ascii_lowercase();
            let is_address = matches!(key.as_str(), "href" | "src");
            !(key.starts_with("on") || (is_address && is_script(&value)))
        })
}

/// Browsers pass over white space and control characters in the name of a scheme.
fn is_script(address: &str) -> bool {
    let visible = address.chars().filter(|c| *c > ' ');
    let scheme: String = visible.take_while(|c| *c != ':').collect();
    let is_address_with_scheme = address.contains(':');
    is_address_with_scheme
        && ["javascript", "vbscript"]
            .iter()
            .any(|script| scheme.eq_ignore_ascii_case(script))
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
            ("<div><a href=\"java&#115;cript:x()\">a</a></div>", false),
            ("<div><a href=\"java&#10;script:x()\">a</a></div>", false),
            ("<div><a href=\"javascript.html\">a</a></div>", true),
            ("<div title=\"a & b\">a</div>", false),
            ("<div title=\"a &amp; b\">a</div>", true),
            ("<div>a</div><div>b</div>", false),
            ("<div>a</div>b", false),
            (" <div>a</div> ", true),
            ("<p>a</p>", false),
            ("a", false),
        ] {
            assert_eq!(is_safe(div), safe, "{div}");
        }
        assert!(has_content("<div> a </div>") && !has_content("<div> <p/> </div>"));
    }
}
