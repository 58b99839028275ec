//! Whether a condition holds at a place. Asking reports nothing and uses nothing up.
//!
//! Left out on purpose: how conditions are written; see [`crate::expression`].

use fhir_core::json::Value;

use super::{Run, UNITS_KEPT_MAX};
use crate::language::{Condition, Subject, Term, Test};
use crate::scope::{Content, Place};
use crate::{decimal, time, unit};

impl<'a> Run<'a> {
    pub(super) fn holds(&self, condition: &'a Condition, place: &Place<'a>) -> bool {
        self.holding(condition, place).is_some()
    }

    /// The terms that make a condition true; `None` when it is not.
    pub(super) fn holding(
        &self,
        condition: &'a Condition,
        place: &Place<'a>,
    ) -> Option<&'a [Term]> {
        match condition {
            Condition::AnyOf(groups) => groups
                .iter()
                .find(|group| group.iter().all(|term| self.term(term, place)))
                .map(Vec::as_slice),
            Condition::Script(script) => {
                matches!(self.evaluate(script, place).0, Ok(Some(Value::Bool(true)))).then_some(&[])
            }
        }
    }

    pub(super) fn term(&self, term: &Term, place: &Place<'a>) -> bool {
        let path = match &term.subject {
            Subject::Path(path) => path,
            Subject::Setting(name) => return self.setting_holds(name, term),
        };
        let found = self.scope.one(place, path);
        let more = found.as_ref().is_some_and(|(_, more)| *more);
        let null = found.as_ref().is_some_and(|(at, _)| self.scope.is_null(at));
        // `is` tests read a value; "valued" asks whether anything at all stands there.
        let content = found
            .as_ref()
            .map_or(Content::Nothing, |(at, _)| match term.test {
                Test::Valued => self.scope.whole_text(at),
                _ => self.scope.content(at),
            });
        let text = if let Content::Text(text, _) = &content {
            text.trim()
        } else {
            ""
        };
        let holds = match &term.test {
            Test::Null => null,
            Test::Repeated => more,
            Test::Valued => !text.is_empty() && !null,
            Test::In(words) => words.iter().any(|w| **w == *text),
            Test::Decimal => decimal::parse(text).is_some(),
            Test::Comparison => decimal::comparison(text).is_some(),
            Test::HasLow => decimal::range(text).is_some_and(|(low, _)| low.is_some()),
            Test::HasHigh => decimal::range(text).is_some_and(|(_, high)| high.is_some()),
            Test::Timed => time::is_timed(text),
            Test::Date => time::date(text).is_ok(),
            Test::DateTime => time::date_time(text, &self.tools.clock).is_ok(),
            Test::SameAs(other) => match self.scope.one(place, other) {
                Some((at, _)) => match self.scope.content(&at) {
                    Content::Text(other, _) => other.trim() == text,
                    _ => false,
                },
                None => false,
            },
            Test::Time => time::time(text).is_ok(),
            Test::Ucum => self.ucum(text).0,
            Test::UcumBeyondDoubt => self.ucum(text).1,
            Test::Map(index) => self
                .tools
                .maps
                .get(*index)
                .is_some_and(|(_, _, map)| map.get(text).is_some()),
        };
        holds != term.negated
    }

    fn setting_holds(&self, name: &str, term: &Term) -> bool {
        let text = self.setting(name).unwrap_or_default();
        let holds = match &term.test {
            Test::In(words) => words.iter().any(|w| **w == *text),
            Test::Map(index) => self
                .tools
                .maps
                .get(*index)
                .is_some_and(|(_, _, map)| map.get(text).is_some()),
            _ => !text.is_empty(),
        };
        holds != term.negated
    }

    /// Whether a text is UCUM, and beyond doubt. A message repeats its few units, so each is looked at once.
    pub(super) fn ucum(&self, text: &str) -> (bool, bool) {
        let mut units = self.units.borrow_mut();
        if let Some((_, known)) = units.iter().find(|(unit, _)| **unit == *text) {
            return *known;
        }
        let found = (unit::is_ucum(text), unit::is_ucum_beyond_doubt(text));
        if units.len() < UNITS_KEPT_MAX {
            units.push((text.into(), found));
        }
        found
    }
}
