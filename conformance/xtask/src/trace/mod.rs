//! `cargo xtask trace`: requirement → risk control → test, and what is missing.
//!
//! Spec: IEC 62304 5.1.1 and 7.3.3 (traceability). Leaves out test results: the run of the tests shows them.

mod links;
mod register;
mod render;

use crate::workspace::{files, write_or_check};

const OUTPUT: &str = "docs/generated/trace.md";

/// Joins the registers with the tests and writes, or with `is_check` compares, the table.
///
/// # Errors
/// Every unknown id and every requirement or control without a test.
pub fn run(is_check: bool) -> Result<(), String> {
    let register = register::read()?;
    let links = links::find(&files(&["rs", "toml", "yaml", "yml"]));
    let problems = problems(&register, &links);
    for planned in register.planned(&links) {
        println!("trace: PLANNED, NO TEST YET: {planned}");
    }
    write_or_check(
        OUTPUT,
        &render::table(&register, &links),
        is_check,
        "cargo xtask trace",
    )?;
    if problems.is_empty() {
        println!(
            "trace: {} ids, {} links",
            register.ids().count(),
            links.count()
        );
        return Ok(());
    }
    Err(format!(
        "trace: {} problems\n{}",
        problems.len(),
        problems.join("\n")
    ))
}

fn problems(register: &register::Register, links: &links::Links) -> Vec<String> {
    let mut problems = links.problems.clone();
    for (id, tests) in &links.tests {
        if !register.has(id) {
            let places: Vec<&str> = tests.iter().map(String::as_str).collect();
            problems.push(format!(
                "{id} is not in docs/safety but is named by {}",
                places.join(", ")
            ));
        }
    }
    problems.extend(register.missing(links));
    problems
}

#[cfg(test)]
mod tests {
    use super::{links, problems, register};
    use crate::workspace::{SourceFile, files};

    #[test]
    fn every_link_of_the_workspace_is_known() {
        let register = register::read().unwrap();
        let found = links::find(&files(&["rs", "toml", "yaml", "yml"]));
        assert_eq!(problems(&register, &found), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_or_untested_id_is_a_problem() {
        let requirements = "[SRS-001]\ntitle='a'\nshall='b'\nsource='c'\nrisk=['RC-001']\n";
        let risks = "[RISK-001]\nhazard='a'\nitem='b'\nsequence='c'\nseverity='minor'\nprobability='remote'\n\
                     residual='d'\n[RISK-001.control.RC-001]\ntext='e'\nplanned='f'\n";
        let register = register::parse(requirements, risks).unwrap();
        let text = ["/// Veri", "fies: SRS-009\n#[test]\nfn a() {}\n"].concat();
        let found = links::find(&[SourceFile {
            path: "a.rs".to_owned(),
            text,
        }]);
        let problems = problems(&register, &found);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with("SRS-009 is not in docs/safety"))
        );
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with("SRS-001 has no test"))
        );
    }
}
