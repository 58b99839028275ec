//! What stands behind `=` in a payload mapping: paths, texts and converters.
//!
//! `=A & ' ' & B | converter ?? C`: joins with `&`, adds exactly with `+`; the first alternative that gives a text.
//!
//! Left out on purpose: floating point. Every converter moves the point, adds or multiplies exactly, or maps words.

use super::path::{Path, Place};
use crate::decimal::Decimal;
use crate::measure;

/// The name of the member a value was found under.
const KEY: &str = "$key";

/// `=…`, or a constant.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub text: Box<str>,
    alternatives: Vec<Piped>,
}

#[derive(Debug, Clone)]
struct Piped {
    terms: Vec<Term>,
    sum: bool,
    converters: Vec<Converter>,
}

#[derive(Debug, Clone)]
enum Term {
    Text(Box<str>),
    Key,
    Path(Path),
    /// `day(PATH)`: the ten characters of a date.
    Day(Path),
}

/// Words and what each becomes.
type Words = Vec<(Box<str>, Box<str>)>;

#[derive(Debug, Clone)]
enum Converter {
    /// `scaled PATH`: times ten to the power that stands there.
    Scaled(Path),
    /// `shift N`: times ten to the power of N.
    Shift(i32),
    /// `times N`: exactly.
    Times(Decimal),
    /// `map a=b c=d`: other words give nothing.
    Map(Words),
    /// `instead a=b`: other words stay; `a=` gives nothing.
    Instead(Words),
    /// `ucum`: the UCUM code of a vendor's unit.
    Ucum,
    /// `inside A B`: what stands between two texts.
    Inside(Box<str>, Box<str>),
}

/// A text, or why there is none although the sender spoke of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Text(String),
    /// A data-absent-reason.
    Absent(String),
}

/// What went wrong at a place, without its value.
pub(super) type Wrong = &'static str;

impl Expression {
    /// A constant, or what `=` says.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let alternatives = match text.strip_prefix('=') {
            None => vec![Piped {
                terms: vec![Term::Text(text.into())],
                sum: false,
                converters: Vec::new(),
            }],
            Some(rest) => rest
                .split(" ?? ")
                .map(|part| piped(part.trim()))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            text: text.into(),
            alternatives,
        })
    }

    /// The first alternative that gives anything.
    pub(super) fn read(&self, place: &Place<'_>) -> Result<Option<Found>, Wrong> {
        for alternative in &self.alternatives {
            if let Some(found) = alternative.read(place)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The text, when there is one.
    pub(super) fn text(&self, place: &Place<'_>) -> Result<Option<String>, Wrong> {
        Ok(self.read(place)?.and_then(|found| match found {
            Found::Text(text) => Some(text),
            Found::Absent(_) => None,
        }))
    }
}

impl Piped {
    fn read(&self, place: &Place<'_>) -> Result<Option<Found>, Wrong> {
        let mut texts = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            let found = match term {
                Term::Text(text) => Some(Found::Text(text.to_string())),
                Term::Key => place.key.clone().map(Found::Text),
                Term::Path(path) => value_at(path, place)?,
                Term::Day(path) => match value_at(path, place)? {
                    Some(Found::Text(text)) => {
                        Some(Found::Text(text.get(..10).ok_or("not a date")?.to_owned()))
                    }
                    other => other,
                },
            };
            match found {
                None => return Ok(None),
                Some(Found::Absent(reason)) => return Ok(Some(Found::Absent(reason))),
                Some(Found::Text(text)) => texts.push(text),
            }
        }
        let mut text = if self.sum {
            sum(&texts).ok_or("not a number")?
        } else {
            texts.concat()
        };
        for converter in &self.converters {
            match converter.apply(&text, place)? {
                Some(converted) => text = converted,
                None => return Ok(None),
            }
        }
        Ok((!text.trim().is_empty()).then_some(Found::Text(text)))
    }
}

impl Converter {
    fn apply(&self, text: &str, place: &Place<'_>) -> Result<Option<String>, Wrong> {
        let number = || Decimal::parse(text).ok_or("not a number");
        let word = |rows: &[(Box<str>, Box<str>)]| {
            rows.iter()
                .find(|(from, _)| &**from == text.trim())
                .map(|(_, to)| to.to_string())
        };
        Ok(match self {
            Converter::Scaled(path) => {
                let power = path.one(place).and_then(|v| v.primitive_text());
                let power = power
                    .and_then(|p| p.parse::<i32>().ok())
                    .ok_or("no power of ten")?;
                Some(number()?.shifted(power).ok_or("out of range")?.to_string())
            }
            Converter::Shift(power) => {
                Some(number()?.shifted(*power).ok_or("out of range")?.to_string())
            }
            Converter::Times(factor) => {
                Some(number()?.times(*factor).ok_or("out of range")?.to_string())
            }
            Converter::Map(rows) => Some(word(rows).ok_or("a word the mapping does not know")?),
            Converter::Instead(rows) => Some(word(rows).unwrap_or_else(|| text.to_owned())),
            Converter::Ucum => Some(
                measure::ucum(text)
                    .ok_or("a unit that is not known")?
                    .to_owned(),
            ),
            Converter::Inside(before, after) => {
                let inner = text
                    .split_once(&**before)
                    .and_then(|(_, rest)| rest.split_once(&**after));
                Some(inner.ok_or("not of the expected form")?.0.to_owned())
            }
        })
    }
}

