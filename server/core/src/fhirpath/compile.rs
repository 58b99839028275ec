//! Search expressions as path programs: steps that a walk over the JSON can take without an evaluator.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html> ("expression"), <http://hl7.org/fhirpath/N1/#path-selection>
//!
//! Choices are resolved here: `value as Quantity` becomes the member `valueQuantity`. What is no path (a comparison,
//! `exists()`) is left to the evaluator.

use std::fmt;

use conformance::{Definitions, Max, ResourceTypeId};

use super::ast::{Expression, Literal, Operator, TypeName};
use super::{ParseError, parse};

/// A compiled expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The values at the ends of these paths.
    Paths(Vec<Path>),
    /// Whatever the evaluator makes of it.
    Evaluate(Expression),
}

/// A way from a start to values of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it starts.
    pub origin: Origin,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Type of the values: a datatype's name, or the path of a backbone element.
    pub type_path: &'static str,
    /// Whether an element on the way repeats.
    is_repeating: bool,
}

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// At the value the expression is asked of.
    Focus,
    /// At the resource: `%resource`.
    Resource,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a JSON member, and into each item where it is an array.
    Member(Box<str>),
    /// Stays, for values that pass.
    Filter(Filter),
    /// Stays, for the item with this index within its array.
    Index(usize),
}

/// A condition on a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `where(member = 'text')`
    MemberIs {
        /// JSON name of a primitive member.
        member: Box<str>,
        /// What it must hold.
        text: Box<str>,
    },
    /// `where(resolve() is Type)`
    RefersTo(ResourceTypeId),
    /// `where(criteria)` of any other form, for the evaluator.
    Criteria {
        /// The condition.
        criteria: Expression,
        /// The type of the value it is asked of.
        type_path: &'static str,
    },
}

/// Why an expression gives no program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// It is no FHIRPath.
    Parse(ParseError),
    /// The definitions have no such element.
    UnknownElement {
        /// The type asked.
        type_path: &'static str,
        /// The name asked for.
        name: Box<str>,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => error.fmt(f),
            Self::UnknownElement { type_path, name } => {
                write!(f, "`{type_path}` has no element `{name}`")
            }
        }
    }
}

impl std::error::Error for CompileError {}

/// Compiles an expression asked of a value of type `focus_type` inside a resource of type `resource_type`.
///
/// # Errors
/// [`CompileError`]
pub fn compile(
    text: &str,
    focus_type: &'static str,
    resource_type: ResourceTypeId,
) -> Result<Program, CompileError> {
    let expression = parse(text).map_err(CompileError::Parse)?;
    let start = |origin, type_path| Path {
        origin,
        steps: Vec::new(),
        type_path,
        is_repeating: false,
    };
    let compiler = Compiler {
        focus: start(Origin::Focus, focus_type),
        resource: start(Origin::Resource, resource_type.name()),
    };
    Ok(match compiler.paths(&expression)? {
        Some(paths) => Program::Paths(paths),
        None => Program::Evaluate(expression),
    })
}

struct Compiler {
    focus: Path,
    resource: Path,
}

/// Paths, or `None` for an expression that is none.
type Paths = Result<Option<Vec<Path>>, CompileError>;

impl Compiler {
    fn paths(&self, expression: &Expression) -> Paths {
        match expression {
            Expression::This => Ok(Some(vec![self.focus.clone()])),
            Expression::External(name) if name.as_ref() == "resource" => {
                Ok(Some(vec![self.resource.clone()]))
            }
            Expression::Name(name) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                // A type at the start restricts: of another type nothing is selected.
                let is_own = is_type_or_base(self.focus.type_path, name);
                Ok(Some(if is_own {
                    vec![self.focus.clone()]
                } else {
                    Vec::new()
                }))
            }
            Expression::Name(name) => step(vec![self.focus.clone()], name),
            Expression::Member(on, name) => match self.paths(on)? {
                Some(paths) => step(paths, name),
                None => Ok(None),
            },
            Expression::As(on, type_name) => self.restricted(Some(on), type_name),
            Expression::Binary(Operator::Union, left, right) => {
                let (Some(mut paths), Some(others)) = (self.paths(left)?, self.paths(right)?)
                else {
                    return Ok(None);
                };
                paths.extend(others);
                Ok(Some(paths))
            }
            Expression::Indexer(on, index) => {
                let Expression::Literal(Literal::Number(digits)) = index.as_ref() else {
                    return Ok(None);
                };
                self.indexed(on, digits.parse().ok())
            }
            Expression::Function {
                on,
                name,
                arguments,
            } => self.function(on.as_deref(), name, arguments),
            _ => Ok(None),
        }
    }

    fn paths_of(&self, on: Option<&Expression>) -> Paths {
        on.map_or_else(|| Ok(Some(vec![self.focus.clone()])), |on| self.paths(on))
    }

    fn function(&self, on: Option<&Expression>, name: &str, arguments: &[Expression]) -> Paths {
        match (name, arguments) {
            ("as" | "ofType", [type_name]) => match type_name.as_type_name() {
                Some(type_name) => self.restricted(on, &type_name),
                None => Ok(None),
            },
            ("where", [criteria]) => {
                let paths = self.paths_of(on)?;
                Ok(paths.map(|paths| paths.into_iter().map(|p| p.filtered(criteria)).collect()))
            }
            ("extension", [Expression::Literal(Literal::String(url))]) => {
                let Some(paths) = self
                    .paths_of(on)?
                    .and_then(|paths| step(paths, "extension").ok().flatten())
                else {
                    return Ok(None);
                };
                let filter = Filter::MemberIs {
                    member: "url".into(),
                    text: url.clone(),
                };
                Ok(Some(
                    paths
                        .into_iter()
                        .map(|p| p.with(Step::Filter(filter.clone())))
                        .collect(),
                ))
            }
            _ => Ok(None),
        }
    }

    fn restricted(&self, on: Option<&Expression>, type_name: &TypeName) -> Paths {
        let Some(mut paths) = self.paths_of(on)? else {
            return Ok(None);
        };
        // What kind of resource stands there shows only in the data.
        if paths
            .iter()
            .any(|p| matches!(p.type_path, "Resource" | "DomainResource"))
        {
            return Ok(None);
        }
        paths.retain(|path| is_type(path.type_path, &type_name.name));
        Ok(Some(paths))
    }

    /// An index counts over the whole collection, so it is a step only where at most the last element repeats.
    fn indexed(&self, on: &Expression, index: Option<usize>) -> Paths {
        let Expression::Member(parent, name) = on else {
            return Ok(None);
        };
        let (Some(index), Some(parents)) = (index, self.paths(parent)?) else {
            return Ok(None);
        };
        if parents.len() != 1 || parents.iter().any(|p| p.is_repeating) {
            return Ok(None);
        }
        let Some(paths) = step(parents, name)? else {
            return Ok(None);
        };
        Ok(Some(
            paths
                .into_iter()
                .map(|p| p.with(Step::Index(index)))
                .collect(),
        ))
    }
}

