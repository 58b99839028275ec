//! The conditions of `when` and `manual` in a payload mapping.
//!
//! Left out on purpose: `or` and brackets. Two rules say it more readably.

use super::expression::single;
use super::path::{Path, Place};

/// `type = 1 and ^.category = 1`; `kind in a b`; `flag`; `not flag`; `x != 3`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    terms: Vec<(bool, Path, Test)>,
}

#[derive(Debug, Clone)]
enum Test {
    Valued,
    In(Vec<Box<str>>),
    /// `PATH has WORD`: the text contains it.
    Has(Box<str>),
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        text.split(" and ")
            .map(|t| condition_term(t.trim()))
            .collect::<Result<_, _>>()
            .map(|terms| Self { terms })
    }

    pub(super) fn holds(&self, place: &Place<'_>) -> bool {
        self.terms.iter().all(|(negated, path, test)| {
            let found = path.one(place);
            let holds = match test {
                Test::Valued => {
                    found.is_some_and(|v| v.primitive_text().is_none_or(|t| !t.trim().is_empty()))
                }
                Test::Has(word) => found
                    .and_then(|v| v.primitive_text())
                    .is_some_and(|t| t.contains(&**word)),
                Test::In(words) => found
                    .and_then(|v| v.primitive_text())
                    .is_some_and(|t| words.iter().any(|w| **w == *t.trim())),
            };
            holds != *negated
        })
    }
}

fn condition_term(text: &str) -> Result<(bool, Path, Test), String> {
    let equal = |words: &str| Test::In(vec![words.trim().trim_matches('\'').into()]);
    if let Some((path, word)) = text.split_once(" != ") {
        return Ok((true, single(path.trim())?, equal(word)));
    }
    if let Some((path, word)) = text.split_once(" = ") {
        return Ok((false, single(path.trim())?, equal(word)));
    }
    if let Some((path, words)) = text.split_once(" in ") {
        let words = words.split_whitespace().map(Into::into).collect();
        return Ok((false, single(path.trim())?, Test::In(words)));
    }
    if let Some((path, word)) = text.split_once(" has ") {
        return Ok((false, single(path.trim())?, Test::Has(word.trim().into())));
    }
    match text.strip_prefix("not ") {
        Some(path) => Ok((true, single(path.trim())?, Test::Valued)),
        None => Ok((false, single(text)?, Test::Valued)),
    }
}

#[cfg(test)]
mod tests {
    use fhir_core::json::Document;

    use super::*;

    #[test]
    fn conditions() {
        let document = Document::parse(br#"{"a":1,"b":"x","c":null}"#).expect("json");
        let place = Place::root(document.root());
        for (condition, expected) in [
            ("a = 1", true),
            ("a = 1 and b = x", true),
            ("a = 2", false),
            ("a != 2", true),
            ("b in x y", true),
            ("not c", true),
            ("c", false),
            ("a and not b", false),
        ] {
            assert_eq!(
                Condition::parse(condition).expect(condition).holds(&place),
                expected,
                "{condition}"
            );
        }
    }
}
