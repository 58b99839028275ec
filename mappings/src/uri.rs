//! Names of authorities and coding systems as URIs.
//!
//! HL7 v2 chapter 2A.3.34 HD and table 0301; coding systems: HL7 table 0396, `urn:oid:` and `urn:uuid:` of RFC 3061 and
//! RFC 9562. A name nobody has a URI for becomes a local one and an issue: it is kept, and never taken for another's.
//!
//! Left out on purpose: looking names up in registries at run time.

use crate::code::ConceptMap;
use crate::context::Context;
use crate::output::Code;

/// The name of an HD: namespace id, universal id, universal id type.
pub(crate) struct Hd<'a> {
    pub namespace: Option<&'a str>,
    pub universal: Option<&'a str>,
    pub kind: Option<&'a str>,
}

/// The URI of an authority and what had to be decided; `None` when nothing names one.
pub(crate) fn authority(hd: &Hd<'_>, context: &Context) -> Option<(String, Option<Code>)> {
    if let Some(known) = hd.namespace.and_then(|n| context.authorities.get(n)) {
        return Some((known.clone(), None));
    }
    if let Some(universal) = hd.universal {
        let uri = match hd.kind.unwrap_or_default() {
            "ISO" => oid(universal),
            "" => oid(universal).or_else(|| absolute(universal)),
            "UUID" | "GUID" => uuid(universal),
            "URI" | "HTTP" | "HTTPS" => absolute(universal),
            _ => None,
        };
        if let Some(uri) = uri {
            return Some((uri, None));
        }
    }
    let name = hd.namespace.or(hd.universal)?;
    Some((context.local_uri(name), Some(Code::AuthorityIsLocal)))
}

/// The URI of a coding system and what had to be decided.
pub(crate) fn coding_system(
    name: &str,
    context: &Context,
    table_0396: Option<&ConceptMap>,
) -> (String, Option<Code>) {
    let name = name.trim();
    if let Some(known) = context.coding_systems.get(name) {
        return (known.clone(), None);
    }
    if let Some(target) = table_0396.and_then(|t| t.get(name)) {
        return (target.code.to_string(), None);
    }
    // HL7 table 0396: "HL7nnnn, HL7 Defined Codes where nnnn is the HL7 table number".
    if let Some(table) = name
        .strip_prefix("HL7")
        .filter(|t| t.len() == 4 && t.bytes().all(|b| b.is_ascii_digit()))
    {
        return (
            format!("http://terminology.hl7.org/CodeSystem/v2-{table}"),
            None,
        );
    }
    if let Some(uri) = oid(name).or_else(|| absolute(name)) {
        return (uri, None);
    }
    (context.local_uri(name), Some(Code::UnknownCodeSystem))
}

/// `urn:oid:…` of a dotted number.
fn oid(text: &str) -> Option<String> {
    let text = text.strip_prefix("urn:oid:").unwrap_or(text);
    let arc = |a: &str| {
        !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit()) && (a == "0" || !a.starts_with('0'))
    };
    let fits = text.contains('.') && text.split('.').all(arc) && text.starts_with(['0', '1', '2']);
    fits.then(|| format!("urn:oid:{text}"))
}

fn uuid(text: &str) -> Option<String> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let shape = text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| {
            if matches!(i, 8 | 13 | 18 | 23) {
                b == b'-'
            } else {
                b.is_ascii_hexdigit()
            }
        });
    shape.then(|| format!("urn:uuid:{}", text.to_ascii_lowercase()))
}

/// A URI that names its scheme and has no blanks.
pub(crate) fn absolute(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    (scheme_fits && !rest.is_empty() && !text.contains(char::is_whitespace))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(namespace: &str, universal: &str, kind: &str, expected: Option<(&str, Option<Code>)>) {
        let some = |s: &'static str| (!s.is_empty()).then_some(s);
        let leak = |s: &str| -> &'static str { Box::leak(s.to_owned().into_boxed_str()) };
        let hd = Hd {
            namespace: some(leak(namespace)),
            universal: some(leak(universal)),
            kind: some(leak(kind)),
        };
        let mut context = Context {
            id_namespace: "north".into(),
            ..Context::default()
        };
        context
            .set("authority.HOSP", "http://hosp.example/mrn")
            .expect("a setting");
        let got = authority(&hd, &context);
        assert_eq!(
            got,
            expected.map(|(u, c)| (u.to_owned(), c)),
            "{namespace}&{universal}&{kind}"
        );
    }

    #[test]
    fn authorities() {
        check("", "1.2.3", "ISO", Some(("urn:oid:1.2.3", None)));
        check("X", "1.2.3", "ISO", Some(("urn:oid:1.2.3", None)));
        check(
            "HOSP",
            "1.2.3",
            "ISO",
            Some(("http://hosp.example/mrn", None)),
        );
        check(
            "X",
            "",
            "",
            Some(("urn:id:north:X", Some(Code::AuthorityIsLocal))),
        );
        check(
            "X Y",
            "",
            "",
            Some(("urn:id:north:X%20Y", Some(Code::AuthorityIsLocal))),
        );
        check(
            "",
            "http://a.example/b",
            "URI",
            Some(("http://a.example/b", None)),
        );
        check(
            "",
            "01.2",
            "ISO",
            Some(("urn:id:north:01.2", Some(Code::AuthorityIsLocal))),
        );
        check(
            "",
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "UUID",
            Some(("urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff", None)),
        );
        check("", "", "ISO", None);
    }

    #[test]
    fn coding_systems() {
        let context = Context::default();
        let head = "source_system\tsource_code\ttarget_system\ttarget_code\ttarget_display\tequivalence\tcomment\n";
        let table = ConceptMap::parse(
            "t",
            &format!("{head}x\tLN\ty\thttp://loinc.org\t\tequivalent\t\n"),
        )
        .expect("ok");
        for (name, uri, code) in [
            ("LN", "http://loinc.org", None),
            (
                "HL70078",
                "http://terminology.hl7.org/CodeSystem/v2-0078",
                None,
            ),
            (
                "2.16.840.1.113883.6.1",
                "urn:oid:2.16.840.1.113883.6.1",
                None,
            ),
            ("99LAB", "urn:id:99LAB", Some(Code::UnknownCodeSystem)),
            ("L", "urn:id:L", Some(Code::UnknownCodeSystem)),
        ] {
            assert_eq!(
                coding_system(name, &context, Some(&table)),
                (uri.to_owned(), code),
                "{name}"
            );
        }
    }
}
