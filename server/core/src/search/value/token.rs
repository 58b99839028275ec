//! Token parameters.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#token>

use conformance::{Definitions, SearchParam};

use super::{Modifier, Reading};
use crate::datatype::string::normalise;
use crate::issue::Problem;
use crate::search::path;
use crate::search::predicate::{TokenTest, ValueTest};
use crate::search::text::{split, unescape};

const FORM: &str = "`code`, `system|code`, `|code` or `system|` is expected; a `|` inside a value is written `\\|`";
const FORM_OF_TYPE: &str = "`:of-type` expects `type system|type code|value`, all three";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let test = match reading.modifier {
        Modifier::Text => text_test(reading, text)?,
        Modifier::OfType => of_type(reading, text)?,
        _ => implied_system(reading.param, token_test(reading, text)?),
    };
    Ok(vec![ValueTest::Token(test)])
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

/// A `code` element carries no system; its required value set says which one is meant. So `system|code` becomes
/// `code` when the value set has that pair; any other pair stays and finds nothing.
fn implied_system(param: &'static SearchParam, test: TokenTest) -> TokenTest {
    let TokenTest::SystemCode(system, code) = test else {
        return test;
    };
    let Some(leaves) = path::leaves(param) else {
        return TokenTest::SystemCode(system, code);
    };
    let is_implied = !leaves.is_empty()
        && leaves.iter().all(|leaf| {
            let binding = leaf.element.binding.filter(|_| leaf.is_type("code"));
            let codes = binding.and_then(|b| Definitions::r4().required_codes(b.value_set));
            codes.is_some_and(|list| {
                list.codes
                    .iter()
                    .any(|c| c.system == system && c.code == code)
            })
        });
    if is_implied {
        TokenTest::Code(code)
    } else {
        TokenTest::SystemCode(system, code)
    }
}
