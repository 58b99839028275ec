//! The prefix of an ordered value: how it is compared.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#prefix>

use super::{Reading, quoted};
use crate::issue::{ErrorKind, Problem};
use crate::search::predicate::Comparison;

/// Every prefix, in the order of the specification.
pub const PREFIXES: [(&str, Comparison); 9] = [
    ("eq", Comparison::Equal),
    ("ne", Comparison::NotEqual),
    ("gt", Comparison::Greater),
    ("lt", Comparison::Less),
    ("ge", Comparison::GreaterOrEqual),
    ("le", Comparison::LessOrEqual),
    ("sa", Comparison::StartsAfter),
    ("eb", Comparison::EndsBefore),
    ("ap", Comparison::Approximate),
];

/// Takes the prefix off; without one it is `eq`. Two letters are a prefix, right or wrong; more are no number and no date.
///
/// # Errors
/// `unknown-prefix`, `bad-parameter-value`
pub fn split<'t>(reading: &Reading<'_>, text: &'t str) -> Result<(Comparison, &'t str), Problem> {
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    if letters == 0 {
        return Ok((Comparison::Equal, text));
    }
    let names: Vec<&str> = PREFIXES.iter().map(|(name, _)| *name).collect();
    if letters != 2 {
        let form = format!(
            "it starts with letters that are no prefix; prefixes are {}",
            names.join(", ")
        );
        return Err(reading.bad_value(&form));
    }
    let (prefix, rest) = text.split_at(letters);
    if let Some((_, comparison)) = PREFIXES.iter().find(|(name, _)| *name == prefix) {
        return Ok((*comparison, rest));
    }
    let (code, kind) = (reading.param.code, reading.param.kind.code());
    let prefix = quoted(prefix);
    let text = format!(
        "{prefix} is no prefix of the {kind} parameter `{code}`; there are: {}",
        names.join(", ")
    );
    Err(Problem::new(ErrorKind::UNKNOWN_PREFIX, text).at(code))
}
