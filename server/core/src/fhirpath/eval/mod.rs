//! The evaluator: expressions over a resource, for what is no path program.
//!
//! Spec: <http://hl7.org/fhirpath/N1/>, <https://hl7.org/fhir/R4/fhirpath.html>
//!
//! Left out, and refused by name with [`EvalError::Unsupported`]: `elementDefinition`, `slice`, `checkModifiers`, and what
//! needs an [`Environment`] that the caller did not give (`now`, `memberOf`, `subsumes`, `conformsTo` of a profile).

use std::cell::Cell;
use std::fmt;

use conformance::Definitions;

use crate::json::ValueRef;

use super::ast::{Expression, Literal, Operator, TypeName};
use super::compile::{choice_member, is_type_or_base};

mod convert;
mod environment;
mod functions;
mod item;
mod math;
pub(crate) mod moment;
mod operators;
mod strings;
mod units;

pub use environment::{Environment, Knowledge};
pub use item::{Element, Item};

/// Most evaluation steps of one expression on one resource; a bound keeps `repeat` and `descendants` finite.
pub const EVAL_STEPS_MAX: usize = 1_000_000;

/// Why an expression has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// A function or operator that is left out, by name.
    Unsupported(Box<str>),
    /// Several items where one is needed.
    NotSingleton,
    /// A type specifier that names no type.
    UnknownType(Box<str>),
    /// An operand or argument of a type that the operation does not take.
    WrongType,
    /// More than [`EVAL_STEPS_MAX`] steps.
    TooMuchWork,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(name) => write!(f, "`{name}` is not supported"),
            Self::UnknownType(name) => write!(f, "there is no type `{name}`"),
            Self::NotSingleton => f.write_str("several values where one is needed"),
            Self::WrongType => f.write_str("a value of a type that does not fit here"),
            Self::TooMuchWork => {
                f.write_str("the expression takes too many steps on this resource")
            }
        }
    }
}

impl std::error::Error for EvalError {}

/// A collection, in order.
pub type Collection<'a> = Vec<Item<'a>>;

type Result<T> = std::result::Result<T, EvalError>;

/// Evaluates an expression on `focus`, a part of the resource `root`.
///
/// # Errors
/// [`EvalError`]
pub fn evaluate<'a>(
    expression: &Expression,
    focus: Element<'a>,
    root: Element<'a>,
) -> Result<Collection<'a>> {
    evaluate_in(expression, focus, root, Environment::default())
}

/// The same with what the environment knows: the time, terminology, profiles.
///
/// # Errors
/// [`EvalError`]
pub fn evaluate_in<'a>(
    expression: &Expression,
    focus: Element<'a>,
    root: Element<'a>,
    environment: Environment<'a>,
) -> Result<Collection<'a>> {
    let evaluator = Evaluator {
        root,
        context: focus,
        environment,
        steps: Cell::new(0),
    };
    evaluator.run(
        expression,
        &Scope {
            focus: vec![Item::Element(focus)],
            this: None,
            index: None,
            total: None,
        },
    )
}

/// What an expression says as a truth value: `None` for nothing.
///
/// # Errors
/// [`EvalError`]
pub fn verdict<'a>(
    expression: &Expression,
    focus: Element<'a>,
    root: Element<'a>,
    environment: Environment<'a>,
) -> Result<Option<bool>> {
    truth(&evaluate_in(expression, focus, root, environment)?)
}

/// Whether a criteria expression holds: exactly `true`, or one item that is no boolean.
pub fn holds<'a>(expression: &Expression, focus: Element<'a>, root: Element<'a>) -> bool {
    evaluate(expression, focus, root)
        .and_then(|found| truth(&found))
        .is_ok_and(|t| t == Some(true))
}

impl<'a> Element<'a> {
    /// The top of a resource, typed by its `resourceType`.
    pub fn resource(value: ValueRef<'a>) -> Self {
        let name = value.get("resourceType").and_then(ValueRef::as_str);
        let resource_type = name.and_then(|n| Definitions::r4().resource_type(&n));
        Self {
            value,
            sibling: None,
            type_path: resource_type.map_or("", |t| t.name()),
        }
    }

    /// The values of a child by its name, `value` for `value[x]`; each with its place in the JSON array, if it is one.
    pub fn members(&self, name: &str) -> Vec<(Element<'a>, Option<usize>)> {
        let mut found = Vec::new();
        members_of(self, name, &mut found);
        let known = Definitions::r4().element(self.type_path, name);
        let repeats = known.is_some_and(|known| known.element.max != conformance::Max::One);
        let elements = found.into_iter().filter_map(|item| match item {
            Item::Element(element) => Some(element),
            _ => None,
        });
        elements
            .enumerate()
            .map(|(index, element)| (element, repeats.then_some(index)))
            .collect()
    }
}

