//! One parameter of a search, with its modifier, chain or `_has`, made into a condition.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#modifiers>, <https://hl7.org/fhir/R4/search.html#chaining>,
//! <https://hl7.org/fhir/R4/search.html#has>.

mod special;

use conformance::{Definitions, ParamType, ResourceTypeId, SearchParam};

use super::hierarchy::Way;
use super::path;
use super::predicate::{Predicate, ValueTest};
use super::query::Context;
use super::supported;
use super::text::{shown, split, unescape};
use super::value::{self, Modifier, Reading, type_row};
use crate::ids::ResourceId;
use crate::issue::{ErrorKind, Issue, Problem};

/// Makes conditions and counts them.
pub struct Builder<'a> {
    context: &'a Context<'a>,
    /// What the conditions made so far disregard.
    pub warnings: Vec<Issue>,
    conditions: usize,
}

impl<'a> Builder<'a> {
    /// Starts with nothing counted.
    pub fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            warnings: Vec::new(),
            conditions: 0,
        }
    }

    /// The condition that `key=value` puts on resources of a type.
    ///
    /// # Errors
    /// `unknown-parameter`, `unknown-modifier`, `unknown-prefix`, `bad-parameter-value`, `too-costly`
    pub fn condition(
        &mut self,
        resource_type: ResourceTypeId,
        key: &str,
        value: &str,
    ) -> Result<Predicate, Problem> {
        self.link(resource_type, key, value, 0)
    }

    fn link(
        &mut self,
        resource_type: ResourceTypeId,
        key: &str,
        value: &str,
        depth: usize,
    ) -> Result<Predicate, Problem> {
        self.check_depth(depth)?;
        if let Some(rest) = key.strip_prefix("_has:") {
            return self.has(resource_type, rest, value, depth);
        }
        match key {
            "_filter" => return self.filter(resource_type, value),
            "_list" => return self.list(value),
            "_text" | "_content" => return self.words(resource_type, key, value),
            _ => {}
        }
        let (head, rest) = key
            .split_once('.')
            .map_or((key, None), |(head, rest)| (head, Some(rest)));
        let (code, modifier) = head
            .split_once(':')
            .map_or((head, None), |(code, modifier)| (code, Some(modifier)));
        let param = self.parameter(resource_type, code)?;
        match rest {
            Some(rest) => self.chain(param, modifier, rest, value, depth),
            None => self.plain(param, modifier, value),
        }
    }

    /// A parameter of a type, official or added.
    pub(super) fn parameter(
        &self,
        resource_type: ResourceTypeId,
        code: &str,
    ) -> Result<&'static SearchParam, Problem> {
        match self.context.custom.get(resource_type, code) {
            Some(param) => Ok(param),
            None => supported::parameter(resource_type, code),
        }
    }

    pub(super) fn check_depth(&self, depth: usize) -> Result<(), Problem> {
        let limit = self.context.limits.chain_depth_max;
        if depth <= limit {
            return Ok(());
        }
        Err(Problem::new(
            ErrorKind::TOO_COSTLY,
            format!("a chain has more than {limit} links"),
        ))
    }

    pub(super) fn count(&mut self, more: usize) -> Result<(), Problem> {
        self.conditions = self.conditions.saturating_add(more);
        if self.conditions <= self.context.limits.conditions_max {
            return Ok(());
        }
        let text = "the search has too many conditions; name the type in chains (`subject:Patient.name`) and ask for fewer values";
        Err(Problem::new(ErrorKind::TOO_COSTLY, text))
    }

    /// `[Type]:[reference parameter]:[condition]`
    fn has(
        &mut self,
        target: ResourceTypeId,
        rest: &str,
        value: &str,
        depth: usize,
    ) -> Result<Predicate, Problem> {
        let form = || {
            let text = "`_has` is written `_has:Type:reference parameter:parameter=value`";
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("_has")
        };
        let (type_name, rest) = rest.split_once(':').ok_or_else(form)?;
        let (code, inner) = rest.split_once(':').ok_or_else(form)?;
        let source = resource_type_named(type_name)?;
        let custom = self.context.custom.get(source, code);
        let param = match custom.filter(|param| param.kind == ParamType::Reference) {
            Some(param) => param,
            None => reference_parameter(source, code)?,
        };
        if !path::targets(param).contains(&target) {
            let text = format!(
                "`{}.{code}` never refers to `{}`",
                source.name(),
                target.name()
            );
            return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at("_has"));
        }
        self.count(1)?;
        let inner = Box::new(self.link(source, inner, value, depth + 1)?);
        Ok(Predicate::Has {
            source,
            param: param.id,
            inner,
        })
    }

    /// `subject:Patient.name`, or `subject.name` for every type that has the next parameter.
    fn chain(
        &mut self,
        param: &'static SearchParam,
        modifier: Option<&str>,
        rest: &str,
        value: &str,
        depth: usize,
    ) -> Result<Predicate, Problem> {
        if param.kind != ParamType::Reference {
            let text = format!(
                "`{}` is a {} parameter; only references can be chained",
                param.code,
                param.kind.code()
            );
            return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(param.code));
        }
        if let Some(name) = modifier {
            let target = target_named(param, name)?;
            self.count(1)?;
            let inner = Box::new(self.link(target, rest, value, depth + 1)?);
            return Ok(Predicate::Chain {
                param: param.id,
                target,
                inner,
            });
        }
        let mut found = Vec::new();
        let mut refused: Option<Problem> = None;
        for target in path::targets(param) {
            self.count(1)?;
            match self.link(target, rest, value, depth + 1) {
                Ok(inner) => found.push(Predicate::Chain {
                    param: param.id,
                    target,
                    inner: Box::new(inner),
                }),
                Err(problem) if problem.kind() == ErrorKind::UNKNOWN_PARAMETER => {
                    refused.get_or_insert(problem);
                }
                Err(problem) => return Err(problem),
            }
        }
        match (found.is_empty(), refused) {
            (true, Some(_)) => Err(no_target(param, rest)),
            _ => Ok(any(found)),
        }
    }

    /// The types a chain goes on with: the one named, or all that the parameter leads to.
    pub(super) fn chain_targets(
        &self,
        param: &'static SearchParam,
        type_name: Option<&str>,
    ) -> Result<Vec<ResourceTypeId>, Problem> {
        if param.kind != ParamType::Reference {
            let text = format!(
                "`{}` is a {} parameter; only references can be chained",
                param.code,
                param.kind.code()
            );
            return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(param.code));
        }
        match type_name {
            Some(name) => Ok(vec![target_named(param, name)?]),
            None => Ok(path::targets(param)),
        }
    }

    /// A parameter of the type itself.
    pub(super) fn plain(
        &mut self,
        param: &'static SearchParam,
        modifier: Option<&str>,
        value: &str,
    ) -> Result<Predicate, Problem> {
        if modifier == Some("missing") {
            self.count(1)?;
            return missing(param, value);
        }
        let modifier = modifier.map_or(Ok(Modifier::Plain), |name| modifier_named(param, name))?;
        self.values(param, modifier, value)
    }

    /// The values of a parameter, separated by commas.
    pub(super) fn values(
        &mut self,
        param: &'static SearchParam,
        modifier: Modifier,
        value: &str,
    ) -> Result<Predicate, Problem> {
        let alternatives = split(value, ',');
        if alternatives.len() > self.context.limits.alternatives_max {
            let limit = self.context.limits.alternatives_max;
            let text = format!("`{}` has more than {limit} values", param.code);
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at(param.code));
        }
        self.count(alternatives.len())?;
        let way = match modifier {
            Modifier::Above => Some(Way::Above),
            Modifier::Below => Some(Way::Below),
            _ => None,
        };
        let found = if param.code == "_id" {
            ids(param, modifier, &alternatives)?
        } else if let (Some(way), ParamType::Reference) = (way, param.kind) {
            self.relatives(param, way, &alternatives)?
        } else {
            let mut conditions = Vec::with_capacity(alternatives.len());
            for text in alternatives {
                let context = self.context;
                let mut reading = Reading {
                    param,
                    modifier,
                    context,
                    warnings: &mut self.warnings,
                };
                let tests = value::read(&mut reading, text)?;
                self.count(tests.len())?;
                conditions.extend(test_conditions(param, tests));
            }
            any(conditions)
        };
        Ok(if matches!(modifier, Modifier::Not | Modifier::NotIn) {
            Predicate::Not(Box::new(found))
        } else {
            found
        })
    }
}

