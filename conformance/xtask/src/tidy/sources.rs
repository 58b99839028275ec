//! Words that must not appear in sources, and in the pure crate.
//!
//! Leaves out what clippy already denies (`todo!`, `unsafe`). Needles are put together from halves, so that this file
//! does not find itself.

use crate::workspace::SourceFile;

/// A word, where it is forbidden, and why.
struct Rule {
    needle: &'static [&'static str],
    scope: Scope,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Scope {
    /// Every Rust file.
    Rust,
    /// Rust files of the pure crate, comments excepted.
    Core,
    /// Every text file.
    Text,
}

const RULES: [Rule; 15] = [
    rule(
        &["db", "g!("],
        Scope::Rust,
        "a debugging print stays out of the history",
    ),
    rule(
        &["FIX", "ME"],
        Scope::Text,
        "name an issue instead, or fix it now",
    ),
    rule(
        &["#[ig", "nore"],
        Scope::Rust,
        "a test that does not run proves nothing",
    ),
    rule(
        &["thread::sl", "eep"],
        Scope::Rust,
        "wait for the event, not for a time",
    ),
    rule(&["to", "kio"], Scope::Core, "fhir-core is pure: no async"),
    rule(&["act", "ix"], Scope::Core, "fhir-core is pure: no HTTP"),
    rule(
        &["die", "sel"],
        Scope::Core,
        "fhir-core is pure: no database",
    ),
    rule(&["std::", "fs"], Scope::Core, "fhir-core is pure: no files"),
    rule(
        &["std::", "net"],
        Scope::Core,
        "fhir-core is pure: no network",
    ),
    rule(
        &["std::", "env"],
        Scope::Core,
        "fhir-core is pure: no environment",
    ),
    rule(&["System", "Time"], Scope::Core, "the clock is passed in"),
    rule(&["Instant", "::now"], Scope::Core, "the clock is passed in"),
    rule(
        &["f", "64"],
        Scope::Core,
        "clinical numbers are decimals that keep their text",
    ),
    rule(
        &["f", "32"],
        Scope::Core,
        "clinical numbers are decimals that keep their text",
    ),
    rule(&["/ro", "ot/"], Scope::Text, "no path of one machine"),
];

/// Paths and hosts of somebody's machine; written apart for the same reason.
const MACHINE_WORDS: [&[&str]; 6] = [
    &["/wo", "rk/"],
    &["/ho", "me/"],
    &["registry.np", "mjs"],
    &["index.cra", "tes.io"],
    &["/tmp/ba", "sh_"],
    &["loc", "alhost:48"],
];

/// Bytes of a line shown with a finding.
const LINE_SHOWN_MAX: usize = 120;

const fn rule(needle: &'static [&'static str], scope: Scope, reason: &'static str) -> Rule {
    Rule {
        needle,
        scope,
        reason,
    }
}

/// All lines that hold a forbidden word.
pub fn check(files: &[SourceFile]) -> Vec<String> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<String> {
    // Tables hold the words of the specification, not ours.
    if file.path.starts_with("conformance/generated/") {
        return Vec::new();
    }
    let machine =
        MACHINE_WORDS.map(|needle| rule(needle, Scope::Text, "no path or host of one machine"));
    let rules: Vec<(String, &Rule)> = RULES
        .iter()
        .chain(&machine)
        .filter(|rule| applies(rule.scope, &file.path))
        .map(|rule| (rule.needle.concat(), rule))
        .collect();
    let mut problems = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for (needle, rule) in &rules {
            let text = if matches!(rule.scope, Scope::Core) {
                without_comment(line)
            } else {
                line
            };
            if holds(text, needle) {
                let shown: String = line.trim().chars().take(LINE_SHOWN_MAX).collect();
                problems.push(format!(
                    "{}:{}: `{needle}`: {}: {shown}",
                    file.path,
                    number + 1,
                    rule.reason
                ));
            }
        }
    }
    problems
}

fn applies(scope: Scope, path: &str) -> bool {
    let is_rust = path.ends_with(".rs");
    match scope {
        Scope::Rust => is_rust,
        Scope::Core => is_rust && path.starts_with("server/core/src/"),
        Scope::Text => true,
    }
}

fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// The needle as a whole word: `f64` is not in `0xf64a`; a path is whole when nothing stands before it.
fn holds(text: &str, needle: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.match_indices(needle).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + needle.len()..].chars().next();
        let joins_before = before.is_some_and(is_word);
        let joins_after = needle.ends_with(is_word) && after.is_some_and(is_word);
        !joins_before && !joins_after
    })
}

#[cfg(test)]
mod tests {
    use super::{check_file, holds};
    use crate::workspace::SourceFile;

    fn findings(path: &str, text: &str) -> usize {
        check_file(&SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn words_are_found_whole() {
        assert!(holds("let x: f64 = 1.0;", "f64"));
        assert!(!holds("0xf64a", "f64"));
        assert!(!holds("as_f64()", "f64"));
        assert!(holds("see /top/x", "/top/"));
        assert!(!holds("docs/top/x", "/top/"));
    }

    #[test]
    fn each_scope_sees_its_own_files() {
        let float = ["fn a(b: f", "64) {}"].concat();
        assert_eq!(findings("server/core/src/a.rs", &float), 1);
        assert_eq!(findings("server/src/a.rs", &float), 0);
        assert_eq!(
            findings("server/core/src/a.rs", &["// never f", "64"].concat()),
            0
        );
        assert_eq!(findings("docs/a.md", &["cd /wo", "rk/x"].concat()), 1);
        assert_eq!(
            findings("tests/a.rs", &["std::thread::sl", "eep(x)"].concat()),
            1
        );
    }
}