struct Evaluator<'a> {
    root: Element<'a>,
    context: Element<'a>,
    environment: Environment<'a>,
    steps: Cell<usize>,
}

/// What names refer to.
#[derive(Clone)]
struct Scope<'a> {
    focus: Collection<'a>,
    this: Option<Item<'a>>,
    index: Option<usize>,
    total: Option<Collection<'a>>,
}

impl<'a> Scope<'a> {
    fn of_item(item: &Item<'a>, index: usize) -> Self {
        Self {
            focus: vec![item.clone()],
            this: Some(item.clone()),
            index: Some(index),
            total: None,
        }
    }

    /// The same `$this` with another collection to ask.
    fn with_focus(&self, focus: Collection<'a>) -> Self {
        Self {
            focus,
            this: self.this.clone(),
            index: self.index,
            total: self.total.clone(),
        }
    }
}

impl<'a> Evaluator<'a> {
    fn count(&self, work: usize) -> Result<()> {
        self.steps.set(self.steps.get().saturating_add(work + 1));
        if self.steps.get() > EVAL_STEPS_MAX {
            Err(EvalError::TooMuchWork)
        } else {
            Ok(())
        }
    }

    fn run(&self, expression: &Expression, scope: &Scope<'a>) -> Result<Collection<'a>> {
        self.count(scope.focus.len())?;
        match expression {
            Expression::Literal(Literal::Empty) => Ok(Vec::new()),
            Expression::Literal(literal) => match Item::of_literal(literal) {
                Some(item) => Ok(vec![item]),
                None => Err(EvalError::Unsupported(literal.to_string().into())),
            },
            Expression::This => Ok(match &scope.this {
                Some(this) => vec![this.clone()],
                None => scope.focus.clone(),
            }),
            Expression::Index => Ok(scope.index.map(index_item).into_iter().collect()),
            Expression::Total => Ok(scope.total.clone().unwrap_or_default()),
            Expression::External(name) => self.external(name),
            Expression::Name(name) => self.name(name, scope),
            Expression::Member(on, name) => self.members(&self.run(on, scope)?, name),
            Expression::Indexer(on, index) => {
                let on = self.run(on, scope)?;
                let index = self.whole_number(index, scope)?;
                Ok(index.and_then(|i| on.get(i)).cloned().into_iter().collect())
            }
            Expression::Negate(operand) => operators::negate(&self.run(operand, scope)?),
            Expression::Is(operand, type_name) => {
                let operand = self.run(operand, scope)?;
                check_type(type_name)?;
                Ok(single(&operand)?
                    .map(|item| Item::Boolean(item.is_of(type_name)))
                    .into_iter()
                    .collect())
            }
            Expression::As(operand, type_name) => {
                check_type(type_name)?;
                let mut operand = self.run(operand, scope)?;
                operand.retain(|item| item.is_selected_by(type_name));
                Ok(operand)
            }
            Expression::Binary(operator, left, right) => self.binary(*operator, left, right, scope),
            Expression::Function {
                on,
                name,
                arguments,
            } => {
                let on = match on {
                    Some(on) => self.run(on, scope)?,
                    None => scope.focus.clone(),
                };
                self.function(on, name, arguments, scope)
            }
        }
    }

    fn external(&self, name: &str) -> Result<Collection<'a>> {
        let constant = match name {
            "resource" => return Ok(vec![Item::Element(self.root)]),
            "context" => return Ok(vec![Item::Element(self.context)]),
            "rootResource" => {
                let root = self.environment.root_resource.unwrap_or(self.root);
                return Ok(vec![Item::Element(root)]);
            }
            "sct" => "http://snomed.info/sct",
            "loinc" => "http://loinc.org",
            "ucum" => "http://unitsofmeasure.org",
            _ => match name
                .strip_prefix("vs-")
                .map(|n| format!("http://hl7.org/fhir/ValueSet/{n}"))
                .or_else(|| {
                    name.strip_prefix("ext-")
                        .map(|n| format!("http://hl7.org/fhir/StructureDefinition/{n}"))
                }) {
                Some(url) => return Ok(vec![Item::String(url.into())]),
                None => return Err(EvalError::Unsupported(format!("%{name}").into())),
            },
        };
        Ok(vec![Item::String(constant.into())])
    }

    /// A name at the start: the type of the focus, or a member of it.
    fn name(&self, name: &str, scope: &Scope<'a>) -> Result<Collection<'a>> {
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            let is_it = |item: &&Item<'a>| matches!(item, Item::Element(e) if is_type_or_base(e.type_path, name));
            let found: Collection<'a> = scope.focus.iter().filter(is_it).cloned().collect();
            return Ok(found);
        }
        self.members(&scope.focus, name)
    }