fn test_conditions(param: &SearchParam, tests: Vec<ValueTest>) -> Vec<Predicate> {
    if param.kind == ParamType::Composite {
        return vec![Predicate::Composite {
            param: param.id,
            tests,
        }];
    }
    let condition = |test| match test {
        ValueTest::Date(test) if param.code == "_lastUpdated" => Predicate::LastUpdated(test),
        test => Predicate::Value {
            param: param.id,
            test,
        },
    };
    tests.into_iter().map(condition).collect()
}

/// `_id` holds plain ids. One that cannot be an id is an error, since it hides a mistake.
fn ids(
    param: &'static SearchParam,
    modifier: Modifier,
    texts: &[&str],
) -> Result<Predicate, Problem> {
    if !matches!(modifier, Modifier::Plain | Modifier::Not) {
        let text = "`_id` takes no modifier but `:not` and `:missing`";
        return Err(Problem::new(ErrorKind::UNKNOWN_MODIFIER, text).at(param.code));
    }
    let id = |text: &&str| {
        let text = unescape(text);
        ResourceId::parse(&text).ok_or_else(|| {
            let text = "a value of `_id` is no logical id: 1 to 64 letters, digits, `-` and `.` are expected";
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(param.code)
        })
    };
    texts
        .iter()
        .map(id)
        .collect::<Result<Vec<_>, _>>()
        .map(Predicate::Id)
}

