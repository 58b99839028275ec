//! The tree of a FHIRPath expression.
//!
//! Spec: <http://hl7.org/fhirpath/N1/grammar.html>

use std::fmt;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A literal value; `{}` is [`Literal::Empty`].
    Literal(Literal),
    /// `$this`
    This,
    /// `$index`
    Index,
    /// `$total`
    Total,
    /// `%resource`, `%context`, `` %`vs-name` ``
    External(Box<str>),
    /// A name that starts an expression: a member of the focus, or the type of the root.
    Name(Box<str>),
    /// `on.name`
    Member(Box<Expression>, Box<str>),
    /// `on.name(arguments)`; without `on` the focus is meant.
    Function {
        /// What it is invoked on.
        on: Option<Box<Expression>>,
        /// Its name.
        name: Box<str>,
        /// What stands between the parentheses; a type specifier is an expression of names.
        arguments: Vec<Expression>,
    },
    /// `on[index]`
    Indexer(Box<Expression>, Box<Expression>),
    /// `-operand`; a plus sign leaves no trace.
    Negate(Box<Expression>),
    /// `left operator right`
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// `operand is type`
    Is(Box<Expression>, TypeName),
    /// `operand as type`
    As(Box<Expression>, TypeName),
}

/// A literal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Literal {
    /// `{}`
    Empty,
    /// `true`, `false`
    Boolean(bool),
    /// `'text'`, unescaped.
    String(Box<str>),
    /// `5`, `5.0`: digits as written.
    Number(Box<str>),
    /// `@2014-01-25`, without `@`.
    Date(Box<str>),
    /// `@2014-01-25T14:30`, without `@`.
    DateTime(Box<str>),
    /// `@T14:30`, without `@T`.
    Time(Box<str>),
    /// `4 days`, `4.5 'mg'`: digits and unit.
    Quantity(Box<str>, Box<str>),
}

/// A type specifier: `Patient`, `FHIR.Patient`, `System.String`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeName {
    /// `FHIR` or `System`, where given.
    pub namespace: Option<Box<str>>,
    /// The name.
    pub name: Box<str>,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `div`
    Div,
    /// `mod`
    Mod,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `&`
    Concatenate,
    /// `|`
    Union,
    /// `<=`
    LessOrEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `=`
    Equal,
    /// `~`
    Equivalent,
    /// `!=`
    NotEqual,
    /// `!~`
    NotEquivalent,
    /// `in`
    In,
    /// `contains`
    Contains,
    /// `and`
    And,
    /// `or`
    Or,
    /// `xor`
    Xor,
    /// `implies`
    Implies,
}

impl Operator {
    /// As written in an expression.
    pub fn text(self) -> &'static str {
        match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Div => "div",
            Self::Mod => "mod",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Concatenate => "&",
            Self::Union => "|",
            Self::LessOrEqual => "<=",
            Self::Less => "<",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "=",
            Self::Equivalent => "~",
            Self::NotEqual => "!=",
            Self::NotEquivalent => "!~",
            Self::In => "in",
            Self::Contains => "contains",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Implies => "implies",
        }
    }
}

impl Expression {
    /// The type that a name, or two joined by a point, specify as the argument of `ofType`, `as` and `is`.
    pub fn as_type_name(&self) -> Option<TypeName> {
        match self {
            Self::Name(name) => Some(TypeName {
                namespace: None,
                name: name.clone(),
            }),
            Self::Member(on, name) => match on.as_ref() {
                Self::Name(namespace) => Some(TypeName {
                    namespace: Some(namespace.clone()),
                    name: name.clone(),
                }),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Every operator with its parentheses, so that precedence is visible.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::This => f.write_str("$this"),
            Self::Index => f.write_str("$index"),
            Self::Total => f.write_str("$total"),
            Self::External(name) => write!(f, "%{name}"),
            Self::Name(name) => f.write_str(name),
            Self::Member(on, name) => write!(f, "{on}.{name}"),
            Self::Function {
                on,
                name,
                arguments,
            } => {
                if let Some(on) = on {
                    write!(f, "{on}.")?;
                }
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                write!(f, "{name}({})", arguments.join(", "))
            }
            Self::Indexer(on, index) => write!(f, "{on}[{index}]"),
            Self::Negate(operand) => write!(f, "(-{operand})"),
            Self::Binary(operator, left, right) => {
                write!(f, "({left} {} {right})", operator.text())
            }
            Self::Is(operand, type_name) => write!(f, "({operand} is {type_name})"),
            Self::As(operand, type_name) => write!(f, "({operand} as {type_name})"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("{}"),
            Self::Boolean(value) => value.fmt(f),
            Self::String(text) => write!(f, "'{text}'"),
            Self::Number(digits) => f.write_str(digits),
            Self::Date(text) | Self::DateTime(text) => write!(f, "@{text}"),
            Self::Time(text) => write!(f, "@T{text}"),
            Self::Quantity(digits, unit) => write!(f, "{digits} '{unit}'"),
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