impl Path {
    fn with(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn filtered(self, criteria: &Expression) -> Self {
        let filter = known_filter(criteria, self.type_path).unwrap_or_else(|| Filter::Criteria {
            criteria: criteria.clone(),
            type_path: self.type_path,
        });
        self.with(Step::Filter(filter))
    }
}

/// The two forms of criteria that nearly all search expressions have.
fn known_filter(criteria: &Expression, type_path: &'static str) -> Option<Filter> {
    match criteria {
        Expression::Binary(Operator::Equal, left, right) => {
            let (Expression::Name(member), Expression::Literal(Literal::String(text))) =
                (left.as_ref(), right.as_ref())
            else {
                return None;
            };
            let element = Definitions::r4().element(type_path, member)?.element;
            (element.max == Max::One).then(|| Filter::MemberIs {
                member: member.clone(),
                text: text.clone(),
            })
        }
        Expression::Is(on, type_name) if type_path == "Reference" => {
            let is_resolve = matches!(on.as_ref(), Expression::Function { on: None, name, arguments }
                if name.as_ref() == "resolve" && arguments.is_empty());
            let target = Definitions::r4().resource_type(&type_name.name)?;
            is_resolve.then_some(Filter::RefersTo(target))
        }
        _ => None,
    }
}

/// Every path one element further; a choice forks into its types.
fn step(paths: Vec<Path>, name: &str) -> Paths {
    let definitions = Definitions::r4();
    let mut next = Vec::with_capacity(paths.len());
    for path in paths {
        if let Some(found) = definitions.element(path.type_path, name) {
            let is_repeating = path.is_repeating || found.element.max == Max::Many;
            next.push(Path {
                type_path: found.type_path(),
                is_repeating,
                ..path.with(Step::Member(name.into()))
            });
        } else if let Some(choice) = definitions.choice(path.type_path, name) {
            for kind in &choice.types {
                let member = choice_member(name, kind.code);
                next.push(Path {
                    type_path: choice.children_path(kind.code),
                    ..path.clone().with(Step::Member(member))
                });
            }
        } else if matches!(path.type_path, "Resource" | "DomainResource") {
            return Ok(None);
        } else {
            return Err(CompileError::UnknownElement {
                type_path: path.type_path,
                name: name.into(),
            });
        }
    }
    Ok(Some(next))
}

/// `valueQuantity` for the choice `value` and the type `Quantity`.
pub fn choice_member(name: &str, type_code: &str) -> Box<str> {
    let mut member = String::with_capacity(name.len() + type_code.len());
    member.push_str(name);
    let mut letters = type_code.chars();
    member.extend(letters.next().map(|c| c.to_ascii_uppercase()));
    member.push_str(letters.as_str());
    member.into()
}

/// Whether `as` and `ofType` select values of `type_path`: those of just this type, and the specialisations of
/// Quantity. A canonical is a uri for `is`, but `as uri` does not select it (see the official tests of `ofType`).
///
/// Deviation: R4 writes `value.as(DateTime)` for `dateTime`, so the case of the first letter is not looked at.
fn is_type(type_path: &str, name: &str) -> bool {
    let has_same_name = type_path.len() == name.len()
        && type_path
            .chars()
            .zip(name.chars())
            .enumerate()
            .all(|(i, (a, b))| a == b || (i == 0 && a.eq_ignore_ascii_case(&b)));
    has_same_name || (name == "Quantity" && is_specialisation(type_path, name))
}

/// Whether a datatype specialises another: "a canonical is a uri".
/// Spec: <https://hl7.org/fhir/R4/datatypes.html>
pub(crate) fn is_specialisation(type_name: &str, base: &str) -> bool {
    let types: &[&str] = match base {
        "string" => &["code", "id", "markdown"],
        "uri" => &["url", "canonical", "oid", "uuid"],
        "integer" => &["unsignedInt", "positiveInt"],
        "Quantity" => &[
            "Age",
            "Count",
            "Distance",
            "Duration",
            "MoneyQuantity",
            "SimpleQuantity",
        ],
        _ => &[],
    };
    types.contains(&type_name)
}

/// Whether `name` is a type or one of its bases that an expression may start with.
pub(crate) fn is_type_or_base(type_path: &str, name: &str) -> bool {
    if type_path == name || name == "Resource" {
        return true;
    }
    let definitions = Definitions::r4();
    name == "DomainResource"
        && definitions
            .resource_type(type_path)
            .is_some_and(|t| definitions.type_def(t).base == "DomainResource")
}