    fn members(&self, on: &[Item<'a>], name: &str) -> Result<Collection<'a>> {
        let mut found = Vec::new();
        for item in on {
            match item {
                Item::Element(element) => members_of(element, name, &mut found),
                Item::Type { namespace, .. } if name == "namespace" => {
                    found.push(Item::String((*namespace).into()));
                }
                Item::Type { name: text, .. } if name == "name" => {
                    found.push(Item::String((*text).into()));
                }
                _ => {}
            }
        }
        self.count(found.len())?;
        Ok(found)
    }

    /// The one whole number an argument stands for.
    fn whole_number(&self, argument: &Expression, scope: &Scope<'a>) -> Result<Option<usize>> {
        let found = self.run(argument, scope)?;
        let number = single(&found)?.and_then(Item::as_number);
        Ok(number
            .and_then(|n| n.to_scaled_i64(0))
            .and_then(|n| usize::try_from(n).ok()))
    }

    fn binary(
        &self,
        operator: Operator,
        left: &Expression,
        right: &Expression,
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        let left = self.run(left, scope)?;
        // What the left side decides alone needs no right side, which may then be of any type.
        let decided = match operator {
            Operator::And => truth(&left)? == Some(false),
            Operator::Implies => truth(&left)? == Some(false),
            Operator::Or => truth(&left)? == Some(true),
            _ => false,
        };
        if decided {
            return Ok(vec![Item::Boolean(operator != Operator::And)]);
        }
        let right = self.run(right, scope)?;
        self.count(left.len().saturating_mul(right.len()))?;
        operators::apply(operator, left, right)
    }
}

/// A type specifier must name a type that exists.
fn check_type(type_name: &TypeName) -> Result<()> {
    const SYSTEM: &[&str] = &[
        "Any", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity",
    ];
    let name = type_name.name.as_ref();
    let is_system = SYSTEM.contains(&name);
    let is_fhir = Definitions::r4().type_kind(name).is_some() || name == "Element";
    let is_known = match type_name.namespace.as_deref() {
        Some("System") => true,
        Some("FHIR") => is_fhir,
        Some(_) => false,
        None => is_system || is_fhir,
    };
    if is_known {
        Ok(())
    } else {
        Err(EvalError::UnknownType(name.into()))
    }
}

fn index_item<'a>(index: usize) -> Item<'a> {
    Item::integer(i64::try_from(index).unwrap_or(i64::MAX))
}

/// The only item, or none.
fn single<'c, 'a>(items: &'c [Item<'a>]) -> Result<Option<&'c Item<'a>>> {
    match items {
        [] => Ok(None),
        [item] => Ok(Some(item)),
        _ => Err(EvalError::NotSingleton),
    }
}

/// A collection as a truth value: a single item that is no boolean counts as true.
/// Spec: <http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections>
fn truth(items: &[Item<'_>]) -> Result<Option<bool>> {
    Ok(single(items)?.map(|item| item.as_bool().unwrap_or(true)))
}

/// Appends the children of an element with this name, choices included. A primitive's stand in its sibling.
fn members_of<'a>(element: &Element<'a>, name: &str, found: &mut Collection<'a>) {
    let Some(parent) = (if element.value.is_object() {
        Some(element.value)
    } else {
        element.sibling
    }) else {
        return;
    };
    let definitions = Definitions::r4();
    if let Some(known) = definitions.element(element.type_path, name) {
        if !known.element.is_choice() {
            push_values(parent, name, known.type_path(), found);
        }
    } else if let Some(choice) = definitions.choice(element.type_path, name) {
        for kind in &choice.types {
            let member = choice_member(name, kind.code);
            push_values(parent, &member, choice.children_path(kind.code), found);
        }
    }
}

fn push_values<'a>(
    parent: ValueRef<'a>,
    member: &str,
    type_path: &'static str,
    found: &mut Collection<'a>,
) {
    let Some(value) = parent.get(member) else {
        return;
    };
    let is_primitive = type_path.starts_with(|c: char| c.is_ascii_lowercase());
    let sibling = if is_primitive {
        parent.get(&format!("_{member}"))
    } else {
        None
    };
    let mut siblings = sibling.into_iter().flat_map(ValueRef::each);
    for value in value.each() {
        let sibling = siblings.next();
        found.push(Item::Element(match type_path {
            "Resource" | "DomainResource" => Element::resource(value),
            _ => Element {
                value,
                sibling,
                type_path,
            },
        }));
    }
}
