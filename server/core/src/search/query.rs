//! From decoded URL parameters to a search that storage can answer.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>, <https://hl7.org/fhir/R4/search.html#errors>. What is not understood is an error, since a
//! condition left out finds patients who do not match; only `Prefer: handling=lenient` turns it into a warning.

use conformance::{Definitions, ResourceTypeId};

use super::codes::Codes;
use super::condition::{Builder, all, resource_type_named};
use super::custom::CustomParams;
use super::include::{self, Include, IncludeWay};
use super::limits::Limits;
use super::predicate::{Predicate, SortKeySpec};
use super::result::{self, Summary, Total};
use super::text::shown;
use crate::datatype::date::Zone;
use crate::ids::Instant;
use crate::issue::{ErrorKind, Issue, Problem, Severity};

/// What a search needs to know besides its parameters.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// This server's own base urls, such as `https://example.org/fhir`; references below them are local.
    pub base_urls: &'a [&'a str],
    /// The current time, for `ap`.
    pub now: Instant,
    /// The zone of dates without one.
    pub zone: Zone,
    /// What may be asked for at most.
    pub limits: Limits,
    /// What is known of value sets and code systems.
    pub codes: &'a dyn Codes,
    /// Search parameters beyond the official ones.
    pub custom: &'a CustomParams,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("base_urls", &self.base_urls)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What happens to a parameter that is not understood. <https://hl7.org/fhir/R4/search.html#errors>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// The search is refused. The default.
    Strict,
    /// It is left out, with a warning.
    Lenient,
}

/// A search of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// The type searched.
    pub resource_type: ResourceTypeId,
    /// Which resources match.
    pub predicate: Predicate,
    /// In which order; empty when none is asked for.
    pub sort: Vec<SortKeySpec>,
    /// `_count`; `None` when not given.
    pub count: Option<usize>,
    /// `_total`; `None` when not given.
    pub total: Option<Total>,
    /// `_include`
    pub includes: Vec<Include>,
    /// `_revinclude`
    pub revincludes: Vec<Include>,
    /// `_summary`
    pub summary: Summary,
    /// `_elements`; empty when not given.
    pub elements: Vec<String>,
    /// The parameters that were obeyed, as they came and in their order: for the link `self`.
    pub used: Vec<(String, String)>,
    /// What was left out and why, for an OperationOutcome among the results.
    pub warnings: Vec<Issue>,
}

impl SearchRequest {
    /// Whether only the number of matches is wanted: `_summary=count` or `_count=0`.
    pub fn is_count_only(&self) -> bool {
        self.summary == Summary::Count || self.count == Some(0)
    }
}

/// Reads the parameters of a search of one type: decoded, in order, repeats kept.
///
/// # Errors
/// `unknown-parameter`, `unknown-modifier`, `unknown-prefix`, `unknown-sort`, `bad-parameter-value`, `too-costly`
pub fn parse(
    resource_type: ResourceTypeId,
    params: &[(String, String)],
    handling: Handling,
    context: &Context<'_>,
) -> Result<SearchRequest, Problem> {
    if params.len() > context.limits.parameters_max {
        let limit = context.limits.parameters_max;
        return Err(Problem::new(
            ErrorKind::TOO_COSTLY,
            format!("a search has at most {limit} parameters"),
        ));
    }
    let mut query = Query {
        context,
        builder: Builder::new(context),
        conditions: Vec::new(),
        request: empty(resource_type),
    };
    for (key, value) in params {
        match query.take(key, value) {
            Ok(Taken::Used) => query.request.used.push((key.clone(), value.clone())),
            Ok(Taken::Skipped) => {}
            Err(problem) if handling == Handling::Lenient && is_ignorable(&problem) => {
                query.ignore(problem)
            }
            Err(problem) => return Err(problem),
        }
    }
    let Query {
        builder,
        conditions,
        mut request,
        ..
    } = query;
    request.predicate = all(conditions);
    request.warnings.extend(builder.warnings);
    Ok(request)
}

/// The condition of a conditional create, update or delete, or of a conditional reference: selecting parameters only,
/// always strict, and at least one of them, since an empty condition would match everything.
///
/// # Errors
/// As [`parse`].
pub fn parse_condition(
    resource_type: ResourceTypeId,
    params: &[(String, String)],
    context: &Context<'_>,
) -> Result<Predicate, Problem> {
    let is_result = |key: &str| {
        let code = key.split(':').next().unwrap_or_default();
        super::supported::RESULT_PARAMETERS.contains(&code)
    };
    if params.is_empty() {
        return Err(Problem::new(
            ErrorKind::BAD_PARAMETER_VALUE,
            "a condition needs at least one search parameter",
        ));
    }
    if let Some((key, _)) = params.iter().find(|(key, _)| is_result(key)) {
        let text = format!(
            "`{}` shapes a result and has no place in a condition",
            shown(key)
        );
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
    }
    parse(resource_type, params, Handling::Strict, context).map(|request| request.predicate)
}

