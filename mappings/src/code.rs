//! Concept maps: tab-separated files that say which code becomes which.
//!
//! FHIR: <https://hl7.org/fhir/R4/conceptmap.html>. Columns: source system, source code, target system, target code,
//! target display, equivalence, comment. A row whose equivalence is `unmatched` says that there is no target.
//!
//! Left out on purpose: maps that depend on more than one code, and any search for the nearest code.

use std::collections::HashMap;

use crate::error::{LoadError, LoadErrors};

/// Equivalences of R4 that allow a target to be used: <https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html>.
const USABLE: [&str; 4] = ["equivalent", "equal", "wider", "subsumes"];
/// Equivalences that say there is no target.
const UNUSABLE: [&str; 2] = ["unmatched", "disjoint"];
const COLUMNS: [&str; 7] = [
    "source_system",
    "source_code",
    "target_system",
    "target_code",
    "target_display",
    "equivalence",
    "comment",
];

/// One concept map.
#[derive(Debug, Clone, Default)]
pub struct ConceptMap {
    rows: HashMap<Box<str>, Target>,
}

/// What a code becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The target code's system.
    pub system: Box<str>,
    /// The target code.
    pub code: Box<str>,
    /// Its display; empty when none is known.
    pub display: Box<str>,
    /// The line of the file, for errors about it.
    pub(crate) line: usize,
}

impl ConceptMap {
    /// The target of a source code; `None` when no row has one.
    pub fn get(&self, source_code: &str) -> Option<&Target> {
        self.rows.get(source_code)
    }

    /// All targets, in no order.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.rows.values()
    }

    /// Reads a file: comments start with `#`, the first other line names the columns.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, LoadErrors> {
        let mut errors = Vec::new();
        let mut map = Self::default();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
        match lines.next() {
            Some((_, header)) if header.split('\t').eq(COLUMNS) => {}
            Some((i, _)) => {
                return Err(LoadError::at(
                    file,
                    i + 1,
                    format!("the columns are: {}", COLUMNS.join(", ")),
                )
                .into());
            }
            None => return Err(LoadError::at(file, 1, "the file is empty").into()),
        }
        for (i, line) in lines {
            match row(line, i + 1) {
                Err(message) => errors.push(LoadError::at(file, i + 1, message)),
                Ok((source, target)) => {
                    if let Some(first) = seen.insert(source, i + 1) {
                        let message = format!("`{source}` is mapped in line {first} already");
                        errors.push(LoadError::at(file, i + 1, message));
                    }
                    if let Some(target) = target {
                        map.rows.insert(source.into(), target);
                    }
                }
            }
        }
        if errors.is_empty() {
            Ok(map)
        } else {
            Err(LoadErrors(errors))
        }
    }
}

/// A row's source code and its target, `None` for one that has none.
fn row(line: &str, number: usize) -> Result<(&str, Option<Target>), String> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [_, source, system, code, display, equivalence, _] = cells.as_slice() else {
        return Err(format!(
            "{} columns instead of {}",
            cells.len(),
            COLUMNS.len()
        ));
    };
    if source.is_empty() || source.trim() != *source {
        return Err("source_code is empty or has blanks around it".to_owned());
    }
    if UNUSABLE.contains(equivalence) {
        return if code.is_empty() {
            Ok((source, None))
        } else {
            Err(format!("{equivalence} with a target_code"))
        };
    }
    if !USABLE.contains(equivalence) {
        return Err(format!(
            "equivalence `{equivalence}` is none of {} or {}",
            USABLE.join(", "),
            UNUSABLE.join(", ")
        ));
    }
    if code.is_empty() {
        return Err(format!("{equivalence} without a target_code"));
    }
    let target = Target {
        system: (*system).into(),
        code: (*code).into(),
        display: (*display).into(),
        line: number,
    };
    Ok((source, Some(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "source_system\tsource_code\ttarget_system\ttarget_code\ttarget_display\tequivalence\tcomment\n";

    fn error(rows: &str) -> String {
        match ConceptMap::parse("code/x.tsv", &format!("# why\n{HEAD}{rows}")) {
            Ok(_) => String::new(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn rows_map_and_unmatched_rows_do_not() {
        let text =
            format!("{HEAD}s\tM\tt\tmale\tMale\tequivalent\t\ns\tX\t\t\t\tunmatched\tno target\n");
        let map = ConceptMap::parse("f", &text).expect("good file");
        assert_eq!(map.get("M").map(|t| &*t.code), Some("male"));
        assert_eq!(map.get("X"), None);
        assert_eq!(map.get("m"), None);
    }

    #[test]
    fn every_error_names_file_and_line() {
        assert_eq!(
            error("s\tM\tt\tmale\t\tequivalent\n"),
            "code/x.tsv:3: 6 columns instead of 7"
        );
        assert_eq!(
            error("s\tM\tt\t\t\tequivalent\t\n"),
            "code/x.tsv:3: equivalent without a target_code"
        );
        assert_eq!(
            error("s\tM\tt\tm\t\tunmatched\t\n"),
            "code/x.tsv:3: unmatched with a target_code"
        );
        let twice = "s\tM\tt\tm\t\tequal\t\ns\tM\tt\tf\t\tequal\t\n";
        assert_eq!(
            error(twice),
            "code/x.tsv:4: `M` is mapped in line 3 already"
        );
        assert!(
            error("s\tM\tt\tm\t\tnarrower\t\n").starts_with("code/x.tsv:3: equivalence `narrower`")
        );
    }
}
