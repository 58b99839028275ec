//! `_include` and `_revinclude`: which other resources come along.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#revinclude>. Parsed and resolved to parameters here; the server
//! follows them and bounds how far.

use std::collections::BTreeMap;

use conformance::{Definitions, ParamId, ParamType, ResourceTypeId, SearchParam};

use super::condition::{any, reference_parameter, resource_type_named};
use super::path;
use super::predicate::{Predicate, ReferenceTest, ValueTest};
use super::text::shown;
use crate::datatype::reference::Reference;
use crate::ids::{ResourceKey, VersionId};
use crate::index::{IndexEntry, IndexValue};
use crate::issue::{ErrorKind, Problem};

/// Which way an include goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeWay {
    /// `_include`: from the matches to what they refer to.
    Forward,
    /// `_revinclude`: from the matches to what refers to them.
    Reverse,
}

/// One `_include` or `_revinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The type that holds the references; `None` for `_include=*`: every type.
    pub source: Option<ResourceTypeId>,
    /// The reference parameters of `source` to follow; empty with `source: None`, where it means all.
    pub params: Vec<ParamId>,
    /// Only resources of this type come along.
    pub target: Option<ResourceTypeId>,
    /// Also applied to what was included.
    pub iterate: bool,
}

/// A resource that comes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which one.
    pub key: ResourceKey,
    /// The version that the reference names; `None` for the current one.
    pub version: Option<VersionId>,
}

impl Include {
    /// What a resource refers to through this include. `entries` are the index entries of a resource of `resource_type`.
    /// "If a resource has a reference that is versioned and _include is performed, the specified version SHOULD be provided".
    pub fn targets(
        &self,
        resource_type: ResourceTypeId,
        entries: &[IndexEntry<'_>],
    ) -> Vec<Target> {
        if self.source.is_some_and(|source| source != resource_type) {
            return Vec::new();
        }
        let is_followed =
            |entry: &&IndexEntry<'_>| self.source.is_none() || self.params.contains(&entry.param);
        let key = |entry: &IndexEntry<'_>| match &entry.value {
            IndexValue::Reference(key) => Some(key.clone()),
            _ => None,
        };
        let is_wanted =
            |key: &ResourceKey| self.target.is_none_or(|target| target == key.resource_type);
        let mut targets: BTreeMap<ResourceKey, Option<VersionId>> = entries
            .iter()
            .filter(is_followed)
            .filter_map(key)
            .filter(is_wanted)
            .map(|key| (key, None))
            .collect();
        for entry in entries.iter().filter(is_followed) {
            if let IndexValue::ReferenceUrl(url) = &entry.value
                && let Some(Reference::Local { key, version }) = Reference::parse(url, &[])
                && let Some(slot) = targets.get_mut(&key)
            {
                *slot = version.and_then(VersionId::parse).or(*slot);
            }
        }
        let target = |(key, version)| Target { key, version };
        targets.into_iter().map(target).collect()
    }

    /// For `_revinclude`: which resources of [`Self::source`] refer to one of `keys`.
    pub fn referrers(&self, keys: &[ResourceKey]) -> Predicate {
        let is_wanted =
            |key: &&ResourceKey| self.target.is_none_or(|target| target == key.resource_type);
        let keys: Vec<ResourceKey> = keys.iter().filter(is_wanted).cloned().collect();
        if keys.is_empty() {
            return Predicate::Nothing;
        }
        let test = |param: &ParamId| Predicate::Value {
            param: *param,
            test: ValueTest::Reference(ReferenceTest::Local(keys.clone())),
        };
        any(self.params.iter().map(test).collect())
    }
}

/// Reads `Type:parameter`, `Type:parameter:target`, `Type:*` or, forwards, `*`.
///
/// # Errors
/// `bad-parameter-value`, `unknown-parameter`
pub fn parse(
    way: IncludeWay,
    searched: ResourceTypeId,
    text: &str,
    iterate: bool,
) -> Result<Include, Problem> {
    let name = match way {
        IncludeWay::Forward => "_include",
        IncludeWay::Reverse => "_revinclude",
    };
    if text == "*" && way == IncludeWay::Forward {
        return Ok(Include {
            source: None,
            params: Vec::new(),
            target: None,
            iterate,
        });
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (source, code, target) = match parts.as_slice() {
        [source, code] => (*source, *code, None),
        [source, code, target] => (*source, *code, Some(*target)),
        _ => {
            let text =
                format!("`{name}` is written `Type:parameter` or `Type:parameter:target type`");
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name));
        }
    };
    let at = |problem: Problem| problem.at(name);
    let source = resource_type_named(source).map_err(at)?;
    let target = target
        .filter(|t| !t.is_empty())
        .map(resource_type_named)
        .transpose()
        .map_err(at)?;
    let params = match code {
        "*" => references_of(source).collect(),
        code => vec![reference_parameter(source, code).map_err(at)?],
    };
    check(name, way, searched, source, &params, target, iterate)?;
    Ok(Include {
        source: Some(source),
        params: params.iter().map(|p| p.id).collect(),
        target,
        iterate,
    })
}

/// Refuses what can never bring anything.
fn check(
    name: &str,
    way: IncludeWay,
    searched: ResourceTypeId,
    source: ResourceTypeId,
    params: &[&'static SearchParam],
    target: Option<ResourceTypeId>,
    iterate: bool,
) -> Result<(), Problem> {
    let refuse = |text: String| Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name));
    let leads_to = |wanted: ResourceTypeId| {
        params
            .iter()
            .any(|p| p.targets.is_empty() || path::targets(p).contains(&wanted))
    };
    if let Some(target) = target.filter(|target| !leads_to(*target)) {
        return refuse(format!(
            "`{name}`: this parameter of `{}` does not lead to `{}`",
            source.name(),
            shown(target.name())
        ));
    }
    match way {
        _ if iterate => Ok(()),
        IncludeWay::Forward if source != searched => refuse(format!(
            "`{name}` starts at `{}`, but the search is for `{}`; write `{name}:iterate` to start at included resources",
            source.name(),
            searched.name()
        )),
        IncludeWay::Reverse if !leads_to(searched) => refuse(format!(
            "`{name}`: this parameter of `{}` does not lead to `{}`",
            source.name(),
            searched.name()
        )),
        _ => Ok(()),
    }
}

fn references_of(source: ResourceTypeId) -> impl Iterator<Item = &'static SearchParam> {
    Definitions::r4()
        .search_params(source)
        .iter()
        .filter(|param| param.kind == ParamType::Reference)
}
