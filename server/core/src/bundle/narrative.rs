//! Links inside narrative: the values of `href` and `src`, the rest untouched.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#trules>, <https://hl7.org/fhir/R4/narrative.html>. Left out: urls spelled with character references.

/// The narrative with every `href` and `src` that `target` knows replaced; `None` when there is none.
pub fn rewrite(div: &str, target: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some((start, end)) = next_url(div, at) {
        at = end;
        let Some(replacement) = div.get(start..end).and_then(target) else {
            continue;
        };
        let out = out.get_or_insert_with(|| String::with_capacity(div.len()));
        out.push_str(div.get(copied..start).unwrap_or_default());
        out.push_str(&replacement);
        copied = end;
    }
    let mut out = out?;
    out.push_str(div.get(copied..).unwrap_or_default());
    Some(out)
}

/// Where the next value of an attribute `href` or `src` inside a tag starts and ends.
fn next_url(div: &str, from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let rest = div.get(from..)?;
        let (at, name) = ["href", "src"]
            .iter()
            .filter_map(|name| Some((rest.find(name)?, *name)))
            .min()?;
        let is_attribute = rest.get(..at)?.ends_with(|c: char| c.is_ascii_whitespace())
            && is_in_tag(div.get(..from + at)?);
        let value = rest
            .get(at + name.len()..)?
            .trim_start()
            .strip_prefix('=')
            .map(str::trim_start);
        let quote = value
            .and_then(|value| value.chars().next())
            .filter(|c| matches!(c, '"' | '\''));
        from += at + name.len();
        if let (true, Some(value), Some(quote)) = (is_attribute, value, quote) {
            let start = div.len() - value.len() + 1;
            let length = div.get(start..)?.find(quote)?;
            return Some((start, start + length));
        }
    }
}

fn is_in_tag(before: &str) -> bool {
    match (before.rfind('<'), before.rfind('>')) {
        (Some(open), Some(close)) => open > close,
        (Some(_), None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn only_known_links_in_tags_change() {
        let target = |url: &str| (url == "urn:x").then(|| "Patient/1".to_owned());
        for (div, expected) in [
            (
                "<div><a href=\"urn:x\">urn:x</a></div>",
                Some("<div><a href=\"Patient/1\">urn:x</a></div>"),
            ),
            (
                "<div><img alt='a' src='urn:x'/></div>",
                Some("<div><img alt='a' src='Patient/1'/></div>"),
            ),
            (
                "<a href = \"urn:x\"/><a href=\"urn:x\"/>",
                Some("<a href = \"Patient/1\"/><a href=\"Patient/1\"/>"),
            ),
            ("<div>the href=\"urn:x\" of</div>", None),
            ("<a data-href=\"urn:x\"/>", None),
            ("<a href=\"urn:y\"/>", None),
            ("<a href=\"urn:x", None),
            ("<a href=", None),
            (
                "ä<a\nhref=\"urn:x\">ö</a>",
                Some("ä<a\nhref=\"Patient/1\">ö</a>"),
            ),
        ] {
            assert_eq!(rewrite(div, &target).as_deref(), expected, "{div}");
        }
    }
}
