//! Leaves and conditions: `=PID-5.1 | text ?? 'unknown'`, and `OBX-2 = NM and OBX-5 is decimal`.
//!
//! Left out on purpose: what an element needs. [`crate::compile`] checks that against the R4 definitions.

use crate::language::{Condition, Converter, JOIN_MAX, Piped, Read, Start, Subject, Term, Test};
use crate::path::{Notation, Path};
use crate::script::Script;

/// Names that expressions may use, by index.
pub(crate) struct Names<'n> {
    pub notation: Notation,
    pub maps: &'n dyn Fn(&str) -> Option<usize>,
    pub types: &'n dyn Fn(&str) -> Option<usize>,
}

/// Parses what stands behind `=`.
pub(crate) fn read(text: &str, names: &Names<'_>) -> Result<Read, String> {
    let alternatives = split(text, " ?? ")?
        .into_iter()
        .map(|a| piped(a.trim(), names))
        .collect::<Result<_, _>>()?;
    Ok(Read { alternatives })
}

/// Parses a condition.
pub(crate) fn condition(text: &str, names: &Names<'_>) -> Result<Condition, String> {
    if let Some(script) = text.strip_prefix('=') {
        return Ok(Condition::Script(Box::new(Script::parse(
            inside(script.trim())?,
            names.notation,
        )?)));
    }
    let groups = split(text, " or ")?;
    let groups = groups.into_iter().map(|group| {
        split(group, " and ")?
            .into_iter()
            .map(|t| term(t.trim(), names))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(Condition::AnyOf(groups.collect::<Result<_, _>>()?))
}

fn piped(text: &str, names: &Names<'_>) -> Result<Piped, String> {
    let mut parts = split(text, " | ")?.into_iter().map(str::trim);
    let start = parts.next().unwrap_or_default();
    let start = match start.as_bytes().first() {
        Some(b'\'') => Start::Literal(quoted(start)?.into()),
        Some(b'@') => Start::Setting(start.trim_start_matches('@').into()),
        Some(b'(') => Start::Script(Box::new(Script::parse(inside(start)?, names.notation)?)),
        _ => match start.strip_prefix("all ") {
            Some(all) => {
                let (path, when) = match all.split_once(" if ") {
                    Some((path, when)) => (path, Some(condition(when, names)?)),
                    None => (all, None),
                };
                Start::All(Path::parse(path.trim(), names.notation)?, when)
            }
            None => Start::Path(Path::parse(start, names.notation)?),
        },
    };
    let converters = parts
        .map(|c| converter(c, names))
        .collect::<Result<Vec<_>, _>>()?;
    let first_only = |c: &Converter| {
        matches!(
            c,
            Converter::Text
                | Converter::Lines
                | Converter::Join(_)
                | Converter::Authority
                | Converter::EntityAuthority
                | Converter::Type(_)
        )
    };
    if converters.iter().skip(1).any(first_only)
        || (!matches!(start, Start::Path(_)) && converters.iter().any(first_only))
    {
        return Err(format!(
            "`{text}`: text, lines, authority and data types stand right behind a path"
        ));
    }
    Ok(Piped { start, converters })
}

fn converter(text: &str, names: &Names<'_>) -> Result<Converter, String> {
    let map = |name: &str| (names.maps)(name).ok_or_else(|| format!("there is no code/{name}.tsv"));
    if let Some(name) = text.strip_prefix("map ") {
        return map(name.trim()).map(Converter::Map);
    }
    if let Some(name) = text.strip_prefix("coding ") {
        return map(name.trim()).map(Converter::Coding);
    }
    if let Some(list) = text.strip_prefix("join ") {
        return join(list);
    }
    if text.ends_with(']') {
        return (names.types)(text)
            .map(Converter::Type)
            .ok_or_else(|| format!("there is no template `{text}`"));
    }
    Ok(match text {
        "text" => Converter::Text,
        "lines" => Converter::Lines,
        "code" => Converter::Code,
        "decimal" => Converter::Decimal,
        "comparator" => Converter::Comparator,
        "comparand" => Converter::Comparand,
        "low" => Converter::Low,
        "high" => Converter::High,
        "integer" => Converter::Integer,
        "positiveInt" => Converter::PositiveInt,
        "unsignedInt" => Converter::UnsignedInt,
        "boolean" => Converter::Boolean,
        "date" => Converter::Date,
        "dateTime" => Converter::DateTime,
        "dateTime-with-time" => Converter::DateTimeWithTime,
        "instant" => Converter::Instant,
        "time" => Converter::Time,
        "uri" => Converter::Uri,
        "base64" => Converter::Base64,
        "base64-data" => Converter::Base64Data,
        "hexadecimal" => Converter::Hexadecimal,
        "coding-system" => Converter::CodingSystem,
        "authority" => Converter::Authority,
        "entity-authority" => Converter::EntityAuthority,
        _ => return Err(format!("there is no converter `{text}`")),
    })
}

fn join(list: &str) -> Result<Converter, String> {
    let mut components = [0; JOIN_MAX];
    let mut numbers = list.split_whitespace();
    for (slot, number) in components.iter_mut().zip(&mut numbers) {
        *slot = number
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("`join {list}`: components by number"))?;
    }
    if numbers.next().is_some() {
        return Err(format!("`join {list}`: at most {JOIN_MAX} components"));
    }
    Ok(Converter::Join(components))
}

fn term(text: &str, names: &Names<'_>) -> Result<Term, String> {
    let (text, mut negated) = text
        .strip_prefix("not ")
        .map_or((text, false), |t| (t.trim(), true));
    let (path, rest) = text.split_once(' ').unwrap_or((text, ""));
    let subject = match path.strip_prefix('@') {
        Some(setting) => Subject::Setting(setting.into()),
        None => Subject::Path(Path::parse(path, names.notation)?),
    };
    let rest = rest.trim();
    let test = if rest.is_empty() {
        Test::Valued
    } else if let Some(word) = rest.strip_prefix("!= ") {
        negated = !negated;
        Test::In(words(word)?)
    } else if let Some(word) = rest.strip_prefix("= ") {
        let values = words(word)?;
        if values.len() != 1 {
            return Err(format!(
                "`{text}`: one value after `=`; write `in` for several"
            ));
        }
        Test::In(values)
    } else if let Some(other) = rest.strip_prefix("same-as ") {
        Test::SameAs(Path::parse(other.trim(), names.notation)?)
    } else if let Some(list) = rest.strip_prefix("in map ") {
        let name = list.trim();
        Test::Map((names.maps)(name).ok_or_else(|| format!("there is no code/{name}.tsv"))?)
    } else if let Some(list) = rest.strip_prefix("in ") {
        Test::In(words(list)?)
    } else if let Some(test) = rest.strip_prefix("is ") {
        kind(test.trim())?
    } else {
        return Err(format!(
            "`{text}` is not a condition: PATH, PATH = X, PATH != X, PATH in X Y, PATH is decimal"
        ));
    };
    Ok(Term {
        subject,
        test,
        negated,
    })
}

fn kind(text: &str) -> Result<Test, String> {
    Ok(match text {
        "null" => Test::Null,
        "repeated" => Test::Repeated,
        "decimal" => Test::Decimal,
        "comparison" => Test::Comparison,
        "has-low" => Test::HasLow,
        "has-high" => Test::HasHigh,
        "timed" => Test::Timed,
        "date" => Test::Date,
        "dateTime" => Test::DateTime,
        "time" => Test::Time,
        "ucum" => Test::Ucum,
        "ucum-beyond-doubt" => Test::UcumBeyondDoubt,
        _ => return Err(format!("there is no test `is {text}`")),
    })
}

/// Values separated by blanks, quoted when they hold one.
fn words(text: &str) -> Result<Vec<Box<str>>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.starts_with('\'') {
            let end = rest
                .get(1..)
                .and_then(|r| r.find('\''))
                .ok_or_else(|| format!("`{text}`: a quote stays open"))?;
            found.push(rest.get(1..=end).unwrap_or_default().into());
            rest = rest.get(end + 2..).unwrap_or_default().trim_start();
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            found.push(word.trim_end_matches(',').into());
            rest = after.trim_start();
        }
    }
    if found.is_empty() {
        Err("a value is missing".to_owned())
    } else {
        Ok(found)
    }
}

