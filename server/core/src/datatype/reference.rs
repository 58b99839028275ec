//! The texts of references: where they lead.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#literal>, <https://hl7.org/fhir/R4/references.html#canonical>

use crate::ids::{ResourceId, ResourceKey};

use conformance::{Definitions, ResourceTypeId};

/// Where the text of a `Reference.reference` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A resource of this server, relative or absolute below an own base url.
    Local {
        /// Which resource.
        key: ResourceKey,
        /// The version, for a reference of the form `Type/id/_history/version`.
        version: Option<&'a str>,
    },
    /// Another server's resource: the url without `_history`.
    Absolute {
        /// The url, version left out.
        url: &'a str,
        /// The type the url names, when it ends like a FHIR url.
        resource_type: Option<ResourceTypeId>,
        /// The version.
        version: Option<&'a str>,
    },
    /// `urn:uuid:…` or `urn:oid:…`, which a Bundle resolves.
    Urn(&'a str),
    /// `#id`: a contained resource, or the container itself when empty.
    Contained(&'a str),
    /// `Type?query`: a conditional reference inside a transaction.
    Conditional {
        /// The type searched.
        resource_type: ResourceTypeId,
        /// The query, without `?`.
        query: &'a str,
    },
}

impl<'a> Reference<'a> {
    /// Reads a reference; `None` when it has none of the known forms. `base_urls` are this server's own bases,
    /// with or without `/` at the end.
    pub fn parse(text: &'a str, base_urls: &[&str]) -> Option<Self> {
        // Nearly all are `Type/id`.
        if let Some(key) = ResourceKey::parse(text) {
            return Some(Self::Local { key, version: None });
        }
        if let Some(id) = text.strip_prefix('#') {
            return Some(Self::Contained(id));
        }
        if text.starts_with("urn:") {
            return Some(Self::Urn(text));
        }
        if !is_absolute(text) {
            return Self::parse_relative(text);
        }
        if let Some(local) = base_urls
            .iter()
            .find_map(|base| below(text, base))
            .and_then(Self::parse_relative)
        {
            return Some(local);
        }
        let (url, version) = split_version(text);
        let mut segments = url.rsplit('/');
        let (id, type_name) = (segments.next().unwrap_or(""), segments.next().unwrap_or(""));
        let resource_type =
            ResourceId::parse(id).and_then(|_| Definitions::r4().resource_type(type_name));
        Some(Self::Absolute {
            url,
            resource_type,
            version,
        })
    }

    fn parse_relative(text: &'a str) -> Option<Self> {
        if let Some((type_name, query)) = text.split_once('?') {
            return Some(Self::Conditional {
                resource_type: Definitions::r4().resource_type(type_name)?,
                query,
            });
        }
        let (path, version) = split_version(text);
        ResourceKey::parse(path).map(|key| Self::Local { key, version })
    }
}

/// The relative reference to a version: `Type/id/_history/version`.
pub fn versioned(key: &ResourceKey, version: &str) -> String {
    format!("{key}/_history/{version}")
}

/// Splits `…/_history/version` off.
fn split_version(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once("/_history/") {
        Some((path, version)) if ResourceId::parse(version).is_some() => (path, Some(version)),
        _ => (text, None),
    }
}

/// True with a scheme: `http://…`, `https://…`, `ftp://…`.
fn is_absolute(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

fn below<'t>(text: &'t str, base_url: &str) -> Option<&'t str> {
    text.strip_prefix(base_url.trim_end_matches('/'))?
        .strip_prefix('/')
}

/// The parts of a canonical: `url|version#fragment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The url without version and fragment.
    pub url: &'a str,
    /// The business version behind `|`.
    pub version: Option<&'a str>,
    /// The fragment behind `#`.
    pub fragment: Option<&'a str>,
}

impl<'a> Canonical<'a> {
    /// Splits a canonical; never fails, since any uri may be one.
    pub fn parse(text: &'a str) -> Self {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (url, version) = match rest.split_once('|') {
            Some((url, version)) => (url, Some(version)),
            None => (rest, None),
        };
        Self {
            url,
            version: version.filter(|v| !v.is_empty()),
            fragment: fragment.filter(|f| !f.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: &[&str] = &["https://here.example/fhir", "http://localhost:8080/fhir/"];

    fn shown(text: &str) -> String {
        match Reference::parse(text, BASES) {
            None => "none".to_owned(),
            Some(Reference::Local { key, version }) => format!("local {key} {version:?}"),
            Some(Reference::Absolute {
                url,
                resource_type,
                version,
            }) => {
                format!(
                    "absolute {url} {:?} {version:?}",
                    resource_type.map(|t| t.name())
                )
            }
            Some(Reference::Urn(urn)) => format!("urn {urn}"),
            Some(Reference::Contained(id)) => format!("contained {id}"),
            Some(Reference::Conditional {
                resource_type,
                query,
            }) => format!("conditional {} {query}", resource_type.name()),
        }
    }

    /// Spec: <https://hl7.org/fhir/R4/references.html#literal>
    #[test]
    fn references_lead_where_they_say() {
        for (text, expected) in [
            ("Patient/1", "local Patient/1 None"),
            ("Patient/1/_history/2", "local Patient/1 Some(\"2\")"),
            (
                "https://here.example/fhir/Patient/1",
                "local Patient/1 None",
            ),
            (
                "http://localhost:8080/fhir/Patient/1/_history/3",
                "local Patient/1 Some(\"3\")",
            ),
            (
                "https://here.example/fhirPatient/1",
                "absolute https://here.example/fhirPatient/1 None None",
            ),
            (
                "https://there.example/r4/Patient/1",
                "absolute https://there.example/r4/Patient/1 Some(\"Patient\") None",
            ),
            (
                "https://there.example/Patient/1/_history/2",
                "absolute https://there.example/Patient/1 Some(\"Patient\") Some(\"2\")",
            ),
            (
                "https://there.example/files/1.pdf",
                "absolute https://there.example/files/1.pdf None None",
            ),
            (
                "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
                "urn urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
            ),
            ("urn:oid:1.2.3", "urn urn:oid:1.2.3"),
            ("#p1", "contained p1"),
            ("#", "contained "),
            (
                "Patient?identifier=s|1",
                "conditional Patient identifier=s|1",
            ),
            ("Patient", "none"),
            ("Patient/", "none"),
            ("Nothing/1", "none"),
            ("Patient/a b", "none"),
            ("", "none"),
            ("Patient/1/extra", "none"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    /// Spec: <https://hl7.org/fhir/R4/references.html#canonical>
    #[test]
    fn canonicals_have_three_parts() {
        for (text, url, version, fragment) in [
            ("http://x.example/q", "http://x.example/q", None, None),
            (
                "http://x.example/q|1.0",
                "http://x.example/q",
                Some("1.0"),
                None,
            ),
            (
                "http://x.example/q|1.0#a",
                "http://x.example/q",
                Some("1.0"),
                Some("a"),
            ),
            (
                "http://x.example/q#a",
                "http://x.example/q",
                None,
                Some("a"),
            ),
            ("#a", "", None, Some("a")),
            ("http://x.example/q|", "http://x.example/q", None, None),
        ] {
            assert_eq!(
                Canonical::parse(text),
                Canonical {
                    url,
                    version,
                    fragment
                },
                "{text}"
            );
        }
    }
}
