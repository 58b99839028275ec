//! From the text of a filter to its tree.
//!
//! Spec: <https://hl7.org/fhir/R4/search_filter.html#grammar>

use super::{Filter, Operator, Step};
use crate::issue::{ErrorKind, Problem};

/// Deepest nesting of parentheses and brackets; people write three.
const DEPTH_MAX: usize = 16;

/// Comparisons in one filter at most.
const COMPARISONS_MAX: usize = 200;

/// Reads a filter.
///
/// # Errors
/// `bad-parameter-value` naming the place; `too-costly`
pub fn parse(text: &str) -> Result<Filter, Problem> {
    let mut parser = Parser {
        text,
        at: 0,
        comparisons: 0,
    };
    let filter = parser.expression(0)?;
    parser.space();
    match parser.peek() {
        None => Ok(filter),
        Some(_) => Err(parser.refuse("`and`, `or` or the end is expected")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    comparisons: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn refuse(&self, expected: &str) -> Problem {
        let column = self.text.get(..self.at).map_or(0, |t| t.chars().count()) + 1;
        let text = format!("`_filter` cannot be read at character {column}: {expected}");
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("_filter")
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        let is_there = self.peek() == Some(c);
        if is_there {
            self.at += c.len_utf8();
        }
        is_there
    }

    /// Characters as long as they pass.
    fn run(&mut self, passes: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !passes(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// A word of letters, if it is this one and ends here.
    fn word(&mut self, word: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(word) else {
            return false;
        };
        let ends = after
            .chars()
            .next()
            .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | ']'));
        if ends {
            self.at += word.len();
        }
        ends
    }

    /// `term (and|or term)*`
    fn expression(&mut self, depth: usize) -> Result<Filter, Problem> {
        if depth > DEPTH_MAX {
            let text = format!("`_filter` is nested more than {DEPTH_MAX} deep");
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("_filter"));
        }
        let mut left = self.term(depth)?;
        loop {
            self.space();
            let join: fn(Box<Filter>, Box<Filter>) -> Filter = if self.word("and") {
                Filter::And
            } else if self.word("or") {
                Filter::Or
            } else {
                return Ok(left);
            };
            let right = self.term(depth)?;
            left = join(Box::new(left), Box::new(right));
        }
    }

    fn term(&mut self, depth: usize) -> Result<Filter, Problem> {
        self.space();
        if self.word("not") {
            self.space();
            if self.peek() != Some('(') {
                return Err(self.refuse("`(` is expected behind `not`"));
            }
            return Ok(Filter::Not(Box::new(self.term(depth)?)));
        }
        if self.take('(') {
            let inner = self.expression(depth + 1)?;
            self.space();
            return if self.take(')') {
                Ok(inner)
            } else {
                Err(self.refuse("`)` is expected"))
            };
        }
        self.comparison(depth)
    }

    fn comparison(&mut self, depth: usize) -> Result<Filter, Problem> {
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            let text = format!("`_filter` has more than {COMPARISONS_MAX} comparisons");
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("_filter"));
        }
        let path = self.path(depth)?;
        self.space();
        let name = self.run(|c| c.is_ascii_alphabetic());
        let found = Operator::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, operator)) = found else {
            let names: Vec<&str> = Operator::ALL.iter().map(|(name, _)| *name).collect();
            return Err(self.refuse(&format!("an operator is expected: {}", names.join(" "))));
        };
        if !self.peek().is_some_and(char::is_whitespace) {
            return Err(self.refuse("a space and a value are expected"));
        }
        self.space();
        let value = if self.peek() == Some('"') {
            self.string()?
        } else {
            let is_part = |c: char| !c.is_whitespace() && !matches!(c, ')' | ']');
            self.run(is_part).to_owned()
        };
        if value.is_empty() {
            return Err(self.refuse("a value is expected"));
        }
        Ok(Filter::Compare {
            path,
            operator: *operator,
            value,
        })
    }

    /// `name`, `name.name`, `name[filter].name`
    fn path(&mut self, depth: usize) -> Result<Vec<Step>, Problem> {
        let mut path = Vec::new();
        loop {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
            let name = self.run(is_part).to_owned();
            if name.is_empty() {
                return Err(self.refuse("the name of a search parameter is expected"));
            }
            let filter = if self.take('[') {
                let filter = self.expression(depth + 1)?;
                self.space();
                if !self.take(']') {
                    return Err(self.refuse("`]` is expected"));
                }
                Some(filter)
            } else {
                None
            };
            let has_filter = filter.is_some();
            path.push(Step { name, filter });
            if !self.take('.') {
                return if has_filter {
                    Err(self.refuse("`.` and a parameter are expected behind `]`"))
                } else {
                    Ok(path)
                };
            }
        }
    }

    /// A JSON string.
    fn string(&mut self) -> Result<String, Problem> {
        let start = self.at;
        self.take('"');
        let mut is_escaped = false;
        let rest = self.rest();
        for (at, c) in rest.char_indices() {
            match c {
                '"' if !is_escaped => {
                    self.at += at + 1;
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    let value = crate::json::Value::parse(text.as_bytes()).ok();
                    let value = value.as_ref().and_then(|value| value.as_str());
                    return value.map(str::to_owned).ok_or_else(|| {
                        self.refuse("a string with the escapes of JSON is expected before here")
                    });
                }
                _ => is_escaped = c == '\\' && !is_escaped,
            }
        }
        Err(self.refuse("the string that begins here has no end"))
    }
}
