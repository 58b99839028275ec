//! FHIRPath tokens as a tree, by precedence climbing.
//!
//! Spec: <http://hl7.org/fhirpath/N1/grammar.html>

use super::ast::{Expression, Literal, Operator, TypeName};
use super::lexer::{Token, TokenKind, tokens};
use super::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, ParseError, ParseErrorKind};

/// How an operator binds, from loose to tight.
const IMPLIES: u8 = 1;
const OR: u8 = 2;
const AND: u8 = 3;
const MEMBERSHIP: u8 = 4;
const EQUALITY: u8 = 5;
const INEQUALITY: u8 = 6;
const UNION: u8 = 7;
const TYPE: u8 = 8;
const ADDITIVE: u8 = 9;
const MULTIPLICATIVE: u8 = 10;

const OPERATORS: &[(Operator, u8)] = &[
    (Operator::Implies, IMPLIES),
    (Operator::Or, OR),
    (Operator::Xor, OR),
    (Operator::And, AND),
    (Operator::In, MEMBERSHIP),
    (Operator::Contains, MEMBERSHIP),
    (Operator::Equal, EQUALITY),
    (Operator::Equivalent, EQUALITY),
    (Operator::NotEqual, EQUALITY),
    (Operator::NotEquivalent, EQUALITY),
    (Operator::LessOrEqual, INEQUALITY),
    (Operator::Less, INEQUALITY),
    (Operator::Greater, INEQUALITY),
    (Operator::GreaterOrEqual, INEQUALITY),
    (Operator::Union, UNION),
    (Operator::Add, ADDITIVE),
    (Operator::Subtract, ADDITIVE),
    (Operator::Concatenate, ADDITIVE),
    (Operator::Multiply, MULTIPLICATIVE),
    (Operator::Divide, MULTIPLICATIVE),
    (Operator::Div, MULTIPLICATIVE),
    (Operator::Mod, MULTIPLICATIVE),
];

/// Words behind a number that make it a quantity of time.
const TIME_UNITS: &[&str] = &[
    "year",
    "years",
    "month",
    "months",
    "week",
    "weeks",
    "day",
    "days",
    "hour",
    "hours",
    "minute",
    "minutes",
    "second",
    "seconds",
    "millisecond",
    "milliseconds",
];

/// Keywords that may also be names (`identifier` in the grammar).
const NAMES_TOO: &[&str] = &["as", "contains", "in", "is"];

/// Parses one expression.
///
/// # Errors
/// [`ParseError`] with the byte offset.
pub fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(ParseError {
            kind: ParseErrorKind::TooLong,
            at: EXPRESSION_BYTES_MAX,
        });
    }
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let expression = parser.expression(IMPLIES)?;
    match parser.peek() {
        TokenKind::End if is_within(&expression, EXPRESSION_DEPTH_MAX) => Ok(expression),
        TokenKind::End => parser.fail(ParseErrorKind::TooDeep),
        _ => parser.fail(ParseErrorKind::UnexpectedToken),
    }
}