fn missing(param: &SearchParam, value: &str) -> Result<Predicate, Problem> {
    let is_missing = match value {
        "true" => true,
        "false" => false,
        _ => {
            let text = format!("`{}:missing` is `true` or `false`", param.code);
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(param.code));
        }
    };
    // Every stored resource has an id and a time.
    let is_everywhere = matches!(param.code, "_id" | "_lastUpdated");
    Ok(match (is_everywhere, is_missing) {
        (true, true) => Predicate::Nothing,
        (true, false) => Predicate::Everything,
        (false, true) => Predicate::Not(Box::new(Predicate::Present(param.id))),
        (false, false) => Predicate::Present(param.id),
    })
}

fn modifier_named(param: &'static SearchParam, name: &str) -> Result<Modifier, Problem> {
    let row = type_row(param.kind);
    let is_offered = supported::modifier_names(param).contains(&name);
    if let Some((_, modifier)) = row
        .modifiers
        .iter()
        .find(|(known, _)| *known == name && is_offered)
    {
        return Ok(*modifier);
    }
    if param.kind == ParamType::Reference && Definitions::r4().resource_type(name).is_some() {
        return target_named(param, name).map(Modifier::Type);
    }
    let is_defined = param.modifiers.contains(&name);
    let state = if is_defined {
        "is not supported yet"
    } else {
        "does not exist"
    };
    let text = format!(
        "the modifier `:{}` of the {} parameter `{}` {state}; there are: {}",
        shown(name),
        param.kind.code(),
        param.code,
        supported::modifier_names(param).join(", ")
    );
    Err(Problem::new(ErrorKind::UNKNOWN_MODIFIER, text).at(param.code))
}

/// The type a modifier names, if the parameter may lead there.
fn target_named(param: &SearchParam, name: &str) -> Result<ResourceTypeId, Problem> {
    let definitions = Definitions::r4();
    let target = definitions.resource_type(name);
    let is_target = |t: &ResourceTypeId| param.targets.is_empty() || param.targets.contains(t);
    target.filter(is_target).ok_or_else(|| {
        let names: Vec<&str> = param.targets.iter().map(|t| t.name()).collect();
        let shown_name = shown(name);
        let text = format!(
            "`{}` does not lead to `{shown_name}`; it leads to: {}",
            param.code,
            names.join(", ")
        );
        Problem::new(ErrorKind::UNKNOWN_MODIFIER, text).at(param.code)
    })
}

fn no_target(param: &'static SearchParam, rest: &str) -> Problem {
    let next = rest.split(['.', ':']).next().unwrap_or_default();
    let names: Vec<&str> = path::targets(param).iter().map(|t| t.name()).collect();
    let text = format!(
        "none of the types that `{}` leads to has a search parameter `{}`: {}",
        param.code,
        shown(next),
        names.join(", ")
    );
    Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(param.code)
}

/// A resource type by name.
///
/// # Errors
/// `bad-parameter-value`
pub fn resource_type_named(name: &str) -> Result<ResourceTypeId, Problem> {
    Definitions::r4().resource_type(name).ok_or_else(|| {
        let text = format!(
            "`{}` is no resource type of FHIR R4; upper and lower case matter",
            shown(name)
        );
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text)
    })
}

/// A reference parameter by code.
///
/// # Errors
/// `unknown-parameter`
pub fn reference_parameter(
    resource_type: ResourceTypeId,
    code: &str,
) -> Result<&'static SearchParam, Problem> {
    let found = Definitions::r4().search_param(resource_type, code);
    found
        .filter(|param| param.kind == ParamType::Reference)
        .ok_or_else(|| {
            let params = Definitions::r4().search_params(resource_type).iter();
            let names: Vec<&str> = params
                .filter(|p| p.kind == ParamType::Reference)
                .map(|p| p.code)
                .collect();
            let type_name = resource_type.name();
            let text = format!(
                "`{type_name}` has no reference parameter `{}`; it has: {}",
                shown(code),
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            );
            Problem::new(ErrorKind::UNKNOWN_PARAMETER, text)
        })
}

/// At least one of these; one alone stands for itself.
pub fn any(mut conditions: Vec<Predicate>) -> Predicate {
    match (conditions.len(), conditions.pop()) {
        (_, None) => Predicate::Nothing,
        (1, Some(only)) => only,
        (_, Some(last)) => {
            conditions.push(last);
            Predicate::Or(conditions)
        }
    }
}

/// All of these; one alone stands for itself.
pub fn all(mut conditions: Vec<Predicate>) -> Predicate {
    match (conditions.len(), conditions.pop()) {
        (_, None) => Predicate::Everything,
        (1, Some(only)) => only,
        (_, Some(last)) => {
            conditions.push(last);
            Predicate::And(conditions)
        }
    }
}
