//! Conditions that are no comparison of one parameter's values: lists, words, and hierarchies of resources.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#list>, <https://hl7.org/fhir/R4/search.html#content>,
//! <https://hl7.org/fhir/R4/search.html#recursive>

use conformance::{Definitions, ResourceTypeId, SearchParam};

use super::{Builder, any, reference_parameter, resource_type_named, test_conditions};
use crate::ids::ResourceId;
use crate::issue::{ErrorKind, Problem};
use crate::search::hierarchy::{self, Way};
use crate::search::predicate::{Predicate, ReferenceTest, TextPlace, ValueTest};
use crate::search::supported;
use crate::search::text::{split, unescape};
use crate::search::value::{self, Modifier, Reading};
use crate::search::words;

impl Builder<'_> {
    /// `_list=42`: resources that the List refers to. <https://hl7.org/fhir/R4/search.html#list>
    pub(super) fn list(&mut self, value: &str) -> Result<Predicate, Problem> {
        let refuse = |text: &str| {
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`_list`: {text}")).at("_list")
        };
        let source = resource_type_named("List")?;
        let item = reference_parameter(source, "item")?;
        let mut ids = Vec::new();
        for text in split(value, ',') {
            if text.starts_with('$') {
                return Err(refuse(
                    "functional lists such as `$current-problems` are not kept here; give the id of a List",
                ));
            }
            let text = unescape(text);
            let id = text.strip_prefix("List/").unwrap_or(&text);
            ids.push(ResourceId::parse(id).ok_or_else(|| refuse("the id of a List is expected"))?);
        }
        self.count(ids.len())?;
        Ok(Predicate::Has {
            source,
            param: item.id,
            inner: Box::new(Predicate::Id(ids)),
        })
    }

    /// `_text` and `_content`.
    pub(super) fn words(
        &mut self,
        resource_type: ResourceTypeId,
        key: &str,
        value: &str,
    ) -> Result<Predicate, Problem> {
        let place = match key {
            "_text" => TextPlace::Narrative,
            _ => TextPlace::Content,
        };
        if Definitions::r4().search_param(resource_type, key).is_none() {
            return Err(supported::unknown(resource_type, key));
        }
        let any_of = words::query(value).map_err(|text| {
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`{key}`: {text}")).at(key)
        })?;
        self.count(any_of.iter().map(Vec::len).sum())?;
        Ok(Predicate::Words { place, any_of })
    }

    /// `location:below=42`
    pub(super) fn relatives(
        &mut self,
        param: &'static SearchParam,
        way: Way,
        alternatives: &[&str],
    ) -> Result<Predicate, Problem> {
        let mut conditions = Vec::new();
        for text in alternatives {
            let context = self.context;
            let mut reading = Reading {
                param,
                modifier: Modifier::Plain,
                context,
                warnings: &mut self.warnings,
            };
            for test in value::read(&mut reading, text)? {
                match test {
                    ValueTest::Reference(ReferenceTest::Local(keys)) => {
                        self.count(keys.len() * hierarchy::LEVELS_MAX)?;
                        let related = keys.iter().map(|key| hierarchy::condition(param, key, way));
                        conditions.extend(related);
                    }
                    // What lies elsewhere has no hierarchy here.
                    other => conditions.extend(test_conditions(param, vec![other])),
                }
            }
        }
        Ok(any(conditions))
    }
}
