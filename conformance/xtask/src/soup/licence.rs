//! Decides whether an SPDX licence expression lets us use a package.
//!
//! Spec: <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>. Leaves out `+` and custom references: a
//! licence written that way is not accepted.

/// Licences a product may be shipped with.
const ACCEPTED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    // Data only: the certificate roots of browsers.
    "CDLA-Permissive-2.0",
    "Unlicense",
    "Zlib",
];

/// True when some choice the expression offers consists of accepted licences only.
pub fn is_accepted(expression: &str) -> bool {
    // `MIT/Apache-2.0` is the way of old manifests to say OR.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    either(&mut words).unwrap_or(false) && words.is_empty()
}

fn either(words: &mut &[&str]) -> Option<bool> {
    let mut accepted = both(words)?;
    while next_if(words, "OR") {
        accepted |= both(words)?;
    }
    Some(accepted)
}

fn both(words: &mut &[&str]) -> Option<bool> {
    let mut accepted = one(words)?;
    while next_if(words, "AND") {
        accepted &= one(words)?;
    }
    Some(accepted)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if next_if(words, "(") {
        let accepted = either(words)?;
        return next_if(words, ")").then_some(accepted);
    }
    let mut name = next(words)?.to_owned();
    if next_if(words, "WITH") {
        name = format!("{name} WITH {}", next(words)?);
    }
    Some(ACCEPTED.contains(&name.as_str()))
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

fn next_if(words: &mut &[&str], expected: &str) -> bool {
    let is_next = words.first() == Some(&expected);
    if is_next {
        *words = words.get(1..).unwrap_or_default();
    }
    is_next
}

#[cfg(test)]
mod tests {
    use super::is_accepted;

    #[test]
    fn expressions_are_judged_by_their_choices() {
        let rows = [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-2.0-only OR LGPL-2.1-or-later) AND MIT", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH Unknown-exception", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT)", false),
            ("", false),
        ];
        for (expression, expected) in rows {
            assert_eq!(is_accepted(expression), expected, "{expression}");
        }
    }
}
