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

/// Takes the prefix off; without one it is `eq`.
///
/// # Errors
/// `unknown-prefix`
pub fn split<'t>(reading: &Reading<'_>, text: &'t str) -> Result<(Comparison, &'t str), Problem> {
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    if letters == 0 {
        return Ok((Comparison::Equal, text));
    }
    let (prefix, rest) = text.split_at(letters);
    match PREFIXES.iter().find(|(name, _)| *name == prefix) {
        Some((_, comparison)) => Ok((*comparison, rest)),
        None => {
            let names: Vec<&str> = PREFIXES.iter().map(|(name, _)| *name).collect();
            let code = reading.param.code;
            let text = format!(
                "{} is no prefix of the {} parameter `{code}`; there are: {}",
                quoted(prefix),
                reading.param.kind.code(),
                names.join(", ")
            );
            Err(Problem::new(ErrorKind::UNKNOWN_PREFIX, text).at(code))
        }
    }
}