/// A search of the whole system: one request for each type that `_type` names, or for all types.
///
/// Every parameter must exist on every one of these types: "only the parameters … that are defined for all of them".
///
/// # Errors
/// As [`parse`].
pub fn parse_system(
    params: &[(String, String)],
    handling: Handling,
    context: &Context<'_>,
) -> Result<Vec<SearchRequest>, Problem> {
    let (type_params, rest): (Vec<_>, Vec<_>) =
        params.iter().cloned().partition(|(key, _)| key == "_type");
    let mut types: Vec<ResourceTypeId> = Vec::new();
    for (_, value) in &type_params {
        for name in value.split(',') {
            types.push(resource_type_named(name.trim()).map_err(|problem| problem.at("_type"))?);
        }
    }
    if type_params.is_empty() {
        types = Definitions::r4().concrete_types().collect();
    }
    types.sort();
    types.dedup();
    let of_type = |resource_type: ResourceTypeId| {
        let rest = rest.iter().filter(|(key, value)| {
            let source = value
                .split(':')
                .next()
                .and_then(|name| Definitions::r4().resource_type(name));
            // An include starts at one type; the others of the search have nothing to do with it.
            key != "_include" || source.is_none_or(|s| s == resource_type || !types.contains(&s))
        });
        rest.cloned().collect::<Vec<_>>()
    };
    types
        .iter()
        .map(|resource_type| parse(*resource_type, &of_type(*resource_type), handling, context))
        .collect()
}

fn empty(resource_type: ResourceTypeId) -> SearchRequest {
    SearchRequest {
        resource_type,
        predicate: Predicate::Everything,
        sort: Vec::new(),
        count: None,
        total: None,
        includes: Vec::new(),
        revincludes: Vec::new(),
        summary: Summary::False,
        elements: Vec::new(),
        used: Vec::new(),
        warnings: Vec::new(),
    }
}

/// What lenient handling may leave out. A value that cannot be read is an error in both: the client meant something.
fn is_ignorable(problem: &Problem) -> bool {
    let ignorable = [
        ErrorKind::UNKNOWN_PARAMETER,
        ErrorKind::UNKNOWN_MODIFIER,
        ErrorKind::UNKNOWN_PREFIX,
        ErrorKind::UNKNOWN_SORT,
    ];
    ignorable.contains(&problem.kind())
}

enum Taken {
    Used,
    Skipped,
}

struct Query<'a> {
    context: &'a Context<'a>,
    builder: Builder<'a>,
    conditions: Vec<Predicate>,
    request: SearchRequest,
}

impl Query<'_> {
    fn ignore(&mut self, problem: Problem) {
        self.request
            .warnings
            .extend(problem.issues.into_iter().map(|issue| Issue {
                severity: Severity::Warning,
                diagnostics: format!("ignored: {}", issue.diagnostics),
                ..issue
            }));
    }

    fn take(&mut self, key: &str, value: &str) -> Result<Taken, Problem> {
        let resource_type = self.request.resource_type;
        let limits = self.context.limits;
        if matches!(key, "_format" | "_pretty") {
            return Ok(Taken::Skipped);
        }
        if value.is_empty() {
            return Err(result::bad(
                &shown(key),
                "has no value; leave it out, or use `:missing`",
            ));
        }
        match key {
            "_sort" => {
                self.once(key)?;
                self.request.sort = result::sort(resource_type, value, limits.sort_keys_max)?;
            }
            "_count" => {
                self.once(key)?;
                self.request.count = Some(result::count(value)?);
            }
            "_total" => {
                self.once(key)?;
                self.request.total = Some(result::total(value)?);
            }
            "_summary" => {
                self.once(key)?;
                self.request.summary = result::summary(value)?;
            }
            "_elements" => {
                self.once(key)?;
                self.request.elements =
                    result::elements(resource_type, value, limits.elements_max)?;
            }
            "_contained" => result::contained(value)?,
            "_containedType" => return Ok(Taken::Skipped),
            _ => match include_key(key) {
                Some((way, iterate)) => self.include(way, value, iterate)?,
                None => self
                    .conditions
                    .push(self.builder.condition(resource_type, key, value)?),
            },
        }
        Ok(Taken::Used)
    }

    /// A parameter of which only one can be obeyed.
    fn once(&self, key: &str) -> Result<(), Problem> {
        let is_repeated = self.request.used.iter().any(|(used, _)| used == key);
        if is_repeated {
            Err(result::bad(key, "is given more than once"))
        } else {
            Ok(())
        }
    }

    fn include(&mut self, way: IncludeWay, value: &str, iterate: bool) -> Result<(), Problem> {
        let limit = self.context.limits.includes_max;
        if self.request.includes.len() + self.request.revincludes.len() >= limit {
            return Err(Problem::new(
                ErrorKind::TOO_COSTLY,
                format!("a search has at most {limit} includes"),
            ));
        }
        let include = include::parse(way, self.request.resource_type, value, iterate)?;
        match way {
            IncludeWay::Forward => self.request.includes.push(include),
            IncludeWay::Reverse => self.request.revincludes.push(include),
        }
        Ok(())
    }
}

/// `:iterate`, which drafts of the specification called `:recurse`.
fn include_key(key: &str) -> Option<(IncludeWay, bool)> {
    Some(match key {
        "_include" => (IncludeWay::Forward, false),
        "_include:iterate" | "_include:recurse" => (IncludeWay::Forward, true),
        "_revinclude" => (IncludeWay::Reverse, false),
        "_revinclude:iterate" | "_revinclude:recurse" => (IncludeWay::Reverse, true),
        _ => return None,
    })
}