/// Whether the tree has at most `levels` levels. Chains such as `a or b or c` nest without parentheses.
fn is_within(expression: &Expression, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else {
        return false;
    };
    match expression {
        Expression::Function { on, arguments, .. } => {
            on.as_deref().is_none_or(|on| is_within(on, levels))
                && arguments.iter().all(|a| is_within(a, levels))
        }
        Expression::Indexer(a, b) | Expression::Binary(_, a, b) => {
            is_within(a, levels) && is_within(b, levels)
        }
        Expression::Member(on, _)
        | Expression::Negate(on)
        | Expression::Is(on, _)
        | Expression::As(on, _) => is_within(on, levels),
        _ => true,
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &TokenKind {
        self.tokens
            .get(self.next)
            .map_or(&TokenKind::End, |t| &t.kind)
    }

    fn fail<T>(&self, kind: ParseErrorKind) -> Result<T, ParseError> {
        let at = self
            .tokens
            .get(self.next)
            .or(self.tokens.last())
            .map_or(0, |t| t.at);
        Err(ParseError { kind, at })
    }

    fn has_symbol(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), TokenKind::Symbol(s) if *s == symbol);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.has_symbol(symbol) {
            Ok(())
        } else {
            self.fail(ParseErrorKind::UnexpectedToken)
        }
    }

    /// An expression of operators that bind at least as tight as `tightness`.
    fn expression(&mut self, tightness: u8) -> Result<Expression, ParseError> {
        if self.depth >= EXPRESSION_DEPTH_MAX {
            return self.fail(ParseErrorKind::TooDeep);
        }
        self.depth += 1;
        let mut left = self.polarity()?;
        loop {
            let is_as = match self.peek() {
                TokenKind::Word(word) if tightness <= TYPE => match word.as_ref() {
                    "as" => Some(true),
                    "is" => Some(false),
                    _ => None,
                },
                _ => None,
            };
            if let Some(is_as) = is_as {
                self.next += 1;
                let type_name = self.type_name()?;
                let left_box = Box::new(left);
                left = if is_as {
                    Expression::As(left_box, type_name)
                } else {
                    Expression::Is(left_box, type_name)
                };
                continue;
            }
            let Some((operator, binding)) = self.operator().filter(|(_, b)| *b >= tightness) else {
                break;
            };
            self.next += 1;
            let right = self.expression(binding + 1)?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        let text = match self.peek() {
            TokenKind::Symbol(symbol) => symbol,
            TokenKind::Word(word) => word.as_ref(),
            _ => return None,
        };
        OPERATORS
            .iter()
            .find(|(operator, _)| operator.text() == text)
            .copied()
    }

    fn polarity(&mut self) -> Result<Expression, ParseError> {
        let mut is_negative = false;
        loop {
            if self.has_symbol("-") {
                is_negative = !is_negative;
            } else if !self.has_symbol("+") {
                break;
            }
        }
        let operand = self.invocations()?;
        Ok(if is_negative {
            Expression::Negate(Box::new(operand))
        } else {
            operand
        })
    }

    /// A term and what is invoked on it: `.name`, `.name(…)`, `[…]`.
    fn invocations(&mut self) -> Result<Expression, ParseError> {
        let mut on = self.term()?;
        for _ in 0..EXPRESSION_DEPTH_MAX {
            if self.has_symbol(".") {
                on = self.invocation(Some(Box::new(on)))?;
            } else if self.has_symbol("[") {
                let index = self.expression(IMPLIES)?;
                self.expect("]")?;
                on = Expression::Indexer(Box::new(on), Box::new(index));
            } else {
                return Ok(on);
            }
        }
        self.fail(ParseErrorKind::TooDeep)
    }

    fn invocation(&mut self, on: Option<Box<Expression>>) -> Result<Expression, ParseError> {
        let token = self.peek().clone();
        if let TokenKind::Special(name) = token {
            self.next += 1;
            return match name.as_ref() {
                "this" => Ok(Expression::This),
                "index" => Ok(Expression::Index),
                "total" => Ok(Expression::Total),
                _ => self.fail(ParseErrorKind::UnexpectedToken),
            };
        }
        let name = self.identifier()?;
        if self.has_symbol("(") {
            let arguments = self.arguments()?;
            return Ok(Expression::Function {
                on,
                name,
                arguments,
            });
        }
        Ok(match on {
            Some(on) => Expression::Member(on, name),
            None => Expression::Name(name),
        })
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, ParseError> {
        let mut arguments = Vec::new();
        if self.has_symbol(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(IMPLIES)?);
            if self.has_symbol(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    fn identifier(&mut self) -> Result<Box<str>, ParseError> {
        let name = match self.peek() {
            TokenKind::Delimited(name) => name.clone(),
            TokenKind::Word(word) => {
                let is_operator = OPERATORS
                    .iter()
                    .any(|(operator, _)| operator.text() == word.as_ref());
                let is_reserved = is_operator || matches!(word.as_ref(), "true" | "false");
                if is_reserved && !NAMES_TOO.contains(&word.as_ref()) {
                    return self.fail(ParseErrorKind::UnexpectedToken);
                }
                word.clone()
            }
            _ => return self.fail(ParseErrorKind::UnexpectedToken),
        };
        self.next += 1;
        Ok(name)
    }

    fn type_name(&mut self) -> Result<TypeName, ParseError> {
        let first = self.identifier()?;
        if self.has_symbol(".") {
            return Ok(TypeName {
                namespace: Some(first),
                name: self.identifier()?,
            });
        }
        Ok(TypeName {
            namespace: None,
            name: first,
        })
    }

    fn term(&mut self) -> Result<Expression, ParseError> {
        let literal = match self.peek().clone() {
            TokenKind::Symbol("(") => {
                self.next += 1;
                let inner = self.expression(IMPLIES)?;
                self.expect(")")?;
                return Ok(inner);
            }
            TokenKind::Symbol("{") => {
                self.next += 1;
                self.expect("}")?;
                return Ok(Expression::Literal(Literal::Empty));
            }
            TokenKind::Symbol("%") => {
                self.next += 1;
                return self.external();
            }
            TokenKind::Word(word) if word.as_ref() == "true" => Literal::Boolean(true),
            TokenKind::Word(word) if word.as_ref() == "false" => Literal::Boolean(false),
            TokenKind::String(text) => Literal::String(text),
            TokenKind::Date(text) => Literal::Date(text),
            TokenKind::DateTime(text) => Literal::DateTime(text),
            TokenKind::Time(text) => Literal::Time(text),
            TokenKind::Number(digits) => {
                self.next += 1;
                return Ok(Expression::Literal(self.number_or_quantity(digits)));
            }
            _ => return self.invocation(None),
        };
        self.next += 1;
        Ok(Expression::Literal(literal))
    }

    fn external(&mut self) -> Result<Expression, ParseError> {
        if let TokenKind::String(name) = self.peek().clone() {
            self.next += 1;
            return Ok(Expression::External(name));
        }
        self.identifier().map(Expression::External)
    }

    fn number_or_quantity(&mut self, digits: Box<str>) -> Literal {
        let unit = match self.peek() {
            TokenKind::String(unit) => unit.clone(),
            TokenKind::Word(word) if TIME_UNITS.contains(&word.as_ref()) => word.clone(),
            _ => return Literal::Number(digits),
        };
        self.next += 1;
        Literal::Quantity(digits, unit)
    }
}
