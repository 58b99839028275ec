//! From a filter's tree to a condition.
//!
//! Spec: <https://hl7.org/fhir/R4/search_filter.html#ops>

use conformance::{ParamType, ResourceTypeId, SearchParam};

use super::{Filter, Operator, Step, parse};
use crate::issue::{ErrorKind, Problem};
use crate::search::condition::{Builder, any};
use crate::search::predicate::Predicate;
use crate::search::value::Modifier;

impl Builder<'_> {
    /// The condition of `_filter=text` on resources of a type.
    ///
    /// # Errors
    /// `bad-parameter-value`, `unknown-parameter`, `too-costly`
    pub(in crate::search) fn filter(
        &mut self,
        resource_type: ResourceTypeId,
        text: &str,
    ) -> Result<Predicate, Problem> {
        let filter = parse(text)?;
        self.filtered(resource_type, &filter)
    }

    fn filtered(
        &mut self,
        resource_type: ResourceTypeId,
        filter: &Filter,
    ) -> Result<Predicate, Problem> {
        Ok(match filter {
            Filter::And(left, right) => Predicate::And(vec![
                self.filtered(resource_type, left)?,
                self.filtered(resource_type, right)?,
            ]),
            Filter::Or(left, right) => Predicate::Or(vec![
                self.filtered(resource_type, left)?,
                self.filtered(resource_type, right)?,
            ]),
            Filter::Not(inner) => Predicate::Not(Box::new(self.filtered(resource_type, inner)?)),
            Filter::Compare {
                path,
                operator,
                value,
            } => self.compared(resource_type, path, *operator, value, 0)?,
        })
    }

    fn compared(
        &mut self,
        resource_type: ResourceTypeId,
        path: &[Step],
        operator: Operator,
        value: &str,
        depth: usize,
    ) -> Result<Predicate, Problem> {
        self.check_depth(depth)?;
        let (first, rest) = match path {
            [] => return Ok(Predicate::Nothing),
            [last] => {
                let param = self.parameter(resource_type, &last.name)?;
                return self.leaf(param, operator, value);
            }
            [first, rest @ ..] => (first, rest),
        };
        let (code, type_name) = match first.name.split_once(':') {
            Some((code, name)) => (code, Some(name)),
            None => (first.name.as_str(), None),
        };
        let param = self.parameter(resource_type, code)?;
        let targets = self.chain_targets(param, type_name)?;
        let (mut found, mut refused) = (Vec::new(), None);
        for target in targets {
            self.count(1)?;
            let further = self.compared(target, rest, operator, value, depth + 1);
            let besides = first.filter.as_ref().map(|f| self.filtered(target, f));
            match (further, besides.transpose()) {
                (Ok(further), Ok(besides)) => {
                    let inner = match besides {
                        Some(besides) => Predicate::And(vec![besides, further]),
                        None => further,
                    };
                    found.push(Predicate::Chain {
                        param: param.id,
                        target,
                        inner: Box::new(inner),
                    });
                }
                (Err(problem), _) | (_, Err(problem))
                    if problem.kind() == ErrorKind::UNKNOWN_PARAMETER =>
                {
                    refused = Some(problem);
                }
                (Err(problem), _) | (_, Err(problem)) => return Err(problem),
            }
        }
        match (found.is_empty(), refused) {
            (true, Some(problem)) => Err(problem),
            _ => Ok(any(found)),
        }
    }

    fn leaf(
        &mut self,
        param: &'static SearchParam,
        operator: Operator,
        value: &str,
    ) -> Result<Predicate, Problem> {
        use Operator as Op;
        use ParamType as Kind;
        let not = |predicate| Predicate::Not(Box::new(predicate));
        if operator == Op::Pr {
            let missing = match value {
                "true" => "false",
                "false" => "true",
                _ => return Err(bad(param, "`pr` is followed by `true` or `false`")),
            };
            return self.plain(param, Some("missing"), missing);
        }
        let text = escaped(value);
        if operator == Op::Ne
            && matches!(
                param.kind,
                Kind::String | Kind::Token | Kind::Reference | Kind::Uri
            )
        {
            return self.leaf(param, Op::Eq, value).map(not);
        }
        let modifier = match (param.kind, operator) {
            (Kind::Date | Kind::Number | Kind::Quantity, op) if is_prefix(op) => {
                return self.values(param, Modifier::Plain, &format!("{}{text}", op.name()));
            }
            (Kind::Date, Op::Po) => Modifier::Overlaps,
            (Kind::String, Op::Eq) => Modifier::Equals,
            (Kind::String, Op::Co) => Modifier::Contains,
            (Kind::String, Op::Sw) | (Kind::Token | Kind::Uri, Op::Eq) => Modifier::Plain,
            (Kind::String, Op::Ew) => Modifier::EndsWith,
            (Kind::Reference, Op::Eq | Op::Re) => Modifier::Plain,
            (Kind::Token, Op::Ss) | (Kind::Uri, Op::Sw) => Modifier::Below,
            (Kind::Token, Op::Sb) => Modifier::Above,
            (Kind::Token, Op::In) => Modifier::In,
            (Kind::Token, Op::Ni) => return self.values(param, Modifier::In, &text).map(not),
            (Kind::Token, Op::Co) => Modifier::Text,
            (kind, _) => {
                let text = format!(
                    "`{}` cannot be applied to a {} parameter",
                    operator.name(),
                    kind.code()
                );
                return Err(bad(param, &text));
            }
        };
        self.values(param, modifier, &text)
    }
}

fn bad(param: &SearchParam, text: &str) -> Problem {
    let text = format!("`_filter`, `{}`: {text}", param.code);
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("_filter")
}

/// Whether the operator is a prefix of ordered values, too, with the same meaning.
fn is_prefix(operator: Operator) -> bool {
    crate::search::value::PREFIXES
        .iter()
        .any(|(name, _)| *name == operator.name())
}

/// The value as a search parameter would be written, so that a comma is part of it.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