fn quoted(text: &str) -> Result<&str, String> {
    let inner = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    inner
        .filter(|i| !i.is_empty() && !i.contains('\''))
        .ok_or_else(|| format!("{text} is not one text in quotes"))
}

fn inside(text: &str) -> Result<&str, String> {
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    inner.ok_or_else(|| format!("`{text}`: an expression stands in parentheses"))
}

/// Splits at a separator that stands outside quotes and parentheses.
fn split<'t>(text: &'t str, separator: &str) -> Result<Vec<&'t str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("`{text}`: one `)` too many"))?
            }
            (None, _)
                if depth == 0
                    && at >= start
                    && text.get(at..).is_some_and(|t| t.starts_with(separator)) =>
            {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + separator.len();
            }
            _ => {}
        }
    }
    if depth > 0 || quote.is_some() {
        return Err(format!("`{text}`: a parenthesis or a quote stays open"));
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<'static> {
        Names {
            notation: Notation::Hl7v2,
            maps: &|n| (n == "sex").then_some(3),
            types: &|n| (n == "CX[Identifier]").then_some(7),
        }
    }

    #[test]
    fn leaves() {
        let r = read("PID-8 | code | map sex ?? OBX-3 ?? 'a | b ?? c'", &names()).expect("reads");
        assert_eq!(r.alternatives.len(), 3);
        assert_eq!(
            r.alternatives[0].converters,
            [Converter::Code, Converter::Map(3)]
        );
        assert!(matches!(&r.alternatives[2].start, Start::Literal(l) if &**l == "a | b ?? c"));
        let r = read("(`OBX-5.1` ~> $uppercase()) | code", &names()).expect("reads");
        assert!(matches!(r.alternatives[0].start, Start::Script(_)));
    }

    #[test]
    fn wrong_leaves_say_why() {
        for (text, why) in [
            ("PID-8 | mapp sex", "no converter `mapp sex`"),
            ("PID-8 | map seks", "no code/seks.tsv"),
            ("PID-3 | CX[Identifyer]", "no template `CX[Identifyer]`"),
            ("PID-8 | code | text", "right behind a path"),
            ("'a' b", "not one text in quotes"),
            ("PID5", "not an HL7 path"),
            ("", "not an HL7 path"),
            ("(1 + 1", "stays open"),
            ("PID-3 |CX[Identifier]", "not an HL7 path"),
        ] {
            let error = read(text, &names()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn conditions() {
        for text in [
            "OBX-5",
            "not OBX-5",
            "OBX-2 = NM and OBX-5 is decimal or OBX-2 in SN NR",
            "CWE.3 != 'a b'",
            "=($exists(`OBX-5`))",
        ] {
            assert!(condition(text, &names()).is_ok(), "{text}");
        }
        for text in [
            "",
            "OBX-2 NM",
            "OBX-2 =",
            "OBX-2 = A B",
            "OBX-5 is nice",
            "=1 + 1",
            "OBX-2 in map x",
            "OBX-2 in 'a",
        ] {
            assert!(condition(text, &names()).is_err(), "{text}");
        }
    }
}
