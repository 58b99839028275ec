//! Which test names which id: doc comments in Rust, `verifies = [..]` in case files.
//!
//! Leaves out whether the test passes.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::SourceFile;

/// Written apart, so that the search does not find itself.
const MARKER: [&str; 2] = ["Veri", "fies:"];
/// Folders with data files that carry no cases.
const NOT_CASES: [&str; 2] = ["docs/", "conformance/xtask/"];

/// All links of the workspace.
#[derive(Default)]
pub struct Links {
    /// Id → tests, as `path::name`.
    pub tests: BTreeMap<String, BTreeSet<String>>,
    /// Marked places that link nothing.
    pub problems: Vec<String>,
}

impl Links {
    /// How many links there are.
    pub fn count(&self) -> usize {
        self.tests.values().map(BTreeSet::len).sum()
    }

    fn add(&mut self, ids: &[&str], test: &str) {
        for id in ids {
            self.tests
                .entry((*id).to_owned())
                .or_default()
                .insert(test.to_owned());
        }
    }
}

/// Reads all files.
pub fn find(files: &[SourceFile]) -> Links {
    let mut links = Links::default();
    for file in files {
        if file.path.ends_with(".rs") {
            find_in_rust(file, &mut links);
        } else if !NOT_CASES.iter().any(|folder| file.path.starts_with(folder)) {
            find_in_cases(file, &mut links);
        }
    }
    links
}

fn find_in_rust(file: &SourceFile, links: &mut Links) {
    let marker = MARKER.concat();
    let lines: Vec<&str> = file.text.lines().collect();
    for (position, line) in lines.iter().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            continue;
        };
        let Some((_, rest)) = comment.split_once(&marker) else {
            continue;
        };
        let found = ids(rest);
        if found.is_empty() {
            links.problems.push(format!(
                "{}:{}: names no id such as SRS-001",
                file.path,
                position + 1
            ));
            continue;
        }
        match lines[position..]
            .iter()
            .find_map(|line| function_name(line))
        {
            Some(name) => links.add(&found, &format!("{}::{name}", file.path)),
            None => links
                .problems
                .push(format!("{}:{}: no test follows", file.path, position + 1)),
        }
    }
}

/// The name of the function a line starts, behind `async`, `pub` and the like; a module stands for its tests.
fn function_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("//") || line.starts_with('#') {
        return None;
    }
    let rest = ["fn ", "async fn ", "pub fn ", "pub async fn ", "mod "]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .next()
}

fn find_in_cases(file: &SourceFile, links: &mut Links) {
    for line in file.text.lines().map(str::trim_start) {
        let Some(rest) = line.strip_prefix("verifies") else {
            continue;
        };
        let rest = rest.trim_start();
        if rest.starts_with('=') || rest.starts_with(':') {
            links.add(&ids(rest), &file.path);
        }
    }
}

/// All ids of the form `SRS-001` or `RC-001` in a text.
pub fn ids(text: &str) -> Vec<&str> {
    let words =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '-');
    let is_id = |word: &&str| {
        let number = word
            .strip_prefix("SRS-")
            .or_else(|| word.strip_prefix("RC-"));
        number.is_some_and(|number| {
            number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    words.filter(is_id).collect()
}

#[cfg(test)]
mod tests {
    use super::{find, ids};
    use crate::workspace::SourceFile;

    #[test]
    fn ids_are_found_in_text() {
        assert_eq!(
            ids("SRS-001, RC-012 and XSRS-001, SRS-01, RC-0123."),
            ["SRS-001", "RC-012"]
        );
    }

    #[test]
    fn tests_and_cases_are_linked() {
        let rust = [
            "/// Why.\n/// Veri",
            "fies: SRS-001, RC-002\n#[test]\nasync fn keeps() {\n}\n",
        ]
        .concat();
        let files = [
            SourceFile {
                path: "a/b.rs".to_owned(),
                text: rust,
            },
            SourceFile {
                path: "conformance/cases/c.toml".to_owned(),
                text: "verifies = [\"SRS-001\"]\n".to_owned(),
            },
        ];
        let links = find(&files);
        assert!(links.problems.is_empty());
        let tests: Vec<&str> = links.tests["SRS-001"].iter().map(String::as_str).collect();
        assert_eq!(tests, ["a/b.rs::keeps", "conformance/cases/c.toml"]);
        assert_eq!(links.count(), 3);
    }

    #[test]
    fn a_mark_without_id_or_test_is_a_problem() {
        for end in ["every digit\nfn a() {}\n", "SRS-001\n"] {
            let text = ["/// Veri", "fies: ", end].concat();
            assert_eq!(
                find(&[SourceFile {
                    path: "a.rs".to_owned(),
                    text
                }])
                .problems
                .len(),
                1
            );
        }
    }
}