fn value_at(path: &Path, place: &Place<'_>) -> Result<Option<Found>, Wrong> {
    let Some(value) = path.one(place) else {
        return Ok(None);
    };
    if let Some(reason) = value.get("absent").and_then(|a| a.primitive_text()) {
        return Ok(Some(Found::Absent(reason.into_owned())));
    }
    match value.primitive_text() {
        Some(text) => Ok(Some(Found::Text(text.into_owned()))),
        None => Err("an object or a list where one value is expected"),
    }
}

fn sum(texts: &[String]) -> Option<String> {
    let mut total = Decimal::ZERO;
    for text in texts {
        total = total.plus(Decimal::parse(text)?)?;
    }
    Some(total.to_string())
}

fn piped(text: &str) -> Result<Piped, String> {
    let mut parts = text.split(" | ");
    let start = parts.next().unwrap_or_default();
    let (separator, sum) = if start.contains(" + ") {
        (" + ", true)
    } else {
        (" & ", false)
    };
    let terms = start
        .split(separator)
        .map(|t| term(t.trim()))
        .collect::<Result<_, _>>()?;
    let converters = parts
        .map(|c| converter(c.trim()))
        .collect::<Result<_, _>>()?;
    Ok(Piped {
        terms,
        sum,
        converters,
    })
}

fn term(text: &str) -> Result<Term, String> {
    if text == KEY {
        return Ok(Term::Key);
    }
    if let Some(path) = text.strip_prefix("day(").and_then(|t| t.strip_suffix(')')) {
        return single(path).map(Term::Day);
    }
    match text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        Some(literal) => Ok(Term::Text(literal.into())),
        None => single(text).map(Term::Path),
    }
}

pub(super) fn single(text: &str) -> Result<Path, String> {
    let path = Path::parse(text)?;
    if path.is_many() {
        Err(format!(
            "`{text}` stands for several values; only `each` may"
        ))
    } else {
        Ok(path)
    }
}

fn converter(text: &str) -> Result<Converter, String> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rows = || -> Result<Words, String> {
        let row = |r: &str| r.split_once('=').map(|(a, b)| (a.into(), b.into()));
        rest.split_whitespace()
            .map(|r| row(r).ok_or_else(|| format!("`{r}` is not word=word")))
            .collect()
    };
    match name {
        "scaled" => single(rest).map(Converter::Scaled),
        "shift" => rest
            .parse()
            .map(Converter::Shift)
            .map_err(|_| format!("`{rest}` is no power of ten")),
        "times" => Decimal::parse(rest)
            .map(Converter::Times)
            .ok_or_else(|| format!("`{rest}` is no number")),
        "map" => rows().map(Converter::Map),
        "instead" => rows().map(Converter::Instead),
        "ucum" => Ok(Converter::Ucum),
        "inside" => match rest.split_once(' ') {
            Some((before, after)) => Ok(Converter::Inside(before.into(), after.into())),
            None => Err("`inside` takes the text before and the text after".to_owned()),
        },
        other => Err(format!(
            "no converter `{other}`: scaled, shift, times, map, instead, ucum, inside"
        )),
    }
}

#[cfg(test)]
mod tests {
    use fhir_core::json::Document;

    use super::*;

    fn read(expression: &str, json: &str) -> Result<Option<Found>, Wrong> {
        let document = Document::parse(json.as_bytes()).expect("json");
        Expression::parse(expression)
            .expect(expression)
            .read(&Place::root(document.root()))
    }

    fn text(t: &str) -> Result<Option<Found>, Wrong> {
        Ok(Some(Found::Text(t.to_owned())))
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn digits_survive_every_converter() {
        for (expression, json, expected) in [
            ("=v", r#"{"v":37.00}"#, "37.00"),
            ("=v", r#"{"v":"37.00"}"#, "37.00"),
            ("=v | scaled u", r#"{"v":74126,"u":-3}"#, "74.126"),
            ("=v | times 100", r#"{"v":0.98}"#, "98.00"),
            ("=v | shift -3", r#"{"v":74100}"#, "74.100"),
            ("=a + b", r#"{"a":1700000000,"b":"15"}"#, "1700000015"),
            (
                "=d & 'T' & t",
                r#"{"d":"2026-03-01","t":"09:00"}"#,
                "2026-03-01T09:00",
            ),
            ("=x ?? v", r#"{"v":5}"#, "5"),
            ("=v | map 0=mm[Hg] 1=kPa", r#"{"v":1}"#, "kPa"),
            ("=v | instead 39=<40", r#"{"v":39}"#, "<40"),
            ("=v | instead 39=<40", r#"{"v":120}"#, "120"),
            ("=u | ucum", r#"{"u":"count/min"}"#, "/min"),
            ("=v | inside ( )", r#"{"v":"Date(17)"}"#, "17"),
            ("kg", "{}", "kg"),
        ] {
            assert_eq!(read(expression, json), text(expected), "{expression}");
        }
    }

    #[test]
    fn nothing_and_wrong_are_different() {
        assert_eq!(read("=v", "{}"), Ok(None));
        assert_eq!(read("=v", r#"{"v":null}"#), Ok(None));
        assert_eq!(read("=v | instead 0=", r#"{"v":0}"#), Ok(None));
        assert_eq!(
            read("=v", r#"{"v":{"absent":"not-a-number"}}"#),
            Ok(Some(Found::Absent("not-a-number".into())))
        );
        assert_eq!(read("=v | times 2", r#"{"v":"x"}"#), Err("not a number"));
        assert_eq!(
            read("=v", r#"{"v":[1]}"#),
            Err("an object or a list where one value is expected")
        );
        assert_eq!(
            read("=v | map 0=a", r#"{"v":2}"#),
            Err("a word the mapping does not know")
        );
        for text in [
            "=a[]",
            "=v | round 2",
            "=v | times x",
            "=v | map a",
            "=a..b",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
