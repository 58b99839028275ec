//! `cargo xtask tidy`: the house rules a compiler does not know.
//!
//! Leaves out what rustfmt and clippy check.

mod layers;
mod sources;
mod tree;

use crate::workspace::{self, Metadata};

/// Files whose text the rules read.
const TEXT_EXTENSIONS: [&str; 8] = ["rs", "toml", "md", "yaml", "yml", "sql", "tsv", "json"];

/// Checks the whole workspace.
///
/// # Errors
/// Every broken rule with its place and reason, one per line.
pub fn run() -> Result<(), String> {
    let files = workspace::files(&TEXT_EXTENSIONS);
    let mut problems = layers::check(&Metadata::read()?)?;
    problems.extend(sources::check(&files));
    problems.extend(tree::check(&workspace::root()));
    if problems.is_empty() {
        println!("tidy: {} files keep the house rules", files.len());
        return Ok(());
    }
    Err(format!(
        "tidy: {} problems\n{}",
        problems.len(),
        problems.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        if let Err(problems) = super::run() {
            panic!("{problems}");
        }
    }
}
