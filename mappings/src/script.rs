//! JSONata (<https://docs.jsonata.org>) for what paths and converters cannot say, within limits.
//!
//! The expression sees an object whose members are the paths it names: HL7 paths in back quotes, `` `OBX-5.1` ``, or
//! the current JSON value. It computes in floating point, so a result that is no whole number is refused: exact
//! decimals come from paths, or from `$shift(text, power)`, which moves the decimal point of a text.
//!
//! Left out on purpose: clock, randomness, `$eval`, JSONata's own date functions (they lose offsets) and named
//! functions, so that every expression ends and says the same on every run.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fhir_core::json::{Kind, Number, Value, ValueRef};
use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, EvaluatorOptions};
use jsonata_core::parser;
use jsonata_core::value::JValue;

use crate::output::Code;
use crate::path::{Notation, Path, Step};

/// Longest evaluation, in milliseconds: a thousand times what the longest shipped expression takes.
const SCRIPT_MS_MAX: u64 = 50;
/// Deepest nesting of calls.
const SCRIPT_DEPTH_MAX: usize = 200;
/// Longest sequence an expression may make, in items.
const SCRIPT_ITEMS_MAX: usize = 10_000;
/// Longest expression, in characters.
const SCRIPT_CHARS_MAX: usize = 2_000;
/// Deepest result taken over.
const RESULT_DEPTH_MAX: usize = 20;
/// Largest whole number floating point holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// Functions that would make a result depend on the moment, run code from data, lose a time's offset, or (`$pad`) build
/// texts of any length outside the evaluator's own limits.
const REFUSED: [&str; 8] = [
    "eval",
    "now",
    "millis",
    "random",
    "shuffle",
    "toMillis",
    "fromMillis",
    "pad",
];

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Script {
    ast: AstNode,
    /// The paths it names, with their spelling.
    pub paths: Vec<(Box<str>, Path)>,
}

impl Script {
    /// Parses and vets an expression; the error says what is wrong.
    pub(crate) fn parse(text: &str, notation: Notation) -> Result<Self, String> {
        if text.len() > SCRIPT_CHARS_MAX {
            return Err(format!(
                "the expression has more than {SCRIPT_CHARS_MAX} characters"
            ));
        }
        let ast = parser::parse(text).map_err(|e| format!("not JSONata: {e}"))?;
        let tree =
            serde_json::to_value(&ast).map_err(|_| "the expression nests too deeply".to_owned())?;
        let mut paths = Vec::new();
        vet(&tree, notation, &mut paths)?;
        Ok(Self { ast, paths })
    }

    /// Evaluates over an object of texts.
    pub(crate) fn run_on_texts<'t>(
        &self,
        texts: impl Iterator<Item = (&'t str, &'t str)>,
    ) -> Result<Option<Value>, Code> {
        let members = texts.map(|(name, text)| (name.to_owned(), JValue::string(text)));
        self.run(JValue::object(members.collect()))
    }

    /// Evaluates over a JSON value.
    pub(crate) fn run_on_json(&self, value: ValueRef<'_>) -> Result<Option<Value>, Code> {
        self.run(to_jsonata(value))
    }

    fn run(&self, input: JValue) -> Result<Option<Value>, Code> {
        EVALUATOR.with(|slot| {
            let Ok(mut slot) = slot.try_borrow_mut() else {
                return Err(Code::ScriptFailed);
            };
            let evaluator = slot.get_or_insert_with(evaluator);
            // A panic in the evaluator must not take a message down with it: the evaluator is thrown away.
            match catch_unwind(AssertUnwindSafe(|| evaluator.evaluate(&self.ast, &input))) {
                Ok(Ok(result)) => from_jsonata(&result, 0),
                Ok(Err(_)) => Err(Code::ScriptFailed),
                Err(_) => {
                    *slot = None;
                    Err(Code::ScriptFailed)
                }
            }
        })
    }
}

