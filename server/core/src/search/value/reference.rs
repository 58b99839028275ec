//! Reference parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#reference>. The index keeps no versions: a version in the value is
//! left out of the comparison, with a warning.

use super::token::token_test;
use super::{Modifier, Reading};
use crate::datatype::reference::{Canonical, Reference};
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
    let bases = reading.context.base_urls;
    let canonical = Canonical::parse(text);
    let is_canonical = path::leaves(reading.param).is_some_and(|leaves| {
        leaves
            .iter()
            .any(|leaf| leaf.may_be("canonical") || leaf.may_be("uri"))
    });
    let text = if is_canonical { canonical.url } else { text };
    let (is_versioned, tests) = match Reference::parse(text, bases) {
        Some(Reference::Local { key, version }) => {
            if let Modifier::Type(wanted) = reading.modifier
                && wanted != key.resource_type
            {
                return Err(
                    reading.bad_value("the type in the value and the type behind the colon differ")
                );
            }
            (version.is_some(), local(key, text, is_canonical, bases))
        }
        Some(Reference::Absolute { url, version, .. }) => {
            (version.is_some(), vec![ReferenceTest::Url(url.to_owned())])
        }
        Some(Reference::Urn(urn)) => (false, vec![ReferenceTest::Url(urn.to_owned())]),
        Some(Reference::Contained(_) | Reference::Conditional { .. }) | None => {
            return Err(reading.bad_value(FORM));
        }
    };
    if is_versioned || (is_canonical && canonical.version.is_some()) {
        let code = reading.param.code;
        reading.warn(format!(
            "the version in the value of `{code}` is not compared: every version matches"
        ));
    }
    Ok(tests)
}

/// A resource of this server; a canonical to it may stand in the data as an absolute url, too.
fn local(key: ResourceKey, text: &str, is_canonical: bool, bases: &[&str]) -> Vec<ReferenceTest> {
    let mut tests = Vec::with_capacity(1);
    if is_canonical {
        if text.contains("://") {
            tests.push(ReferenceTest::Url(text.to_owned()));
        } else {
            tests.extend(
                bases.iter().map(|base| {
                    ReferenceTest::Url(format!("{}/{key}", base.trim_end_matches('/')))
                }),
            );
        }
    }
    tests.push(ReferenceTest::Local(vec![key]));
    tests
}
