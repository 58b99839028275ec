//! Reference parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#reference>. A value without version finds references to
//! every version; one with a version finds references to that version only.

use super::token::token_test;
use super::{Modifier, Reading};
use crate::datatype::reference::{Canonical, Reference, versioned};
use crate::ids::{ResourceId, ResourceKey};
use crate::issue::Problem;
use crate::search::path;
use crate::search::predicate::{ReferenceTest, ValueTest};
use crate::search::text::unescape;

const FORM: &str = "`id`, `Type/id` or an absolute url is expected";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    if reading.modifier == Modifier::Identifier {
        let token = token_test(reading, text)?;
        return Ok(vec![ValueTest::Reference(ReferenceTest::Identifier(token))]);
    }
    let text = unescape(text);
    let tests = match ResourceId::parse(&text) {
        // A bare word may be a canonical as it stands.
        Some(id) if is_canonical(reading) => {
            vec![ReferenceTest::Url(text.to_string()), by_id(reading, &id)]
        }
        Some(id) => vec![by_id(reading, &id)],
        None => by_url(reading, &text)?,
    };
    Ok(tests.into_iter().map(ValueTest::Reference).collect())
}

/// A bare id: of every type the parameter leads to, or the one that the modifier names.
fn by_id(reading: &Reading<'_>, id: &ResourceId) -> ReferenceTest {
    let targets = match reading.modifier {
        Modifier::Type(target) => vec![target],
        _ => path::targets(reading.param),
    };
    let keys = targets.into_iter().map(|resource_type| ResourceKey {
        resource_type,
        id: id.clone(),
    });
    ReferenceTest::Local(keys.collect())
}

fn by_url(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ReferenceTest>, Problem> {
    if is_canonical(reading) {
        return canonical(reading, text);
    }
    match Reference::parse(text, reading.context.base_urls) {
        Some(Reference::Local { key, version }) => {
            if let Modifier::Type(wanted) = reading.modifier
                && wanted != key.resource_type
            {
                return Err(
                    reading.bad_value("the type in the value and the type behind the colon differ")
                );
            }
            Ok(vec![match version {
                Some(version) => ReferenceTest::Url(versioned(&key, version)),
                None => ReferenceTest::Local(vec![key]),
            }])
        }
        Some(Reference::Absolute { .. } | Reference::Urn(_)) => {
            Ok(vec![ReferenceTest::Url(text.to_owned())])
        }
        Some(Reference::Contained(_) | Reference::Conditional { .. }) | None => {
            Err(reading.bad_value(FORM))
        }
    }
}

fn is_canonical(reading: &Reading<'_>) -> bool {
    path::leaves(reading.param).is_some_and(|leaves| {
        leaves
            .iter()
            .any(|leaf| leaf.may_be("canonical") || leaf.may_be("uri"))
    })
}

/// A canonical is any url, also a relative one. What is a resource of this server may stand in the data in its relative and
/// in its absolute form, or as a Reference where the parameter has both.
fn canonical(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ReferenceTest>, Problem> {
    let bases = reading.context.base_urls;
    let parts = Canonical::parse(text);
    let mut urls = vec![parts.url.to_owned()];
    let mut tests = Vec::new();
    match Reference::parse(parts.url, bases) {
        Some(Reference::Local { key, version }) => {
            if !parts.url.contains("://") {
                let below = |base: &&str| format!("{}/{}", base.trim_end_matches('/'), parts.url);
                urls.extend(bases.iter().map(below));
            }
            if parts.version.is_none() {
                tests.push(match version {
                    Some(version) => ReferenceTest::Url(versioned(&key, version)),
                    None => ReferenceTest::Local(vec![key]),
                });
            }
        }
        Some(Reference::Contained(_) | Reference::Conditional { .. }) => {
            return Err(reading.bad_value(FORM));
        }
        Some(Reference::Absolute { .. } | Reference::Urn(_)) | None => {}
    }
    if parts.url.is_empty() {
        return Err(reading.bad_value(FORM));
    }
    let whole = |url: String| match parts.version {
        Some(version) => format!("{url}|{version}"),
        None => url,
    };
    let urls = urls.into_iter().map(whole).map(ReferenceTest::Url);
    Ok(urls.chain(tests).collect())
}