thread_local! {
    /// Values and evaluator count references without locks, so each thread has its own.
    static EVALUATOR: RefCell<Option<Evaluator>> = const { RefCell::new(None) };
}

fn evaluator() -> Evaluator {
    let options = EvaluatorOptions {
        timeout_ms: Some(SCRIPT_MS_MAX),
        max_stack_depth: Some(SCRIPT_DEPTH_MAX),
        max_sequence_length: Some(SCRIPT_ITEMS_MAX),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(Context::new(), options);
    // The names are ours and new, so registration cannot fail; an expression that needs them would say so.
    let _ = evaluator.register_fn("shift", shift);
    let _ = evaluator.register_fn("ucum", |args: &[JValue]| {
        Ok(JValue::Bool(
            args.first()
                .and_then(JValue::as_str)
                .is_some_and(crate::unit::is_ucum),
        ))
    });
    evaluator
}

/// `$shift("6550", -2)` is `"65.50"`: a text, so that no digit is lost.
fn shift(args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let wrong = || {
        EvaluatorError::EvaluationError("$shift takes a number's text and a whole power".to_owned())
    };
    let text = args.first().and_then(JValue::as_str).ok_or_else(wrong)?;
    let power = args
        .get(1)
        .and_then(JValue::as_i64)
        .and_then(|p| i32::try_from(p).ok())
        .ok_or_else(wrong)?;
    crate::decimal::scale(text, power)
        .map(JValue::string)
        .ok_or_else(wrong)
}

/// Walks the expression's tree: refuses what the language leaves out, collects the paths it names.
fn vet(
    node: &serde_json::Value,
    notation: Notation,
    paths: &mut Vec<(Box<str>, Path)>,
) -> Result<(), String> {
    use serde_json::Value as Json;
    match node {
        Json::Array(items) => items.iter().try_for_each(|item| vet(item, notation, paths)),
        Json::Object(members) => {
            if let Some(name) = members.get("Name").and_then(Json::as_str) {
                named(name, notation, paths)?;
            }
            let function = members
                .get("Function")
                .and_then(|f| f.get("name"))
                .and_then(Json::as_str);
            let variable = members.get("Variable").and_then(Json::as_str);
            if let Some(name) = function.or(variable).filter(|n| REFUSED.contains(n)) {
                return Err(format!("`${name}` is not part of the mapping language"));
            }
            let bound = members
                .get("Binary")
                .filter(|b| b.get("op") == Some(&"ColonEqual".into()));
            if bound
                .and_then(|b| b.get("rhs"))
                .and_then(|r| r.get("Lambda"))
                .is_some()
            {
                return Err("named functions are not part of the mapping language".to_owned());
            }
            members
                .values()
                .try_for_each(|member| vet(member, notation, paths))
        }
        _ => Ok(()),
    }
}

fn named(name: &str, notation: Notation, paths: &mut Vec<(Box<str>, Path)>) -> Result<(), String> {
    let path = match notation {
        Notation::Hl7v2 => Path::parse(name, notation)?,
        // Any word may name a member; those of the current value count as read.
        Notation::Json => Path::Json(vec![Step::Member(name.into())]),
    };
    if !paths.iter().any(|(known, _)| &**known == name) {
        paths.push((name.into(), path));
    }
    Ok(())
}

fn to_jsonata(value: ValueRef<'_>) -> JValue {
    match value.kind() {
        Kind::Null => JValue::Null,
        Kind::True => JValue::Bool(true),
        Kind::False => JValue::Bool(false),
        // A number is given as its text: JSONata would round it, and `$number` makes one of it where rounding is fine.
        _ if value.is_object() => JValue::object(
            value
                .members()
                .map(|(k, v)| (k.into_owned(), to_jsonata(v)))
                .collect(),
        ),
        _ if value.is_array() => JValue::array(value.items().map(to_jsonata).collect()),
        _ => value
            .primitive_text()
            .map_or(JValue::Null, |text| JValue::string(&*text)),
    }
}

fn from_jsonata(value: &JValue, depth: usize) -> Result<Option<Value>, Code> {
    if depth > RESULT_DEPTH_MAX {
        return Err(Code::ScriptFailed);
    }
    Ok(Some(match value {
        JValue::Undefined | JValue::Null => return Ok(None),
        JValue::Bool(b) => Value::Bool(*b),
        JValue::String(text) if text.is_empty() => return Ok(None),
        JValue::String(text) => Value::from(&**text),
        JValue::Number(n) => Value::Number(whole(*n).ok_or(Code::ScriptInexact)?),
        JValue::Array(_) => {
            let items = value.as_array().into_iter().flatten();
            let items: Result<Vec<_>, _> =
                items.map(|item| from_jsonata(item, depth + 1)).collect();
            Value::Array(items?.into_iter().flatten().collect())
        }
        JValue::Object(_) => {
            let mut map = fhir_core::json::Map::new();
            for (name, member) in value.as_object().into_iter().flatten() {
                if let Some(member) = from_jsonata(member, depth + 1)? {
                    map.insert(name.as_str(), member);
                }
            }
            Value::Object(map)
        }
        _ => return Err(Code::ScriptFailed),
    }))
}

/// The digits of a whole number small enough to be exact.
fn whole(n: f64) -> Option<Number> {
    (n.fract() == 0.0 && n.abs() <= EXACT_MAX)
        .then(|| Number::parse(&format!("{n:.0}")))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn run(text: &str, input: &[(&str, &str)]) -> Result<Option<Value>, Code> {
        Script::parse(text, Notation::Hl7v2)
            .expect("parses")
            .run_on_texts(input.iter().copied())
    }

    #[test]
    fn paths_stand_in_back_quotes() {
        let got = run(
            "`OBX-5.1` & '/' & `OBX-5.2`",
            &[("OBX-5.1", "120"), ("OBX-5.2", "80")],
        );
        assert_eq!(got, Ok(Some("120/80".into())));
        assert_eq!(run("`OBX-5.1`", &[]), Ok(None));
    }

    #[test]
    fn refused_at_load() {
        for (text, why) in [
            ("$eval('1')", "`$eval`"),
            ("$now()", "`$now`"),
            ("$pad('x', 999999999)", "`$pad`"),
            ("$map([1], $random)", "`$random`"),
            ("$fromMillis(0)", "`$fromMillis`"),
            ("($f := function($x){ $f($x) }; $f(1))", "named functions"),
            ("`OBX-5.`", "not an HL7 path"),
            ("1 +", "not JSONata"),
        ] {
            let error = Script::parse(text, Notation::Hl7v2).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Script::parse(&"1+".repeat(2000), Notation::Hl7v2).is_err());
    }

    /// An expression cannot hold a message up.
    /// Verifies: SRS-033
    #[test]
    fn time_and_size_have_limits() {
        let start = Instant::now();
        for text in [
            "$count([1..9000000])",
            "$count($map([1..9000], function($x){ $count([1..9000][$ > $x]) }))",
            "(function($f){ $f($f) })(function($f){ 1 + $f($f) })",
        ] {
            assert_eq!(run(text, &[]), Err(Code::ScriptFailed), "{text}");
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(run("1 + 1", &[]), Ok(Some(2.into())));
    }

    /// Floating point never reaches a resource.
    /// Verifies: SRS-001, RC-001
    #[test]
    fn inexact_numbers_are_refused() {
        assert_eq!(run("0.1 + 0.2", &[]), Err(Code::ScriptInexact));
        assert_eq!(
            run("$number(`OBX-5`) * 1", &[("OBX-5", "2.50")]),
            Err(Code::ScriptInexact)
        );
        assert_eq!(
            run("$shift(`OBX-5`, -2)", &[("OBX-5", "6550")]),
            Ok(Some("65.50".into()))
        );
        assert_eq!(run("9007199254740993 * 10", &[]), Err(Code::ScriptInexact));
        assert_eq!(run("-3 + 1", &[]), Ok(Some((-2).into())));
    }
}
