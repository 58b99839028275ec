//! Token parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#token>

use conformance::{Definitions, SearchParam};

use super::{Modifier, Reading};
use crate::datatype::string::normalise;
use crate::issue::{ErrorKind, Problem};
use crate::search::path;
use crate::search::predicate::{TokenTest, ValueTest};
use crate::search::text::{split, unescape};

const FORM: &str = "`code`, `system|code`, `|code` or `system|` is expected; a `|` inside a value is written `\\|`";
const FORM_OF_TYPE: &str = "`:of-type` expects `type system|type code|value`, all three";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let tests = match reading.modifier {
        Modifier::Text => vec![text_test(reading, text)?],
        Modifier::OfType => vec![of_type(reading, text)?],
        Modifier::In | Modifier::NotIn => members(reading, text)?,
        Modifier::Above | Modifier::Below => relatives(reading, text)?,
        _ => with_implied_system(reading.param, token_test(reading, text)?),
    };
    Ok(tests.into_iter().map(ValueTest::Token).collect())
}

/// Reads `code`, `system|code`, `|code` or `system|`.
pub fn token_test(reading: &Reading<'_>, text: &str) -> Result<TokenTest, Problem> {
    let parts: Vec<String> = split(text, '|')
        .into_iter()
        .map(|part| unescape(part).into_owned())
        .collect();
    match <[String; 2]>::try_from(parts) {
        Ok([system, code]) if system.is_empty() && code.is_empty() => Err(reading.bad_value(FORM)),
        Ok([system, code]) if system.is_empty() => Ok(TokenTest::NoSystemCode(code)),
        Ok([system, code]) if code.is_empty() => Ok(TokenTest::System(system)),
        Ok([system, code]) => Ok(TokenTest::SystemCode(system, code)),
        Err(parts) => match <[String; 1]>::try_from(parts) {
            Ok([code]) => Ok(TokenTest::Code(code)),
            Err(_) => Err(reading.bad_value(FORM)),
        },
    }
}

fn text_test(reading: &Reading<'_>, text: &str) -> Result<TokenTest, Problem> {
    let normal = normalise(&unescape(text)).into_owned();
    if normal.is_empty() {
        Err(reading.bad_value("it is blank"))
    } else {
        Ok(TokenTest::Text(normal))
    }
}

fn of_type(reading: &Reading<'_>, text: &str) -> Result<TokenTest, Problem> {
    let parts: Vec<String> = split(text, '|')
        .into_iter()
        .map(|part| unescape(part).into_owned())
        .collect();
    match <[String; 3]>::try_from(parts) {
        Ok([system, code, value])
            if !system.is_empty() && !code.is_empty() && !value.is_empty() =>
        {
            Ok(TokenTest::OfType {
                system,
                code,
                value,
            })
        }
        _ => Err(reading.bad_value(FORM_OF_TYPE)),
    }
}

/// The members of the value set that a value names by its url.
fn members(reading: &Reading<'_>, text: &str) -> Result<Vec<TokenTest>, Problem> {
    let url = unescape(text);
    let members = reading.context.codes.expand(&url);
    let members = members.map_err(|why| unknown_codes(reading, "in", &why))?;
    let test = |(system, code): (String, String)| {
        let test = if system.is_empty() {
            TokenTest::NoSystemCode(code)
        } else {
            TokenTest::SystemCode(system, code)
        };
        with_implied_system(reading.param, test)
    };
    let tests: Vec<TokenTest> = members.into_iter().flat_map(test).collect();
    // An empty value set has no member in any resource: a code that cannot be.
    Ok(if tests.is_empty() {
        vec![TokenTest::NoSystemCode(String::new())]
    } else {
        tests
    })
}

/// The code of a value and everything above or below it in its code system.
fn relatives(reading: &Reading<'_>, text: &str) -> Result<Vec<TokenTest>, Problem> {
    let TokenTest::SystemCode(system, code) = token_test(reading, text)? else {
        return Err(
            reading.bad_value("`system|code` is expected: a hierarchy belongs to a code system")
        );
    };
    let codes = reading.context.codes;
    let (name, found) = match reading.modifier {
        Modifier::Above => ("above", codes.above(&system, &code)),
        _ => ("below", codes.below(&system, &code)),
    };
    let found = found.map_err(|why| unknown_codes(reading, name, &why))?;
    let test =
        |code| with_implied_system(reading.param, TokenTest::SystemCode(system.clone(), code));
    Ok(found.into_iter().flat_map(test).collect())
}

fn unknown_codes(reading: &Reading<'_>, modifier: &str, why: &str) -> Problem {
    let text = format!(
        "`{}:{modifier}` cannot be answered: {why}",
        reading.param.code
    );
    Problem::new(ErrorKind::UNKNOWN_CODES, text).at(reading.param.code)
}

/// A `code` element carries no system; its required value set says which one is meant. So `system|code` becomes
/// `code` when the value set has that pair, and `system|` becomes all its codes of that system. Anything else stays and
/// finds nothing.
fn with_implied_system(param: &'static SearchParam, test: TokenTest) -> Vec<TokenTest> {
    let (system, wanted) = match &test {
        TokenTest::SystemCode(system, code) => (system, Some(code)),
        TokenTest::System(system) => (system, None),
        _ => return vec![test],
    };
    let leaves = path::leaves(param).unwrap_or_default();
    let mut codes: Vec<&'static str> = Vec::new();
    for leaf in &leaves {
        let binding = leaf.element.binding.filter(|_| leaf.is_type("code"));
        let Some(list) = binding.and_then(|b| Definitions::r4().required_codes(b.value_set)) else {
            return vec![test];
        };
        codes.extend(
            list.codes
                .iter()
                .filter(|code| code.system == system)
                .map(|code| code.code),
        );
    }
    codes.retain(|code| wanted.is_none_or(|wanted| wanted == code));
    codes.sort_unstable();
    codes.dedup();
    if codes.is_empty() {
        vec![test]
    } else {
        codes
            .into_iter()
            .map(|code| TokenTest::Code(code.to_owned()))
            .collect()
    }
}
