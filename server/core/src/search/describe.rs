//! A condition in words, for people.
//!
//! Left out: the values compared, but for their comparison, since they may belong to patients.

use conformance::{Definitions, ParamId};

use super::predicate::{
    Comparison, Direction, Predicate, ReferenceTest, SortBy, SortKeySpec, StringTest, TokenTest,
    UriTest, ValueTest,
};

/// Longest description, in bytes; a chain without types repeats itself hundreds of times.
const BYTES_MAX: usize = 20_000;

/// What a condition asks for.
pub fn predicate(predicate: &Predicate) -> String {
    let mut out = String::new();
    write(predicate, &mut out);
    if out.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|at| out.is_char_boundary(*at));
        out.truncate(end.unwrap_or(0));
        out.push_str(" …");
    }
    out
}

/// The order asked for.
pub fn sort(keys: &[SortKeySpec]) -> String {
    if keys.is_empty() {
        return "none asked for: the order of the index that is read".to_owned();
    }
    let key = |key: &SortKeySpec| {
        let name = match key.by {
            SortBy::Id => "_id",
            SortBy::LastUpdated => "_lastUpdated",
            SortBy::Param(param) => code(param),
        };
        match key.direction {
            Direction::Ascending => format!("{name} ascending"),
            Direction::Descending => format!("{name} descending"),
        }
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", then ")
}

fn code(param: ParamId) -> &'static str {
    Definitions::r4()
        .search_param_by_id(param)
        .map_or("(added parameter)", |param| param.code)
}

fn write(predicate: &Predicate, out: &mut String) {
    if out.len() > BYTES_MAX {
        return;
    }
    match predicate {
        Predicate::Everything => out.push_str("every resource"),
        Predicate::Nothing => out.push_str("no resource"),
        Predicate::And(parts) => list(parts, " and ", out),
        Predicate::Or(parts) => list(parts, " or ", out),
        Predicate::Not(inner) => {
            out.push_str("not ");
            write(inner, out);
        }
        Predicate::Id(ids) => out.push_str(&format!("one of {} ids", ids.len())),
        Predicate::LastUpdated(test) => {
            out.push_str(&format!("_lastUpdated {}", comparison(test.comparison)));
        }
        Predicate::Value { param, test } => {
            out.push_str(&format!("{} {}", code(*param), value(test)));
        }
        Predicate::Composite { param, tests } => {
            let parts: Vec<String> = tests.iter().map(value).collect();
            out.push_str(&format!("{} with {}", code(*param), parts.join(" and ")));
        }
        Predicate::Words { place, any_of } => {
            out.push_str(&format!(
                "words of {place:?}, {} alternatives",
                any_of.len()
            ));
        }
        Predicate::Present(param) => out.push_str(&format!("{} has a value", code(*param))),
        Predicate::Chain {
            param,
            target,
            inner,
        } => {
            out.push_str(&format!(
                "{} leads to a {} with (",
                code(*param),
                target.name()
            ));
            write(inner, out);
            out.push(')');
        }
        Predicate::Has {
            source,
            param,
            inner,
        } => {
            out.push_str(&format!(
                "a {} refers here by {} with (",
                source.name(),
                code(*param)
            ));
            write(inner, out);
            out.push(')');
        }
    }
}

fn list(parts: &[Predicate], between: &str, out: &mut String) {
    out.push('(');
    for (index, part) in parts.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { between });
        write(part, out);
    }
    out.push(')');
}

fn comparison(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "within the range given",
        Comparison::NotEqual => "not within the range given",
        Comparison::Greater => "reaches beyond the value",
        Comparison::Less => "begins before the value",
        Comparison::GreaterOrEqual => "within or beyond the value",
        Comparison::LessOrEqual => "within or before the value",
        Comparison::StartsAfter => "starts after the value",
        Comparison::EndsBefore => "ends before the value",
        Comparison::Approximate => "overlaps the widened value",
    }
}

fn value(test: &ValueTest) -> String {
    match test {
        ValueTest::Token(test) => match test {
            TokenTest::Code(_) => "has the code, whatever the system".to_owned(),
            TokenTest::SystemCode(system, _) => format!("has the code of {system}"),
            TokenTest::NoSystemCode(_) => "has the code without a system".to_owned(),
            TokenTest::System(system) => format!("has a code of {system}"),
            TokenTest::Text(_) => "has a text with a word that starts so".to_owned(),
            TokenTest::OfType { system, code, .. } => {
                format!("has the value of type {system}|{code}")
            }
        },
        ValueTest::String(test) => match test {
            StringTest::StartsWith(_) => "starts with the text, case and accents aside",
            StringTest::Contains(_) => "contains the text, case and accents aside",
            StringTest::Exact(_) => "is exactly the text",
            StringTest::Equals(_) => "is the text, case and accents aside",
            StringTest::EndsWith(_) => "ends with the text, case and accents aside",
        }
        .to_owned(),
        ValueTest::Date(test) => comparison(test.comparison).to_owned(),
        ValueTest::Number(test) => comparison(test.comparison).to_owned(),
        ValueTest::Quantity(test) => {
            format!("{} in {:?}", comparison(test.range.comparison), test.unit)
        }
        ValueTest::Reference(test) => match test {
            ReferenceTest::Local(keys) => {
                let mut types: Vec<&str> = keys.iter().map(|k| k.resource_type.name()).collect();
                types.sort_unstable();
                types.dedup();
                format!("refers to the {}", types.join(" or "))
            }
            ReferenceTest::Url(_) => "refers to the url".to_owned(),
            ReferenceTest::Identifier(_) => "refers by the identifier".to_owned(),
            ReferenceTest::OfType(target) => format!("refers to any {}", target.name()),
        },
        ValueTest::Uri(test) => match test {
            UriTest::Exact(_) => "is the uri",
            UriTest::Below(_) => "is the uri or below it",
            UriTest::Above(_) => "is the uri or above it",
        }
        .to_owned(),
        ValueTest::Near { distance_m, .. } => format!("is within {distance_m} m of the position"),
    }
}
